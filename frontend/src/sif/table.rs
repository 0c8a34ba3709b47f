//! Reading the header and the descriptor table of a file that may be hostile.
//!
//! Everything is checked before it is used, in arithmetic that cannot wrap. The table is read a few slots at a
//! time, so memory grows with the objects that exist and never with a number that the file merely says. Counters that
//! can be derived (unused slots, bytes of data) are derived, not believed.

use super::codes::{Arch, DataType, FsType, HashType, MessageFormat, MessageType, PartitionType, SbomFormat};
use super::digest::Digest;
use super::layout::{
    self, DESCRIPTOR_BYTES, HEADER_BYTES, bytes_at, descriptor as d, header as h, i32_at, i64_at, u32_at,
};
use crate::image::{Bytes, Defect};
use protocol::Window;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Slots read at once.
const CHUNK_SLOTS: usize = 64;

/// A checked table: ids are unique and not zero, every object lies in the file behind the table, no two share bytes,
/// and at most one is the primary partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Table {
    /// The global header.
    pub header: Header,
    /// The used slots, in table order.
    pub descriptors: Vec<Descriptor>,
    /// The first slot that is not used, counted from 0.
    pub first_unused_slot: Option<u32>,
    /// Whether the header's counters (unused slots, bytes of data) agree with the table. When they do not, somebody
    /// edited the file; signatures and partitions are found all the same.
    pub counters_agree: bool,
    /// Whether every used mark is 1. Readers of the format take any byte but 0 for used; a writer must not touch a
    /// table that has others.
    pub used_marks_clean: bool,
}

/// The global header, except for the counters that the table tells better.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The launch line without its padding; empty in OCI-SIF files.
    pub launch_line: Vec<u8>,
    /// The architecture of the primary partition.
    pub arch: Arch,
    /// The image's UUID in RFC 4122 order, or zeroes.
    pub id: [u8; 16],
    /// Unix seconds, or [`layout::NO_TIME`].
    pub created: i64,
    /// Unix seconds, or [`layout::NO_TIME`].
    pub modified: i64,
    /// Slots that the header says are unused.
    pub free_claimed: i64,
    /// Slots of the table: at most [`layout::DESCRIPTORS_MAX`].
    pub slots: u32,
    /// Where the table starts.
    pub table_offset: u64,
    /// Bytes of the table as the header has them: at least `slots` × 585.
    pub table_bytes: u64,
    /// Where data may start: not before the end of the table.
    pub data_offset: u64,
    /// Bytes of data that the header says there are.
    pub data_bytes_claimed: u64,
}

/// One used slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// The slot, from 0.
    pub slot: u32,
    /// What the object is.
    pub data_type: DataType,
    /// Not zero, unique in the table.
    pub id: u32,
    /// The group without its mask; `None` is no group.
    pub group: Option<u32>,
    /// What the object refers to.
    pub link: Link,
    /// Where the data starts.
    pub offset: u64,
    /// Bytes of data.
    pub size: u64,
    /// Unix seconds, or [`layout::NO_TIME`].
    pub created: i64,
    /// Unix seconds, or [`layout::NO_TIME`].
    pub modified: i64,
    /// Zero in today's files.
    pub uid: i64,
    /// Zero in today's files.
    pub gid: i64,
    /// The name up to its first NUL: at most 128 bytes of any value.
    pub name: Vec<u8>,
    /// What else is known, by type.
    pub extra: Extra,
}

/// What an object refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Link {
    /// Nothing.
    None,
    /// An object, by id.
    Object(u32),
    /// A group.
    Group(u32),
}

/// What a descriptor says beyond the fields that all have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Extra {
    /// Nothing that this build reads.
    None,
    /// Of a partition.
    Partition {
        /// The file system in it.
        fs: FsType,
        /// What it is for.
        partition_type: PartitionType,
        /// What programs in it run on.
        arch: Arch,
    },
    /// Of a signature.
    Signature {
        /// The hash it was made with.
        hash: HashType,
        /// The signer's OpenPGP fingerprint, or zeroes.
        entity: [u8; 20],
    },
    /// Of a cryptographic message.
    CryptoMessage(MessageFormat, MessageType),
    /// Of a bill of materials.
    Sbom(SbomFormat),
    /// Of an OCI object: the SHA-256 of its content as it was when written.
    Digest(Digest),
}

