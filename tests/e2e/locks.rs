//! An image has one writer or many readers, and who comes too late is told who was first.

use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use tests::{Instance, Running, User, World};

const HOLD: &str = "echo ready; cat";
const ONCE: &str = "This command names it more than once: name it once, or with ':ro' wherever it is named.";

/// A busybox, and the text of an empty overlay's path.
fn images(world: &World) -> (PathBuf, String) {
    let overlay = world.ext3_overlay(8);
    (world.busybox_sqfs("gzip"), overlay.display().to_string())
}

/// A container that stays until it is finished.
fn held(world: &World, options: &[&str], image: &Path) -> Running {
    world.sh(options, image, HOLD).spawn().wait_for("ready")
}

fn for_writing(path: &str) -> String {
    format!(
        "FATAL:   while loading overlay images: while locking ext3 partition from {path}: can't open {path} for writing, \
         currently in use by another process\n"
    )
}

fn for_reading(path: &str) -> String {
    format!(
        "FATAL:   while loading overlay images: while locking ext3 partition from {path}: can't open {path} for reading, \
         currently in use for writing by another process\n"
    )
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("there is a /proc");
    name.trim_end().to_owned()
}

#[test]
fn the_second_writer_is_told_process_command_user_and_host_of_the_first() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let first = held(&world, &["--overlay", &overlay], &image);
    let holder = format!(
        "It is in use by process {} (lamina exec) of user {} on {}, since ",
        first.pid,
        world.user().name,
        host_name()
    );
    let second = world.sh(&["--overlay", &overlay], &image, "true").run();
    second.assert_fatal(&for_writing(&overlay)).assert_stderr_has(&holder);
    first.finish().assert_ok();
}

#[test]
fn a_reader_of_a_written_overlay_is_told_its_writer() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let first = held(&world, &["--overlay", &overlay], &image);
    let holder = format!("It is in use by process {} (lamina exec)", first.pid);
    let second = world.sh(&["--overlay", &format!("{overlay}:ro")], &image, "true").run();
    second.assert_fatal(&for_reading(&overlay)).assert_stderr_has(&holder);
    first.finish().assert_ok();
}

#[test]
fn a_writer_is_refused_while_somebody_reads() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let reader = held(&world, &["--overlay", &format!("{overlay}:ro")], &image);
    let writer = world.sh(&["--overlay", &overlay], &image, "true").run();
    writer
        .assert_fatal(&for_writing(&overlay))
        .assert_stderr_has("It is only read there")
        .assert_stderr_has("with ':ro'");
    reader.finish().assert_ok();
    world.sh(&["--overlay", &overlay], &image, "true").run().assert_ok();
}

#[test]
fn readers_share_an_overlay() {
    let world = World::new();
    let (image, overlay) = images(&world);
    world.sh(&["--overlay", &overlay], &image, "echo kept > /note").run().assert_ok();
    let read_only = format!("{overlay}:ro");
    let options = ["--overlay", read_only.as_str()];
    let readers = [(); 3].map(|()| held(&world, &options, &image));
    world.sh(&options, &image, "cat /note").run().assert_ok().assert_stdout("kept");
    for reader in readers {
        reader.finish().assert_ok();
    }
}

#[test]
fn one_overlay_cannot_be_written_twice_in_one_container() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let options = ["--overlay", overlay.as_str(), "--overlay", overlay.as_str()];
    let text = format!(
        "FATAL:   while loading overlay images: can't open {overlay} for writing, already used for writing by this \
         process"
    );
    world.sh(&options, &image, "true").run().assert_fatal(&text).assert_stderr_has(ONCE);
}

#[test]
fn one_overlay_cannot_be_read_and_written_in_one_container() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let read_only = format!("{overlay}:ro");
    let prefix =
        format!("FATAL:   while loading overlay images: while locking ext3 partition from {overlay}: ");
    for (options, verb, used) in [
        ([read_only.as_str(), overlay.as_str()], "writing", "reading"),
        ([overlay.as_str(), read_only.as_str()], "reading", "writing"),
    ] {
        let text =
            format!("{prefix}can't open {overlay} for {verb}, already used for {used} by this process");
        let options = ["--overlay", options[0], "--overlay", options[1]];
        world.sh(&options, &image, "true").run().assert_fatal(&text).assert_stderr_has(ONCE);
    }
}

