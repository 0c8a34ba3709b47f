//! What the servers of this machine can do, as they tell it themselves.

use crate::confined::helper::{FUSE2FS, Helper, Program, Programs, SQUASHFUSE_LL};
use crate::error::{Failure, Outcome};
use crate::making::Interrupts;
use crate::message::shown;
use std::path::Path;

/// The first fuse2fs that knows `-o offset=`.
const OFFSET_SINCE: [u32; 3] = [1, 46, 6];

/// What there is to know of fuse2fs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fuse2fs {
    /// Its version; `None` when it does not say.
    version: Option<[u32; 3]>,
    /// It was built with libfuse 2, which takes a connection only from `fusermount`.
    pub(super) asks_fusermount: bool,
}

impl Fuse2fs {
    /// Refuses a file system inside a file when this fuse2fs can only read whole files.
    pub(super) fn require_offset(self, path: &Path, offset: u64) -> Outcome<()> {
        match self.version {
            Some(version @ [major, minor, patch]) if offset != 0 && version < OFFSET_SINCE => {
                Err(Failure::new(format!(
                    "fuse2fs {major}.{minor}.{patch} is too old for the ext3 file system inside {}: it knows no offset",
                    shown(path)
                ))
                .hint("Install e2fsprogs 1.47 or later, or use an overlay that is a file of its own"))
            }
            _ => Ok(()),
        }
    }

    /// Reads the answer to `--version`.
    fn parse(words: &str) -> Self {
        let numbers = |text: &str| {
            let mut parts = text.split(['.', '-', '~', '_']).map_while(|part| part.parse::<u32>().ok());
            parts.next().map(|major| [major, parts.next().unwrap_or(0), parts.next().unwrap_or(0)])
        };
        let after = |label: &str| {
            let line = words.lines().find_map(|line| line.trim().strip_prefix(label))?;
            numbers(line.trim_start_matches([':', ' ']).split_whitespace().next()?)
        };
        Self {
            version: after("fuse2fs "),
            asks_fusermount: after("FUSE library version").is_some_and(|version| version < [3, 3, 0]),
        }
    }
}

/// Asks fuse2fs.
pub(super) fn fuse2fs(programs: &Programs, interrupts: &Interrupts) -> Outcome<Fuse2fs> {
    Ok(Fuse2fs::parse(&said(programs, FUSE2FS, "--version", interrupts)?))
}

/// Asks squashfuse_ll whether it knows `-o uid=`.
pub(super) fn squashfuse_knows_owners(programs: &Programs, interrupts: &Interrupts) -> bool {
    said(programs, SQUASHFUSE_LL, "--help", interrupts).is_ok_and(|help| help.contains("uid="))
}

/// Everything a program says when it is asked about itself, whatever its exit status.
fn said(programs: &Programs, program: Program, question: &str, interrupts: &Interrupts) -> Outcome<String> {
    let ended = Helper::new(programs, program)?.args([question]).run_to_any_end(interrupts, || {})?;
    Ok(String::from_utf8_lossy(&[ended.output, ended.errors].concat()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fuse2fs_says_of_itself_is_understood() {
        let debian = "fuse2fs 1.47.0 (5-Feb-2023)\nFUSE library version: 2.9.9\nusing FUSE kernel interface version 7.19\n";
        assert_eq!(Fuse2fs::parse(debian), Fuse2fs { version: Some([1, 47, 0]), asks_fusermount: true });
        let newer = "fuse2fs 1.47.2-rc1 (1-Jan-2025)\nFUSE library version 3.17.1\n";
        assert_eq!(Fuse2fs::parse(newer), Fuse2fs { version: Some([1, 47, 2]), asks_fusermount: false });
        assert_eq!(Fuse2fs::parse("hello"), Fuse2fs { version: None, asks_fusermount: false });
    }

    #[test]
    fn an_old_fuse2fs_is_refused_for_a_file_system_inside_a_file_only() {
        let old = Fuse2fs::parse("fuse2fs 1.46.5 (30-Dec-2021)\nFUSE library version: 2.9.9\n");
        assert!(old.require_offset(Path::new("/a.img"), 0).is_ok());
        let refused = old.require_offset(Path::new("/a.sif"), 40960).unwrap_err();
        assert!(refused.to_string().contains("fuse2fs 1.46.5 is too old"), "{refused}");
        let new = Fuse2fs::parse("fuse2fs 1.46.6 (1-Feb-2023)\nFUSE library version: 2.9.9\n");
        assert!(new.require_offset(Path::new("/a.sif"), 40960).is_ok());
    }
}
