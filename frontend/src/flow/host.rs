//! What this host lets a process do: whether the setuid starter has power here, and whether users may make user
//! namespaces.

use crate::error::reason_of;
use crate::launch;
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Inode number of the initial user namespace: `PROC_USER_INIT_INO` in the kernel's `proc_ns.h`.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Whether this process is in a user namespace that somebody made. Without a `/proc` it is taken for the host's.
#[must_use]
pub fn in_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|data| data.ino() != INITIAL_USER_NAMESPACE)
}

/// Why the setuid starter would start without root's privilege, if that is so.
#[must_use]
pub fn setuid_fault() -> Option<String> {
    let starter = launch::setuid_starter();
    let data = match fs::metadata(&starter) {
        Ok(data) => data,
        Err(error) => return Some(format!("while looking for the starter {starter}: {}", reason_of(&error))),
    };
    if data.permissions().mode() & 0o4000 == 0 {
        return Some(format!("the starter {starter} has no setuid bit"));
    }
    if statvfs(Path::new(&starter)).is_ok_and(|found| found.flags().contains(FsFlags::ST_NOSUID)) {
        return Some(format!("the starter {starter} is on a file system that is mounted nosuid"));
    }
    let cancelled = nix::sys::prctl::get_no_new_privs().unwrap_or(false);
    cancelled.then(|| "no_new_privs is set for this process, so no setuid bit counts".to_owned())
}

/// A setting of the host that keeps users from making user namespaces, or from using them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// As `sysctl` names it.
    pub name: &'static str,
    /// The value it has.
    pub value: &'static str,
    /// The value that would allow them.
    pub allowing: &'static str,
}

/// Settings that forbid, each in one value.
const FORBIDDING: [Setting; 3] = [
    Setting { name: "user.max_user_namespaces", value: "0", allowing: "15000" },
    Setting { name: "kernel.unprivileged_userns_clone", value: "0", allowing: "1" },
    Setting { name: "kernel.apparmor_restrict_unprivileged_userns", value: "1", allowing: "0" },
];

/// The setting that forbids user namespaces to users. `sysctl` reads one, by its path below `/proc/sys`.
#[must_use]
pub fn forbidding(sysctl: impl Fn(&str) -> Option<String>) -> Option<Setting> {
    let says = |setting: &Setting| {
        sysctl(&setting.name.replace('.', "/")).is_some_and(|found| found.trim() == setting.value)
    };
    FORBIDDING.into_iter().find(says)
}

/// Reads a setting of this host.
#[must_use]
pub fn sysctl(path: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(path)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_user_namespaces_is_found() {
        assert_eq!(forbidding(|_| None), None);
        let found = forbidding(|path| {
            (path == "kernel/apparmor_restrict_unprivileged_userns").then(|| "1\n".to_owned())
        });
        assert_eq!(found.map(|setting| setting.allowing), Some("0"));
        assert_eq!(forbidding(|path| Some(path.len().to_string())), None);
        let found = forbidding(|_| Some("0\n".to_owned()));
        assert_eq!(found.map(|setting| setting.name), Some("user.max_user_namespaces"));
    }
}
