//! The payload: everything the plan does not say because the starter need not know it.

use super::Planned;
use crate::intent::{HomeRequest, Intent};
use crate::message;
use crate::payload::{Account, Payload, WorkingDirectory};
use crate::sys::signal::Inherited;
use nix::sys::stat::{Mode, umask};
use protocol::AccountFile;
use std::os::unix::ffi::OsStrExt;

/// The umask of `--no-umask`.
const PLAIN_UMASK: u32 = 0o022;

/// What `init` is told.
#[must_use]
pub fn payload(intent: &Intent, planned: &Planned, signals: Inherited) -> Payload {
    let files = &planned.plan.account_files;
    let has_accounts = files.iter().any(|file| file.extends_original());
    let has_resolv_conf = files.contains(&AccountFile::ResolvConf);
    Payload {
        action: intent.action.clone(),
        dialect: intent.dialect,
        image: planned.image.as_os_str().as_bytes().to_vec(),
        environment: intent.environment.clone(),
        environment_files: intent.environment_files.clone(),
        prefixed: intent.prefixed.clone(),
        typed: intent.typed.clone(),
        no_eval: intent.no_eval,
        clean: intent.clean,
        binds: intent.bind_text.clone(),
        home: planned.home.clone(),
        working_directory: working_directory(intent, planned),
        umask: if intent.no_umask { PLAIN_UMASK } else { callers_umask() },
        blocked_signals: signals.blocked,
        ignored_signals: signals.ignored,
        account: has_accounts.then(|| account(planned)),
        hostname: planned.plan.hostname.as_ref().map(|name| name.as_str().as_bytes().to_vec()),
        name_servers: if has_resolv_conf { intent.name_servers.clone() } else { Vec::new() },
        app: intent.app.clone(),
        restrictions: planned.restrictions.clone(),
        shim: planned.plan.namespaces.pid && !intent.no_init,
        message_level: message::threshold(),
        colour: message::colour_allowed(),
    }
}

/// `--cwd`; else where the caller is, unless the container hides it, then home.
fn working_directory(intent: &Intent, planned: &Planned) -> WorkingDirectory {
    let mut candidates = Vec::new();
    if !intent.contain
        && let Ok(current) = std::env::current_dir()
    {
        candidates.push(current.as_os_str().as_bytes().to_vec());
    }
    if intent.home != HomeRequest::None {
        candidates.push(planned.home.clone());
    }
    WorkingDirectory { required: intent.cwd.clone(), candidates }
}

fn account(planned: &Planned) -> Account {
    let caller = &planned.resident;
    Account {
        name: caller.name.clone().into_bytes(),
        uid: caller.uid.as_raw(),
        gid: caller.gid.as_raw(),
        gecos: caller.gecos.clone(),
        home: planned.home.clone(),
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
