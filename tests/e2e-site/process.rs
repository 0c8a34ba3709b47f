//! The program as a process: what it has of its caller, how it ends, and what signals do.

use crate::surroundings::{inside, world_and_image};
use nix::sys::signal::Signal;
use nix::unistd::Gid;
use std::fs;
use std::time::Duration;
use tests::{User, World};

#[test]
fn identity_groups_umask_and_signal_state_are_the_callers() {
    let (world, image) = world_and_image();
    // SIGPIPE (bit 12) is not among them: it is at its default inside, as with the incumbents.
    let look = "umask; grep -E '^(Uid|Gid|Groups|SigBlk|SigIgn):' /proc/self/status; ulimit -n";
    let script = format!(
        "umask 027; trap '' USR1 RTMIN+5; ulimit -n 200; {look}; $0 exec \"$1\" sh -c '{}'",
        look.replace('\'', "'\\''")
    );
    let output = world
        .program("/bin/bash")
        .args(["-c", &script])
        .arg(world.installed().lamina())
        .arg(image)
        .run()
        .assert_ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    let (outside, inside) = lines.split_at(lines.len() / 2);
    assert_eq!(outside, inside, "{output}");
    assert!(
        outside.contains(&"SigIgn:\t0000004080000200") || outside.contains(&"SigIgn:\t0000004000000200"),
        "{output}"
    );
}

#[test]
fn no_umask_sets_the_usual_one() {
    let (world, image) = world_and_image();
    let script = "umask 077; $0 exec --no-umask \"$1\" sh -c umask";
    world
        .program("/bin/sh")
        .args(["-c", script])
        .arg(world.installed().lamina())
        .arg(image)
        .run()
        .assert_ok()
        .assert_stdout("0022");
}

#[test]
fn supplementary_groups_are_kept() {
    let (world, image) = world_and_image();
    let gid = world.user().gid;
    let user = world.user().clone().in_groups([gid.as_raw(), 2, 70002].map(Gid::from_raw).into());
    world
        .sh(&[], &image, "grep Groups /proc/self/status")
        .as_user(user)
        .run()
        .assert_ok()
        .assert_stdout(&format!("Groups:\t2 {gid} 70002"));
}

#[test]
fn an_effective_group_of_newgrp_is_kept() {
    let (world, image) = world_and_image();
    let user = User { gid: Gid::from_raw(70002), ..world.user().clone() };
    let script = "grep -E '^Gid' /proc/self/status";
    world
        .sh(&[], &image, script)
        .as_user(user)
        .run()
        .assert_ok()
        .assert_stdout("Gid:\t70002\t70002\t70002\t70002");
}

#[test]
fn root_stays_root_and_keeps_its_capabilities() {
    let (world, image) = world_and_image();
    let script = "id -u; grep CapEff /proc/self/status";
    let of_root = fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let capabilities = of_root.lines().find(|line| line.starts_with("CapEff")).expect("it is listed");
    inside(&world, &[], &image, script)
        .as_root()
        .cwd("/")
        .run()
        .assert_ok()
        .assert_stdout(&format!("0\n{capabilities}"));
}

#[test]
fn endings_have_the_incumbents_words_and_statuses() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    let put = |name: &str, content: &[u8], mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = sandbox.join("bin").join(name);
        fs::write(&path, content).expect("the sandbox can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    put("plain", b"text", 0o644);
    put("no-interpreter", b"#!/no/such/shell\n", 0o755);
    put("bare", b"echo bare \"$1\"\n", 0o755);
    let mut foreign = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    foreign.resize(16, 0);
    foreign.extend([2, 0, 183, 0]);
    foreign.resize(200, 0);
    put("foreign", &foreign, 0o755);
    let exec = |words: &[&str]| world.lamina(["exec"]).arg(&sandbox).args(words).run();
    exec(&["foo"]).assert_fatal("FATAL:   \"foo\": executable file not found in $PATH");
    exec(&["/x"]).assert_fatal("FATAL:   stat /x: no such file or directory");
    exec(&["/bin/plain"]).assert_fatal("permission denied");
    exec(&["/bin"]).assert_status(255);
    exec(&["no-interpreter"]).assert_fatal("a shared library is likely missing in the image");
    exec(&["foreign"]).assert_fatal("image targets 'arm64', cannot run on '");
    exec(&["bare", "shell"]).assert_ok().assert_stdout("bare shell");
    exec(&["sh", "-c", "no-such-program"]).assert_status(127);
    exec(&["false"]).assert_status(1);
    exec(&["sh", "-c", "exit 255"]).assert_status(255);
}

