//! What a container's program has, what it can see, and what is left of those who made it.

use crate::stops::{COUNT, pry};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use protocol::Mount;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use tests::{HandMade, Running, User, World};

fn running(script: &str) -> (World, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut plan = HandMade::bare(&world, &[], &image).running(&world, script);
    plan.plan.mounts.push(Mount::Proc);
    (world, plan)
}

#[test]
fn ids_and_groups_are_the_callers_and_every_capability_is_gone() {
    let script = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let (world, plan) = running(script);
    let groups: Vec<String> = (300..400).map(|group: u32| group.to_string()).collect();
    let (uid, gid) = (world.user().uid.to_string(), world.user().gid.to_string());
    let (program, arguments) = plan.prepare(&world);
    let output = world
        .program("setpriv")
        .as_root()
        .args(["--reuid", &uid, "--regid", &gid, "--groups", &groups.join(",")])
        .args(["--inh-caps", "+chown,+dac_override", "--"])
        .arg(program)
        .args(arguments)
        .run()
        .assert_ok();
    let mut expected = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n");
    expected += &format!("Groups:\t{} \n", groups.join(" "));
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        expected += &format!("Cap{set}:\t0000000000000000\n");
    }
    expected += "NoNewPrivs:\t1\nSeccomp:\t0\n";
    assert_eq!(output.stdout, expected);
}

#[test]
fn a_caller_whose_group_is_roots_gets_nothing_else_of_roots() {
    let (world, plan) = running("grep -E '^(Uid|Gid|CapBnd|CapPrm):' /proc/self/status | tr '\t' ' '");
    let user = User { gid: 0.into(), ..User::first() }.in_groups(vec![0.into()]);
    let (uid, none) = (user.uid, "0000000000000000");
    let output = plan.hand_over(&world).as_user(user).cwd("/").run().assert_ok();
    output.assert_stdout(&format!(
        "Uid: {uid} {uid} {uid} {uid}\nGid: 0 0 0 0\nCapPrm: {none}\nCapBnd: {none}"
    ));
}

#[test]
fn nothing_privileged_can_be_done_inside() {
    let script = "mount -t tmpfs t /mnt; umount /proc; mknod /tmp/n c 1 3; chroot / true; hostname x; \
        unshare -m true; nsenter -t 1 -m true; ls /proc/1/root/; cat /proc/1/environ; kill -0 1; chown 0 /proc/self/fd; \
        echo >/proc/sys/kernel/hostname";
    let (world, plan) = running(&format!("for n in 1; do {script}; done 2>/dev/null; echo end"));
    plan.hand_over(&world).run().assert_ok().assert_stdout("end");
}

#[test]
fn while_a_container_runs_none_of_its_processes_is_roots() {
    for pid_namespace in [false, true] {
        let (world, mut plan) = running("echo ready; read line; true");
        plan.plan.namespaces.pid = pid_namespace;
        let running = plan.hand_over(&world).spawn().wait_for("ready");
        let processes = world.processes();
        assert_eq!(processes.len(), 1 + usize::from(pid_namespace));
        let uid = world.user().uid;
        for process in processes {
            let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
            assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "{status}");
            for set in ["Prm", "Eff", "Inh", "Amb", "Bnd"] {
                assert!(status.contains(&format!("Cap{set}:\t0000000000000000\n")), "{status}");
            }
            assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Threads:\t1\n"), "{status}");
            for fd in
                fs::read_dir(format!("/proc/{process}/fd")).expect("root may look").filter_map(Result::ok)
            {
                let target = fs::read_link(fd.path()).unwrap_or_default();
                assert!(!target.is_absolute(), "{process} holds {}", target.display());
            }
        }
        running.finish().assert_ok();
    }
}

#[test]
fn a_container_with_its_own_process_ids_ends_with_the_process_that_waits_for_it() {
    let (world, mut plan) = running("echo ready; sleep 1000");
    plan.plan.namespaces.pid = true;
    let running = plan.hand_over(&world).spawn().wait_for("ready");
    running.signal(Signal::SIGKILL);
    running.finish();
    world.assert_nothing_left();
}

#[test]
fn the_starters_deadline_does_not_count_for_what_it_started() {
    let (world, mut plan) = running("echo ready; sleep 11; echo done");
    let outside = plan.hand_over(&world).spawn();
    plan.plan.namespaces.pid = true;
    let inside = plan.hand_over(&world).spawn();
    for running in [outside, inside] {
        running.finish().assert_ok().assert_stdout("ready\ndone");
    }
}

/// Whether a stopped process still has root's privilege.
fn is_privileged(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    let stopped = status.contains("\nState:\tT");
    effective == Some("0") && stopped
}

