//! The `sif` commands: what is in a SIF file, and objects put in and taken out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tests::{Output, User, World};

const SIGNED: &[u8] = include_bytes!("../../frontend/tests/images/tiny-signed-dsse.sif");
const OVERLAY: [&str; 10] =
    ["--datatype", "4", "--partfs", "2", "--parttype", "4", "--partarch", "2", "--groupid", "1"];

fn sif(world: &World, words: &[&str], image: &Path) -> Output {
    world.lamina(["sif"]).args(words).arg(image).run()
}

/// A busybox SIF with an overlay of 16 MiB as object `id`, which comes back too.
fn with_overlay(world: &World) -> (PathBuf, String) {
    let (image, overlay) = (world.busybox_sif(), world.ext3_overlay(16));
    let add = world.lamina(["sif", "add"]).args(OVERLAY).arg(&image).arg(&overlay);
    add.run().assert_ok().assert_stdout("");
    let rows = rows(world, &image);
    let id = rows
        .iter()
        .find(|row| row.contains("Ext3"))
        .and_then(|row| row.split_whitespace().next())
        .expect("it was added");
    (image, id.to_owned())
}

/// The lines of a list, without its head.
fn rows(world: &World, image: &Path) -> Vec<String> {
    let list = sif(world, &["list"], image).assert_ok().stdout;
    list.lines().skip(3).map(str::to_owned).collect()
}

#[test]
fn an_overlay_goes_in_by_the_guides_numbers_is_listed_and_keeps_what_is_written() {
    let world = World::new();
    let (image, id) = with_overlay(&world);
    let listed = world
        .program("/bin/sh")
        .args(["-c", "\"$0\" sif list \"$1\" | grep -i ext3"])
        .arg(world.installed().lamina())
        .arg(&image)
        .run()
        .assert_ok()
        .stdout;
    let columns: Vec<&str> = listed.trim_end().split('|').map(str::trim).collect();
    let [listed_id, "1", "NONE", position, "FS (Ext3/Overlay/amd64)"] = columns[..] else {
        panic!("{listed}")
    };
    assert_eq!(listed_id, id);
    let (start, end) = position.split_once('-').expect("start and end");
    let place = [start, end].map(|number| number.parse::<u64>().expect("a number"));
    assert_eq!((place[0] % 4096, place[1] - place[0]), (0, 16 << 20));
    assert_eq!(fs::metadata(&image).expect("it is there").len(), place[1]);
    world.sh(&["--writable"], &image, "echo kept > /note").run().assert_ok();
    world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
}

#[test]
fn an_overlay_that_was_mostly_holes_still_is() {
    let world = World::new();
    let (image, _) = with_overlay(&world);
    let found = fs::metadata(&image).expect("it is there");
    assert!(found.blocks() * 512 + (8 << 20) < found.len(), "{} of {}", found.blocks() * 512, found.len());
}

#[test]
fn what_was_added_can_be_dumped_and_deleted_without_a_trace() {
    let world = World::new();
    let image = world.busybox_sif();
    let before = rows(&world, &image);
    let length = fs::metadata(&image).expect("it is there").len();
    world.write("note", "one\ntwo\n");
    let add = ["sif", "add", "busybox.sif", "note", "--datatype", "7"];
    world.lamina(add).run().assert_ok();
    let id = (before.len() + 1).to_string();
    sif(&world, &["dump", &id], &image).assert_ok().assert_stdout("one\ntwo");
    let info = sif(&world, &["info", &id], &image).assert_ok().stdout;
    assert!(info.contains("  Name:         note\n"), "{info}");
    sif(&world, &["del", &id], &image).assert_ok().assert_stdout("");
    assert_eq!(rows(&world, &image), before);
    assert_eq!(fs::metadata(&image).expect("it is there").len(), length);
    sif(&world, &["info", &id], &image).assert_status(1).assert_stderr_has("object not found");
}

