//! Whatever happens, nothing stays: no mount, loop device, process or file, and nothing half-made is handed over.

use crate::surroundings::{inside, world_and_image};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::{HandMade, Output, World};

#[test]
fn refusals_early_and_late_leave_nothing() {
    let (mut world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    world.mkdir("data");
    let data = world.path("data").display().to_string();
    let before = world.files();
    let onto_file = format!("{data}:/bin/busybox");
    for (conf, options) in [
        // By the frontend, by the starter's policy, and by the mounter with everything mounted already.
        ("", &["--bind", "/no/such/source"][..]),
        ("limit container owners = root\n", &[]),
        ("max loop devices = 0\n", &["--overlay", &overlay]),
        ("", &["--overlay", &overlay, "--bind", &onto_file]),
        ("", &["--writable-tmpfs", "--pid", "--bind", &onto_file]),
        ("", &["--overlay", &overlay, "--cwd", "/no/such/directory"]),
    ] {
        world.conf(conf);
        inside(&world, options, &image, "true").run().assert_fatal("");
        world.assert_nothing_left();
        assert_eq!(world.files(), before);
    }
    world.conf("");
    inside(&world, &["--overlay", &overlay], &image, "true").run().assert_ok();
}

#[test]
fn an_overlay_that_the_kernel_cannot_mount_leaves_nothing() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64);
    let plan = HandMade::bare(&world, &["--overlay", overlay.to_str().expect("a plain path")], &image);
    // The superblock stays as it is; what it points to is gone.
    let mut bytes = fs::read(&overlay).expect("it is ours");
    bytes[2048..1 << 20].fill(0);
    fs::write(&overlay, bytes).expect("it is ours");
    plan.hand_over(&world).run().assert_fatal("while mounting ext3");
    world.assert_nothing_left();
}

/// Moments after the start at which somebody interferes: dense at first, up to well past a start's length.
fn moments() -> impl Iterator<Item = Duration> {
    (0..24).map(|n| Duration::from_micros(150 * n * n))
}

#[test]
fn a_start_that_is_killed_at_any_moment_leaves_nothing_and_frees_its_overlay() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    for options in [&["--overlay", &overlay][..], &["--overlay", &overlay, "--pid", "--contain"]] {
        for moment in moments() {
            let running = inside(&world, options, &image, "sleep 60").spawn();
            std::thread::sleep(moment);
            running.signal(Signal::SIGKILL);
            assert_eq!(running.finish().signal, Some(Signal::SIGKILL as i32), "{moment:?}");
            world.assert_nothing_left();
        }
    }
    // What was written before the kill is there.
    for options in [&["--overlay", &overlay][..], &["--overlay", &overlay, "--pid"]] {
        let script = "echo $$ >/mark; cat /mark; sleep 60";
        let running = inside(&world, options, &image, script).spawn().wait_for("");
        running.signal(Signal::SIGKILL);
        let written = running.finish().stdout;
        world.assert_nothing_left();
        let again = inside(&world, options, &image, "cat /mark").run();
        again.assert_ok().assert_stdout(written.trim_end());
    }
}

/// The children a process has now.
fn children(pid: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let numbers = list.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// Starts the starter, and kills its mounter `delay` after it was seen.
fn with_its_mounter_killed(world: &World, plan: &HandMade, delay: Duration) -> (Output, bool) {
    let running = plan.hand_over(world).spawn();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut killed = false;
    while Instant::now() < deadline && Path::new(&format!("/proc/{}", running.pid)).exists() {
        if let Some(mounter) = children(running.pid).first() {
            std::thread::sleep(delay);
            killed = kill(*mounter, Signal::SIGKILL).is_ok();
            break;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", running.pid)).unwrap_or_default();
        if stat.contains(") Z ") {
            break;
        }
    }
    (running.finish(), killed)
}

#[test]
fn without_its_mounter_there_is_no_container() {
    let (world, image) = world_and_image();
    let plan = HandMade::from(&world, &["--writable-tmpfs", "--contain"], &image);
    let mut refused = 0;
    for moment in moments() {
        let (output, killed) = with_its_mounter_killed(&world, &plan, moment / 8);
        let output = output.assert_status(255);
        // Either the mounter had finished, and init was reached, or the starter says that it was lost.
        let reached_init = output.stderr.contains("while reading the payload");
        let lost = output.stderr.contains("container creation failed");
        assert!(reached_init != lost, "{killed} {output}");
        refused += u32::from(lost);
        world.assert_nothing_left();
    }
    assert!(refused > 0, "the mounter was never caught");
}

#[test]
fn background_processes_keep_their_container_and_its_end_takes_it_along() {
    let (world, image) = world_and_image();
    let script = "(echo up; read line; cat /bin/busybox | wc -c) & exit 3";
    let running = inside(
        &world,
        &["--overlay", world.ext3_overlay(64).to_str().expect("a plain path")],
        &image,
        script,
    )
    .spawn()
    .wait_for("up");
    // The shell is gone; the process in the background still reads the image.
    let output = running.finish().assert_status(3);
    let bytes: u64 =
        output.stdout.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or_default();
    assert!(bytes > 100_000, "{output}");
    world.assert_nothing_left();
}

#[test]
fn a_program_whose_reader_is_gone_ends_like_outside() {
    let (world, image) = world_and_image();
    let script = "\"$0\" exec \"$1\" yes | head -n 1; echo ${PIPESTATUS[0]}";
    world
        .program("/bin/bash")
        .args(["-c", script])
        .arg(world.installed().lamina())
        .arg(&image)
        .run()
        .assert_ok()
        .assert_stdout("y\n141");
}

#[test]
fn thirty_containers_at_once_all_run() {
    let (world, image) = world_and_image();
    let layer = format!("{}:ro", world.busybox_sqfs("xz").display());
    let options = ["--contain", "--writable-tmpfs", "--overlay", &layer];
    let running: Vec<_> = (0..30)
        .map(|number| {
            inside(&world, &options, &image, &format!("echo {number} >/mark; echo up; cat; cat /mark"))
                .spawn()
        })
        .collect();
    let running: Vec<_> = running.into_iter().map(|container| container.wait_for("up")).collect();
    for (number, container) in running.into_iter().enumerate() {
        container.finish().assert_ok().assert_stdout(&format!("up\n{number}"));
    }
    world.assert_nothing_left();
}

#[test]
fn a_container_in_a_container_runs_in_a_user_namespace() {
    let (world, image) = world_and_image();
    // In the outer one no setuid bit counts.
    let script = format!("{} exec {} true", world.installed().lamina().display(), image.display());
    let prefix = world.installed().prefix().display().to_string();
    inside(
        &world,
        &["--bind", &prefix, "--bind", "/lib", "--bind", "/lib64", "--bind", "/usr:/usr"],
        &image,
        &script,
    )
    .run()
    .assert_ok();
}
