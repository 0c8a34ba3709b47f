//! What the tests change around a container, and how they look into one.

use std::fs;
use std::path::{Path, PathBuf};
use tests::{Command, Running, World};

/// A world, and an image of a busybox in it.
pub(crate) fn world_and_image() -> (World, PathBuf) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    (world, image)
}

/// A shell script in a container.
pub(crate) fn inside(world: &World, options: &[&str], image: &Path, script: &str) -> Command {
    world.lamina(["exec"]).args(options).arg(image).args(["sh", "-c", script])
}

/// One line of a mount table.
#[derive(Debug)]
pub(crate) struct MountLine {
    /// Where.
    pub(crate) place: String,
    /// Options of this mount.
    pub(crate) options: Vec<String>,
    /// Type of the file system.
    pub(crate) kind: String,
    /// Options of the file system.
    pub(crate) file_system_options: Vec<String>,
}

/// The mounts of a running program, as the kernel lists them.
pub(crate) fn mounts_of(running: &Running) -> Vec<MountLine> {
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", running.pid)).expect("it runs");
    table.lines().map(mount_line).collect()
}

fn mount_line(line: &str) -> MountLine {
    let (mount, file_system) = line.split_once(" - ").expect("a mount table line has a dash");
    let mount: Vec<&str> = mount.split(' ').collect();
    let file_system: Vec<&str> = file_system.split(' ').collect();
    let words = |text: &str| text.split(',').map(str::to_owned).collect();
    MountLine {
        place: mount[4].to_owned(),
        options: words(mount[5]),
        kind: file_system[0].to_owned(),
        file_system_options: words(file_system[2]),
    }
}

/// The mounts of a container that is started with these options, and its end.
pub(crate) fn mounts_with(world: &World, options: &[&str], image: &Path) -> Vec<MountLine> {
    let running = inside(world, options, image, "echo ready; cat").spawn().wait_for("ready");
    let mounts = mounts_of(&running);
    running.finish().assert_ok();
    mounts
}

/// The places of mounts, sorted; where several are on top of each other, each of them.
pub(crate) fn places(mounts: &[MountLine]) -> Vec<&str> {
    let mut places: Vec<&str> = mounts.iter().map(|mount| mount.place.as_str()).collect();
    places.sort_unstable();
    places
}

/// The top mount at a place.
pub(crate) fn at<'a>(mounts: &'a [MountLine], place: &str) -> Option<&'a MountLine> {
    mounts.iter().rev().find(|mount| mount.place == place)
}
