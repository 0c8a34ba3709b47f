//! The `sif` commands of both programs, over the same files.

use crate::Apptainer;
use std::fs;
use std::path::Path;
use tests::World;

const SQUASHFS: [&str; 8] = ["--datatype", "4", "--partfs", "1", "--partarch", "2", "--groupid", "1"];
const OVERLAY: [&str; 10] =
    ["--datatype", "4", "--partfs", "2", "--parttype", "4", "--partarch", "2", "--groupid", "1"];
/// Where the header has the time of the last change.
const MODIFIED_AT: usize = 72;
const TABLE_AT: usize = 4096;
const SLOT_BYTES: usize = 585;

fn ours(world: &World, words: &[&str]) -> String {
    let run = world.lamina(["sif"]).args(words).as_root();
    run.run().assert_ok().stdout
}

fn theirs(apptainer: &Apptainer, world: &World, words: &[&str]) -> String {
    let words: Vec<&str> = ["sif"].iter().chain(words).copied().collect();
    apptainer.run(&world.home(), &words)
}

/// Both say the same of a file and of its objects, and give out the same data.
fn assert_same(apptainer: &Apptainer, world: &World, file: &str) {
    for command in ["header", "list"] {
        let words = [command, file];
        assert_eq!(ours(world, &words), theirs(apptainer, world, &words), "{file}");
    }
    let list = ours(world, &["list", file]);
    for row in list.lines().skip(3) {
        let id = row.split_whitespace().next().expect("an id");
        let words = ["info", id, file];
        assert_eq!(ours(world, &words), theirs(apptainer, world, &words), "{file}");
        let words = ["dump", id, file];
        assert!(ours(world, &words) == theirs(apptainer, world, &words), "{id} of {file}");
    }
}

#[test]
fn files_written_here_are_described_and_dumped_the_same_there() {
    let Some(apptainer) = Apptainer::find() else {
        return;
    };
    let world = World::new();
    world.busybox_sif();
    let overlay = world.ext3_overlay(8).display().to_string();
    assert_same(&apptainer, &world, "busybox.sif");
    let add: Vec<&str> = ["add", "busybox.sif", &overlay].iter().chain(&OVERLAY).copied().collect();
    ours(&world, &add);
    world.write("bill", "{}");
    let bill = ["--datatype", "9", "--sbomformat", "spdx-json", "--link", "1"];
    ours(&world, &[&["add", "busybox.sif", "bill"], &bill[..]].concat());
    ours(&world, &["add", "busybox.sif", "bill", "--datatype", "11"]);
    assert_same(&apptainer, &world, "busybox.sif");
    ours(&world, &["del", "1", "busybox.sif", "--compact"]);
    assert_same(&apptainer, &world, "busybox.sif");
}

#[test]
fn a_new_file_and_a_chosen_root_are_described_the_same_there() {
    let Some(apptainer) = Apptainer::find() else {
        return;
    };
    let world = World::new();
    world.busybox_sqfs("gzip");
    ours(&world, &["new", "new.sif"]);
    assert_same(&apptainer, &world, "new.sif");
    for parttype in ["1", "2"] {
        let add = [&["add", "new.sif", "busybox-gzip.sqfs", "--parttype", parttype], &SQUASHFS[..]];
        ours(&world, &add.concat());
    }
    ours(&world, &["setprim", "1", "new.sif"]);
    assert_same(&apptainer, &world, "new.sif");
    let output = apptainer.run(&world.home(), &["exec", "new.sif", "/bin/busybox", "echo", "runs"]);
    assert_eq!(output, "runs\n");
}

#[test]
fn files_changed_there_are_described_the_same_here() {
    let Some(apptainer) = Apptainer::find() else {
        return;
    };
    let world = World::new();
    world.busybox_sif();
    let overlay = world.ext3_overlay(8).display().to_string();
    let add: Vec<&str> = ["add", "busybox.sif", &overlay].iter().chain(&OVERLAY).copied().collect();
    theirs(&apptainer, &world, &add);
    assert_same(&apptainer, &world, "busybox.sif");
    theirs(&apptainer, &world, &["del", "1", "busybox.sif"]);
    assert_same(&apptainer, &world, "busybox.sif");
    world
        .sh(&["--writable"], Path::new("busybox.sif"), "echo kept > /note; cat /note")
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

/// A file without the times that a change leaves in its header and in an object.
fn without_times(world: &World, file: &str, slot: usize) -> Vec<u8> {
    let mut bytes = fs::read(world.path(file)).expect("it is there");
    let times = TABLE_AT + slot * SLOT_BYTES + 41;
    bytes[MODIFIED_AT..MODIFIED_AT + 8].fill(0);
    bytes[times..times + 16].fill(0);
    bytes
}

#[test]
fn the_same_object_added_by_both_makes_the_same_bytes() {
    let Some(apptainer) = Apptainer::find() else {
        return;
    };
    let world = World::new();
    let image = world.busybox_sif();
    let slot = ours(&world, &["list", "busybox.sif"]).lines().count() - 3;
    let overlay = world.ext3_overlay(8).display().to_string();
    world.write("note", "some words");
    let entity = "433FE984155206BD962725E20E8713472A879943";
    let cases: [&[&str]; 7] = [
        &[&[&overlay[..]], &OVERLAY[..]].concat(),
        &["note", "--datatype", "1", "--groupid", "7"],
        &["note", "--datatype", "5", "--signhash", "2", "--signentity", entity],
        &["note", "--datatype", "8", "--link", "3"],
        &["note", "--datatype", "9", "--sbomformat", "syft-json"],
        &["note", "--datatype", "10"],
        &["note", "--datatype", "7", "--alignment", "512"],
    ];
    for case in cases {
        for file in ["ours", "theirs"] {
            fs::copy(&image, world.path(file)).expect("an image can be copied");
        }
        let words = |file| [&["add", file], case, &["--filename", "called so"]].concat();
        ours(&world, &words("ours"));
        theirs(&apptainer, &world, &words("theirs"));
        let same = without_times(&world, "ours", slot) == without_times(&world, "theirs", slot);
        assert!(same, "{case:?}");
    }
}
