//! The commands that change a SIF, killed on entering each system call that they make: the file has its old objects or
//! its new ones, and no byte of another object is touched.

mod support;

use frontend::sif::{
    self, Arch, CreateOptions, Data, DataType, Descriptor, FsType, NewObject, PartitionType, Table,
};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use support::Place;
use support::killed::{calls_since, strace};

const BYTES: usize = 20_000;

/// The primary partition, a system partition and something else, filled with 1, 2 and 3.
fn make(path: &Path) {
    let blocks = [1, 2, 3].map(|byte| vec![byte; BYTES]);
    let [one, two, three] = &blocks;
    let partition = |data, partition_type| {
        NewObject::partition(FsType::Raw, partition_type, Arch::AMD64, Data::Bytes(data))
    };
    let objects = [
        partition(one, PartitionType::PrimarySystem),
        partition(two, PartitionType::System),
        NewObject::new(DataType::Generic, Data::Bytes(three)),
    ];
    sif::create(path, &objects, &CreateOptions::native()).unwrap();
}

/// The objects without their times, once the data of those that [`make`] made was found to be theirs.
fn objects(path: &Path) -> Vec<Descriptor> {
    let bytes = std::fs::read(path).unwrap();
    let mut objects = Table::read(&bytes.as_slice()).unwrap().descriptors;
    for object in &mut objects {
        let data = &bytes[object.offset as usize..object.end() as usize];
        assert!(data == vec![object.id as u8; BYTES], "object {}", object.id);
        (object.created, object.modified) = (0, 0);
    }
    objects
}

/// Kills `command` on entering each of its system calls and checks what is left of `x.sif`.
fn killed_on_every_call(command: &[&str]) {
    let place = Place::new();
    let path = place.join("x.sif");
    std::fs::write(place.join("four"), vec![4; BYTES]).unwrap();
    make(&path);
    let old = objects(&path);
    assert!(strace(&place, &[], command).success());
    let new = objects(&path);
    assert!(old != new);
    let calls = calls_since(&place, "x.sif");
    assert!(calls.len() > 20, "{calls:?}");
    let mut found = [0, 0];
    for (name, count) in &calls {
        std::fs::remove_file(&path).unwrap();
        make(&path);
        let kill = format!("inject={name}:signal=KILL:when={count}");
        let ended = strace(&place, &["-e", &kill], command);
        let left = objects(&path);
        assert!(left == old || left == new, "{name} {count}: {left:?}");
        if ended.signal() == Some(Signal::SIGKILL as i32) {
            found[usize::from(left == new)] += 1;
        } else {
            // Waiting for the reader child takes more calls at one time than at another.
            assert!(ended.success() && left == new, "{name} {count}: {ended}");
        }
    }
    assert!(found[0] > 10 && found[1] > 0, "{found:?} of {}", calls.len());
}

#[test]
fn adding_leaves_the_old_objects_or_the_new_ones() {
    killed_on_every_call(&["sif", "add", "x.sif", "four", "--datatype", "7"]);
}

#[test]
fn deleting_the_last_object_leaves_it_or_does_not() {
    killed_on_every_call(&["sif", "del", "3", "x.sif"]);
}

#[test]
fn deleting_an_object_and_freeing_its_space_leaves_it_or_does_not() {
    killed_on_every_call(&["sif", "del", "--compact", "2", "x.sif"]);
}

#[test]
fn choosing_the_primary_partition_leaves_the_old_one_or_the_new_one() {
    killed_on_every_call(&["sif", "setprim", "2", "x.sif"]);
}

#[test]
fn making_a_new_file_leaves_a_whole_one_or_none() {
    let place = Place::new();
    let path = place.join("x.sif");
    let command = ["sif", "new", "x.sif"];
    assert!(strace(&place, &[], &command).success());
    let calls = calls_since(&place, "x.sif");
    let mut found = [0, 0];
    for (name, count) in &calls {
        let _ = std::fs::remove_file(&path);
        strace(&place, &["-e", &format!("inject={name}:signal=KILL:when={count}")], &command);
        found[usize::from(path.exists())] += 1;
        if path.exists() {
            assert!(objects(&path).is_empty(), "{name} {count}");
        }
    }
    assert!(found[0] > 3 && found[1] > 0, "{found:?} of {}", calls.len());
}
