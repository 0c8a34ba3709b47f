//! Images, and the user namespace of an ordinary user in which FUSE servers bring them.

use super::{Place, SOMEBODY, as_somebody, children_of, run};
use frontend::confined::helper::Programs;
use frontend::error::Outcome;
use frontend::fuse::{Owners, Servers};
use frontend::image::{self, Access, Ext3, Format, Squashfs};
use frontend::making::Interrupts;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, getgid, getuid};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the file system of an image with something in front of it begins.
pub(crate) const OFFSET: u64 = 40 << 10;

/// Makes a squashfs of a directory with a file, everything root's, behind `offset` bytes.
pub(crate) fn squashfs(place: &Place, offset: u64) -> PathBuf {
    let (tree, image) = (place.join("tree"), place.join("image.sqfs"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(tree.join("private")).unwrap();
    fs::write(tree.join("private/file"), "from the squashfs").unwrap();
    fs::set_permissions(tree.join("private"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut arguments =
        vec![tree.to_str().unwrap(), image.to_str().unwrap(), "-all-root", "-quiet", "-no-progress"];
    let offset = offset.to_string();
    arguments.extend(["-offset", &offset]);
    run("mksquashfs", &arguments);
    image
}

/// Makes an ext3 of so many MiB that belongs to [`SOMEBODY`], behind `offset` bytes.
pub(crate) fn ext3(place: &Place, offset: u64, mib: u64) -> PathBuf {
    let image = place.join("overlay.img");
    File::create(&image).unwrap().set_len(offset + (mib << 20)).unwrap();
    let owner = format!("root_owner={}:{},offset={offset}", SOMEBODY.0, SOMEBODY.1);
    let blocks = (mib << 10).to_string();
    run("mkfs.ext3", &["-q", "-F", "-b", "1024", "-E", &owner, image.to_str().unwrap(), &blocks]);
    place.give("overlay.img");
    image
}

/// An image as the product opens it, at an offset that is not the format's own.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) offset: u64,
}

impl Opened {
    pub(crate) fn new(path: &Path, offset: u64, access: Access) -> Self {
        let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path).unwrap();
        Self { path: path.into(), file, offset }
    }

    /// What is at the offset, found by looking at a copy without what is in front of it.
    pub(crate) fn content(&mut self) -> Format {
        let mut copy = tempfile::tempfile().unwrap();
        self.file.seek(SeekFrom::Start(self.offset)).unwrap();
        std::io::copy(&mut self.file, &mut copy).unwrap();
        image::inspect(&copy, &self.path).unwrap()
    }

    pub(crate) fn squashfs(&mut self) -> Squashfs {
        let Format::Squashfs(mut found) = self.content() else { panic!("no squashfs") };
        found.window.offset = self.offset;
        found
    }

    pub(crate) fn ext3(&mut self) -> Ext3 {
        let Format::Ext3(mut found) = self.content() else { panic!("no ext3") };
        found.window.offset = self.offset;
        found
    }
}

/// What a test has inside its namespaces.
pub(crate) struct Inside<'a> {
    pub(crate) servers: Servers<'a>,
    pub(crate) place: &'a Place,
}

impl Inside<'_> {
    /// A directory to mount at.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        let at = self.place.join(name);
        fs::create_dir_all(&at).unwrap();
        at
    }

    pub(crate) fn serve_squashfs(&mut self, path: &Path, offset: u64, owners: Owners) -> Outcome<PathBuf> {
        let at = self.at("squashfs");
        let mut image = Opened::new(path, offset, Access::ReadOnly);
        let squashfs = image.squashfs();
        self.servers.squashfs(&image.file, path, squashfs.window, owners, &at).map(|()| at)
    }

    pub(crate) fn serve_ext3(&mut self, path: &Path, offset: u64, access: Access) -> Outcome<PathBuf> {
        let at = self.at("ext3");
        let mut image = Opened::new(path, offset, access);
        let ext3 = image.ext3();
        self.servers.ext3(&image.file, path, ext3, access, &at).map(|()| at)
    }
}

/// User and mount namespaces of this process's own, in which it keeps its ids, or is root.
pub(crate) fn enter_namespaces(as_root: bool) {
    let (uid, gid) = (getuid(), getgid());
    // Changing users hid the process from its own new self.
    nix::sys::prctl::set_dumpable(true).unwrap();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).unwrap();
    let (inner_uid, inner_gid) = if as_root { (0, 0) } else { (uid.as_raw(), gid.as_raw()) };
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("{inner_uid} {uid} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("{inner_gid} {gid} 1")).unwrap();
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
}

pub(crate) fn serving(
    place: &Place,
    programs: &Programs,
    as_root: bool,
    work: impl FnOnce(&mut Inside<'_>),
) -> Outcome<()> {
    enter_namespaces(as_root);
    let interrupts = Interrupts::hold()?;
    let servers = Servers::new(programs, &interrupts).answered_by(Path::new(env!("CARGO_BIN_EXE_lamina")));
    let mut inside = Inside { servers, place };
    work(&mut inside);
    let finished = inside.servers.finish();
    assert_eq!(children_of(Pid::this()), [], "servers stayed");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(place.path().to_str().unwrap()), "mounts stayed:\n{mounts}");
    finished
}

/// Does `work` in namespaces of [`SOMEBODY`], and fails unless all servers end well.
pub(crate) fn in_namespaces(place: &Place, work: impl FnOnce(&mut Inside<'_>)) {
    assert!(as_somebody(|| serving(place, &Programs::default(), false, work)));
    let left: Vec<_> = place.names().into_iter().filter(|name| name.starts_with(".lamina")).collect();
    assert_eq!(left, [""; 0]);
}

/// Does `work` likewise, and expects an error in the end that contains these words.
pub(crate) fn in_namespaces_failing(place: &Place, words: &str, work: impl FnOnce(&mut Inside<'_>)) {
    assert!(as_somebody(|| {
        let failure = serving(place, &Programs::default(), false, work).unwrap_err().to_string();
        assert!(failure.contains(words), "{failure}");
        Ok(())
    }));
}
