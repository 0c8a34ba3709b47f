//! What an OCI runtime leaves behind when it has started this program.

use crate::oci_mode::{INIT_FD, STARTED_FD};
use crate::sys::descriptors;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Says that this program is there, keeps what it was started with from the user's program, and ends with the runtime,
/// whose end nobody else in the container notices.
///
/// # Errors
/// A descriptor is missing: nobody started this program as it is meant.
pub(super) fn take_over() -> Result<(), Errno> {
    set_pdeathsig(Signal::SIGKILL)?;
    drop(descriptors::adopt(INIT_FD)?);
    nix::unistd::write(descriptors::adopt(STARTED_FD)?, b"1").map(drop)
}
