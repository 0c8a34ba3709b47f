//! A parser over hostile bytes, run in a child that can do nothing but read them and answer.
//!
//! [`read`] is for headers: it takes an answer within seconds. [`stream`] is for content: what the child makes of it
//! goes into a pipe for as long as somebody takes it, and the answer follows.
//!
//! The child is a plain fork without an exec, so it costs some tenths of a millisecond. It gives up, in this order: time
//! ([`SECONDS_MAX`]), memory, new descriptors, the file system and network (Landlock, all classes this kernel
//! knows), and every system call but reading the one descriptor, writing the answer and managing its own memory
//! (seccomp). The parent believes nothing of the answer that it did not decode and bound; what the values in it may
//! be is for the caller to check.
//!
//! `no_new_privs`, which the child sets, would cancel the setuid bit of the starter: it must never be set in the
//! parent, and this is why there is a child at all.

use super::codec;
use crate::error::{NotStarted, reason_of};
use crate::image::FileBytes;
use crate::process;
use crate::sys::fork;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope,
};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest time for reading the headers of one image. They are a few pages; a file on a server that does not
/// answer must not hang the command.
pub const SECONDS_MAX: u32 = 5;
/// Most private memory of the child: the largest table read plus its answer need less than half of it.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// How long a killed child may take to die. One that waits in the kernel for a dead server can take for ever; it
/// is then left to it, since it can do nothing any more.
const REAP_TIME_MAX: Duration = Duration::from_secs(1);
/// The child's exit status when it could not lock itself up.
const NOT_CONFINED: i32 = 2;
/// The child's exit status when its answer could not be sent.
const NOT_SENT: i32 = 3;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unanswered {
    /// The child could not be started.
    NotStarted(NotStarted),
    /// The child could not lock itself up, so it did not look at anything.
    NotConfined,
    /// The child ran longer than [`SECONDS_MAX`].
    TooSlow,
    /// The child died, by a signal if one is known.
    Died(Option<Signal>),
    /// The answer is not one.
    Nonsense,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => {
                write!(f, "the reader process could not be started: {}", reason_of(why))
            }
            Self::NotConfined => f.write_str("the reader process could not be confined by seccomp"),
            Self::TooSlow => write!(f, "its headers could not be read within {SECONDS_MAX} seconds"),
            Self::Died(Some(signal)) => {
                write!(f, "the confined reader of its headers was stopped by {signal}")
            }
            Self::Died(None) => f.write_str("the confined reader of its headers failed"),
            Self::Nonsense => f.write_str("the confined reader of its headers gave no valid answer"),
        }
    }
}

impl std::error::Error for Unanswered {}

fn not_started(error: Errno) -> Unanswered {
    Unanswered::NotStarted(error.into())
}

/// Runs `parse` over the first `length` bytes of `file` in a confined child and returns its answer.
///
/// `parse` must need nothing but the bytes and memory.
///
/// # Errors
/// Why there is no answer.
pub fn read<T: Serialize + DeserializeOwned>(
    file: &File,
    length: u64,
    parse: impl FnOnce(&FileBytes<'_>) -> T,
) -> Result<T, Unanswered> {
    let (receiver, sender) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(not_started)?;
    let (mut receiver, mut sender) = (File::from(receiver), File::from(sender));
    // Compiled before the fork: it allocates, and a failure is reported better from here.
    let filter = filter(file, &[&sender]).ok_or(Unanswered::NotConfined)?;
    let child = fork::fork_to(|| {
        if limit_time().and_then(|()| confine(&filter)).is_none() {
            return NOT_CONFINED;
        }
        send(&mut sender, &parse(&FileBytes::new(file, length)))
    })
    .map_err(Unanswered::NotStarted)?;
    drop(sender);
    take_answer(child, &mut receiver)
}

/// A parser at work in a confined child. Dropped before its answer was taken, it is stopped.
#[derive(Debug)]
pub struct Stream<T> {
    child: Option<Pid>,
    receiver: File,
    answer: PhantomData<T>,
}

/// Starts `parse` over the first `length` bytes of `file` in a confined child that may also write into a pipe, whose other
/// end comes back; the child ends with this process. There is no limit on its time: it goes on only while somebody
/// reads there.
///
/// # Errors
/// The child could not be started.
pub fn stream<T: Serialize + DeserializeOwned>(
    file: &File,
    length: u64,
    parse: impl FnOnce(&FileBytes<'_>, &File) -> T,
) -> Result<(Stream<T>, OwnedFd), Unanswered> {
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(not_started);
    let ((receiver, sender), (taken, given)) = (pipe()?, pipe()?);
    let (receiver, mut sender, given) = (File::from(receiver), File::from(sender), File::from(given));
    let filter = filter(file, &[&sender, &given]).ok_or(Unanswered::NotConfined)?;
    let parent = Pid::this();
    let child = fork::fork_to(|| {
        let orphaned = || Pid::parent() != parent;
        let bound = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && !orphaned();
        if !bound || confine(&filter).is_none() {
            return NOT_CONFINED;
        }
        send(&mut sender, &parse(&FileBytes::new(file, length), &given))
    })
    .map_err(Unanswered::NotStarted)?;
    Ok((Stream { child: Some(child), receiver, answer: PhantomData }, taken))
}

impl<T: Serialize + DeserializeOwned> Stream<T> {
    /// The answer, once the pipe was read to its end.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(mut self) -> Result<T, Unanswered> {
        match self.child.take() {
            Some(child) => take_answer(child, &mut self.receiver),
            None => Err(Unanswered::Nonsense),
        }
    }
}

impl<T> Drop for Stream<T> {
    fn drop(&mut self) {
        if let Some(child) = self.child {
            let _ = kill(child, Signal::SIGKILL);
            reap(child);
        }
    }
}

/// Sends the answer of a child and returns the status that it exits with.
fn send(sender: &mut File, answer: &impl Serialize) -> i32 {
    match codec::encode(answer).map(|bytes| sender.write_all(&bytes)) {
        Some(Ok(())) => 0,
        _ => NOT_SENT,
    }
}

fn take_answer<T: DeserializeOwned>(child: Pid, receiver: &mut File) -> Result<T, Unanswered> {
    let answer = receive(receiver);
    if answer.is_err() {
        let _ = kill(child, Signal::SIGKILL);
    }
    let ended = reap(child);
    let bytes = answer?;
    match ended {
        // Where the caller ignores SIGCHLD the kernel keeps no status; the answer speaks for itself.
        Some(WaitStatus::Exited(_, 0)) | None => codec::decode(&bytes).ok_or(Unanswered::Nonsense),
        Some(WaitStatus::Exited(_, NOT_CONFINED)) => Err(Unanswered::NotConfined),
        Some(WaitStatus::Signaled(_, Signal::SIGALRM, _)) => Err(Unanswered::TooSlow),
        Some(WaitStatus::Signaled(_, signal, _)) => Err(Unanswered::Died(Some(signal))),
        Some(_) => Err(Unanswered::Died(None)),
    }
}

/// Reads until the child is gone, at most as long and as much as an answer may be.
fn receive(receiver: &mut File) -> Result<Vec<u8>, Unanswered> {
    let deadline = Instant::now() + Duration::from_secs(u64::from(SECONDS_MAX));
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match ready(receiver, deadline) {
            Ok(true) => {}
            Ok(false) => return Err(Unanswered::TooSlow),
            Err(Errno::EINTR) => continue,
            Err(_) => return Err(Unanswered::Nonsense),
        }
        match receiver.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(read) if bytes.len() + read <= codec::ANSWER_BYTES_MAX => {
                bytes.extend_from_slice(&chunk[..read])
            }
            _ => return Err(Unanswered::Nonsense),
        }
    }
}

