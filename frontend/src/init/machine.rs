//! Which machine an executable is for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of an ELF header up to and with `e_machine`.
const HEADER_BYTES: u64 = 20;
/// Bytes of a script in which the kernel looks for its interpreter: `BINPRM_BUF_SIZE`.
const FIRST_LINE_BYTES: u64 = 256;

/// What the beginning of an executable says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An ELF file for this machine, by the name the incumbents use; no name for a machine nobody runs containers on.
    Elf(Option<&'static str>),
    /// Anything else.
    Other,
}

/// The machine this program was made for, by the name the incumbents use.
pub(super) const HERE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// Looks at a file; one that cannot be read says nothing.
pub(super) fn of_file(path: &Path) -> Kind {
    of_header(&beginning(path, HEADER_BYTES))
}

/// The interpreter that the first line of a script names.
pub(super) fn interpreter(path: &Path) -> Option<PathBuf> {
    interpreter_in(&beginning(path, FIRST_LINE_BYTES))
}

fn interpreter_in(text: &[u8]) -> Option<PathBuf> {
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let name = words.into_iter().find(|word| !word.is_empty())?;
    Some(Path::new(OsStr::from_bytes(name)).to_owned())
}

fn beginning(path: &Path, bytes: u64) -> Vec<u8> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(bytes).read_to_end(&mut text)) {
        Ok(_) => text,
        Err(_) => Vec::new(),
    }
}

/// Reads an ELF header: class at byte 4, byte order at byte 5, `e_machine` at byte 18.
fn of_header(header: &[u8]) -> Kind {
    let [0x7f, b'E', b'L', b'F', class, order, .., low, high] = *header else {
        return Kind::Other;
    };
    if header.len() as u64 != HEADER_BYTES {
        return Kind::Other;
    }
    let little = order == 1;
    let number = if little { u16::from_le_bytes([low, high]) } else { u16::from_be_bytes([low, high]) };
    // Numbers from elf.h, names from Go's GOARCH.
    Kind::Elf(match (number, class, little) {
        (3, _, _) => Some("386"),
        (8, 1, true) => Some("mipsle"),
        (8, 1, false) => Some("mips"),
        (8, 2, true) => Some("mips64le"),
        (8, 2, false) => Some("mips64"),
        (21, _, true) => Some("ppc64le"),
        (21, _, false) => Some("ppc64"),
        (22, _, _) => Some("s390x"),
        (40, _, _) => Some("arm"),
        (62, _, _) => Some("amd64"),
        (183, _, _) => Some("arm64"),
        (243, _, _) => Some("riscv64"),
        (258, _, _) => Some("loong64"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: u8, order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', class, order];
        header.resize(18, 0);
        header.extend(machine);
        header
    }

    #[test]
    fn an_elf_header_names_its_machine_in_either_byte_order() {
        assert_eq!(of_header(&header(2, 1, [183, 0])), Kind::Elf(Some("arm64")));
        assert_eq!(of_header(&header(2, 2, [0, 22])), Kind::Elf(Some("s390x")));
        assert_eq!(of_header(&header(2, 1, [21, 0])), Kind::Elf(Some("ppc64le")));
        assert_eq!(of_header(&header(2, 1, [9, 9])), Kind::Elf(None));
    }

    #[test]
    fn a_short_or_foreign_file_is_no_elf() {
        assert_eq!(of_header(b"\x7fELF\x02\x01\x3e\x00"), Kind::Other);
        assert_eq!(of_header(b"#!/bin/sh\necho hello there\n"), Kind::Other);
    }

    #[test]
    fn the_first_line_of_a_script_names_its_interpreter() {
        assert_eq!(interpreter_in(b"#! /usr/bin/env python3\nx"), Some("/usr/bin/env".into()));
        assert_eq!(interpreter_in(b"#!/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(interpreter_in(b"#!\n/bin/sh"), None);
        assert_eq!(interpreter_in(b"echo"), None);
    }

    #[test]
    fn this_program_is_for_this_machine() {
        let here = std::env::current_exe().expect("a running program has a path");
        assert_eq!(of_file(&here), Kind::Elf(Some(HERE)));
    }
}
