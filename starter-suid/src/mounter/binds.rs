//! What is mounted inside the container, one thing at a time, each at a place found from the container's own root.

use crate::caller::Caller;
use crate::mounter::destinations::Wanted;
use crate::mounter::layers::Stack;
use crate::mounter::privilege::{ALWAYS, as_caller};
use crate::mounter::session::{Session, make_directory, make_file};
use crate::mounter::{destinations, kernel_fs, pivot};
use crate::namespaces::{NOSUID, NOSUID_NODEV, Tree};
use crate::policy::Permit;
use crate::refusal::{Refusal, Step};
use nix::errno::Errno;
use protocol::{AccountFile, ContainerPath, Dev, Mount};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MoveMountFlags, move_mount};
use std::os::fd::OwnedFd;

/// The group that owns terminals (`tty` in every distribution).
const TTY_GROUP: &str = "5";
/// Links of a minimal `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// The container while it is being furnished.
pub struct House<'a> {
    caller: &'a Caller,
    permit: &'a Permit,
    wanted: &'a [Wanted],
    root: OwnedFd,
    session: Session<'a>,
    warnings: Vec<String>,
}

/// What happens when a place is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// There is no container without it.
    Required,
    /// The container runs without it, with a warning.
    Wished,
}

impl<'a> House<'a> {
    /// An unfurnished container; its root must be attached already. `wanted` are the places of all its mounts.
    pub fn new(
        caller: &'a Caller,
        permit: &'a Permit,
        wanted: &'a [Wanted],
        root: OwnedFd,
        session: Session<'a>,
    ) -> Self {
        Self { caller, permit, wanted, root, session, warnings: Vec::new() }
    }

    /// Mounts one thing of the plan.
    pub fn add(
        &mut self,
        mount: &Mount,
        host_tree: Option<Tree>,
        stack: &mut Stack,
        device_nodes: &[(String, Tree)],
    ) -> Result<(), Refusal> {
        let destination = destinations::of(mount)?;
        let directory = |fd| Tree { fd, directory: true };
        let (tree, need) = match (mount, host_tree) {
            (_, Some(tree)) => (tree, Need::Wished),
            (Mount::Proc, None) => (directory(kernel_fs::fresh("proc", &[], NOSUID_NODEV)?), Need::Wished),
            (Mount::Sys, None) => (directory(kernel_fs::fresh("sysfs", &[], NOSUID_NODEV)?), Need::Wished),
            (Mount::Dev(Dev::Minimal { terminals, .. }), None) => {
                if let Some(target) = self.target(&destination, true, Need::Wished)? {
                    self.minimal_dev(&target, device_nodes, *terminals)?;
                }
                return Ok(());
            }
            (Mount::Home(bind) | Mount::Hostfs(bind), None) => (stack.take(bind.descriptor)?, Need::Wished),
            (Mount::User(bind), None) => {
                let need = if bind.optional { Need::Wished } else { Need::Required };
                (stack.take(bind.descriptor)?, need)
            }
            (Mount::Data { image, .. }, None) => (stack.take(image.descriptor)?, Need::Required),
            (Mount::Scratch { purpose, .. }, None) => {
                let scratch = self.session.scratch(*purpose)?;
                self.make_places_in(&scratch, &destination)?;
                (directory(scratch), Need::Required)
            }
            (
                Mount::Dev(Dev::Host) | Mount::Tmp | Mount::VarTmp | Mount::ResolvConf | Mount::SiteBind(_),
                None,
            ) => {
                self.warnings
                    .push(format!("Skipping mount {destination}: the host has no such file or directory"));
                return Ok(());
            }
        };
        match self.target(&destination, tree.directory, need)? {
            Some(target) => attach(&tree.fd, &target).step(format!("mounting at {destination}")),
            None => Ok(()),
        }
    }

    /// Makes the places that other mounts want below a scratch directory, which hides those of the image.
    fn make_places_in(&self, scratch: &OwnedFd, at: &ContainerPath) -> Result<(), Refusal> {
        for (place, directory) in self.wanted {
            let below = place.as_bytes().strip_prefix(at.as_bytes());
            let below = below.and_then(|below| ContainerPath::new(below.to_vec()).ok());
            if let Some(below) = below {
                as_caller(self.caller, ALWAYS, || destinations::create(scratch, &below, *directory))?;
            }
        }
        Ok(())
    }

