//! What a dead writer of an ext3 left in its journal.

use crate::build::Tools;
use crate::confined::helper::{E2FSCK, Helper, SUBJECT};
use crate::error::{Doing, Outcome};
use crate::file::{NewFile, copy};
use crate::message::{self, shown};
use crate::overlay::IMAGE_MODE;
use protocol::Window;
use std::fs::File;
use std::path::Path;

/// The exit status of e2fsck when it changed something.
const E2FSCK_CORRECTED: i32 = 1;

/// A copy of the ext3 in a part of `image`, in the directory of `path`, with its journal replayed. The image stays as it is:
/// e2fsck cannot replay a journal in the middle of a file, and whoever is interrupted finds what was there.
///
/// # Errors
/// There is no room for a copy, `e2fsck` is missing, or the journal cannot be replayed.
pub(super) fn replayed(image: &File, part: Window, path: &Path, tools: Tools<'_>) -> Outcome<NewFile> {
    let replaying = || format!("replaying the journal of the overlay in {}", shown(path));
    message::info(format!("The overlay in {} was not closed properly: its journal is replayed", shown(path)));
    let whole = NewFile::beside(path, IMAGE_MODE)?;
    whole.file().set_len(part.size).doing(replaying)?;
    copy(image, part, whole.file(), 0).doing(replaying)?;
    Helper::new(tools.programs, E2FSCK)?
        .args(["-p", "-E", "journal_only", SUBJECT])
        .changes_file(whole.file())
        .tolerating(E2FSCK_CORRECTED)
        .run(tools.interrupts, || {})
        .map_err(|failure| failure.context(format!("while {}", replaying())))?;
    Ok(whole)
}
