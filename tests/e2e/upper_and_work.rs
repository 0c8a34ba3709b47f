//! The two folders in an overlay: who makes them, who owns them, and what it means.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::{User, World};

/// An ext3 that mke2fs fills from a folder which `fill` was given, root's or, as `mkfs` leaves it, who owns the parts.
fn ext3_of(world: &World, fill: impl FnOnce(&Path)) -> String {
    let folder = world.folder().join("content");
    fs::create_dir(&folder).expect("it is our folder");
    fill(&folder);
    let image = world.path("overlay.img");
    let mkfs = world.program("mkfs.ext3").as_root().args(["-q", "-d"]);
    mkfs.arg(&folder).arg(&image).arg("8M").run().assert_ok();
    fs::remove_dir_all(&folder).expect("it is our folder");
    world.give(&image);
    image.display().to_string()
}

fn folder(path: PathBuf, owner: &User, mode: u32) -> PathBuf {
    fs::create_dir(&path).expect("it is our folder");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is our folder");
    std::os::unix::fs::chown(&path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).expect("root may");
    path
}

/// What debugfs tells of a path in an ext3.
fn inside(world: &World, overlay: &str, path: &str) -> String {
    let request = format!("stat {path}");
    let debugfs = world.program("debugfs").args(["-R", &request, overlay]);
    let told = debugfs.run().assert_ok().stdout;
    let field = |name: &str| {
        let (_, after) = told.split_once(name).unwrap_or_else(|| panic!("no {name} in {told}"));
        after.split_whitespace().next().unwrap_or_default().to_owned()
    };
    format!("{} {} {}", field("User:"), field("Group:"), field("Mode:"))
}

#[test]
fn a_missing_work_folder_is_made_by_the_user() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = ext3_of(&world, |content| {
        folder(content.join("upper"), world.user(), 0o755);
        std::os::unix::fs::chown(content, Some(58001), Some(58001)).expect("root may");
    });
    // The top belongs to whoever made the file system, here the user.
    let top = world.program("debugfs").args(["-w", "-R", "sif / uid 58001", &overlay]);
    top.run().assert_ok();
    let options = ["--overlay", overlay.as_str()];
    world.sh(&options, &image, "echo kept > /hello").run().assert_ok();
    world.sh(&options, &image, "cat /hello").run().assert_ok().assert_stdout("kept");
    assert_eq!(inside(&world, &overlay, "/work"), "58001 58001 0755");
}

#[test]
fn root_makes_both_folders_on_a_plain_ext3() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = ext3_of(&world, |_| ());
    let options = ["--overlay", overlay.as_str()];
    world.sh(&options, &image, "echo kept > /note; mkdir /srv; chmod 1777 /srv").as_root().run().assert_ok();
    assert_eq!(inside(&world, &overlay, "/upper"), "0 0 0755");
    assert_eq!(inside(&world, &overlay, "/work"), "0 0 0755");
    world
        .sh(&options, &image, "cat /note; echo mine > /srv/mine; touch /new")
        .run()
        .assert_status(1)
        .assert_stdout("kept")
        .assert_stderr_has("Permission denied");
    world.sh(&options, &image, "cat /srv/mine").run().assert_ok().assert_stdout("mine");
}

#[test]
fn a_user_cannot_make_them_on_a_plain_ext3_and_is_told_the_owner_and_the_remedy() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = ext3_of(&world, |_| ());
    world
        .sh(&["--overlay", &overlay], &image, "true")
        .run()
        .assert_fatal("FATAL:   container creation failed: ")
        .assert_stderr_has("'upper' directory")
        .assert_stderr_has("belongs to uid 0, gid 0, mode 0755")
        .assert_stderr_has("Permission denied")
        .assert_stderr_has("'overlay create'");
}

#[test]
fn folders_open_to_everybody_can_be_written_by_every_user() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = ext3_of(&world, |content| {
        folder(content.join("upper"), &User::root(), 0o777);
        folder(content.join("work"), &User::root(), 0o777);
    });
    fs::set_permissions(&overlay, Permissions::from_mode(0o666)).expect("root may");
    let options = ["--overlay", overlay.as_str()];
    for user in [User::first(), User::second()] {
        let script = format!("id -u > /{0}; stat -c %u /{0}", user.name);
        world
            .sh(&options, &image, &script)
            .as_user(user.clone())
            .run()
            .assert_ok()
            .assert_stdout(&user.uid.to_string());
    }
    world
        .sh(&options, &image, "cat /laminatest1 /laminatest2")
        .run()
        .assert_ok()
        .assert_stdout("58001\n70002");
}

