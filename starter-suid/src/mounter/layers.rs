//! From permitted sources to mounted layers: what the root is stacked from, and what is ready to be bound.

use crate::caller::Caller;
use crate::evidence;
use crate::mounter::loop_device;
use crate::mounter::privilege::{self, as_caller};
use crate::mounter::session::{self, Session};
use crate::mounter::{destinations, kernel_fs};
use crate::namespaces::{NOSUID_NODEV, READ_ONLY, Source, Tree};
use crate::policy::{Orders, Permit};
use crate::refusal::{Refusal, Step, errno};
use nix::errno::Errno;
use protocol::{ContainerPath, Content, Image, Mount, Window, Writable};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsOpenFlags, fsconfig_set_flag, fsconfig_set_string, fsopen};
use std::os::fd::OwnedFd;

/// Everything mounted, nothing attached yet.
pub struct Stack {
    /// Detached mounts of the root and of the overlay layers; the root's is the first.
    pub mounts: Vec<OwnedFd>,
    /// The directories to stack, lowest first; the first is the root's. Each lies in one of `mounts`.
    pub lowers: Vec<OwnedFd>,
    /// `upper` and `work` of the writable layer.
    pub upper: Option<(OwnedFd, OwnedFd)>,
    /// By source number: what is ready to be attached inside the container.
    pub trees: Vec<Option<Tree>>,
}

impl Stack {
    /// Takes what belongs to a source number.
    pub fn take(&mut self, descriptor: protocol::Descriptor) -> Result<Tree, Refusal> {
        let slot = self.trees.get_mut(usize::from(descriptor.0));
        slot.and_then(Option::take).ok_or_else(|| Refusal::new("a source of the plan is used twice"))
    }

    /// Whether the source with this number is a directory.
    pub fn is_directory(&self, descriptor: protocol::Descriptor) -> bool {
        let tree = self.trees.get(usize::from(descriptor.0)).and_then(Option::as_ref);
        tree.is_some_and(|tree| tree.directory)
    }
}

/// Mounts every image of the permit.
pub fn open(
    caller: &Caller,
    permit: &Permit,
    sources: Vec<Source>,
    session: &mut Session,
) -> Result<Stack, Refusal> {
    let (plan, orders) = (&permit.plan, &permit.orders);
    let mut workbench = Workbench { caller, orders, sources: sources.into_iter().map(Some).collect() };
    let root = workbench.mount(&plan.root, plan.writable == Writable::Root)?;
    let mut stack = Stack {
        lowers: vec![directory_of(&root, c"").step("opening the root")?],
        mounts: vec![root],
        upper: None,
        trees: vec![],
    };
    for layer in &plan.layers {
        let mount = workbench.mount(layer, false)?;
        stack.lowers.push(lower_of(layer.content, &mount)?);
        stack.mounts.push(mount);
    }
    stack.upper = match &plan.writable {
        Writable::Overlay(image) => {
            let mount = workbench.mount(image, true)?;
            let pair =
                (workbench.writable_part(&mount, c"upper")?, workbench.writable_part(&mount, c"work")?);
            stack.mounts.push(mount);
            Some(pair)
        }
        Writable::Tmpfs => Some(session.upper_and_work()?),
        Writable::Nothing | Writable::Root => None,
    };
    for mount in &plan.mounts {
        if let Mount::Data { image, within, writable, .. } = mount {
            let tree = workbench.mount(image, *writable)?;
            let tree = data_tree(caller, session, tree, within.as_ref())?;
            workbench.put(image.descriptor, tree);
        }
    }
    stack.trees = workbench.into_trees();
    Ok(stack)
}

struct Workbench<'a> {
    caller: &'a Caller,
    orders: &'a Orders,
    sources: Vec<Option<Source>>,
}

