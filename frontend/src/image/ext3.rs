//! The ext3 superblock. Layout: `struct ext3_super_block` of Linux, the same in ext2 and ext4.

use super::{Bytes, Defect, Ext3};
use protocol::Window;

/// Where the superblock starts.
const SUPERBLOCK_AT: u64 = 1024;
/// Bytes of the superblock.
const SUPERBLOCK_BYTES: usize = 1024;
const BLOCKS_COUNT_AT: usize = 4;
const LOG_BLOCK_SIZE_AT: usize = 24;
const MAGIC_AT: usize = 56;
const STATE_AT: usize = 58;
const COMPATIBLE_AT: usize = 92;
const INCOMPATIBLE_AT: usize = 96;
const READ_ONLY_COMPATIBLE_AT: usize = 100;

const MAGIC: u16 = 0xEF53;
/// `s_state`: closed by whoever wrote last.
const STATE_CLOSED: u16 = 0x1;
/// `s_state`: errors were noted.
const STATE_ERRORS: u16 = 0x2;
const HAS_JOURNAL: u32 = 0x4;
const NEEDS_RECOVERY: u32 = 0x4;
/// filetype, recover, meta_bg.
const INCOMPATIBLE_ACCEPTED: u32 = 0x2 | NEEDS_RECOVERY | 0x10;
/// sparse_super, large_file, btree_dir.
const READ_ONLY_COMPATIBLE_ACCEPTED: u32 = 0x1 | 0x2 | 0x4;
/// 64 KiB blocks, the most any kernel mounts.
const LOG_BLOCK_SIZE_MAX: u32 = 6;

/// Looks for an ext file system at the start of `window`: `None` when there is none, a defect when it is not an
/// ext3 that can be used.
///
/// # Errors
/// What is wrong with the superblock, or why it cannot be read.
pub(crate) fn probe(bytes: &impl Bytes, window: Window) -> Result<Option<Ext3>, Defect> {
    if window.size < SUPERBLOCK_AT + SUPERBLOCK_BYTES as u64 {
        return Ok(None);
    }
    let start = window.offset.checked_add(SUPERBLOCK_AT).ok_or(Defect::CutShort)?;
    let superblock: [u8; SUPERBLOCK_BYTES] = bytes.array_at(start)?;
    let u16_at = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    if u16_at(MAGIC_AT) != MAGIC {
        return Ok(None);
    }
    let incompatible = u32_at(INCOMPATIBLE_AT);
    let beyond = incompatible & !INCOMPATIBLE_ACCEPTED;
    if beyond != 0 {
        return Err(Defect::ExtIncompatible(beyond));
    }
    let beyond = u32_at(READ_ONLY_COMPATIBLE_AT) & !READ_ONLY_COMPATIBLE_ACCEPTED;
    if beyond != 0 {
        return Err(Defect::ExtReadOnlyCompatible(beyond));
    }
    if u32_at(COMPATIBLE_AT) & HAS_JOURNAL == 0 {
        return Err(Defect::ExtNoJournal);
    }
    let log = u32_at(LOG_BLOCK_SIZE_AT);
    if log > LOG_BLOCK_SIZE_MAX {
        return Err(Defect::ExtBlockSize(log));
    }
    let block_bytes = 1024 << log;
    // At most 2^32 blocks of 2^16 bytes: cannot overflow.
    let blocks_bytes = u64::from(u32_at(BLOCKS_COUNT_AT)) * u64::from(block_bytes);
    if blocks_bytes == 0 || blocks_bytes > window.size {
        return Err(Defect::ExtLength(blocks_bytes, window.size));
    }
    Ok(Some(Ext3 {
        window,
        needs_recovery: incompatible & NEEDS_RECOVERY != 0,
        not_closed: u16_at(STATE_AT) & STATE_CLOSED == 0,
        has_errors: u16_at(STATE_AT) & STATE_ERRORS != 0,
        block_bytes,
        blocks_bytes,
    }))
}
