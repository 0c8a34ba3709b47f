//! The process that waits outside a PID namespace: the caller's shell sees it in place of the program.

use crate::error::Failure;
use crate::init::Ending;
use crate::monitor;
use nix::unistd::Pid;
use std::convert::Infallible;
use std::ffi::OsStr;

/// Waits for a child of this process, by its id, and ends as it does.
///
/// # Errors
/// Always: how to end.
pub(super) fn run(process: &OsStr) -> Result<Infallible, Ending> {
    let number: Option<i32> =
        process.to_str().and_then(|number| number.parse().ok()).filter(|number| *number > 1);
    let container =
        number.map(Pid::from_raw).ok_or_else(|| Failure::new("the monitor needs a process id"))?;
    Err(Ending::Status(monitor::end_like(monitor::follow(container)?.fate)))
}
