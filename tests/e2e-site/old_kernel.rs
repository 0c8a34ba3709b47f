//! Kernels that lack newer calls: the other way is taken, or there is one clear refusal.

use crate::surroundings::{inside, world_and_image};
use std::path::Path;
use tests::{Command, Output, World};

const WITHOUT_CALLS: &str = env!("CARGO_BIN_EXE_without-calls");

/// The frontend on a kernel without `calls`, run as the world's user.
fn exec(world: &World, calls: &[&str], options: &[&str], image: &Path, script: &str) -> Command {
    let (uid, gid) = (world.user().uid.to_string(), world.user().gid.to_string());
    world
        .program(WITHOUT_CALLS)
        .as_root()
        .args(calls)
        .args(["--", "setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups", "--"])
        .arg(world.installed().lamina())
        .arg("exec")
        .args(options)
        .arg(image)
        .args(["sh", "-c", script])
}

/// `fsconfig` with `FSCONFIG_SET_FD`, which overlays take since Linux 6.15.
const NO_LAYERS_BY_DESCRIPTOR: &str = "fsconfig:1=5/EINVAL";

#[test]
fn layers_are_named_where_the_kernel_takes_no_descriptors() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    let below = world.busybox_sqfs("xz").display().to_string() + ":ro";
    let data = world.mkdir("data").display().to_string() + ":/new/place";
    world.write("data/file", "bound");
    let run = |options: &[&str], script: &str| {
        exec(&world, &[NO_LAYERS_BY_DESCRIPTOR], options, &image, script).run().assert_ok()
    };
    run(&[], "echo ran").assert_stdout("ran");
    run(&["--bind", &data], "cat /new/place/file").assert_stdout("bound");
    run(&["--writable-tmpfs"], "echo x >/x; cat /x").assert_stdout("x");
    run(&["--overlay", &overlay], "echo kept >/kept; rmdir /root");
    run(&["--overlay", &overlay, "--overlay", &below], "cat /kept; ls -d /root 2>/dev/null; true")
        .assert_stdout("kept");
    // What one way wrote, the other reads.
    inside(
        &world,
        &["--overlay", &overlay, "--bind", &data],
        &image,
        "cat /kept /new/place/file; ls -d /root",
    )
    .run()
    .assert_status(1)
    .assert_stdout("kept\nbound");
}

#[test]
fn nothing_more_is_mounted_the_old_way() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    let options = ["--overlay", &overlay, "--contain"];
    let places = "cut -d ' ' -f 5,6 /proc/self/mountinfo | sort";
    let new = inside(&world, &options, &image, places).run().assert_ok();
    let old = exec(&world, &[NO_LAYERS_BY_DESCRIPTOR], &options, &image, places).run().assert_ok();
    assert_eq!(old.stdout, new.stdout);
}

#[test]
fn protection_that_the_kernel_lacks_is_done_without() {
    let (world, image) = world_and_image();
    for call in [
        "landlock_create_ruleset/ENOSYS",
        "landlock_create_ruleset/EOPNOTSUPP",
        "clone3/ENOSYS",
        "faccessat2/ENOSYS",
    ] {
        exec(&world, &[call], &["--pid"], &image, "echo ran").run().assert_ok().assert_stdout("ran");
    }
}

/// One FATAL line and nothing else that looks like a failure.
fn is_one_refusal(output: Output) {
    let output = output.assert_fatal("");
    assert_eq!(output.stderr.matches("FATAL:").count(), 1, "{output}");
    assert!(output.stdout.is_empty() && !output.stderr.contains("panicked"), "{output}");
}

/// What has come since Linux 5.14, answered as that kernel does.
const AS_LINUX_5_14: &[&str] = &[
    NO_LAYERS_BY_DESCRIPTOR,
    "landlock_create_ruleset/EOPNOTSUPP",
    "process_mrelease/ENOSYS",
    "futex_waitv/ENOSYS",
    "cachestat/ENOSYS",
    "fchmodat2/ENOSYS",
    "futex_wake/ENOSYS",
    "futex_wait/ENOSYS",
    "statmount/ENOSYS",
    "listmount/ENOSYS",
    "mseal/ENOSYS",
];

#[test]
fn the_oldest_kernel_runs_everything() {
    let mut world = World::new();
    // Through the setuid starter, a sandbox too.
    world.conf("allow image overlay on dir = yes\n");
    let image = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(64).display().to_string();
    world.mkdir("data");
    world.write("data/file", "bound");
    let bind = format!("{}:/new/place", world.path("data").display());
    let sandbox = world.busybox_sandbox();
    for (options, image) in [
        (&["--overlay", &overlay, "--contain", "--bind", &bind, "--pid", "--ipc", "--uts"][..], &image),
        (&["--writable-tmpfs", "--bind", &bind], &image),
        (&["--overlay", &overlay, "--bind", &bind], &sandbox),
    ] {
        let script = "cat /new/place/file; echo x >/x && echo , written";
        exec(&world, AS_LINUX_5_14, options, image, script).run().assert_ok().assert_stdout("bound, written");
        world.assert_nothing_left();
    }
}

#[test]
fn whatever_a_newer_call_is_answered_the_container_runs_or_is_refused_once() {
    let (world, image) = world_and_image();
    let options = ["--writable-tmpfs", "--contain", "--pid"];
    for call in [
        "openat2",
        "mount_setattr",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsmount",
        "fsconfig",
        "fsconfig:1=5",
        "close_range",
        "statx",
        "pidfd_open",
        "landlock_create_ruleset",
        "landlock_restrict_self",
        "clone3",
        "faccessat2",
        "rseq",
        "memfd_create",
        "seccomp",
    ] {
        for error in ["ENOSYS", "EINVAL", "EPERM", "EOPNOTSUPP"] {
            let script = "echo ran; grep -c '^NoNewPrivs:.1' /proc/self/status";
            let output = exec(&world, &[&format!("{call}/{error}")], &options, &image, script).run();
            if output.status == Some(0) {
                output.assert_stdout("ran\n1");
            } else {
                is_one_refusal(output);
            }
            world.assert_nothing_left();
        }
    }
}

#[test]
fn a_kernel_that_is_too_old_is_one_clear_refusal() {
    let (world, image) = world_and_image();
    for call in [
        "openat2",
        "mount_setattr",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsmount",
        "fsconfig",
        "close_range",
        "memfd_create",
    ] {
        let output =
            exec(&world, &[&format!("{call}/ENOSYS")], &["--writable-tmpfs"], &image, "echo ran").run();
        if call != "memfd_create" {
            assert!(output.stderr.contains("the starter needs Linux 5.14 or later"), "{output}");
        }
        is_one_refusal(output);
        world.assert_nothing_left();
    }
    // LOOP_CONFIGURE, since Linux 5.8.
    is_one_refusal(exec(&world, &["ioctl:1=19466/EINVAL"], &[], &image, "echo ran").run());
    is_one_refusal(exec(&world, &["pidfd_open/ENOSYS"], &["--pid"], &image, "echo ran").run());
}

#[test]
fn without_the_means_to_confine_what_reads_images_nothing_is_read() {
    let (world, image) = world_and_image();
    is_one_refusal(exec(&world, &["seccomp/ENOSYS"], &[], &image, "echo ran").run());
}
