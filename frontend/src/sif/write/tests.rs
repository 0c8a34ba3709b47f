use super::*;
use crate::image::Access;
use crate::sys::fork::fork_to;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;
use tempfile::{TempDir, tempdir};

const TINY: &[u8] = include_bytes!("../../../tests/images/tiny.sif");
const SQUASHFS: &[u8] = include_bytes!("../../../tests/images/tiny.sqfs");

/// A directory with a copy of the sample as `x.sif`, changed by `edit`.
fn sample(edit: impl FnOnce(&mut Vec<u8>)) -> (TempDir, std::path::PathBuf) {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.sif");
    let mut bytes = TINY.to_vec();
    edit(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn opened(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn table(path: &Path) -> Table {
    Table::read(&std::fs::read(path).unwrap().as_slice()).unwrap()
}

fn root(data: Data<'_>) -> NewObject<'_> {
    NewObject::partition(FsType::Squashfs, PartitionType::PrimarySystem, Arch::AMD64, data)
}

fn overlay(data: Data<'_>) -> NewObject<'_> {
    NewObject::partition(FsType::Ext3, PartitionType::Overlay, Arch::AMD64, data)
}

/// A file that is all hole but for a few bytes in the middle.
fn sparse(bytes: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes).unwrap();
    file.write_all_at(b"middle", bytes / 2).unwrap();
    file
}

fn whole(file: &File) -> Data<'_> {
    Data::Part(file, Window { offset: 0, size: file.metadata().unwrap().len() })
}

/// What an incumbent made of the same objects at the same time.
#[test]
fn a_new_file_has_the_bytes_of_the_incumbents() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("new.sif");
    let old = table(&{
        let path = directory.path().join("old.sif");
        std::fs::write(&path, TINY).unwrap();
        path
    });
    let content = |id| &TINY[old.object(id).unwrap().offset as usize..old.object(id).unwrap().end() as usize];
    let objects = [
        NewObject::new(DataType::Definition, Data::Bytes(content(1))),
        NewObject::new(DataType::Json, Data::Bytes(content(2))).named("inspect-metadata.json"),
        root(Data::Bytes(content(3))),
    ];
    let options = CreateOptions { id: old.header.id, time: old.header.created, ..CreateOptions::native() };
    create(&target, &objects, &options).unwrap();
    assert!(std::fs::read(&target).unwrap() == TINY);
    let umask_free = std::fs::metadata(&target).unwrap().permissions().mode() & 0o700;
    assert_eq!(umask_free, 0o700);
}

/// The numbers of an image that an incumbent built and gave an overlay.
#[test]
fn objects_of_known_lengths_come_to_known_places() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("x.sif");
    let (squashfs, ext3) = (sparse(1_097_728), sparse(64 << 20));
    let json = vec![b' '; 2192];
    let objects = [
        NewObject::new(DataType::Definition, Data::Bytes(&[b'\n'; 38])),
        NewObject::new(DataType::Json, Data::Bytes(&json)),
        root(whole(&squashfs)),
    ];
    let file = create(&target, &objects, &CreateOptions::native()).unwrap();
    assert_eq!(append(&file, &target, &overlay(whole(&ext3))).unwrap(), 4);
    let table = table(&target);
    let places: Vec<(u64, u64)> =
        table.descriptors.iter().map(|object| (object.offset, object.end())).collect();
    assert_eq!(places, [(32176, 32214), (32214, 34406), (36864, 1_134_592), (1_134_592, 68_243_456)]);
    let mut padded = [0; 8];
    file.read_exact_at(&mut padded, 0x1492 + d::PADDED_SIZE as u64).unwrap();
    assert_eq!(u64::from_le_bytes(padded), 1_100_186);
    let header = &table.header;
    assert_eq!((header.free_claimed, header.slots, header.data_bytes_claimed), (44, 48, 68_211_280));
    assert!(table.counters_agree);
    assert_eq!(file.metadata().unwrap().len(), 68_243_456);
    assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20, "holes stay holes");
}

