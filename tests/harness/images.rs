//! The images of a world: a busybox in every wrapping, and empty overlays.

use crate::World;
use crate::machine::installed;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

const BUSYBOX_ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/busybox-root");

/// The release of Debian that packages are installed in.
const DEBIAN: &str = "bookworm";
/// How long an image of it is kept.
const DEBIAN_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

impl World {
    /// A directory with a busybox in it, the user's.
    pub fn busybox_sandbox(&self) -> PathBuf {
        let sandbox = self.path("busybox");
        host(Command::new("cp").arg("-a").args([&cached("root", make_root), &sandbox]));
        host(Command::new("chown").arg("-hR").arg(self.owner()).arg(&sandbox));
        sandbox
    }

    /// A bare squashfs of a busybox; `compression` is one of mksquashfs's words. Everything in it is root's.
    pub fn busybox_sqfs(&self, compression: &str) -> PathBuf {
        let name = format!("busybox-{compression}.sqfs");
        let make = |image: &Path| {
            let root = cached_locked("root", make_root);
            let mut mksquashfs = Command::new("mksquashfs");
            mksquashfs.arg(root).arg(image).args([
                "-noappend",
                "-all-root",
                "-quiet",
                "-no-progress",
                "-comp",
                compression,
            ]);
            host(&mut mksquashfs);
        };
        self.own_copy(&cached(&name, make), &name)
    }

    /// A SIF of a busybox, made by the product.
    pub fn busybox_sif(&self) -> PathBuf {
        let name = "busybox.sif";
        let make = |image: &Path| {
            let root = cached_locked("root", make_root);
            host(Command::new(installed().lamina()).arg("build").arg(image).arg(root));
        };
        self.own_copy(&cached(name, make), name)
    }

    /// A SIF of a small Debian with lists of packages, everything in it with its proper owner.
    pub fn debian_sif(&self) -> PathBuf {
        let image = self.path("debian.sif");
        host(Command::new(installed().lamina()).arg("build").arg(&image).arg(debian_sqfs()));
        self.give(&image);
        image
    }

    /// An ext3 overlay image of `mebibytes`, made without the product. The folders in it are the user's.
    pub fn ext3_overlay(&self, mebibytes: u64) -> PathBuf {
        let name = format!("overlay-{}", self.files().len());
        let (content, image) = (self.mkdir(&name), self.path(&format!("{name}.img")));
        self.mkdir(&format!("{name}/upper"));
        self.mkdir(&format!("{name}/work"));
        // mke2fs cuts the ids of a copied tree to 16 bits in some releases; the first user's fit.
        let owner = format!("root_owner={}", self.owner());
        let size = format!("{mebibytes}M");
        host(Command::new("mkfs.ext3").args(["-q", "-E", &owner, "-d"]).arg(&content).arg(&image).arg(size));
        fs::remove_dir_all(&content).expect("the home can be written");
        self.give(&image);
        image
    }

    /// A bare ext3 of a busybox. Its top folder is the user's, the rest of it root's.
    pub fn busybox_ext3(&self) -> PathBuf {
        let make = |image: &Path| {
            let root = cached_locked("root", make_root);
            let owner = format!("root_owner={}", self.owner());
            let mut mkfs = Command::new("mkfs.ext3");
            mkfs.args(["-q", "-E", &owner, "-d"]).arg(root).arg(image).arg("16M");
            host(&mut mkfs);
        };
        self.own_copy(&cached("busybox.ext3", make), "busybox.ext3")
    }

    /// A squashfs of what `fill` puts into an empty folder, root's.
    pub fn squashfs_of(&self, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
        let folder = TempDir::new().expect("a temporary folder can be made");
        fill(folder.path());
        let image = self.path(&format!("{name}.sqfs"));
        let mut mksquashfs = Command::new("mksquashfs");
        mksquashfs.arg(folder.path()).arg(&image);
        host(mksquashfs.args(["-noappend", "-all-root", "-quiet", "-no-progress"]));
        self.give(&image);
        image
    }

    fn owner(&self) -> String {
        format!("{}:{}", self.user().uid, self.user().gid)
    }

    fn own_copy(&self, cached: &Path, name: &str) -> PathBuf {
        let own = self.path(name);
        fs::copy(cached, &own).expect("an image can be copied");
        self.give(&own);
        own
    }
}

/// The folder that every busybox image is made of; to be read only.
pub(crate) fn busybox_root() -> PathBuf {
    cached("root", make_root)
}

fn make_root(folder: &Path) {
    host(Command::new(BUSYBOX_ROOT).arg(folder));
}

/// Runs a program of the machine's. Panics with its words if it fails.
#[track_caller]
fn host(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A bare squashfs of a small Debian. It comes from the network, so it is kept for as long as its lists of packages are
/// surely good, whatever becomes of the product.
fn debian_sqfs() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = target_folder().join("tmp/lamina-debian");
    let image = folder.join(format!("{DEBIAN}.sqfs"));
    let age = fs::metadata(&image).and_then(|data| data.modified()).map(|made| made.elapsed());
    if !age.is_ok_and(|age| age.is_ok_and(|age| age < DEBIAN_KEPT)) {
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let work = TempDir::new().expect("a temporary folder can be made");
        let (root, unfinished) = (work.path().join("root"), folder.join("unfinished"));
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=apt", "--skip=cleanup/apt/lists", DEBIAN]);
        host(mmdebstrap.arg(&root));
        let mut mksquashfs = Command::new("mksquashfs");
        mksquashfs.arg(&root).arg(&unfinished).args(["-noappend", "-quiet", "-no-progress"]);
        host(mksquashfs.args(["-Xcompression-level", "1"]));
        fs::rename(&unfinished, &image).expect("the target folder can be written");
    }
    image
}

static CACHE: Mutex<()> = Mutex::new(());

/// The image `name`, made by `make` unless it was made before from the same ingredients.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let _one_at_a_time = CACHE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    cached_locked(name, make)
}

fn cached_locked(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = cache_folder();
    let image = folder.join(name);
    if !image.exists() {
        let unfinished = folder.join(format!("{name}.unfinished"));
        let _ = fs::remove_dir_all(&unfinished);
        let _ = fs::remove_file(&unfinished);
        make(&unfinished);
        fs::rename(&unfinished, &image).expect("the cache can be written");
    }
    image
}

/// Where images made from today's ingredients are; those made from others are thrown away.
fn cache_folder() -> PathBuf {
    let folder = target_folder().join("tmp/lamina-images");
    let marked = folder.join(format!("{:x}", ingredients()));
    if !marked.exists() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&marked).expect("the target folder can be written");
    }
    marked
}

fn target_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a test is a file");
    exe.ancestors().nth(3).expect("a test is in target/debug/deps").to_owned()
}

fn ingredients() -> u64 {
    let mut hasher = DefaultHasher::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let busybox =
        std::env::split_paths(&path).map(|folder| folder.join("busybox")).find(|file| file.exists());
    for file in
        [Path::new(BUSYBOX_ROOT), &installed().lamina(), &busybox.expect("packaging/test put a busybox here")]
    {
        let metadata = fs::metadata(file).expect("it exists");
        (file.as_os_str() as &OsStr, metadata.len(), metadata.modified().ok()).hash(&mut hasher);
    }
    hasher.finish()
}
