//! What is no image, or a broken one, is refused with words that help, as image and as overlay.

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tests::{Output, World};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Tries it as the image, as an overlay, and as a read-only overlay. Each must fail with `words`.
#[track_caller]
fn refused_everywhere(world: &World, bad: &Path, words: &str) {
    let image = world.path("good.sqfs");
    if !image.exists() {
        fs::rename(world.busybox_sqfs("gzip"), &image).expect("the home can be written");
    }
    world.sh(&[], bad, "true").run().assert_fatal(words);
    for option in [text(bad), format!("{}:ro", text(bad))] {
        world
            .sh(&["--overlay", &option], &image, "true")
            .run()
            .assert_fatal("FATAL:   while loading overlay images: failed to open overlay image ")
            .assert_fatal(words);
    }
}

fn overlay_run(world: &World, overlay: &str, script: &str) -> Output {
    let image = world.path("busybox-gzip.sqfs");
    if !image.exists() {
        world.busybox_sqfs("gzip");
    }
    world.sh(&["--overlay", overlay], &image, script).run()
}

/// A file system that mke2fs makes with these options.
fn mkfs(world: &World, options: &[&str], name: &str) -> PathBuf {
    let image = world.path(name);
    let mkfs = world.program("mke2fs").args(["-q"]).args(options);
    mkfs.arg(&image).arg("8M").run().assert_ok();
    image
}

/// Keeps only the first bytes.
fn cut(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("root may");
    file.set_len(length).expect("root may");
}

/// Overwrites a part.
fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("root may");
    file.write_all_at(bytes, offset).expect("root may");
}

#[test]
fn a_missing_file_is_called_missing() {
    let world = World::new();
    refused_everywhere(&world, &world.path("nothing"), "No such file or directory");
    let file = world.write("file", "");
    refused_everywhere(&world, &file.join("below"), "Not a directory");
    let dangling = world.path("dangling");
    symlink("nowhere", &dangling).expect("the home can be written");
    refused_everywhere(&world, &dangling, "No such file or directory");
    let circle = world.path("circle");
    symlink("circle", &circle).expect("the home can be written");
    refused_everywhere(&world, &circle, "Too many levels of symbolic links");
    world.sh(&[], Path::new(""), "true").run().assert_fatal("No such file or directory");
}

#[test]
fn an_unreadable_file_is_called_unreadable_and_not_unrecognised() {
    let world = World::new();
    let overlay = world.ext3_overlay(8);
    std::os::unix::fs::chown(&overlay, Some(0), Some(0)).expect("root may");
    fs::set_permissions(&overlay, Permissions::from_mode(0o600)).expect("root may");
    let words = "is not readable by the current user, check permissions";
    refused_everywhere(&world, &overlay, words);
    let closed = world.mkdir("closed");
    let inside = world.write("closed/overlay.img", "");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).expect("root may");
    refused_everywhere(&world, &inside, words);
}

#[test]
fn what_is_too_short_to_be_an_image_is_told_so() {
    let world = World::new();
    refused_everywhere(&world, &world.write("empty", ""), "the file is empty");
    refused_everywhere(&world, &world.write("short", "hsqs"), "the file has only 4 bytes");
}

#[test]
fn what_is_no_image_is_not_recognised() {
    let world = World::new();
    let words = "image format not recognized";
    refused_everywhere(&world, &world.write("zeroes", vec![0; 100_000]), words);
    refused_everywhere(&world, &world.write("text", "#!/bin/sh\necho hello\n".repeat(100)), words);
    refused_everywhere(
        &world,
        &world.write("launch-only", "#!/usr/bin/env run-singularity\n".repeat(9)),
        words,
    );
    refused_everywhere(&world, Path::new("/bin/busybox"), words);
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    refused_everywhere(&world, &world.write("noise", noise), words);
}

#[test]
fn what_is_no_file_is_named_and_never_opened() {
    let world = World::new();
    let special = |name: &str, kind: SFlag, device| {
        let path = world.path(name);
        mknod(&path, kind, Mode::from_bits_truncate(0o666), device).expect("root may");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("root may");
        path
    };
    let pipe = special("pipe", SFlag::S_IFIFO, 0);
    refused_everywhere(&world, &pipe, "it is a named pipe, not a regular file or directory");
    let null = special("null", SFlag::S_IFCHR, makedev(1, 3));
    refused_everywhere(&world, &null, "it is a device, not a regular file or directory");
    let socket = world.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("root may");
    refused_everywhere(&world, &socket, "it is a socket, not a regular file or directory");
}

