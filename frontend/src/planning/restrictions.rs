//! What the user's program may not do, or who it is, beside what every container is.

use super::seccomp;
use crate::admin::grants::{self, Grants, To};
use crate::error::{Failure, Outcome};
use crate::intent::{
    CapabilityRequest, Intent, SecurityRequest, capability, capability_names, every_capability,
};
use crate::message;
use crate::payload::{Identity, Label, Restrictions};
use crate::site;
use crate::user::Caller;
use config::{RootCapabilities, Settings};
use rustix::thread::CapabilitySet;
use std::path::Path;

/// Settles what was asked for.
///
/// # Errors
/// Something that only root may ask for, or that cannot be read.
pub(super) fn settle(intent: &Intent, site: &Settings, caller: &Caller) -> Outcome<Restrictions> {
    let identity = identity(&intent.security, caller)?;
    let capabilities = match &identity {
        Some(identity) if identity.uid != 0 => none_for_others(intent.capabilities)?,
        _ if intent.fakeroot.is_some() => of_fakeroot(intent.capabilities),
        _ if caller.is_root() => of_root(intent.capabilities, site)?,
        _ => of_user(intent.capabilities)?,
    };
    let filters = match &intent.security.seccomp {
        Some(profile) => seccomp::compile(profile, capabilities)?,
        None => Vec::new(),
    };
    let has_any = caller.is_root() || intent.fakeroot.is_some();
    let keeps_all = !has_any || capabilities == every_capability();
    Ok(Restrictions {
        capabilities: (!keeps_all).then_some(capabilities.bits()),
        identity,
        label: label(&intent.security),
        filters,
    })
}

/// Who the program is where that is not the caller.
fn identity(request: &SecurityRequest, caller: &Caller) -> Outcome<Option<Identity>> {
    let what = match (request.uid, request.gids.first()) {
        (None, None) => return Ok(None),
        (Some(_), _) => "uid",
        (None, Some(_)) => "gid",
    };
    if !caller.is_root() {
        return Err(Failure::new(format!("{what} security feature requires root privileges")));
    }
    let uid = request.uid.unwrap_or(0);
    let gids =
        if request.gids.is_empty() { vec![Caller::of(uid)?.gid.as_raw()] } else { request.gids.clone() };
    Ok(Some(Identity { uid, gids }))
}

fn none_for_others(request: CapabilityRequest) -> Outcome<CapabilitySet> {
    if request.keep || !request.add.is_empty() {
        return Err(Failure::new(
            "only root keeps capabilities in a container, and --security uid: makes somebody else of it",
        ));
    }
    Ok(CapabilitySet::empty())
}

fn of_root(request: CapabilityRequest, site: &Settings) -> Outcome<CapabilitySet> {
    let start = match (request.keep, request.none, site.root_default_capabilities.value) {
        (true, _, _) | (_, false, RootCapabilities::Full) => every_capability(),
        (_, true, _) | (_, _, RootCapabilities::No) => CapabilitySet::empty(),
        (_, _, RootCapabilities::File) => granted_to_root()?,
    };
    Ok((start | request.add) - request.drop)
}

/// Root of a user namespace has what is his own: nothing of it reaches beyond what is the caller's anyway.
fn of_fakeroot(request: CapabilityRequest) -> CapabilitySet {
    let start = if request.none { CapabilitySet::empty() } else { every_capability() };
    (start | request.add) - request.drop
}

/// The setuid starter gives users nothing, whatever the site's file of grants says: it does not read it.
fn of_user(request: CapabilityRequest) -> Outcome<CapabilitySet> {
    if request.keep || request.none {
        let flag = if request.keep { "--keep-privs" } else { "--no-privs" };
        return Err(Failure::new(format!("{flag} requires root privileges")));
    }
    if !request.add.is_empty() {
        message::warning(format!("not authorized to add capability: {}", capability_names(request.add)));
    }
    Ok(CapabilitySet::empty())
}

/// What `capability.json` has for root.
fn granted_to_root() -> Outcome<CapabilitySet> {
    let (grants, _) = Grants::read(&site::file(grants::FILE))?;
    Ok(grants.of(To::User, "root").iter().filter_map(|name| capability(name)).collect())
}

/// What a security module of the kernel is to be told at the exec, where there is one.
fn label(request: &SecurityRequest) -> Option<Label> {
    let enabled = |module: &str, is_there: bool| {
        if !is_there {
            message::warning(format!("{module} is not enabled or supported on this system"));
        }
        is_there
    };
    if let Some(label) = &request.selinux {
        let is_there = Path::new("/sys/fs/selinux/status").exists();
        return enabled("selinux", is_there).then(|| Label::Selinux(label.clone()));
    }
    let profile = request.apparmor.as_ref()?;
    let parameter = std::fs::read("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    enabled("apparmor", parameter.starts_with(b"Y")).then(|| Label::Apparmor(profile.clone()))
}

/// Who lives in a container with `--fakeroot`.
pub(super) fn root() -> Caller {
    Caller {
        name: "root".into(),
        uid: 0.into(),
        gid: 0.into(),
        gecos: b"root".into(),
        home: "/root".into(),
        shell: "/bin/sh".into(),
        supplementary: Vec::new(),
    }
}

/// Who lives in the container: the caller, or whoever root makes of itself.
///
/// # Errors
/// The account cannot be looked up.
pub(super) fn resident(restrictions: &Restrictions, caller: &Caller) -> Outcome<Caller> {
    let Some(identity) = &restrictions.identity else {
        return Ok(caller.clone());
    };
    let account = Caller::of(identity.uid)?;
    let supplementary: Vec<_> = identity.gids.iter().map(|gid| (*gid).into()).collect();
    let gid = supplementary.first().copied().unwrap_or(account.gid);
    Ok(Caller { gid, supplementary, ..account })
}