#[test]
fn run_and_test_and_shell_find_what_the_image_has() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    let run = |words: &[&str]| {
        world.lamina(words).arg(&sandbox).arg("argument").stdin("echo shell $0; exit 4").run()
    };
    run(&["run"]).assert_stderr_has("INFO:    No runscript found in container, executing /bin/sh");
    run(&["test"]).assert_ok().assert_stderr_has("INFO:    No test script found in container, exiting");
    let other = world.lamina(["shell", "--shell", "/no/such/shell"]).arg(&sandbox).stdin("exit 4").run();
    other.assert_status(4).assert_stderr_has(
        "WARNING: /no/such/shell is no program in the container: starting /bin/sh instead",
    );
    world.lamina(["shell"]).arg(&sandbox).stdin("echo in; exit 4").run().assert_status(4).assert_stdout("in");
    fs::create_dir(sandbox.join(".singularity.d")).expect("the sandbox can be written");
    for script in ["runscript", "test"] {
        let path = sandbox.join(".singularity.d").join(script);
        fs::write(&path, format!("#!/bin/sh\necho {script} \"$@\"; exit 3\n"))
            .expect("the sandbox can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let word = script.trim_end_matches("script");
        run(&[word]).assert_status(3).assert_stdout(&format!("{script} argument"));
    }
    fs::remove_dir_all(sandbox.join(".singularity.d")).expect("the sandbox can be written");
    fs::remove_file(sandbox.join("bin/sh")).expect("the sandbox can be written");
    run(&["run"]).assert_status(1).assert_stderr_has("No runscript and no /bin/sh");
    run(&["shell"]).assert_status(1).assert_stderr_has("ERROR:   /bin/sh does not exist in container");
    world.lamina(["exec"]).arg(&sandbox).args(["echo", "no shell needed"]).run().assert_ok();
}

#[test]
fn signals_reach_the_program_itself() {
    let (world, image) = world_and_image();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGQUIT] {
        let plain = inside(&world, &[], &image, "echo ready; exec sleep 60").spawn().wait_for("ready");
        // A shell may keep a signal to itself until it has become the other program.
        let comm = format!("/proc/{}/comm", plain.pid);
        while fs::read_to_string(&comm).expect("it runs") == "sh\n" {
            std::thread::sleep(Duration::from_millis(1));
        }
        plain.signal(signal);
        let output = plain.finish();
        assert_eq!(output.signal, Some(signal as i32), "{output}");
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!("trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.02; done");
        let handler = inside(&world, &[], &image, &script).spawn().wait_for("ready");
        handler.signal(signal);
        handler.finish().assert_status(9).assert_stdout("ready\ncaught");
    }
}

#[test]
fn a_stopped_program_goes_on() {
    let (world, image) = world_and_image();
    let running = inside(&world, &[], &image, "echo ready; read line; echo $line").spawn().wait_for("ready");
    running.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(20));
    running.signal(Signal::SIGCONT);
    running.finish().assert_ok();
}

#[test]
fn control_c_on_a_terminal_ends_the_program() {
    let (world, image) = world_and_image();
    // `script` gives its child a terminal of its own and passes on what it reads.
    for (options, status) in [("", 130), ("--pid", 130)] {
        let command = format!(
            "{} exec {options} {} sh -c 'echo ready; sleep 60; echo never'",
            world.installed().lamina().display(),
            image.display()
        );
        let running = world
            .program("/usr/bin/script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .spawn()
            .wait_for("ready")
            .say(b"\x03");
        let output = running.finish();
        assert!(!output.stdout.contains("never"), "{output}");
        output.assert_status(status);
    }
}

#[test]
fn a_shell_on_a_terminal_has_its_prompt_and_ends_with_its_last_status() {
    let (world, image) = world_and_image();
    for (name, prompt) in [("lamina", "Singularity> "), ("apptainer", "Apptainer> ")] {
        let program = world.installed().prefix().join("bin").join(name);
        let command = format!("{} shell {}", program.display(), image.display());
        let terminal = world.program("/usr/bin/script").args(["--quiet", "--return", "--command", &command]);
        let typed = terminal.arg("/dev/null").env("TERM", "dumb").stdin("tty; exit $((6 * 7))\n").run();
        let output = typed.assert_status(42);
        assert!(output.stdout.contains(prompt) && output.stdout.contains("/dev/pts/"), "{output}");
    }
}

#[test]
fn a_closed_standard_descriptor_becomes_the_null_device_and_never_a_file_of_ours() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64);
    // All names are read before the file that takes them is opened.
    let inner =
        "for n in 0 1 2 3 4 5 6 7 8 9; do r=\"$r$n:$(readlink /proc/$$/fd/$n) \"; done; echo $r >seen";
    for closed in [&[0][..], &[1], &[2], &[0, 1, 2]] {
        let closing: String = closed.iter().map(|number| format!(" {number}>&-")).collect();
        let script = format!("\"$0\" exec --overlay \"$2\" \"$1\" sh -c '{inner}'{closing}");
        world
            .program("/bin/sh")
            .args(["-c", &script])
            .arg(world.installed().lamina())
            .args([&image, &overlay])
            .run()
            .assert_ok();
        let seen = fs::read_to_string(world.path("seen")).expect("the container wrote it");
        for (number, word) in seen.split_whitespace().enumerate() {
            let what = &word[2..];
            let expected = match number {
                0..=2 if closed.contains(&number) => what == "/dev/null",
                0..=2 => what.starts_with("pipe:"),
                // The shell reads the names through a pipe.
                _ => what.is_empty() || what.starts_with("pipe:"),
            };
            assert!(expected, "{closing}: {seen}");
        }
    }
}

