//! Sources that are not what a plan may name.

use protocol::{Content, Image, Mount, Window, Writable};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::{HandMade, User, World};

const NOT_AN_IMAGE: &str = "an image must be a regular file, opened for reading";

fn world_and_plan() -> (World, PathBuf, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let plan = HandMade::bare(&world, &[], &image);
    (world, image, plan)
}

#[track_caller]
fn refused(world: &World, plan: &HandMade, text: &str) {
    plan.hand_over(world).run().assert_fatal(text);
    world.assert_nothing_left();
}

#[test]
fn an_image_is_a_regular_file_opened_for_reading() {
    let (world, image, plan) = world_and_plan();
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644))
        .expect("the home can be written");
    world.give(&fifo);
    let link = world.path("link");
    std::os::unix::fs::symlink(&image, &link).expect("the home can be written");
    let (image, fifo) = (image.display(), fifo.display());
    refused(&world, &plan, HandMade::ACCEPTED);
    for opened in [
        format!("p:{image}"),
        format!("a:{image}"),
        format!("l:{}", link.display()),
        format!("f:{image}"),
        format!("w:{fifo}"),
        "s:".to_owned(),
        "r:/".to_owned(),
        "p:/".to_owned(),
        "r:/dev/null".to_owned(),
        "r:/dev/zero".to_owned(),
        "p:/dev/loop-control".to_owned(),
    ] {
        refused(&world, &plan.clone().open_as(0, opened), NOT_AN_IMAGE);
    }
}

#[test]
fn files_of_the_kernels_own_file_systems_are_no_images() {
    let (world, _, plan) = world_and_plan();
    for path in [
        "/proc/version",
        "/proc/self/mem",
        "/proc/self/environ",
        "/proc/self/ns/mnt",
        "/proc/1/ns/user",
        "/sys/kernel/uevent_seqnum",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ] {
        let how = if path.starts_with("/proc/1/") { "p" } else { "r" };
        let opened = plan.clone().open_as(0, format!("{how}:{path}"));
        if path.starts_with("/proc/1/") {
            // The kernel keeps this from the user, so nobody can hand it over.
            let output = opened.hand_over(&world).run();
            assert_ne!(output.status, Some(0), "{output}");
        } else {
            refused(&world, &opened, "an image cannot be a file of the kernel's own file systems");
        }
    }
}

#[test]
fn memory_files_and_removed_files_are_images_like_others_unless_images_are_limited() {
    let (mut world, image, plan) = world_and_plan();
    let text = "where images are limited, one without a name or on FUSE is not allowed";
    let memory = plan.clone().open_as(0, format!("m:{}", image.display()));
    let removed = |world: &World| {
        let copy = world.path("copy.sqfs");
        fs::copy(&image, &copy).expect("the home can be written");
        world.give(&copy);
        plan.clone().open_as(0, format!("d:{}", copy.display()))
    };
    refused(&world, &memory, HandMade::ACCEPTED);
    refused(&world, &removed(&world), HandMade::ACCEPTED);
    world.conf("limit container owners = laminatest1\n");
    refused(&world, &memory, text);
    refused(&world, &removed(&world), text);
}

#[test]
fn a_file_that_a_fuse_server_makes_up_is_no_image_where_images_are_limited() {
    let (mut world, image, plan) = world_and_plan();
    let packed = world.squashfs_of("packed", |folder| {
        fs::copy(&image, folder.join("inner.sqfs")).expect("a temporary folder can be written");
    });
    let mount = world.mkdir("mount");
    let opened = plan.open_as(0, format!("r:{}/inner.sqfs", mount.display()));
    let (packed, mount) = (packed.display(), mount.display());
    let served = |world: &World, server: &str, before: &str, after: &str| {
        let (program, arguments) = opened.prepare(world);
        let script = format!(
            "{server} {packed} {mount}; {before} \"$0\" \"$@\"; status=$?; {after} {mount}; exit $status"
        );
        let shell = world.program("/bin/sh").args(["-c", &script]);
        shell.arg(program).args(arguments)
    };
    let user = world.user();
    let as_user = format!("setpriv --reuid {} --regid {} --clear-groups --", user.uid, user.gid);
    for (conf, text) in
        [("", HandMade::ACCEPTED), ("limit container owners = root\n", "one without a name or on FUSE")]
    {
        world.conf(conf);
        served(&world, "squashfuse -o allow_other", &as_user, "umount").as_root().run().assert_fatal(text);
    }
    world.conf("");
    // What a user's own server makes up, not even root can see.
    served(&world, "squashfuse", "", "fusermount3 -u")
        .run()
        .assert_fatal("while looking at a source: Permission denied");
}