    /// The place of a mount; `None` when the container runs without it.
    fn target(
        &mut self,
        place: &ContainerPath,
        directory: bool,
        need: Need,
    ) -> Result<Option<OwnedFd>, Refusal> {
        let found = destinations::find(self.caller, &self.root, place)?;
        self.fit_target(place, found, directory, need)
    }

    /// A place that was looked for, if something of this kind can be mounted there.
    fn fit_target(
        &mut self,
        place: &ContainerPath,
        found: Result<OwnedFd, Errno>,
        directory: bool,
        need: Need,
    ) -> Result<Option<OwnedFd>, Refusal> {
        let why = match found {
            Ok(target) => {
                let mode = rustix::fs::fstat(&target).step("looking at a mount point")?.st_mode;
                match (FileType::from_raw_mode(mode) == FileType::Directory, directory) {
                    (true, true) | (false, false) => return Ok(Some(target)),
                    (true, false) => "is a directory in container, its source is not".to_owned(),
                    (false, true) => "is not a directory in container, its source is one".to_owned(),
                }
            }
            Err(Errno::ENOENT) => "doesn't exist in container".to_owned(),
            Err(error) => format!("cannot be reached in container: {}", error.desc()),
        };
        if need == Need::Required {
            return Err(Refusal::new(format!("destination {place} {why}")));
        }
        self.warnings.push(format!("Skipping mount {place}: {place} {why}"));
        Ok(None)
    }

    /// A `/dev` with the nodes that every program expects and, where site and caller want them, own terminals.
    fn minimal_dev(
        &mut self,
        target: &OwnedFd,
        nodes: &[(String, Tree)],
        terminals: bool,
    ) -> Result<(), Refusal> {
        let doing = "furnishing /dev";
        let dev = kernel_fs::fresh("tmpfs", &[("mode", "0755"), ("size", "65536")], NOSUID)?;
        attach(&dev, target).step(doing)?;
        let open = |name: &str| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&dev, name, flags, Mode::empty()).step(doing)
        };
        for (name, tree) in nodes {
            match tree.directory {
                true => make_directory(&dev, name, 0o755)?,
                false => make_file(&dev, name)?,
            }
            attach(&tree.fd, &open(name)?).step(doing)?;
        }
        for (to, name) in DEVICE_LINKS {
            rustix::fs::symlinkat(to, &dev, name).step(doing)?;
        }
        make_directory(&dev, "shm", 0o1777)?;
        let shm = self.session.scratch(protocol::Scratch::Tmp)?;
        attach(&shm, &open("shm")?).step(doing)?;
        if terminals && self.permit.orders.devpts {
            make_directory(&dev, "pts", 0o755)?;
            let mut options = vec![("ptmxmode", "0666"), ("mode", "0620")];
            // In a user namespace the group may have no number.
            if !self.permit.orders.in_user_namespace {
                options.push(("gid", TTY_GROUP));
            }
            let pts = kernel_fs::fresh("devpts", &options, NOSUID)?;
            attach(&pts, &open("pts")?).step(doing)?;
            rustix::fs::symlinkat("pts/ptmx", &dev, "ptmx").step(doing)?;
        }
        Ok(())
    }

    /// Covers the image's account files with empty ones of the caller's, and returns the originals.
    pub fn account_files(&mut self, files: &[AccountFile]) -> Result<Vec<(AccountFile, OwnedFd)>, Refusal> {
        let mut originals = Vec::new();
        for file in files {
            let place = destinations::account_place(*file)?;
            let original = destinations::read(self.caller, &self.root, &place)?;
            let Some(target) = self.account_target(*file, &place)? else {
                continue;
            };
            let cover = self.session.account_file(*file)?;
            attach(&cover, &target).step(format!("mounting at {place}"))?;
            if let Ok(original) = original {
                originals.push((*file, original));
            }
        }
        Ok(originals)
    }

    /// An image without `/etc/passwd` gets none: `init` says so.
    fn account_target(
        &mut self,
        file: AccountFile,
        place: &ContainerPath,
    ) -> Result<Option<OwnedFd>, Refusal> {
        match destinations::find(self.caller, &self.root, place)? {
            Err(_) if file.extends_original() => Ok(None),
            found => self.fit_target(place, found, false, Need::Wished),
        }
    }

    /// Moves everybody in, and proves that nothing is mounted without its flags.
    pub fn finish(self) -> Result<Vec<String>, Refusal> {
        pivot::enter(&self.root)?;
        Ok(self.warnings)
    }
}

/// Attaches a detached mount at an open place.
fn attach(mount: &OwnedFd, target: &OwnedFd) -> Result<(), rustix::io::Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}
