//! The few bytes of an image that decide which kernel driver will read the rest: magic numbers, versions and
//! feature words, read through the very descriptor that will be mounted.

use protocol::Window;
use std::os::fd::OwnedFd;

/// What lies at the start of an image's window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Superblock {
    /// A squashfs 4.0 of this many bytes.
    Squashfs {
        /// `bytes_used` of its superblock.
        bytes: u64,
    },
    /// An ext3: a journal of its own, no feature that the ext3 driver lacks, no mount options of its own.
    Ext3 {
        /// Block count times block size.
        bytes: u64,
        /// Its journal holds what is not in its place yet.
        unclean: bool,
    },
}

/// `SIF_MAGIC` and its NUL, 32 bytes into the file, behind the launch line.
const SIF_MAGIC: (u64, &[u8; 10]) = (32, b"SIF_MAGIC\0");
/// Bytes of a squashfs superblock.
const SQUASHFS_BYTES: usize = 96;
/// Where the ext superblock starts in its file system, and the bytes of it that are looked at.
const EXT: (u64, usize) = (1024, 1024);
const EXT_MAGIC: u16 = 0xEF53;
/// `has_journal`, of the compatible features.
const EXT_COMPAT_JOURNAL: u32 = 0x4;
/// `recover`, of the incompatible features.
const EXT_INCOMPAT_RECOVER: u32 = 0x4;
/// `filetype`, `recover` and `meta_bg`, of the incompatible features.
const EXT_INCOMPAT_ALLOWED: u32 = 0x2 | EXT_INCOMPAT_RECOVER | 0x10;
/// `sparse_super`, `large_file` and `btree_dir`, of the features that allow reading only.
const EXT_RO_COMPAT_ALLOWED: u32 = 0x1 | 0x2 | 0x4;
/// Largest block size exponent above 1 KiB that the kernel takes: 64 KiB.
const EXT_LOG_BLOCK_SIZE_MAX: u32 = 6;

/// Where the inode of the journal is named. Without one, the journal is on the block device named behind it: any of
/// the host's, and the kernel would write to it.
const EXT_JOURNAL_INODE: usize = 224;
const EXT_JOURNAL_DEVICE: usize = 228;
/// Where the superblock holds text that the kernel takes for mount options.
const EXT_MOUNT_OPTIONS: usize = 512;

/// Whether a file starts as a SIF does.
pub fn starts_as_sif(fd: &OwnedFd) -> bool {
    read_array::<10>(fd, SIF_MAGIC.0).as_ref() == Some(SIF_MAGIC.1)
}

/// Reads what lies at the start of `window`; `None` when it is neither a squashfs nor an ext3.
pub fn read(fd: &OwnedFd, window: Window) -> Option<Superblock> {
    squashfs(&read_array::<SQUASHFS_BYTES>(fd, window.offset)?)
        .or_else(|| ext3(&read_array::<{ EXT.1 }>(fd, window.offset.checked_add(EXT.0)?)?))
}

fn read_array<const N: usize>(fd: &OwnedFd, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = rustix::io::pread(fd, &mut bytes, offset).ok()?;
    (length == N).then_some(bytes)
}

fn squashfs(bytes: &[u8; SQUASHFS_BYTES]) -> Option<Superblock> {
    let compression = u16_at(bytes, 20)?;
    let version = (u16_at(bytes, 28)?, u16_at(bytes, 30)?);
    let known = bytes.starts_with(b"hsqs") && version == (4, 0) && (1..=6).contains(&compression);
    known.then_some(Superblock::Squashfs { bytes: u64_at(bytes, 40)? })
}

fn ext3(bytes: &[u8; EXT.1]) -> Option<Superblock> {
    let (compat, incompat, ro_compat) = (u32_at(bytes, 92)?, u32_at(bytes, 96)?, u32_at(bytes, 100)?);
    let log_block_size = u32_at(bytes, 24)?;
    let is_ext3 = u16_at(bytes, 56)? == EXT_MAGIC
        && compat & EXT_COMPAT_JOURNAL != 0
        && incompat & !EXT_INCOMPAT_ALLOWED == 0
        && ro_compat & !EXT_RO_COMPAT_ALLOWED == 0
        && log_block_size <= EXT_LOG_BLOCK_SIZE_MAX
        && u32_at(bytes, EXT_JOURNAL_INODE)? != 0
        && u32_at(bytes, EXT_JOURNAL_DEVICE)? == 0
        && u32_at(bytes, EXT_MOUNT_OPTIONS)? & 0xff == 0;
    if !is_ext3 {
        return None;
    }
    let blocks = u64::from(u32_at(bytes, 4)?);
    let bytes = blocks.checked_mul(1024 << log_block_size)?;
    Some(Superblock::Ext3 { bytes, unclean: incompat & EXT_INCOMPAT_RECOVER != 0 })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
