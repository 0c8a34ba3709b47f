//! The container's root: a single layer as it is, or an overlay of several.

use crate::caller::Caller;
use crate::mounter::destinations::{self, Wanted};
use crate::mounter::kernel_fs;
use crate::mounter::layers::Stack;
use crate::mounter::privilege::{OVERLAY, as_caller};
use crate::mounter::session::Session;
use crate::mounter::underlay;
use crate::namespaces::{NOSUID_NODEV, READ_ONLY};
use crate::policy::Permit;
use crate::refusal::{Refusal, Step, errno};
use crate::sys::{self, MountAttributes};
use config::MountPoints;
use nix::errno::Errno;
use protocol::{ContainerPath, Content, Writable};
use rustix::mount::{FsOpenFlags, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsopen};
use std::os::fd::{AsRawFd, OwnedFd};

/// Assembles the root and attaches it in the session. Mount points that the layers lack are made in a layer of their
/// own, below all others, so that what exists keeps its owner and mode, and nothing of it ends up in a persistent
/// overlay.
pub fn assemble(
    caller: &Caller,
    permit: &Permit,
    stack: &mut Stack,
    wanted: &[Wanted],
    session: &Session,
) -> Result<OwnedFd, Refusal> {
    let base = stack.lowers.first().ok_or_else(|| Refusal::new("the plan has no root"))?;
    let single = stack.lowers.len() == 1 && stack.upper.is_none();
    let lacking = match permit.plan.writable {
        // Nothing can be put between a written root and its user.
        Writable::Root => Vec::new(),
        _ => destinations::missing(caller, base, wanted)?,
    };
    let root = match permit.orders.mount_points {
        _ if single && lacking.is_empty() => plain(permit, stack)?,
        MountPoints::None if single => plain(permit, stack)?,
        MountPoints::Underlay if single => {
            let image = plain(permit, stack)?;
            return underlay::assemble(caller, &image, &lacking, session);
        }
        _ => Overlay { caller, permit, session }.with_mount_points(stack, lacking, wanted)?,
    };
    session.attach_root(&root)?;
    Ok(root)
}

fn plain(permit: &Permit, stack: &mut Stack) -> Result<OwnedFd, Refusal> {
    let root = stack.mounts.swap_remove(0);
    if permit.plan.writable != Writable::Root {
        let change = MountAttributes { set: READ_ONLY, ..Default::default() };
        sys::set_mount_attributes(&root, change).step("making the root read-only")?;
    }
    Ok(root)
}

fn skeleton(session: &Session, name: &str, places: &[Wanted]) -> Result<Option<OwnedFd>, Refusal> {
    if places.is_empty() {
        return Ok(None);
    }
    let places: Vec<(&ContainerPath, bool)> =
        places.iter().map(|(place, directory)| (place, *directory)).collect();
    session.skeleton(name, &places).map(Some)
}

struct Overlay<'a> {
    caller: &'a Caller,
    permit: &'a Permit,
    session: &'a Session<'a>,
}

impl Overlay<'_> {
    /// The overlay, with the places that are missing in it.
    fn with_mount_points(
        &self,
        stack: &Stack,
        mut lacking: Vec<Wanted>,
        wanted: &[Wanted],
    ) -> Result<OwnedFd, Refusal> {
        let root = self.mount(stack, skeleton(self.session, "skeleton", &lacking)?.as_ref())?;
        // A place can still be missing where a link in an image leads to nothing. The place it leads to helps.
        let lacking_still = destinations::missing(self.caller, &root, wanted)?;
        if lacking_still.is_empty() {
            return Ok(root);
        }
        for (place, directory) in lacking_still {
            let real = destinations::real_place(self.caller, &root, &place)?;
            lacking.extend(real.map(|real| (real, directory)));
        }
        drop(root);
        self.mount(stack, skeleton(self.session, "skeleton-2", &lacking)?.as_ref())
    }

    fn mount(&self, stack: &Stack, skeleton: Option<&OwnedFd>) -> Result<OwnedFd, Refusal> {
        match self.by_descriptors(stack, skeleton)? {
            Some(root) => Ok(root),
            None => self.by_names(stack, skeleton),
        }
    }

    /// Each layer handed over as a descriptor: Linux 6.15 and later, where a layer may be a detached mount. `None`
    /// where the kernel cannot.
    fn by_descriptors(&self, stack: &Stack, skeleton: Option<&OwnedFd>) -> Result<Option<OwnedFd>, Refusal> {
        let context = self.context()?;
        let lowers = stack.lowers.iter().rev().chain(skeleton).map(|fd| ("lowerdir+", fd));
        let upper = stack.upper.iter().flat_map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
        for (key, fd) in lowers.chain(upper) {
            match fsconfig_set_fd(&context, key, fd) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                    return Ok(None);
                }
                Err(error) => return Err(unfit_layer(errno(error))),
            }
        }
        self.create(&context).map(Some)
    }

    /// Each layer attached in the session and named through `/proc/self/fd`, which needs no quoting: before 6.15.
    fn by_names(&self, stack: &Stack, skeleton: Option<&OwnedFd>) -> Result<OwnedFd, Refusal> {
        for (number, mount) in stack.mounts.iter().enumerate() {
            let name = format!("layer-{number}");
            if !self.session.has(&name) {
                self.session.attach_aside(mount, &name)?;
            }
        }
        let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let lowers: Vec<String> = stack.lowers.iter().rev().chain(skeleton).map(name).collect();
        let context = self.context()?;
        let set = |key: &str, value: &str| {
            fsconfig_set_string(&context, key, value).map_err(|error| unfit_layer(errno(error)))
        };
        set("lowerdir", &lowers.join(":"))?;
        if let Some((upper, work)) = &stack.upper {
            set("upperdir", &name(upper))?;
            set("workdir", &name(work))?;
        }
        self.create(&context)
    }

    /// The options are fixed. Marks that rename a directory or part a file from its data are followed only where
    /// every layer is an image of its own: in a directory they could lead past a closed parent.
    fn context(&self) -> Result<OwnedFd, Refusal> {
        let plan = &self.permit.plan;
        let closed = !plan.images().any(|image| image.content == Content::Directory);
        let own = self.permit.orders.in_user_namespace;
        let redirect = if !own && (closed || self.caller.is_root()) { "follow" } else { "nofollow" };
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| match error {
            rustix::io::Errno::NODEV => {
                Refusal::new("overlay images requires overlay kernel support: your kernel doesn't support it")
            }
            error => Refusal::failed("making an overlay", errno(error)),
        })?;
        let options = [
            ("source", "overlay"),
            ("redirect_dir", redirect),
            ("metacopy", "off"),
            ("index", "off"),
            ("xino", "on"),
        ];
        for (key, value) in options {
            fsconfig_set_string(&context, key, value).step(format!("choosing {key} of the overlay"))?;
        }
        if own {
            // Marks in `trusted.overlay.*` are for the machine's own root.
            fsconfig_set_flag(&context, "userxattr").step("choosing userxattr of the overlay")?;
        }
        Ok(context)
    }

    fn create(&self, context: &OwnedFd) -> Result<OwnedFd, Refusal> {
        as_caller(self.caller, OVERLAY, || kernel_fs::create(context, "overlay"))?;
        kernel_fs::mount(context, "overlay", NOSUID_NODEV)
    }
}

fn unfit_layer(error: Errno) -> Refusal {
    Refusal::failed("adding a layer to the overlay", error)
        .hint("its file system may be unfit for overlays (network and parallel file systems often are); an image file is not")
}
