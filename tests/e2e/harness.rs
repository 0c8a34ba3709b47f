//! The harness itself keeps its promises.

use nix::sys::signal::Signal;
use tests::{User, World};

#[test]
fn a_command_runs_as_the_worlds_user_in_his_home() {
    let world = World::new();
    let output = world
        .program("/bin/sh")
        .args(["-c", "id -u; id -G; pwd; env | sort; cat"])
        .stdin("read")
        .run()
        .assert_ok();
    let (id, home) = (world.user().uid, world.home());
    let expected = format!(
        "{id}\n{id}\n{home}\nHOME={home}\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nPWD={home}\nread",
        home = home.display()
    );
    assert_eq!(output.stdout, expected);
}

#[test]
fn other_users_can_be_asked_for() {
    let world = World::new();
    let second = world.program("/usr/bin/id").arg("-u").as_user(User::second()).run();
    second.assert_ok().assert_stdout("70002");
    world.program("/usr/bin/id").arg("-u").as_root().run().assert_ok().assert_stdout("0");
}

#[test]
fn a_configuration_is_seen_by_its_worlds_commands_and_nobody_else() {
    let mut world = World::new();
    world.conf("allow setuid = no\n");
    let conf = world.installed().singularity_conf();
    let seen = world.program("/bin/cat").arg(&conf).run().assert_ok().stdout;
    assert_eq!(seen, "allow setuid = no\n");
    assert_ne!(std::fs::read_to_string(&conf).expect("it is installed"), seen);
}

#[test]
fn a_running_command_can_be_waited_for_and_signalled() {
    let world = World::new();
    let running =
        world.program("/bin/sh").args(["-c", "echo ready; exec sleep 50"]).spawn().wait_for("ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish().signal, Some(Signal::SIGTERM as i32));
}

#[test]
#[should_panic(expected = "left behind")]
fn a_process_that_stays_fails_the_test() {
    let world = World::new();
    world.program("/bin/sh").args(["-c", "sleep 7 >/dev/null 2>&1 &"]).run().assert_ok();
}

#[test]
fn images_are_made_and_belong_to_the_user() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    for image in [world.busybox_sandbox(), world.busybox_sqfs("gzip"), world.ext3_overlay(64)] {
        assert_eq!(std::fs::metadata(&image).expect("it was made").uid(), world.user().uid.as_raw());
    }
    assert_eq!(world.files(), ["busybox", "busybox-gzip.sqfs", "overlay-2.img"]);
}
