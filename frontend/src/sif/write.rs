//! New SIF files, and objects added to old ones.
//!
//! Whatever is killed when, a file has its old objects or its new ones: [`create`] gives a name only to a file that is
//! complete and on disk, and [`append`] makes an object exist by one byte, written when everything it stands for is on
//! disk.

use super::codes::{Arch, DataType, FsType, PartitionType};
use super::encode;
use super::layout::{self, DESCRIPTOR_BYTES, HEADER_BYTES, descriptor as d};
use super::read;
use super::signed;
use super::table::{Descriptor, Extra, Header, Link, Table};
use crate::error::{Doing, Failure, Outcome};
use crate::file::{self, Existing, NewFile};
use crate::image::Defect;
use crate::lock;
use crate::message::shown;
use protocol::Window;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

/// Permissions of a new SIF before the umask: it is also a program.
const MODE: u32 = 0o755;
/// The group of an object that nobody put elsewhere.
const GROUP_DEFAULT: u32 = 1;

/// Where the content of a new object comes from.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Memory.
    Bytes(&'a [u8]),
    /// A part of a file, which is copied with its holes.
    Part(&'a File, Window),
}

impl Data<'_> {
    /// Its length in bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part(_, window) => window.size,
        }
    }

    /// Writes the data to a place that reads as zeroes.
    pub(super) fn write(self, file: &File, at: u64) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => file.write_all_at(bytes, at),
            Self::Part(from, window) => file::copy(from, window, file, at),
        }
    }
}

/// An object that is to be written: in group 1, without a name and without a link unless said otherwise.
#[derive(Clone, Debug)]
pub struct NewObject<'a> {
    data_type: DataType,
    group: Option<u32>,
    link: Link,
    name: &'a [u8],
    extra: Extra,
    alignment: u64,
    data: Data<'a>,
}

impl<'a> NewObject<'a> {
    /// An object of a type that has no fields of its own, such as a definition file or JSON.
    #[must_use]
    pub fn new(data_type: DataType, data: Data<'a>) -> Self {
        Self {
            data_type,
            group: Some(GROUP_DEFAULT),
            link: Link::None,
            name: b"",
            extra: Extra::None,
            alignment: if data_type == DataType::Partition { layout::PARTITION_ALIGNMENT } else { 1 },
            data,
        }
    }

    /// A partition.
    #[must_use]
    pub fn partition(fs: FsType, partition_type: PartitionType, arch: Arch, data: Data<'a>) -> Self {
        Self::new(DataType::Partition, data).with(Extra::Partition { fs, partition_type, arch })
    }

    /// Gives it the fields that its type has.
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }

    /// Gives it a name of at most 128 bytes, none of them NUL.
    #[must_use]
    pub fn named(mut self, name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.name = name.as_ref();
        self
    }

    /// Puts it in a group of 1 to 2^28 - 1, or in none.
    #[must_use]
    pub fn in_group(mut self, group: Option<u32>) -> Self {
        self.group = group;
        self
    }

    /// Makes it refer to another object or a group.
    #[must_use]
    pub fn linked_to(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// Has its data start at a multiple of so many bytes instead of 4096 for a partition and 1 for the rest.
    #[must_use]
    pub fn aligned_to(mut self, bytes: u64) -> Self {
        self.alignment = bytes.max(1);
        self
    }

    pub(super) fn data(&self) -> Data<'a> {
        self.data
    }

    pub(super) fn group(&self) -> Option<u32> {
        self.group
    }

    pub(super) fn data_type(&self) -> DataType {
        self.data_type
    }

    pub(super) fn is_primary(&self) -> bool {
        matches!(self.extra, Extra::Partition { partition_type: PartitionType::PrimarySystem, .. })
    }

    /// Why the fields of the format cannot hold it.
    fn check(&self) -> Outcome<()> {
        let number_fits = |number: u32| number & layout::GROUP_MASK == 0 && number != 0;
        let why = if self.name.len() > d::NAME_BYTES {
            "its name is longer than 128 bytes"
        } else if self.name.contains(&0) {
            "its name has a NUL byte"
        } else if self.group.is_some_and(|group| !number_fits(group)) {
            "its group is not a number from 1 to 268435455"
        } else if matches!(self.link, Link::Object(number) | Link::Group(number) if !number_fits(number)) {
            "its link is not to a number from 1 to 268435455"
        } else if !self.extra.belongs_to(self.data_type) {
            "the fields of its type are missing, or it has those of another type"
        } else {
            return Ok(());
        };
        Err(Failure::new(format!("no SIF can hold this object: {why}")))
    }
}