fn children(pid: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn stop(pid: Pid) {
    let _ = nix::sys::signal::kill(pid, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(2));
}

#[test]
fn a_stopped_starter_shows_its_caller_nothing() {
    let (world, plan) = running("echo in");
    let besides = format!("{COUNT}; timeout 5 strace -qq -p $0 -e trace=none && echo traced");
    let (mut starters, mut mounters) = (0, 0);
    for step in 0..150 {
        let held: Running = plan.hand_over(&world).spawn();
        std::thread::sleep(Duration::from_micros(60 * step));
        stop(held.pid);
        let mut stopped = vec![held.pid];
        stopped.extend(children(held.pid));
        for pid in stopped {
            stop(pid);
            if !is_privileged(pid) {
                let _ = nix::sys::signal::kill(pid, Signal::SIGCONT);
                continue;
            }
            let pried = pry(&world, pid, &besides);
            assert!(is_privileged(pid), "{pid} was not held");
            assert_eq!(pried.stdout, "", "{pried}");
            *(if pid == held.pid { &mut starters } else { &mut mounters }) += 1;
            let _ = nix::sys::signal::kill(pid, Signal::SIGCONT);
        }
        let _ = nix::sys::signal::kill(held.pid, Signal::SIGCONT);
        held.finish();
        if starters >= 12 && mounters >= 3 {
            break;
        }
    }
    assert!(starters > 0, "no starter was caught");
}

#[test]
fn another_user_cannot_signal_a_starter() {
    let (world, plan) = running("echo ready; read line; true");
    let held = plan.hand_over(&world).spawn().wait_for("ready");
    let kill = world.program("/bin/sh").args(["-c", "kill -9 $0", &held.pid.to_string()]);
    let killed = kill.as_user(User::second()).cwd("/").run();
    assert_ne!(killed.status, Some(0), "{killed}");
    held.finish().assert_ok();
}

/// A `/dev` with a log of the test's, for one command: root's preparation for [`World::after`].
const OWN_LOG: &str = "mkdir -p $W/dev; mount -t tmpfs t $W/dev; cp -a /dev/null /dev/zero /dev/tty $W/dev; \
    touch $W/dev/log; mount --bind $W/log $W/dev/log; mount --rbind $W/dev /dev";

#[test]
fn each_request_is_one_line_in_the_log_whatever_it_is_called() {
    let world = World::new();
    let log = UnixDatagram::bind(world.folder().join("log")).expect("it is our folder");
    log.set_nonblocking(true).expect("it is a socket");
    fs::set_permissions(world.folder().join("log"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("it is ours");
    let sandbox = world.busybox_sandbox();
    let evil = world.path("line\nuid=0 \u{1b}[31m%n\u{202e} \"quoted\"");
    let uid = world.user().uid;
    let lines = |plan: &HandMade| {
        let (program, arguments) = plan.prepare(&world);
        let output = world.after(OWN_LOG, program).args(arguments).run();
        assert_eq!(output.status, Some(255), "{output}");
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = log.recv(&mut buffer) {
            lines.push(String::from_utf8(buffer[..length].to_vec()).expect("it is ASCII"));
        }
        lines
    };
    let plan = HandMade::bare(&world, &[], &sandbox).open_as(0, format!("p:{}", evil.display()));
    fs::rename(sandbox, &evil).expect("it is ours");
    let accepted = lines(&plan);
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert!(accepted[0].contains(&format!("accepted uid={uid} gid=")), "{accepted:?}");
    assert!(accepted[0].bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{accepted:?}");
    assert!(accepted[0].contains("\\n") && accepted[0].contains("\\x1b"), "{accepted:?}");
    let mut refused = plan;
    refused.frame = Some(b"no frame".to_vec());
    let refused = lines(&refused.set("argument=\nuid=0"));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains(&format!("refused uid={uid} gid=")), "{refused:?}");
    assert!(!refused[0].contains('\n'), "{refused:?}");
}

/// A log of the world's that has room for nothing more.
fn full_log(world: &World) -> UnixDatagram {
    let path = world.folder().join("log");
    let log = UnixDatagram::bind(&path).expect("it is our folder");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("it is ours");
    let plug = UnixDatagram::unbound().expect("there are sockets");
    plug.set_nonblocking(true).expect("it is a socket");
    while plug.send_to(b"full", &path).is_ok() {}
    log
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    let world = World::new();
    let _log = full_log(&world);
    let plan = HandMade::bare(&world, &[], &world.busybox_sandbox());
    let (program, arguments) = plan.prepare(&world);
    world.after(OWN_LOG, program).args(arguments).run().assert_fatal(HandMade::ACCEPTED);
}

#[test]
fn a_log_that_is_behind_gets_its_line_all_the_same() {
    let world = World::new();
    let log = full_log(&world);
    log.set_read_timeout(Some(Duration::from_secs(2))).expect("it is a socket");
    let plan = HandMade::bare(&world, &[], &world.busybox_sandbox());
    let (program, arguments) = plan.prepare(&world);
    let running = world.after(OWN_LOG, program).args(arguments).spawn();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", running.pid)).unwrap_or_default();
    while !["(starter-suid) S", ") Z"].iter().any(|state| stat().contains(state)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut buffer = [0; 4096];
    let line = std::iter::from_fn(|| log.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
        .find(|line| line != b"full");
    running.finish().assert_fatal(HandMade::ACCEPTED);
    let line = line.expect("a line comes");
    assert!(String::from_utf8_lossy(&line).contains("accepted uid="), "{line:?}");
}
