//! Descriptors at numbers that another program expects them at.

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Makes `number` a copy of `source` that stays open across exec. Whatever was there before is closed, so nothing of
/// this process may be in use at that number.
///
/// # Errors
/// `EBADF` beyond the limit of open files.
pub fn place(source: &OwnedFd, number: i32) -> Result<(), Errno> {
    // SAFETY: the source is open because it is owned; the caller keeps nothing at `number`.
    let placed = unsafe { libc::dup2(source.as_raw_fd(), number) };
    Errno::result(placed).map(drop)
}

/// A close-on-exec copy of `source` at `lowest` or the first free number above it.
///
/// # Errors
/// `EINVAL` or `EMFILE` beyond the limit of open files.
pub fn copy_above(source: impl AsFd, lowest: i32) -> Result<OwnedFd, Errno> {
    let copy = nix::fcntl::fcntl(source, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
