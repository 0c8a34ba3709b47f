//! Names that are exchanged while a starter is at work.

use crate::interference::{calls, interfere};
use crate::outside::{assert_empty, outside};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use protocol::{Mount, Writable};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tests::{HandMade, Output, World};

/// With this variable each loop goes on for as many seconds; without, for a few.
const SECONDS: &str = "LAMINA_TEST_RACE_SECONDS";
const SECONDS_USUAL: u64 = 6;
/// Exchanges without which a loop proves little.
const EXCHANGES_MIN: u32 = 1000;

/// A sandbox of the user's as root, with binds below `/place`, which can be exchanged with a link to a folder outside.
fn sandbox_with_binds(writable: Writable) -> (World, HandMade, PathBuf) {
    let world = World::new();
    let outside = outside(&world);
    let sandbox = world.busybox_sandbox();
    let marked = world.mkdir("marked");
    world.mkdir("busybox/place/below");
    symlink(&outside, sandbox.join("link")).expect("it is our folder");
    let script = "grep -c '/marked ' /proc/self/mountinfo; true";
    let mut plan = HandMade::bare(&world, &[], &sandbox).running(&world, script);
    plan.plan.mounts.push(Mount::Proc);
    plan.plan.writable = writable;
    plan.bind(&marked, "/place/below");
    plan.bind(&marked, "/place");
    (world, plan, outside)
}

/// What was attached is in the container, or nothing is run.
#[track_caller]
fn is_attached_inside(output: &Output) {
    let attached: u32 = output.stdout.lines().next().and_then(|line| line.parse().ok()).unwrap_or(0);
    assert!(output.status == Some(255) || attached > 0, "{output}");
}

#[test]
fn a_place_exchanged_with_a_link_at_any_call_leads_nowhere_outside() {
    for writable in [Writable::Root, Writable::Nothing] {
        let (world, plan, outside) = sandbox_with_binds(writable);
        let sandbox = world.path("busybox");
        let action = format!("exchange={0}/place,{0}/link", sandbox.display());
        // Before the mounter there is nothing to be found by a name.
        let calls: Vec<_> = calls(&world, &plan).into_iter().filter(|call| call.process == 1).collect();
        let exchange_back = || {
            let (place, link) = (sandbox.join("place"), sandbox.join("link"));
            if fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
                renameat2(AT_FDCWD, &place, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).expect("root may");
            }
        };
        let mut exchanged = 0;
        for call in &calls {
            if let Some((_, output)) = interfere(&world, &plan, call, &action) {
                is_attached_inside(&output);
                exchanged += 1;
            }
            assert_empty(&outside);
            exchange_back();
        }
        assert!(exchanged > 50, "only {exchanged} exchanges");
    }
}

/// Exchanges two names as fast as can be while `start` is called again and again. The numbers of both are printed.
fn while_exchanging(one: &Path, other: &Path, mut start: impl FnMut()) {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS_USUAL);
    let (over, exchanges) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let done = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
                exchanges.fetch_add(u32::from(done.is_ok()), Ordering::Relaxed);
            }
        });
        // A start that panics ends the exchanges too.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _end = End(&over);
        let begin = Instant::now();
        let mut starts = 0;
        while begin.elapsed() < Duration::from_secs(seconds) {
            start();
            starts += 1;
        }
        println!("{} exchanges, {starts} starts", exchanges.load(Ordering::Relaxed));
    });
    let exchanges = exchanges.into_inner();
    assert!(exchanges >= EXCHANGES_MIN, "only {exchanges} exchanges");
}

#[test]
fn exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside() {
    let (world, mut plan, outside) = sandbox_with_binds(Writable::Root);
    let sandbox = world.path("busybox");
    let mut whole = 0;
    while_exchanging(&sandbox.join("place"), &sandbox.join("link"), || {
        plan.plan.writable =
            if plan.plan.writable == Writable::Root { Writable::Nothing } else { Writable::Root };
        let output = plan.hand_over(&world).run();
        is_attached_inside(&output);
        whole += u32::from(output.status == Some(0));
        assert_empty(&outside);
    });
    assert!(whole > 0, "no start came through");
}

/// What the user may not read, and what he may.
fn secret_and_mine(world: &World) -> (PathBuf, PathBuf) {
    let secret = world.folder().join("secret");
    fs::create_dir(&secret).expect("it is our folder");
    fs::write(secret.join("which"), "secret").expect("it is our folder");
    fs::set_permissions(&secret, Permissions::from_mode(0o700)).expect("it is our folder");
    let mine = world.mkdir("mine");
    world.write("mine/which", "mine");
    (secret, mine)
}

#[test]
fn exchanging_the_source_of_a_bind_shows_what_its_user_could_open() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let (secret, mine) = secret_and_mine(&world);
    let link = world.path("link");
    symlink(&secret, &link).expect("the home can be written");
    let option = format!("{}:/mnt", mine.display());
    let mut shown = 0;
    while_exchanging(&mine, &link, || {
        let script = "cat /mnt/which 2>/dev/null";
        let output = world.sh(&["--bind", &option], &image, script).run();
        assert!(!output.stdout.contains("secret"), "{output}");
        shown += u32::from(output.stdout == "mine");
    });
    assert!(shown > 0, "no start came through");
}

#[test]
fn exchanging_an_image_with_another_runs_one_of_them_whole() {
    let world = World::new();
    let one = world.busybox_sqfs("gzip");
    let other = world.busybox_sqfs("xz");
    let whole = |path: &Path| fs::metadata(path).expect("it is there").len();
    let sizes = [whole(&one), whole(&other)];
    assert_ne!(sizes[0], sizes[1], "the images differ");
    let mut ran = 0;
    while_exchanging(&one, &other, || {
        let output = world.sh(&[], &one, "echo in").run();
        let one_of_them = output.stdout == "in\n" && output.status == Some(0);
        assert!(one_of_them || (output.status == Some(255) && output.stdout.is_empty()), "{output}");
        ran += u32::from(one_of_them);
    });
    assert!(ran > 0, "no start came through");
}

#[test]
fn exchanging_an_overlay_with_another_writes_to_the_one_that_was_locked() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let (one, other) = (world.ext3_overlay(8), world.ext3_overlay(8));
    let option = one.display().to_string();
    let mut ran = 0;
    while_exchanging(&one, &other, || {
        let output = world.sh(&["--overlay", &option], &image, "echo x >>/x && echo in").run();
        assert!(output.stdout == "in\n" || output.status == Some(255), "{output}");
        ran += u32::from(output.stdout == "in\n");
        world.assert_nothing_left();
    });
    assert!(ran > 0, "no start came through");
    for overlay in [&one, &other] {
        world.program("e2fsck").arg("-fn").arg(overlay).run().assert_ok();
    }
}
