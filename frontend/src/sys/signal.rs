//! Signal state by bare number: the payload carries numbers, among them the real-time signals nix has no names for.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::Pid;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Every number that may be a signal.
pub const ALL: [i32; 64] = {
    let mut numbers = [0; 64];
    let mut index = 0;
    while index < numbers.len() {
        numbers[index] = index as i32 + 1;
        index += 1;
    }
    numbers
};
/// One above the highest signal number of Linux.
pub const SIGNALS_END: i32 = 65;

/// What happens on a signal that no handler waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// What the kernel does by itself.
    Default,
    /// Nothing.
    Ignore,
}

/// Sets the disposition of one signal.
///
/// # Errors
/// `EINVAL` for a number that is no signal or cannot be changed.
pub fn set_disposition(number: i32, disposition: Disposition) -> Result<(), Errno> {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    // SAFETY: installs no function, so there is none that a signal could call in a bad state.
    let previous = unsafe { libc::signal(number, handler) };
    if previous == libc::SIG_ERR { Err(Errno::last()) } else { Ok(()) }
}

/// What the caller wants of signals, as it was when this process began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inherited {
    /// The signals, by number, that are ignored.
    pub ignored: Vec<i32>,
    /// The signals, by number, that are blocked.
    pub blocked: Vec<i32>,
}

impl Inherited {
    /// Looks, which is to be done before anything is held back.
    #[must_use]
    pub fn now() -> Self {
        Self { ignored: ignored_signals(), blocked: blocked_signals() }
    }
}

fn blocked_signals() -> Vec<i32> {
    let mut blocked = SigSet::empty();
    if sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut blocked)).is_err() {
        return Vec::new();
    }
    Signal::iterator().filter(|signal| blocked.contains(*signal)).map(|signal| signal as i32).collect()
}

/// The signals, by number, that are ignored. `SIGPIPE` is not among them: Rust's runtime ignores it before anything
/// of this program runs, so what was inherited is not known.
#[must_use]
pub fn ignored_signals() -> Vec<i32> {
    ALL.into_iter().filter(|signal| *signal != libc::SIGPIPE && is_ignored(*signal)).collect()
}

fn is_ignored(signal: i32) -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks only; the kernel writes a whole structure to the place given when it answers 0.
    let answer = unsafe { libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) };
    if answer != 0 {
        return false;
    }
    // SAFETY: the call succeeded, so the structure was written.
    let current = unsafe { current.assume_init() };
    current.sa_sigaction == libc::SIG_IGN
}

/// Blocks exactly these signals; numbers that are none are left out.
///
/// # Errors
/// None is known.
pub fn set_blocked(numbers: &[i32]) -> Result<(), Errno> {
    let set = set_of(numbers);
    // SAFETY: the set is initialised and alive during the call; the old mask is not asked for.
    let done = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    Errno::result(done).map(drop)
}

/// A signal that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Which one.
    pub number: i32,
    /// Whether a process sent it to this one or its group. Otherwise it is the kernel's own, which for the signals of
    /// a terminal means that the whole foreground group got it.
    pub sent: bool,
}

impl Arrival {
    /// Whether it is for the program that this process waits for: what the kernel sends reaches that one by itself,
    /// and `SIGCHLD` and `SIGURG` are about this process's own children and descriptors.
    #[must_use]
    pub fn is_for_others(self) -> bool {
        self.sent && !matches!(self.number, libc::SIGCHLD | libc::SIGURG)
    }
}

/// Takes one of these signals, which must be blocked, as soon as it is pending, or nothing when the time is over. A
/// signal that somebody handles meanwhile ends the wait early.
#[must_use]
pub fn wait(numbers: &[i32], time: Duration) -> Option<Arrival> {
    let set = set_of(numbers);
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos()),
    };
    let mut details = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the set and the time are initialised and alive during the call; the kernel writes whole details.
    let number = unsafe { libc::sigtimedwait(&raw const set, details.as_mut_ptr(), &raw const time) };
    // SAFETY: all-zero bytes are valid details too: they hold integers and pointers that nobody follows.
    let details = unsafe { details.assume_init() };
    (number > 0).then_some(Arrival { number, sent: details.si_code <= 0 })
}

/// Sends a signal to a process.
///
/// # Errors
/// `ESRCH` when it is gone, `EPERM` when it may not be sent to.
pub fn send(process: Pid, number: i32) -> Result<(), Errno> {
    // SAFETY: reads integers only; what the signal does is up to the one who gets it.
    let done = unsafe { libc::kill(process.as_raw(), number) };
    Errno::result(done).map(drop)
}

fn set_of(numbers: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is to memory of the right type, which the call only writes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for number in numbers.iter().filter(|number| (1..SIGNALS_END).contains(*number)) {
        // SAFETY: the set was initialised above; the number is in the range of signals.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *number) };
    }
    // SAFETY: sigemptyset initialised it.
    unsafe { set.assume_init() }
}
