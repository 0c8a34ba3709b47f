//! Changes to an ext3 that is not mounted.

use crate::confined::helper::{DEBUGFS, Helper, Programs, SUBJECT};
use crate::error::{Doing, Failure, Outcome};
use crate::making::{Interrupts, Staging};
use crate::message::shown;
use std::fs::File;

/// Has debugfs carry out commands, one a line, on the ext3 that begins at `offset` in a file.
///
/// # Errors
/// It is missing, was interrupted, or complained.
pub(crate) fn change(
    programs: &Programs,
    file: &File,
    offset: u64,
    commands: &str,
    interrupts: &Interrupts,
) -> Outcome<()> {
    let script = Staging::in_temporary_directory()?;
    let script_file = script.path().join("commands");
    std::fs::write(&script_file, commands).doing(|| format!("writing {}", shown(&script_file)))?;
    let subject = if offset == 0 { SUBJECT.to_owned() } else { format!("{SUBJECT}?offset={offset}") };
    let ended = Helper::new(programs, DEBUGFS)?
        .args(["-w", "-f"])
        .args([script_file.as_os_str(), subject.as_ref()])
        .changes_file(file)
        .reads(script.path())
        .run(interrupts, || {})?;
    // Its exit status does not say; it complains of what went wrong, after a line with its version.
    match ended.complaints().iter().find(|line| !line.starts_with("debugfs 1.")) {
        Some(complaint) => Err(Failure::new(format!("debugfs failed: {complaint}"))),
        None => Ok(()),
    }
}
