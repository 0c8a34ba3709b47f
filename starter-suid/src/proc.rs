//! The kernel's `/proc`, for what namespaces are called, the one way to tell them apart, and for what is mounted.

use crate::refusal::{Refusal, Step};
use libmount::mountinfo::{MountPoint, Parser};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// Longest mount table that is read, in bytes: some thousand mounts.
const MOUNT_TABLE_BYTES_MAX: u64 = 4 << 20;

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

/// A `mountinfo`, whole.
pub fn mount_table(at: impl AsFd, path: &str) -> Result<Vec<u8>, Refusal> {
    let table = rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step("opening the mount table")?;
    let mut text = Vec::new();
    std::fs::File::from(table)
        .take(MOUNT_TABLE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| Refusal::new(format!("while reading the mount table: {error}")))?;
    if text.len() as u64 > MOUNT_TABLE_BYTES_MAX {
        return Err(Refusal::new("there are too many mounts to look at each").hint("bind less of the host"));
    }
    Ok(text)
}

/// The mounts in a table.
pub fn mounts(table: &[u8]) -> impl Iterator<Item = Result<MountPoint<'_>, Refusal>> {
    Parser::new(table)
        .map(|mount| mount.map_err(|error| Refusal::new(format!("a line of the mount table: {error}"))))
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
