//! What is started: each image by the product, as the user, and by the floor: as root, or in a user namespace where the
//! product is in one.

use crate::start::Start;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::World;

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
    let (plain, in_namespace) = (compiled(world, "floor"), compiled(world, "floor-fuse"));
    let floor = |kind: &str, image: &Path, offset: u64, overlay: Option<&Path>| {
        let (offset, overlay) = (offset.to_string(), overlay.unwrap_or(Path::new("-")));
        Start::new(&plain, None, &home)
            .args([kind])
            .args([image])
            .args([offset])
            .args([overlay])
            .args([&home])
    };
    let fuse = |image: &Path, overlay: Option<&Path>| {
        Start::new(&in_namespace, Some(world.user()), &home)
            .args([&plain, &world.installed().prefix().join("share/lamina")])
            .args([image, Path::new("0"), overlay.unwrap_or(Path::new("-")), &home])
    };
    let product = || Start::new(world.installed().lamina(), Some(world.user()), &home).args(["exec"]);
    let squashfs = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(OVERLAY_MEBIBYTES);
    let overlay_of_namespaces = world.ext3_overlay(OVERLAY_MEBIBYTES);
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
        Case {
            name: "squashfs through FUSE",
            bar: Some(1.3),
            floor: fuse(&squashfs, None),
            product: product().args(["--userns"]).args([&squashfs]),
        },
        Case {
            name: "both through FUSE",
            bar: Some(1.3),
            floor: fuse(&squashfs, Some(&overlay_of_namespaces)),
            product: product().args(["--userns", "--overlay"]).args([&overlay_of_namespaces, &squashfs]),
        },
    ]
}

/// The user's home in the account database, which is mounted in a container.
fn home(world: &World) -> PathBuf {
    let account = nix::unistd::User::from_uid(world.user().uid).expect("the account database can be read");
    account.expect("test users have accounts").dir
}

/// A program of this folder.
fn compiled(world: &World, name: &str) -> PathBuf {
    let program = world.folder().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench").join(name).with_extension("c");
    let compiler = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source).status();
    assert!(compiler.is_ok_and(|status| status.success()), "{name} can be compiled");
    program
}

/// Where the squashfs of a SIF starts: at a page, with its magic number.
fn squashfs_offset(sif: &Path) -> u64 {
    let bytes = fs::read(sif).expect("the image can be read");
    let page = bytes.chunks(4096).position(|page| page.starts_with(b"hsqs"));
    page.expect("a SIF of busybox holds a squashfs") as u64 * 4096
}
