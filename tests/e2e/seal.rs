//! Overlays sealed, and the overlays of OCI-SIF images, as far as that needs no OCI runtime.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tests::{Output, World};

const OCI_SIF: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/tests/images/stale-overlay.oci.sif.zst");
/// The calls after which a file is another one than before.
const CHANGING: [&str; 6] = ["pwrite64", "write", "ftruncate", "fallocate", "copy_file_range", "linkat"];

fn overlay(world: &World, words: &[&str], image: &Path) -> Output {
    world.lamina(["overlay"]).args(words).arg(image).run()
}

/// An OCI-SIF of another tool, whose overlay was written to, the user's.
fn oci_sif(world: &World) -> PathBuf {
    let image = world.path("x.oci.sif");
    let unpack = world.program("zstd").args(["-qdf", OCI_SIF, "-o"]).arg(&image);
    unpack.run().assert_ok();
    image
}

fn length(image: &Path) -> u64 {
    fs::metadata(image).expect("it is there").len()
}

/// Bytes that it takes on disk.
fn used(image: &Path) -> u64 {
    fs::metadata(image).expect("it is there").blocks() * 512
}

/// Adds a file, removes one and puts an empty directory in the place of another.
const CHANGE: &str = "echo kept > /note && rm /bin/yes && rm -r /usr && mkdir /usr";
/// Whether all of that is seen.
const SEEN: &str = "cat /note && [ ! -e /bin/yes ] && [ -d /usr ] && [ -z \"$(ls /usr)\" ]";

#[test]
fn a_sealed_sif_shows_what_was_changed_and_is_as_short_as_that() {
    let world = World::new();
    let image = world.busybox_sif();
    let before = length(&image);
    overlay(&world, &["create"], &image).assert_ok();
    world.sh(&["--writable"], &image, CHANGE).as_root().run().assert_ok();
    overlay(&world, &["seal"], &image).assert_ok();
    assert!(length(&image) < before + (1 << 16), "{before} {}", length(&image));
    world.sh(&[], &image, SEEN).run().assert_ok().assert_stdout("kept");
    world.sh(&["--writable"], &image, "true").run().assert_fatal("no SIF writable overlay partition");
    // Another one goes on top.
    overlay(&world, &["create"], &image).assert_ok();
    world.sh(&["--writable"], &image, "echo again > /note").as_root().run().assert_ok();
    overlay(&world, &["seal"], &image).assert_ok();
    world.sh(&[], &image, SEEN).run().assert_ok().assert_stdout("again");
    assert_eq!(world.files(), ["busybox.sif"]);
}

#[test]
fn a_sealed_overlay_image_is_a_layer_for_everybody() {
    let world = World::new();
    let (image, sealed) = (world.busybox_sif(), world.ext3_overlay(16));
    let option = sealed.display().to_string();
    world.sh(&["--overlay", &option], &image, CHANGE).as_root().run().assert_ok();
    overlay(&world, &["seal"], &sealed).assert_ok();
    assert!(length(&sealed) < 1 << 16);
    world.sh(&["--overlay", &option], &image, SEEN).run().assert_ok().assert_stdout("kept");
    let above = world.ext3_overlay(16).display().to_string();
    let options = ["--overlay", &option, "--overlay", &above];
    world.sh(&options, &image, "rm /note; touch /usr/new").as_root().run().assert_ok();
    world.sh(&options, &image, "[ ! -e /note ] && ls /usr").run().assert_ok().assert_stdout("new");
}

#[test]
fn an_overlay_that_a_container_writes_to_is_not_sealed() {
    let world = World::new();
    let (image, used) = (world.busybox_sif(), world.ext3_overlay(16));
    let option = used.display().to_string();
    let run = world.sh(&["--overlay", &option], &image, "echo ready; cat").spawn().wait_for("ready");
    overlay(&world, &["seal"], &used).assert_fatal("in use");
    run.signal(nix::sys::signal::Signal::SIGKILL);
    run.finish();
}

#[test]
fn the_digest_of_an_oci_sif_is_brought_up_to_date_once() {
    let world = World::new();
    let image = oci_sif(&world);
    overlay(&world, &["sync"], &image).assert_ok();
    let sum = world.program("sha256sum").arg(&image).run().assert_ok().stdout;
    assert!(sum.starts_with("765251198e776f19fbc0478792c7d5acb6d80cce19a2e0ae119fd4f2e0fe3533 "), "{sum}");
    let again = overlay(&world, &["sync"], &image).assert_ok();
    again.assert_stderr_has("INFO:    OCI digest matches overlay, no update required.");
}

