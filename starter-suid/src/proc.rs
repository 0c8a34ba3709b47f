//! The kernel's `/proc`, for what namespaces are called: the one way to tell them apart.

use crate::refusal::{Refusal, Step};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::os::fd::OwnedFd;

/// The host's `/proc`. It still tells of this process when a container's own hides it.
pub struct HostProc(OwnedFd);

impl HostProc {
    /// Opens it; call this before a container's root is entered.
    pub fn open() -> Result<Self, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).step("opening /proc")?;
        let kind = rustix::fs::fstatfs(&proc).step("looking at /proc")?.f_type;
        if kind != rustix::fs::PROC_SUPER_MAGIC {
            return Err(Refusal::new("/proc is not the kernel's, so namespaces cannot be told apart"));
        }
        Ok(Self(proc))
    }

    /// The inode number of a namespace of this process, by its name in `/proc/PID/ns`.
    pub fn namespace(&self, name: &str) -> Result<u64, Refusal> {
        let path = format!("self/ns/{name}");
        Ok(rustix::fs::statat(&self.0, &*path, AtFlags::empty()).step("looking at a namespace")?.st_ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_told_by_the_number_in_its_name() {
        let proc = HostProc::open().expect("there is a /proc");
        for name in ["user", "mnt"] {
            let number = proc.namespace(name).expect("it has one");
            let link =
                rustix::fs::readlink(format!("/proc/self/ns/{name}"), Vec::new()).expect("it has a name");
            assert_eq!(link.to_str(), Ok(format!("{name}:[{number}]").as_str()));
        }
    }
}
