//! Making an ext3 file system for an overlay.

use super::debugfs;
use super::layout::Layout;
use crate::confined::helper::{Helper, MKFS_EXT3, Programs, SUBJECT};
use crate::error::{Failure, Outcome, reason_of};
use crate::file::directory_of;
use crate::image::{self, Format};
use crate::making::Interrupts;
use crate::message::shown;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Gid, Uid};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Who owns `upper`, `work` and the directories in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The caller: for runs in which the caller is who he is outside.
    Caller,
    /// Root: for runs in which the caller appears as root, where the ids of an image are those of that root.
    Root,
}

impl Owner {
    fn ids(self) -> (u32, u32) {
        match self {
            Self::Caller => (Uid::effective().as_raw(), Gid::effective().as_raw()),
            Self::Root => (0, 0),
        }
    }

    /// Whether the staged directories have this owner and each id fits in 16 bits; `mkfs.ext3 -d` of old e2fsprogs
    /// lost what is above.
    fn is_stored_by_any_mkfs(self) -> bool {
        let (uid, gid) = self.ids();
        (uid, gid) == Self::Caller.ids() && uid.max(gid) <= u32::from(u16::MAX)
    }
}

/// What file system to make.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    /// Its size in MiB.
    pub(super) size_mib: u64,
    /// Whether disk space is taken only as it is used.
    pub(super) sparse: bool,
    /// The directories in it.
    pub(super) layout: Layout,
    /// Their owner.
    pub(super) owner: Owner,
    /// Where `mkfs.ext3` comes from.
    pub(super) programs: &'a Programs,
}

impl Recipe<'_> {
    /// Sizes `file` (empty so far) and makes the file system in it, whose size in bytes is returned. `target` is for
    /// messages.
    ///
    /// # Errors
    /// There is no room, `mkfs.ext3` is missing or failed, or what it made is no ext3 that a container can use.
    pub(super) fn make_in(&self, file: &File, target: &Path, interrupts: &Interrupts) -> Outcome<u64> {
        let mkfs = Helper::new(self.programs, MKFS_EXT3)?;
        size(file, self.size_mib, self.sparse, interrupts)
            .map_err(|error| no_room(&error, self.size_mib, target))?;
        let staging = self.layout.stage()?;
        // Discarding gives space back: what a sparse image is for, and what another one has just taken.
        let discard = if self.sparse { "discard" } else { "nodiscard" };
        mkfs.args(["-q", "-F", "-E", discard, "-d"])
            .args([staging.path().as_os_str(), SUBJECT.as_ref()])
            .changes_file(file)
            .reads(staging.path())
            .run(interrupts, || {})?;
        if !self.owner.is_stored_by_any_mkfs() {
            self.settle_owner(file, interrupts)?;
        }
        match image::inspect(file, target)? {
            Format::Ext3(ext3) if ext3.window.offset == 0 => Ok(ext3.window.size),
            _ => Err(Failure::new("mkfs.ext3 made something that is not ext3")),
        }
    }

    /// Writes the owner into the inodes, where `mkfs.ext3` cannot be relied on to have done it.
    fn settle_owner(&self, file: &File, interrupts: &Interrupts) -> Outcome<()> {
        let (uid, gid) = self.owner.ids();
        let mut commands = String::new();
        for directory in self.layout.directories() {
            let path = quoted(directory);
            for (field, id) in [("uid", uid), ("gid", gid)] {
                let _ = writeln!(commands, "set_inode_field {path} {field} {id}");
            }
        }
        debugfs::change(self.programs, file, 0, &commands, interrupts)
    }
}

fn size(file: &File, size_mib: u64, sparse: bool, interrupts: &Interrupts) -> io::Result<()> {
    let too_large = || io::Error::from_raw_os_error(libc::EFBIG);
    let length =
        i64::try_from(size_mib).ok().and_then(|mib| mib.checked_mul(1 << 20)).ok_or_else(too_large)?;
    let size_bytes = length.cast_unsigned();
    if sparse {
        return file.set_len(size_bytes);
    }
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => fill(file, size_bytes, interrupts),
        // A signal that is not held back, such as that of a debugger.
        Err(Errno::EINTR) => size(file, size_mib, sparse, interrupts),
        done => Ok(done?),
    }
}

/// Takes the space by writing, where the file system knows no other way.
fn fill(file: &File, size_bytes: u64, interrupts: &Interrupts) -> io::Result<()> {
    let zeroes = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < size_bytes {
        if interrupts.pending() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = zeroes.len().min(usize::try_from(size_bytes - offset).unwrap_or(usize::MAX));
        file.write_all_at(&zeroes[..length], offset)?;
        offset += length as u64;
    }
    Ok(())
}

fn no_room(error: &io::Error, mib: u64, target: &Path) -> Failure {
    let directory = directory_of(target);
    let place = shown(std::path::absolute(directory).as_deref().unwrap_or(directory));
    match error.raw_os_error() {
        Some(libc::ENOSPC) => Failure::new(format!("no space left for an image of {mib} MiB in {place}"))
            .hint("Choose a smaller --size, another directory, or --sparse to take space only as it is used"),
        Some(libc::EDQUOT) => Failure::new(format!("your disk quota in {place} has no {mib} MiB left")),
        Some(libc::EFBIG) => Failure::new(format!(
            "files of {mib} MiB are more than the file system of {place} or your limits ('ulimit -f') allow"
        ))
        .hint("Choose a smaller --size, another directory, or a higher limit"),
        _ => Failure::new(format!("while allocating {mib} MiB for {}: {}", shown(target), reason_of(&error))),
    }
}

/// A path from the root of the image as debugfs takes it, which splits at blanks.
fn quoted(path: &Path) -> String {
    format!("\"/{}\"", path.to_string_lossy().replace('"', "\"\""))
}
