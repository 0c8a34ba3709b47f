//! `overlay seal`: what the sealed layer has, and what stays of the image around it.

mod support;

use frontend::confined::helper::Programs;
use frontend::image::{self, Access, Format};
use frontend::lock;
use frontend::oci_sif::{self, LayerType};
use frontend::overlay::{self, SealOptions};
use frontend::sif::{Digest, FsType, PartitionType};
use nix::sys::stat::{Mode, SFlag, mknod};
use protocol::Window;
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Place, SOMEBODY, as_somebody, run};

fn options(target: &Path) -> SealOptions {
    SealOptions { program: "lamina".into(), target: target.into(), programs: Programs::default() }
}

fn seal(target: &Path) {
    overlay::seal(&options(target)).unwrap_or_else(|failure| panic!("{failure}"));
}

fn refusal(target: &Path) -> String {
    overlay::seal(&options(target)).unwrap_err().to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Unpacks a sample.
fn sample(name: &str, target: &Path) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    run("zstd", &["-qd", text(&packed), "-o", text(target)]);
}

const KERNEL_MARKS: &str = "../tests/images/overlay-kernel-marks.ext3.zst";
const FUSE_MARKS: &str = "tests/images/busybox-overlay.sif.zst";
const OCI: &str = "tests/images/stale-overlay.oci.sif.zst";

/// A directory with what a writable overlay has, to be filled.
struct Upper(Place);

impl Upper {
    fn new() -> Self {
        let place = Place::new();
        for directory in ["upper", "work"] {
            std::fs::create_dir(place.join(directory)).unwrap();
        }
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("upper").join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn device(&self, name: &str, major: u64, minor: u64) {
        let number = nix::sys::stat::makedev(major, minor);
        mknod(&self.path(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), number).unwrap();
    }

    fn attribute(&self, name: &str, attribute: &str, value: &str) {
        run("setfattr", &["-n", attribute, "-v", value, text(&self.path(name))]);
    }

    /// An ext3 of 24 MiB with all that.
    fn ext3(&self, target: &Path, block_bytes: &str) {
        File::create_new(target).unwrap().set_len(24 << 20).unwrap();
        run("mkfs.ext3", &["-q", "-F", "-b", block_bytes, "-d", text(self.0.path()), text(target)]);
    }
}

/// What is in a squashfs, mounted until this is dropped.
struct Mounted(Place);

impl Mounted {
    fn squashfs(image: &Path, part: Window) -> Self {
        let place = Place::new();
        let option = format!("loop,ro,offset={},sizelimit={}", part.offset, part.size);
        run("mount", &["-t", "squashfs", "-o", &option, text(image), text(place.path())]);
        Self(place)
    }

    fn whole(image: &Path) -> Self {
        Self::squashfs(image, Window { offset: 0, size: std::fs::metadata(image).unwrap().len() })
    }

    /// Layers, highest first, as the kernel shows them together.
    fn overlay(layers: &[&Self]) -> Self {
        let place = Place::new();
        let paths: Vec<&str> = layers.iter().map(|layer| text(layer.0.path())).collect();
        run(
            "mount",
            &["-t", "overlay", "-o", &format!("lowerdir={}", paths.join(":")), "overlay", text(place.path())],
        );
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let found = std::fs::symlink_metadata(self.path(name)).unwrap();
        found.file_type().is_char_device() && found.rdev() == 0
    }

