//! Containers that are killed, start all at once, or meet what a killed one left behind.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::{Output, World};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A file system of the overlay that is whole and needs no replay.
fn assert_clean(world: &World, overlay: &Path) {
    let check = world.program("e2fsck").arg("-fn").arg(overlay);
    let output = check.run().assert_ok();
    assert!(!output.stdout.contains("recover"), "{output}");
}

fn kill_while_starting(whole_session: bool) {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), world.ext3_overlay(8));
    let option = text(&overlay);
    for milliseconds in (0..80).step_by(4) {
        let run = world.sh(&["--overlay", &option], &image, "echo $$ > /note; cat").spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let whom = if whole_session { Pid::from_raw(-run.pid.as_raw()) } else { run.pid };
        kill(whom, Signal::SIGKILL).expect("root may");
        assert_eq!(run.finish().signal, Some(Signal::SIGKILL as i32));
        world.assert_nothing_left();
    }
    assert_clean(&world, &overlay);
    world
        .sh(&["--overlay", &option], &image, "echo kept > /note; cat /note")
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

#[test]
fn killed_at_any_moment_a_start_leaves_nothing_and_hurts_no_overlay() {
    kill_while_starting(false);
}

#[test]
fn killed_at_any_moment_with_all_its_helpers_a_start_leaves_nothing() {
    kill_while_starting(true);
}

#[test]
fn what_was_written_before_the_kill_is_there() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), world.ext3_overlay(8));
    let option = text(&overlay);
    let script =
        "i=0; while :; do i=$((i+1)); echo $i > /new; mv /new /count; [ $i = 200 ] && echo ready; done";
    let run = world.sh(&["--overlay", &option], &image, script).spawn().wait_for("ready");
    run.signal(Signal::SIGKILL);
    run.finish();
    world.assert_nothing_left();
    assert_clean(&world, &overlay);
    let read = world.sh(&["--overlay", &format!("{option}:ro")], &image, "cat /count").run();
    let count: u32 = read.stdout.trim_end().parse().unwrap_or_else(|_| panic!("{read}"));
    assert!(count >= 200, "{count}");
}

#[test]
fn many_containers_start_at_once() {
    let world = World::new();
    let image = world.busybox_sif();
    let overlays: Vec<String> = (0..12).map(|_| text(&world.ext3_overlay(8))).collect();
    let start = |overlay: &String| world.sh(&["--overlay", overlay], &image, "echo kept > /note").spawn();
    let running: Vec<_> = overlays.iter().map(start).collect();
    for run in running {
        run.finish().assert_ok();
    }
    for overlay in &overlays {
        world
            .sh(&["--overlay", &format!("{overlay}:ro")], &image, "cat /note")
            .run()
            .assert_ok()
            .assert_stdout("kept");
    }
}

#[test]
fn of_many_who_want_to_write_at_once_one_does_and_the_others_are_told() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(8)));
    let running: Vec<_> = (0..6)
        .map(|_| world.sh(&["--overlay", &overlay], &image, "echo in >> /log; echo ready; cat").spawn())
        .collect();
    // Nobody ends before everybody has had his turn: the winner reads until its input is closed.
    std::thread::sleep(Duration::from_millis(1500));
    let outputs: Vec<Output> = running.into_iter().map(tests::Running::finish).collect();
    let winners = outputs.iter().filter(|output| output.status == Some(0)).count();
    assert_eq!(winners, 1, "{outputs:#?}");
    for output in outputs.into_iter().filter(|output| output.status != Some(0)) {
        output.assert_fatal("currently in use by another process");
    }
    world.sh(&["--overlay", &overlay], &image, "cat /log").run().assert_ok().assert_stdout("in");
}