/// How a new SIF is made.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Begin with the line that makes it a program, as native images do.
    pub launch_line: bool,
    /// What it is called: 16 random bytes in RFC 4122 form, or zeroes together with [`layout::NO_TIME`] for a file that is
    /// always the same.
    pub id: [u8; 16],
    /// When it was made, in Unix seconds.
    pub time: i64,
    /// Slots that the table has at least.
    pub slots_min: u32,
    /// Slots that stay unused at least.
    pub spare_slots: u32,
    /// What becomes of a file that has the name.
    pub existing: Existing,
}

impl CreateOptions {
    /// A native image made now with an id of its own, which replaces nothing.
    #[must_use]
    pub fn native() -> Self {
        Self {
            launch_line: true,
            id: uuid::Uuid::new_v4().into_bytes(),
            time: now(),
            slots_min: layout::DESCRIPTORS_DEFAULT,
            spare_slots: 0,
            existing: Existing::Keep,
        }
    }

    /// An OCI-SIF as the incumbents make it: no launch line, no id, no times, and room for eight more objects.
    #[must_use]
    pub fn oci() -> Self {
        Self {
            launch_line: false,
            id: [0; 16],
            time: layout::NO_TIME,
            slots_min: 0,
            spare_slots: 8,
            existing: Existing::Keep,
        }
    }
}

