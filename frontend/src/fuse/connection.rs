//! The mount and the kernel's end of the conversation with a server.

use crate::error::{Doing, Failure, Outcome, reason_of};
use crate::image::Access;
use crate::message::shown;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::Path;

const DEVICE: &str = "/dev/fuse";

/// A new connection, to nothing yet.
///
/// # Errors
/// The device is closed to the caller, or the kernel has none.
pub(crate) fn open_device() -> Outcome<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE).map_err(unopened)
}

/// Mounts what `program` will serve and returns the connection to hand to it. Until somebody answers there, whoever looks
/// at the mount waits; when the last copy of the connection is closed, every access fails.
pub(super) fn mount(program: &str, subject: &Path, access: Access, at: &Path) -> Outcome<File> {
    let connection = open_device()?;
    attach(&connection, program, subject, access, true, at)
        .doing(|| format!("mounting {} through FUSE", shown(subject)))?;
    Ok(connection)
}

/// Mounts what `program` will serve on a connection of the caller's. `source` is what the mount table says it is. Where there
/// are `others` in the container, they may look, and the kernel decides what each of them may do.
pub(crate) fn attach(
    connection: &impl AsRawFd,
    program: &str,
    source: &Path,
    access: Access,
    others: bool,
    at: &Path,
) -> Result<(), Errno> {
    let options = format!(
        "fd={},rootmode=40000,user_id={},group_id={}{}",
        connection.as_raw_fd(),
        nix::unistd::getuid(),
        nix::unistd::getgid(),
        if others { ",allow_other,default_permissions" } else { "" }
    );
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if access == Access::ReadOnly {
        flags |= MsFlags::MS_RDONLY;
    }
    let kind = format!("fuse.{program}");
    nix::mount::mount(Some(source), at, Some(kind.as_str()), flags, Some(options.as_str()))
}

/// Takes a mount out of sight. It ends when nobody uses it any more, here or in another mount namespace.
pub(super) fn unmount(at: &Path) -> Result<(), Errno> {
    nix::mount::umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
}

fn unopened(error: std::io::Error) -> Failure {
    let failure = Failure::new(format!("while opening {DEVICE}: {}", reason_of(&error)));
    match error.kind() {
        ErrorKind::PermissionDenied => {
            failure.hint(format!("ask the administrator to let users open it: 'chmod 0666 {DEVICE}'"))
        }
        ErrorKind::NotFound => {
            failure.hint("ask the administrator to load the kernel's module: 'modprobe fuse'")
        }
        _ if error.raw_os_error() == Some(Errno::ENODEV as i32) => {
            failure.hint("ask the administrator to load the kernel's module: 'modprobe fuse'")
        }
        _ => failure,
    }
}
