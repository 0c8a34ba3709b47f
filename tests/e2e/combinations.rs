//! Options that go together, options that do not, and the words for it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tests::World;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Root's, and everybody may read it.
fn take_away(path: &Path, mode: u32) {
    std::os::unix::fs::chown(path, Some(0), Some(0)).expect("root can take files");
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("and change them");
}

#[test]
fn writable_and_overlay_exclude_each_other_in_each_incumbents_words() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sandbox(), world.ext3_overlay(8));
    for (program, words) in [
        ("lamina", "you could not use --overlay in conjunction with --writable"),
        ("singularity", "you could not use --overlay in conjunction with --writable"),
        ("apptainer", "cannot use --overlay in conjunction with --writable"),
    ] {
        let program = world.installed().prefix().join("bin").join(program);
        let refused = world.program(program).args(["exec", "--writable", "--overlay"]);
        refused.arg(&overlay).arg(&image).arg("true").run().assert_fatal(&format!("FATAL:   {words}\n"));
    }
}

#[test]
fn writable_wins_over_writable_tmpfs_with_a_warning() {
    let world = World::new();
    let image = world.busybox_sandbox();
    world
        .sh(&["--writable", "--writable-tmpfs"], &image, "echo kept > /note")
        .run()
        .assert_ok()
        .assert_stderr_has("WARNING: Disabling --writable-tmpfs flag, mutually exclusive with --writable\n");
    assert!(image.join("note").exists());
}

#[test]
fn writable_tmpfs_refuses_a_second_place_for_changes() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(8)));
    let words = format!(
        "FATAL:   while loading overlay images: you can't specify --writable-tmpfs with another writable overlay image \
         ({overlay})\n"
    );
    world.sh(&["--writable-tmpfs", "--overlay", &overlay], &image, "true").run().assert_fatal(&words);
}

#[test]
fn writable_tmpfs_lies_on_top_of_read_only_overlays() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(8)));
    world.sh(&["--overlay", &overlay], &image, "echo kept > /note").run().assert_ok();
    let read_only = format!("{overlay}:ro");
    let options = ["--writable-tmpfs", "--overlay", &read_only];
    for _ in 0..2 {
        world
            .sh(&options, &image, "cat /note; echo changed > /note; cat /note; rm /note")
            .run()
            .assert_ok()
            .assert_stdout("kept\nchanged");
    }
}

#[test]
fn the_second_writable_overlay_is_told_to_be_read_only() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let [first, second] = [text(&world.ext3_overlay(8)), text(&world.ext3_overlay(8))];
    let words = format!(
        "FATAL:   while loading overlay images: you can't specify more than one writable overlay, {first} contains a \
         writable overlay, requires to use '--overlay {second}:ro'\n"
    );
    world.sh(&["--overlay", &first, "--overlay", &second], &image, "true").run().assert_fatal(&words);
}

#[test]
fn writable_on_a_sif_without_an_overlay_names_the_command_that_adds_one() {
    let world = World::new();
    let image = world.busybox_sif();
    let path = text(&image);
    world
        .sh(&["--writable"], &image, "true")
        .run()
        .assert_fatal(&format!("FATAL:   no SIF writable overlay partition found in {path}\n"))
        .assert_stderr_has(&format!("'lamina overlay create {path}' adds one"));
}

#[test]
fn writable_on_what_the_user_may_not_write_is_refused() {
    let world = World::new();
    let (file, directory) = (world.busybox_ext3(), world.busybox_sandbox());
    take_away(&file, 0o644);
    take_away(&directory, 0o755);
    for image in [file, directory] {
        let words = format!(
            "FATAL:   could not use {} for writing, you don't have write permissions\n",
            image.display()
        );
        world.sh(&["--writable"], &image, "true").run().assert_fatal(&words);
        world.sh(&[], &image, "true").run().assert_ok();
    }
}

#[test]
fn writable_on_a_bare_squashfs_is_refused() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let words = format!(
        "FATAL:   could not set {} image writable: squashfs is a read-only filesystem\n",
        image.display()
    );
    world.sh(&["--writable"], &image, "true").run().assert_fatal(&words);
}