#[test]
fn an_image_that_was_not_copied_to_its_end_is_told_so() {
    let world = World::new();
    let squashfs = world.busybox_sqfs("gzip");
    let length = fs::metadata(&squashfs).expect("it is there").len();
    fs::rename(&squashfs, world.path("cut.sqfs")).expect("the home can be written");
    let squashfs = world.path("cut.sqfs");
    for length in [length / 2, 200, 96] {
        cut(&squashfs, length);
        refused_everywhere(&world, &squashfs, "incomplete copy or download?");
    }
    let ext3 = world.ext3_overlay(8);
    for length in [4 << 20, 4096] {
        cut(&ext3, length);
        refused_everywhere(&world, &ext3, "incomplete copy?");
    }
    let sif = world.busybox_sif();
    for length in [600_000, 40_000, 4096, 200] {
        cut(&sif, length);
        refused_everywhere(&world, &sif, "FATAL:");
    }
}

#[test]
fn ext2_and_ext4_are_told_from_ext3() {
    let world = World::new();
    let ext2 = mkfs(&world, &["-t", "ext2"], "ext2.img");
    refused_everywhere(&world, &ext2, "file is not a valid ext3 image: it has no journal, as ext2 has none");
    let ext4 = mkfs(&world, &["-t", "ext4"], "ext4.img");
    refused_everywhere(&world, &ext4, "file is not a valid ext3 image: it has ext4 features");
}

#[test]
fn an_ext3_larger_than_its_file_is_refused() {
    let world = World::new();
    let ext3 = world.ext3_overlay(16);
    cut(&ext3, (16 << 20) - 1024);
    refused_everywhere(
        &world,
        &ext3,
        "file is not a valid ext3 image: it has 16777216 bytes, but only 16776192 are there",
    );
}

#[test]
fn an_ext3_smaller_than_its_file_is_used() {
    let world = World::new();
    let ext3 = world.ext3_overlay(8);
    cut(&ext3, 9 << 20);
    overlay_run(&world, &text(&ext3), "echo kept > /note; cat /note").assert_ok().assert_stdout("kept");
}

#[test]
fn an_encrypted_image_is_called_encrypted() {
    let world = World::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/tests/images/tiny-gocryptfs.sif");
    let image = world.write("encrypted.sif", fs::read(sample).expect("it is there"));
    world
        .sh(&[], &image, "true")
        .run()
        .assert_fatal("encrypted.sif is encrypted, and encrypted images are not supported");
}

#[test]
fn a_squashfs_that_the_kernel_cannot_unpack_is_refused() {
    let world = World::new();
    let image = world.busybox_sqfs("lzma");
    world.sh(&[], &image, "true").run().assert_fatal("squashfs");
}

/// An overlay whose writer is still at it, copied: its journal holds what was not carried out.
fn overlay_of_a_dead_writer(world: &World) -> String {
    let (image, overlay) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(8)));
    let script = "echo kept > /note; sync; echo ready; cat";
    let writer = world.sh(&["--overlay", &overlay], &image, script).spawn();
    let writer = writer.wait_for("ready");
    let copy = world.path("copy.img");
    fs::copy(&overlay, &copy).expect("root may");
    world.give(&copy);
    writer.finish().assert_ok();
    text(&copy)
}

#[test]
fn a_journal_is_replayed_by_the_next_writer() {
    let world = World::new();
    let overlay = overlay_of_a_dead_writer(&world);
    overlay_run(&world, &overlay, "cat /note").assert_ok().assert_stdout("kept");
    overlay_run(&world, &format!("{overlay}:ro"), "cat /note").assert_ok().assert_stdout("kept");
}

#[test]
fn a_reader_of_an_overlay_with_a_journal_to_replay_is_told_how() {
    let world = World::new();
    let overlay = overlay_of_a_dead_writer(&world);
    let read_only = format!("{overlay}:ro");
    overlay_run(&world, &read_only, "true")
        .assert_fatal("was not closed properly and has to be recovered before it is used read-only")
        .assert_stderr_has(&format!("'e2fsck -f \"{overlay}\"' repairs it"));
    let repair = world.program("e2fsck").args(["-f", "-y", &overlay]).run();
    assert!(matches!(repair.status, Some(0 | 1)), "{repair}");
    overlay_run(&world, &read_only, "cat /note").assert_ok().assert_stdout("kept");
}

