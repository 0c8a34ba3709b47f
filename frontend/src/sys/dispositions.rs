//! What this process inherited about signals.

use std::mem::MaybeUninit;

/// The signals, by number, that are ignored. `SIGPIPE` is not among them: Rust's runtime ignores it before anything
/// of this program runs, so what was inherited is not known.
#[must_use]
pub fn ignored_signals() -> Vec<i32> {
    (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGPIPE && is_ignored(*signal)).collect()
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
