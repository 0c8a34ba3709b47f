//! Whether an ext3 was closed, and what to do when it was not.

use super::Ext3;
use crate::error::{Failure, Outcome};
use crate::message::shown;
use std::path::Path;

impl Ext3 {
    /// Whether its last user left it as it should be.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.needs_recovery && !self.not_closed && !self.has_errors
    }

    /// The command that repairs it, in quotes. `path` is the image's.
    #[must_use]
    pub fn repair_command(&self, path: &Path) -> String {
        match self.window.offset {
            0 => format!("'e2fsck -f \"{}\"'", shown(path)),
            offset => format!("'e2fsck -f \"{}?offset={offset}\"'", shown(path)),
        }
    }

    /// Refuses one that only e2fsck can make usable again.
    ///
    /// # Errors
    /// It is marked as damaged, or somebody died who was writing to it without using the journal.
    pub fn require_sound(&self, path: &Path) -> Outcome<()> {
        let what = if self.has_errors {
            "is marked as damaged"
        } else if self.not_closed {
            "was not closed properly by a program that writes without a journal, such as fuse2fs"
        } else {
            return Ok(());
        };
        Err(Failure::new(format!("the ext3 file system in {} {what}", shown(path)))
            .hint(format!("{} repairs it", self.repair_command(path))))
    }
}
