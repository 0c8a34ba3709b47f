//! Descriptors at numbers that another program expects them at.

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

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

/// Gives descriptors these numbers, open across exec: all are moved out of the way first.
///
/// # Errors
/// `EINVAL` or `EMFILE`: there are more than this process may have.
pub fn place_all(numbered: Vec<(OwnedFd, i32)>) -> Result<(), Errno> {
    let first_free = numbered.iter().map(|(_, number)| number + 1).max().unwrap_or_default();
    let mut away = Vec::with_capacity(numbered.len());
    for (descriptor, number) in numbered {
        away.push((copy_above(&descriptor, first_free)?, number));
    }
    away.iter().try_for_each(|(descriptor, number)| place(descriptor, *number))
}

/// Whether something is open at this number that the next program would inherit.
#[must_use]
pub fn stays_across_exec(number: RawFd) -> bool {
    // SAFETY: reads a flag of a number; touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes a descriptor in a forked copy of the process that owns it. The copy runs none of the owner's destructors.
pub fn close(number: RawFd) {
    // SAFETY: takes a number only; whoever calls uses what is open there no more and does not drop its owner.
    unsafe { libc::close(number) };
}

/// Closes everything from this number on, for a process that is going to use nothing of it any more.
///
/// # Errors
/// None is known since Linux 5.9.
pub fn close_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: takes numbers only; the caller uses no descriptor from the first one on any more.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    Errno::result(closed).map(drop)
}

/// Has the program that this process is about to become inherit a descriptor.
///
/// # Errors
/// `EBADF` when nothing is open at this number.
pub fn keep_across_exec(number: RawFd) -> Result<(), Errno> {
    // SAFETY: changes a flag of a number; touches no memory.
    let marked = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    Errno::result(marked).map(drop)
}

/// Takes ownership of a descriptor that this process was started with, and keeps it from every program started from
/// here. Each number may be adopted once, before anything else of the process opens descriptors.
///
/// # Errors
/// `EBADF` when nothing is open at this number.
pub fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: changes a flag of a number; touches no memory, and nothing here relies on the flag being clear.
    let marked = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(marked)?;
    // SAFETY: the descriptor is open, as the call above proved, and nobody else owns it: it came with the exec, and
    // the caller adopts each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