#[test]
fn an_instance_that_holds_a_lock_is_named_with_the_command_that_ends_it() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let read_only = format!("{overlay}:ro");
    for flow in [&[][..], &["--userns"]] {
        for (first, second, reads) in
            [(&overlay, &overlay, false), (&overlay, &read_only, false), (&read_only, &overlay, true)]
        {
            let instance = Instance::start(&world, &[&["--overlay", first], flow].concat(), &image, "holder");
            let name = &instance.name;
            let listed = world.lamina(["instance", "list"]).run().assert_ok().stdout;
            let row = listed.lines().find_map(|row| row.strip_prefix(name.as_str()));
            let pid = row.and_then(|row| row.split_whitespace().next());
            let pid = pid.unwrap_or_else(|| panic!("no process of {name} in {listed}"));
            let holder =
                format!("It is in use by instance {name} (process {pid}); 'instance stop {name}' ends it.");
            let options = [&["--overlay", second], flow].concat();
            let late = world.sh(&options, &image, "true").run();
            let late = late.assert_fatal("currently in use").assert_stderr_has(&holder);
            assert_eq!(late.stderr.contains("It is only read there"), reads, "{late}");
            instance.stop(&[]).assert_ok();
        }
    }
    world.sh(&["--overlay", &overlay], &image, "true").run().assert_ok();
}

#[test]
fn one_overlay_may_be_read_twice_in_one_container() {
    let world = World::new();
    let (image, overlay) = images(&world);
    world.sh(&["--overlay", &overlay], &image, "echo kept > /note").run().assert_ok();
    let read_only = format!("{overlay}:ro");
    world
        .sh(&["--overlay", &read_only, "--overlay", &read_only], &image, "cat /note")
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

#[test]
fn a_link_to_an_overlay_is_locked_with_it() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let (hard, soft) = (world.path("hard.img"), world.path("soft.img"));
    std::fs::hard_link(&overlay, &hard).expect("it is one file system");
    std::os::unix::fs::symlink(&overlay, &soft).expect("the home can be written");
    let first = held(&world, &["--overlay", &overlay], &image);
    for link in [hard, soft] {
        let link = link.display().to_string();
        let second = world.sh(&["--overlay", &link], &image, "true").run();
        second.assert_fatal("currently in use by another process");
    }
    first.finish().assert_ok();
}

#[test]
fn a_copy_of_an_overlay_is_another_one() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let copy = world.path("copy.img");
    std::fs::copy(&overlay, &copy).expect("it can be copied");
    world.give(&copy);
    let first = held(&world, &["--overlay", &overlay], &image);
    let copy = copy.display().to_string();
    world.sh(&["--overlay", &copy], &image, "true").run().assert_ok();
    first.finish().assert_ok();
}

#[test]
fn a_background_process_keeps_the_overlay_until_it_ends() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let script = "(trap 'echo late > /late; exit' TERM; echo ready; exec >&- 2>&-; while :; do sleep 0.05; done) & wait $!";
    let first = world.sh(&["--overlay", &overlay], &image, script).spawn();
    let first = first.wait_for("ready");
    first.signal(Signal::SIGKILL);
    let killed = first.pid;
    assert_eq!(first.finish().signal, Some(Signal::SIGKILL as i32));
    let second = world.sh(&["--overlay", &overlay], &image, "true").run();
    second
        .assert_fatal(&for_writing(&overlay))
        .assert_stderr_has(&format!("process {killed} (lamina exec)"))
        .assert_stderr_has("one that it left behind may still be using the file");
    let left = world.processes();
    assert!(!left.is_empty());
    for pid in left {
        let _ = nix::sys::signal::kill(pid, Signal::SIGTERM);
    }
    world.assert_nothing_left();
    world.sh(&["--overlay", &overlay], &image, "cat /late").run().assert_ok().assert_stdout("late");
}

