//! One inode: what a file is, whose, and where its content begins.

use super::{u16_of, u32_of};
use crate::image::Defect;
use std::ops::Range;

/// Bytes of an inode that all revisions have.
const OLD_BYTES: usize = 128;
/// Where the block numbers are, or the target of a short symbolic link.
const BLOCKS: Range<usize> = 40..100;
/// `i_flags` of ext4 that say the content is not found by block numbers: encrypted, extents, attribute values, inline.
const FLAGS_REFUSED: u32 = 0x800 | 0x8_0000 | 0x20_0000 | 0x1000_0000;

/// An inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inode {
    /// Its number, from 1.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// The permission bits with set-user-id, set-group-id and sticky.
    pub permissions: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes of content.
    pub size: u64,
    /// Names that it has.
    pub links: u16,
    /// Unix seconds of the last change of the content.
    pub modified: i64,
    /// What is in its record: attributes too.
    raw: Vec<u8>,
}

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, whose content is its target.
    Link,
    /// A device read and written by characters.
    CharacterDevice(Device),
    /// A device read and written by blocks.
    BlockDevice(Device),
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
}

/// The number of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Inode {
    /// Reads a record of at least 128 bytes.
    pub(super) fn parse(number: u32, raw: Vec<u8>) -> Result<Self, Defect> {
        let mode = u16_of(&raw, 0);
        let kind = match mode & 0xF000 {
            0x8000 => Kind::Regular,
            0x4000 => Kind::Directory,
            0xA000 => Kind::Link,
            0x2000 => Kind::CharacterDevice(Device::parse(&raw)),
            0x6000 => Kind::BlockDevice(Device::parse(&raw)),
            0x1000 => Kind::Pipe,
            0xC000 => Kind::Socket,
            _ => return Err(Defect::ExtDamaged(number)),
        };
        if u32_of(&raw, 32) & FLAGS_REFUSED != 0 {
            return Err(Defect::ExtUnsupported(number));
        }
        let low_size = u64::from(u32_of(&raw, 4));
        let size = match kind {
            // In a directory the upper half means something else.
            Kind::Regular => low_size | u64::from(u32_of(&raw, 108)) << 32,
            _ => low_size,
        };
        let id = |low, high| u32::from(u16_of(&raw, low)) | u32::from(u16_of(&raw, high)) << 16;
        Ok(Self {
            number,
            kind,
            permissions: u32::from(mode & 0o7777),
            uid: id(2, 120),
            gid: id(24, 122),
            size,
            links: u16_of(&raw, 26),
            modified: modified(&raw),
            raw,
        })
    }

    /// Whether it is the mark that overlays leave for a name that was deleted: the character device 0:0.
    #[must_use]
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharacterDevice(Device { major: 0, minor: 0 })
    }

    /// The target of a symbolic link that is short enough to be in the inode itself.
    pub(super) fn short_target(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.size).ok().filter(|length| *length < BLOCKS.len())?;
        self.raw.get(BLOCKS)?.get(..length)
    }

    /// The fifteen block numbers: twelve of content and three of blocks of numbers.
    pub(super) fn block_number(&self, index: usize) -> u32 {
        u32_of(&self.raw, BLOCKS.start + 4 * index)
    }

    /// The block with further attributes, or 0.
    pub(super) fn attribute_block(&self) -> u32 {
        u32_of(&self.raw, 104)
    }

    /// What is in the record behind the fields of the inode; nothing in a short one.
    pub(super) fn attribute_space(&self) -> &[u8] {
        if self.raw.len() <= OLD_BYTES {
            return &[];
        }
        self.raw.get(OLD_BYTES + usize::from(extra_bytes(&self.raw))..).unwrap_or_default()
    }
}

/// How many bytes the fields take that came after the first 128.
fn extra_bytes(raw: &[u8]) -> u16 {
    u16_of(raw, OLD_BYTES)
}

/// The time in seconds; two bits beyond the sign of 32 bits are in a later field, where there is one.
fn modified(raw: &[u8]) -> i64 {
    let seconds = i64::from(u32_of(raw, 16).cast_signed());
    let has_epoch = raw.len() > OLD_BYTES && extra_bytes(raw) >= 12;
    let epoch = if has_epoch { u32_of(raw, 136) & 3 } else { 0 };
    seconds + (i64::from(epoch) << 32)
}

impl Device {
    /// Reads the number of a device in its old encoding or, where that is 0, in its new one.
    fn parse(raw: &[u8]) -> Self {
        let old = u32_of(raw, BLOCKS.start);
        if old != 0 {
            return Self { major: old >> 8 & 0xFF, minor: old & 0xFF };
        }
        let new = u32_of(raw, BLOCKS.start + 4);
        Self { major: (new & 0xF_FF00) >> 8, minor: new & 0xFF | new >> 12 & 0xF_FF00 }
    }
}
