//! Giving up everything, in the order that makes it stick, and the proof.

use crate::caller::Caller;
use crate::refusal::{Refusal, Step};
use crate::sys;
use caps::CapSet;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, remove_capability_from_bounding_set,
    set_capabilities,
};

/// Proof that this process has no more privilege than its caller had.
#[must_use]
pub struct Unprivileged(());

/// Becomes the caller, for good. The bounding set goes first because emptying it needs a capability; groups go
/// before users because changing them does too; `no_new_privs` comes last because nothing here needs it. Root stays
/// root: it lent itself nothing.
pub fn give_up(caller: &Caller) -> Result<Unprivileged, Refusal> {
    if caller.is_root() {
        return Ok(Unprivileged(()));
    }
    empty_bounding_set()?;
    caps::clear(None, CapSet::Ambient).step("emptying a capability set")?;
    sys::lock_root_out()?;
    // Where the host's `fs.suid_dumpable` says so, the change of ids makes this process one that the caller may look into,
    // were it not for the capabilities: they go when that is undone.
    let doing = "staying undumpable";
    nix::sys::prctl::set_keepcaps(true).step(doing)?;
    setresgid(caller.gid, caller.gid, caller.gid).step("giving up root's group")?;
    setresuid(caller.uid, caller.uid, caller.uid).step("giving up root")?;
    nix::sys::prctl::set_dumpable(false).step(doing)?;
    let nothing = CapabilitySet::empty();
    let sets = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    set_capabilities(None, sets).step("emptying the capability sets")?;
    nix::sys::prctl::set_no_new_privs().step("setting no_new_privs")?;
    prove(caller)
}

/// Whether this process never had more than its caller: the file has lost its setuid bit, or the kernel ignored it.
pub fn holds_nothing(caller: &Caller) -> bool {
    let users = getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [caller.uid; 3]);
    users && caps::read(None, CapSet::Permitted).is_ok_and(|set| set.is_empty())
}

/// Each capability by its number, whether this kernel, or a library, knows it or not.
fn every_capability() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

fn empty_bounding_set() -> Result<(), Refusal> {
    for capability in every_capability() {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) if capability != CapabilitySet::CHOWN => break,
            refused => refused.step("emptying the bounding set")?,
        }
    }
    Ok(())
}

/// Whether this process has no capability in any set, and none to gain.
fn has_no_capability() -> Result<bool, Refusal> {
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient] {
        if !caps::read(None, set).step("reading a capability set")?.is_empty() {
            return Ok(false);
        }
    }
    // A number that this kernel does not know is in no set.
    let is_out = |capability| {
        matches!(capability_is_in_bounding_set(capability), Ok(false) | Err(rustix::io::Errno::INVAL))
    };
    Ok(every_capability().all(is_out))
}

/// Whether the kernel refused an id: it may not be taken, or does not exist in this user namespace.
fn is_refused(answer: Result<(), Errno>) -> bool {
    matches!(answer, Err(Errno::EPERM | Errno::EINVAL))
}

fn prove(caller: &Caller) -> Result<Unprivileged, Refusal> {
    let doubt = |what: &str| Err(Refusal::new(format!("root's privilege was not given up: {what}")));
    let users = getresuid().step("reading user ids")?;
    let groups = getresgid().step("reading group ids")?;
    if [users.real, users.effective, users.saved] != [caller.uid; 3] {
        return doubt("user ids");
    }
    if [groups.real, groups.effective, groups.saved] != [caller.gid; 3] {
        return doubt("group ids");
    }
    if !has_no_capability()? {
        return doubt("capabilities");
    }
    let unchanged = Uid::from_raw(u32::MAX);
    if !is_refused(setresuid(unchanged, Uid::from_raw(0), unchanged)) {
        return doubt("root could be taken back");
    }
    let unchanged = Gid::from_raw(u32::MAX);
    if caller.gid.as_raw() != 0 && !is_refused(setresgid(unchanged, Gid::from_raw(0), unchanged)) {
        return doubt("root's group could be taken back");
    }
    Ok(Unprivileged(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::caller;

    #[test]
    fn every_capability_has_its_turn() {
        let all = every_capability().fold(CapabilitySet::empty(), |all, one| {
            assert_eq!((one.bits().count_ones(), all & one), (1, CapabilitySet::empty()));
            all | one
        });
        assert_eq!(all.bits(), u64::MAX);
    }

    #[test]
    fn only_what_the_kernel_refuses_for_good_is_refused() {
        assert!(is_refused(Err(Errno::EPERM)) && is_refused(Err(Errno::EINVAL)));
        assert!(!is_refused(Ok(())) && !is_refused(Err(Errno::EAGAIN)));
    }

    #[test]
    fn root_is_not_taken_for_somebody_without_privilege() {
        assert!(give_up(&caller(0)).is_ok(), "root gives up nothing");
        assert!(Uid::effective().is_root(), "and is root still");
        assert!(prove(&caller(1000)).is_err() && prove(&caller(0)).is_err());
        assert!(!holds_nothing(&caller(0)) && !holds_nothing(&caller(1000)));
        assert!(has_no_capability().is_ok_and(|none| !none));
    }
}