#[test]
fn with_its_own_process_ids_a_shim_is_process_1_and_reaps() {
    let (world, image) = world_and_image();
    for (name, shim) in [("lamina", "sinit"), ("singularity", "sinit"), ("apptainer", "appinit")] {
        let program = world.installed().prefix().join("bin").join(name);
        let script =
            "cat /proc/1/comm; (sleep 0.05 &) ; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status; exit 7";
        let output =
            world.program(program).args(["exec", "--pid"]).arg(&image).args(["sh", "-c", script]).run();
        output.assert_status(7).assert_stdout(shim);
    }
    for option in ["--no-init", "--compat"] {
        inside(&world, &["--pid", option], &image, "echo $$").run().assert_ok().assert_stdout("1");
    }
    inside(&world, &["--containall", "--no-pid"], &image, "test $$ -gt 2").run().assert_ok();
}

#[test]
fn a_pid_namespace_passes_on_statuses_and_signals() {
    let (world, image) = world_and_image();
    for (script, status) in [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        inside(&world, &["--pid"], &image, script).run().assert_status(status);
    }
    inside(&world, &["--pid"], &image, "exec no-such-program").run().assert_status(127);
    world.lamina(["exec", "--pid"]).arg(&image).arg("foo").run().assert_fatal("executable file not found");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!("trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.02; done");
        let running = inside(&world, &["--pid"], &image, &script).spawn().wait_for("ready");
        running.signal(signal);
        running.finish().assert_status(9).assert_stdout("ready\ncaught");
    }
}

#[test]
fn killing_the_process_outside_ends_everything_in_a_pid_namespace() {
    let (world, image) = world_and_image();
    let running = inside(&world, &["--pid"], &image, "sleep 300 & sleep 300 & echo ready; wait")
        .spawn()
        .wait_for("ready");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.finish().signal, Some(Signal::SIGKILL as i32));
    world.assert_nothing_left();
}

#[test]
fn an_ipc_namespace_has_no_queues_of_the_host() {
    let (world, image) = world_and_image();
    let of_host = fs::read_link("/proc/self/ns/ipc").expect("there is a /proc");
    for (options, own) in [(&["--ipc"][..], true), (&["-i"], true), (&["--containall"], true), (&[], false)] {
        let output =
            inside(&world, options, &image, "readlink /proc/self/ns/ipc; cat /proc/sysvipc/shm | wc -l")
                .run()
                .assert_ok();
        assert_eq!(output.stdout.lines().next() != of_host.to_str(), own, "{options:?}");
    }
}

#[test]
fn limits_are_kept_and_one_that_is_too_low_is_named() {
    let (world, image) = world_and_image();
    let limited = |what: &str, limit: u32| {
        let script = format!("ulimit -S {what} {limit}; exec \"$0\" exec \"$1\" sh -c 'ulimit {what}'");
        let command = world.program("/bin/sh").args(["-c", &script]);
        command.arg(world.installed().lamina()).arg(&image).run()
    };
    limited("-n", 64).assert_ok().assert_stdout("64");
    limited("-v", 4_000_000).assert_ok().assert_stdout("4000000");
    limited("-n", 24).assert_fatal("the limit on open files is too low for the starter");
}

#[test]
fn what_is_given_to_the_program_may_be_long() {
    let (world, image) = world_and_image();
    let long = "x".repeat(100_000);
    let command = world.lamina(["exec"]).arg(&image).args(["sh", "-c", "echo $# ${#1} ${#X}", "sh"]);
    let output = command.args([&long; 10]).env("X", &long).run();
    output.assert_ok().assert_stdout("10 100000 100000");
}

#[test]
fn somebody_without_an_account_is_told() {
    let (world, image) = world_and_image();
    let script = "exec setpriv --reuid 59999 --regid 59999 --clear-groups \"$0\" exec \"$1\" true";
    world
        .program("/bin/sh")
        .as_root()
        .args(["-c", script])
        .arg(world.installed().lamina())
        .arg(image)
        .run()
        .assert_fatal("user id 59999 has no account on this host");
    assert_ne!(User::first().uid.as_raw(), 59999);
}
