//! `--fusemount`: file systems that programs of the user's choice serve ([README](README.md)). `init` mounts them, because
//! only there is the container as it will be; what it needs of the host comes through a [`Door`].

mod outside;

use crate::error::{Doing, Failure, Outcome, reason_of};
use crate::fuse::open_device;
use crate::payload::{FuseMount, Side};
use crate::sys::descriptors;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
    socketpair,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long servers may take to end when their container has.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a message: a reason why a server could not be started.
const MESSAGE_BYTES_MAX: usize = 4096;
/// What the host says of a server: it was started …
const STARTED: u8 = b'+';
/// … or why not follows.
const FAILED: u8 = b'-';

/// What the payload travels in when there is something to mount: a socket that has it, and on whose other end servers on
/// the host are started.
pub(crate) struct Door {
    pub(crate) line: Line,
    pub(crate) devices: Devices,
}

/// The socket.
pub(crate) struct Line(OwnedFd);

/// The host's `/dev`, whatever the container shows of it. It leads out of the container, so no program may get it.
pub(crate) struct Devices(OwnedFd);

/// Puts the payload into a [`Door`] if file systems are to be mounted. A process that starts those servers that run on
/// the host lives for as long as the container holds the door.
///
/// # Errors
/// `/dev/fuse` cannot be used here, or the kernel has no memory or descriptors left.
pub(crate) fn equip(payload: OwnedFd, file_systems: &[FuseMount]) -> Outcome<OwnedFd> {
    if file_systems.is_empty() {
        return Ok(payload);
    }
    // What is wrong with it is told here, where it can be told best.
    drop(open_device()?);
    let doing = || "preparing FUSE file systems".to_owned();
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let devices = open("/dev", flags, Mode::empty()).doing(doing)?;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing(doing)?;
    send(&ours, &[STARTED], &[payload.as_fd(), devices.as_fd()]).doing(doing)?;
    if file_systems.iter().any(|file_system| file_system.side == Side::Host) {
        outside::attend(&ours, file_systems).doing(doing)?;
    }
    Ok(theirs)
}

impl Door {
    /// The payload, and the door if it came through one.
    ///
    /// # Errors
    /// What came is neither.
    pub(crate) fn receive(descriptor: OwnedFd) -> Outcome<(File, Option<Self>)> {
        let doing = || "taking over the payload".to_owned();
        let kind = SFlag::from_bits_truncate(fstat(&descriptor).doing(doing)?.st_mode);
        if !kind.contains(SFlag::S_IFSOCK) {
            return Ok((descriptor.into(), None));
        }
        let (_, descriptors) = receive(&descriptor).doing(doing)?;
        match <[OwnedFd; 2]>::try_from(descriptors) {
            Ok([payload, devices]) => {
                Ok((payload.into(), Some(Self { line: Line(descriptor), devices: Devices(devices) })))
            }
            Err(_) => Err(Failure::new("while taking over the payload: it is incomplete")),
        }
    }
}

impl Devices {
    /// A new connection to the kernel, of this process's user namespace.
    ///
    /// # Errors
    /// The host lets this user open none.
    pub(crate) fn connection(&self) -> Result<OwnedFd, Errno> {
        openat(&self.0, "fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
    }
}

impl Line {
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

/// One message with descriptors.
fn send(socket: &OwnedFd, words: &[u8], descriptors: &[BorrowedFd]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let words = words.get(..MESSAGE_BYTES_MAX).unwrap_or(words);
    sendmsg(socket, &[IoSlice::new(words)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// The next message with its descriptors; an empty one when nobody can send any more.
fn receive(socket: &OwnedFd) -> rustix::io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut words = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut words)];
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    words.truncate(received.bytes);
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((words, rights.flatten().collect()))
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
    use std::io::Read;
    use std::os::fd::AsRawFd;

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

    #[test]
    fn a_payload_passes_with_and_without_something_to_mount() {
        for file_systems in [vec![], vec![served(false)]] {
            let payload = crate::launch::sealed(b"the payload").unwrap();
            let descriptor = equip(payload, &file_systems).unwrap();
            let (mut payload, door) = Door::receive(descriptor).unwrap();
            let mut text = String::new();
            payload.read_to_string(&mut text).unwrap();
            assert_eq!(text, "the payload");
            assert_eq!(door.is_some(), !file_systems.is_empty());
            if let Some(door) = door {
                let connection = door.devices.connection().unwrap();
                let link = format!("/proc/self/fd/{}", connection.as_raw_fd());
                assert_eq!(std::fs::read_link(link).unwrap(), std::path::Path::new("/dev/fuse"));
                assert!(door.line.answer().is_err(), "nobody is on the host");
            }
        }
    }
}