#[test]
fn a_sif_made_from_nothing_runs_and_another_root_can_be_chosen() {
    let world = World::new();
    world.busybox_sqfs("gzip");
    let marked = world.squashfs_of("marked", |folder| {
        fs::write(folder.join("marked"), "").expect("the folder can be written");
    });
    let image = world.path("new.sif");
    world.lamina(["sif", "new", "new.sif"]).run().assert_ok();
    let root = ["--datatype", "4", "--partfs", "1", "--partarch", "2", "--groupid", "1"];
    for (parttype, object) in [("1", Path::new("busybox-gzip.sqfs")), ("2", marked.as_path())] {
        world
            .lamina(["sif", "add", "new.sif"])
            .arg(object)
            .args(root)
            .args(["--parttype", parttype])
            .run()
            .assert_ok();
    }
    world.lamina(["sif", "setprim", "1", "new.sif"]).run().assert_ok();
    let [first, second] = &rows(&world, &image)[..] else { panic!("two objects") };
    assert!(first.ends_with("|FS (Squashfs/*System/amd64)"), "{first}");
    assert!(second.ends_with("|FS (Squashfs/System/amd64)"), "{second}");
    world.sh(&[], &image, "echo runs").run().assert_ok().assert_stdout("runs");
}

#[test]
fn a_running_container_that_writes_is_named_and_nothing_is_changed() {
    let world = World::new();
    let (image, id) = with_overlay(&world);
    let listed = rows(&world, &image);
    let writer = world.sh(&["--writable"], &image, "echo ready; cat").spawn().wait_for("ready");
    let holder = format!("It is in use by process {} (lamina exec)", writer.pid);
    world.write("note", "x");
    let add = ["sif", "add", "busybox.sif", "note", "--datatype", "7"];
    for refused in [
        world.lamina(add).run(),
        sif(&world, &["del", &id], &image),
        sif(&world, &["setprim", &id], &image),
        sif(&world, &["dump", &id], &image),
    ] {
        refused.assert_status(1).assert_stderr_has(&holder);
    }
    assert_eq!(rows(&world, &image), listed);
    writer.finish().assert_ok();
    sif(&world, &["del", &id], &image).assert_ok();
}

#[test]
fn an_overlay_image_that_is_being_written_is_not_copied() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), world.ext3_overlay(16));
    let path = overlay.display().to_string();
    let writer = world.sh(&["--overlay", &path], &image, "echo ready; cat").spawn().wait_for("ready");
    let other = world.path("other.sif");
    world.lamina(["sif", "new", "other.sif"]).run().assert_ok();
    let add = world.lamina(["sif", "add"]).args(OVERLAY).arg(&other).arg(&overlay);
    add.run().assert_status(1).assert_stderr_has("It is in use by process");
    assert_eq!(rows(&world, &other), [""; 0]);
    writer.finish().assert_ok();
}

#[test]
fn a_signed_group_is_left_alone() {
    let world = World::new();
    let image = world.write("signed.sif", SIGNED);
    world.write("note", "x");
    let add = ["sif", "add", "signed.sif", "note", "--datatype", "7"];
    world.lamina(add).args(["--groupid", "1"]).run().assert_status(1).assert_stderr_has("group 1 is signed");
    for words in [["del", "3"], ["del", "1"]] {
        sif(&world, &words, &image).assert_status(1).assert_stderr_has("would break signature 4");
    }
    assert!(fs::read(&image).expect("it is there") == SIGNED);
    world.lamina(add).args(["--groupid", "2"]).run().assert_ok().assert_stderr_has("WARNING: No signature");
}