impl Workbench<'_> {
    /// A detached mount of an image.
    fn mount(&mut self, image: &Image, writable: bool) -> Result<OwnedFd, Refusal> {
        let slot = self.sources.get_mut(usize::from(image.descriptor.0));
        let source =
            slot.and_then(Option::take).ok_or_else(|| Refusal::new("an image of the plan is used twice"))?;
        match (image.content, source) {
            (Content::Directory, Source::Tree(tree)) => Ok(tree.fd),
            (Content::Squashfs(window), Source::File(file)) => {
                self.block_mount("squashfs", &file, window, false)
            }
            (Content::Ext3(window), Source::File(file)) => self.block_mount("ext3", &file, window, writable),
            _ => Err(Refusal::new("an image is not what the plan says")),
        }
    }

    /// The closed list of block file systems: squashfs, read-only; ext3, which on an error becomes read-only.
    fn block_mount(
        &self,
        kind: &str,
        file: &OwnedFd,
        window: Window,
        writable: bool,
    ) -> Result<OwnedFd, Refusal> {
        let device = loop_device::attach(self.caller, self.orders, file, window, writable)?;
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| match error {
            rustix::io::Errno::NODEV => {
                Refusal::new(format!("{kind} filesystem seems not enabled and/or supported by your kernel"))
            }
            error => Refusal::failed(format!("mounting {kind}"), errno(error)),
        })?;
        let doing = || format!("choosing how {kind} is mounted");
        fsconfig_set_string(&context, "source", &*device.path).step(doing())?;
        if !writable {
            fsconfig_set_flag(&context, "ro").step(doing())?;
        }
        if kind == "ext3" {
            fsconfig_set_string(&context, "errors", "remount-ro").step(doing())?;
            if !writable {
                // Where nothing is written, no journal is opened, wherever the image says that it is.
                fsconfig_set_flag(&context, "noload").step(doing())?;
            }
        }
        if writable && self.orders.sync_ext3 {
            fsconfig_set_flag(&context, "sync").step(doing())?;
        }
        kernel_fs::create(&context, kind).map_err(|refusal| damaged(refusal, file, kind))?;
        kernel_fs::mount(&context, kind, NOSUID_NODEV | if writable { 0 } else { READ_ONLY })
    }

    /// `upper` or `work` of a writable overlay, made by the caller's own right where it is missing.
    fn writable_part(&self, mount: &OwnedFd, name: &std::ffi::CStr) -> Result<OwnedFd, Refusal> {
        match directory_of(mount, name) {
            Err(Errno::ENOENT) => {}
            found => return found.map_err(|error| no_part(name, error)),
        }
        let capabilities = if self.caller.is_root() { privilege::OVERLAY } else { privilege::ALWAYS };
        let made = as_caller(self.caller, capabilities, || {
            Ok(rustix::fs::mkdirat(mount, name, Mode::from_raw_mode(0o755)))
        })?;
        if let Err(error) = made {
            return Err(cannot_make_part(mount, name, errno(error)));
        }
        directory_of(mount, name).step("opening a new directory of the overlay")
    }

    fn put(&mut self, descriptor: protocol::Descriptor, tree: Tree) {
        if let Some(slot) = self.sources.get_mut(usize::from(descriptor.0)) {
            *slot = Some(Source::Tree(tree));
        }
    }

    fn into_trees(self) -> Vec<Option<Tree>> {
        let tree = |source| match source {
            Some(Source::Tree(tree)) => Some(tree),
            Some(Source::File(_)) | None => None,
        };
        self.sources.into_iter().map(tree).collect()
    }
}

/// Names the image that the kernel would not mount.
fn damaged(refusal: Refusal, file: &OwnedFd, kind: &str) -> Refusal {
    let name = evidence::name_of(file).unwrap_or_default();
    let check = if kind == "ext3" { "; 'e2fsck -f' tells, and repairs it" } else { "" };
    refusal.hint(format!("the image {} may be damaged{check}", name.to_bytes().escape_ascii()))
}

/// What a read-only overlay adds: `upper` of an ext3, which must be there; `upper` of a directory, if it is there.
fn lower_of(content: Content, mount: &OwnedFd) -> Result<OwnedFd, Refusal> {
    match (content, directory_of(mount, c"upper")) {
        (Content::Squashfs(_), _) | (Content::Directory, Err(Errno::ENOENT)) => {
            directory_of(mount, c"").step("opening a layer")
        }
        (_, found) => found.map_err(|error| no_part(c"upper", error)),
    }
}

/// A directory at the top of a mount, or the top itself for the empty name; never through a link.
fn directory_of(mount: &OwnedFd, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let name = if name.is_empty() { c"." } else { name };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(mount, name, flags, Mode::empty(), resolve).map_err(errno)
}

fn no_part(name: &std::ffi::CStr, error: Errno) -> Refusal {
    let name = name.to_string_lossy();
    match error {
        Errno::ENOENT => Refusal::new(format!("the overlay has no '{name}' directory"))
            .hint("use it once for writing, or make a new one with 'overlay create'"),
        Errno::ENOTDIR | Errno::ELOOP => Refusal::new(format!("'{name}' of the overlay is not a directory")),
        error => Refusal::failed(format!("opening '{name}' of the overlay"), error),
    }
}

fn cannot_make_part(mount: &OwnedFd, name: &std::ffi::CStr, error: Errno) -> Refusal {
    let name = name.to_string_lossy();
    let owner = rustix::fs::fstat(mount).map_or_else(
        |_| String::new(),
        |stat| {
            let (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
            format!(" (its top directory belongs to uid {uid}, gid {gid}, mode {mode:04o})")
        },
    );
    Refusal::failed(format!("creating '{name}' directory of the overlay{owner}"), error).hint(
        "make the image with 'overlay create', or with 'mkfs.ext3 -d DIR' where DIR holds your own 'upper' and 'work'",
    )
}

/// A part of a data image, as a tree to attach.
fn data_tree(
    caller: &Caller,
    aside: &mut Session,
    mount: OwnedFd,
    within: Option<&ContainerPath>,
) -> Result<Tree, Refusal> {
    let Some(within) = within else {
        return Ok(Tree { fd: mount, directory: true });
    };
    let name = aside.next_name();
    aside.attach_aside(&mount, &name)?;
    let found = destinations::find(caller, &mount, within)?;
    let found = found.step(format!("looking for {within} in a data image"))?;
    let fd = session::clone(&found).step("cloning a part of a data image")?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).step("looking at a data image")?.st_mode);
    Ok(Tree { fd, directory: kind == FileType::Directory })
}
