//! Who is calling, as the host's name services know them.

use crate::accounts::{self, Table};
use crate::error::{Failure, Outcome};
use nix::unistd::{Gid, Uid, getegid, getgroups, getuid};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

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
}

impl Caller {
    /// Looks the caller up.
    ///
    /// # Errors
    /// The user id has no account.
    pub fn look_up() -> Outcome<Self> {
        let uid = getuid();
        let account = accounts::look_up(Table::Passwd, &[uid.as_raw()])?
            .remove(&uid.as_raw())
            .ok_or_else(|| {
                Failure::new(format!("user id {uid} has no account on this host"))
                    .hint("check that the name service (for example sssd or LDAP) is up: 'getent passwd' should list you")
            })?;
        let path = |field| PathBuf::from(OsStr::from_bytes(account.field(field)));
        Ok(Self {
            name: String::from_utf8_lossy(account.field(0)).into_owned(),
            uid,
            gid: getegid(),
            gecos: account.field(4).to_vec(),
            home: path(5),
            shell: path(6),
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
        let mut ids = vec![self.gid.as_raw()];
        for gid in getgroups().unwrap_or_default().into_iter().map(Gid::as_raw) {
            if !ids.contains(&gid) {
                ids.push(gid);
            }
        }
        let known = accounts::look_up(Table::Group, &ids).unwrap_or_default();
        let named = |gid: u32| Some((known.get(&gid)?.field(0).to_vec(), gid));
        ids.into_iter().filter_map(named).collect()
    }

    /// The home directory as bytes.
    #[must_use]
    pub fn home_bytes(&self) -> &[u8] {
        self.home.as_os_str().as_bytes()
    }
}
