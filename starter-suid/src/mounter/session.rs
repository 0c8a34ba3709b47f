//! The session: the memory of one run. It holds mount points that the image lacks, the throw-away upper layer,
//! scratch directories and the container's own account files, and ends with the mount namespace.

use crate::caller::Caller;
use crate::mounter::{destinations, kernel_fs, privilege};
use crate::namespaces::NOSUID_NODEV;
use crate::policy::Orders;
use crate::refusal::{Refusal, Step};
use protocol::{AccountFile, ContainerPath, Scratch};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::path::Arg;
use std::os::fd::{AsFd, OwnedFd};

/// Inodes of the session's memory for anybody but root: enough for a temporary tree, not for the host's memory.
const INODES_MAX: &str = "262144";

/// The session's file system, attached where only this mount namespace can see it.
pub struct Session<'a> {
    caller: &'a Caller,
    root: OwnedFd,
    made: u32,
}

impl<'a> Session<'a> {
    /// Makes the file system and attaches it over `/`, which no path of this process goes through.
    pub fn attach(caller: &'a Caller, orders: &Orders) -> Result<Self, Refusal> {
        let size = orders.session_bytes.map(|bytes| bytes.to_string());
        let mut options = vec![("mode", "0755")];
        if let (Some(size), false) = (&size, orders.ramfs) {
            options.extend([("size", size.as_str()), ("nr_inodes", INODES_MAX)]);
        }
        let kind = if orders.ramfs { "ramfs" } else { "tmpfs" };
        let root = kernel_fs::fresh(kind, &options, NOSUID_NODEV)?;
        attach(&root, rustix::fs::CWD, "/").step("attaching the session's memory")?;
        // What the caller owns is made by the caller's own hand, in here.
        make_directory(&root, "own", 0o1777)?;
        Ok(Self { caller, root, made: 0 })
    }

    /// Attaches the container's root, so that other mounts can be attached inside it.
    pub fn attach_root(&self, root: &OwnedFd) -> Result<(), Refusal> {
        self.attach_aside(root, "root")
    }

    /// Attaches a mount under a name that no path of the container reaches.
    pub fn attach_aside(&self, mount: &OwnedFd, name: &str) -> Result<(), Refusal> {
        make_directory(&self.root, name, 0o755)?;
        attach(mount, &self.root, name).step("attaching a mount in the session")
    }

    /// Whether something is attached under this name.
    pub fn has(&self, name: &str) -> bool {
        exists(&self.root, name)
    }

    /// The directories `upper` and `work` of a throw-away layer. They are the caller's, as those of an image would be:
    /// the owner of `upper` is the owner of `/` in the container.
    pub fn upper_and_work(&self) -> Result<(OwnedFd, OwnedFd), Refusal> {
        privilege::as_caller(self.caller, privilege::ALWAYS, || {
            make_directory(&self.root, "own/upper", 0o755)?;
            make_directory(&self.root, "own/work", 0o755)
        })?;
        Ok((self.open("own/upper")?, self.open("own/work")?))
    }

    /// A layer that holds nothing but these places, each a directory or an empty file.
    pub fn skeleton(&self, name: &str, places: &[(&ContainerPath, bool)]) -> Result<OwnedFd, Refusal> {
        make_directory(&self.root, name, 0o755)?;
        let layer = self.open(name)?;
        for (place, directory) in places {
            destinations::create(&layer, place, *directory)?;
        }
        Ok(layer)
    }

    /// A new directory of the caller's, as a detached mount.
    pub fn scratch(&mut self, purpose: Scratch) -> Result<OwnedFd, Refusal> {
        let mode = match purpose {
            Scratch::Tmp => 0o1777,
            Scratch::Home => 0o700,
            Scratch::Work => 0o755,
        };
        let name = self.next_name();
        privilege::as_caller(self.caller, privilege::ALWAYS, || make_directory(&self.root, &*name, mode))?;
        self.detached(&name)
    }

    /// A new empty file of the caller's, as a detached mount.
    pub fn account_file(&mut self, file: AccountFile) -> Result<OwnedFd, Refusal> {
        let name = format!("own/{}", file.path().trim_start_matches("/etc/"));
        privilege::as_caller(self.caller, privilege::ALWAYS, || make_file(&self.root, &*name))?;
        self.detached(&name)
    }

    /// A name for something that is attached aside.
    pub fn next_name(&mut self) -> String {
        self.made += 1;
        format!("own/{}", self.made)
    }

    fn detached(&self, name: &str) -> Result<OwnedFd, Refusal> {
        clone(&self.open(name)?).step("cloning a part of the session")
    }

    /// Opens what this process made: no link, and no mount, can have taken its place.
    fn open(&self, name: &str) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.root, name, flags, Mode::empty(), resolve)
            .step("opening a part of the session")
    }
}

/// A detached clone of a part of a mount, with that mount's flags.
pub fn clone(part: &OwnedFd) -> Result<OwnedFd, rustix::io::Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(part, c"", flags)
}

/// Attaches a detached mount at a path below `at`.
pub fn attach(mount: &OwnedFd, at: impl AsFd, path: impl Arg) -> Result<(), rustix::io::Errno> {
    move_mount(mount, "", at, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Makes a directory of this exact mode in a file system of the starter's own.
pub fn make_directory(at: &OwnedFd, name: impl Arg, mode: u32) -> Result<(), Refusal> {
    rustix::fs::mkdirat(at, name, Mode::from_raw_mode(mode)).step("making a directory in the session")
}

/// Makes an empty file in a file system of the starter's own.
pub fn make_file(at: &OwnedFd, name: impl Arg) -> Result<(), Refusal> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o644))
        .map(drop)
        .step("making a file in the session")
}

fn exists(at: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