#[test]
fn misuse_ends_with_1_and_the_usage_and_not_fatally() {
    let world = World::new();
    world.busybox_sif();
    world.write("note", "x");
    let add = ["sif", "add", "busybox.sif", "note"];
    let cases: [(&[&str], &str); 5] = [
        (&[], "-datatype flag is required with a valid range"),
        (&["--datatype", "12"], "-datatype flag is required with a valid range"),
        (
            &["--datatype", "4", "--partfs", "2"],
            "with partition datatype, --partfs, --parttype and --partarch must be passed",
        ),
        (&["--datatype", "x"], "invalid argument \"x\" for \"--datatype\" flag"),
        (&["--datatype", "9"], "with SBOM datatype, --sbomformat must be passed"),
    ];
    for (options, text) in cases {
        let output = world.lamina(add).args(options).run();
        let output = output.assert_status(1).assert_stderr_has(text);
        let output = output.assert_stderr_has("Usage: ");
        assert!(!output.stderr.contains("FATAL"), "{output}");
    }
    let output = world.lamina(["sif", "list", "note"]).run().assert_status(1);
    let output = output.assert_stderr_has("it is not a SIF file");
    assert!(!output.stderr.contains("FATAL"), "{output}");
}

#[test]
fn a_partition_that_no_container_could_use_is_added_with_a_warning() {
    let world = World::new();
    world.busybox_sif();
    let overlay = world.ext3_overlay(8).display().to_string();
    let words = ["sif", "add", "busybox.sif", &overlay, "--datatype", "4", "--partarch", "2"];
    let add = |options: &[&str]| world.lamina(words).args(options).run().assert_ok();
    add(&["--partfs", "1", "--parttype", "3"])
        .assert_stderr_has("is not what --partfs says: it does not begin as Squashfs does");
    add(&["--partfs", "2", "--parttype", "4"]).assert_stderr_has("add it with --groupid 1");
}

#[test]
fn help_lists_the_meaning_of_every_number_under_both_names() {
    let world = World::new();
    for group in ["sif", "siftool"] {
        for command in ["add", "list"] {
            let help = world.lamina([group, command, "--help"]).run().assert_ok().stdout;
            for word in ["datatype", "OCI.Blob", "Ext3", "Overlay", "ppc64le", "loong64", "512"] {
                assert!(help.contains(word), "{word}: {help}");
            }
            let asked = world.lamina(["help", group, command]).run().assert_ok();
            assert_eq!(asked.stdout, help);
        }
        let members = world.lamina([group, "--help"]).run().assert_ok().stdout;
        assert!(members.contains("sif setprim"), "{members}");
    }
}

#[test]
fn json_is_for_programs() {
    let world = World::new();
    let (image, id) = with_overlay(&world);
    let parsed = |words: &[&str]| -> serde_json::Value {
        let text = sif(&world, words, &image).assert_ok().stdout;
        serde_json::from_str(&text).expect("it is JSON")
    };
    let list = parsed(&["list", "--json"]);
    let overlay = list.as_array().and_then(|objects| objects.last()).expect("objects");
    assert_eq!(overlay["id"].to_string(), id);
    assert_eq!(overlay["details"]["partition"], "Overlay");
    assert_eq!(*overlay, parsed(&["info", "--json", &id]));
    assert_eq!(parsed(&["header", "--json"])["arch"], "amd64");
}

#[test]
fn what_comes_through_a_pipe_is_added() {
    let world = World::new();
    let image = world.busybox_sif();
    let id = (rows(&world, &image).len() + 1).to_string();
    // The pipe is the user's own, as under his shell.
    let script = "printf 'through a pipe' | \"$0\" sif add busybox.sif /dev/stdin --datatype 7";
    world.program("/bin/sh").args(["-c", script]).arg(world.installed().lamina()).run().assert_ok();
    sif(&world, &["dump", &id], &image).assert_ok().assert_stdout("through a pipe");
    assert_eq!(world.files(), ["busybox.sif"]);
}

#[test]
fn a_file_of_somebody_else_is_read_and_not_changed() {
    let world = World::new();
    let (image, id) = with_overlay(&world);
    let as_second = |words: &[&str]| {
        let command = world.lamina(["sif"]).args(words).arg(&image);
        command.as_user(User::second()).run()
    };
    as_second(&["list"]).assert_ok();
    as_second(&["del", &id]).assert_status(1).assert_stderr_has("you don't have write permissions");
}
