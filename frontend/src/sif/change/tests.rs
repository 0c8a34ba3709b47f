use super::*;
use crate::sif::{self, CreateOptions, Data, DataType, FsType, Link, NewObject, layout};
use crate::sys::fork::fork_to;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;
use tempfile::{TempDir, tempdir};

const TINY: &[u8] = include_bytes!("../../../tests/images/tiny.sif");
const SIGNED: &[u8] = include_bytes!("../../../tests/images/tiny-signed-pgp.sif");
const BLOCK: usize = 1 << 20;

fn place(bytes: &[u8]) -> (TempDir, std::path::PathBuf) {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.sif");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn opened(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn table(path: &Path) -> Table {
    Table::read(&std::fs::read(path).unwrap().as_slice()).unwrap()
}

fn ids(path: &Path) -> Vec<u32> {
    table(path).descriptors.iter().map(|object| object.id).collect()
}

fn partition(data: &[u8], partition_type: PartitionType, arch: Arch) -> NewObject<'_> {
    NewObject::partition(FsType::Raw, partition_type, arch, Data::Bytes(data))
}

/// Three partitions of a MiB each, filled with 1, 2 and 3: the primary one, a system and an overlay.
fn three() -> (TempDir, std::path::PathBuf) {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.sif");
    let blocks = [1, 2, 3].map(|byte| vec![byte; BLOCK]);
    let [one, two, three] = &blocks;
    let objects = [
        partition(one, PartitionType::PrimarySystem, Arch::AMD64),
        partition(two, PartitionType::System, Arch::ARM64),
        partition(three, PartitionType::Overlay, Arch::AMD64),
    ];
    sif::create(&path, &objects, &CreateOptions::native()).unwrap();
    (directory, path)
}

fn content(path: &Path, id: u32) -> Vec<u8> {
    let object = table(path).object(id).unwrap().clone();
    std::fs::read(path).unwrap()[object.offset as usize..object.end() as usize].to_vec()
}

#[test]
fn what_was_added_and_deleted_again_leaves_the_bytes_of_before_but_for_the_time() {
    let (_directory, path) = place(TINY);
    let object = NewObject::new(DataType::Generic, Data::Bytes(b"something"));
    let file = opened(&path);
    assert_eq!(sif::append(&file, &path, &object).unwrap(), 4);
    delete(&file, &path, 4, Gap::Keep).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[72..80].copy_from_slice(&TINY[72..80]);
    assert!(bytes == TINY);
}

#[test]
fn the_last_object_takes_its_bytes_along_and_another_leaves_them() {
    let (_directory, path) = three();
    let file = opened(&path);
    let before = file.metadata().unwrap().len();
    delete(&file, &path, 2, Gap::Keep).unwrap();
    assert_eq!(file.metadata().unwrap().len(), before);
    assert!(std::fs::read(&path).unwrap()[32768..].contains(&2));
    delete(&file, &path, 3, Gap::Keep).unwrap();
    assert_eq!(file.metadata().unwrap().len(), table(&path).end_of_data());
    assert!(!std::fs::read(&path).unwrap()[32768..].contains(&2));
    assert_eq!(ids(&path), [1]);
    assert!(table(&path).counters_agree);
    assert!(content(&path, 1) == [1; BLOCK]);
}

#[test]
fn the_disk_space_of_an_object_in_the_middle_is_given_back_when_asked_for() {
    let (_directory, path) = three();
    let file = opened(&path);
    let before = file.metadata().unwrap();
    delete(&file, &path, 2, Gap::Free).unwrap();
    let after = file.metadata().unwrap();
    assert_eq!(after.len(), before.len());
    assert!(
        // The record of who writes may have taken a block.
        after.blocks() * 512 + (BLOCK as u64) <= before.blocks() * 512 + 4096,
        "{} blocks and then {}",
        before.blocks(),
        after.blocks()
    );
    assert!(!std::fs::read(&path).unwrap()[32768..].contains(&2));
    assert!(content(&path, 1) == [1; BLOCK]);
    assert!(content(&path, 3) == [3; BLOCK]);
}

