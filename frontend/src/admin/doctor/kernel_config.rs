//! What the kernel was built with, where it says so.

use super::Check;
use crate::confined::helper::{GZIP, Programs};
use std::path::Path;
use std::process::{Command, Stdio};

/// Compressions of squashfs, and the options that build them in.
const COMPRESSIONS: [(&str, &str); 5] = [
    ("gzip", "CONFIG_SQUASHFS_ZLIB"),
    ("lz4", "CONFIG_SQUASHFS_LZ4"),
    ("lzo", "CONFIG_SQUASHFS_LZO"),
    ("xz", "CONFIG_SQUASHFS_XZ"),
    ("zstd", "CONFIG_SQUASHFS_ZSTD"),
];

/// Which compressions of squashfs the kernel can read.
pub(super) fn squashfs_compressions(release: &str, programs: &Programs) -> Check {
    match text(release, programs) {
        Some(config) => compressions(&config),
        None => Check::limited(
            "squashfs compressions",
            "unknown: the kernel's configuration is neither in /boot nor in /proc/config.gz",
        ),
    }
}

fn compressions(config: &str) -> Check {
    let subject = "squashfs compressions";
    let has = |option: &str| {
        let line = format!("{option}=y");
        config.lines().any(|found| found == line)
    };
    let (known, unknown): (Vec<_>, Vec<_>) = COMPRESSIONS.iter().partition(|(_, option)| has(option));
    let names =
        |list: Vec<&(&'static str, &str)>| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if unknown.is_empty() {
        Check::ok(subject, names(known))
    } else if known.is_empty() {
        Check::missing(subject, "none").remedy("a kernel with CONFIG_SQUASHFS_ZLIB and its kin")
    } else {
        let found = format!("{}; not {}", names(known), names(unknown));
        Check::limited(subject, found)
            .remedy("build images with a compression that is there: 'mksquashfs -comp'")
    }
}

/// The kernel's configuration, from wherever it is kept.
fn text(release: &str, programs: &Programs) -> Option<String> {
    let kept = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    kept.iter().find_map(|path| std::fs::read_to_string(path).ok()).or_else(|| unpacked(programs))
}

/// The kernel's own copy, which gzip unpacks.
fn unpacked(programs: &Programs) -> Option<String> {
    let packed = Path::new("/proc/config.gz");
    if !packed.exists() {
        return None;
    }
    let ended = Command::new(programs.find(GZIP).ok()?)
        .arg("-dc")
        .arg(packed)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(ended.stdout).ok().filter(|_| ended.status.success())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn compressions_are_those_that_were_built_in() {
        let all: String = COMPRESSIONS.iter().map(|(_, option)| format!("{option}=y\n")).collect();
        assert_eq!(compressions(&all).state, State::Ok);
        let some = compressions("CONFIG_SQUASHFS_ZLIB=y\n# CONFIG_SQUASHFS_LZ4 is not set\n");
        assert_eq!(some.found, "gzip; not lz4, lzo, xz, zstd");
        assert_eq!(some.state, State::Limited);
        assert_eq!(compressions("CONFIG_SQUASHFS=y\n").state, State::Missing);
    }
}
