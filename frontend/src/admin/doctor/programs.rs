//! The helper programs and their versions.

use super::Check;
use crate::confined::helper::{
    DEBUGFS, FAKEROOT, FUSE_OVERLAYFS, FUSE2FS, Helper, MKFS_EXT3, MKSQUASHFS, NEWGIDMAP, NEWUIDMAP, Program,
    Programs, SQUASHFUSE, UNSQUASHFS,
};
use crate::error::Outcome;
use crate::making::Interrupts;
use crate::message::shown;

/// A program, how it is asked for its version, the exit status it may have then, and what there is not without it.
struct Asked {
    program: Program,
    argument: &'static str,
    status: i32,
    without: Loss,
}

/// What there is not without a program.
#[derive(Clone, Copy)]
enum Loss {
    /// A command.
    Command(&'static str),
    /// A way to run containers, of several.
    Way(&'static str),
}

const PROGRAMS: [Asked; 7] = [
    Asked { program: MKFS_EXT3, argument: "-V", status: 0, without: Loss::Command("overlay create") },
    Asked { program: DEBUGFS, argument: "-V", status: 0, without: Loss::Command("overlay create") },
    Asked { program: MKSQUASHFS, argument: "-version", status: 0, without: Loss::Command("build") },
    // Older ones call asking for the version a failure.
    Asked { program: UNSQUASHFS, argument: "-version", status: 1, without: Loss::Command("build") },
    Asked {
        program: SQUASHFUSE,
        argument: "--help",
        status: 254,
        without: Loss::Way("images are extracted in user namespaces"),
    },
    Asked {
        program: FUSE2FS,
        argument: "-V",
        status: 0,
        without: Loss::Way("user namespaces have no ext3 images"),
    },
    Asked {
        program: FUSE_OVERLAYFS,
        argument: "--version",
        status: 0,
        without: Loss::Way("user namespaces write to no overlay image"),
    },
];

/// Programs that need not be asked for their version, and what there is not without them.
const MORE: [(Program, &str); 3] = [
    (NEWUIDMAP, "with --fakeroot there is root alone, and no other user"),
    (NEWGIDMAP, "with --fakeroot there is root alone, and no other group"),
    (FAKEROOT, "with --fakeroot and without subordinate ids, programs cannot change owners"),
];

/// The programs that run containers of `--oci`, of which one is enough.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// Longest version that is shown, in characters.
const VERSION_MAX: usize = 60;

/// Each program: where it is and what it says of its version.
pub(super) fn checks(programs: &Programs) -> Outcome<Vec<Check>> {
    let interrupts = Interrupts::hold()?;
    let mut checks: Vec<Check> = PROGRAMS.iter().map(|asked| check(asked, programs, &interrupts)).collect();
    checks.extend(MORE.map(|(program, loss)| match programs.find(program) {
        Ok(path) => Check::ok(program.name, shown(path)),
        Err(_) => absent(program, Loss::Way(loss)),
    }));
    checks.push(runtime(programs));
    Ok(checks)
}

fn runtime(programs: &Programs) -> Check {
    match RUNTIMES.iter().find_map(|name| programs.locate(name)) {
        Some(path) => Check::ok("OCI runtime", shown(path)),
        None => Check::limited("OCI runtime", "neither crun nor runc is installed, and --oci needs one")
            .remedy("install package crun or runc"),
    }
}

fn absent(program: Program, loss: Loss) -> Check {
    let remedy = format!("install package {} (Debian) or {} (RHEL)", program.debian, program.rhel);
    let check = match loss {
        Loss::Command(command) => {
            Check::missing(program.name, format!("is not installed; '{command}' needs it"))
        }
        Loss::Way(loss) => Check::limited(program.name, format!("is not installed: {loss}")),
    };
    check.remedy(remedy)
}

fn check(asked: &Asked, programs: &Programs, interrupts: &Interrupts) -> Check {
    let name = asked.program.name;
    let path = match programs.find(asked.program) {
        Ok(path) => path,
        Err(_) => return absent(asked.program, asked.without),
    };
    let said = Helper::new(programs, asked.program)
        .and_then(|helper| helper.args([asked.argument]).tolerating(asked.status).run(interrupts, || {}));
    match (said, asked.without) {
        (Ok(ended), _) => {
            let version = version(name, &[ended.output, ended.errors].concat());
            Check::ok(name, format!("{}: {version}", shown(&path)))
        }
        (Err(failure), Loss::Command(_)) => Check::missing(name, format!("{}: {failure}", shown(&path)))
            .remedy(format!("install package {} anew", asked.program.debian)),
        (Err(_), Loss::Way(_)) => Check::ok(name, format!("{}, version unknown", shown(&path))),
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
        assert!(checks[4..].iter().all(|check| check.state == State::Limited && check.remedy.is_some()));
        assert!(checks[0].remedy.as_deref().is_some_and(|remedy| remedy.contains("e2fsprogs")));
    }
}
