//! Who is asking: ids from the kernel, never from the plan.

use crate::refusal::{Refusal, Step};
use nix::unistd::{Gid, Uid, getresgid, getresuid};

/// The user who started this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Real user id.
    pub uid: Uid,
    /// Real group id.
    pub gid: Gid,
}

impl Caller {
    /// The caller, and proof that this process holds the privilege it needs: effective and saved uid 0.
    pub fn identify() -> Result<Self, (Self, Refusal)> {
        let unknown = Self { uid: Uid::current(), gid: Gid::current() };
        let ids = getresuid().step("reading user ids").map_err(|refusal| (unknown, refusal))?;
        let groups = getresgid().step("reading group ids").map_err(|refusal| (unknown, refusal))?;
        let caller = Self { uid: ids.real, gid: groups.real };
        if ids.effective.is_root() && ids.saved.is_root() {
            return Ok(caller);
        }
        let refusal = Refusal::new("the starter does not run with root's privilege").hint(
            "it must be owned by root with mode 4711, on a file system without nosuid, and not be started under no_new_privs",
        );
        Err((caller, refusal))
    }

    /// Whether root itself is asking: policy guards what root lends, and to itself it lends nothing.
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }
}
