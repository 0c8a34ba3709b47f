//! What the starter joins, and what it does not.

use nix::unistd::Pid;
use protocol::{Request, frame};
use std::path::Path;
use tests::{HandMade, Output, Running, User, World};

const NONE: &str = "this is no running instance of yours";

/// A world with an instance of its user's in it, which ends with the test.
struct WithInstance {
    world: World,
    name: String,
    /// Process 1 of the instance, as the host numbers it.
    first: Pid,
}

impl WithInstance {
    fn new(name: &str) -> Self {
        let world = World::new();
        let image = world.busybox_sqfs("gzip");
        let name = format!("hostile-{}-{name}", std::process::id());
        world.lamina(["instance", "start"]).arg(&image).arg(&name).run().assert_ok();
        let listed = world.lamina(["instance", "list", "--json", &name]).run().assert_ok();
        let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("it is JSON");
        let pid = listed["instances"][0]["pid"].as_i64().expect("a number");
        let first = Pid::from_raw(pid.try_into().expect("a process id"));
        Self { world, name, first }
    }
}

impl Drop for WithInstance {
    fn drop(&mut self) {
        self.world.lamina(["instance", "stop", "--force", &self.name]).run();
        self.world.assert_nothing_left();
    }
}

/// Asks the starter for a process in the instance that the source stands for.
fn join(world: &World, source: &str, user: User) -> Output {
    let mut plan = HandMade::bare(world, &[], &world.busybox_sqfs("xz")).open_as(0, source);
    plan.frame = Some(frame::encode(&Request::Join).expect("it is a request"));
    plan.hand_over(world).as_user(user).run()
}

fn pidfd(pid: Pid) -> String {
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
    let instance = WithInstance::new("own");
    let (world, first) = (&instance.world, instance.first);
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
    let instance = WithInstance::new("record");
    let (world, first) = (&instance.world, instance.first);
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
