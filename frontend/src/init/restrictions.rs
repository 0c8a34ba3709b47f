//! What the program may not do, or who it is: the last thing before it takes over.

use crate::error::{Doing, Failure, Outcome};
use crate::payload::{Identity, Instruction, Label, Restrictions};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
};
use seccompiler::BpfProgram;
use std::path::Path;

/// Takes from this process what the program is not to have. A filter may forbid anything, so filters come last.
///
/// # Errors
/// The kernel refused a part; the program must not be started then.
pub(super) fn apply(restrictions: &Restrictions) -> Outcome<()> {
    let kept = restrictions.capabilities.map(CapabilitySet::from_bits_retain);
    if let Some(kept) = kept {
        bound(kept).doing(|| "giving up capabilities".into())?;
    }
    if let Some(identity) = &restrictions.identity {
        become_somebody(identity).doing(|| format!("becoming user id {}", identity.uid))?;
    }
    if let Some(kept) = kept {
        keep(kept).doing(|| "giving up capabilities".into())?;
    }
    if let Some(label) = &restrictions.label {
        announce(label)?;
    }
    for filter in &restrictions.filters {
        install(filter)?;
    }
    Ok(())
}

/// Whether the program gets less than this process has, and so must not reach it.
pub(super) fn are_any(restrictions: &Restrictions) -> bool {
    *restrictions != Restrictions::default()
}

/// Gives up every capability for good: those of a user namespace that the program is not to have.
///
/// # Errors
/// None is known to whoever has them.
pub(super) fn give_up_everything() -> Outcome<()> {
    let doing = || "giving up capabilities".to_owned();
    bound(CapabilitySet::empty()).doing(doing)?;
    keep(CapabilitySet::empty()).doing(doing)
}

/// Leaves only these to be gained at an exec.
fn bound(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // A number that this kernel does not know, and so none after it.
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn keep(kept: CapabilitySet) -> Result<(), Errno> {
    let permitted = capabilities(None)?.permitted & kept;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)
}

fn become_somebody(identity: &Identity) -> nix::Result<()> {
    let groups: Vec<Gid> = identity.gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    setgroups(&groups)?;
    if let Some(gid) = groups.first() {
        setresgid(*gid, *gid, *gid)?;
    }
    let uid = Uid::from_raw(identity.uid);
    setresuid(uid, uid, uid)
}

/// Tells the kernel's security module what the next exec leads to.
fn announce(label: &Label) -> Outcome<()> {
    let of_apparmor = "/proc/self/attr/apparmor/exec";
    let (place, text) = match label {
        Label::Apparmor(profile) if Path::new(of_apparmor).exists() => {
            (of_apparmor, format!("exec {profile}"))
        }
        Label::Apparmor(profile) => ("/proc/self/attr/exec", format!("exec {profile}")),
        Label::Selinux(label) => ("/proc/self/attr/exec", label.clone()),
    };
    std::fs::write(place, text).doing(|| format!("writing the security label to {place}"))
}

fn install(filter: &[Instruction]) -> Outcome<()> {
    let program: BpfProgram = filter.iter().map(|instruction| (*instruction).into()).collect();
    seccompiler::apply_filter(&program)
        .map_err(|error| Failure::new(format!("while installing the seccomp filter: {error}")))
}
