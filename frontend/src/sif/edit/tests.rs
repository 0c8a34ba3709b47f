//! Changes of several objects, also cut off half-way.

use super::*;
use crate::sif::{Arch, CreateOptions, DataType, FsType, Gap, PartitionType, append, create, delete};
use std::fs::OpenOptions;
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

struct Sample {
    _directory: TempDir,
    path: PathBuf,
    file: File,
}

/// A file with four objects of 1000 bytes, filled with 1 to 4.
fn sample() -> Sample {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.sif");
    let blocks = [1, 2, 3, 4].map(|byte| vec![byte; 1000]);
    let objects: Vec<NewObject<'_>> = blocks.iter().map(|block| generic(block)).collect();
    create(&path, &objects, &CreateOptions::oci()).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    Sample { _directory: directory, path, file }
}

fn generic(data: &[u8]) -> NewObject<'_> {
    NewObject::new(DataType::Generic, Data::Bytes(data))
}

impl Sample {
    fn edit(&self, edits: &[Edit<'_>], room: Room) -> Outcome<()> {
        edit(&self.file, &self.path, edits, room)
    }

    /// Only what comes before the old places are touched.
    fn edit_without_settling(&self, edits: &[Edit<'_>], room: Room) {
        let old = read_for_change(&self.file, &self.path).unwrap();
        let raw = raw_table(&self.file, &old).unwrap();
        let change = Change::plan(&old, raw, edits, room).unwrap();
        change.stage(&self.file).unwrap();
        change.commit(&self.file).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    fn table(&self) -> Table {
        Table::read(&self.bytes().as_slice()).unwrap()
    }

    /// For every object: its id, the byte it is filled with, its length.
    fn objects(&self) -> Vec<(u32, u8, usize)> {
        let bytes = self.bytes();
        let table = self.table();
        assert!(table.counters_agree);
        let content = |object: &Descriptor| {
            let data = &bytes[object.offset as usize..object.end() as usize];
            assert!(data.iter().all(|byte| *byte == data[0]), "object {}", object.id);
            (object.id, data[0], data.len())
        };
        table.descriptors.iter().map(content).collect()
    }
}

#[test]
fn objects_are_replaced_in_their_places_and_the_file_gets_as_short_as_it_can() {
    let sample = sample();
    let length = sample.bytes().len();
    sample
        .edit(
            &[Edit::Replace(3, generic(&[7; 900])), Edit::Replace(4, generic(&[8; 1000]))],
            Room::BehindKept,
        )
        .unwrap();
    assert_eq!(sample.objects(), [(1, 1, 1000), (2, 2, 1000), (3, 7, 900), (4, 8, 1000)]);
    assert_eq!(
        (sample.bytes().len(), sample.table().header.table_offset),
        (length - 100, layout::TABLE_OFFSET)
    );
}

#[test]
fn a_file_changed_to_and_fro_is_the_same_byte_by_byte() {
    let sample = sample();
    let before = sample.bytes();
    for byte in [9, 3] {
        sample
            .edit(
                &[Edit::Replace(3, generic(&[byte; 1000])), Edit::Replace(4, generic(&[4; 1000]))],
                Room::BehindKept,
            )
            .unwrap();
    }
    assert!(sample.bytes() == before);
}

#[test]
fn what_is_added_behind_everything_leaves_the_room_of_what_goes() {
    let sample = sample();
    let end = sample.table().end_of_data();
    sample
        .edit(
            &[Edit::Delete(2), Edit::Add(generic(&[5; 10])), Edit::Replace(4, generic(&[6; 10]))],
            Room::BehindAll,
        )
        .unwrap();
    assert_eq!(sample.objects(), [(1, 1, 1000), (3, 3, 1000), (4, 6, 10), (5, 5, 10)]);
    assert_eq!(sample.table().end_of_data(), end + 20);
    let object = sample.table().object(1).unwrap().end() as usize;
    assert!(sample.bytes()[object..object + 1000].iter().all(|byte| *byte == 0));
}

#[test]
fn a_described_object_keeps_its_data_and_every_other_byte() {
    let sample = sample();
    let new =
        NewObject::new(DataType::OciBlob, Data::Bytes(b"x")).with(Extra::Digest(crate::sif::Digest([1; 32])));
    sample.edit(&[Edit::Add(new)], Room::BehindAll).unwrap();
    let before = sample.table();
    let extra = Extra::Digest(crate::sif::Digest([2; 32]));
    sample.edit(&[Edit::Describe(5, extra.clone())], Room::BehindKept).unwrap();
    let mut expected = before;
    expected.descriptors[4].extra = extra;
    assert_eq!(sample.table(), expected);
}

#[test]
fn a_change_cut_off_is_whole_and_the_next_one_brings_the_table_home() {
    type Next = fn(&Sample);
    let next: [Next; 4] = [
        |sample| sample.edit(&[], Room::BehindKept).unwrap(),
        |sample| sample.edit_without_settling(&[], Room::BehindAll),
        |sample| assert_eq!(append(&sample.file, &sample.path, &generic(&[9; 10])).unwrap(), 6),
        |sample| delete(&sample.file, &sample.path, 1, Gap::Free).unwrap(),
    ];
    for next in next {
        let sample = sample();
        sample.edit_without_settling(
            &[Edit::Replace(2, generic(&[7; 5000])), Edit::Add(generic(&[5; 10]))],
            Room::BehindKept,
        );
        let table = sample.table();
        assert!(table.header.table_offset > table.header.data_offset);
        // Where other tools would add.
        let end = table.descriptors.iter().map(Descriptor::end).max();
        assert!(end > Some(table.header.table_end()));
        let expected = [(1, 1, 1000), (2, 7, 5000), (3, 3, 1000), (4, 4, 1000), (5, 5, 10)];
        assert_eq!(sample.objects(), expected);
        next(&sample);
        assert!(sample.objects().contains(&(2, 7, 5000)));
        sample.edit(&[Edit::Delete(5)], Room::BehindKept).unwrap();
        assert!(sample.objects().contains(&(4, 4, 1000)));
        assert_eq!(sample.table().header.table_offset, layout::TABLE_OFFSET);
    }
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let sample = sample();
    let before = sample.bytes();
    let full: Vec<Edit<'_>> = (0..9).map(|_| Edit::Add(generic(b"x"))).collect();
    let root =
        NewObject::partition(FsType::Raw, PartitionType::PrimarySystem, Arch::AMD64, Data::Bytes(b"x"));
    let nowhere = File::open("/dev/null").unwrap();
    let short = NewObject::new(DataType::Generic, Data::Part(&nowhere, Window { offset: 0, size: 10 }));
    for edits in [
        vec![Edit::Delete(7)],
        vec![Edit::Delete(1), Edit::Replace(1, generic(b"x"))],
        vec![Edit::Add(root)],
        vec![Edit::Add(short)],
        full,
    ] {
        sample.edit(&edits, Room::BehindKept).unwrap_err();
        assert!(sample.bytes() == before, "{edits:?}");
    }
}
