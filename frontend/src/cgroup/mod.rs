//! Limits on what a container takes of the machine: a control group (version 2) of its own, entered before the start.
//!
//! Root's groups are in `lamina` at the top; a user's are in the group that the user is in, which must have been
//! delegated. Nobody stays to remove a group when its container has ended: the next start with limits does, for every
//! group beside its own whose process is gone, and `instance stop` for an instance's own.

mod limits;
mod usage;

pub use limits::{Limits, Setting};
pub use usage::{Cpu, Io, Memory, Pids, Usage};

/// What limits are made of.
pub(crate) mod parts {
    pub(crate) use super::limits::{Resources, bytes, device_weight, processors};
}

use crate::error::{Doing, Failure, Outcome, reason_of};
use crate::message::shown;
use crate::user::Caller;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, Pid, access};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where the host has its control groups.
const TOP: &str = "/sys/fs/cgroup";
/// The group that root's groups are in.
const OF_ROOT: &str = "lamina";
/// What the names of containers' groups begin with, before the id of the process that made them.
const PREFIX: &str = "lamina-";

/// The controllers that count what [`Usage`] tells.
const COUNTING: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// Moves this process into a new group with these limits.
///
/// # Errors
/// There are no groups of version 2, this one was not delegated, or a limit cannot be set.
pub fn enter(limits: &Limits, caller: &Caller) -> Outcome<()> {
    enter_new(limits, caller).map(drop)
}

/// The same, and has counted there what can be.
///
/// # Errors
/// As [`enter`]; that something cannot be counted is none.
pub fn enter_and_count(limits: &Limits, caller: &Caller) -> Outcome<()> {
    let parent = enter_new(limits, caller)?;
    for controller in COUNTING {
        let _ = hand_down(&parent, controller);
    }
    Ok(())
}

/// Why a container of this caller's can have no group of its own.
#[must_use]
pub fn obstacle(caller: &Caller) -> Option<Failure> {
    match place(caller) {
        Ok(parent) => access(&parent, AccessFlags::W_OK)
            .err()
            .map(|errno| not_delegated(&parent, &errno.into(), caller)),
        Err(failure) => Some(failure),
    }
}

/// The group of a container that this process is in, if it was started in one of its own.
#[must_use]
pub fn of(process: Pid) -> Option<PathBuf> {
    let own = own_group(&process.to_string()).ok().flatten()?;
    let named = own.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PREFIX));
    (named && own.is_dir()).then_some(own)
}

/// Returns the group that the new one is in.
fn enter_new(limits: &Limits, caller: &Caller) -> Outcome<PathBuf> {
    let parent = parent(caller)?;
    remove_old(&parent);
    let group = parent.join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir(&group).map_err(|error| not_delegated(&group, &error, caller))?;
    let entered = furnish(&parent, &group, limits, caller);
    if entered.is_err() {
        // This process may be in it already; then the next start removes it.
        let _ = fs::remove_dir(&group);
    }
    entered.map(|()| parent)
}

/// A group with members cannot hand controllers down, so this process goes first.
fn furnish(parent: &Path, group: &Path, limits: &Limits, caller: &Caller) -> Outcome<()> {
    put(&group.join("cgroup.procs"), &std::process::id().to_string())
        .map_err(|error| not_delegated(group, &error, caller))?;
    for controller in limits.controllers() {
        hand_down(parent, controller)?;
    }
    for Setting { file, value } in limits.settings() {
        put(&group.join(file), value)
            .doing(|| format!("setting {file} to {value} for the container's control group"))?;
    }
    Ok(())
}

/// The group in which the new one is made. Root's is made where it is missing.
fn parent(caller: &Caller) -> Outcome<PathBuf> {
    let place = place(caller)?;
    if !caller.is_root() {
        return Ok(place);
    }
    let parent = place.join(OF_ROOT);
    match fs::create_dir(&parent) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(parent.clone()),
    }
    .doing(|| format!("making the control group {}", shown(&parent)))
}

/// The group that the caller can make groups in: the top for root, else his own.
fn place(caller: &Caller) -> Outcome<PathBuf> {
    if !statfs(TOP).is_ok_and(|data| data.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Err(Failure::new(format!("limits need control groups of version 2, and {TOP} has none"))
            .hint("start the kernel with systemd.unified_cgroup_hierarchy=1"));
    }
    if caller.is_root() {
        return Ok(PathBuf::from(TOP));
    }
    own_group("self")?.ok_or_else(|| Failure::new("this process is in no control group of version 2"))
}

/// The group that a process is in; nothing where it is in none of version 2.
fn own_group(process: &str) -> Outcome<Option<PathBuf>> {
    let table = fs::read_to_string(format!("/proc/{process}/cgroup"))
        .doing(|| format!("reading the control group of process {process}"))?;
    Ok(table.lines().find_map(|line| line.strip_prefix("0::/")).map(|own| Path::new(TOP).join(own)))
}

/// Lets the groups in `parent` have a controller; for root's, the top hands it down to `parent` first.
fn hand_down(parent: &Path, controller: &str) -> Outcome<()> {
    let has = |group: &Path| {
        let controllers = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
        controllers.split_whitespace().any(|known| known == controller)
    };
    let enable = |group: &Path| {
        put(&group.join("cgroup.subtree_control"), &format!("+{controller}")).map_err(|error| {
            let failure = Failure::new(format!(
                "while handing the controller {controller} down in the control group {}: {}",
                shown(group),
                reason_of(&error)
            ));
            match error.kind() {
                ErrorKind::ResourceBusy => failure.hint(ALONE),
                _ => failure,
            }
        })
    };
    let top = Path::new(TOP);
    if !has(parent) && parent == top.join(OF_ROOT) && has(top) {
        enable(top)?;
    }
    if !has(parent) {
        return Err(Failure::new(format!(
            "the controller {controller} is not there for the control group {}",
            shown(parent)
        ))
        .hint(
            "the administrator decides which controllers are delegated: Delegate= in systemd's user@.service",
        ));
    }
    enable(parent)
}

/// How a user gets a group where this works.
const ALONE: &str =
    "start the command alone in a group of its own: 'systemd-run --user --scope -p Delegate=yes COMMAND'";

fn not_delegated(group: &Path, error: &std::io::Error, caller: &Caller) -> Failure {
    let failure =
        Failure::new(format!("while making the control group {}: {}", shown(group), reason_of(error)));
    if caller.is_root() { failure } else { failure.hint(ALONE) }
}

/// Removes the groups of containers that have ended. One that somebody is still in cannot be removed, and one whose
/// maker lives may be on its way.
fn remove_old(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Writes a value into a file of a group: the kernel takes it in one write or not at all.
fn put(file: &Path, value: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}