#[test]
fn an_overlay_that_cannot_be_written_is_an_error_and_never_quietly_read_only() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    world.sh(&["--overlay", &text(&overlay)], &image, "echo kept > /note").run().assert_ok();
    take_away(&overlay, 0o644);
    let overlay = text(&overlay);
    world
        .sh(&["--overlay", &overlay], &image, "true")
        .run()
        .assert_fatal(&format!("could not use {overlay} for writing, you don't have write permissions\n"))
        .assert_stderr_has(&format!("--overlay {overlay}:ro"));
    world
        .sh(&["--overlay", &format!("{overlay}:ro")], &image, "cat /note")
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

#[test]
fn a_sif_given_as_an_overlay_needs_one_inside() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.busybox_sif()));
    for option in [overlay.clone(), format!("{overlay}:ro")] {
        world
            .sh(&["--overlay", &option], &image, "true")
            .run()
            .assert_fatal(&format!("{overlay} has no overlay partition"))
            .assert_stderr_has(&format!("lamina overlay create {overlay}"));
    }
}

#[test]
fn every_word_after_the_colon_is_known_or_refused() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(8)));
    for (option, writable) in [("", true), (":", true), (":rw", true), (":ro", false)] {
        let run = world.sh(&["--overlay", &format!("{overlay}{option}")], &image, "touch /note").run();
        run.assert_status(i32::from(!writable));
    }
    for option in ["RO", "r", "ro:ro", "readonly", "\n"] {
        let run = world.sh(&["--overlay", &format!("{overlay}:{option}")], &image, "true").run();
        assert_eq!(run.status, Some(255), "{option:?}: {run}");
    }
    world
        .sh(&["--overlay", &format!("{overlay}:readonly")], &image, "true")
        .run()
        .assert_fatal(&format!("FATAL:   unknown option 'readonly' for overlay {overlay}\n"));
}

#[test]
fn a_site_without_overlays_refuses_each_way_to_ask_for_one() {
    let mut world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(8)));
    let sif = world.busybox_sif();
    world.lamina(["overlay", "create"]).arg(&sif).run().assert_ok();
    world.conf("enable overlay = no\n");
    let by_site = "'enable overlay = yes': set to 'no' by administrator";
    for (options, image, words) in [
        (
            &["--overlay", overlay.as_str()][..],
            &image,
            "while loading overlay images: overlay images requires",
        ),
        (&["--writable-tmpfs"], &image, "--writable-tmpfs requires"),
        (&[], &sif, "SIF overlay partition requires"),
        (&["--writable"], &sif, "SIF overlay partition requires"),
    ] {
        world.sh(options, image, "true").run().assert_fatal(&format!("FATAL:   {words} {by_site}\n"));
    }
    world.sh(&[], &image, "true").run().assert_ok();
}

#[test]
fn a_directory_overlay_of_an_ordinary_user_is_used_in_a_user_namespace() {
    let world = World::new();
    let (image, folder) = (world.busybox_sandbox(), text(&world.mkdir("changes")));
    for option in [folder.clone(), format!("{folder}/"), format!("{folder}:ro")] {
        let output = world.lamina(["-v", "exec", "--overlay", &option]).arg(&image).arg("true").run();
        output.assert_ok().assert_stderr_has(
            "Starting through a user namespace: only root user can use sandbox as overlay in setuid mode\n",
        );
    }
}

#[test]
fn the_variables_of_the_flags_do_the_same() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(8)));
    for variable in ["SINGULARITY_OVERLAY", "SINGULARITY_OVERLAYIMAGE", "APPTAINER_OVERLAY"] {
        world.sh(&[], &image, &format!("touch /{variable}")).env(variable, &overlay).run().assert_ok();
    }
    world
        .sh(&[], &image, "ls -d /*_OVERLAY*")
        .env("SINGULARITY_OVERLAY", format!("{overlay}:ro"))
        .run()
        .assert_ok()
        .assert_stdout("/APPTAINER_OVERLAY\n/SINGULARITY_OVERLAY\n/SINGULARITY_OVERLAYIMAGE");
    world.sh(&[], &image, "touch /memory").env("SINGULARITY_WRITABLE_TMPFS", "1").run().assert_ok();
}