#[test]
fn an_added_object_leaves_the_others_as_they_were() {
    let (_directory, path) = sample(|_| {});
    let ext3 = sparse(1 << 20);
    assert_eq!(append(&opened(&path), &path, &overlay(whole(&ext3)).named("scratch")).unwrap(), 4);
    let (old, new) = (Table::read(&TINY).unwrap(), table(&path));
    assert_eq!(new.descriptors[..3], old.descriptors);
    let added = &new.descriptors[3];
    assert_eq!((added.offset, added.size, added.group), (40960, 1 << 20, Some(1)));
    assert_eq!((added.name.as_slice(), added.link), (b"scratch".as_slice(), Link::None));
    assert!(new.header.modified > old.header.modified && added.created == new.header.modified);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes[32176..40960] == TINY[32176..]);
    assert_eq!(bytes[40960 + (1 << 19)..][..6], *b"middle");
}

#[test]
fn a_file_without_identity_stays_so() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("x.sif");
    let options =
        CreateOptions { launch_line: false, id: [0; 16], time: layout::NO_TIME, ..CreateOptions::native() };
    let file = create(&target, &[root(Data::Bytes(SQUASHFS))], &options).unwrap();
    append(&file, &target, &NewObject::new(DataType::Generic, Data::Bytes(b"x"))).unwrap();
    let table = table(&target);
    assert!(table.is_deterministic() && table.header.launch_line.is_empty());
    assert_eq!(table.descriptors[1].created, layout::NO_TIME);
}

#[test]
fn what_a_deleted_object_left_behind_does_not_show_through_holes() {
    let (_directory, path) = sample(|bytes| bytes.resize(TINY.len() + (1 << 20), 0xee));
    let ext3 = sparse(512 << 10);
    append(&opened(&path), &path, &overlay(whole(&ext3))).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 40960 + (512 << 10));
    assert!(!bytes[40960..].contains(&0xee));
}

#[test]
fn the_first_primary_partition_gives_the_header_its_architecture_and_a_second_is_refused() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("x.sif");
    let file = create(&target, &[], &CreateOptions::native()).unwrap();
    assert_eq!(table(&target).header.arch, Arch::NONE);
    append(&file, &target, &root(Data::Bytes(SQUASHFS))).unwrap();
    assert_eq!(table(&target).header.arch, Arch::AMD64);
    let before = std::fs::read(&target).unwrap();
    let refused = append(&file, &target, &root(Data::Bytes(SQUASHFS))).unwrap_err();
    assert!(
        refused.to_string().ends_with("only one primary partition and there is one already"),
        "{refused}"
    );
    assert!(std::fs::read(&target).unwrap() == before);
}

#[test]
fn a_table_takes_objects_until_it_is_full_and_then_says_so() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("x.sif");
    let object = NewObject::new(DataType::Generic, Data::Bytes(b"x")).in_group(None);
    let file = create(&target, &vec![object.clone(); 47], &CreateOptions::native()).unwrap();
    assert_eq!(append(&file, &target, &object).unwrap(), 48);
    let refused = append(&file, &target, &object).unwrap_err();
    assert!(refused.to_string().ends_with("all 48 descriptors of the SIF are used"), "{refused}");
    let roomy = CreateOptions { spare_slots: 8, existing: Existing::Replace, ..CreateOptions::native() };
    drop(file);
    create(&target, &vec![object; 47], &roomy).unwrap();
    assert_eq!(table(&target).header.slots, 55);
}

#[test]
fn fields_that_the_format_cannot_hold_are_refused() {
    let (_directory, path) = sample(|_| {});
    let object = || NewObject::new(DataType::Generic, Data::Bytes(b""));
    let long = "x".repeat(129);
    for bad in [
        object().named(&long),
        object().named("a\0b"),
        object().in_group(Some(0)),
        object().in_group(Some(1 << 28)),
        object().linked_to(Link::Object(0)),
        object().linked_to(Link::Group(u32::MAX)),
    ] {
        append(&opened(&path), &path, &bad).unwrap_err();
    }
    assert!(std::fs::read(&path).unwrap() == TINY);
    append(&opened(&path), &path, &object().named(&long[1..]).linked_to(Link::Group(1))).unwrap();
}

