//! Instances: started, joined, listed and ended.

use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::{Instance, Output, User, World};

fn names(list: &Output) -> Vec<String> {
    let rows = list.stdout.lines().skip(1);
    rows.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn what_one_process_does_in_an_instance_the_next_one_sees_until_it_is_stopped() {
    let world = World::new();
    let image = world.busybox_sif();
    let instance = Instance::start(&world, &["--writable-tmpfs"], &image, "seen");
    instance.exec("echo here > /note").assert_ok();
    instance.exec("cat /note").assert_ok().assert_stdout("here");
    instance.exec("exit 7").assert_status(7);
    let listed = world.lamina(["instance", "list"]).run().assert_ok();
    assert!(listed.stdout.starts_with("INSTANCE NAME"), "{listed}");
    assert!(names(&listed).contains(&instance.name), "{listed}");
    instance.stop(&[]).assert_ok().assert_stderr_has(&format!("Stopping {} instance of", instance.name));
    world.assert_nothing_left();
    let gone = format!("no instance found with name {}", instance.name);
    world.lamina(["exec", &instance.reference(), "true"]).run().assert_fatal(&gone);
    instance.stop(&[]).assert_fatal("no instance found");
}

#[test]
fn a_process_in_an_instance_has_what_its_caller_has_and_no_more() {
    let world = World::new();
    let instance = Instance::start(&world, &[], &world.busybox_sif(), "rights");
    let script = "id -u; id -g; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; ls /proc/self/fd | wc -l";
    let output = instance.exec(script).assert_ok();
    let (uid, gid) = (world.user().uid.to_string(), world.user().gid.to_string());
    assert!(output.stdout.starts_with(&format!("{uid}\n{gid}\n")), "{output}");
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert!(output.stdout.contains(&format!("{capabilities}\t0000000000000000\n")), "{output}");
    }
    assert!(output.stdout.contains("NoNewPrivs:\t1\n"), "{output}");
    // The three standard streams, and the one that ls reads the folder through.
    assert!(output.stdout.ends_with("\n4\n"), "{output}");
}

#[test]
fn the_same_works_in_a_user_namespace() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let instance = Instance::start(&world, &["--userns", "--writable-tmpfs"], &image, "userns");
    instance.exec("echo here > /note; id -u").assert_ok().assert_stdout(&world.user().uid.to_string());
    instance
        .exec("cat /note; grep CapEff /proc/self/status")
        .assert_ok()
        .assert_stdout("here\nCapEff:\t0000000000000000");
    instance.stop(&[]).assert_ok();
}

#[test]
fn an_instance_has_its_overlay_for_as_long_as_it_runs() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), world.path("changes.img"));
    let overlay = overlay.display().to_string();
    world.lamina(["overlay", "create", "--size", "64", &overlay]).run().assert_ok();
    let instance = Instance::start(&world, &["--overlay", &overlay], &image, "overlay");
    instance.exec("echo kept > /note").assert_ok();
    let second = world.sh(&["--overlay", &overlay], &image, "true").run().assert_status(255);
    assert!(second.stderr.contains("in use"), "{second}");
    instance.stop(&[]).assert_ok();
    world.sh(&["--overlay", &overlay], &image, "cat /note").run().assert_ok().assert_stdout("kept");
}

#[test]
fn a_name_is_checked_and_taken_once() {
    let world = World::new();
    let image = world.busybox_sif();
    Instance::starting(&world, &[], &image, "a/b").run().assert_fatal("a/b is not a valid instance name");
    let instance = Instance::start(&world, &[], &image, "taken");
    let words = format!("instance {} already exists", instance.name);
    Instance::starting(&world, &[], &image, &instance.name).run().assert_fatal(&words);
    instance.exec("true").assert_ok();
}

#[test]
fn an_instance_is_started_from_an_image_and_not_from_an_instance() {
    let world = World::new();
    let start = Instance::starting(&world, &[], Path::new("instance://one"), "other").run();
    start.assert_fatal("starting an instance from another is not allowed");
}

#[test]
fn a_record_that_cannot_be_understood_is_told_of_and_keeps_its_name() {
    let world = World::new();
    let image = world.busybox_sif();
    let instance = Instance::start(&world, &[], &image, "unclear");
    let log = instance.listed()["logErrPath"].as_str().expect("a path").to_owned();
    let place = PathBuf::from(log.replace("/instances/logs/", "/instances/sing/")).with_extension("");
    instance.stop(&[]).assert_ok();
    let record = place.join(format!("{}.json", instance.name));
    let write = format!("mkdir {0} && echo garbage > {1}", place.display(), record.display());
    world.program("/bin/sh").args(["-c", &write]).run().assert_ok();
    let listed = world.lamina(["instance", "list"]).run().assert_ok();
    let warning = format!("WARNING: Ignoring instance {}: while reading {}", instance.name, record.display());
    listed.assert_stderr_has(&warning);
    Instance::starting(&world, &[], &image, &instance.name)
        .run()
        .assert_fatal(&format!("instance {} already exists", instance.name))
        .assert_stderr_has(&format!("remove {}", place.display()));
    std::fs::remove_dir_all(&place).expect("it is there");
    Instance::starting(&world, &[], &image, &instance.name).run().assert_ok();
}

