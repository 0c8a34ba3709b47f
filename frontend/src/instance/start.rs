//! Starting an instance: the command leaves a process behind that becomes the container, and waits until it is there.

use super::{Folder, Record};
use crate::error::{Doing, FAILURE_STATUS, Outcome};
use crate::making::Interrupts;
use crate::message::shown;
use crate::process::start_of;
use crate::sys::descriptors;
use crate::sys::fork::fork_to;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair, sockopt,
};
use std::fs::{DirBuilder, File};
use std::io::{self, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of what a failed start said that are repeated.
const REPEATED_BYTES_MAX: u64 = 64 << 10;

/// Where an instance's output goes; it is added to what is there.
#[derive(Debug)]
pub struct Logs {
    /// Standard output.
    pub out: PathBuf,
    /// Standard error.
    pub err: PathBuf,
}

/// The processes of an instance that has just been started.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    /// Process 1.
    pub first: Pid,
    /// When that was started, in clock ticks since boot.
    pub started: u64,
    /// The process that waits for it.
    pub monitor: Pid,
    /// When that was started.
    pub monitor_started: u64,
    /// The process that keeps the namespaces of FUSE file systems, as the instance numbers it.
    pub keeper: Option<i32>,
}

/// What the new process takes along: the socket on which it tells that it is there, and its logs.
#[derive(Debug)]
pub struct Outlets {
    told: OwnedFd,
    out: OwnedFd,
    err: OwnedFd,
}

impl Outlets {
    /// Puts them in place of the caller's standard streams. What is said from now on goes to the logs.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn take(&self) -> Outcome<()> {
        for (outlet, number) in [(&self.told, 0), (&self.out, 1), (&self.err, 2)] {
            descriptors::place(outlet, number).doing(|| "redirecting output to the logs".into())?;
        }
        Ok(())
    }
}

/// Starts an instance of this name. Returns its processes, or the exit status if it failed and everything was said.
/// `become_container` runs in a process of its own, at first with the caller's own standard streams. It takes the
/// outlets right before it becomes the container, and ends only by failing. `describe` makes the record once the
/// processes are known.
///
/// # Errors
/// The name is taken, or the folders for records and logs cannot be written to.
pub fn start(
    folder: &Folder,
    name: &str,
    become_container: impl FnOnce(&Outlets) -> i32,
    describe: impl FnOnce(Processes, &Logs) -> Record,
) -> Outcome<Result<Processes, i32>> {
    // Ctrl-C gives the name back.
    let interrupts = Interrupts::hold()?;
    let mut reserved = folder.reserve(name)?;
    let logs = folder.logs(name)?;
    let (out, err) = (append(&logs.out)?, append(&logs.err)?);
    let before = err.metadata().map_or(0, |log| log.len());
    let (ours, told) = channel().doing(|| "making a socket".into())?;
    let outlets = Outlets { told, out: out.into(), err: err.into() };
    let monitor = fork_to(|| {
        interrupts.let_go();
        // Only so does process 1 learn, and is the name free again, when this command is killed.
        descriptors::close(ours.as_raw_fd());
        reserved.leave_to_parent();
        // A session of its own: what ends the caller's terminal does not end the instance.
        let _ = setsid();
        become_container(&outlets)
    })
    .doing(|| format!("starting a process for instance {name}"))?;
    drop(outlets);
    await_word(&ours, &interrupts)?;
    let started =
        teller(&ours).and_then(|(first, keeper)| Some((first, keeper, start_of(first)?, start_of(monitor)?)));
    let Some((first, keeper, started, monitor_started)) = started else {
        return Ok(Err(report(monitor, &logs.err, before)));
    };
    let processes = Processes { first, started, monitor, monitor_started, keeper };
    reserved.write(&describe(processes, &logs))?;
    if answer(&ours).is_err() {
        return Ok(Err(report(monitor, &logs.err, before)));
    }
    reserved.keep();
    Ok(Ok(processes))
}

impl Folder {
    fn logs(&self, name: &str) -> Outcome<Logs> {
        let making = || format!("making {}", shown(&self.logs));
        DirBuilder::new().mode(0o700).recursive(true).create(&self.logs).doing(making)?;
        let log = |kind: &str| self.logs.join(format!("{name}.{kind}"));
        Ok(Logs { out: log("out"), err: log("err") })
    }
}

fn append(path: &Path) -> Outcome<File> {
    let opened = File::options().append(true).create(true).mode(0o644).open(path);
    opened.doing(|| format!("opening {}", shown(path)))
}

/// A pair of sockets, of which the first learns who sends.
fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// Waits until there is something to read, or nobody left who could write.
fn await_word(socket: &OwnedFd, interrupts: &Interrupts) -> Outcome<()> {
    loop {
        let mut watched = [socket.as_fd(), interrupts.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            waited => {
                waited.doing(|| "waiting for the instance".into())?;
                return interrupts.check();
            }
        }
    }
}

/// Waits for the one message, and returns who sent it, as this process numbers processes, and what it says; `None` when
/// there is none left who could send it.
fn teller(socket: &OwnedFd) -> Option<(Pid, Option<i32>)> {
    let mut word = [0; size_of::<i32>()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut words = [IoSliceMut::new(&mut word)];
        match recvmsg(socket, &mut words, &mut ancillary, RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.ok()?,
        }
    };
    (received.bytes == word.len()).then_some(())?;
    let keeper = i32::from_le_bytes(word);
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => {
            Some((Pid::from_raw(sender.pid.as_raw_nonzero().get()), (keeper != 0).then_some(keeper)))
        }
        _ => None,
    })
}

/// Repeats what a start that failed said in the log, and returns its exit status.
fn report(monitor: Pid, log: &Path, before: u64) -> i32 {
    let status = match waitpid(monitor, None) {
        Ok(WaitStatus::Exited(_, status)) if status != 0 => status,
        _ => FAILURE_STATUS.into(),
    };
    let mut said = Vec::new();
    if let Ok(mut log) = File::open(log)
        && log.seek(SeekFrom::Start(before)).is_ok()
        && log.take(REPEATED_BYTES_MAX).read_to_end(&mut said).is_ok()
    {
        // A standard error that cannot be written to changes nothing.
        let _ = io::stderr().write_all(&said);
    }
    status
}

/// Lets process 1 go on: whoever looks for the instance finds it from now on.
fn answer(socket: &OwnedFd) -> io::Result<()> {
    Ok(rustix::net::send(socket, b"1", rustix::net::SendFlags::NOSIGNAL).map(drop)?)
}

/// For process 1 of an instance, whose standard input is the socket: tells that it is there, and who keeps the namespaces
/// of its FUSE file systems. Returns when there is a record of it: without one nobody could find the instance.
///
/// # Errors
/// Nobody listens any more, or standard input is something else.
pub fn tell(socket: &OwnedFd, keeper: Option<Pid>) -> Outcome<()> {
    let telling = || "telling that the instance runs".to_owned();
    let word = keeper.map_or(0, Pid::as_raw).to_le_bytes();
    rustix::net::send(socket, &word, rustix::net::SendFlags::NOSIGNAL).map(drop).doing(telling)?;
    loop {
        match rustix::io::read(socket, &mut [0; 1]) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(1) => return Ok(()),
            Ok(_) => return Err(io::Error::from(io::ErrorKind::BrokenPipe)).doing(telling),
            Err(error) => return Err(error).doing(telling),
        }
    }
}
