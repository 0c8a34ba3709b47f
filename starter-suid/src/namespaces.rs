//! From host objects to detached trees, then into namespaces of our own.
//!
//! A descriptor opened before the unshare belongs to the old mount namespace, and afterwards the kernel refuses to
//! clone, bind or stack it. So everything a permit needs of the host is cloned first. A clone carries its final
//! flags and propagation before it is attached anywhere: no mount is ever visible without them.

use crate::evidence::Evidence;
use crate::loopback;
use crate::policy::{self, Orders, Permit};
use crate::refusal::{Refusal, Step, errno};
use crate::sys::{self, MountAttributes};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use protocol::{Content, Dev, Mount, Plan, Writable};
use rustix::fs::{CWD, FileType};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::{AsFd, OwnedFd};

/// `nosuid`: nothing is mounted in a container without it.
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// `nosuid,nodev`: what every mount gets that holds no device nodes of the site.
pub const NOSUID_NODEV: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// Read-only.
pub const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// Device nodes of a minimal `/dev`, each a bind of the host's.
const DEVICE_NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A detached clone of a host tree, with its final flags.
pub struct Tree {
    /// The clone's root mount.
    pub fd: OwnedFd,
    /// Directory, or a single file.
    pub directory: bool,
}

/// Everything a permit needs of the host.
pub struct Materials {
    /// By source number: image files stay files, everything else is a clone.
    pub sources: Vec<Source>,
    /// For each mount of the plan that has a fixed host source: its clone, or nothing if the host has none.
    pub host_trees: Vec<Option<Tree>>,
    /// The host's nodes for a minimal `/dev`, when the plan has one.
    pub device_nodes: Vec<(String, Tree)>,
}

/// What became of a source descriptor.
pub enum Source {
    /// An image file, for a loop device.
    File(OwnedFd),
    /// A clone.
    Tree(Tree),
}

/// Clones what the permit needs. `site_binds` of the orders are the only paths opened here beside fixed ones.
pub fn prepare(permit: &Permit, evidence: Evidence) -> Result<Materials, Refusal> {
    let (plan, orders) = (&permit.plan, &permit.orders);
    let attributes = source_attributes(plan);
    let mut sources = Vec::new();
    for (source, attributes) in evidence.into_sources().into_iter().zip(attributes) {
        sources.push(match attributes {
            None => Source::File(source.fd),
            Some((set, recursive)) => Source::Tree(Tree {
                fd: clone(&source.fd, c"", set, recursive, orders).map_err(|error| match error {
                    Errno::EINVAL if source.facts.mounted_over => policy::hidden_beneath(),
                    error => Refusal::failed("cloning a source", error),
                })?,
                directory: source.facts.kind == FileType::Directory,
            }),
        });
    }
    let mut site_binds = orders.site_binds.iter();
    let mut host_trees = Vec::new();
    for mount in &plan.mounts {
        host_trees.push(match mount {
            Mount::Dev(Dev::Host) => host_tree(b"/dev", NOSUID, orders)?,
            Mount::Proc if !plan.namespaces.pid => host_tree(b"/proc", NOSUID_NODEV, orders)?,
            // A new one is only for whoever has privileges over the network namespace.
            Mount::Sys if orders.in_user_namespace => host_tree(b"/sys", NOSUID_NODEV, orders)?,
            Mount::Tmp => host_tree(b"/tmp", NOSUID_NODEV, orders)?,
            Mount::VarTmp => host_tree(b"/var/tmp", NOSUID_NODEV, orders)?,
            Mount::ResolvConf => host_tree(b"/etc/resolv.conf", NOSUID_NODEV, orders)?,
            Mount::SiteBind(_) => match site_binds.next() {
                Some(source) => host_tree(source, NOSUID_NODEV, orders)?,
                None => None,
            },
            _ => None,
        });
    }
    let mut device_nodes = Vec::new();
    for name in plan.mounts.iter().flat_map(nodes_of) {
        if let Some(tree) = host_tree(format!("/dev/{name}").as_bytes(), NOSUID, orders)? {
            device_nodes.push((name, tree));
        }
    }
    Ok(Materials { sources, host_trees, device_nodes })
}

