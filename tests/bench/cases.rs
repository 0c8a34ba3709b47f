//! What is started: each image by the product, as the user, and by the floor, as root.

use crate::start::Start;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::World;

const FLOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/floor.c");
/// MiB of the overlay image.
const OVERLAY_MEBIBYTES: u64 = 64;

/// One image, started both ways. The program to run is still missing.
pub(crate) struct Case {
    /// What it is.
    pub(crate) name: &'static str,
    /// Highest ratio that passes.
    pub(crate) bar: Option<f64>,
    /// The C program.
    pub(crate) floor: Start,
    /// The product.
    pub(crate) product: Start,
}

/// Every case.
pub(crate) fn all(world: &World) -> Vec<Case> {
    let home = home(world);
    let floor = compiled_floor(world);
    let floor = |kind: &str, image: &Path, offset: u64, overlay: Option<&Path>| {
        let (offset, overlay) = (offset.to_string(), overlay.unwrap_or(Path::new("-")));
        Start::new(&floor, None, &home)
            .args([kind])
            .args([image])
            .args([offset])
            .args([overlay])
            .args([&home])
    };
    let product = || Start::new(world.installed().lamina(), Some(world.user()), &home).args(["exec"]);
    let squashfs = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(OVERLAY_MEBIBYTES);
    let sandbox = world.busybox_sandbox();
    let sif = world.busybox_sif();
    vec![
        Case {
            name: "bare squashfs",
            bar: Some(1.25),
            floor: floor("squashfs", &squashfs, 0, None),
            product: product().args([&squashfs]),
        },
        Case {
            name: "squashfs with ext3 overlay",
            bar: Some(1.25),
            floor: floor("squashfs", &squashfs, 0, Some(&overlay)),
            product: product().args(["--overlay"]).args([&overlay, &squashfs]),
        },
        Case {
            name: "SIF",
            bar: Some(1.5),
            floor: floor("squashfs", &sif, squashfs_offset(&sif), None),
            product: product().args([&sif]),
        },
        Case {
            name: "sandbox",
            bar: None,
            floor: floor("directory", &sandbox, 0, None),
            product: product().args([&sandbox]),
        },
    ]
}

/// The user's home in the account database, which is mounted in a container.
fn home(world: &World) -> PathBuf {
    let account = nix::unistd::User::from_uid(world.user().uid).expect("the account database can be read");
    account.expect("test users have accounts").dir
}

fn compiled_floor(world: &World) -> PathBuf {
    let program = world.folder().join("floor");
    let compiler = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(FLOOR).status();
    assert!(compiler.is_ok_and(|status| status.success()), "the floor can be compiled");
    program
}

/// Where the squashfs of a SIF starts: at a page, with its magic number.
fn squashfs_offset(sif: &Path) -> u64 {
    let bytes = fs::read(sif).expect("the image can be read");
    let page = bytes.chunks(4096).position(|page| page.starts_with(b"hsqs"));
    page.expect("a SIF of busybox holds a squashfs") as u64 * 4096
}
