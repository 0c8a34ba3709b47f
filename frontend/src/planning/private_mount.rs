//! File systems that only the user who mounted them may look into, not even root: FUSE without `allow_other`, as
//! sshfs mounts by default. The kernel asks for one and the same real, effective and saved user id, which a setuid
//! starter does not have.

use crate::error::{Failure, Outcome};
use crate::message::shown;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// Refuses what a setuid starter could not look at.
///
/// # Errors
/// `file` is on such a file system. `path` is for the message.
pub(super) fn check(file: impl AsFd, path: &Path) -> Outcome<()> {
    let is_fuse = fstatfs(&file).is_ok_and(|data| data.filesystem_type() == FUSE_SUPER_MAGIC);
    if !is_fuse || is_open_to_others(file.as_fd().as_raw_fd()) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is on a FUSE file system that is closed to everybody but the user who mounted it",
        shown(path)
    ))
    .hint("mount it with '-o allow_other' (user_allow_other in /etc/fuse.conf permits that), use a copy elsewhere, or try --userns"))
}

/// Whether the kernel lets other users in. Where it does not tell, the starter will.
fn is_open_to_others(fd: i32) -> bool {
    let described = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let mount = described.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let options = mount.and_then(|mount| super_options(&table, mount.trim()));
    options.is_none_or(|options| options.split(|byte| *byte == b',').any(|option| option == b"allow_other"))
}

/// The last field of a mount's line: the options of its file system.
fn super_options<'a>(table: &'a [u8], mount: &str) -> Option<&'a [u8]> {
    let mut lines = table.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.split(|byte| *byte == b' ').next() == Some(mount.as_bytes()))?;
    line.rsplit(|byte| *byte == b' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_mount_are_found_by_its_number() {
        let table =
            b"3 1 0:4 / /a rw - fuse.sshfs h: rw,user_id=1\n31 1 0:5 / /b rw - fuse x rw,allow_other\n";
        assert_eq!(super_options(table, "31"), Some(&b"rw,allow_other"[..]));
        assert_eq!(super_options(table, "3"), Some(&b"rw,user_id=1"[..]));
        assert_eq!(super_options(table, "1"), None);
    }
}