/// The names of the nodes that a minimal `/dev` has where the host has them.
fn nodes_of(mount: &Mount) -> Vec<String> {
    let Mount::Dev(Dev::Minimal { gpus, .. }) = mount else {
        return Vec::new();
    };
    let always = DEVICE_NODES.into_iter().map(String::from);
    always.chain(protocol::gpu_nodes().filter(|_| *gpus)).collect()
}

/// For each source number: nothing for an image file, else the flags of its clone and whether it is recursive.
fn source_attributes(plan: &Plan) -> Vec<Option<(u64, bool)>> {
    let mut attributes = vec![None; plan.descriptor_count()];
    let mut set = |descriptor: protocol::Descriptor, value| {
        if let Some(slot) = attributes.get_mut(usize::from(descriptor.0)) {
            *slot = Some(value);
        }
    };
    for image in plan.images().filter(|image| image.content == Content::Directory) {
        let written = match &plan.writable {
            Writable::Root => *image == plan.root,
            Writable::Overlay(upper) => image == upper,
            Writable::Nothing | Writable::Tmpfs => false,
        } || plan
            .mounts
            .iter()
            .any(|mount| matches!(mount, Mount::Data { image: data, writable: true, .. } if data == image));
        set(image.descriptor, (NOSUID_NODEV | if written { 0 } else { READ_ONLY }, false));
    }
    for bind in plan.binds() {
        set(bind.descriptor, (NOSUID_NODEV | if bind.read_only { READ_ONLY } else { 0 }, true));
    }
    attributes
}

fn host_tree(path: &[u8], set: u64, orders: &Orders) -> Result<Option<Tree>, Refusal> {
    let shown = path.escape_ascii();
    let path = sys::c_string(path)?;
    let fd = match clone(CWD, &path, set, true, orders) {
        Ok(fd) => fd,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(error) => return Err(Refusal::failed(format!("cloning {shown} of the host"), error)),
    };
    let stat = rustix::fs::fstat(&fd).step("looking at a clone")?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(Some(Tree { fd, directory }))
}

fn clone(
    at: impl AsFd,
    path: &std::ffi::CStr,
    set: u64,
    recursive: bool,
    orders: &Orders,
) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = open_tree(at, path, flags).map_err(errno)?;
    sys::set_mount_attributes(&tree, MountAttributes { set, propagation: propagation(orders), recursive })?;
    Ok(tree)
}

fn propagation(orders: &Orders) -> u64 {
    if orders.slave { libc::MS_SLAVE } else { libc::MS_PRIVATE }
}

/// Leaves the host's namespaces. Nothing mounted from here on is seen by the host.
pub fn enter(permit: &Permit) -> Result<(), Refusal> {
    let wanted = permit.plan.namespaces;
    let mut flags = CloneFlags::CLONE_NEWNS;
    flags.set(CloneFlags::CLONE_NEWIPC, wanted.ipc);
    flags.set(CloneFlags::CLONE_NEWUTS, wanted.uts);
    flags.set(CloneFlags::CLONE_NEWPID, wanted.pid);
    flags.set(CloneFlags::CLONE_NEWNET, wanted.net);
    unshare(flags).step("making namespaces")?;
    if wanted.net {
        loopback::bring_up()?;
    }
    let root = rustix::fs::openat(
        CWD,
        "/",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .step("opening /")?;
    let change = MountAttributes { set: 0, propagation: propagation(&permit.orders), recursive: true };
    sys::set_mount_attributes(&root, change).step("cutting the mounts off from the host's")?;
    if let Some(hostname) = &permit.plan.hostname {
        nix::unistd::sethostname(hostname.as_str()).step("setting the host name")?;
    }
    Ok(())
}
