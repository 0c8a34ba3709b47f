//! The hand that mounts: a short-lived child that builds the container's tree, moves everybody into it, reports
//! and ends. It shares the mount namespace with the process that becomes the user's program and the one that waits outside
//! for that, neither of which can be looked into meanwhile, and nothing else.

mod confine;
mod privilege;
mod report;
mod session;
mod loop_device;
mod layers;
mod overlay;
mod underlay;
mod destinations;
mod binds;
mod kernel_fs;
mod pivot;

use crate::caller::Caller;
use crate::namespaces::Materials;
use crate::policy::Permit;
use crate::refusal::Refusal;
use crate::sys::{self, Forked};
pub use report::{Built, Mounter};

/// Builds the container's root and moves this process into it. The mounter has done its work then, and is ending.
pub fn build(caller: &Caller, permit: &Permit, materials: Materials) -> Result<(Built, Mounter), Refusal> {
    let (ours, theirs) = report::channel()?;
    let starter = nix::unistd::getpid();
    match sys::fork()? {
        Forked::Parent(mounter) => {
            drop((theirs, materials));
            report::receive(&ours, Mounter::new(mounter))
        }
        Forked::Child => {
            drop(ours);
            let outcome = confine::confine(starter).and_then(|()| furnish(caller, permit, materials));
            report::send(&theirs, &outcome);
            sys::exit_now(0)
        }
    }
}

/// The whole work, in order: memory, layers, root, what is mounted inside, and in.
fn furnish(caller: &Caller, permit: &Permit, materials: Materials) -> Result<Built, Refusal> {
    let mut session = session::Session::attach(caller, &permit.orders)?;
    let mut stack = layers::open(caller, permit, materials.sources, &mut session)?;
    let wanted = destinations::wanted(permit, &materials.host_trees, &stack)?;
    let root = overlay::assemble(caller, permit, &mut stack, &wanted, &session)?;
    let mut house = binds::House::new(caller, permit, &wanted, root, session);
    for (mount, tree) in permit.plan.mounts.iter().zip(materials.host_trees) {
        house.add(mount, tree, &mut stack, &materials.device_nodes)?;
    }
    let account_files = house.account_files(&permit.plan.account_files)?;
    let warnings = house.finish()?;
    Ok(Built { account_files, warnings })
}
