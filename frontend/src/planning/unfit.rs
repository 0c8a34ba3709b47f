//! File systems that the kernel's overlay cannot use, as far as they can be told beforehand. Only directories are
//! concerned: an image file on any of them is a file like others.

use crate::error::Failure;
use crate::message::shown;
use nix::sys::statfs::fstatfs;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a directory is to be in an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A layer that is read.
    Lower,
    /// Where changes go.
    Upper,
}

/// Numbers of `statfs(2)`, names, and whether the file system is unfit to be read from too. The incumbents' list.
const UNFIT: [(u32, &str, bool); 6] = [
    (0x6969, "NFS", false),
    (0x6573_5546, "FUSE", false),
    (0xF15F, "ECRYPT", true),
    (0x0BD0_0BD0, "LUSTRE", true),
    (0x4750_4653, "GPFS", true),
    (0xAAD7_AAEA, "PANFS", true),
];

/// A directory of a file system that is unfit for its role.
pub(super) struct Unfit {
    path: PathBuf,
    role: Role,
    /// The file system's name.
    pub(super) file_system: &'static str,
}

impl Unfit {
    /// Looks at a directory.
    pub(super) fn find(directory: &File, path: &Path, role: Role) -> Option<Self> {
        // The kernel tells what nobody told beforehand.
        let data = fstatfs(directory).ok()?;
        // The numbers have 32 bits; the field has a sign and more bits on some architectures.
        let file_system = unfit(data.filesystem_type().0 as u32, role)?;
        Some(Self { path: path.to_owned(), role, file_system })
    }

    /// What to say where only the kernel's overlay can be used.
    pub(super) fn refuse(self) -> Failure {
        let (path, file_system) = (shown(&self.path), self.file_system);
        let role = match self.role {
            Role::Lower => "lower",
            Role::Upper => "upper",
        };
        Failure::new(format!(
            "{path} is located on a {file_system} filesystem incompatible as overlay {role} directory"
        ))
        .hint("an overlay image works there ('overlay create'), and so does a directory on a local disk")
    }
}

fn unfit(number: u32, role: Role) -> Option<&'static str> {
    let known = UNFIT.iter().find(|(known, ..)| *known == number)?;
    (role == Role::Upper || known.2).then_some(known.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_read_from_and_not_written_to() {
        assert_eq!(unfit(0x6969, Role::Upper), Some("NFS"));
        assert_eq!(unfit(0x6969, Role::Lower), None);
        assert_eq!(unfit(0xAAD7_AAEA, Role::Lower), Some("PANFS"));
        assert_eq!(unfit(0xEF53, Role::Upper), None);
    }
}