#[test]
fn a_descriptor_that_is_not_there_is_missed() {
    let (world, image, mut plan) = world_and_plan();
    refused(&world, &plan.clone().open_as(0, "-:"), "looking for an inherited descriptor");
    let descriptor = plan.source(&image);
    plan.plan.layers.push(Image { descriptor, content: plan.plan.root.content });
    refused(&world, &plan.clone().open_as(0, "-:"), "looking for an inherited descriptor");
    refused(&world, &plan.open_as(1, "-:"), "looking for an inherited descriptor");
}

/// Where the root's descriptor is in a frame: after the header and the word for what is asked.
const ROOT_AT: usize = protocol::frame::HEADER_BYTES + 4;

/// The plan's frame with another number for the root's descriptor, as a frontend that lies would write it.
fn frame_with_root_number(plan: &HandMade, number: u16) -> Vec<u8> {
    let mut frame = plan.encoded();
    let at = ROOT_AT;
    assert_eq!(frame[at..at + 2], [0, 0], "the layout is another");
    frame[at..at + 2].copy_from_slice(&number.to_le_bytes());
    frame
}

#[test]
fn a_payload_that_is_not_there_is_not_replaced_by_something_of_the_starters() {
    let (world, _, plan) = world_and_plan();
    let payload = format!("close={}", protocol::PAYLOAD_FD);
    refused(&world, &plan.set(payload), "looking for an inherited descriptor");
}

#[test]
fn descriptor_numbers_are_each_used_once_and_without_gaps() {
    let (world, image, mut plan) = world_and_plan();
    for number in [1, 2, 250, 32767, 32768, 65535] {
        plan.frame = Some(frame_with_root_number(&plan, number));
        refused(&world, &plan, "the plan miscounts its descriptors");
    }
    let descriptor = plan.source(&image);
    plan.plan.layers.push(Image { descriptor, content: plan.plan.root.content });
    for number in [1, 2, 65535] {
        plan.frame = Some(frame_with_root_number(&plan, number));
        refused(&world, &plan, "the plan miscounts its descriptors");
    }
}

