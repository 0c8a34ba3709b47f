//! A directory for what exists only while something is being made.

use super::temporary_directory;
use crate::error::{Doing, Outcome};
use crate::message::shown;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A private directory, removed with all that is in it when this value is dropped.
#[derive(Debug)]
pub struct Staging(TempDir);

impl Staging {
    /// Makes one [where temporary files go](temporary_directory).
    ///
    /// # Errors
    /// That directory cannot be written.
    pub fn in_temporary_directory() -> Outcome<Self> {
        Self::below(&temporary_directory()).map_err(|failure| {
            failure.hint(
                "set SINGULARITY_TMPDIR to a directory that you can write to; --tmpdir, where it is given, comes first",
            )
        })
    }

    /// Makes one in `parent`, hidden, with a name that nobody can foresee.
    ///
    /// # Errors
    /// `parent` cannot be written.
    pub fn below(parent: &Path) -> Outcome<Self> {
        let creating = || format!("creating a temporary directory in {}", shown(parent));
        let parent = std::path::absolute(parent).doing(creating)?;
        let made = tempfile::Builder::new().prefix(".lamina-").suffix(".part").tempdir_in(parent);
        let made = Self(made.doing(creating)?);
        // Whatever the umask took away.
        std::fs::set_permissions(made.path(), Permissions::from_mode(0o700)).doing(creating)?;
        Ok(made)
    }

    /// Where it is: absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Staging {
    /// Leaves it to somebody else to remove.
    pub fn keep(mut self) {
        self.0.disable_cleanup(true);
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        make_removable(self.path());
    }
}

/// Directories that their owner may not write hold on to what is in them; only root needs no permission. Nothing
/// here follows a link.
pub(crate) fn make_removable(directory: &Path) {
    let opened = std::fs::set_permissions(directory, Permissions::from_mode(0o700));
    let Ok(entries) = opened.and_then(|()| std::fs::read_dir(directory)) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}
