//! Extended attributes of open files: in them the taker of a write lock leaves word of itself, and overlays mark what
//! they replaced.

use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

/// Reads an extended attribute into `buffer` and returns how many bytes it has.
///
/// # Errors
/// `ENODATA` when there is none, `ERANGE` when it is longer than the buffer, `EOPNOTSUPP` when the file system has no
/// extended attributes.
pub fn get_attribute(file: impl AsFd, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and so open; the name ends with NUL; the kernel writes at most the
    // buffer's length into the buffer.
    let read = unsafe { libc::fgetxattr(fd, name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(read).map_err(|_| Errno::last())
}

/// The names of the extended attributes, each ended by NUL; none where the file system has no extended attributes.
///
/// # Errors
/// `EACCES` and the like.
pub fn attribute_names(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    // The most that Linux hands out.
    let mut names = vec![0; 64 << 10];
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and so open; the kernel writes at most the buffer's length into the buffer.
    let read = unsafe { libc::flistxattr(fd, names.as_mut_ptr().cast(), names.len()) };
    match usize::try_from(read) {
        Ok(read) => names.truncate(read),
        Err(_) if matches!(Errno::last(), Errno::EOPNOTSUPP | Errno::ENOSYS) => names.clear(),
        Err(_) => return Err(Errno::last()),
    }
    Ok(names)
}

/// Sets an extended attribute.
///
/// # Errors
/// `EOPNOTSUPP` when the file system has no extended attributes, `EACCES` or `EPERM` when the caller may not write
/// the file, `ENOSPC` when there is no room.
pub fn set_attribute(file: impl AsFd, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and so open; the name ends with NUL; the kernel reads at most the value's
    // length from the value.
    let done = unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(done).map(drop)
}
