//! What a container has not: privilege, and anything that outlives it.

use std::os::unix::fs::PermissionsExt;
use tests::{User, World};

#[test]
fn the_program_has_no_privilege_and_can_get_none() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let script = "grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let output = world.lamina(["exec"]).arg(image).args(["sh", "-c", script]).run().assert_ok();
    let (uid, gid) = (world.user().uid, world.user().gid);
    let mut expected = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n");
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        expected += &format!("Cap{set}:\t0000000000000000\n");
    }
    expected += "NoNewPrivs:\t1\nSeccomp:\t0\n";
    assert_eq!(output.stdout, expected);
}

#[test]
fn a_setuid_program_in_an_image_is_powerless() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    let setuid = sandbox.join("home/id");
    std::fs::copy(sandbox.join("bin/busybox"), &setuid).expect("the sandbox can be written");
    std::fs::set_permissions(&setuid, PermissionsExt::from_mode(0o4755)).expect("it is ours");
    let uid = world.user().uid;
    let script = "/home/id -u; /home/id -ru";
    let output = world.lamina(["exec"]).arg(sandbox).args(["sh", "-c", script]).run();
    output.assert_ok().assert_stdout(&format!(
        "{uid}
{uid}"
    ));
}

#[test]
fn every_mount_is_nosuid_and_nodev_outside_dev() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(64));
    let output = world
        .lamina(["exec", "--overlay"])
        .arg(overlay)
        .arg(image)
        .args(["cat", "/proc/self/mountinfo"])
        .run();
    let output = output.assert_ok();
    for line in output.stdout.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (place, options) = (fields[4], fields[5]);
        assert!(options.contains("nosuid"), "{line}");
        assert!(options.contains("nodev") || place == "/dev" || place.starts_with("/dev/"), "{line}");
    }
}

#[test]
fn no_descriptor_of_the_way_in_is_left_open() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(64));
    // The shell opens one itself to list them.
    let script = "cd /proc/self/fd && ls";
    let output = world.lamina(["exec", "--overlay"]).arg(overlay).arg(image).args(["sh", "-c", script]).run();
    output.assert_ok().assert_stdout("0\n1\n2\n3");
}

#[test]
fn pipes_and_files_that_the_caller_left_open_are_the_programs_and_directories_are_not() {
    let world = World::new();
    let (image, lamina) = (world.busybox_sqfs("gzip"), world.installed().lamina());
    let file = world.write("file", "of the file\n");
    for options in ["", "--pid", "--pid --no-init", "--contain", "--userns", "--userns --pid"] {
        // A limit that leaves them no room is no reason not to run.
        let low = format!(
            "exec 150<{}; ulimit -n 100; {} exec {options} {} true",
            file.display(),
            lamina.display(),
            image.display()
        );
        world.program("/bin/bash").args(["-c", &low]).run().assert_ok();
        // As a shell does for `cat <(echo of the pipe) 9<file`.
        let script = format!(
            "echo of the pipe | {{ {lamina} exec {options} {image} sh -c \
            'cat /dev/fd/7 /dev/fd/9; test -e /proc/self/fd/8 || echo no way out; exec 7<&- 9<&-; \
            cd /proc/self/fd && echo *' 7<&0 8</ 9<{file} </dev/null; }}",
            lamina = lamina.display(),
            image = image.display(),
            file = file.display(),
        );
        let run = world.program("/bin/sh").args(["-c", &script]).run().assert_ok();
        run.assert_stdout("of the pipe\nof the file\nno way out\n0 1 2 3");
    }
}

#[test]
fn no_process_of_ours_is_between_the_shell_and_the_program() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let running = world
        .lamina(["exec"])
        .arg(image)
        .args(["sh", "-c", "echo ready; cat; true"])
        .spawn()
        .wait_for("ready");
    let command = std::fs::read(format!("/proc/{}/cmdline", running.pid)).expect("it runs");
    assert_eq!(String::from_utf8_lossy(&command), "sh\0-c\0echo ready; cat; true\0");
    running.finish().assert_ok();
}

#[test]
fn another_users_files_cannot_be_bound_or_run() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let secret = world.write("secret", "hidden");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let bind = format!("{}:/mnt", secret.display());
    let output = world
        .lamina(["exec", "--bind", &bind])
        .arg(&image)
        .args(["cat", "/mnt"])
        .as_user(User::second())
        .run();
    assert!(output.status != Some(0) && !output.stdout.contains("hidden"), "{output}");
    std::fs::set_permissions(&image, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let output = world.lamina(["exec"]).arg(&image).arg("true").as_user(User::second()).run();
    output.assert_fatal("is not readable by the current user");
}

#[test]
fn the_starter_alone_refuses() {
    let world = World::new();
    world.program(world.installed().starter_suid()).run().assert_fatal("");
    let unprivileged = world.installed().prefix().join("libexec/lamina/bin/starter");
    world.program(unprivileged).run().assert_fatal("this starter works only inside a user namespace");
}