#[test]
fn a_deleted_slot_is_empty_and_used_again_first() {
    let (_directory, path) = three();
    let file = opened(&path);
    delete(&file, &path, 2, Gap::Keep).unwrap();
    let slot = 4096 + DESCRIPTOR_BYTES;
    assert!(std::fs::read(&path).unwrap()[slot..slot + DESCRIPTOR_BYTES] == [0; DESCRIPTOR_BYTES]);
    let object = NewObject::new(DataType::Generic, Data::Bytes(b"x"));
    assert_eq!(sif::append(&file, &path, &object).unwrap(), 2);
    assert_eq!(sif::append(&file, &path, &object).unwrap(), 4);
}

#[test]
fn without_its_primary_partition_a_file_is_of_no_architecture() {
    let (_directory, path) = three();
    delete(&opened(&path), &path, 1, Gap::Free).unwrap();
    assert_eq!(table(&path).header.arch, Arch::NONE);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes[32176..].contains(&1), "the bytes up to the next object are gone");
    set_primary(&path, 2).unwrap();
    assert_eq!(table(&path).header.arch, Arch::ARM64);
    assert_eq!(table(&path).primary().unwrap().0.id, 2);
}

#[test]
fn another_partition_can_be_made_the_one_to_run() {
    let (_directory, path) = three();
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    chown(&path, Some(70_000), Some(80_000)).unwrap();
    let before = table(&path);
    set_primary(&path, 2).unwrap();
    let after = table(&path);
    assert_eq!((after.primary().unwrap().0.id, after.header.arch), (2, Arch::ARM64));
    let mut expected = before.descriptors.clone();
    for (object, partition_type) in
        expected.iter_mut().zip([PartitionType::System, PartitionType::PrimarySystem])
    {
        let Extra::Partition { partition_type: found, .. } = &mut object.extra else {
            panic!("it is a partition")
        };
        *found = partition_type;
        object.modified = after.header.modified;
    }
    assert_eq!(after.descriptors, expected);
    assert!((1..=3).all(|id| content(&path, id) == vec![id as u8; BLOCK]));
    let kept = std::fs::metadata(&path).unwrap();
    assert_eq!((kept.mode() & 0o7777, kept.uid(), kept.gid()), (0o640, 70_000, 80_000));
}

#[test]
fn only_a_system_partition_can_be_the_one_to_run() {
    let (_directory, path) = three();
    let file = opened(&path);
    let object = NewObject::new(DataType::Generic, Data::Bytes(b"x"));
    sif::append(&file, &path, &object).unwrap();
    drop(file);
    let before = std::fs::read(&path).unwrap();
    for (id, why) in [
        (3, "data object not a system partition"),
        (4, "data object not a partition"),
        (9, "object not found: there is no object 9"),
    ] {
        let refused = set_primary(&path, id).unwrap_err().to_string();
        assert!(refused.ends_with(why), "{refused}");
    }
    set_primary(&path, 1).unwrap();
    assert!(std::fs::read(&path).unwrap() == before, "it is the primary one already");
}

#[test]
fn a_signed_object_is_neither_deleted_nor_described_anew_until_its_signature_is_gone() {
    let (_directory, path) = place(SIGNED);
    let file = opened(&path);
    let refused = delete(&file, &path, 3, Gap::Free).unwrap_err().to_string();
    assert!(
        refused.ends_with("object 3 is signed, and changing or deleting it would break signature 4"),
        "{refused}"
    );
    assert!(std::fs::read(&path).unwrap() == SIGNED);
    delete(&file, &path, 4, Gap::Keep).unwrap();
    delete(&file, &path, 3, Gap::Keep).unwrap();
    assert_eq!(ids(&path), [1, 2]);
}