#[test]
fn a_start_that_fails_says_why_and_leaves_no_record() {
    let world = World::new();
    let name = Instance::unique("fails");
    let missing = world.path("missing.sif");
    Instance::starting(&world, &[], &missing, &name).run().assert_status(255);
    let image = world.busybox_sif();
    let output =
        Instance::starting(&world, &["--cwd", "/no/such/place"], &image, &name).run().assert_status(255);
    assert!(output.stderr.contains("/no/such/place"), "{output}");
    let listed = world.lamina(["instance", "list"]).run().assert_ok();
    assert!(!names(&listed).contains(&name), "{listed}");
    drop(Instance::start(&world, &[], &image, "fails"));
}

/// Starts an instance, and after these milliseconds sends the command signals, with time for others to go on in between.
/// Then the instance runs and is listed, or nothing is left of it; and its name can be had.
fn start_and_send(name: &str, options: &[&str], milliseconds: u64, signals: &[Signal]) {
    let world = World::new();
    let image = world.busybox_sif();
    let instance = Instance { world: &world, name: Instance::unique(name) };
    let start = Instance::starting(&world, options, &image, &instance.name).spawn();
    std::thread::sleep(Duration::from_millis(milliseconds));
    for (number, signal) in signals.iter().enumerate() {
        std::thread::sleep(Duration::from_millis(if number > 0 { 200 } else { 0 }));
        start.signal(*signal);
    }
    start.finish();
    let listed = world.lamina(["instance", "list"]).run().assert_ok();
    if names(&listed).contains(&instance.name) {
        instance.stop(&["--force"]).assert_ok();
    }
    world.assert_nothing_left();
    Instance::starting(&world, options, &image, &instance.name).run().assert_ok();
}

#[test]
fn a_start_that_is_killed_leaves_no_instance_that_nobody_sees() {
    for milliseconds in (2..80).step_by(6) {
        for options in [&[][..], &["--userns"]] {
            start_and_send("unseen", options, milliseconds, &[Signal::SIGSTOP, Signal::SIGKILL]);
        }
    }
}

#[test]
fn a_start_that_is_killed_or_interrupted_leaves_its_name_free() {
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for milliseconds in (0..40).step_by(5) {
            start_and_send("interrupted", &[], milliseconds, &[signal]);
        }
    }
}

#[test]
fn its_own_programs_output_is_in_the_logs_and_lists_say_where() {
    let world = World::new();
    let image = world.busybox_sandbox();
    world.mkdir("busybox/.singularity.d");
    world.write(
        "busybox/.singularity.d/startscript",
        "#!/bin/sh\necho \"started with $1\"; echo oops >&2; exec sleep 600\n",
    );
    world.program("/bin/chmod").args(["755", "busybox/.singularity.d/startscript"]).run().assert_ok();
    let name = Instance::unique("logs");
    Instance::starting(&world, &[], &image, &name).arg("one").run().assert_ok();
    let instance = Instance { world: &world, name };
    let entry = instance.listed();
    assert_eq!(entry["instance"], instance.name.as_str());
    assert_eq!(entry["img"], image.display().to_string());
    let log = |key: &str| {
        let path = entry[key].as_str().expect("a path").to_owned();
        // The script runs beside the command that started it.
        let wait = format!("until [ -s {path} ]; do sleep 0.02; done; cat {path}");
        world.program("/bin/sh").args(["-c", &wait]).run().assert_ok().stdout
    };
    assert!(log("logOutPath").contains("started with one"));
    assert!(log("logErrPath").contains("oops"));
    instance.stop(&[]).assert_ok();
    for key in ["logOutPath", "logErrPath"] {
        std::fs::remove_file(entry[key].as_str().expect("a path")).expect("it was there");
    }
}

