//! One line in the system's log for every request.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;
use tests::{Command, HandMade, World};

/// A `/dev` with a log in it; the socket of the log is the world's.
const WITH_LOG: &str = "mkdir -p $W/upper $W/work; touch $W/upper/log; \
    mount -t overlay -o lowerdir=/dev,upperdir=$W/upper,workdir=$W/work overlay /dev; mount --bind $W/log /dev/log";

fn log(world: &World) -> UnixDatagram {
    let path = world.folder().join("log");
    let log = UnixDatagram::bind(&path).expect("our folder takes a socket");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).expect("it is ours");
    log.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    log
}

/// The lines that are there after a command has ended.
fn lines(log: &UnixDatagram, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut bytes = [0; 4096];
    for _ in 0..count {
        let length = log.recv(&mut bytes).expect("a line comes");
        lines.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    log.set_nonblocking(true).expect("a socket");
    assert!(log.recv(&mut bytes).is_err(), "there is a line too many after {lines:?}");
    lines
}

fn exec(world: &World, options: &[&str], image: &Path) -> Command {
    world
        .after(WITH_LOG, world.installed().lamina())
        .arg("exec")
        .args(options)
        .arg(image)
        .args(["echo", "ran"])
}

#[test]
fn an_accepted_request_is_one_line_with_who_and_what() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(64);
    let log = log(&world);
    exec(&world, &["--overlay", overlay.to_str().expect("a plain path")], &image)
        .run()
        .assert_ok()
        .assert_stdout("ran");
    let lines = lines(&log, 1);
    let (uid, gid) = (world.user().uid, world.user().gid);
    for part in [
        "lamina-starter[",
        &format!("accepted uid={uid} gid={gid} root=squashfs("),
        &format!("\"{}\")", image.display()),
        "writable=overlay=ext3(",
        &format!("\"{}\")", overlay.display()),
    ] {
        assert!(lines[0].contains(part), "{part}: {lines:?}");
    }
    // Facility authpriv (10), severity informational (6).
    assert!(lines[0].starts_with("<86>"), "{lines:?}");
}

#[test]
fn a_refused_request_is_one_line_with_who_and_why() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let plan = HandMade::bare(&world, &[], &image);
    world.conf("allow container squashfs = no\n");
    let log = log(&world);
    let (program, arguments) = plan.prepare(&world);
    world.after(WITH_LOG, program).args(arguments).run().assert_fatal("configuration disallows");
    let lines = lines(&log, 1);
    let (uid, gid) = (world.user().uid, world.user().gid);
    let part =
        format!("refused uid={uid} gid={gid} reason=\"configuration disallows users from running squashFS");
    assert!(lines[0].contains(&part) && lines[0].starts_with("<85>"), "{lines:?}");
}

#[test]
fn a_request_that_is_no_plan_is_a_line_too() {
    let world = World::new();
    let log = log(&world);
    world.after(WITH_LOG, world.installed().starter_suid()).run().assert_fatal("");
    let lines = lines(&log, 1);
    assert!(lines[0].contains("refused uid="), "{lines:?}");
}

#[test]
fn a_name_of_the_users_choice_cannot_forge_a_line() {
    let world = World::new();
    let plain = world.busybox_sqfs("gzip");
    let image = world.path("a\n<86>lamina-starter[1]: accepted uid=0 \"\x1b[31m\u{e4}.sqfs");
    std::fs::rename(plain, &image).expect("the home can be written");
    let log = log(&world);
    exec(&world, &[], &image).run().assert_ok();
    let line = lines(&log, 1).remove(0);
    let text = line.trim_end_matches(['\n', '\0']);
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    assert!(text.contains("\\n<86>"), "{line:?}");
}

#[test]
fn a_log_that_is_full_or_dead_or_absent_changes_nothing() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let log = log(&world);
    let full = UnixDatagram::unbound().expect("there are sockets");
    full.set_nonblocking(true).expect("a socket");
    while full.send_to(&[b'x'; 1000], world.folder().join("log")).is_ok() {}
    exec(&world, &[], &image).run().assert_ok().assert_stdout("ran");
    drop(log);
    fs::remove_file(world.folder().join("log")).expect("it is ours");
    drop(self::log(&world));
    exec(&world, &[], &image).run().assert_ok().assert_stdout("ran");
    // In an overlay, this device hides what is below it.
    let without = WITH_LOG.replace("touch $W/upper/log", "rm $W/upper/log; mknod $W/upper/log c 0 0");
    let without = without.replace("mount --bind $W/log /dev/log", "test ! -e /dev/log");
    world
        .after(&without, world.installed().lamina())
        .arg("exec")
        .arg(&image)
        .args(["echo", "ran"])
        .run()
        .assert_ok()
        .assert_stdout("ran");
}