impl Descriptor {
    /// Where the data is in the file.
    #[must_use]
    pub fn window(&self) -> Window {
        Window { offset: self.offset, size: self.size }
    }

    /// The end of the data. It was checked to be inside the file, so it cannot wrap.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// Whether the file says it is a SIF: the magic at byte 32.
///
/// # Errors
/// The file cannot be read.
pub fn has_magic(bytes: &impl Bytes) -> Result<bool, Defect> {
    if bytes.length() < HEADER_BYTES as u64 {
        return Ok(false);
    }
    Ok(bytes.array_at::<10>(h::MAGIC as u64)? == layout::MAGIC)
}

/// Whether an open file has the magic. What cannot be read, as a directory cannot, has none.
#[must_use]
pub fn starts_as_sif(file: &File) -> bool {
    let mut magic = [0; 10];
    file.read_exact_at(&mut magic, h::MAGIC as u64).is_ok() && magic == layout::MAGIC
}

impl Table {
    /// Reads and checks the table of a file that has the magic.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn read(bytes: &impl Bytes) -> Result<Self, Defect> {
        let header = Header::read(bytes)?;
        let mut table = Self {
            header,
            descriptors: Vec::new(),
            first_unused_slot: None,
            counters_agree: true,
            used_marks_clean: true,
        };
        table.read_slots(bytes)?;
        table.check_ids()?;
        table.check_disjoint()?;
        if table.partitions(PartitionType::PrimarySystem).count() > 1 {
            return Err(Defect::SifPrimaries);
        }
        table.counters_agree = table.header.free_claimed == table.unused_slots()
            && table.header.data_bytes_claimed == table.data_bytes();
        Ok(table)
    }

    /// The primary partition with its file system and architecture.
    #[must_use]
    pub fn primary(&self) -> Option<(&Descriptor, FsType, Arch)> {
        self.partitions(PartitionType::PrimarySystem).next()
    }

    /// The partitions of one type, in table order.
    pub fn partitions(&self, wanted: PartitionType) -> impl Iterator<Item = (&Descriptor, FsType, Arch)> {
        self.descriptors.iter().filter_map(move |object| match object.extra {
            Extra::Partition { fs, partition_type, arch } if partition_type == wanted => {
                Some((object, fs, arch))
            }
            _ => None,
        })
    }

    /// The object with this id.
    #[must_use]
    pub fn object(&self, id: u32) -> Option<&Descriptor> {
        self.descriptors.iter().find(|object| object.id == id)
    }

    /// Whether any object is a signature.
    #[must_use]
    pub fn signed(&self) -> bool {
        self.descriptors.iter().any(|object| object.data_type == DataType::Signature)
    }

    /// Where everything that is used ends: the data of the last object, the table; at least the data offset. It is derived
    /// from the table alone.
    #[must_use]
    pub fn end_of_data(&self) -> u64 {
        let last = self.descriptors.iter().map(Descriptor::end).max().unwrap_or(0);
        last.max(self.header.data_offset).max(self.header.table_end())
    }

    /// Slots that no object uses.
    #[must_use]
    pub fn unused_slots(&self) -> i64 {
        i64::from(self.header.slots) - self.descriptors.len() as i64
    }