#[test]
fn its_first_process_is_written_to_a_file_for_whoever_watches_it() {
    let world = World::new();
    let file = world.write("old.pid", "1\n");
    let instance = Instance::start(&world, &["--pid-file", "old.pid"], &world.busybox_sif(), "watched");
    let written = std::fs::read_to_string(&file).expect("it was there before");
    assert_eq!(written.trim_end(), instance.first().to_string());
    drop(instance);

    let image = world.busybox_sif();
    let other = Instance { world: &world, name: Instance::unique("unwritten") };
    let options = ["--pid-file", "/no/such/folder/pid"];
    let start = Instance::starting(&world, &options, &image, &other.name).run();
    start.assert_ok().assert_stderr_has("WARNING: while").assert_stderr_has("/no/such/folder");
    other.exec("true").assert_ok();
}

#[test]
fn one_that_does_not_want_to_end_is_killed_after_its_time() {
    let world = World::new();
    let image = world.busybox_sandbox();
    world.mkdir("busybox/.singularity.d");
    world.write(
        "busybox/.singularity.d/startscript",
        "#!/bin/sh\ntrap '' INT TERM\necho deaf\nwhile :; do sleep 600; done\n",
    );
    world.program("/bin/chmod").args(["755", "busybox/.singularity.d/startscript"]).run().assert_ok();
    let instance = Instance::start(&world, &[], &image, "stubborn");
    let log = instance.listed()["logOutPath"].as_str().expect("a path").to_owned();
    let wait = format!("until grep -q deaf {log}; do sleep 0.02; done");
    world.program("/bin/sh").args(["-c", &wait]).run().assert_ok();
    instance.stop(&["--timeout", "1"]).assert_ok().assert_stderr_has("(Timeout)");
    world.assert_nothing_left();
}

#[test]
fn a_hundred_start_at_once_and_all_of_them_end() {
    for options in [&[][..], &["--userns"]] {
        let world = World::new();
        let image = world.busybox_sif();
        let many: Vec<_> = (0..100)
            .map(|n| Instance { world: &world, name: Instance::unique(&format!("many-{n}")) })
            .collect();
        let start = |instance: &Instance| Instance::starting(&world, options, &image, &instance.name).spawn();
        let starting: Vec<_> = many.iter().map(start).collect();
        for start in starting {
            start.finish().assert_ok();
        }
        let pattern = Instance::unique("many-*");
        let listed = world.lamina(["instance", "list", &pattern]).run().assert_ok();
        assert_eq!(names(&listed).len(), 100, "{listed}");
        for instance in [&many[0], &many[99]] {
            instance.exec("true").assert_ok();
        }
        world.lamina(["instance", "stop", &pattern]).run().assert_ok();
        world.assert_nothing_left();
    }
}

#[test]
fn a_stop_returns_when_the_images_are_written() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), world.path("changes.img"));
    let overlay = overlay.display().to_string();
    world.lamina(["overlay", "create", "--size", "64", &overlay]).run().assert_ok();
    for round in 0..5 {
        let options = ["--userns", "--overlay", &overlay];
        let instance = Instance::start(&world, &options, &image, "writes");
        instance
            .exec(&format!("head -c 8000000 /dev/zero > /zero-{round}; echo {round} > /note"))
            .assert_ok();
        instance.stop(&[]).assert_ok();
        let read = world.sh(&["--overlay", &overlay], &image, "cat /note").run();
        read.assert_ok().assert_stdout(&round.to_string());
    }
}

#[test]
fn whoever_joins_hears_what_was_settled_before() {
    let world = World::new();
    let instance = Instance::start(&world, &[], &world.busybox_sif(), "settled");
    let exec = |options: &[&str]| {
        world
            .lamina(["exec"])
            .args(options)
            .arg(instance.reference())
            .args(["sh", "-c", "echo $A; pwd"])
            .run()
    };
    let joined = exec(&["--contain", "--memory", "1g", "--env", "A=b", "--cwd", "/etc"]);
    let ignored =
        |flag: &str| format!("WARNING: Ignoring {flag}: the instance has what it was started with\n");
    assert_eq!(joined.stderr, ignored("--contain") + &ignored("--memory"));
    joined.assert_ok().assert_stdout("b\n/etc");
    exec(&["--dry-run"]).assert_fatal("this instance's mounts are made");
}

#[test]
fn nobody_sees_or_stops_another_users_instances_but_root() {
    let world = World::new();
    let instance = Instance::start(&world, &[], &world.busybox_sif(), "owned");
    let of_owner = ["--user", world.user().name.as_str()];
    let list = || world.lamina(["instance", "list"]).args(of_owner);
    list().as_user(User::second()).run().assert_fatal("only root");
    assert!(names(&list().as_root().run().assert_ok()).contains(&instance.name));
    let join = world.lamina(["exec", &instance.reference(), "true"]);
    join.as_user(User::second()).run().assert_fatal("no instance found");
    instance.exec("true").assert_ok();
}