/// A SIF whose embedded overlay was copied in the middle of being written.
fn sif_of_a_dead_writer(world: &World) -> PathBuf {
    let image = world.busybox_sif();
    let create = world.lamina(["overlay", "create", "--sparse"]).arg(&image);
    create.run().assert_ok();
    let script = "echo kept > /note; sync; echo ready; cat";
    let writer = world.sh(&["--writable"], &image, script).spawn().wait_for("ready");
    let copy = world.path("copy.sif");
    std::fs::copy(&image, &copy).expect("root may");
    world.give(&copy);
    writer.finish().assert_ok();
    copy
}

#[test]
fn an_embedded_journal_is_replayed_by_the_next_writer() {
    let world = World::new();
    let image = sif_of_a_dead_writer(&world);
    world.sh(&["--writable"], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
}

#[test]
fn a_reader_of_an_embedded_overlay_with_a_journal_to_replay_is_told_how() {
    let world = World::new();
    let image = sif_of_a_dead_writer(&world);
    let words = "was not closed properly and has to be recovered";
    let refused = world.sh(&[], &image, "true").run().assert_fatal(words);
    refused.assert_stderr_has("using it once for writing recovers it: with --writable");
    world.sh(&["--writable"], &image, "true").run().assert_ok();
    world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
}

#[test]
fn an_embedded_journal_is_replayed_before_it_is_sealed() {
    let world = World::new();
    let image = sif_of_a_dead_writer(&world);
    world.lamina(["overlay", "seal"]).arg(&image).run().assert_ok();
    world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
}

#[test]
fn an_image_in_use_is_not_replaced_by_a_new_one() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(8)));
    let options = ["--overlay", overlay.as_str()];
    let writer = world.sh(&options, &image, "echo ready; cat; echo kept > /note");
    let writer = writer.spawn().wait_for("ready");
    let holder = format!("It is in use by process {}", writer.pid);
    for command in [&["image.create", "--force", "--size", "64"][..], &["build", "--force"]] {
        let replace = world.lamina(command).arg(&overlay);
        let replace = if command[0] == "build" { replace.arg(&image) } else { replace };
        replace.run().assert_fatal("currently in use").assert_stderr_has(&holder);
    }
    writer.finish().assert_ok();
    world.sh(&options, &image, "cat /note").run().assert_ok().assert_stdout("kept");
}

#[test]
fn a_running_image_can_be_replaced_and_goes_on_as_it_was() {
    let world = World::new();
    let image = world.busybox_sif();
    let running = world.sh(&[], &image, "echo ready; read line; md5sum /bin/busybox; ls /bin | wc -l");
    let running = running.spawn().wait_for("ready");
    let replaced = world.squashfs_of("other", |_| ());
    let build = world.lamina(["build", "--force"]).args([&image, &replaced]);
    build.run().assert_ok();
    let output = running.finish().assert_ok();
    assert!(output.stdout.contains("/bin/busybox"), "{output}");
}

#[test]
fn what_is_being_written_is_not_built_from() {
    let world = World::new();
    let image = world.busybox_ext3();
    let writer = world.sh(&["--writable"], &image, "echo ready; cat").spawn().wait_for("ready");
    world
        .lamina(["build", "new.sif"])
        .arg(&image)
        .run()
        .assert_fatal("currently in use for writing by another process")
        .assert_stderr_has(&format!("It is in use by process {}", writer.pid));
    writer.finish().assert_ok();
    assert_eq!(world.files(), ["busybox.ext3"]);
}

#[test]
fn one_sif_cannot_be_the_image_and_its_own_written_overlay() {
    let world = World::new();
    let image = world.busybox_sif();
    let create = world.lamina(["overlay", "create", "--sparse"]).arg(&image);
    create.run().assert_ok();
    let path = text(&image);
    world
        .sh(&["--overlay", &path], &image, "true")
        .run()
        .assert_fatal("already used for reading by this process");
    world
        .sh(&["--overlay", &format!("{path}:ro")], &image, "echo runs")
        .run()
        .assert_ok()
        .assert_stdout("runs");
}
