//! Overlays: what is changed stays, where it should.

use nix::sys::signal::Signal;
use std::path::Path;
use tests::World;

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn changes_are_there_in_the_next_container_and_nowhere_else() {
    for world in World::in_each_flow() {
        let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(64)));
        world.sh(&["--overlay", &overlay], &image, "echo kept > /note").run().assert_ok();
        world.sh(&["--overlay", &overlay], &image, "cat /note").run().assert_ok().assert_stdout("kept");
        world.sh(&[], &image, "cat /note").run().assert_status(1);
    }
}

#[test]
fn what_was_deleted_stays_deleted() {
    for world in World::in_each_flow() {
        let image = world.busybox_sandbox();
        world.mkdir("busybox/data");
        world.write("busybox/data/old", "");
        let overlay = text(&world.ext3_overlay(64));
        let script = "rm /bin/vi; rm -r /data; mkdir /data";
        world.sh(&["--overlay", &overlay], &image, script).run().assert_ok();
        let script = "ls /bin/vi 2>/dev/null || echo gone; ls -A /data";
        world.sh(&["--overlay", &overlay], &image, script).run().assert_ok().assert_stdout("gone");
        assert!(image.join("bin/vi").is_symlink());
    }
}

#[test]
fn a_read_only_overlay_is_seen_and_not_written() {
    for world in World::in_each_flow() {
        let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(64)));
        world.sh(&["--overlay", &overlay], &image, "echo kept > /note").run().assert_ok();
        let read_only = format!("{overlay}:ro");
        let output = world.sh(&["--overlay", &read_only], &image, "cat /note; touch /new").run();
        output.assert_status(1).assert_stdout("kept").assert_stderr_has("Read-only file system");
    }
}

#[test]
fn the_last_overlay_named_is_on_top() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let overlays = [text(&world.ext3_overlay(64)), text(&world.ext3_overlay(64))];
        for (number, overlay) in overlays.iter().enumerate() {
            let script = format!("echo {number} > /both; echo {number} > /only-{number}");
            world.sh(&["--overlay", overlay], &image, &script).run().assert_ok();
        }
        let lower = format!("{}:ro", overlays[0]);
        let output = world
            .sh(&["--overlay", &lower, "--overlay", &overlays[1]], &image, "cat /both /only-0 /only-1")
            .run();
        output.assert_ok().assert_stdout("1\n0\n1");
    }
}

#[test]
fn an_overlay_has_one_writer_who_is_named() {
    for world in World::in_each_flow() {
        let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(64)));
        let first = world.sh(&["--overlay", &overlay], &image, "echo ready; cat").spawn().wait_for("ready");
        let second = world.sh(&["--overlay", &overlay], &image, "true").run();
        second.assert_fatal(&world.user().name);
        first.finish().assert_ok();
        world.sh(&["--overlay", &overlay], &image, "true").run().assert_ok();
    }
}

#[test]
fn a_killed_container_frees_its_overlay() {
    for world in World::in_each_flow() {
        let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(64)));
        let first =
            world.sh(&["--overlay", &overlay], &image, "echo kept > /note; echo ready; exec cat").spawn();
        let first = first.wait_for("ready");
        first.signal(Signal::SIGKILL);
        assert_eq!(first.finish().signal, Some(Signal::SIGKILL as i32));
        world.sh(&["--overlay", &overlay], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    }
}

#[test]
fn memory_takes_changes_and_forgets_them() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let output = world.sh(&["--writable-tmpfs"], &image, "echo here > /note; cat /note").run();
        output.assert_ok().assert_stdout("here");
        world.sh(&["--writable-tmpfs"], &image, "cat /note").run().assert_status(1);
    }
}

#[test]
fn an_unknown_word_after_the_colon_is_an_error() {
    for world in World::in_each_flow() {
        let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(64)));
        let option = format!("{overlay}:readonly");
        world.sh(&["--overlay", &option], &image, "true").run().assert_fatal("readonly");
    }
}

#[test]
fn an_overlay_without_a_path_is_an_error() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    for option in [":", ":ro", ":rw"] {
        let output = world.sh(&["--overlay", option], &image, "true").run();
        output.assert_fatal(&format!("the overlay {option} has no path"));
    }
}

#[test]
fn a_directory_overlay_of_roots_is_kept_too() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let directory = text(&world.mkdir("changes"));
    world.sh(&["--overlay", &directory], &image, "echo kept > /note").as_root().run().assert_ok();
    world
        .sh(&["--overlay", &directory], &image, "cat /note")
        .as_root()
        .run()
        .assert_ok()
        .assert_stdout("kept");
    world.program("/bin/rm").arg("-r").arg(directory).as_root().run().assert_ok();
}

#[test]
fn a_created_overlay_can_be_written() {
    for world in World::in_each_flow() {
        let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.path("changes.img")));
        world
            .lamina(["overlay", "create", "--size", "64", "--create-dir", "/var/lib/box", &overlay])
            .run()
            .assert_ok();
        world.sh(&["--overlay", &overlay], &image, "echo kept > /var/lib/box/note").run().assert_ok();
        world
            .sh(&["--overlay", &overlay], &image, "cat /var/lib/box/note")
            .run()
            .assert_ok()
            .assert_stdout("kept");
    }
}

#[test]
fn temporary_files_of_making_and_sealing_an_overlay_go_where_they_are_told_to_go() {
    let world = World::new();
    let folder = world.mkdir("temporary");
    let nowhere = |words: &[&str]| world.lamina(words).env("TMPDIR", "/nonexistent");
    let output = nowhere(&["overlay", "create", "o.img"]).run();
    let output = output
        .assert_fatal("while creating a temporary directory in /nonexistent: No such file or directory\n");
    let output = output.assert_stderr_has("set SINGULARITY_TMPDIR to a directory that you can write to");
    assert!(!output.stderr.contains("os error"), "{output}");
    nowhere(&["overlay", "create", "--tmpdir", &text(&folder), "o.img"]).run().assert_ok();
    nowhere(&["overlay", "create", "p.img"]).env("SINGULARITY_TMPDIR", &folder).run().assert_ok();
    nowhere(&["overlay", "seal", "o.img"]).run().assert_fatal("/nonexistent");
    nowhere(&["overlay", "seal", "o.img"]).env("APPTAINER_TMPDIR", &folder).run().assert_ok();
    assert_eq!(std::fs::read_dir(&folder).expect("root may").count(), 0);
}

#[test]
fn a_size_that_is_no_number_is_a_usage_error_and_makes_nothing() {
    let world = World::new();
    let overlay = world.path("changes.img");
    for command in [&["overlay", "create"][..], &["image.create"]] {
        let output = world.lamina(command).args(["--size", "big"]).arg(&overlay).run();
        output.assert_status(1).assert_stderr_has("invalid argument \"big\" for \"--size\" flag");
        assert!(!overlay.exists());
    }
}

#[test]
fn an_overlay_in_the_sif_is_written_on_demand_and_always_seen() {
    for world in World::in_each_flow() {
        let image = world.busybox_sif();
        let created = world.lamina(["overlay", "create", "--size", "64"]).arg(&image).run().assert_ok();
        created
            .assert_stdout("")
            .assert_stderr_has(&format!("INFO:    'lamina exec --writable {}' writes to", image.display()));
        world.sh(&["--writable"], &image, "echo kept > /note").run().assert_ok();
        world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
        world.sh(&[], &image, "touch /new").run().assert_status(1).assert_stderr_has("Read-only file system");
    }
}
