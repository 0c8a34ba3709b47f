//! Capabilities, each raised only around the calls that need it.

use crate::caller::Caller;
use crate::refusal::{Refusal, Step};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// What the caller could do alone.
pub const NOTHING: CapabilitySet = CapabilitySet::empty();

/// What the mounter can do at any moment: mount.
pub const ALWAYS: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// What an overlay file system may do in the caller's name for as long as it lives: it acts with the capabilities
/// of whoever created it.
pub const OVERLAY: CapabilitySet = CapabilitySet::SYS_ADMIN // to keep its marks in `trusted.overlay.*`
    .union(CapabilitySet::DAC_OVERRIDE) // to copy up what the caller may not read but may replace, and to use `work`
    .union(CapabilitySet::DAC_READ_SEARCH) // the same, for lower layers
    .union(CapabilitySet::CHOWN) // to give a copied-up file its owner
    .union(CapabilitySet::FOWNER) // to give it its mode, times and attributes
    .union(CapabilitySet::FSETID) // to keep its set-group-id bit
    .union(CapabilitySet::SETFCAP) // to keep its file capabilities, which `nosuid` makes inert
    .union(CapabilitySet::MKNOD); // to copy up a device node, which `nodev` makes inert

/// To walk through a container's tree: it may hold folders of the host, so nobody is taken where he could not go, nor
/// told what is there. Root goes everywhere.
pub fn walk(caller: &Caller) -> CapabilitySet {
    if caller.is_root() { ALWAYS.union(CapabilitySet::DAC_READ_SEARCH) } else { ALWAYS }
}

/// Does something with the caller's file system user id and with just these capabilities. The group needs no change:
/// the starter is not set-group-id.
pub fn as_caller<T>(
    caller: &Caller,
    capabilities: CapabilitySet,
    act: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let before = become_owner(caller.uid)?;
    raise(capabilities)?;
    let result = act();
    raise(ALWAYS)?;
    become_owner(before)?;
    result
}

/// Ends this process when the starter ends, and lets nobody look in. Each change of ids undoes both: the kernel forgets the
/// one, and the host's `fs.suid_dumpable` decides the other.
pub fn keep_to_the_starter() -> Result<(), Refusal> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).step("tying the mounter to the starter")?;
    nix::sys::prctl::set_dumpable(false).step("keeping the mounter undumpable")
}

/// Returns the id before. The call has no error to give: it answers with that id in any case. A second one, with no id
/// at all, says what became of the first.
fn become_owner(uid: Uid) -> Result<Uid, Refusal> {
    let before = setfsuid(uid);
    if setfsuid(Uid::from_raw(u32::MAX)) != uid {
        return Err(Refusal::new("the file system user id could not be changed"));
    }
    keep_to_the_starter()?;
    Ok(before)
}

/// Makes these capabilities effective. [`OVERLAY`] is all that may ever be raised: it is what stays permitted.
pub fn raise(capabilities: CapabilitySet) -> Result<(), Refusal> {
    let sets =
        CapabilitySets { effective: capabilities, permitted: OVERLAY, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).step("choosing capabilities")
}