#[test]
fn a_signed_group_gets_no_object_and_another_group_does() {
    let (_directory, path) = place(SIGNED);
    let file = opened(&path);
    let object = NewObject::new(DataType::Generic, Data::Bytes(b"x"));
    let refused = sif::append(&file, &path, &object).unwrap_err().to_string();
    assert!(refused.contains("group 1 is signed"), "{refused}");
    assert!(std::fs::read(&path).unwrap() == SIGNED);
    sif::append(&file, &path, &object.in_group(Some(2))).unwrap();
}

#[test]
fn a_file_in_use_is_not_changed() {
    let (_directory, path) = three();
    let before = std::fs::read(&path).unwrap();
    let user = opened(&path);
    let window = table(&path).object(3).unwrap().window();
    lock::take(&user, &path, window, Access::ReadWrite).unwrap();
    delete(&opened(&path), &path, 1, Gap::Free).unwrap_err();
    set_primary(&path, 2).unwrap_err();
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_file_that_was_replaced_meanwhile_is_not_changed() {
    let (_directory, path) = three();
    let old = opened(&path);
    set_primary(&path, 2).unwrap();
    let refused = delete(&old, &path, 1, Gap::Keep).unwrap_err().to_string();
    assert!(refused.contains("replaced or removed"), "{refused}");
}

#[test]
fn a_file_without_identity_stays_so() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.sif");
    let options = CreateOptions { id: [0; 16], time: layout::NO_TIME, ..CreateOptions::native() };
    let objects = [
        partition(b"a", PartitionType::PrimarySystem, Arch::AMD64),
        partition(b"b", PartitionType::System, Arch::AMD64),
    ];
    sif::create(&path, &objects, &options).unwrap();
    set_primary(&path, 2).unwrap();
    delete(&opened(&path), &path, 1, Gap::Free).unwrap();
    assert!(table(&path).is_deterministic());
    assert_eq!(table(&path).descriptors[0].modified, layout::NO_TIME);
}

#[test]
fn objects_that_refer_to_others_do_not_keep_them() {
    let (_directory, path) = place(TINY);
    let file = opened(&path);
    let object = NewObject::new(DataType::Generic, Data::Bytes(b"x")).linked_to(Link::Object(3));
    sif::append(&file, &path, &object).unwrap();
    delete(&file, &path, 3, Gap::Keep).unwrap();
    assert_eq!(ids(&path), [1, 2, 4]);
}

/// Runs `change` in another process over and over, killed a little later each time, and checks what is left.
fn killed_at_any_moment(change: impl Fn(&Path) -> Outcome<()>, check: impl Fn(&Path)) {
    for n in 0..40 {
        let (_directory, path) = three();
        let child = fork_to(|| change(&path).map_or(1, |()| 0)).unwrap();
        std::thread::sleep(Duration::from_micros(150 * n));
        let _ = kill(child, Signal::SIGKILL);
        waitpid(child, None).unwrap();
        check(&path);
    }
}

#[test]
fn deleting_killed_at_any_moment_leaves_the_object_or_does_not_and_never_harms_another() {
    for (id, gap) in [(2, Gap::Free), (3, Gap::Keep)] {
        killed_at_any_moment(
            |path| delete(&opened(path), path, id, gap),
            |path| {
                for object in &table(path).descriptors {
                    assert!(content(path, object.id) == vec![object.id as u8; BLOCK], "{}", object.id);
                }
                let others: Vec<u32> = ids(path).into_iter().filter(|other| *other != id).collect();
                assert_eq!(others.len(), 2);
            },
        );
    }
}

#[test]
fn changing_the_primary_partition_killed_at_any_moment_leaves_one() {
    killed_at_any_moment(
        |path| set_primary(path, 2),
        |path| {
            let table = table(path);
            let primary = table.primary().map(|(object, _, arch)| (object.id, arch));
            assert!(matches!(primary, Some((1, Arch::AMD64) | (2, Arch::ARM64))), "{primary:?}");
            assert_eq!(primary.map(|(_, arch)| arch), Some(table.header.arch));
            assert!(
                table
                    .descriptors
                    .iter()
                    .all(|object| content(path, object.id) == vec![object.id as u8; BLOCK])
            );
        },
    );
}
