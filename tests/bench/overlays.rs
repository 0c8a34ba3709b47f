//! What `overlay sync` and `overlay seal` cost, against the programs that do the same work and nothing else.

use crate::start::{Start, Times};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::{Layout, World};

/// How often each is measured.
const ROUNDS: usize = 5;
/// MiB of an overlay.
const MEBIBYTES: &str = "1024";
/// Highest ratio that passes.
const BAR: f64 = 1.1;
/// What is in the overlay that is sealed: every machine with a compiler has some hundred MB there.
const CONTENT: &str = "/usr/lib/gcc";
/// What `overlay seal` tells mksquashfs.
const PACKING: [&str; 6] = ["-noappend", "-no-progress", "-comp", "gzip", "-Xcompression-level", "6"];

/// Both, one line each.
pub(crate) fn compare(world: &World) {
    println!("\noverlays of {MEBIBYTES} MiB, {ROUNDS} times each, in turns; milliseconds, median (least)");
    let product = |command: &str, image: &Path| {
        Start::new(world.installed().lamina(), Some(world.user()), &world.home())
            .args(["-q", "overlay", command])
            .args([image])
    };
    let image = oci_sif(world);
    let (product_sync, hash) = (product("sync", &image), fastest_hash(world, &image));
    row("sync, and a hash of the file", (0..ROUNDS).map(|_| (hash.time(), product_sync.time())));

    let (tree, master) = sealable(world);
    let (image, packed) = (world.path("sealed.img"), world.path("packed.sqfs"));
    let packer = Start::new("/usr/bin/mksquashfs", None, &world.home()).args([tree, packed]).args(PACKING);
    let product_seal = product("seal", &image);
    let seal = || {
        run("cp", &[&master, &image]);
        world.give(&image);
        product_seal.time()
    };
    row("seal, and mksquashfs", (0..ROUNDS).map(|_| (packer.time(), seal())));
}

fn row(name: &str, times: impl Iterator<Item = (Duration, Duration)>) {
    let (floor, product): (Vec<_>, Vec<_>) = times.unzip();
    let (floor, product) = (Times::of(floor), Times::of(product));
    let ratio = floor.median_in(product.median);
    let verdict = if ratio <= BAR { "pass" } else { "miss" };
    let least = product.least.as_secs_f64() / floor.least.as_secs_f64();
    println!(
        "{name:30}{:>20}{:>20}{ratio:>7.2}{least:>8.2}{BAR:>7.2}  {verdict}",
        floor.to_string(),
        product.to_string()
    );
}

/// An OCI-SIF with an overlay, the user's.
fn oci_sif(world: &World) -> PathBuf {
    let layout = Layout::of_busybox();
    layout.copy_to("oci-archive", &world.path("busybox.tar"), "latest");
    world.lamina(["pull", "--oci", "busybox.oci.sif", "oci-archive:busybox.tar"]).run().assert_ok();
    world.lamina(["overlay", "create", "--size", MEBIBYTES, "busybox.oci.sif"]).run().assert_ok();
    world.path("busybox.oci.sif")
}

/// The program that hashes fastest on this machine.
fn fastest_hash(world: &World, image: &Path) -> Start {
    let programs: [&[&str]; 2] = [&["/usr/bin/openssl", "dgst", "-sha256"], &["/usr/bin/sha256sum"]];
    let starts = programs
        .map(|words| Start::new(words[0], Some(world.user()), &world.home()).args(&words[1..]).args([image]));
    let [one, other] = starts;
    if one.time() <= other.time() { one } else { other }
}

/// A tree of files, and an overlay image that has them in `upper`.
fn sealable(world: &World) -> (PathBuf, PathBuf) {
    let (layer, master) = (world.path("layer"), world.path("master.img"));
    fs::create_dir_all(layer.join("upper")).expect("it is our folder");
    fs::create_dir(layer.join("work")).expect("it is our folder");
    run("cp", &[Path::new("-a"), Path::new(CONTENT), &layer.join("upper")]);
    let size = format!("{MEBIBYTES}M");
    let ext3 = [Path::new("-qFd"), &layer, &master, Path::new(&size)];
    run("mkfs.ext3", &ext3);
    (layer.join("upper"), master)
}

fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}