#[test]
fn the_owner_of_upper_owns_the_containers_root() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = ext3_of(&world, |content| {
        folder(content.join("upper"), &User::second(), 0o750);
        folder(content.join("work"), &User::second(), 0o755);
    });
    fs::set_permissions(&overlay, Permissions::from_mode(0o666)).expect("root may");
    world
        .sh(&["--overlay", &overlay], &image, "stat -c '%u %a' /; touch /x")
        .as_user(User::second())
        .run()
        .assert_ok()
        .assert_stdout("70002 750");
}

#[test]
fn a_user_may_not_write_where_the_image_says_root() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    let script = "touch /mine && ! touch /usr/x && ! rm /bin/vi && ls /mine";
    world
        .sh(&["--overlay", &overlay.display().to_string()], &image, script)
        .run()
        .assert_ok()
        .assert_stdout("/mine")
        .assert_stderr_has("Permission denied");
}

#[test]
fn what_is_no_folder_is_refused() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    for name in ["upper", "work"] {
        for link in [false, true] {
            let overlay = ext3_of(&world, |content| {
                let other = if name == "upper" { "work" } else { "upper" };
                folder(content.join(other), world.user(), 0o755);
                let path = content.join(name);
                if link {
                    std::os::unix::fs::symlink("/etc", &path).expect("it is our folder");
                } else {
                    fs::write(&path, "").expect("it is our folder");
                }
            });
            world
                .sh(&["--overlay", &overlay], &image, "true")
                .run()
                .assert_fatal(&format!("'{name}' of the overlay is not a directory"));
            fs::remove_file(&overlay).expect("it is our file");
        }
    }
}

#[test]
fn a_work_folder_that_is_a_mess_does_not_stop_the_next_run() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = ext3_of(&world, |content| {
        folder(content.join("upper"), world.user(), 0o755);
        let work = folder(content.join("work"), world.user(), 0o755);
        let inner = folder(work.join("work"), &User::root(), 0);
        let deep = folder(inner.join("#7"), &User::root(), 0o700);
        fs::write(deep.join("left"), "left").expect("it is our folder");
    });
    world
        .sh(&["--overlay", &overlay], &image, "echo kept > /note; cat /note")
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

#[test]
fn a_directory_overlay_of_root_gets_both_folders_and_keeps_what_is_written() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let directory = world.mkdir("changes");
    let option = format!("{}/", directory.display());
    let run = |options: &[&str], script: &str| world.sh(options, &image, script).as_root().run();
    run(&["--overlay", &option], "mkdir /data; chown 58001 /data; echo tool > /bin/tool").assert_ok();
    run(&["--overlay", &option], "stat -c %u /data; cat /bin/tool").assert_ok().assert_stdout("58001\ntool");
    run(&[], "ls -d /data /bin/tool").assert_status(1).assert_stdout("");
    for part in ["upper", "work"] {
        let mode = fs::metadata(directory.join(part)).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{part}");
    }
    let options = format!("{}:ro", directory.display());
    run(&["--overlay", &options], "cat /bin/tool; touch /new")
        .assert_status(1)
        .assert_stdout("tool")
        .assert_stderr_has("Read-only file system");
    fs::remove_dir_all(directory).expect("root may");
}

#[test]
fn places_for_mounts_do_not_end_up_in_the_overlay() {
    let world = World::new();
    let image = world.squashfs_of("bare", |root| {
        fs::create_dir(root.join("bin")).expect("it is our folder");
        let busybox = world.busybox_sandbox().join("bin/busybox");
        fs::copy(busybox, root.join("bin/sh")).expect("it is there");
    });
    let overlay = world.ext3_overlay(8).display().to_string();
    let data = world.mkdir("data");
    let bind = format!("{}:/very/deep/place", data.display());
    world
        .sh(&["--overlay", &overlay, "--bind", &bind], &image, "> /very/deep/place/here; > /note")
        .run()
        .assert_ok();
    assert!(data.join("here").exists());
    let debugfs = world.program("debugfs").args(["-R", "ls -p /upper", &overlay]);
    let listed = debugfs.run().assert_ok().stdout;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split('/').nth(5)).collect();
    assert_eq!(names, [".", "..", "note"], "{listed}");
}
