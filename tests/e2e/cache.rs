//! What is kept of fetched images, and fetching that goes on where it was interrupted.

use crate::registries::over_http;
use std::fs;
use std::path::PathBuf;
use tests::{FaultyLine, Layout, Registry, World};

const MIB: u64 = 1 << 20;

/// Every file in the cache, below its folder.
fn kept(world: &World) -> Vec<String> {
    let mut files = Vec::new();
    let mut ahead = vec![world.path("cache/cache")];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                ahead.push(entry.path());
            } else {
                files.push(
                    entry.path().strip_prefix(world.path("cache/cache")).unwrap().display().to_string(),
                );
            }
        }
    }
    files.sort();
    files
}

/// An image with a layer of this many bytes that no compression makes fewer.
fn large(bytes: usize) -> Layout {
    let image = Layout::of_busybox();
    let folder = tempfile::tempdir().unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.take(bytes / 8).flatten().collect();
    fs::write(folder.path().join("noise"), noise).unwrap();
    image.insert(&folder.path().join("noise"), "/noise");
    image
}

#[test]
fn the_cache_is_listed_and_cleaned_by_kind() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&Layout::of_busybox(), "box:1");
    let empty = over_http(&world, &["cache", "list"]).run().assert_ok();
    empty.assert_stdout(
        "There are 0 container file(s) using 0 B and 0 oci blob file(s) using 0 B of space\nTotal space used: 0 B",
    );
    over_http(&world, &["pull", &registry.image("box:1")]).run().assert_ok();
    over_http(&world, &["pull", "--oci", &registry.image("box:1")]).run().assert_ok();
    let list = over_http(&world, &["cache", "list", "--verbose"]).run().assert_ok().stdout;
    assert!(
        list.contains("There are 2 container file(s)") && list.contains("and 2 oci blob file(s)"),
        "{list}"
    );
    for kind in ["oci-tmp", "oci-sif", "blob"] {
        assert!(list.lines().any(|line| line.ends_with(kind)), "{kind}: {list}");
    }
    let list = over_http(&world, &["cache", "list", "-T", "oci-sif"]).run().assert_ok().stdout;
    assert!(list.contains("There are 1 container file(s)"), "{list}");
    let before = kept(&world);
    assert_eq!(before.len(), 4, "{before:?}");
    let dry = over_http(&world, &["cache", "clean", "--dry-run"]).run().assert_ok();
    dry.assert_stderr_has("INFO:    User requested a dry run. Not actually deleting any data!");
    over_http(&world, &["cache", "clean"]).stdin("n\n").run().assert_ok();
    over_http(&world, &["cache", "clean"]).run().assert_ok();
    over_http(&world, &["cache", "clean", "--force", "--days", "1"]).run().assert_ok();
    assert_eq!(kept(&world), before);
    over_http(&world, &["cache", "clean", "--force", "--type", "blob"]).run().assert_ok();
    assert!(kept(&world).iter().all(|name| !name.starts_with("blob")) && kept(&world).len() == 2);
    over_http(&world, &["cache", "clean"]).stdin("y\n").run().assert_ok();
    assert!(kept(&world).is_empty(), "{:?}", kept(&world));
    over_http(&world, &["pull", "--force", &registry.image("box:1")]).run().assert_ok();
    let refused = over_http(&world, &["cache", "clean", "--force", "--type", "all-of-it"]).run();
    refused.assert_fatal("not a valid type: all-of-it");
}

#[test]
fn a_download_goes_on_where_the_line_broke() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&large(8 << 20), "large:1");
    let line = FaultyLine::to(registry.address(), 2 * MIB, 3);
    over_http(&world, &["pull", &format!("docker://{}/large:1", line.address())]).run().assert_ok();
    // Nothing came twice but what was under way in the network's buffers when the line broke.
    assert!(line.sent() > 8 * MIB && line.sent() < 10 * MIB, "{}", line.sent());
    let seen = world.sh(&[], &PathBuf::from("large_1.sif"), "sha256sum </noise").run().assert_ok();
    let own = over_http(&world, &["exec", &registry.image("large:1"), "sh", "-c", "sha256sum </noise"]).run();
    own.assert_ok().assert_stdout(seen.stdout.trim());
}

#[test]
fn a_download_goes_on_where_an_earlier_command_was_killed() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&large(8 << 20), "large:1");
    // Every line breaks after 3 MiB, so that there is time to kill who tries again.
    let line = FaultyLine::to(registry.address(), 3 * MIB, u64::MAX);
    let name = format!("docker://{}/large:1", line.address());
    let fetching = over_http(&world, &["pull", &name]).spawn();
    let part = || fs::read_dir(world.path("cache/cache/blob/blobs/sha256")).into_iter().flatten().flatten();
    let part = || part().find(|entry| entry.path().extension().is_some_and(|ending| ending == "part"));
    while part().is_none_or(|entry| entry.metadata().map_or(0, |found| found.len()) < MIB) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // What is being fetched is not cleaned away.
    over_http(&world, &["cache", "clean", "--force"]).run().assert_ok();
    assert!(part().is_some());
    fetching.signal(nix::sys::signal::Signal::SIGKILL);
    fetching.finish();
    let before = part().unwrap().metadata().unwrap().len();
    let whole = FaultyLine::to(registry.address(), 0, 0);
    // The same blob, whatever the registry is called.
    over_http(&world, &["pull", &format!("docker://{}/large:1", whole.address())]).run().assert_ok();
    assert!(whole.sent() < 10 * MIB - before, "{before} {}", whole.sent());
    assert!(part().is_none());
    world.sh(&[], &PathBuf::from("large_1.sif"), "test -s /noise").run().assert_ok();
}