#[test]
fn an_overlay_marked_as_damaged_is_refused_with_the_command_that_repairs_it() {
    let world = World::new();
    let overlay = text(&world.ext3_overlay(8));
    let mark = world.program("debugfs").args(["-w", "-R", "ssv state 2", &overlay]);
    mark.run().assert_ok();
    for option in [overlay.clone(), format!("{overlay}:ro")] {
        overlay_run(&world, &option, "true")
            .assert_fatal(&format!("the ext3 file system in {overlay} is marked as damaged"))
            .assert_stderr_has(&format!("'e2fsck -f \"{overlay}\"' repairs it"));
    }
    let repair = world.program("e2fsck").args(["-f", "-y", &overlay]).run();
    assert!(matches!(repair.status, Some(0 | 1)), "{repair}");
    overlay_run(&world, &overlay, "true").assert_ok();
}

#[test]
fn a_damaged_overlay_becomes_read_only_and_is_refused_from_then_on() {
    let world = World::new();
    let overlay = text(&world.ext3_overlay(8));
    overlay_run(&world, &overlay, "mkdir /d; echo x > /d/file").assert_ok();
    // The inode of /d is no longer one.
    let spoil = world.program("debugfs").args(["-w", "-R", "sif /upper/d block[0] 99999999", &overlay]);
    spoil.run().assert_ok();
    let output = overlay_run(&world, &overlay, "ls /d; touch /d/new || touch /other");
    assert_eq!(output.status, Some(1), "{output}");
    overlay_run(&world, &overlay, "true").assert_fatal("is marked as damaged");
}

#[test]
fn an_ext3_that_the_kernel_refuses_is_an_error_and_no_crash() {
    let world = World::new();
    let ext3 = world.ext3_overlay(8);
    overwrite(&ext3, 2048, &[0xff; 1024]);
    let overlay = text(&ext3);
    for option in [overlay.clone(), format!("{overlay}:ro")] {
        overlay_run(&world, &option, "true").assert_fatal("ext3");
    }
}

#[test]
fn a_spoilt_squashfs_fails_where_it_is_spoilt() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let length = fs::metadata(&image).expect("it is there").len();
    overwrite(&image, 96, &vec![0x55; usize::try_from(length / 2).expect("it is small")]);
    let output = world.sh(&[], &image, "true").run();
    assert!(matches!(output.status, Some(126 | 127 | 255)), "{output}");
    overwrite(&image, length / 2, &vec![0x55; 4096]);
    let output = world.sh(&[], &image, "true").run();
    assert!(!matches!(output.status, Some(0) | None), "{output}");
}

#[test]
fn an_overlay_on_a_read_only_file_system_can_only_be_read() {
    let world = World::new();
    let media = world.tmpfs("media", "size=32m");
    let overlay = world.ext3_overlay(8);
    overlay_run(&world, &text(&overlay), "echo kept > /note").assert_ok();
    let there = media.path().join("overlay.img");
    fs::copy(&overlay, &there).expect("there is room");
    world.give(&there);
    media.make_read_only();
    let there = text(&there);
    overlay_run(&world, &there, "true")
        .assert_fatal(&format!("could not use {there} for writing"))
        .assert_stderr_has(&format!("--overlay {there}:ro"));
    overlay_run(&world, &format!("{there}:ro"), "cat /note").assert_ok().assert_stdout("kept");
}

#[test]
fn a_disk_that_fills_up_below_a_sparse_overlay_is_told_before_and_to_the_program() {
    let world = World::new();
    let disk = world.tmpfs("disk", "size=6m");
    let overlay = disk.path().join("overlay.img");
    let create = world.lamina(["overlay", "create", "--sparse"]).arg(&overlay);
    create.run().assert_ok();
    let warned = overlay_run(&world, &text(&overlay), "true").assert_ok();
    warned.assert_stderr_has("what finds no room there is lost");
    let read = overlay_run(&world, &format!("{}:ro", text(&overlay)), "true").assert_ok();
    assert_eq!(read.stderr, "");
    let script = "dd if=/dev/zero of=/zeroes bs=1M count=30 conv=fsync";
    let output = overlay_run(&world, &text(&overlay), script);
    assert_ne!(output.status, Some(0), "{output}");
    // The second is what ext3 becomes when it was its journal that found no room.
    let told = ["No space left on device", "Read-only file system"];
    assert!(told.iter().any(|said| output.stderr.contains(said)), "{output}");
}
