//! Into the container: its root becomes `/` for this process and for the one that waits, and the host's tree goes.

use crate::proc;
use crate::refusal::{Refusal, Step};
use nix::mount::{MntFlags, umount2};
use nix::unistd::{chdir, fchdir, pivot_root};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::OwnedFd;

/// Makes `root` the root of every process of this mount namespace, and proves what is mounted there.
pub fn enter(root: &OwnedFd) -> Result<(), Refusal> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, "/proc/self", flags, Mode::empty()).step("opening /proc/self")?;
    fchdir(root).step("entering the container's root")?;
    pivot_root(".", ".").step("changing roots")?;
    // The old root now lies on the new one, and the session's memory on top of it.
    for what in ["the session's memory", "the host's tree"] {
        umount2(".", MntFlags::MNT_DETACH).step(format!("letting {what} go"))?;
    }
    chdir("/").step("entering the container's root")?;
    prove(&proc)
}

/// Reads the mount table back: everything is `nosuid`, and `nodev` too but for what lies in `/dev`. The table is the
/// kernel's, opened through a descriptor from before the container's own `/proc` was in sight.
fn prove(proc: &OwnedFd) -> Result<(), Refusal> {
    let table = proc::mount_table(proc, "mountinfo")?;
    let mut mounts = 0;
    for mount in proc::mounts(&table) {
        let mount = mount?;
        let place = mount.mount_point.as_encoded_bytes();
        let in_dev = place == b"/dev" || place.starts_with(b"/dev/");
        let needed = if in_dev { libc::MS_NOSUID } else { libc::MS_NOSUID | libc::MS_NODEV };
        if mount.get_flags() & needed != needed {
            return Err(Refusal::new(format!("{} was mounted without its flags", place.escape_ascii())));
        }
        mounts += 1;
    }
    if mounts == 0 {
        return Err(Refusal::new("the mount table is empty"));
    }
    Ok(())
}
