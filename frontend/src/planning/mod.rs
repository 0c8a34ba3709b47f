//! From what is wanted to a plan: images are opened, inspected and locked, everything the plan names is opened by
//! this process, and what cannot be is said before root is asked.

mod layers;
mod mounts;
mod private_mount;
mod unfit;
mod gpu;
mod restrictions;
mod seccomp;
mod extraction;
mod hand_over;

pub use extraction::{Extracted, extract, is_permitted as may_extract};
pub use hand_over::{Container, payload};

use crate::error::{Doing, Failure, Outcome};
use crate::flow::fakeroot::{self, Fakeroot};
use crate::flow::namespace::Mapping;
use crate::flow::{self, Facts, Flow, Reason};
use crate::image::Image;
use crate::intent::Intent;
use crate::message;
use crate::oci_mode::ImageConfig;
use crate::payload::{FuseMount, Restrictions};
use crate::site;
use crate::user::{self, Caller};
use config::Settings;
use nix::sys::stat::fstat;
use protocol::{AccountFile, Content, Descriptor, Namespaces, Plan, ShapeError, Writable};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A container that is ready to be asked for.
#[derive(Debug)]
pub struct Planned {
    /// What the starter is asked to do.
    pub plan: Plan,
    /// The open files that the plan's descriptors stand for, in order.
    pub sources: Vec<Source>,
    /// The image that the container runs from.
    pub image: PathBuf,
    /// The home directory in the container.
    pub home: Vec<u8>,
    /// Who lives in the container: the caller, or whoever root makes of itself.
    pub resident: Caller,
    /// What the program may not do, or who it is.
    pub restrictions: Restrictions,
    /// What is served in it.
    pub file_systems: Vec<FuseMount>,
    /// What an OCI image says of its processes.
    pub config: Option<ImageConfig>,
    /// Why it is started in the way it is.
    pub reason: Reason,
    /// Whether fuse-overlayfs stacks the layers, although they are no image files.
    pub fuse_overlay: bool,
    /// How the caller becomes root in it, where he wants to.
    pub fakeroot: Option<Fakeroot>,
}

impl Planned {
    /// Device and inode of every image file whose lock the container holds.
    #[must_use]
    pub fn locked(&self) -> Vec<(u64, u64)> {
        let images = self.plan.images().filter(|image| matches!(image.content, Content::Ext3(_)));
        let sources = images.filter_map(|image| self.sources.get(usize::from(image.descriptor.0)));
        sources
            .filter_map(|source| fstat(&source.file).ok())
            .map(|found| (found.st_dev, found.st_ino))
            .collect()
    }

    /// The way it is started.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.reason.flow()
    }

    /// The ids of its user namespace, if it has one.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        match &self.fakeroot {
            Some(fakeroot) => fakeroot.mapping.clone(),
            None if self.reason == Reason::Inside && user::may_give_files_away() => Mapping::present(),
            None => Mapping::own(),
        }
    }
}

/// One open source.
#[derive(Debug)]
pub struct Source {
    /// The descriptor; it is close-on-exec until the launch.
    pub file: OwnedFd,
    /// Where it is, for people.
    pub path: PathBuf,
}

/// Sources in the order of their numbers.
#[derive(Debug)]
struct Sources {
    all: Vec<Source>,
    /// Root will look at them, as far as is known before everything is planned.
    for_root: bool,
}

impl Sources {
    fn add(&mut self, file: OwnedFd, path: &Path) -> Outcome<Descriptor> {
        let number =
            u16::try_from(self.all.len()).map_err(|_| Failure::new("more sources than a plan can name"))?;
        self.all.push(Source { file, path: path.to_owned() });
        Ok(Descriptor(number))
    }

    /// Refuses what the starter could not look at.
    fn require_open(&self, file: impl AsFd, path: &Path) -> Outcome<()> {
        if self.for_root { private_mount::check(file, path) } else { Ok(()) }
    }

    /// The same open file under a number of its own: locks on it stay one.
    fn add_image(&mut self, image: &Image) -> Outcome<Descriptor> {
        self.require_open(&image.file, &image.path)?;
        let file = image.file.try_clone().doing(|| "copying a descriptor".into())?;
        self.add(file.into(), &image.path)
    }
}

