//! What the choice of a flow is made from.

use super::host;
use crate::intent::Intent;
use crate::launch::setuid_starter;
use crate::user::Caller;
use config::{EnableOverlay, Settings};
use protocol::{Content, Image, Plan, Writable};
use std::fmt;
use std::path::Path;

/// Everything that decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The caller wants to be root.
    pub fakeroot: bool,
    /// The caller asked for a user namespace.
    pub asked: bool,
    /// The caller asked for OCI mode, which needs no lent power.
    pub oci: bool,
    /// This process is in a user namespace that somebody made.
    pub inside: bool,
    /// The caller is root, who needs the starter but not its setuid bit, and the starter is installed.
    pub root: bool,
    /// Why the setuid starter has no power here, if that is so.
    pub powerless: Option<String>,
    /// The line of `allow setuid = no`, where the site says that.
    pub disallowed: Option<Option<u32>>,
    /// What of the plan the setuid starter would refuse to a user, and a user namespace can do.
    pub needs: Vec<Need>,
}

/// Something that the setuid starter does not do for users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// A directory as overlay.
    DirectoryOverlay,
    /// A kind of image that the site does not let the kernel mount for users, by this directive and line.
    KernelMount(&'static str, &'static str, Option<u32>),
    /// A writable overlay image on a directory.
    ImageOverDirectory(Option<u32>),
    /// An overlay where `enable overlay = driver`, in this line, leaves the kernel's out.
    FuseOverlay(Option<u32>),
    /// A directory on a file system, of this name, that the kernel's overlay cannot use.
    UnfitDirectory(&'static str),
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let by = |out: &mut fmt::Formatter, text: &str, directive: &str, line: &Option<u32>| {
            write!(out, "{text} ('{directive}'")?;
            line.map_or(Ok(()), |line| write!(out, ", line {line}"))?;
            out.write_str(")")
        };
        match self {
            Self::DirectoryOverlay => {
                out.write_str("only root user can use sandbox as overlay in setuid mode")
            }
            Self::KernelMount(kind, directive, line) => {
                by(out, &format!("{kind} image mounts are not authorized"), directive, line)
            }
            Self::ImageOverDirectory(line) => {
                let text =
                    "a writable overlay image on a directory would show its user what he may not read in it";
                by(out, text, "allow image overlay on dir", line)
            }
            Self::FuseOverlay(line) => {
                by(out, "overlays through the kernel are disabled by administrator", "enable overlay", line)
            }
            Self::UnfitDirectory(name) => {
                write!(out, "the kernel's overlay cannot use a directory on a {name} filesystem")
            }
        }
    }
}

impl Facts {
    /// What can be said before anything is planned.
    #[must_use]
    pub fn gather(intent: &Intent, site: &Settings, caller: &Caller) -> Self {
        Self {
            fakeroot: intent.fakeroot.is_some(),
            asked: intent.userns,
            inside: host::in_user_namespace(),
            oci: intent.oci.is_some(),
            root: caller.is_root() && (intent.oci.is_some() || Path::new(&setuid_starter()).exists()),
            powerless: host::setuid_fault(),
            disallowed: (!site.allow_setuid.value).then_some(site.allow_setuid.line),
            needs: Vec::new(),
        }
    }

    /// The same, and what a plan needs. `unfit` is the file system of a directory that the kernel's overlay cannot use.
    #[must_use]
    pub fn with_plan(self, plan: &Plan, site: &Settings, unfit: Option<&'static str>) -> Self {
        let mut needs = needs(plan, site);
        needs.extend(unfit.map(Need::UnfitDirectory));
        Self { needs, ..self }
    }

    /// Whether the layers can be stacked by fuse-overlayfs alone.
    #[must_use]
    pub fn needs_fuse_overlay(&self) -> bool {
        self.needs.iter().any(|need| matches!(need, Need::FuseOverlay(_) | Need::UnfitDirectory(_)))
    }
}

fn needs(plan: &Plan, site: &Settings) -> Vec<Need> {
    let is_directory = |image: &Image| image.content == Content::Directory;
    let upper = match &plan.writable {
        Writable::Overlay(image) => Some(image),
        Writable::Nothing | Writable::Root | Writable::Tmpfs => None,
    };
    let overlay = plan.layers.iter().chain(upper).any(is_directory).then_some(Need::DirectoryOverlay);
    let setting = &site.allow_image_overlay_on_dir;
    let over_directory = !setting.value && is_directory(&plan.root) && upper.is_some();
    let mounts = plan.images().filter_map(|image| {
        let (kind, (allowed, directive, line)) = match image.content {
            Content::Directory => return None,
            Content::Squashfs(_) => ("squashfs", site.kernel_squashfs()),
            Content::Ext3(_) => ("ext3", site.kernel_extfs()),
        };
        (!allowed).then_some(Need::KernelMount(kind, directive, line))
    });
    let stacked = !plan.layers.is_empty() || matches!(plan.writable, Writable::Overlay(_) | Writable::Tmpfs);
    let by_fuse = stacked && site.enable_overlay.value == EnableOverlay::Driver;
    overlay
        .into_iter()
        .chain(over_directory.then_some(Need::ImageOverDirectory(setting.line)))
        .chain(mounts)
        .chain(by_fuse.then_some(Need::FuseOverlay(site.enable_overlay.line)))
        .collect()
}