    fn attributes(&self, name: &str) -> Vec<String> {
        let listed = run("getfattr", &["-hdm", "-", text(&self.path(name))]);
        let mut lines: Vec<String> =
            listed.lines().filter(|line| line.contains('=')).map(Into::into).collect();
        lines.sort();
        lines
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

const OPAQUE: [&str; 2] = ["trusted.overlay.opaque=\"y\"", "user.overlay.opaque=\"y\""];

#[test]
fn files_keep_content_owner_mode_time_links_and_attributes() {
    for block_bytes in ["1024", "4096"] {
        let upper = Upper::new();
        // Long enough for blocks of numbers of blocks of numbers.
        let long: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_le_bytes).take(9_000_000).collect();
        upper.write("long", &long);
        upper.write("dir/empty", b"");
        std::fs::hard_link(upper.write("dir/one", b"linked"), upper.path("two")).unwrap();
        let sparse = File::create_new(upper.path("sparse")).unwrap();
        sparse.set_len(50_000_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 49_999_000).unwrap();
        symlink("short", upper.path("link")).unwrap();
        let far = format!("/{}", "far/".repeat(50));
        symlink(&far, upper.path("far")).unwrap();
        upper.device("zero", 1, 5);
        nix::unistd::mkfifo(&upper.path("pipe"), Mode::from_bits_truncate(0o640)).unwrap();
        let deep = format!("{}/{}", "d".repeat(120), "f".repeat(200));
        upper.write(&deep, b"deep");
        chown(upper.path("dir/one"), Some(70_000), Some(4_000_000_000)).unwrap();
        std::fs::set_permissions(upper.path("dir/one"), Permissions::from_mode(0o6751)).unwrap();
        run("touch", &["-d", "@1000000000", text(&upper.path("dir/one"))]);
        upper.attribute("dir/one", "user.note", "hi");
        upper.attribute("dir", "user.long", &"x".repeat(700));
        chown(upper.path(""), Some(70_000), Some(80_000)).unwrap();
        std::fs::set_permissions(upper.path(""), Permissions::from_mode(0o750)).unwrap();

        let place = Place::new();
        let image = place.join("overlay.img");
        upper.ext3(&image, block_bytes);
        std::fs::set_permissions(&image, Permissions::from_mode(0o604)).unwrap();
        seal(&image);
        assert_eq!(std::fs::metadata(&image).unwrap().mode() & 0o7777, 0o604);
        assert_eq!(place.names(), ["overlay.img"]);
        assert!(std::fs::metadata(&image).unwrap().len() < 12 << 20);

        let sealed = Mounted::whole(&image);
        let found = |name: &str| std::fs::symlink_metadata(sealed.path(name)).unwrap();
        assert!(std::fs::read(sealed.path("long")).unwrap() == long);
        assert!(
            std::fs::read(sealed.path("sparse")).unwrap() == std::fs::read(upper.path("sparse")).unwrap()
        );
        assert_eq!(std::fs::read(sealed.path(&deep)).unwrap(), b"deep");
        assert_eq!((found("dir/one").uid(), found("dir/one").gid()), (70_000, 4_000_000_000));
        assert_eq!((found("dir/one").mode() & 0o7777, found("dir/one").mtime()), (0o6751, 1_000_000_000));
        assert_eq!((found("two").ino(), found("two").nlink()), (found("dir/one").ino(), 2));
        assert_eq!(std::fs::read_link(sealed.path("far")).unwrap().to_str(), Some(far.as_str()));
        assert_eq!(std::fs::read_link(sealed.path("link")).unwrap().to_str(), Some("short"));
        assert_eq!(found("zero").rdev(), nix::sys::stat::makedev(1, 5));
        assert!(found("pipe").file_type().is_fifo());
        assert_eq!(sealed.attributes("two"), ["user.note=\"hi\""]);
        assert_eq!(sealed.attributes("dir"), [format!("user.long=\"{}\"", "x".repeat(700))]);
        assert_eq!((found("").uid(), found("").gid(), found("").mode() & 0o7777), (70_000, 80_000, 0o750));
    }
}

#[test]
fn every_mark_of_a_deletion_comes_out_in_the_one_form() {
    let upper = Upper::new();
    for directory in ["a", "b", "c", "d", "e", "f"] {
        std::fs::create_dir(upper.path(directory)).unwrap();
    }
    upper.device("a/kernel", 0, 0);
    std::fs::hard_link(upper.path("a/kernel"), upper.path("a/again")).unwrap();
    upper.write("a/.wh.fuse", b"");
    upper.write("a/.wh.has content", b"x");
    upper.attribute("b", "trusted.overlay.opaque", "y");
    upper.attribute("b", "trusted.overlay.origin", "noise");
    upper.attribute("c", "user.fuseoverlayfs.opaque", "y");
    upper.device("c/.wh..opq", 0, 0);
    upper.write("d/.wh..wh..opq", b"");
    upper.write("d/.wh..wh.plnk", b"");
    upper.attribute("e", "trusted.overlay.opaque", "x");
    upper.write("e/new kernel", b"");
    upper.attribute("e/new kernel", "trusted.overlay.whiteout", "y");
    upper.write("e/empty", b"");
    // Replaced: deleted, and there again.
    upper.write(".wh.f", b"");
    upper.write("a/.wh.there", b"");
    upper.write("a/there", b"");
    let place = Place::new();
    let image = place.join("overlay.img");
    upper.ext3(&image, "4096");
    seal(&image);
    let sealed = Mounted::whole(&image);
    assert_eq!(sealed.names(""), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(sealed.names("a"), [".wh.has content", "again", "fuse", "kernel", "there"]);
    for deleted in ["a/again", "a/fuse", "a/kernel", "e/new kernel"] {
        assert!(sealed.is_whiteout(deleted), "{deleted}");
    }
    for opaque in ["b", "c", "d", "f"] {
        assert_eq!(sealed.attributes(opaque), OPAQUE, "{opaque}");
        assert!(sealed.names(opaque).is_empty(), "{opaque}");
    }
    assert_eq!(sealed.names("e"), ["empty", "new kernel"]);
    assert!(sealed.attributes("e").is_empty());
    assert!(std::fs::read(sealed.path("a/there")).unwrap().is_empty());
}

#[test]
fn what_means_nothing_without_the_layers_below_is_refused_and_named() {
    for (attribute, why) in [
        ("trusted.overlay.redirect", "/moved is a renamed directory of a layer below"),
        ("user.overlay.metacopy", "/moved has its content in a layer below"),
        ("user.containers.override_stat", "/moved has an owner recorded in a way that is not known"),
    ] {
        let upper = Upper::new();
        upper.write("moved/file", b"x");
        upper.attribute("moved", attribute, "x");
        let place = Place::new();
        let image = place.join("overlay.img");
        upper.ext3(&image, "4096");
        let before = std::fs::read(&image).unwrap();
        let refused = refusal(&image);
        assert_eq!(refused, format!("while sealing the overlay in {}: {why}", image.display()));
        assert!(std::fs::read(&image).unwrap() == before);
        assert_eq!(place.names(), ["overlay.img"]);
    }
}

#[test]
fn the_marks_of_a_kernel_and_everything_beside_them_survive() {
    let place = Place::new();
    let image = place.join("overlay.img");
    sample(KERNEL_MARKS, &image);
    seal(&image);
    let sealed = Mounted::whole(&image);
    assert_eq!(
        sealed.names("data"),
        ["base.txt", "gone.txt", "hard.txt", "moved.txt", "new.txt", "soft.txt"]
    );
    assert!(sealed.is_whiteout("data/gone.txt") && sealed.is_whiteout("data/base.txt"));
    assert_eq!(sealed.attributes("opq"), OPAQUE);
    assert_eq!(sealed.attributes("data/new.txt"), ["user.note=\"hi\""]);
    let inode = |name| std::fs::metadata(sealed.path(name)).unwrap().ino();
    assert_eq!(inode("data/hard.txt"), inode("data/moved.txt"));
}

#[test]
fn the_overlay_in_a_sif_becomes_a_squashfs_partition_and_shows_the_same_files() {
    let place = Place::new();
    let path = place.join("x.sif");
    sample(FUSE_MARKS, &path);
    let before = std::fs::metadata(&path).unwrap().len();
    seal(&path);
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after + (60 << 20) < before, "{before} {after}");
    let Format::Sif(sif) = image::open(&path, Access::ReadOnly).unwrap().format else { panic!("a SIF") };
    assert!(sif.ext3_overlays().next().is_none());
    let overlays: Vec<_> = sif.table.partitions(PartitionType::Overlay).collect();
    assert_eq!((overlays.len(), overlays[0].0.id, overlays[0].1), (1, 4, FsType::Squashfs));
    assert_eq!(overlays[0].0.group, sif.table.primary().unwrap().0.group);
    let root = Mounted::squashfs(&path, sif.table.primary().unwrap().0.window());
    let sealed = Mounted::squashfs(&path, overlays[0].0.window());
    let together = Mounted::overlay(&[&sealed, &root]);
    assert_eq!(together.names("data"), ["moved.txt", "new.txt"]);
    assert_eq!(together.names("opq"), ["upper.txt"]);
    assert_eq!(together.names("var/cache"), ["demo"]);
}

#[test]
fn the_overlay_in_an_oci_sif_becomes_a_layer_and_the_file_gives_its_room_back() {
    let place = Place::new();
    let path = place.join("x.oci.sif");
    sample(OCI, &path);
    seal(&path);
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 21);
    let opened = oci_sif::open(&path, Access::ReadOnly).unwrap();
    assert!(opened.image.overlay().is_none());
    assert_eq!(opened.image.layers.len(), 3);
    for layer in &opened.image.layers {
        let digest = Digest::of_part(&opened.file, layer.window, || "reading".into()).unwrap();
        assert_eq!((layer.layer_type(), layer.digest), (LayerType::Squashfs, digest));
    }
    let layers: Vec<Mounted> =
        opened.image.layers.iter().map(|layer| Mounted::squashfs(&path, layer.window)).collect();
    let together = Mounted::overlay(&[&layers[2], &layers[1], &layers[0]]);
    assert_eq!(together.names("data"), ["one.txt", "two.txt"]);
    assert!(!together.path("opq").exists());
    assert_eq!(refusal(&path), "image does not contain a writable overlay");
}

#[test]
fn an_empty_overlay_gives_an_empty_layer() {
    let place = Place::new();
    let image = place.join("overlay.img");
    Upper::new().ext3(&image, "1024");
    seal(&image);
    assert!(Mounted::whole(&image).names("").is_empty());
}

#[test]
fn an_ordinary_user_keeps_owners_and_marks_that_only_root_may_set() {
    let place = Place::new();
    let image = place.join("overlay.img");
    let upper = Upper::new();
    upper.write("dir/file", b"x");
    chown(upper.path("dir/file"), Some(12), Some(34)).unwrap();
    upper.device("dir/gone", 0, 0);
    upper.attribute("dir", "trusted.overlay.opaque", "y");
    upper.ext3(&image, "1024");
    place.give("overlay.img");
    assert!(as_somebody(|| overlay::seal(&options(&image))));
    assert_eq!(std::fs::metadata(&image).unwrap().uid(), SOMEBODY.0);
    let sealed = Mounted::whole(&image);
    let file = std::fs::metadata(sealed.path("dir/file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (12, 34));
    assert!(sealed.is_whiteout("dir/gone"));
    assert_eq!(sealed.attributes("dir"), OPAQUE);
}

#[test]
fn an_overlay_in_use_or_damaged_is_left_alone() {
    let place = Place::new();
    let image = place.join("overlay.img");
    let upper = Upper::new();
    upper.write("dir/file", b"x");
    upper.ext3(&image, "4096");
    let used = File::options().read(true).write(true).open(&image).unwrap();
    let window = Window { offset: 0, size: 24 << 20 };
    lock::take(&used, &image, window, Access::ReadWrite).unwrap();
    assert!(refusal(&image).contains("use"), "{}", refusal(&image));
    drop(used);
    let edit = |command: &str| run("debugfs", &["-w", "-R", command, text(&image)]);
    edit("set_inode_field /upper/dir block[0] 4000000");
    let damaged = refusal(&image);
    assert!(damaged.contains("damaged at inode"), "{damaged}");
    assert_eq!(place.names(), ["overlay.img"]);
}

#[test]
fn what_a_dead_writer_left_in_the_journal_is_sealed_too() {
    let place = Place::new();
    let (image, copy) = (place.join("overlay.img"), place.join("copy.img"));
    Upper::new().ext3(&image, "4096");
    let mounted = Place::new();
    run("mount", &["-o", "loop", text(&image), text(mounted.path())]);
    std::fs::write(mounted.join("upper/note"), "kept").unwrap();
    run("sync", &["-f", text(mounted.path())]);
    run("cp", &[text(&image), text(&copy)]);
    run("umount", &[text(mounted.path())]);
    let Format::Ext3(ext3) = image::open(&copy, Access::ReadOnly).unwrap().format else { panic!("no ext3") };
    assert!(ext3.needs_recovery);
    seal(&copy);
    assert_eq!(std::fs::read_to_string(Mounted::whole(&copy).path("note")).unwrap(), "kept");
    assert_eq!(place.names(), ["copy.img", "overlay.img"]);
}