/// Plans the container.
///
/// # Errors
/// Why there cannot be such a container.
pub fn plan(intent: &Intent, site: &Settings, caller: &Caller) -> Outcome<Planned> {
    require_file_systems_permitted(intent, site, caller)?;
    let facts = Facts::gather(intent, site, caller);
    let for_root = flow::choose(&facts).flow() == Flow::Setuid && !caller.is_root();
    let mut sources = Sources { all: Vec::new(), for_root };
    let stack = layers::stack(intent, site, &mut sources)?;
    let mut namespaces = Namespaces { pid: intent.pid, ipc: intent.ipc, uts: intent.uts, net: intent.net };
    for (wanted, allowed, name) in [
        (&mut namespaces.pid, &site.allow_pid_ns, "pid"),
        (&mut namespaces.ipc, &site.allow_ipc_ns, "ipc"),
        (&mut namespaces.uts, &site.allow_uts_ns, "uts"),
    ] {
        if *wanted && !allowed.value {
            message::warning(format!("Not virtualizing {name} namespace by configuration"));
            *wanted = false;
        }
    }
    let restrictions = restrictions::settle(intent, site, caller)?;
    let fakeroot = intent
        .fakeroot
        .map(|request| fakeroot::choose(request, caller, &site::programs(site), &intent.program));
    let (resident, home) = match fakeroot {
        Some(_) => (restrictions::root(), caller.home.clone()),
        None => {
            let resident = restrictions::resident(&restrictions, caller)?;
            (resident.clone(), resident.home)
        }
    };
    let command = fakeroot.as_ref().and_then(|fakeroot| fakeroot.command.as_ref());
    let people = mounts::People { resident: &resident, home: &home, command };
    let inside = mounts::choose(intent, site, people, &mut sources)?;
    let may_change_accounts = match fakeroot {
        Some(_) => stack.writable != Writable::Nothing,
        None => intent.writable && caller.is_root(),
    };
    let plan = Plan {
        root: stack.root,
        layers: stack.layers,
        writable: stack.writable,
        mounts: inside.mounts,
        hostname: intent.hostname.clone().filter(|_| namespaces.uts),
        account_files: account_files(intent, site, may_change_accounts, namespaces),
        namespaces,
        instance: intent.instance,
        warnings: message::threshold() >= message::Level::Warning as i8,
    };
    plan.check_shape().map_err(|error| match error {
        ShapeError::TooMany => Failure::new("more layers or mounts than one container can have")
            .hint(format!("at most {} overlays and {} mounts", protocol::LAYERS_MAX, protocol::MOUNTS_MAX)),
        other => Failure::new(format!("the plan contradicts itself: {other:?}")),
    })?;
    let facts = facts.with_plan(&plan, site, stack.unfit.as_ref().map(|unfit| unfit.file_system));
    let reason = flow::choose(&facts);
    if let Some(unfit) = stack.unfit
        && (reason.flow() == Flow::Setuid || intent.oci.is_some())
    {
        return Err(unfit.refuse().context("while loading overlay images"));
    }
    if reason.flow() == Flow::UserNamespace {
        require_user_namespaces(site, &reason)?;
    }
    Ok(Planned {
        fuse_overlay: facts.needs_fuse_overlay(),
        plan,
        sources: sources.all,
        image: stack.image,
        config: stack.config,
        home: inside.home,
        file_systems: intent.file_systems.clone(),
        resident,
        restrictions,
        reason,
        fakeroot,
    })
}

/// `allow user ns` forbids user namespaces, whatever one is wanted for; `why` says it to the user.
fn require_user_namespaces(site: &Settings, why: &dyn fmt::Display) -> Outcome<()> {
    let setting = &site.allow_user_ns;
    if setting.value {
        return Ok(());
    }
    let text = format!("User namespace required but not allowed by configuration: {why}");
    Err(by_site(text, setting.line))
}

/// FUSE file systems are the caller's own, mounted in a user namespace by anybody but root. Whoever may have one can mount in
/// it without this program, whatever the site says here.
fn require_file_systems_permitted(intent: &Intent, site: &Settings, caller: &Caller) -> Outcome<()> {
    if intent.file_systems.is_empty() {
        return Ok(());
    }
    let setting = &site.enable_fusemount;
    if !setting.value {
        return Err(by_site(
            "fusemount disabled by configuration 'enable fusemount = no'".into(),
            setting.line,
        ));
    }
    if caller.is_root() { Ok(()) } else { require_user_namespaces(site, &"--fusemount mounts in one") }
}

/// Something that a line of the site's file forbids.
fn by_site(text: String, line: Option<u32>) -> Failure {
    let line = line.map_or_else(String::new, |line| format!(" line {line}"));
    Failure::new(text).hint(format!("see {}{line}", site::path()))
}

/// Who may change the accounts of the image sees them as they are: packages add users.
fn account_files(
    intent: &Intent,
    site: &Settings,
    may_change_accounts: bool,
    namespaces: Namespaces,
) -> Vec<AccountFile> {
    let accounts = !may_change_accounts;
    let mut files = Vec::new();
    if accounts && site.config_passwd.value {
        files.push(AccountFile::Passwd);
    }
    if accounts && site.config_group.value {
        files.push(AccountFile::Group);
    }
    if intent.hostname.is_some() && namespaces.uts {
        files.push(AccountFile::Hostname);
    }
    if !intent.name_servers.is_empty() && site.config_resolv_conf.value {
        files.push(AccountFile::ResolvConf);
    }
    files
}
