//! The helper programs and their versions.

use super::Check;
use crate::confined::helper::{
    DEBUGFS, FUSE_OVERLAYFS, FUSE2FS, Helper, MKFS_EXT3, MKSQUASHFS, Program, Programs, SQUASHFUSE,
    UNSQUASHFS,
};
use crate::error::Outcome;
use crate::making::Interrupts;
use crate::message::shown;

/// A program, how it is asked for its version, the exit status it may have then, and what is done with it.
struct Asked {
    program: Program,
    argument: &'static str,
    status: i32,
    needed: Option<&'static str>,
}

const PROGRAMS: [Asked; 7] = [
    Asked { program: MKFS_EXT3, argument: "-V", status: 0, needed: Some("overlay create") },
    Asked { program: DEBUGFS, argument: "-V", status: 0, needed: Some("overlay create") },
    Asked { program: MKSQUASHFS, argument: "-version", status: 0, needed: Some("build") },
    // Older ones call asking for the version a failure.
    Asked { program: UNSQUASHFS, argument: "-version", status: 1, needed: Some("build") },
    Asked { program: SQUASHFUSE, argument: "--help", status: 254, needed: None },
    Asked { program: FUSE2FS, argument: "-V", status: 0, needed: None },
    Asked { program: FUSE_OVERLAYFS, argument: "--version", status: 0, needed: None },
];

/// Longest version that is shown, in characters.
const VERSION_MAX: usize = 60;

/// Each program: where it is and what it says of its version.
pub(super) fn checks(programs: &Programs) -> Outcome<Vec<Check>> {
    let interrupts = Interrupts::hold()?;
    Ok(PROGRAMS.iter().map(|asked| check(asked, programs, &interrupts)).collect())
}

fn check(asked: &Asked, programs: &Programs, interrupts: &Interrupts) -> Check {
    let name = asked.program.name;
    let path = match (programs.find(asked.program), asked.needed) {
        (Ok(path), _) => path,
        (Err(failure), Some(command)) => {
            let remedy = failure.next_step().unwrap_or("install it").to_owned();
            return Check::missing(name, format!("{failure}; '{command}' needs it")).remedy(remedy);
        }
        (Err(_), None) => return Check::ok(name, "is not installed; this version does not use it"),
    };
    let said = Helper::new(programs, asked.program)
        .and_then(|helper| helper.args([asked.argument]).tolerating(asked.status).run(interrupts, || {}));
    let unused = if asked.needed.is_none() { "; this version does not use it" } else { "" };
    match (said, asked.needed) {
        (Ok(ended), _) => {
            let version = version(name, &[ended.output, ended.errors].concat());
            Check::ok(name, format!("{}: {version}{unused}", shown(&path)))
        }
        (Err(failure), Some(_)) => Check::missing(name, format!("{}: {failure}", shown(&path)))
            .remedy(format!("install package {} anew", asked.program.debian)),
        (Err(_), None) => Check::ok(name, format!("{}, version unknown{unused}", shown(&path))),
    }
}

/// The line of a program's words that has its version: the first with its own name and a digit, else the first with
/// a digit.
fn version(name: &str, words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let numbered =
        || text.lines().map(str::trim).filter(|line| line.contains(|letter: char| letter.is_ascii_digit()));
    let own = numbered().find(|line| line.starts_with(name));
    let line = own.or_else(|| numbered().next()).unwrap_or("version unknown");
    shown(line.chars().take(VERSION_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_line_with_the_version_is_found() {
        for (name, words, wanted) in [
            (
                "mkfs.ext3",
                "mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n",
                "mke2fs 1.47.0 (5-Feb-2023)",
            ),
            (
                "fuse-overlayfs",
                "unknown argument ignored: lazytime\nfusermount3 version: 3.14.0\nfuse-overlayfs: version 1.10\n",
                "fuse-overlayfs: version 1.10",
            ),
            ("x", "", "version unknown"),
        ] {
            assert_eq!(version(name, words.as_bytes()), wanted);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_missing_only_where_something_needs_it() {
        let nowhere = Programs { search_path: Some("/no/such/folder".into()), ..Programs::default() };
        let checks = checks(&nowhere).unwrap();
        assert_eq!(checks.iter().filter(|check| check.state == State::Missing).count(), 4);
        assert!(checks[0].remedy.as_deref().is_some_and(|remedy| remedy.contains("e2fsprogs")));
    }
}
