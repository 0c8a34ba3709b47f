//! The files in an ext3 file system, read without a mount: with owners, times, hard links, devices and every extended
//! attribute, also those that only root may read through a mount.
//!
//! Layout: `fs/ext4/ext4.h` and `xattr.h` of Linux, as far as ext3 goes: files by indirect blocks, no extents, 32-bit block
//! numbers. Whatever a file system says is checked before it is used; a damaged one is an error that names the inode. The
//! journal is not read, so a file system whose journal is to be replayed must not be read with this.

mod attributes;
mod content;
mod directory;
mod inode;

pub use attributes::Attribute;
pub use content::Content;
pub use directory::Entry;
pub use inode::{Device, Inode, Kind};

use crate::image::{self, Bytes, Defect, Ext3};
use protocol::Window;

/// The number of the root directory.
pub const ROOT: u32 = 2;
/// Where the superblock starts.
const SUPERBLOCK_AT: u64 = 1024;
/// Bytes of a group descriptor.
const GROUP_BYTES: u64 = 32;
/// Bytes of an inode of the first revision, and the least of any.
const INODE_BYTES_MIN: u16 = 128;
/// Bytes of an inode that are read: what is behind is beyond the attributes that ext3 keeps there.
const INODE_BYTES_MAX: u16 = 4096;
/// `s_feature_incompat`: entries of directories have a type.
const FILE_TYPE: u32 = 0x2;
/// `s_feature_incompat`: group descriptors are spread over the groups.
const META_BG: u32 = 0x10;
/// `s_feature_ro_compat`: only some groups have a copy of the superblock.
const SPARSE_SUPER: u32 = 0x1;

/// An ext3 file system in a part of some bytes.
#[derive(Debug)]
pub struct FileSystem<'a, B> {
    bytes: &'a B,
    window: Window,
    block_bytes: u32,
    blocks: u32,
    inodes: u32,
    first_data_block: u32,
    blocks_per_group: u32,
    inodes_per_group: u32,
    inode_bytes: u16,
    entries_have_types: bool,
    /// The first block of group descriptors that is not behind the superblock but in its own groups.
    first_meta_group: Option<u32>,
    sparse_super: bool,
}

impl<'a, B: Bytes> FileSystem<'a, B> {
    /// Reads the superblock of an ext3 that fills `window`.
    ///
    /// # Errors
    /// It is no ext3 that can be used, or its superblock makes no sense.
    pub fn open(bytes: &'a B, window: Window) -> Result<Self, Defect> {
        let Some(Ext3 { block_bytes, .. }) = image::probe_ext3(bytes, window)? else {
            return Err(Defect::Unrecognised);
        };
        let raw: [u8; 1024] = bytes.array_at(window.offset.saturating_add(SUPERBLOCK_AT))?;
        let u16_at = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let incompatible = u32_at(96);
        let first_revision = u32_at(76) == 0;
        let file_system = Self {
            bytes,
            window,
            block_bytes,
            blocks: u32_at(4),
            inodes: u32_at(0),
            first_data_block: u32_at(20),
            blocks_per_group: u32_at(32),
            inodes_per_group: u32_at(40),
            inode_bytes: if first_revision { INODE_BYTES_MIN } else { u16_at(88) },
            entries_have_types: incompatible & FILE_TYPE != 0,
            first_meta_group: (incompatible & META_BG != 0).then(|| u32_at(260)),
            sparse_super: u32_at(100) & SPARSE_SUPER != 0,
        };
        let sound = file_system.blocks_per_group > 0
            && file_system.inodes_per_group > 0
            && file_system.inode_bytes.is_power_of_two()
            && file_system.inode_bytes >= INODE_BYTES_MIN
            && u32::from(file_system.inode_bytes) <= block_bytes;
        if sound { Ok(file_system) } else { Err(Defect::ExtDamaged(0)) }
    }

    /// Reads an inode.
    ///
    /// # Errors
    /// There is none with this number, it cannot be read, or it makes no sense.
    pub fn inode(&self, number: u32) -> Result<Inode, Defect> {
        let damaged = Defect::ExtDamaged(number);
        if number == 0 || number > self.inodes {
            return Err(damaged);
        }
        let (group, index) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let table = self.inode_table(group)?;
        let at = u64::from(index) * u64::from(self.inode_bytes);
        let at = u64::from(table) * u64::from(self.block_bytes) + at;
        let mut raw = vec![0; usize::from(self.inode_bytes.min(INODE_BYTES_MAX))];
        self.read_at(at, &mut raw).map_err(|defect| defect.of_inode(number))?;
        Inode::parse(number, raw)
    }

    /// The first block of the inodes of a group.
    fn inode_table(&self, group: u32) -> Result<u32, Defect> {
        let per_block = self.block_bytes / GROUP_BYTES as u32;
        let (block, index) = (group / per_block, group % per_block);
        let place = match self.first_meta_group {
            Some(first) if block >= first => {
                let first_group = block * per_block;
                let start = u64::from(first_group) * u64::from(self.blocks_per_group);
                start + u64::from(self.first_data_block) + u64::from(self.has_superblock(first_group))
            }
            _ => u64::from(self.first_data_block) + 1 + u64::from(block),
        };
        let at = place * u64::from(self.block_bytes) + u64::from(index) * GROUP_BYTES;
        let mut raw = [0; GROUP_BYTES as usize];
        self.read_at(at, &mut raw)?;
        Ok(u32_of(&raw, 8))
    }

    fn has_superblock(&self, group: u32) -> bool {
        let is_power_of =
            |base: u32| std::iter::successors(Some(base), |n| n.checked_mul(base)).any(|n| n == group);
        !self.sparse_super || group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
    }

    /// Reads a block, which is then as long as all of them.
    fn block(&self, number: u32) -> Result<Vec<u8>, Defect> {
        if number == 0 || number >= self.blocks {
            return Err(Defect::ExtDamaged(0));
        }
        let mut raw = vec![0; self.block_bytes as usize];
        self.read_at(u64::from(number) * u64::from(self.block_bytes), &mut raw)?;
        Ok(raw)
    }

    /// Fills a buffer from a place in the file system, which never reaches out of its part of the bytes.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), Defect> {
        if at.checked_add(buffer.len() as u64).is_none_or(|end| end > self.window.size) {
            return Err(Defect::ExtDamaged(0));
        }
        self.bytes.read_at(self.window.offset + at, buffer)
    }
}

impl Defect {
    /// Has a damaged file system name the inode that was being read.
    fn of_inode(self, number: u32) -> Self {
        match self {
            Self::ExtDamaged(0) => Self::ExtDamaged(number),
            other => other,
        }
    }
}

/// The two bytes at a place; zero beyond the end.
fn u16_of(raw: &[u8], at: usize) -> u16 {
    raw.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// The four bytes at a place; zero beyond the end.
fn u32_of(raw: &[u8], at: usize) -> u32 {
    raw.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
