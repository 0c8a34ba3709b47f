//! Images that are extracted instead of mounted.

use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use tests::{Command, World};

/// `lamina exec OPTIONS IMAGE sh -c SCRIPT`, with temporary files in a folder of the user's.
fn extracted(world: &World, folder: &Path, options: &[&str], image: &Path, script: &str) -> Command {
    world.sh(options, image, script).env("TMPDIR", folder)
}

fn assert_empty(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder).expect("root may").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A folder of helper programs, only some of those on the machine.
fn helpers(world: &World, names: &[&str]) -> PathBuf {
    let folder = world.mkdir("helpers");
    for name in names {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), folder.join(name)).expect("root may");
    }
    folder
}

#[test]
fn a_container_of_a_temporary_sandbox_ends_as_its_program_and_leaves_nothing() {
    let world = World::new();
    let (image, folder) = (world.busybox_sif(), world.mkdir("temporary"));
    for options in [&["--tmp-sandbox"][..], &["--unsquash"], &["--userns", "--tmp-sandbox"]] {
        let script = "echo $SINGULARITY_NAME; echo ${SINGULARITY_CONTAINER%/.lamina-*}; exit 7";
        let output = extracted(&world, &folder, options, &image, script).run().assert_status(7);
        let name = image.file_name().expect("it has one").to_string_lossy();
        assert_eq!(output.stdout.trim(), format!("{name}\n{}", folder.display()), "{output}");
        assert_empty(&folder);
    }
}

#[test]
fn an_image_is_extracted_where_the_flag_says_then_the_variable_then_everybodys_variable() {
    let world = World::new();
    let image = world.busybox_sif();
    let [flag, own, everybodys] = ["flag", "own", "everybodys"].map(|name| world.mkdir(name));
    let flagged = ["--tmp-sandbox", "--tmpdir", flag.to_str().expect("a plain path")];
    let plain = &flagged[..1];
    for (options, variable, place) in
        [(&flagged[..], Some(&own), &flag), (plain, Some(&own), &own), (plain, None, &everybodys)]
    {
        let command =
            extracted(&world, &everybodys, options, &image, "echo ${SINGULARITY_CONTAINER%/.lamina-*}");
        let command = match variable {
            Some(folder) => command.env("SINGULARITY_TMPDIR", folder),
            None => command,
        };
        command.run().assert_ok().assert_stdout(&place.display().to_string());
        [&flag, &own, &everybodys].iter().for_each(|folder| assert_empty(folder));
    }
}

#[test]
fn what_is_written_to_a_temporary_sandbox_is_gone_and_said_to_be() {
    let world = World::new();
    let (image, folder) = (world.busybox_sif(), world.mkdir("temporary"));
    extracted(&world, &folder, &["--tmp-sandbox", "--writable"], &image, "echo new >/note; cat /note")
        .run()
        .assert_ok()
        .assert_stdout("new")
        .assert_stderr_has("--writable applies to temporary sandbox only");
    assert_empty(&folder);
    world.sh(&[], &image, "ls /note").run().assert_status(1);
}

#[test]
fn signals_reach_a_container_of_a_temporary_sandbox_and_nothing_is_left() {
    let world = World::new();
    let (image, folder) = (world.busybox_sif(), world.mkdir("temporary"));
    for options in [&["--tmp-sandbox"][..], &["--userns", "--tmp-sandbox"]] {
        let script = "trap 'exit 5' TERM; trap 'exit 6' INT; echo ready; while :; do sleep 0.1; done";
        for (signal, status) in [(Signal::SIGTERM, 5), (Signal::SIGINT, 6)] {
            let running = extracted(&world, &folder, options, &image, script).spawn().wait_for("ready");
            running.signal(signal);
            running.finish().assert_status(status);
            assert_empty(&folder);
        }
    }
}

#[test]
fn a_site_without_temporary_sandboxes_has_none() {
    let mut world = World::new();
    let (image, folder) = (world.busybox_sif(), world.mkdir("temporary"));
    world.conf("tmp sandbox = no\n");
    extracted(&world, &folder, &["--unsquash"], &image, "true").run().assert_fatal("tmp sandbox = no");
    assert_empty(&folder);
}

#[test]
fn an_image_that_cannot_be_mounted_is_extracted_where_that_is_permitted() {
    let mut world = World::new();
    let (image, folder) = (world.busybox_sif(), world.mkdir("temporary"));
    let helpers = helpers(&world, &["unsquashfs"]);
    world.conf(&format!("binary path = {}\n", helpers.display()));
    extracted(&world, &folder, &["--userns"], &image, "echo in")
        .run()
        .assert_ok()
        .assert_stdout("in")
        .assert_stderr_has("squashfuse mount failed, falling back to extraction");
    assert_empty(&folder);
    extracted(&world, &folder, &["--userns", "--no-tmp-sandbox"], &image, "true")
        .run()
        .assert_fatal("squashfuse was not found");
    world.conf(&format!("binary path = {}\ntmp sandbox = no\n", helpers.display()));
    extracted(&world, &folder, &["--userns"], &image, "true").run().assert_fatal("squashfuse was not found");
}
