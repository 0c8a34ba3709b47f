//! Where temporary files go.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the caller said to this program in particular.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Says where temporary files go in this process, whatever `TMPDIR` says. What was said first counts.
pub fn use_temporary_directory(directory: &Path) {
    CHOSEN.get_or_init(|| directory.to_owned());
}

/// Where temporary files go: what [`use_temporary_directory`] was given, or `$TMPDIR`, or `/tmp`.
#[must_use]
pub fn temporary_directory() -> PathBuf {
    first_of(CHOSEN.get(), std::env::var_os("TMPDIR"))
}

fn first_of(chosen: Option<&PathBuf>, everybodys: Option<OsString>) -> PathBuf {
    let everybodys = || everybodys.filter(|directory| !directory.is_empty()).map(PathBuf::from);
    chosen.cloned().or_else(everybodys).unwrap_or_else(|| "/tmp".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_go_where_this_program_was_told_then_where_every_program_was_told() {
        let own = PathBuf::from("/own");
        assert_eq!(first_of(Some(&own), Some("/all".into())), own);
        assert_eq!(first_of(None, Some("/all".into())), Path::new("/all"));
        assert_eq!(first_of(None, None), Path::new("/tmp"));
        assert_eq!(first_of(None, Some(OsString::new())), Path::new("/tmp"));
    }
}
