//! The payload: everything the plan does not say because the starter need not know it.

use super::Planned;
use crate::intent::{HomeRequest, Intent};
use crate::message;
use crate::payload::{Account, Payload, Restrictions, WorkingDirectory};
use crate::sys::signal::Inherited;
use crate::user::Caller;
use nix::sys::stat::{Mode, umask};
use protocol::{AccountFile, Plan};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The umask of `--no-umask`.
const PLAIN_UMASK: u32 = 0o022;

/// What the payload says of the container, beside what the user wants in it.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// The image that it runs from.
    pub image: &'a Path,
    /// The home directory in it.
    pub home: &'a [u8],
    /// Who lives in it.
    pub resident: &'a Caller,
    /// What its programs may not do, or who they are.
    pub restrictions: &'a Restrictions,
    /// Its programs are run by the `fakeroot` command.
    pub fakeroot: bool,
    /// In an instance: the process that keeps its file systems' namespaces.
    pub keeper: Option<i32>,
    /// The plan, for a new container; none for one that is joined.
    pub plan: Option<&'a Plan>,
}

impl Planned {
    /// Whether its programs are run by the `fakeroot` command.
    #[must_use]
    pub fn has_fakeroot_command(&self) -> bool {
        self.fakeroot.as_ref().is_some_and(|fakeroot| fakeroot.command.is_some())
    }

    /// The container that is to be.
    #[must_use]
    pub fn container(&self) -> Container<'_> {
        Container {
            image: &self.image,
            home: &self.home,
            resident: &self.resident,
            restrictions: &self.restrictions,
            fakeroot: self.has_fakeroot_command(),
            keeper: None,
            plan: Some(&self.plan),
        }
    }
}

/// What `init` is told.
#[must_use]
pub fn payload(intent: &Intent, container: Container, signals: Inherited) -> Payload {
    let plan = container.plan;
    let files = plan.map_or(&[][..], |plan| &plan.account_files);
    let has_accounts = files.iter().any(|file| file.extends_original());
    let has_resolv_conf = files.contains(&AccountFile::ResolvConf);
    Payload {
        action: intent.action.clone(),
        dialect: intent.dialect,
        image: container.image.as_os_str().as_bytes().to_vec(),
        environment: intent.environment.clone(),
        environment_files: intent.environment_files.clone(),
        prefixed: intent.prefixed.clone(),
        typed: intent.typed.clone(),
        no_eval: intent.no_eval,
        clean: intent.clean,
        binds: intent.bind_text.clone(),
        home: container.home.to_vec(),
        working_directory: working_directory(intent, container.home),
        umask: if intent.no_umask { PLAIN_UMASK } else { callers_umask() },
        blocked_signals: signals.blocked,
        ignored_signals: signals.ignored,
        account: has_accounts.then(|| account(container.home, container.resident)),
        hostname: plan.and_then(|plan| plan.hostname.as_ref()).map(|name| name.as_str().as_bytes().to_vec()),
        name_servers: if has_resolv_conf { intent.name_servers.clone() } else { Vec::new() },
        app: intent.app.clone(),
        restrictions: container.restrictions.clone(),
        fakeroot: container.fakeroot,
        file_systems: if plan.is_some() { intent.file_systems.clone() } else { Vec::new() },
        keeper: container.keeper,
        shim: plan.is_some_and(|plan| plan.namespaces.pid) && !intent.no_init,
        oci: None,
        instance: plan.is_some_and(|plan| plan.instance),
        message_level: message::threshold(),
        colour: message::colour_allowed(),
    }
}

/// `--cwd`; else where the caller is, unless the container hides it, then home.
fn working_directory(intent: &Intent, home: &[u8]) -> WorkingDirectory {
    let mut candidates = Vec::new();
    if !intent.contain
        && let Ok(current) = std::env::current_dir()
    {
        candidates.push(current.as_os_str().as_bytes().to_vec());
    }
    if intent.home != HomeRequest::None {
        candidates.push(home.to_vec());
    }
    WorkingDirectory { required: intent.cwd.clone(), candidates }
}

fn account(home: &[u8], caller: &Caller) -> Account {
    Account {
        name: caller.name.clone().into_bytes(),
        uid: caller.uid.as_raw(),
        gid: caller.gid.as_raw(),
        gecos: caller.gecos.clone(),
        home: home.to_vec(),
        shell: caller.shell.as_os_str().as_bytes().to_vec(),
        groups: caller.groups(),
    }
}

/// The umask can only be read by setting it.
fn callers_umask() -> u32 {
    let own = umask(Mode::empty());
    umask(own);
    own.bits()
}
