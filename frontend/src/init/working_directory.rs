//! Where the program starts.

use crate::error::{Failure, Outcome};
use crate::init::execute::reason;
use crate::message::{self, shown};
use crate::payload::{Dialect, Payload, Text};
use nix::errno::Errno;
use nix::unistd::chdir;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Goes to the directory the program starts in, and returns its name for `PWD`.
///
/// # Errors
/// When the directory was asked for and cannot be entered.
pub(super) fn enter(payload: &Payload) -> Outcome<Text> {
    let wanted = &payload.working_directory;
    if let Some(directory) = &wanted.required {
        let failed = |error: Errno| {
            Failure::new(format!("failed to set working directory: {}", refusal(directory, error)))
        };
        go(directory).map_err(failed)?;
        return Ok(directory.clone());
    }
    let mut first_refusal = None;
    for directory in wanted.candidates.iter().map(Vec::as_slice).chain([b"/".as_slice()]) {
        match go(directory) {
            Ok(()) => {
                if let (Some(refusal), Dialect::Apptainer) = (first_refusal, payload.dialect) {
                    let here = shown(OsStr::from_bytes(directory));
                    message::warning(format!(
                        "Error changing the container working directory. Using '{here}' instead: {refusal}"
                    ));
                }
                return Ok(directory.to_vec());
            }
            Err(error) => {
                first_refusal.get_or_insert_with(|| refusal(directory, error));
            }
        }
    }
    Err(Failure::new("failed to set working directory: the container's root cannot be entered"))
}

fn go(directory: &[u8]) -> Result<(), Errno> {
    chdir(OsStr::from_bytes(directory))
}

fn refusal(directory: &[u8], error: Errno) -> String {
    format!("chdir {}: {}", shown(OsStr::from_bytes(directory)), reason(error))
}
