//! The squashfs superblock. Layout: `struct squashfs_super_block` in Linux's `fs/squashfs/squashfs_fs.h`.

use super::{Bytes, Compression, Defect, Squashfs};
use protocol::Window;

const MAGIC: [u8; 4] = *b"hsqs";
/// Bytes of the superblock.
const SUPERBLOCK_BYTES: usize = 96;
const COMPRESSION_AT: usize = 20;
const MAJOR_AT: usize = 28;
const MINOR_AT: usize = 30;
const BYTES_USED_AT: usize = 40;

/// Looks for a squashfs at the start of `window`: `None` when there is none, a defect when there is a bad one.
///
/// # Errors
/// What is wrong with the superblock, or why it cannot be read.
pub(crate) fn probe(bytes: &impl Bytes, window: Window) -> Result<Option<Squashfs>, Defect> {
    if window.size < MAGIC.len() as u64 || bytes.array_at::<4>(window.offset)? != MAGIC {
        return Ok(None);
    }
    if window.size < SUPERBLOCK_BYTES as u64 {
        return Err(Defect::CutShort);
    }
    let superblock: [u8; SUPERBLOCK_BYTES] = bytes.array_at(window.offset)?;
    let u16_at = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    let (major, minor) = (u16_at(MAJOR_AT), u16_at(MINOR_AT));
    if (major, minor) != (4, 0) {
        return Err(Defect::SquashfsVersion(major, minor));
    }
    let compression = match u16_at(COMPRESSION_AT) {
        1 => Compression::Gzip,
        2 => Compression::Lzma,
        3 => Compression::Lzo,
        4 => Compression::Xz,
        5 => Compression::Lz4,
        6 => Compression::Zstd,
        other => return Err(Defect::SquashfsCompression(other)),
    };
    let mut used = [0; 8];
    used.copy_from_slice(&superblock[BYTES_USED_AT..BYTES_USED_AT + 8]);
    let used = u64::from_le_bytes(used);
    if used < SUPERBLOCK_BYTES as u64 || used > window.size {
        return Err(Defect::SquashfsLength(used, window.size));
    }
    Ok(Some(Squashfs { window, compression }))
}