#[test]
fn an_oci_sif_has_one_overlay_until_it_is_sealed_and_then_none() {
    let world = World::new();
    let image = oci_sif(&world);
    let refused = |words: &[&str], why: &str| {
        overlay(&world, words, &image).assert_fatal(why);
    };
    refused(&["create"], "writable overlay already exists in image");
    overlay(&world, &["seal"], &image).assert_ok();
    assert!(length(&image) < 1 << 21);
    for command in ["seal", "sync"] {
        refused(&[command], "image does not contain a writable overlay");
    }
    overlay(&world, &["create", "--sparse", "--size", "128"], &image).assert_ok();
    let listed = world.lamina(["sif", "list"]).arg(&image).run().assert_ok().stdout;
    let types: Vec<&str> =
        listed.lines().skip(3).filter_map(|row| row.rsplit('|').next()).map(str::trim).collect();
    assert_eq!(types.iter().filter(|name| **name == "OCI.Blob").count(), 6);
    assert_eq!(types.iter().filter(|name| **name == "OCI.RootIndex").count(), 1);
    let why = "native runtime does not support OCI-SIF images, use --oci mode";
    world.sh(&[], &image, "true").run().assert_fatal(why);
}

/// Has a command of `lamina` on a fresh image killed on entering each call that may change a file, and `check` look at
/// what it leaves. Returns how often that was.
fn killed_on_every_change(world: &World, fresh: &Path, words: &[&str], check: impl Fn(&Path, &str)) -> usize {
    let (image, trace) = (world.path("killed.sif"), world.path("trace"));
    let run = |inject: &[&str]| {
        world.program("cp").arg("--sparse=always").args([fresh, &image]).run().assert_ok();
        let strace = world.program("strace").arg("-o").arg(&trace).args(inject);
        strace.arg(world.installed().lamina()).args(words).arg(&image).run()
    };
    run(&[]).assert_ok();
    let traced = fs::read_to_string(&trace).expect("strace wrote it");
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let (mut killed, mut named) = (0, false);
    for line in traced.lines().skip(1) {
        named |= line.contains("killed.sif");
        let Some((name, _)) = line.split_once('(') else { continue };
        let count = counts.entry(name).or_default();
        *count += 1;
        if !named || !CHANGING.contains(&name) {
            continue;
        }
        let inject = format!("inject={name}:signal=KILL:when={count}");
        killed += usize::from(run(&["-e", &inject]).signal.is_some());
        check(&image, &format!("killed at {name} {count}"));
        let files = world.files();
        assert!(files.iter().all(|name| !name.contains(".part")), "{files:?}");
    }
    killed
}

#[test]
fn sealing_a_sif_killed_at_any_moment_loses_nothing() {
    let world = World::new();
    let fresh = world.busybox_sif();
    overlay(&world, &["create", "--sparse"], &fresh).assert_ok();
    world.sh(&["--writable"], &fresh, CHANGE).as_root().run().assert_ok();
    let killed = killed_on_every_change(&world, &fresh, &["overlay", "seal"], |image, when| {
        let seen = world.sh(&[], image, SEEN).run();
        assert_eq!((seen.status, seen.stdout.trim_end()), (Some(0), "kept"), "{when}: {seen}");
        let again = overlay(&world, &["seal"], image);
        assert!(again.status == Some(0) || again.stderr.contains("does not contain"), "{when}: {again}");
    });
    assert!(killed > 8, "{killed}");
}

#[test]
fn sealing_an_overlay_image_killed_at_any_moment_loses_nothing() {
    let world = World::new();
    let (image, fresh) = (world.busybox_sif(), world.ext3_overlay(16));
    world.sh(&["--overlay", &fresh.display().to_string()], &image, CHANGE).as_root().run().assert_ok();
    let killed = killed_on_every_change(&world, &fresh, &["overlay", "seal"], |overlay, when| {
        let option = format!("{}:ro", overlay.display());
        let seen = world.sh(&["--overlay", &option], &image, SEEN).run();
        assert_eq!((seen.status, seen.stdout.trim_end()), (Some(0), "kept"), "{when}: {seen}");
    });
    assert!(killed > 0, "{killed}");
}

#[test]
fn sealing_an_oci_sif_or_giving_it_an_overlay_killed_at_any_moment_leaves_a_whole_image() {
    let world = World::new();
    let fresh = oci_sif(&world);
    let has_overlay = |image: &Path, when: &str| {
        let synced = overlay(&world, &["sync"], image);
        let none = synced.stderr.contains("does not contain a writable overlay");
        assert!(synced.status == Some(0) || none, "{when}: {synced}");
        !none
    };
    let killed = killed_on_every_change(&world, &fresh, &["overlay", "seal"], |image, when| {
        if !has_overlay(image, when) {
            overlay(&world, &["create", "--sparse"], image).assert_ok();
        }
        overlay(&world, &["seal"], image).assert_ok();
        assert!(used(image) < 1 << 22, "{when}: {}", used(image));
    });
    assert!(killed > 8, "{killed}");
    overlay(&world, &["seal"], &fresh).assert_ok();
    let killed = killed_on_every_change(&world, &fresh, &["overlay", "create", "--sparse"], |image, when| {
        if !has_overlay(image, when) {
            overlay(&world, &["create", "--sparse"], image).assert_ok();
        }
        overlay(&world, &["seal"], image).assert_ok();
        assert!(used(image) < 1 << 22, "{when}: {}", used(image));
    });
    assert!(killed > 8, "{killed}");
}
