//! A user namespace as the source: the caller made it and holds its capabilities, so nobody lends anything and there
//! is nothing to judge. The kernel guards what is not his. The site's file only shapes the container.

use crate::audit_log::Decision;
use crate::caller::Caller;
use crate::evidence::Facts;
use crate::policy::{self, Permit};
use crate::refusal::{Refusal, Step};
use crate::source::PrivilegeSource;
use crate::{sanitize, site_config};
use caps::{CapSet, Capability};
use config::Settings;
use nix::unistd::{ResGid, ResUid, Uid, getresgid, getresuid};
use protocol::{Content, Plan};
use rustix::fs::FileType;

/// The privilege of a program that was started in a user namespace of its caller's.
pub struct UserNamespace;

impl PrivilegeSource for UserNamespace {
    type Site = Settings;

    /// The caller is who the process is. A program that got its privilege from a setuid bit has the wrong one.
    fn identify() -> Result<Caller, (Caller, Refusal)> {
        let caller = Caller::of_this_process();
        let refuse = |refusal| (caller, refusal);
        let users = getresuid().step("reading user ids").map_err(refuse)?;
        let groups = getresgid().step("reading group ids").map_err(refuse)?;
        if !is_own(&caller, &users, &groups) {
            return Err(refuse(
                Refusal::new("this starter has a setuid or setgid bit, which it must not have")
                    .hint("'make install' repairs that; the setuid starter is the one called starter-suid"),
            ));
        }
        Ok(caller)
    }

    /// Outside of a user namespace any capability is the machine's own.
    fn require_namespace() -> Result<(), Refusal> {
        let refusal = if sanitize::in_initial_user_namespace()? {
            "this starter works only inside a user namespace"
        } else if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
            .step("reading a capability set")?
        {
            "the user namespace gives this process no right to mount"
        } else {
            return Ok(());
        };
        Err(Refusal::new(refusal).hint("start containers with the frontend: it makes one"))
    }

    fn site() -> Result<Settings, Refusal> {
        site_config::load_untrusted()
    }

    /// Image files need loop devices, which belong to the machine: here they come as directories that FUSE servers of
    /// the caller's show.
    fn permit(_: &Caller, site: &Settings, plan: Plan, facts: &[&Facts]) -> Result<Permit, Refusal> {
        let is_directory = |number: u16| {
            facts.get(usize::from(number)).is_some_and(|facts| facts.kind == FileType::Directory)
        };
        let unfit = |image: &protocol::Image| {
            image.content != Content::Directory || !is_directory(image.descriptor.0)
        };
        if plan.images().any(unfit) {
            return Err(Refusal::new("in a user namespace a container is made of directories only"));
        }
        policy::permit_own(site, plan, facts)
    }

    fn permit_join(_: &Caller, _: &Settings) -> Result<(), Refusal> {
        Ok(())
    }

    fn author(caller: &Caller) -> Uid {
        caller.uid
    }

    /// A line would be the caller's own, about himself.
    fn record(_: &Caller, _: &Decision) {}
}

/// Whether all ids are the caller's, as they are without a setuid or setgid bit.
fn is_own(caller: &Caller, users: &ResUid, groups: &ResGid) -> bool {
    [users.effective, users.saved] == [caller.uid; 2] && [groups.effective, groups.saved] == [caller.gid; 2]
}

#[cfg(test)]
mod tests;