#[test]
fn damaged_files_are_not_made_worse() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 5] = [
        ("used mark", |bytes| bytes[4096 + d::USED] = 2),
        ("no SIF", |bytes| bytes[32] = 0),
        ("ids", |bytes| bytes[4096 + d::ID] = 4),
        ("data offset", |bytes| bytes[112 + 6] = 1),
        ("cut short", |bytes| bytes.truncate(38000)),
    ];
    for (name, edit) in edits {
        let (_directory, path) = sample(edit);
        let before = std::fs::read(&path).unwrap();
        append(&opened(&path), &path, &NewObject::new(DataType::Generic, Data::Bytes(b"x"))).expect_err(name);
        assert!(std::fs::read(&path).unwrap() == before, "{name}");
    }
}

#[test]
fn forged_counters_are_corrected() {
    let (_directory, path) = sample(|bytes| bytes[80] = 48);
    append(&opened(&path), &path, &NewObject::new(DataType::Generic, Data::Bytes(b"x"))).unwrap();
    let table = table(&path);
    assert!(table.counters_agree);
    assert_eq!(table.header.free_claimed, 44);
}

#[test]
fn a_file_in_use_is_not_changed() {
    let (_directory, path) = sample(|_| {});
    let user = opened(&path);
    lock::take(&user, &path, Window { offset: 36864, size: 4096 }, Access::ReadOnly).unwrap();
    append(&opened(&path), &path, &NewObject::new(DataType::Generic, Data::Bytes(b"x"))).unwrap_err();
    assert!(std::fs::read(&path).unwrap() == TINY);
}

#[test]
fn data_that_cannot_be_read_leaves_the_old_file() {
    let (directory, path) = sample(|_| {});
    let short = sparse(4096);
    let data = Data::Part(&short, Window { offset: 0, size: 8192 });
    append(&opened(&path), &path, &overlay(data)).unwrap_err();
    assert!(std::fs::read(&path).unwrap() == TINY);
    let replacing = CreateOptions { existing: Existing::Replace, ..CreateOptions::native() };
    create(&path, &[root(data)], &replacing).unwrap_err();
    assert!(std::fs::read(&path).unwrap() == TINY);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn adding_killed_at_any_moment_leaves_the_old_objects_or_the_new_ones() {
    let ext3 = sparse(1 << 20);
    for n in 0..40 {
        let (_directory, path) = sample(|_| {});
        let file = opened(&path);
        let child = fork_to(|| append(&file, &path, &overlay(whole(&ext3))).map_or(1, |_| 0)).unwrap();
        std::thread::sleep(Duration::from_micros(150 * n));
        let _ = kill(child, Signal::SIGKILL);
        waitpid(child, None).unwrap();
        let found = table(&path).descriptors;
        assert_eq!(found[..3], Table::read(&TINY).unwrap().descriptors);
        assert!(found.len() == 3 || found.len() == 4 && found[3].end() == 40960 + (1 << 20));
    }
}

/// What reaches the disk between two syncs can be any part of what was written: here, every prefix of the descriptor.
#[test]
fn a_torn_descriptor_is_not_an_object() {
    let (_directory, path) = sample(|_| {});
    append(&opened(&path), &path, &NewObject::new(DataType::Generic, Data::Bytes(b"x"))).unwrap();
    let new = std::fs::read(&path).unwrap();
    let slot = 4096 + 3 * DESCRIPTOR_BYTES;
    let mut torn = new.clone();
    torn[..slot].copy_from_slice(&TINY[..slot]);
    torn[slot + d::USED] = 0;
    for kept in 0..DESCRIPTOR_BYTES {
        let mut torn = torn.clone();
        torn[slot + kept..slot + DESCRIPTOR_BYTES].fill(0);
        let table = Table::read(&torn.as_slice()).unwrap();
        assert_eq!((table.descriptors.len(), table.counters_agree), (3, true));
    }
    torn[slot + d::USED] = 1;
    let table = Table::read(&torn.as_slice()).unwrap();
    assert_eq!((table.descriptors.len(), table.counters_agree), (4, false));
}