#[test]
fn an_embedded_overlay_is_locked_like_one_beside_the_image() {
    let world = World::new();
    let image = world.busybox_sif();
    world.lamina(["overlay", "create", "--size", "64"]).arg(&image).run().assert_ok();
    let path = image.display().to_string();
    let writing = format!("can't open {path} for writing, currently in use by another process");
    let reading = format!("can't open {path} for reading, currently in use for writing by another process");
    let writer = held(&world, &["--writable"], &image);
    for (options, text) in [(&["--writable"][..], &writing), (&[], &reading)] {
        let holder = format!("It is in use by process {}", writer.pid);
        let late = world.sh(options, &image, "true").run();
        late.assert_fatal(text).assert_stderr_has(&holder);
    }
    writer.finish().assert_ok();
    let reader = held(&world, &[], &image);
    world.sh(&[], &image, "true").run().assert_ok();
    world.sh(&["--writable"], &image, "true").run().assert_fatal(&writing);
    reader.finish().assert_ok();
}

#[test]
fn an_overlay_in_use_cannot_be_taken_out_of_its_sif() {
    let world = World::new();
    let image = world.busybox_sif();
    world.lamina(["overlay", "create", "--size", "64"]).arg(&image).run().assert_ok();
    let writer = held(&world, &["--writable"], &image);
    let holder = format!("It is in use by process {}", writer.pid);
    let removal = world.lamina(["sif", "del", "4"]).arg(&image).run();
    removal.assert_status(1).assert_stderr_has(&holder);
    writer.finish().assert_ok();
    world.sh(&["--writable"], &image, "true").run().assert_ok();
}

#[test]
fn a_written_ext3_root_is_locked() {
    let world = World::new();
    let image = world.busybox_ext3();
    let path = image.display().to_string();
    let writer = held(&world, &["--writable"], &image);
    for (options, text) in [
        (&["--writable"][..], "for writing, currently in use by another process"),
        (&[], "for reading, currently in use for writing by another process"),
    ] {
        let text = format!("can't open {path} {text}");
        world.sh(options, &image, "true").run().assert_fatal(&text);
    }
    writer.finish().assert_ok();
    let readers = [(); 2].map(|()| held(&world, &[], &image));
    for reader in readers {
        reader.finish().assert_ok();
    }
}

#[test]
fn read_only_images_are_never_locked() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let layer = world.squashfs_of("layer", |folder| {
        std::fs::write(folder.join("note"), "kept").expect("it is our folder");
    });
    let layer = layer.display().to_string();
    let first = held(&world, &["--overlay", &layer], &image);
    world.sh(&["--overlay", &layer], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    first.finish().assert_ok();
}

#[test]
fn the_posix_locks_of_the_incumbents_are_respected_and_their_process_named() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let file = OpenOptions::new().read(true).write(true).open(&overlay).expect("root may open it");
    let length = file.metadata().expect("it is open").len();
    let lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: i64::try_from(length).expect("it is small"),
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&lock)).expect("nobody else has it");
    let holder = format!("It is in use by process {}", std::process::id());
    world
        .sh(&["--overlay", &overlay], &image, "true")
        .run()
        .assert_fatal(&for_writing(&overlay))
        .assert_stderr_has(&holder);
}

#[test]
fn another_user_is_told_too() {
    let world = World::new();
    let (image, overlay) = images(&world);
    std::fs::set_permissions(&overlay, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("root may change it");
    let first = held(&world, &["--overlay", &overlay], &image);
    let holder =
        format!("It is in use by process {} (lamina exec) of user {} on ", first.pid, world.user().name);
    world
        .sh(&["--overlay", &overlay], &image, "true")
        .as_user(User::second())
        .run()
        .assert_fatal(&for_writing(&overlay))
        .assert_stderr_has(&holder);
    first.finish().assert_ok();
}

#[test]
fn a_container_that_could_not_start_holds_nothing() {
    let world = World::new();
    let (image, overlay) = images(&world);
    let bad = world.write("bad.img", vec![0; 4096]).display().to_string();
    world
        .sh(&["--overlay", &overlay, "--overlay", &bad], &image, "true")
        .run()
        .assert_fatal("image format not recognized");
    world.lamina(["exec", "--overlay", &overlay]).arg(&image).arg("/no/such/program").run();
    world.sh(&["--overlay", &overlay], &image, "true").run().assert_ok();
}
