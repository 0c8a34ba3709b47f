//! `--fusemount`: file systems that programs of the user's choice serve ([README](README.md)). `init` mounts them, because
//! only there is the container as it will be; what it needs of the host comes through a [`Door`].

mod outside;

use crate::envelope::{receive, send};
use crate::error::{Doing, NotStarted, Outcome, reason_of};
use crate::fuse::open_device;
use crate::payload::{FuseMount, Side};
use crate::sys::descriptors;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long servers may take to end when their container has.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What the host says of a server: it was started …
const STARTED: u8 = b'+';
/// … or why not follows.
const FAILED: u8 = b'-';

/// What comes with the payload when there is something to mount: the socket that it came through, on whose other end
/// servers on the host are started, and devices.
pub(crate) struct Door {
    pub(crate) line: Line,
    pub(crate) devices: Devices,
}

/// The socket.
pub(crate) struct Line(OwnedFd);

/// The host's `/dev`, whatever the container shows of it. It leads out of the container, so no program may get it.
pub(crate) struct Devices(OwnedFd);

/// Has a process start those servers that run on the host, for as long as the container holds the other end.
///
/// # Errors
/// The kernel makes no process.
pub(crate) fn attend(ours: &OwnedFd, file_systems: &[FuseMount]) -> Result<(), NotStarted> {
    match file_systems.iter().any(|file_system| file_system.side == Side::Host) {
        true => outside::attend(ours, file_systems),
        false => Ok(()),
    }
}

impl Devices {
    /// Opens it.
    ///
    /// # Errors
    /// `/dev/fuse` cannot be used here.
    pub(crate) fn open() -> Outcome<Self> {
        // What is wrong with it is told here, where it can be told best.
        drop(open_device()?);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open("/dev", flags, Mode::empty()).doing(|| "preparing FUSE file systems".into()).map(Self)
    }

    /// A new connection to the kernel, of this process's user namespace.
    ///
    /// # Errors
    /// The host lets this user open none.
    pub(crate) fn connection(&self) -> Result<OwnedFd, Errno> {
        openat(&self.0, "fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
    }
}

impl From<OwnedFd> for Devices {
    fn from(directory: OwnedFd) -> Self {
        Self(directory)
    }
}

impl AsFd for Devices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Line {
    /// A line on this socket.
    pub(crate) fn on(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Has the server with this number started on the host.
    ///
    /// # Errors
    /// Nobody is there any more.
    pub(crate) fn hand_out(&self, number: usize, connection: OwnedFd) -> io::Result<()> {
        Ok(send(&self.0, &number.to_le_bytes(), &[connection.as_fd()])?)
    }

    /// Waits until the server that was asked for last was started.
    ///
    /// # Errors
    /// Why it was not.
    pub(crate) fn answer(&self) -> Result<(), String> {
        match receive(&self.0) {
            Ok((words, _)) if words == [STARTED] => Ok(()),
            Ok((words, _)) if words.is_empty() => Err("the process that starts it has ended".into()),
            Ok((words, _)) => Err(String::from_utf8_lossy(words.get(1..).unwrap_or_default()).into_owned()),
            Err(error) => Err(reason_of(&error)),
        }
    }

    /// Has the servers on the host ended, and waits for that, though not for longer than they may take.
    pub(crate) fn close(self) {
        let _ = shutdown(&self.0, Shutdown::Write);
        let timeout = PollTimeout::try_from(2 * PATIENCE).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout);
    }
}

/// The arguments that a FUSE program gets: as a mount point its connection, which must be inherited under this number.
pub(crate) fn arguments(file_system: &FuseMount, connection: i32) -> Vec<Vec<u8>> {
    let mut arguments = file_system.command.clone();
    arguments.push(format!("/dev/fd/{connection}").into_bytes());
    if !file_system.daemon {
        arguments.push(b"-f".into());
    }
    arguments
}

/// What a FUSE server does right before it becomes its program: it has a session of its own, because Ctrl-C is for the
/// container's program, and ends with this process, its parent.
pub(crate) fn before_serving(connection: i32) -> io::Result<()> {
    use crate::sys::signal::{Disposition, set_blocked, set_disposition};
    nix::unistd::setsid()?;
    for signal in [libc::SIGTERM, libc::SIGPIPE, libc::SIGCHLD] {
        set_disposition(signal, Disposition::Default)?;
    }
    set_blocked(&[])?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    Ok(descriptors::keep_across_exec(connection)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(daemon: bool) -> FuseMount {
        FuseMount {
            side: Side::Container,
            daemon,
            command: vec![b"squashfuse".into(), b"a.sqfs".into()],
            place: b"/data".into(),
        }
    }

    #[test]
    fn a_server_stays_in_the_foreground_unless_it_is_a_daemon() {
        let words = |daemon| arguments(&served(daemon), 7).join(&b' ');
        assert_eq!(words(false), b"squashfuse a.sqfs /dev/fd/7 -f");
        assert_eq!(words(true), b"squashfuse a.sqfs /dev/fd/7");
    }
}
