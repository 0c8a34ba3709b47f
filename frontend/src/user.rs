//! Who is calling, as the host's name services know them.

use crate::error::{Doing, Failure, Outcome};
use nix::unistd::{Gid, Group, Uid, User, getegid, getgroups, getuid};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Whether files of this process can become those of others: it is root, and not only in a namespace in which nobody
/// else exists.
#[must_use]
pub fn may_give_files_away() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    Uid::effective().is_root() && ids_in(&map) != 1
}

/// How many ids a map of a user namespace has.
fn ids_in(map: &str) -> u64 {
    let count = |line: &str| line.split_whitespace().nth(2)?.parse().ok();
    map.lines().filter_map(count).fold(0, u64::saturating_add)
}

/// The caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Login name.
    pub name: String,
    /// Real user id.
    pub uid: Uid,
    /// Effective group id.
    pub gid: Gid,
    /// The comment field of the account.
    pub gecos: Vec<u8>,
    /// The account's home directory; the environment's `HOME` does not count.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
    /// The groups besides [`Caller::gid`].
    pub supplementary: Vec<Gid>,
}

impl Caller {
    /// Looks the caller up.
    ///
    /// # Errors
    /// The user id has no account.
    pub fn look_up() -> Outcome<Self> {
        let uid = getuid();
        let user = User::from_uid(uid)
            .doing(|| format!("looking up the account of user id {uid}"))?
            .ok_or_else(|| {
                Failure::new(format!("user id {uid} has no account on this host"))
                    .hint("check that the name service (for example sssd or LDAP) is up: 'getent passwd' should list you")
            })?;
        Ok(Self {
            name: user.name,
            uid,
            gid: getegid(),
            gecos: user.gecos.to_bytes().to_vec(),
            home: user.dir,
            shell: user.shell,
            supplementary: getgroups().unwrap_or_default(),
        })
    }

    /// Somebody by number, with or without an account.
    ///
    /// # Errors
    /// The name services cannot tell.
    pub fn of(uid: u32) -> Outcome<Self> {
        let user = User::from_uid(uid.into()).doing(|| format!("looking up the account of user id {uid}"))?;
        Ok(match user {
            Some(user) => Self {
                name: user.name,
                uid: user.uid,
                gid: user.gid,
                gecos: user.gecos.to_bytes().to_vec(),
                home: user.dir,
                shell: user.shell,
                supplementary: Vec::new(),
            },
            None => Self {
                name: uid.to_string(),
                uid: uid.into(),
                gid: uid.into(),
                gecos: Vec::new(),
                home: "/".into(),
                shell: "/bin/sh".into(),
                supplementary: Vec::new(),
            },
        })
    }

    /// Whether root is calling.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }

    /// Name and id of the caller's groups that have a name, the primary one first.
    #[must_use]
    pub fn groups(&self) -> Vec<(Vec<u8>, u32)> {
        let mut others: Vec<Gid> =
            self.supplementary.iter().copied().filter(|gid| *gid != self.gid).collect();
        // The kernel keeps them sorted.
        others.dedup();
        let named = |gid: Gid| Some((Group::from_gid(gid).ok()??.name.into_bytes(), gid.as_raw()));
        std::iter::once(self.gid).chain(others).filter_map(named).collect()
    }

    /// The home directory as bytes.
    #[must_use]
    pub fn home_bytes(&self) -> &[u8] {
        self.home.as_os_str().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_map_are_counted() {
        assert_eq!(ids_in("         0          0 4294967295\n"), 4_294_967_295);
        assert_eq!(ids_in("0 1000 1\n"), 1);
        assert_eq!(ids_in("0 1000 1\n1 100000 65536\n"), 65_537);
        assert_eq!(ids_in(""), 0);
    }
}