    /// Bytes from the data offset to the end of the last object.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.end_of_data() - self.header.data_offset
    }

    /// Whether the file was made without an identity of its own: no id, no times. Changes keep it so.
    #[must_use]
    pub fn is_deterministic(&self) -> bool {
        self.header.id == [0; 16]
            && self.header.created == layout::NO_TIME
            && self.header.modified == layout::NO_TIME
    }

    /// Whether every place that the table names is inside a file of this length: the check of a table that came from
    /// another process.
    pub(crate) fn lies_within(&self, length: u64) -> bool {
        let header = &self.header;
        let inside = |offset: u64, size: u64| offset.checked_add(size).is_some_and(|end| end <= length);
        inside(header.table_offset, header.slots_bytes())
            && header.table_is_apart()
            && self
                .descriptors
                .iter()
                .all(|object| inside(object.offset, object.size) && header.leaves_room_for(object.window()))
    }

    fn read_slots(&mut self, bytes: &impl Bytes) -> Result<(), Defect> {
        let mut chunk = [0; CHUNK_SLOTS * DESCRIPTOR_BYTES];
        let slots = self.header.slots as usize;
        for first in (0..slots).step_by(CHUNK_SLOTS) {
            let present = CHUNK_SLOTS.min(slots - first);
            let chunk = &mut chunk[..present * DESCRIPTOR_BYTES];
            // Inside the file: the header's check covers the whole table.
            bytes.read_at(self.header.table_offset + (first * DESCRIPTOR_BYTES) as u64, chunk)?;
            let (raw_slots, _) = chunk.as_chunks::<DESCRIPTOR_BYTES>();
            for (n, raw) in raw_slots.iter().enumerate() {
                self.read_slot(raw, (first + n) as u32, bytes.length())?;
            }
        }
        Ok(())
    }

    fn read_slot(&mut self, raw: &[u8; DESCRIPTOR_BYTES], slot: u32, length: u64) -> Result<(), Defect> {
        match raw[d::USED] {
            0 => {
                self.first_unused_slot.get_or_insert(slot);
                return Ok(());
            }
            1 => {}
            _ => self.used_marks_clean = false,
        }
        let object = Descriptor::parse(raw, slot)?;
        let end = object.offset.checked_add(object.size);
        if !self.header.leaves_room_for(object.window()) || end.is_none_or(|end| end > length) {
            return Err(Defect::SifObjectPlace(slot));
        }
        self.descriptors.push(object);
        Ok(())
    }

    fn check_ids(&self) -> Result<(), Defect> {
        let mut ids: Vec<(u32, u32)> =
            self.descriptors.iter().map(|object| (object.id, object.slot)).collect();
        ids.sort_unstable();
        if let Some((0, slot)) = ids.first() {
            return Err(Defect::SifObjectId(*slot));
        }
        match ids.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(Defect::SifObjectId(pair[1].1)),
            None => Ok(()),
        }
    }

    fn check_disjoint(&self) -> Result<(), Defect> {
        let mut objects: Vec<&Descriptor> =
            self.descriptors.iter().filter(|object| object.size > 0).collect();
        objects.sort_unstable_by_key(|object| object.offset);
        match objects.windows(2).find(|pair| pair[0].end() > pair[1].offset) {
            Some(pair) => Err(Defect::SifObjectsOverlap(pair[0].id, pair[1].id)),
            None => Ok(()),
        }
    }
}

impl Header {
    fn read(bytes: &impl Bytes) -> Result<Self, Defect> {
        let raw: [u8; HEADER_BYTES] = bytes.array_at(0)?;
        if bytes_at(&raw, h::VERSION) != layout::VERSION {
            return Err(Defect::SifVersion);
        }
        let launch: [u8; 32] = bytes_at(&raw, h::LAUNCH);
        let unsigned = |at, defect| u64::try_from(i64_at(&raw, at)).map_err(|_| defect);
        let slots = unsigned(h::TOTAL, Defect::SifTable)?;
        let header = Self {
            launch_line: until_nul(&launch).to_vec(),
            arch: Arch::from_digits(bytes_at(&raw, h::ARCH)),
            id: bytes_at(&raw, h::ID),
            created: i64_at(&raw, h::CREATED),
            modified: i64_at(&raw, h::MODIFIED),
            free_claimed: i64_at(&raw, h::FREE),
            slots: u32::try_from(slots.min(layout::DESCRIPTORS_MAX)).map_err(|_| Defect::SifTable)?,
            table_offset: unsigned(h::TABLE_OFFSET, Defect::SifTable)?,
            table_bytes: unsigned(h::TABLE_SIZE, Defect::SifTable)?,
            data_offset: unsigned(h::DATA_OFFSET, Defect::SifData)?,
            data_bytes_claimed: unsigned(h::DATA_SIZE, Defect::SifData)?,
        };
        if slots > layout::DESCRIPTORS_MAX
            || header.table_offset < HEADER_BYTES as u64
            || header.slots_bytes() > header.table_bytes
            || header.table_end() > bytes.length()
        {
            return Err(Defect::SifTable);
        }
        if !header.table_is_apart() {
            return Err(Defect::SifData);
        }
        Ok(header)
    }

    /// Whether the table is in front of all data. Where a change of several objects was cut off it is behind.
    pub(super) fn table_is_in_front(&self) -> bool {
        self.table_end() <= self.data_offset
    }

    /// Whether the table is in front of all data or behind where data starts.
    fn table_is_apart(&self) -> bool {
        let data_start_min = HEADER_BYTES as u64;
        self.table_is_in_front()
            || (data_start_min <= self.data_offset && self.data_offset < self.table_offset)
    }

