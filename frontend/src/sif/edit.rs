//! Several objects of a SIF changed in one step, in place.
//!
//! No single write can change two descriptors, but one can change the header, which says where the table is. So everything
//! new is first written behind all that is used, the whole new table with it, and brought to disk; then 128 bytes make
//! the header point to that table, and the file is the new one. After that the old places are free: data and table
//! are written to where they belong, the header points there again, and the end of the file is cut off. Whatever is
//! killed when, every reader of the format finds the old objects or the new ones.

use super::change::punch;
use super::encode;
use super::layout::{self, DESCRIPTOR_BYTES, HEADER_BYTES, descriptor as d};
use super::signed;
use super::table::{Descriptor, Extra, Header, Table};
use super::write::{Data, NewObject, Placed, read_for_change, time_of_change};
use crate::error::{Doing, Failure, Outcome, reason_of};
use crate::lock;
use crate::message::{self, shown};
use nix::errno::Errno;
use protocol::Window;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What things written behind the rest of the file are aligned to.
const STAGE_ALIGNMENT: u64 = 4096;

/// One change of a SIF.
#[derive(Clone, Debug)]
pub enum Edit<'a> {
    /// The object goes.
    Delete(u32),
    /// The object gets other fields of its type and keeps its data.
    Describe(u32, Extra),
    /// Another object takes the slot and the id of an old one.
    Replace(u32, NewObject<'a>),
    /// An object is added in the first unused slot.
    Add(NewObject<'a>),
}

/// Where the data of new objects goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Behind what stays: the file becomes as short as it can without moving that, and new data may be written twice.
    BehindKept,
    /// Behind everything that was there: new data is written once.
    BehindAll,
}

/// Carries out all of `edits` or none on a SIF that is open for reading and writing, and locks the file as a whole until
/// it is closed. Objects that are not named stay where they are; neither old nor new ones may be the primary
/// partition. Room that becomes unused is given back.
///
/// # Errors
/// Somebody uses the file, it is no sound SIF, an object is missing, a signature covers one, the table is full, or the
/// file cannot be written. It then has the objects it had.
pub fn edit(file: &File, path: &Path, edits: &[Edit<'_>], room: Room) -> Outcome<()> {
    let changing = || format!("changing {}", shown(path));
    let refused = |failure: Failure| failure.context(format!("while {}", changing()));
    lock::exclusive_whole(file, path)?;
    let old = read_for_change(file, path).map_err(refused)?;
    let raw = raw_table(file, &old).doing(changing)?;
    let change = Change::plan(&old, raw, edits, room).map_err(refused)?;
    if let Err(error) = change.stage(file) {
        // No object reaches beyond this, so what was written can go.
        let _ = file.set_len(change.old_end);
        return Err(error).doing(changing);
    }
    change.commit(file).doing(changing)?;
    if let Err(error) = change.settle(file) {
        message::warning(format!(
            "{} is changed, but takes more disk space than it needs: {}",
            shown(path),
            reason_of(&error)
        ));
    }
    Ok(())
}

/// The bytes of all slots: at most 38 MB.
fn raw_table(file: &File, table: &Table) -> io::Result<Vec<u8>> {
    let mut raw = vec![0; table.header.slots as usize * DESCRIPTOR_BYTES];
    file.read_exact_at(&mut raw, table.header.table_offset)?;
    Ok(raw)
}

/// New objects and where they go.
struct Change<'a> {
    old_end: u64,
    /// The table that the file will have, in its place.
    table: Table,
    /// All of its slots, those that do not change byte by byte as they were.
    raw: Vec<u8>,
    news: Vec<New<'a>>,
    /// What is gone.
    gone: Vec<Descriptor>,
    /// An earlier change was cut off before it gave room back.
    finishes: bool,
    /// The header and all slots while new data is still behind everything.
    staged: (Header, Vec<u8>),
}

/// A new object.
struct New<'a> {
    placed: Placed,
    data: Data<'a>,
    /// Where its data is kept until the old data is not needed any more, if its place is not free before.
    staged_at: Option<u64>,
}

