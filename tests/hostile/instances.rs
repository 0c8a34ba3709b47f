//! What the starter joins, and what it does not.

use nix::unistd::Pid;
use protocol::{Request, frame};
use std::path::Path;
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
