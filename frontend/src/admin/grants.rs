//! `capability.json`: which capabilities the site grants to whom.

use crate::error::{Doing, Failure, Outcome};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};

/// The file, beside `singularity.conf`.
pub const FILE: &str = "capability.json";
/// Most bytes of the file.
const BYTES_MAX: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Grants {
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<BTreeMap<String, Vec<String>>>,
}

/// Whom something is granted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Grants {
    /// Reads the file; one that is not there, or empty, grants nothing. The file comes along, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    pub fn read(path: &str) -> Outcome<(Self, Option<File>)> {
        let reading = || format!("reading {path}");
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Self::default(), None)),
            file => file.doing(reading)?,
        };
        let mut text = Vec::new();
        (&file).take(BYTES_MAX).read_to_end(&mut text).doing(reading)?;
        let empty = text.trim_ascii().is_empty();
        let grants = if empty { Self::default() } else { serde_json::from_slice(&text).doing(reading)? };
        Ok((grants, Some(file)))
    }

    /// The file's text.
    ///
    /// # Errors
    /// None that can happen.
    pub fn text(&self) -> Outcome<String> {
        let text = serde_json::to_string_pretty(self).doing(|| "writing JSON".into())?;
        Ok(text + "\n")
    }

    /// What is granted to a user or group.
    #[must_use]
    pub fn of(&self, to: To, name: &str) -> &[String] {
        let all = self.all(to);
        all.and_then(|all| all.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Everybody that something is granted to, one line each.
    #[must_use]
    pub fn list(&self) -> String {
        let lines = |to: To| {
            let names = self.all(to).into_iter().flat_map(BTreeMap::keys);
            names.map(move |name| self.line(to, name)).collect::<String>()
        };
        lines(To::User) + &lines(To::Group)
    }

    /// What is granted to a user or group, as one line; empty if nothing is.
    #[must_use]
    pub fn line(&self, to: To, name: &str) -> String {
        let kind = match to {
            To::User => "user",
            To::Group => "group",
        };
        match self.of(to, name) {
            [] => String::new(),
            granted => format!("{name} [{kind}]: {}\n", granted.join(",")),
        }
    }

    /// Grants capabilities, beside those that are granted.
    pub fn add(&mut self, to: To, name: &str, capabilities: CapabilitySet) {
        let granted = self.all_mut(to).entry(name.to_owned()).or_default();
        for (one, _) in capabilities.iter_names() {
            let one = format!("CAP_{one}");
            if !granted.contains(&one) {
                granted.push(one);
            }
        }
    }

    /// Takes capabilities back.
    ///
    /// # Errors
    /// Nothing is granted to this user or group.
    pub fn drop(&mut self, to: To, name: &str, capabilities: CapabilitySet) -> Outcome<()> {
        let all = self.all_mut(to);
        let granted = all.get_mut(name).ok_or_else(|| {
            Failure::new(format!("nothing is granted to {name}"))
                .hint("'capability list' shows what is granted")
        })?;
        let gone: Vec<String> = capabilities.iter_names().map(|(one, _)| format!("CAP_{one}")).collect();
        granted.retain(|one| !gone.contains(one));
        if granted.is_empty() {
            all.remove(name);
        }
        Ok(())
    }

    fn all(&self, to: To) -> Option<&BTreeMap<String, Vec<String>>> {
        match to {
            To::User => self.users.as_ref(),
            To::Group => self.groups.as_ref(),
        }
    }

    fn all_mut(&mut self, to: To) -> &mut BTreeMap<String, Vec<String>> {
        let all = match to {
            To::User => &mut self.users,
            To::Group => &mut self.groups,
        };
        all.get_or_insert_default()
    }
}

/// What each capability permits.
const MEANINGS: [(&str, &str); 41] = [
    ("CHOWN", "give files to other owners and groups"),
    ("DAC_OVERRIDE", "read, write and execute files whatever their permissions"),
    ("DAC_READ_SEARCH", "read files and search directories whatever their permissions"),
    ("FOWNER", "change permissions, times and attributes of files of others"),
    ("FSETID", "keep the setuid and setgid bits of files that are written to"),
    ("KILL", "send signals to processes of others"),
    ("SETGID", "take on any group"),
    ("SETUID", "become any user"),
    ("SETPCAP", "change the bounding set and the inheritable capabilities"),
    ("LINUX_IMMUTABLE", "set and clear the immutable and append-only attributes"),
    ("NET_BIND_SERVICE", "listen at ports below 1024"),
    ("NET_BROADCAST", "send broadcasts and listen to multicasts"),
    ("NET_ADMIN", "set up interfaces, routes, firewalls"),
    ("NET_RAW", "use raw and packet sockets"),
    ("IPC_LOCK", "lock memory"),
    ("IPC_OWNER", "use System V objects whatever their permissions"),
    ("SYS_MODULE", "load and unload kernel modules"),
    ("SYS_RAWIO", "reach I/O ports and raw memory"),
    ("SYS_CHROOT", "change the root directory"),
    ("SYS_PTRACE", "trace processes of others"),
    ("SYS_PACCT", "switch process accounting on and off"),
    ("SYS_ADMIN", "mount, and a great many things more"),
    ("SYS_BOOT", "reboot and load another kernel"),
    ("SYS_NICE", "raise priorities and choose processors for others"),
    ("SYS_RESOURCE", "exceed limits and quotas"),
    ("SYS_TIME", "set the clock"),
    ("SYS_TTY_CONFIG", "hang up and configure terminals"),
    ("MKNOD", "make device files"),
    ("LEASE", "take leases on files of others"),
    ("AUDIT_WRITE", "write to the audit log"),
    ("AUDIT_CONTROL", "set up auditing"),
    ("SETFCAP", "put capabilities on files"),
    ("MAC_OVERRIDE", "override mandatory access control"),
    ("MAC_ADMIN", "set up mandatory access control"),
    ("SYSLOG", "read and clear the kernel's log"),
    ("WAKE_ALARM", "set timers that wake the machine"),
    ("BLOCK_SUSPEND", "keep the machine from suspending"),
    ("AUDIT_READ", "read the audit log"),
    ("PERFMON", "observe performance system-wide"),
    ("BPF", "load BPF programs"),
    ("CHECKPOINT_RESTORE", "save and restore processes"),
];

/// What these capabilities permit, one paragraph each, as the incumbents lay it out.
#[must_use]
pub fn meanings(capabilities: CapabilitySet) -> String {
    let lines = capabilities.iter_names().map(|(name, _)| {
        let meaning = MEANINGS.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| *meaning);
        format!("{:<22} {meaning}\n\n", format!("CAP_{name}:"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_add_up_and_go_again() {
        let mut grants = Grants::default();
        grants.add(To::User, "root", CapabilitySet::NET_RAW | CapabilitySet::CHOWN);
        grants.add(To::User, "root", CapabilitySet::NET_RAW);
        grants.add(To::Group, "staff", CapabilitySet::KILL);
        assert_eq!(grants.list(), "root [user]: CAP_CHOWN,CAP_NET_RAW\nstaff [group]: CAP_KILL\n");
        let again: Grants = serde_json::from_str(&grants.text().unwrap()).unwrap();
        assert_eq!(again, grants);
        grants.drop(To::User, "root", CapabilitySet::CHOWN).unwrap();
        assert_eq!(grants.line(To::User, "root"), "root [user]: CAP_NET_RAW\n");
        grants.drop(To::User, "root", CapabilitySet::all()).unwrap();
        assert_eq!(grants.list(), "staff [group]: CAP_KILL\n");
        grants.drop(To::User, "root", CapabilitySet::all()).unwrap_err();
    }

    #[test]
    fn every_capability_means_something() {
        for (name, _) in CapabilitySet::all().iter_names() {
            assert!(MEANINGS.iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}