    /// Whether an object can be there: over neither the header nor the table.
    fn leaves_room_for(&self, object: Window) -> bool {
        let end = object.offset.saturating_add(object.size);
        if self.table_is_in_front() {
            object.offset >= self.table_end()
        } else {
            object.offset >= self.data_offset
                && (end <= self.table_offset || object.offset >= self.table_end())
        }
    }

    /// Bytes of all slots: at most 38 MB.
    fn slots_bytes(&self) -> u64 {
        u64::from(self.slots) * DESCRIPTOR_BYTES as u64
    }

    /// The first byte behind the slots. The offset came from an `i64`, so the sum cannot wrap.
    #[must_use]
    pub fn table_end(&self) -> u64 {
        self.table_offset.saturating_add(self.slots_bytes())
    }
}

impl Descriptor {
    fn parse(raw: &[u8; DESCRIPTOR_BYTES], slot: u32) -> Result<Self, Defect> {
        let place = |at| u64::try_from(i64_at(raw, at)).map_err(|_| Defect::SifObjectPlace(slot));
        let data_type = DataType::from_code(i32_at(raw, d::TYPE));
        let id = u32_at(raw, d::ID);
        let name: [u8; d::NAME_BYTES] = bytes_at(raw, d::NAME);
        let group = u32_at(raw, d::GROUP) & !layout::GROUP_MASK;
        Ok(Self {
            slot,
            data_type,
            id,
            group: (group != 0).then_some(group),
            link: Link::parse(u32_at(raw, d::LINK)),
            offset: place(d::OFFSET)?,
            size: place(d::SIZE)?,
            created: i64_at(raw, d::CREATED),
            modified: i64_at(raw, d::MODIFIED),
            uid: i64_at(raw, d::UID),
            gid: i64_at(raw, d::GID),
            name: until_nul(&name).to_vec(),
            extra: Extra::parse(data_type, &bytes_at(raw, d::EXTRA), id)?,
        })
    }
}

impl Link {
    /// What the field in a descriptor stands for.
    #[must_use]
    pub fn parse(field: u32) -> Self {
        let number = field & !layout::GROUP_MASK;
        match field & layout::GROUP_MASK {
            _ if number == 0 => Self::None,
            layout::GROUP_MASK => Self::Group(number),
            _ => Self::Object(field),
        }
    }

    /// The field in a descriptor.
    #[must_use]
    pub fn field(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Object(id) => id,
            Self::Group(group) => group | layout::GROUP_MASK,
        }
    }
}

impl Extra {
    /// Whether these are the fields that objects of a type have.
    pub(super) fn belongs_to(&self, data_type: DataType) -> bool {
        match data_type {
            DataType::Partition => matches!(self, Self::Partition { .. }),
            DataType::Signature => matches!(self, Self::Signature { .. }),
            DataType::CryptoMessage => matches!(self, Self::CryptoMessage(..)),
            DataType::Sbom => matches!(self, Self::Sbom(_)),
            DataType::OciRootIndex | DataType::OciBlob => matches!(self, Self::Digest(_)),
            _ => *self == Self::None,
        }
    }

    pub(super) fn parse(data_type: DataType, raw: &[u8; d::EXTRA_BYTES], id: u32) -> Result<Self, Defect> {
        Ok(match data_type {
            DataType::Partition => Self::Partition {
                fs: FsType::from_code(i32_at(raw, 0)),
                partition_type: PartitionType::from_code(i32_at(raw, 4)),
                arch: Arch::from_digits(bytes_at(raw, 8)),
            },
            DataType::Signature => {
                Self::Signature { hash: HashType::from_code(i32_at(raw, 0)), entity: bytes_at(raw, 4) }
            }
            DataType::CryptoMessage => Self::CryptoMessage(
                MessageFormat::from_code(i32_at(raw, 0)),
                MessageType::from_code(i32_at(raw, 4)),
            ),
            DataType::Sbom => Self::Sbom(SbomFormat::from_code(i32_at(raw, 0))),
            DataType::OciRootIndex | DataType::OciBlob => {
                Self::Digest(Digest::from_text(until_nul(raw)).ok_or(Defect::SifDigest(id))?)
            }
            _ => Self::None,
        })
    }
}

/// What comes before the first NUL.
fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

#[cfg(test)]
mod tests;
