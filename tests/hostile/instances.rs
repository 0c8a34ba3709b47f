//! What the starter joins, and what it does not.

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::Pid;
use protocol::{Request, frame};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tests::{HandMade, Instance, Output, Running, User, World};

const NONE: &str = "this is no running instance of yours";

/// A request for a process in the instance that the source stands for.
pub(crate) fn joining(world: &World, source: &str) -> HandMade {
    let mut plan = HandMade::bare(world, &[], &world.busybox_sqfs("xz")).open_as(0, source);
    plan.frame = Some(frame::encode(&Request::Join).expect("it is a request"));
    plan
}

fn join(world: &World, source: &str, user: User) -> Output {
    joining(world, source).hand_over(world).as_user(user).run()
}

pub(crate) fn pidfd(pid: Pid) -> String {
    format!("i:{pid}")
}

fn sleeping(world: &World, script: &str) -> Running {
    world
        .program("/bin/sh")
        .args(["-c", &format!("{script}; echo ready; exec sleep 600")])
        .spawn()
        .wait_for("ready")
}

#[test]
fn only_a_running_instance_of_the_callers_own_is_joined() {
    let world = World::new();
    let world = &world;
    let instance = Instance::start(world, &[], &world.busybox_sqfs("gzip"), "hostile-own");
    let first = instance.first();
    // Without a payload init ends at once, but it has been reached.
    join(world, &pidfd(first), User::first()).assert_fatal(HandMade::ACCEPTED);
    join(world, &pidfd(first), User::second()).assert_fatal(NONE);
    join(world, &pidfd(first), User::root()).assert_fatal(NONE);
    let own = sleeping(world, "true");
    let image = world.busybox_sqfs("gzip").display().to_string();
    for source in [pidfd(Pid::from_raw(1)), pidfd(own.pid), format!("r:{image}"), "s:".into(), "p:/".into()] {
        join(world, &source, User::first()).assert_fatal(NONE);
    }
    own.signal(nix::sys::signal::Signal::SIGKILL);
    own.finish();
}

#[test]
fn a_record_that_was_handed_on_or_copied_opens_nothing() {
    let world = World::new();
    let world = &world;
    let instance = Instance::start(world, &[], &world.busybox_sqfs("gzip"), "hostile-record");
    let first = instance.first();
    let record = format!("/proc/{first}/fd/{}", protocol::INSTANCE_FD);
    let copy = world.path("copy").display().to_string();
    for script in [
        // The record itself, held by a process outside of the container.
        format!("exec {}<{record}", protocol::INSTANCE_FD),
        format!("cat {record} > {copy}; exec {}<{copy}", protocol::INSTANCE_FD),
    ] {
        let holder = sleeping(world, &script);
        let held = format!("/proc/{}/fd/{}", holder.pid, protocol::INSTANCE_FD);
        assert!(Path::new(&held).exists(), "{script}");
        join(world, &pidfd(holder.pid), User::first()).assert_fatal(NONE);
        holder.signal(nix::sys::signal::Signal::SIGKILL);
        holder.finish();
    }
}

/// What a record says of the container that a process is in: magic, user, root mount and namespaces.
fn record_of(world: &World, pid: Pid) -> Vec<u8> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("it runs");
    let root = table.lines().rev().find(|line| line.split(' ').nth(4) == Some("/")).expect("there is a root");
    let root = root.split(' ').next().and_then(|id| id.parse().ok()).expect("a number");
    let namespace = |name| fs::metadata(format!("/proc/{pid}/ns/{name}")).expect("it has one").ino();
    let namespaces = ["mnt", "ipc", "uts", "net", "pid_for_children"].map(namespace);
    let numbers = [u64::from_le_bytes(*b"LAMINAI\x01"), world.user().uid.as_raw().into(), root];
    numbers.into_iter().chain(namespaces).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn a_forged_record_opens_no_namespaces_of_its_makers() {
    let world = World::new();
    // The forger's record has the bytes and the seals of a true one.
    let instance = Instance::start(&world, &[], &world.busybox_sqfs("gzip"), "hostile-forged");
    let first = instance.first();
    let record = fs::read(format!("/proc/{first}/fd/{}", protocol::INSTANCE_FD)).expect("root may look");
    assert_eq!(record, record_of(&world, first), "this is what a record is");
    let forged = world.folder().join("forged");
    let mut forger =
        HandMade::bare(&world, &[], &world.busybox_sqfs("xz")).starter("/bin/sleep").set("argument=600");
    forger.frame = Some(Vec::new());
    let last = usize::try_from(protocol::INSTANCE_FD - protocol::SOURCE_FD_FIRST).expect("it is later");
    for number in 0..last {
        forger = forger.open_as(number, "-:");
        forger.source(Path::new("/"));
    }
    let (program, arguments) = forger.open_as(last, format!("k:{}", forged.display())).prepare(&world);
    let script = "echo ready; until [ -e \"$0\" ]; do sleep 0.02; done; exec \"$@\"";
    let forger = world
        .program("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "--mount", "--ipc", "--uts", "--net", "--pid", "--fork"])
        .args(["--kill-child", "sh", "-c", script])
        .arg(&forged)
        .arg(program)
        .args(arguments)
        .spawn()
        .wait_for("ready");
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", forger.pid)).expect("it runs");
    let child = Pid::from_raw(child.trim().parse().expect("one child"));
    let written = world.folder().join("written");
    fs::write(&written, record_of(&world, child)).expect("it is our folder");
    fs::rename(&written, &forged).expect("it is our folder");
    let held = format!("/proc/{child}/fd/{}", protocol::INSTANCE_FD);
    while !fs::read_link(&held).is_ok_and(|held| held.to_string_lossy().starts_with("/memfd:")) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let seals = |pid| {
        let file =
            fs::File::open(format!("/proc/{pid}/fd/{}", protocol::INSTANCE_FD)).expect("root may look");
        fcntl(file, FcntlArg::F_GET_SEALS).expect("it is in memory")
    };
    assert_eq!(seals(child), seals(first));
    join(&world, &pidfd(child), User::first()).assert_fatal(NONE);
    forger.signal(nix::sys::signal::Signal::SIGKILL);
    forger.finish();
}
