//! Objects deleted from a SIF, and another one made the one to run.
//!
//! [`delete`] works in place: one byte unmakes an object, and what it stood for goes only when that byte is on disk.
//! [`set_primary`] changes two descriptors at once, which no single write can, so it replaces the file by a copy.

use super::codes::{Arch, PartitionType};
use super::layout::{DESCRIPTOR_BYTES, descriptor as d};
use super::read;
use super::signed;
use super::table::{Descriptor, Extra, Table};
use super::write::{count, read_for_change, time_of_change};
use crate::error::{Doing, Failure, Outcome};
use crate::file::{self, Existing, NewFile};
use crate::image::Access;
use crate::lock;
use crate::message::{self, shown};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use protocol::Window;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the type of a partition is in its descriptor.
const PARTITION_TYPE_AT: u64 = d::EXTRA as u64 + 4;

/// What becomes of the bytes of an object that others lie behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// They stay as they are until somebody overwrites them, which no tool does.
    Keep,
    /// Their disk space is given back; they read as zeroes.
    Free,
}

/// Deletes an object of a SIF that is open for reading and writing. The bytes behind the last object that is left are
/// cut off. The file is locked as a whole until it is closed.
///
/// # Errors
/// Somebody uses the file, it is no sound SIF, there is no such object, a signature covers it, or the file cannot be
/// written. It then has the objects it had.
pub fn delete(file: &File, path: &Path, id: u32, gap: Gap) -> Outcome<()> {
    let deleting = || format!("deleting object {id} of {}", shown(path));
    let refused = |failure: Failure| failure.context(format!("while {}", deleting()));
    lock::exclusive_whole(file, path)?;
    let mut table = read_for_change(file, path).map_err(refused)?;
    let object = object(&table, id).map_err(refused)?.clone();
    signed::check_deletion(&table, &object).map_err(refused)?;
    let slot_at = table.slot_at(object.slot);
    let time = time_of_change(&table);
    table.remove(&object, time);
    forget(file, slot_at)
        .and_then(|()| count(file, &table.header))
        .and_then(|()| reclaim(file, path, &table, &object, gap))
        .doing(deleting)
}

/// Makes the object not exist: first by the one byte that says so, then by clearing the slot.
fn forget(file: &File, slot_at: u64) -> io::Result<()> {
    file.write_all_at(&[0], slot_at + d::USED as u64)?;
    file.sync_data()?;
    file.write_all_at(&[0; DESCRIPTOR_BYTES], slot_at)
}

/// Gives back what the object had on disk, now that no descriptor names it any more.
fn reclaim(file: &File, path: &Path, table: &Table, object: &Descriptor, gap: Gap) -> io::Result<()> {
    let end = table.end_of_data();
    if object.end() > end {
        file.set_len(end)?;
    } else if gap == Gap::Free {
        match punch(file, table.gap_around(object)) {
            Err(Errno::EOPNOTSUPP) => message::warning(format!(
                "The disk space of the deleted object is not free: the file system of {} cannot make holes in files",
                shown(path)
            )),
            punched => punched?,
        }
    }
    file.sync_all()
}

pub(super) fn punch(file: &File, gap: Window) -> Result<(), Errno> {
    let number = |number| i64::try_from(number).map_err(|_| Errno::EOVERFLOW);
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    if gap.size == 0 {
        return Ok(());
    }
    fallocate(file, flags, number(gap.offset)?, number(gap.size)?)
}

/// Makes a system partition the one to run; the one that was becomes an ordinary system partition. The file is
/// replaced by a changed copy with its owner and permissions, so whoever reads the old one keeps it.
///
/// # Errors
/// Somebody writes to the file, it is no sound SIF, there is no such partition, a signature covers it or the one that
/// was, or there is no room for the copy. The file is then as it was.
pub fn set_primary(path: &Path, id: u32) -> Outcome<()> {
    let opened = read::open(path, Access::ReadWrite)?;
    let (file, path) = (&opened.file, opened.path.as_path());
    let changing = || format!("making object {id} the primary partition of {}", shown(path));
    let refused = |failure: Failure| failure.context(format!("while {}", changing()));
    lock::shared_whole(file, path)?;
    let mut table = read_for_change(file, path).map_err(refused)?;
    let Some(arch) = arch_if_eligible(&table, id).map_err(refused)? else {
        return Ok(());
    };
    let time = time_of_change(&table);
    table.header.arch = arch;
    table.count(time);
    let copy = NewFile::beside(path, 0o600)?;
    copy.take_after(file)?;
    copy_all(file, copy.file()).doing(changing)?;
    if let Some((former, _, _)) = table.primary() {
        describe(copy.file(), &table, former, PartitionType::System, time).doing(changing)?;
    }
    let object = object(&table, id)?;
    describe(copy.file(), &table, object, PartitionType::PrimarySystem, time).doing(changing)?;
    count(copy.file(), &table.header).doing(changing)?;
    copy.publish(Existing::Replace).map(drop)
}

/// The architecture of the partition; `None` when it is the primary one already.
fn arch_if_eligible(table: &Table, id: u32) -> Outcome<Option<Arch>> {
    let object = object(table, id)?;
    let Extra::Partition { partition_type, arch, .. } = object.extra else {
        return Err(Failure::new("data object not a partition"));
    };
    match partition_type {
        PartitionType::PrimarySystem => return Ok(None),
        PartitionType::System => {}
        _ => return Err(Failure::new("data object not a system partition")),
    }
    signed::check_description(table, object)?;
    if let Some((former, _, _)) = table.primary() {
        signed::check_description(table, former)?;
    }
    Ok(Some(arch))
}

fn copy_all(from: &File, to: &File) -> io::Result<()> {
    let size = from.metadata()?.len();
    to.set_len(size)?;
    file::copy(from, Window { offset: 0, size }, to, 0)
}

/// Changes the type and the time of a partition and no other byte of its descriptor.
fn describe(
    file: &File,
    table: &Table,
    object: &Descriptor,
    partition_type: PartitionType,
    time: i64,
) -> io::Result<()> {
    let slot_at = table.slot_at(object.slot);
    file.write_all_at(&partition_type.code().to_le_bytes(), slot_at + PARTITION_TYPE_AT)?;
    file.write_all_at(&time.to_le_bytes(), slot_at + d::MODIFIED as u64)
}

fn object(table: &Table, id: u32) -> Outcome<&Descriptor> {
    let found = table.object(id);
    found.ok_or_else(|| Failure::new(format!("object not found: there is no object {id}")))
}

impl Table {
    /// Takes an object out and counts anew.
    fn remove(&mut self, object: &Descriptor, time: i64) {
        let was_primary = self.primary().is_some_and(|(primary, _, _)| primary.id == object.id);
        if was_primary {
            self.header.arch = Arch::NONE;
        }
        self.descriptors.retain(|other| other.slot != object.slot);
        let first = self.first_unused_slot.unwrap_or(object.slot);
        self.first_unused_slot = Some(first.min(object.slot));
        self.count(time);
    }

    /// The bytes between the objects that lie before and behind the place of one that is not in the table any more.
    fn gap_around(&self, gone: &Descriptor) -> Window {
        let others = || self.descriptors.iter().filter(|object| object.size > 0);
        let before = others().map(Descriptor::end).filter(|end| *end <= gone.offset).max();
        let behind = others().map(|object| object.offset).filter(|offset| *offset >= gone.end()).min();
        let start = before.unwrap_or(self.header.data_offset);
        Window { offset: start, size: behind.unwrap_or(gone.end()).saturating_sub(start) }
    }
}

#[cfg(test)]
mod tests;
