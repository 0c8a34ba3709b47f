//! Where the power to mount comes from. It is a type, so a program has one source from the compiler on: nothing
//! that it meets when it runs can give the setuid program the rules of the other.

use crate::audit_log::Decision;
use crate::caller::Caller;
use crate::evidence::Facts;
use crate::policy::Permit;
use crate::refusal::Refusal;
use nix::unistd::Uid;
use protocol::Plan;

/// What differs between the programs.
pub trait PrivilegeSource {
    /// What is read of the site's configuration.
    type Site;

    /// Who asks, and proof that this process holds the privilege it needs, and holds it from this source.
    fn identify() -> Result<Caller, (Caller, Refusal)>;

    /// Refuses to work in the user namespaces of the other source.
    fn require_namespace() -> Result<(), Refusal>;

    /// Reads the site's configuration.
    fn site() -> Result<Self::Site, Refusal>;

    /// Whether the plan may be carried out, and how.
    fn permit(caller: &Caller, site: &Self::Site, plan: Plan, facts: &[&Facts]) -> Result<Permit, Refusal>;

    /// Refuses to lend to whoever joins an instance of his, where the site lends nothing any more.
    fn permit_join(caller: &Caller, site: &Self::Site) -> Result<(), Refusal>;

    /// Who writes the records of instances: whoever the program is before it gives anything up.
    fn author(caller: &Caller) -> Uid;

    /// Notes what was decided, where somebody else than the caller has lent something.
    fn record(caller: &Caller, decision: &Decision);
}
