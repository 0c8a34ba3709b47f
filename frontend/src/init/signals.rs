//! The signal state and umask the user's program starts with, and the signals by which it is asked to end.

use crate::payload::Payload;
use crate::sys::signal::{self, Disposition};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

/// The signals by which a container is asked to end.
pub(super) const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// Everybody but process 1 itself.
pub(super) const EVERYBODY: Pid = Pid::from_raw(-1);

/// Sets the umask; bits beyond the permission bits mean nothing.
pub(super) fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask & 0o777));
}

/// Gives the program the signals its caller had blocked and ignored. Everything else is at its default, in
/// particular `SIGPIPE`, which the language's start-up code ignores.
pub(super) fn restore(payload: &Payload) {
    // The numbers come from the kernel; one that cannot be set here could not be set there either.
    let _ = signal::set_disposition(libc::SIGPIPE, Disposition::Default);
    for number in &payload.ignored_signals {
        let _ = signal::set_disposition(*number, Disposition::Ignore);
    }
    let _ = signal::set_blocked(&payload.blocked_signals);
}
