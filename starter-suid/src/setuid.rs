//! The setuid bit as the source: root lends, so the site's policy decides, and the log has it.

use crate::audit_log::{self, Decision};
use crate::caller::Caller;
use crate::evidence::Facts;
use crate::policy::{self, Limits, Permit};
use crate::refusal::{Refusal, Step};
use crate::source::PrivilegeSource;
use crate::{sanitize, site_config};
use config::Settings;
use nix::unistd::{ResUid, Uid, getresgid, getresuid};
use protocol::Plan;

/// The privilege of a program that is installed setuid root.
pub struct Setuid;

impl PrivilegeSource for Setuid {
    type Site = (Settings, Limits);

    /// The caller is who the real ids name; effective and saved uid must be 0.
    fn identify() -> Result<Caller, (Caller, Refusal)> {
        let unknown = Caller::of_this_process();
        let ids = getresuid().step("reading user ids").map_err(|refusal| (unknown, refusal))?;
        let groups = getresgid().step("reading group ids").map_err(|refusal| (unknown, refusal))?;
        let caller = Caller { uid: ids.real, gid: groups.real };
        if is_lent(&ids) {
            return Ok(caller);
        }
        let refusal = Refusal::new("the starter does not run with root's privilege").hint(
            "it must be owned by root with mode 4711, on a file system without nosuid, and not be started under no_new_privs",
        );
        Err((caller, refusal))
    }

    /// Root in a user namespace that somebody made is not root here.
    fn require_namespace() -> Result<(), Refusal> {
        if sanitize::in_initial_user_namespace()? {
            return Ok(());
        }
        Err(Refusal::new("the setuid starter does not work inside a user namespace"))
    }

    fn site() -> Result<Self::Site, Refusal> {
        let site = site_config::load()?;
        let limits = site_config::limits(&site)?;
        Ok((site, limits))
    }

    fn permit(caller: &Caller, site: &Self::Site, plan: Plan, facts: &[&Facts]) -> Result<Permit, Refusal> {
        let (site, limits) = site;
        policy::judge(caller, site, limits, plan, facts)
    }

    fn permit_join(caller: &Caller, site: &Self::Site) -> Result<(), Refusal> {
        policy::lends(caller, &site.0)
    }

    fn author(_: &Caller) -> Uid {
        Uid::from_raw(0)
    }

    fn record(caller: &Caller, decision: &Decision) {
        audit_log::record(caller, decision);
    }
}

/// Whether these are the ids that the kernel gives to a setuid program of root's.
fn is_lent(users: &ResUid) -> bool {
    users.effective.is_root() && users.saved.is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::caller;

    #[test]
    fn only_a_whole_setuid_bit_of_roots_lends_anything() {
        let is_lent = |[real, effective, saved]: [u32; 3]| {
            let [real, effective, saved] = [real, effective, saved].map(Uid::from_raw);
            is_lent(&ResUid { real, effective, saved })
        };
        for ids in [[1000, 0, 0], [0, 0, 0]] {
            assert!(is_lent(ids), "{ids:?}");
        }
        for ids in [[1000, 1000, 1000], [1000, 1000, 0], [1000, 0, 1000], [0, 1000, 1000]] {
            assert!(!is_lent(ids), "{ids:?}");
        }
    }

    #[test]
    fn a_site_without_setuid_lets_users_join_nothing() {
        let site = |text: &[u8]| (Settings::parse(text).expect("it is good"), Limits::default());
        assert!(Setuid::permit_join(&caller(1000), &site(b"")).is_ok());
        assert!(Setuid::permit_join(&caller(1000), &site(b"allow setuid = no")).is_err());
        assert!(Setuid::permit_join(&caller(0), &site(b"allow setuid = no")).is_ok());
    }
}
