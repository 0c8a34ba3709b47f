//! What the servers of this machine can do. What their files tell is not asked for: starting a program to ask costs more than
//! reading it.

use crate::confined::helper::{FUSE2FS, Helper, Programs};
use crate::error::{Doing, Failure, Outcome};
use crate::making::Interrupts;
use crate::message::shown;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The first fuse2fs that knows `-o offset=`.
const OFFSET_SINCE: [u32; 3] = [1, 46, 6];
/// Most bytes of a server that are looked at: a large one, with all its libraries in it, has a tenth of that.
const PROGRAM_BYTES_MAX: u64 = 32 << 20;

/// Whether this squashfuse_ll knows `-o uid=`: what a program tells libfuse of its options is in its file. Of one that
/// cannot be read it is not known.
pub(super) fn squashfuse_knows_owners(program: &Path) -> bool {
    holds_any(program, &[b"uid=%"]).unwrap_or(false)
}

/// Whether this server was built with libfuse 2, which takes a connection only from `fusermount`: its file names that
/// library for the loader or, with the library in it, the program. Version 3 calls both by other names.
pub(super) fn asks_fusermount(program: &Path) -> Outcome<bool> {
    holds_any(program, &[b"libfuse.so.2\0", b"fusermount\0"])
}

fn holds_any(program: &Path, words: &[&[u8]]) -> Outcome<bool> {
    let doing = || format!("looking into {}", shown(program));
    let mut bytes = Vec::new();
    let file = File::open(program).doing(doing)?;
    file.take(PROGRAM_BYTES_MAX).read_to_end(&mut bytes).doing(doing)?;
    Ok(words.iter().any(|word| bytes.windows(word.len()).any(|window| window == *word)))
}

/// Refuses the file system at this offset of a file when fuse2fs can only read whole files.
pub(super) fn require_offset(
    programs: &Programs,
    interrupts: &Interrupts,
    path: &Path,
    offset: u64,
) -> Outcome<()> {
    if offset == 0 {
        return Ok(());
    }
    let ended = Helper::new(programs, FUSE2FS)?.args(["--version"]).run_to_any_end(interrupts, || {})?;
    match version_in(&String::from_utf8_lossy(&[ended.output, ended.errors].concat())) {
        Some(version @ [major, minor, patch]) if version < OFFSET_SINCE => Err(Failure::new(format!(
            "fuse2fs {major}.{minor}.{patch} is too old for the ext3 file system inside {}: it knows no offset",
            shown(path)
        ))
        .hint("Install e2fsprogs 1.47 or later, or use an overlay that is a file of its own")),
        _ => Ok(()),
    }
}

/// The version that fuse2fs says it has; `None` when it does not say.
fn version_in(words: &str) -> Option<[u32; 3]> {
    let line = words.lines().find_map(|line| line.trim().strip_prefix("fuse2fs "))?;
    let mut parts = line.split(['.', '-', '~', '_', ' ']).map_while(|part| part.parse::<u32>().ok());
    parts.next().map(|major| [major, parts.next().unwrap_or(0), parts.next().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_fuse2fs_says_of_itself_is_understood() {
        let debian = "fuse2fs 1.47.0 (5-Feb-2023)\nFUSE library version: 2.9.9\nusing FUSE kernel interface version 7.19\n";
        assert_eq!(version_in(debian), Some([1, 47, 0]));
        assert_eq!(version_in("fuse2fs 1.47.2-rc1 (1-Jan-2025)\n"), Some([1, 47, 2]));
        assert_eq!(version_in("hello"), None);
    }

    #[test]
    fn a_fuse2fs_without_offsets_is_older_than_the_one_that_has_them() {
        assert!(version_in("fuse2fs 1.46.5 (30-Dec-2021)").is_some_and(|version| version < OFFSET_SINCE));
        assert!(version_in("fuse2fs 1.46.6 (1-Feb-2023)").is_some_and(|version| version >= OFFSET_SINCE));
    }

    #[test]
    fn a_servers_file_tells_what_it_knows_and_is_built_with() {
        let program = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().expect("there is room");
            file.write_all(bytes).expect("there is room");
            file
        };
        let knows = |bytes: &[u8]| squashfuse_knows_owners(program(bytes).path());
        assert!(knows(b"\x7fELF\0offset=%zu\0uid=%d\0") && !knows(b"\x7fELF\0offset=%zu\0") && !knows(b""));
        let asks = |bytes: &[u8]| asks_fusermount(program(bytes).path()).expect("it can be read");
        assert!(asks(b"\x7fELF\0libfuse.so.2\0") && asks(b"\x7fELF\0/bin/fusermount\0"));
        assert!(!asks(b"\x7fELF\0libfuse3.so.3\0") && !asks(b"\x7fELF\0/bin/fusermount3\0"));
        let nothing = Path::new("/nonexistent");
        assert!(!squashfuse_knows_owners(nothing) && asks_fusermount(nothing).is_err());
    }
}
