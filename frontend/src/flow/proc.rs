//! The `/proc` of a container with process ids of its own. Where parts of the host's are covered, as they are in most
//! containers, the kernel lets nobody in a user namespace make one that shows them.

use crate::error::{Doing, Outcome};
use crate::message;
use crate::sys::fork::fork_to;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use protocol::{Bind, ContainerPath, Descriptor, Mount, Plan};
use std::os::fd::OwnedFd;

const PLACE: &str = "/proc";

/// Has the plan show the host's `/proc` where a new one cannot be made. Call it in the user namespace; the source that is
/// added is one of its mount namespace.
///
/// # Errors
/// The host's cannot be opened either, or the kernel has no processes left for the trial.
pub fn settle(mut plan: Plan, sources: &mut Vec<OwnedFd>) -> Outcome<Plan> {
    let is_new = |mount: &&mut Mount| **mount == Mount::Proc;
    let wanted = plan.mounts.iter_mut().find(is_new).filter(|_| plan.namespaces.pid);
    let (Some(mount), Ok(place)) = (wanted, ContainerPath::new(PLACE.into())) else {
        return Ok(plan);
    };
    if can_be_made()? {
        return Ok(plan);
    }
    let number = u16::try_from(sources.len()).doing(|| "numbering the sources".into())?;
    let opened = nix::fcntl::open(PLACE, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    sources.push(opened.doing(|| format!("opening {PLACE}"))?);
    *mount = Mount::User(Bind {
        descriptor: Descriptor(number),
        destination: place,
        read_only: false,
        optional: true,
    });
    message::warning(
        "This host does not let a user namespace have a /proc of its own: the container sees the host's, with its process ids",
    );
    Ok(plan)
}

/// Tries it, in a process that is gone afterwards: only the first of a PID namespace sees what the container would.
fn can_be_made() -> Outcome<bool> {
    let trying = || "trying to make a /proc".to_owned();
    let ended = |child: Pid| waitpid(child, None) == Ok(WaitStatus::Exited(child, 0));
    let first = || {
        let made = mount(Some("proc"), PLACE, Some("proc"), MsFlags::empty(), None::<&str>);
        i32::from(made.is_err())
    };
    let outer = fork_to(|| {
        let apart = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID);
        i32::from(!apart.is_ok_and(|()| fork_to(first).is_ok_and(ended)))
    });
    Ok(ended(outer.doing(trying)?))
}