#[test]
fn windows_are_arithmetic_that_holds() {
    let (world, _, plan) = world_and_plan();
    let Content::Squashfs(window) = plan.plan.root.content else { panic!("a squashfs is one") };
    // A descriptor's number and the word for its content.
    let at = ROOT_AT + 6;
    for (offset, size) in
        [(u64::MAX, 1), (1, u64::MAX), (1 << 63, 1 << 63), (0, 0), (i64::MAX.cast_unsigned(), 1)]
    {
        let mut lying = plan.clone();
        let mut frame = plan.encoded();
        assert_eq!(frame[at + 8..at + 16], window.size.to_le_bytes());
        frame[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        frame[at + 8..at + 16].copy_from_slice(&size.to_le_bytes());
        lying.frame = Some(frame);
        refused(&world, &lying, "the plan names an impossible part of an image");
    }
    for (offset, size) in [(1 << 62, 1 << 20), (window.size, window.size), (511, window.size)] {
        let mut lying = plan.clone();
        lying.plan.root.content = Content::Squashfs(Window { offset, size });
        refused(&world, &lying, "there is no squashfs where the plan says that one is");
    }
}

#[test]
fn more_descriptors_than_the_plan_names_do_not_come_along() {
    let (world, image, plan) = world_and_plan();
    let listing = "for fd in /proc/self/fd/*; do echo ${fd##*/} $(readlink $fd); done";
    let mut plan = plan.running(&world, listing);
    plan.plan.mounts.push(Mount::Proc);
    for leak in ["p:/", "r:/etc", "r:/proc/self/ns/mnt", "s:", &format!("r:{}", image.display())] {
        let output = plan.clone().set(format!("leak=200:{leak}")).hand_over(&world).run().assert_ok();
        let numbers: Vec<&str> = output.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
        // The shell expands the pattern with a descriptor of its own.
        assert_eq!(numbers, ["0", "1", "2", "3"], "{output}");
        world.assert_nothing_left();
    }
}

#[test]
fn a_file_that_may_be_written_but_not_read_cannot_be_read_as_an_image() {
    let (world, image, plan) = world_and_plan();
    fs::set_permissions(&image, Permissions::from_mode(0o622)).expect("it is ours");
    let opened = plan.clone().open_as(0, format!("a:{}", image.display()));
    opened.hand_over(&world).as_user(User::second()).cwd("/").run().assert_fatal(NOT_AN_IMAGE);
    let mut overlay = plan;
    let ext3 = world.ext3_overlay(16);
    let descriptor = overlay.source(&ext3);
    let size = fs::metadata(&ext3).expect("it is there").len();
    overlay.plan.writable =
        Writable::Overlay(Image { descriptor, content: Content::Ext3(Window { offset: 0, size }) });
    fs::set_permissions(&image, Permissions::from_mode(0o644)).expect("it is ours");
    refused(&world, &overlay, HandMade::ACCEPTED);
    refused(&world, &overlay.clone().open_as(1, format!("a:{}", ext3.display())), NOT_AN_IMAGE);
    refused(
        &world,
        &overlay.open_as(1, format!("r:{}", ext3.display())),
        "an image to be written was not opened for writing",
    );
}

#[test]
fn a_directory_is_only_a_directory() {
    let (world, image, mut plan) = world_and_plan();
    plan.plan.root.content = Content::Directory;
    for opened in [format!("r:{}", image.display()), "p:/dev/null".to_owned(), "s:".to_owned()] {
        refused(&world, &plan.clone().open_as(0, opened), "directory of something that is none");
    }
    refused(
        &world,
        &plan.open_as(0, "p:/proc/self"),
        "an image cannot be a file of the kernel's own file systems",
    );
}

fn with_bind(plan: &HandMade, source: &Path) -> HandMade {
    let mut plan = plan.clone();
    plan.bind(source, "/mnt");
    plan
}

#[test]
fn what_has_no_place_in_a_file_system_cannot_be_bound() {
    let (world, _, plan) = world_and_plan();
    let plan = with_bind(&plan, Path::new("/"));
    for opened in ["s:", "f:/dev/null", "m:/dev/null"] {
        refused(&world, &plan.clone().open_as(1, opened), "while cloning a source");
    }
    // A namespace file can be cloned, but the kernel keeps mount namespaces out of each other.
    let namespace = plan.clone().open_as(1, "r:/proc/self/ns/mnt");
    refused(&world, &namespace, "while mounting at /mnt");
    refused(&world, &plan.open_as(1, "-:"), "looking for an inherited descriptor");
}

#[test]
fn a_bind_shows_what_was_opened_and_not_what_has_its_name_now() {
    let (world, _, plan) = world_and_plan();
    let (checked, other) = (world.mkdir("checked"), world.mkdir("other"));
    world.write("checked/which", "checked");
    world.write("other/which", "other");
    let plan = with_bind(&plan, &checked).running(&world, "cat /mnt/which");
    let (program, arguments) = plan.open_as(1, "p:/proc/self/fd/9").prepare(&world);
    let swap = "exec 9<\"$0\"; mv \"$0\" \"$0.old\"; mv \"$1\" \"$0\"; shift; exec \"$@\"";
    world
        .program("/bin/bash")
        .args(["-c", swap])
        .args([&checked, &other])
        .arg(program)
        .args(arguments)
        .run()
        .assert_ok()
        .assert_stdout("checked");
}
