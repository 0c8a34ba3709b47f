//! A table with more slots.

use super::encode;
use super::layout::{DESCRIPTOR_BYTES, DESCRIPTORS_MAX, HEADER_BYTES, PARTITION_ALIGNMENT, descriptor as d};
use super::table::Table;
use super::write::read_for_change;
use crate::error::{Doing, Failure, Outcome};
use crate::file::{self, Existing, NewFile};
use crate::lock;
use crate::message::shown;
use protocol::Window;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Gives the table of a SIF so many more slots. The data has to move for that, by a multiple of 4096 bytes, so the file is
/// replaced by a copy with its owner and permissions, which comes back, open for reading and writing and locked as a
/// whole. Signatures stay valid: they cover no places.
///
/// # Errors
/// Somebody writes to the file, it is no sound SIF, it would have more slots than are read, or there is no room for the
/// copy. The file is then as it was.
pub fn grow(file: &File, path: &Path, slots: u32) -> Outcome<File> {
    let growing = || format!("making room for more objects in {}", shown(path));
    let refused = |failure: Failure| failure.context(format!("while {}", growing()));
    // What takes its place is told from others by the same lock.
    lock::shared_whole(file, path)?;
    let old = read_for_change(file, path).map_err(refused)?;
    let shift = shift(&old, slots)
        .ok_or_else(|| refused(Failure::new(format!("its table cannot have {slots} more slots"))))?;
    let copy = NewFile::beside(path, 0o600)?;
    copy.take_after(file)?;
    copy_shifted(file, &old, slots, shift, copy.file()).doing(growing)?;
    let grown = copy.publish(Existing::Replace)?;
    lock::exclusive_whole(&grown, path)?;
    Ok(grown)
}

/// How far the data moves.
fn shift(old: &Table, slots: u32) -> Option<u64> {
    let header = &old.header;
    let wanted = u64::from(header.slots) + u64::from(slots);
    let end = header.table_offset.checked_add(wanted.checked_mul(DESCRIPTOR_BYTES as u64)?)?;
    let shift = end.saturating_sub(header.data_offset).next_multiple_of(PARTITION_ALIGNMENT);
    let fits = i64::try_from(old.end_of_data().checked_add(shift)?).is_ok();
    (header.table_is_in_front() && fits && wanted <= DESCRIPTORS_MAX).then_some(shift)
}

/// Writes all of a SIF with its data moved. Nothing else of its header and its slots changes.
fn copy_shifted(from: &File, old: &Table, slots: u32, shift: u64, to: &File) -> io::Result<()> {
    let mut table = old.clone();
    table.header.slots += slots;
    table.header.table_bytes = u64::from(table.header.slots) * DESCRIPTOR_BYTES as u64;
    table.header.data_offset += shift;
    let mut raw = vec![0; old.header.slots as usize * DESCRIPTOR_BYTES];
    from.read_exact_at(&mut raw, old.header.table_offset)?;
    for object in &mut table.descriptors {
        object.offset += shift;
        let at = object.slot as usize * DESCRIPTOR_BYTES + d::OFFSET;
        raw[at..at + 8].copy_from_slice(&object.offset.to_le_bytes());
    }
    table.count(old.header.modified);
    to.set_len(table.end_of_data())?;
    let mut header = [0; HEADER_BYTES];
    from.read_exact_at(&mut header, 0)?;
    encode::put_changing(&mut header, &table.header);
    encode::put_shape(&mut header, &table.header);
    to.write_all_at(&header, 0)?;
    to.write_all_at(&raw, table.header.table_offset)?;
    let start = old.header.data_offset;
    // A table without objects may say that data starts behind the end of the file.
    let size = from.metadata()?.len().min(old.end_of_data()).saturating_sub(start);
    file::copy(from, Window { offset: start, size }, to, start + shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sif::{CreateOptions, Data, DataType, NewObject, append, create};
    use std::fs::OpenOptions;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::tempdir;

    #[test]
    fn a_full_table_gets_slots_and_every_object_stays_what_it_was() {
        let directory = tempdir().unwrap();
        let path = directory.path().join("x.sif");
        let object = |data| NewObject::new(DataType::Generic, Data::Bytes(data)).named("name");
        let objects = [object(b"one"), object(b"three"), object(b"")];
        create(&path, &objects, &CreateOptions { spare_slots: 0, ..CreateOptions::oci() }).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        append(&file, &path, &object(b"four")).unwrap_err();
        let old = std::fs::read(&path).unwrap();
        let before = Table::read(&old.as_slice()).unwrap();
        let grown = grow(&file, &path, 100).unwrap();
        assert_eq!(append(&grown, &path, &object(b"four")).unwrap(), 4);
        let new = std::fs::read(&path).unwrap();
        let after = Table::read(&new.as_slice()).unwrap();
        assert!(after.counters_agree);
        assert_eq!((after.header.slots, after.descriptors.len()), (103, 4));
        for (was, is) in before.descriptors.iter().zip(&after.descriptors) {
            assert_eq!(
                old[was.offset as usize..was.end() as usize],
                new[is.offset as usize..is.end() as usize]
            );
            let moved = is.offset - was.offset;
            assert_eq!(
                (is, moved % PARTITION_ALIGNMENT),
                (&super::super::Descriptor { offset: is.offset, ..was.clone() }, 0)
            );
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o604);
    }

    #[test]
    fn more_slots_than_are_read_are_not_made() {
        let directory = tempdir().unwrap();
        let path = directory.path().join("x.sif");
        let file = create(&path, &[], &CreateOptions::oci()).unwrap();
        let before = std::fs::read(&path).unwrap();
        for slots in [DESCRIPTORS_MAX as u32, u32::MAX] {
            grow(&file, &path, slots).unwrap_err();
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }
}