impl<'a> Change<'a> {
    fn plan(old: &Table, raw: Vec<u8>, edits: &[Edit<'a>], room: Room) -> Outcome<Self> {
        let time = time_of_change(old);
        let old_end = old.end_of_data();
        let staged = (old.header.clone(), Vec::new());
        let finishes = !old.header.table_is_in_front();
        let mut change =
            Self { old_end, table: old.clone(), raw, news: Vec::new(), gone: Vec::new(), finishes, staged };
        // The slots of objects that another one replaces do not count as unused meanwhile.
        for edit in edits {
            change.take_out(old, edit, time)?;
        }
        let kept = change.table.descriptors.iter().map(Descriptor::end).max().unwrap_or(0);
        let mut start = match room {
            Room::BehindKept => kept.max(old.header.data_offset),
            Room::BehindAll => old_end,
        };
        for edit in edits {
            start = change.put_in(old, edit, start, time)?;
        }
        change.bring_home();
        change.table.count(time);
        change.staged = change.stage_behind(old_end.max(change.table.end_of_data()));
        Ok(change)
    }

    /// Removes and describes old objects.
    fn take_out(&mut self, old: &Table, edit: &Edit<'_>, time: i64) -> Outcome<()> {
        let find = |id: u32| {
            let found = old.object(id).filter(|object| self.table.object(object.id).is_some());
            found.ok_or_else(|| Failure::new(format!("object not found: there is no object {id}")))
        };
        match edit {
            Edit::Delete(id) | Edit::Replace(id, _) => {
                let object = find(*id)?;
                refuse_primary(old.primary().is_some_and(|(primary, ..)| primary.id == *id))?;
                signed::check_deletion(old, object)?;
                self.table.descriptors.retain(|other| other.id != *id);
                self.gone.push(object.clone());
                self.slot_bytes(object.slot).fill(0);
            }
            Edit::Describe(id, extra) => {
                let object = find(*id)?;
                signed::check_description(old, object)?;
                let bytes = self.slot_bytes(object.slot);
                bytes[d::EXTRA..d::EXTRA + d::EXTRA_BYTES].fill(0);
                encode::put_extra(&mut bytes[d::EXTRA..d::EXTRA + d::EXTRA_BYTES], extra);
                bytes[d::MODIFIED..d::MODIFIED + 8].copy_from_slice(&time.to_le_bytes());
                let described = self.table.descriptors.iter_mut().find(|other| other.id == *id);
                if let Some(object) = described {
                    object.extra = extra.clone();
                    object.modified = time;
                }
            }
            Edit::Add(_) => {}
        }
        Ok(())
    }

    /// Adds a new object at the first place from `start` on and returns its end.
    fn put_in(&mut self, old: &Table, edit: &Edit<'a>, start: u64, time: i64) -> Outcome<u64> {
        let (slot, object) = match edit {
            Edit::Delete(_) | Edit::Describe(..) => return Ok(start),
            Edit::Replace(id, object) => {
                let replaced = self.gone.iter().find(|gone| gone.id == *id);
                (replaced.map(|gone| (gone.slot, gone.id)), object)
            }
            Edit::Add(object) => (self.unused_slot(old).map(|slot| (slot, slot + 1)), object),
        };
        let Some((slot, id)) = slot else {
            return Err(super::write::table_full(old));
        };
        refuse_primary(object.is_primary())?;
        signed::check_addition(&self.table, object.group(), object.data_type())?;
        let placed = Placed::at(slot, id, start, object, time)?;
        self.slot_bytes(slot).copy_from_slice(&placed.bytes());
        let end = placed.descriptor.end();
        let at = self.table.descriptors.partition_point(|other| other.slot < slot);
        self.table.descriptors.insert(at, placed.descriptor.clone());
        self.news.push(New { placed, data: object.data(), staged_at: None });
        Ok(end)
    }

    /// The first slot that neither an old object nor a new one uses. Both tables are in the order of their slots.
    fn unused_slot(&self, old: &Table) -> Option<u32> {
        let used =
            |table: &Table, slot| table.descriptors.binary_search_by_key(&slot, |object| object.slot).is_ok();
        let slot = (0..old.header.slots).find(|slot| !used(old, *slot) && !used(&self.table, *slot))?;
        self.table.object(slot + 1).is_none().then_some(slot)
    }

    /// The bytes of a slot. The slots of both tables lie inside the raw one, which has as many.
    fn slot_bytes(&mut self, slot: u32) -> &mut [u8] {
        let at = slot as usize * DESCRIPTOR_BYTES;
        &mut self.raw[at..at + DESCRIPTOR_BYTES]
    }

    /// Puts the table in front of the data again if an earlier change was cut off before it did.
    fn bring_home(&mut self) {
        let header = &mut self.table.header;
        let home_end = layout::TABLE_OFFSET + self.raw.len() as u64;
        if !header.table_is_in_front() && home_end <= header.data_offset {
            header.table_offset = layout::TABLE_OFFSET;
        }
    }

    /// Finds room from `end` on for the table and, behind it, for data whose place is taken, and returns the header and the
    /// slots that say so. The last new object is always there: tools that know nothing of this add to a file behind its
    /// last object, and so not over the table.
    fn stage_behind(&mut self, end: u64) -> (Header, Vec<u8>) {
        let (mut table, mut raw) = (self.table.clone(), self.raw.clone());
        // Never where the data starts, so that the table is seen to be behind it.
        let start = end.max(self.table.header.data_offset + 1).next_multiple_of(STAGE_ALIGNMENT);
        table.header.table_offset = start;
        table.header.table_bytes = raw.len() as u64;
        let mut at = table.header.table_end().next_multiple_of(STAGE_ALIGNMENT);
        let count = self.news.len();
        for (n, new) in self.news.iter_mut().enumerate() {
            if n + 1 < count && new.placed.descriptor.offset >= self.old_end {
                continue;
            }
            new.staged_at = Some(at);
            let descriptor = Descriptor { offset: at, ..new.placed.descriptor.clone() };
            let slot = descriptor.slot as usize * DESCRIPTOR_BYTES;
            raw[slot..slot + DESCRIPTOR_BYTES]
                .copy_from_slice(&encode::descriptor(&descriptor, descriptor.size));
            at = descriptor.end().next_multiple_of(STAGE_ALIGNMENT);
            table.descriptors.retain(|object| object.slot != descriptor.slot);
            table.descriptors.push(descriptor);
        }
        table.count(self.table.header.modified);
        (table.header, raw)
    }

    /// Writes all that is new where nothing is, and brings it to disk.
    fn stage(&self, file: &File) -> io::Result<()> {
        let (header, raw) = &self.staged;
        // What a deleted object may have left goes, so that holes read as zeroes.
        file.set_len(self.old_end)?;
        file.set_len(header.data_offset + header.data_bytes_claimed)?;
        for new in &self.news {
            new.data.write(file, new.staged_at.unwrap_or(new.placed.descriptor.offset))?;
        }
        file.write_all_at(raw, header.table_offset)?;
        file.sync_data()
    }

    /// Makes the change.
    fn commit(&self, file: &File) -> io::Result<()> {
        point_to(file, &self.staged.0)
    }

    /// Puts everything where it belongs and gives back what is not needed any more.
    fn settle(&self, file: &File) -> io::Result<()> {
        for new in &self.news {
            if new.staged_at.is_some() {
                clear(file, new.placed.descriptor.window())?;
                new.data.write(file, new.placed.descriptor.offset)?;
            }
        }
        file.write_all_at(&self.raw, self.table.header.table_offset)?;
        file.sync_data()?;
        point_to(file, &self.table.header)?;
        let end = self.table.end_of_data();
        file.set_len(end)?;
        let is_free =
            |gap: &Window| self.finishes || self.gone.iter().any(|gone| overlap(gone.window(), *gap));
        for gap in self.table.gaps().filter(is_free) {
            match punch(file, gap) {
                // The bytes stay, which no reader sees.
                Err(Errno::EOPNOTSUPP) => break,
                punched => punched?,
            }
        }
        file.sync_all()
    }
}

impl Table {
    /// The bytes between its objects.
    fn gaps(&self) -> impl Iterator<Item = Window> {
        let mut places: Vec<Window> = self.descriptors.iter().map(Descriptor::window).collect();
        places.sort_unstable_by_key(|place| place.offset);
        let mut end = self.header.data_offset;
        places.into_iter().map(move |place| {
            let gap = Window { offset: end, size: place.offset.saturating_sub(end) };
            end = end.max(place.offset.saturating_add(place.size));
            gap
        })
    }
}

fn overlap(a: Window, b: Window) -> bool {
    a.size > 0
        && b.size > 0
        && a.offset < b.offset.saturating_add(b.size)
        && b.offset < a.offset.saturating_add(a.size)
}

fn refuse_primary(is_primary: bool) -> Outcome<()> {
    if is_primary {
        Err(Failure::new("the primary partition cannot be exchanged for another"))
    } else {
        Ok(())
    }
}

/// Makes the header say where the table is and what it has. The header is in one sector of any disk.
fn point_to(file: &File, header: &Header) -> io::Result<()> {
    let mut raw = [0; HEADER_BYTES];
    file.read_exact_at(&mut raw, 0)?;
    encode::put_changing(&mut raw, header);
    encode::put_table_place(&mut raw, header);
    file.write_all_at(&raw, 0)?;
    file.sync_data()
}

/// Makes a part of a file read as zeroes.
fn clear(file: &File, part: Window) -> io::Result<()> {
    match punch(file, part) {
        Err(Errno::EOPNOTSUPP) => {}
        punched => return Ok(punched?),
    }
    let zeroes = vec![0; 1 << 20];
    let mut done = 0;
    while done < part.size {
        let length = usize::try_from(part.size - done).map_or(zeroes.len(), |left| left.min(zeroes.len()));
        file.write_all_at(&zeroes[..length], part.offset + done)?;
        done += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
