//! Who still uses a file system that was taken out of sight here: the processes that have it mounted where they are.

use crate::process::{Process, name_of, start_of};
use nix::unistd::Pid;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Most processes that are named; of more it is said how many they are.
const NAMED_MAX: usize = 3;

/// A mounted file system, by the number of its device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Device(Vec<u8>);

impl Device {
    /// What is mounted at this directory.
    pub(super) fn at(directory: &Path) -> Option<Self> {
        let table = std::fs::read("/proc/self/mountinfo").ok()?;
        let place = directory.as_os_str().as_bytes();
        mounts(&table).filter(|mount| mount.1 == place).last().map(|mount| Self(mount.0.to_vec()))
    }

    /// The processes that have it mounted, among those that the caller may look at.
    pub(super) fn users(&self) -> Users {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
        Users(pids.filter_map(|pid| self.user(pid)).collect())
    }

    fn user(&self, pid: Pid) -> Option<User> {
        let started = start_of(pid)?;
        let table = std::fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
        mounts(&table).any(|mount| mount.0 == self.0).then_some(())?;
        // Started when it was: it is the one whose mounts these are.
        Some(User { pid, name: name_of(pid)?, process: Process::find(pid, started)? })
    }
}

/// Device and place of every mount in such a table.
fn mounts(table: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        Some((words.nth(2)?, words.nth(1)?))
    })
}

struct User {
    pid: Pid,
    name: String,
    process: Process,
}

/// Processes that use a file system.
pub(super) struct Users(Vec<User>);

impl Users {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends each of them a signal, those of others excepted.
    pub(super) fn send(&self, signal: i32) {
        for user in &self.0 {
            let _ = user.process.send(signal);
        }
    }
}

impl fmt::Display for Users {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (number, user) in self.0.iter().take(NAMED_MAX).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(out, "{comma}process {} ({})", user.pid, user.name)?;
        }
        match self.0.len().checked_sub(NAMED_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(out, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_system_is_used_by_whoever_has_it_in_sight() {
        let device = Device::at(Path::new("/proc")).unwrap();
        let own = device.user(Pid::this()).unwrap();
        assert_eq!((own.pid, Some(own.name)), (Pid::this(), name_of(Pid::this())));
        assert!(device.user(Pid::from_raw(i32::MAX)).is_none());
        assert!(Device(b"0:0".to_vec()).users().is_empty());
        assert_eq!(Device::at(Path::new("/proc/self")), None);
    }

    #[test]
    fn many_users_are_counted_and_the_first_ones_named() {
        let this = |_| User {
            pid: Pid::this(),
            name: "sleep".into(),
            process: Process::find(Pid::this(), start_of(Pid::this()).unwrap()).unwrap(),
        };
        let pid = Pid::this();
        assert_eq!(Users((0..1).map(this).collect()).to_string(), format!("process {pid} (sleep)"));
        let many = Users((0..5).map(this).collect()).to_string();
        assert!(many.ends_with(" and 2 more"), "{many}");
    }
}
