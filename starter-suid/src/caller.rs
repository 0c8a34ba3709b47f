//! Who is asking: ids from the kernel, never from the plan.

use nix::unistd::{Gid, Uid};

/// The user who started this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Real user id.
    pub uid: Uid,
    /// Real group id.
    pub gid: Gid,
}

impl Caller {
    /// Whoever started this process.
    pub fn of_this_process() -> Self {
        Self { uid: Uid::current(), gid: Gid::current() }
    }

    /// Whether root itself is asking: policy guards what root lends, and to itself it lends nothing.
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }
}