/// Waits for a child that is about to end; `None` when nothing is known of its end.
fn reap(child: Pid) -> Option<WaitStatus> {
    let process = process::hold(child).ok()?;
    let deadline = Instant::now() + REAP_TIME_MAX;
    while ready(&process, deadline) == Err(Errno::EINTR) {}
    match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(_) => None,
        Ok(ended) => Some(ended),
    }
}

/// Waits until there is something to read, or the time is over.
fn ready(file: &impl AsFd, deadline: Instant) -> Result<bool, Errno> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    nix::poll::poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout).map(|ready| ready > 0)
}

/// Gives up time; `None` when a limit was refused.
fn limit_time() -> Option<()> {
    fork::die_after(SECONDS_MAX + 1).ok()?;
    let seconds = u64::from(SECONDS_MAX);
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds).ok()
}

/// Gives up everything else that a parser does not need; `None` when seccomp or a limit was refused.
fn confine(filter: &BpfProgram) -> Option<()> {
    nix::sys::prctl::set_dumpable(false).ok()?;
    let limits =
        [(Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_DATA, MEMORY_BYTES_MAX), (Resource::RLIMIT_FSIZE, 0)];
    for (resource, most) in limits {
        setrlimit(resource, most, most).ok()?;
    }
    // A kernel without Landlock, or a surrounding sandbox that forbids it, takes nothing away: the filter below has
    // no call that Landlock would have to refuse.
    let _ = forbid_files_and_network();
    seccompiler::apply_filter(filter).ok()
}

fn forbid_files_and_network() -> Result<(), RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V7))?
        .handle_access(AccessNet::from_all(ABI::V7))?
        .scope(Scope::from_all(ABI::V7))?
        .create()?
        .restrict_self()
        .map(drop)
}

/// The calls of a parser: reading the image, writing to its pipes, its own memory (never executable, never of a file),
/// its end. Anything else kills the process.
fn filter(image: &File, pipes: &[&File]) -> Option<BpfProgram> {
    let argument = |number, comparison, value: i32| {
        SeccompCondition::new(number, Width::Dword, comparison, u64::from(value.cast_unsigned())).ok()
    };
    let not_executable = || argument(2, Is::MaskedEq(libc::PROT_EXEC as u64), 0);
    let to = |file: &File| SeccompRule::new(vec![argument(0, Is::Eq, file.as_raw_fd())?]).ok();
    let all = |conditions| SeccompRule::new(conditions).ok();
    // An entry without rules allows the call with any arguments; one of several rules is enough.
    let rules = [
        (libc::SYS_pread64, vec![to(image)?]),
        (libc::SYS_write, pipes.iter().map(|pipe| to(pipe)).collect::<Option<_>>()?),
        (libc::SYS_mmap, vec![all(vec![not_executable()?, argument(4, Is::Eq, -1)?])?]),
        (libc::SYS_mprotect, vec![all(vec![not_executable()?])?]),
        (libc::SYS_munmap, vec![]),
        (libc::SYS_mremap, vec![]),
        (libc::SYS_madvise, vec![]),
        (libc::SYS_brk, vec![]),
        (libc::SYS_exit_group, vec![]),
    ];
    let allowed: BTreeMap<i64, Vec<SeccompRule>> = rules.into_iter().collect();
    let target = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    SeccompFilter::new(allowed, SeccompAction::KillProcess, SeccompAction::Allow, target)
        .ok()?
        .try_into()
        .ok()
}
