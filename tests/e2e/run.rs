//! `exec`, `run` and `shell`: what goes in and what comes out.

use nix::sys::signal::Signal;
use std::fs;
use tests::World;

#[test]
fn a_container_runs_as_the_caller() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let (uid, gid) = (world.user().uid, world.user().gid);
    let output =
        world.lamina(["exec"]).arg(image).args(["sh", "-c", "id -u; id -g; id -un"]).run().assert_ok();
    assert_eq!(output.stdout, format!("{uid}\n{gid}\n{}\n", world.user().name));
}

#[test]
fn every_kind_of_image_runs() {
    let world = World::new();
    for image in
        [world.busybox_sandbox(), world.busybox_sqfs("gzip"), world.busybox_sqfs("xz"), world.busybox_sif()]
    {
        world.lamina(["exec"]).arg(image).args(["echo", "here"]).run().assert_ok().assert_stdout("here");
    }
}

#[test]
fn the_programs_exit_status_and_signal_are_the_commands() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.lamina(["exec"]).arg(&image).args(["sh", "-c", "exit 37"]).run().assert_status(37);
    let killed = world.lamina(["exec"]).arg(&image).args(["sh", "-c", "kill -9 $$"]).run();
    assert_eq!(killed.signal, Some(Signal::SIGKILL as i32), "{killed}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let world = World::new();
    let output = world.lamina(["exec"]).arg(world.busybox_sqfs("gzip")).arg("no-such-program").run();
    output.assert_fatal("no-such-program");
}

#[test]
fn standard_input_and_output_are_the_callers() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let megabyte = vec![b'x'; 1 << 20];
    let output = world.lamina(["exec"]).arg(image).arg("cat").stdin(megabyte).run().assert_ok();
    assert_eq!(output.stdout.len(), 1 << 20);
}

#[test]
fn arguments_arrive_as_they_were_given() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let arguments = ["--overlay", "a b", "", "$HOME", "'", "\\", "*", "\u{fc}"];
    let output =
        world.lamina(["exec"]).arg(image).args(["printf", "[%s]\n"]).args(arguments).run().assert_ok();
    let expected: String = arguments.iter().map(|argument| format!("[{argument}]\n")).collect();
    assert_eq!(output.stdout, expected);
}

#[test]
fn the_working_directory_is_there_and_can_be_written() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let directory = world.mkdir("here/and there");
    let output =
        world.lamina(["exec"]).arg(image).args(["sh", "-c", "pwd; touch mark"]).cwd(&directory).run();
    output.assert_ok().assert_stdout(&directory.display().to_string());
    assert!(directory.join("mark").exists());
}

#[test]
fn variables_are_taken_over_unless_the_environment_is_to_be_clean() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let run = |options: &[&str]| {
        let command =
            world.lamina(["exec"]).args(options).arg(&image).args(["sh", "-c", "echo $TASTE $ADDED"]);
        command.env("TASTE", "sweet").env("SINGULARITYENV_ADDED", "sugar").run().assert_ok()
    };
    run(&[]).assert_stdout("sweet sugar");
    run(&["--cleanenv"]).assert_stdout("sugar");
    run(&["--env", "ADDED=salt"]).assert_stdout("sweet salt");
}

#[test]
fn a_bound_directory_is_seen_and_a_read_only_one_cannot_be_written() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let data = world.mkdir("data");
    world.write("data/file", "content");
    let bind = |options: &str| format!("{}:/mnt/new{options}", data.display());
    let output = world.lamina(["exec", "--bind", &bind("")]).arg(&image).args([
        "sh",
        "-c",
        "cat /mnt/new/file; touch /mnt/new/mark",
    ]);
    output.run().assert_ok().assert_stdout("content");
    assert!(data.join("mark").exists());
    let output =
        world.lamina(["exec", "--bind", &bind(":ro")]).arg(&image).args(["touch", "/mnt/new/other"]).run();
    output.assert_stderr_has("Read-only file system");
    assert!(!data.join("other").exists());
}

#[test]
fn the_image_is_never_changed() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let before = fs::read(&image).expect("it was made");
    let output = world.lamina(["exec"]).arg(&image).args(["touch", "/new"]).run();
    output.assert_status(1).assert_stderr_has("Read-only file system");
    assert!(fs::read(&image).expect("it is there") == before);
}

#[test]
fn with_its_own_process_ids_the_program_sees_no_others() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let output = world
        .lamina(["exec", "--pid"])
        .arg(&image)
        .args(["sh", "-c", "ls -d /proc/[0-9]* | wc -l; exit 5"])
        .run();
    let processes: u32 = output.stdout.trim().parse().unwrap_or_else(|_| panic!("{output}"));
    assert!(processes <= 4, "{output}");
    output.assert_status(5);
}

#[test]
fn the_names_of_the_incumbents_work() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    for name in ["singularity", "apptainer"] {
        let program = world.installed().prefix().join("bin").join(name);
        world
            .program(program)
            .arg("exec")
            .arg(&image)
            .args(["echo", name])
            .run()
            .assert_ok()
            .assert_stdout(name);
    }
}

#[test]
fn a_dry_run_mounts_nothing_and_says_what_would_be() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let output =
        world.lamina(["exec", "--dry-run"]).arg(&image).args(["touch", "/tmp/never"]).run().assert_ok();
    assert!(output.stdout.contains("squashfs"), "{output}");
}
