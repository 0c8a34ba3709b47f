//! The setuid bit as the source: root lends, so the site's policy decides, and the log has it.

use crate::audit_log::{self, Decision};
use crate::caller::Caller;
use crate::evidence::Facts;
use crate::policy::{self, Limits, Permit};
use crate::refusal::{Refusal, Step};
use crate::source::PrivilegeSource;
use crate::{sanitize, site_config};
use config::Settings;
use nix::unistd::{Uid, getresgid, getresuid};
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
        if ids.effective.is_root() && ids.saved.is_root() {
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
