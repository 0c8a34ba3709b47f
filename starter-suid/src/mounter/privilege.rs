//! Capabilities, each raised only around the calls that need it.

use crate::caller::Caller;
use crate::refusal::{Refusal, Step};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Uid, setfsuid};

/// What the mounter can do at any moment: mount.
pub const ALWAYS: &[Capability] = &[Capability::CAP_SYS_ADMIN];

/// To walk to a mount point below directories that are closed to root on the caller's own file systems.
pub const WALK: &[Capability] = &[Capability::CAP_SYS_ADMIN, Capability::CAP_DAC_READ_SEARCH];

/// What an overlay file system may do in the caller's name for as long as it lives: it acts with the capabilities
/// of whoever created it.
pub const OVERLAY: &[Capability] = &[
    Capability::CAP_SYS_ADMIN,       // to keep its marks in `trusted.overlay.*`
    Capability::CAP_DAC_OVERRIDE, // to copy up what the caller may not read but may replace, and to use `work`
    Capability::CAP_DAC_READ_SEARCH, // the same, for lower layers
    Capability::CAP_CHOWN,        // to give a copied-up file its owner
    Capability::CAP_FOWNER,       // to give it its mode, times and attributes
    Capability::CAP_FSETID,       // to keep its set-group-id bit
    Capability::CAP_SETFCAP,      // to keep its file capabilities, which `nosuid` makes inert
    Capability::CAP_MKNOD,        // to copy up a device node, which `nodev` makes inert
];

/// All that the mounter may ever raise.
pub fn permitted() -> CapsHashSet {
    OVERLAY.iter().copied().collect()
}

/// Does something with the caller's file system user id and with just these capabilities. The group needs no change:
/// the starter is not set-group-id.
pub fn as_caller<T>(
    caller: &Caller,
    capabilities: &[Capability],
    act: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    setfsuid(caller.uid);
    raise(capabilities)?;
    let result = act();
    raise(ALWAYS)?;
    setfsuid(Uid::from_raw(0));
    result
}

fn raise(capabilities: &[Capability]) -> Result<(), Refusal> {
    let set = capabilities.iter().copied().collect();
    caps::set(None, CapSet::Effective, &set).step("choosing capabilities")
}