/// Makes a SIF of these objects, which get the ids 1, 2, … in this order. The descriptor of the new file comes back.
///
/// # Errors
/// The objects do not fit the format, their data cannot be read, or the file cannot be written. There is then no new
/// file, and an old one is as it was.
pub fn create(target: &Path, objects: &[NewObject<'_>], options: &CreateOptions) -> Outcome<File> {
    let creating = || format!("creating {}", shown(target));
    let new = NewFile::beside(target, MODE)?;
    let file = new.file();
    let mut table = Table::empty(objects.len(), options)?;
    for object in objects {
        let placed =
            Placed::behind(&table, object, options.time).map_err(|why| why.context(target.display()))?;
        file.set_len(placed.descriptor.end()).doing(creating)?;
        object.data.write(file, placed.descriptor.offset).doing(creating)?;
        file.write_all_at(&placed.bytes(), placed.slot_at(&table)).doing(creating)?;
        table.accept(placed, options.time);
    }
    // Not before all of the table is in the file, even where the last objects are empty.
    file.set_len(table.end_of_data()).doing(creating)?;
    file.write_all_at(&encode::header(&table.header), 0).doing(creating)?;
    new.publish(options.existing)
}

/// Adds an object to a SIF that is open for reading and writing, and returns its id. The file is locked as a whole
/// until it is closed.
///
/// # Errors
/// Somebody uses the file, it is no sound SIF, its table is full, it would have a second primary partition, or it
/// cannot be written. It then has the objects it had.
pub fn append(file: &File, path: &Path, object: &NewObject<'_>) -> Outcome<u32> {
    let adding = || format!("adding an object to {}", shown(path));
    lock::exclusive_whole(file, path)?;
    let mut table =
        read_for_change(file, path).map_err(|failure| failure.context(format!("while {}", adding())))?;
    signed::check_addition(&table, object.group, object.data_type)
        .map_err(|failure| failure.context(format!("while {}", adding())))?;
    let time = time_of_change(&table);
    let placed = Placed::behind(&table, object, time)
        .map_err(|failure| failure.context(format!("while {}", adding())))?;
    let end = table.end_of_data();
    if let Err(error) = write_data(file, end, &placed, object.data) {
        // No object reaches beyond this, so what was written can go.
        let _ = file.set_len(end);
        return Err(error).doing(adding);
    }
    let id = placed.descriptor.id;
    let (slot_at, bytes) = (placed.slot_at(&table), placed.bytes());
    table.accept(placed, time);
    enter(file, slot_at, &bytes).and_then(|()| count(file, &table.header)).doing(adding)?;
    Ok(id)
}

/// Puts the data behind everything that is used, and on disk. What a deleted object may have left there goes first,
/// so that holes read as zeroes. Until [`enter`] no descriptor knows of any of this.
fn write_data(file: &File, end: u64, placed: &Placed, data: Data<'_>) -> io::Result<()> {
    file.set_len(end)?;
    file.set_len(placed.descriptor.end())?;
    data.write(file, placed.descriptor.offset)?;
    file.sync_data()
}

/// Makes the object exist. A descriptor may cross a sector, so half of it can reach the disk without the other half;
/// it is therefore written unused, and the one byte that makes it used follows when the rest is on disk.
fn enter(file: &File, slot_at: u64, bytes: &[u8; DESCRIPTOR_BYTES]) -> io::Result<()> {
    let mut unused = *bytes;
    unused[d::USED] = 0;
    file.write_all_at(&unused, slot_at)?;
    file.sync_data()?;
    file.write_all_at(&bytes[d::USED..=d::USED], slot_at + d::USED as u64)?;
    file.sync_data()
}

/// Brings the header's counters and times up to date. They lag behind when this is cut off; every reader finds the
/// objects without them, and the next change corrects them.
pub(super) fn count(file: &File, header: &Header) -> io::Result<()> {
    let mut raw = [0; HEADER_BYTES];
    file.read_exact_at(&mut raw, 0)?;
    encode::put_changing(&mut raw, header);
    file.write_all_at(&raw, 0)?;
    file.sync_data()
}

/// Reads the table of a file that is locked, as far as it is one that may be changed.
pub(super) fn read_for_change(file: &File, path: &Path) -> Outcome<Table> {
    let table = read::read(file, path)?;
    let found = file.metadata().doing(|| format!("reading {}", shown(path)))?;
    if found.nlink() == 0 {
        return Err(Failure::new("the file was replaced or removed in the meantime").hint("Try again."));
    }
    let length = found.len();
    // Old writers began the data at the next page and a file without objects can end before that.
    let data_offset_max = length.max(table.header.table_end().next_multiple_of(layout::PARTITION_ALIGNMENT));
    if table.header.data_offset > data_offset_max {
        return Err(Failure::new(Defect::SifData.to_string()));
    }
    if !table.used_marks_clean {
        return Err(Failure::new("corrupted SIF: a used mark in its table is neither 0 nor 1"));
    }
    Ok(table)
}

pub(super) fn table_full(table: &Table) -> Failure {
    Failure::new(format!("all {} descriptors of the SIF are used", table.header.slots))
        .hint("Delete an object that is not needed, or build the image again.")
}

/// A new object in its place behind all others.
pub(super) struct Placed {
    pub(super) descriptor: Descriptor,
    /// Its length with the gap before it.
    padded_bytes: u64,
}

impl Placed {
    fn behind(table: &Table, object: &NewObject<'_>, time: i64) -> Outcome<Self> {
        if object.is_primary() && table.primary().is_some() {
            return Err(Failure::new("a SIF has only one primary partition and there is one already"));
        }
        let Some(slot) = table.first_unused_slot else {
            return Err(table_full(table));
        };
        let id = slot + 1;
        if table.object(id).is_some() {
            return Err(Failure::new("corrupted SIF: the ids of its objects are not those of their slots"));
        }
        Self::at(slot, id, table.end_of_data(), object, time)
    }

    /// An object in a slot, at the first place for it from `end` on.
    pub(super) fn at(slot: u32, id: u32, end: u64, object: &NewObject<'_>, time: i64) -> Outcome<Self> {
        object.check()?;
        let offset = end.checked_next_multiple_of(object.alignment);
        let last = offset.and_then(|offset| offset.checked_add(object.data.size()));
        let (Some(offset), Some(last)) = (offset, last.filter(|last| i64::try_from(*last).is_ok())) else {
            return Err(Failure::new("the file would be longer than any file can be"));
        };
        let descriptor = Descriptor {
            slot,
            data_type: object.data_type,
            id,
            group: object.group,
            link: object.link,
            offset,
            size: object.data.size(),
            created: time,
            modified: time,
            uid: 0,
            gid: 0,
            name: object.name.to_vec(),
            extra: object.extra.clone(),
        };
        Ok(Self { descriptor, padded_bytes: last - end })
    }

    pub(super) fn bytes(&self) -> [u8; DESCRIPTOR_BYTES] {
        encode::descriptor(&self.descriptor, self.padded_bytes)
    }

    fn slot_at(&self, table: &Table) -> u64 {
        table.slot_at(self.descriptor.slot)
    }
}

impl Table {
    /// The table of a new file that will hold some objects.
    fn empty(objects: usize, options: &CreateOptions) -> Outcome<Self> {
        let wanted = objects as u64 + u64::from(options.spare_slots);
        let slots = u32::try_from(wanted.max(options.slots_min.into()))
            .ok()
            .filter(|slots| u64::from(*slots) <= layout::DESCRIPTORS_MAX)
            .ok_or_else(|| {
                Failure::new(format!("a SIF holds at most {} objects", layout::DESCRIPTORS_MAX))
            })?;
        let table_bytes = u64::from(slots) * DESCRIPTOR_BYTES as u64;
        let launch_line = if options.launch_line { layout::LAUNCH_LINE[..31].to_vec() } else { Vec::new() };
        Ok(Self {
            header: Header {
                launch_line,
                arch: Arch::NONE,
                id: options.id,
                created: options.time,
                modified: options.time,
                free_claimed: i64::from(slots),
                slots,
                table_offset: layout::TABLE_OFFSET,
                table_bytes,
                data_offset: layout::TABLE_OFFSET + table_bytes,
                data_bytes_claimed: 0,
            },
            descriptors: Vec::new(),
            first_unused_slot: Some(0),
            counters_agree: true,
            used_marks_clean: true,
        })
    }

    /// Takes a placed object up and counts anew.
    fn accept(&mut self, placed: Placed, time: i64) {
        if let Extra::Partition { partition_type: PartitionType::PrimarySystem, arch, .. } =
            placed.descriptor.extra
        {
            self.header.arch = arch;
        }
        let slot = placed.descriptor.slot;
        let at = self.descriptors.partition_point(|other| other.slot < slot);
        self.descriptors.insert(at, placed.descriptor);
        // It took the first unused slot, so the next one is behind it.
        let used = |slot: &u32| self.descriptors.binary_search_by_key(slot, |object| object.slot).is_ok();
        self.first_unused_slot = (slot + 1..self.header.slots).find(|slot| !used(slot));
        self.count(time);
    }

    /// Has the header say what the table says.
    pub(super) fn count(&mut self, time: i64) {
        self.header.modified = time;
        self.header.free_claimed = self.unused_slots();
        self.header.data_bytes_claimed = self.data_bytes();
    }

    /// Where a slot is in the file: inside the table, which the file has.
    #[must_use]
    pub fn slot_at(&self, slot: u32) -> u64 {
        self.header.table_offset + u64::from(slot) * DESCRIPTOR_BYTES as u64
    }
}

/// What a change of this file writes for its time.
pub(super) fn time_of_change(table: &Table) -> i64 {
    if table.is_deterministic() { layout::NO_TIME } else { now() }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
