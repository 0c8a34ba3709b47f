//! What `make install` puts on a machine, and what the starter needs beside it.

use super::{Check, State};
use crate::admin::check::{self, Finding};
use crate::admin::trust;
use crate::error::{Failure, reason_of};
use crate::message::shown;
use crate::{launch, site};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Owner, mode and surroundings of the starter; the site's file; the log.
pub(super) fn checks(unreadable: Option<&Failure>) -> Vec<Check> {
    let starter = launch::setuid_starter();
    let starter = Path::new(&starter);
    let mut checks = vec![starter_file(starter)];
    checks.extend(statvfs(starter).ok().map(|found| setuid_mount(found.flags())));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    checks.push(privileges(&status, &uid_map));
    checks.push(configuration(unreadable));
    checks.push(log());
    checks
}

fn starter_file(path: &Path) -> Check {
    let subject = "setuid starter";
    let remedy = "'make install' sets owner root and mode 4711";
    match std::fs::metadata(path) {
        Err(error) => {
            Check::missing(subject, format!("{}: {}", shown(path), reason_of(&error))).remedy(remedy)
        }
        Ok(data) => match starter_fault(&data) {
            None => {
                let mode = data.mode() & 0o7777;
                Check::ok(subject, format!("{}, owner root, mode {mode:04o}", shown(path)))
            }
            Some(fault) => Check::missing(subject, format!("{} {fault}", shown(path))).remedy(remedy),
        },
    }
}

fn starter_fault(data: &Metadata) -> Option<&'static str> {
    match (data.uid(), data.mode() & 0o7777) {
        _ if !data.is_file() => Some("is no file"),
        (1.., _) => Some("does not belong to root"),
        (_, mode) if mode & 0o4000 == 0 => Some("has no setuid bit"),
        (_, mode) if mode & 0o022 != 0 => Some("can be written by others than root"),
        (_, mode) if mode & 0o001 == 0 => Some("cannot be run by everybody"),
        _ => None,
    }
}

fn setuid_mount(flags: FsFlags) -> Check {
    let subject = "file system of the starter";
    if flags.contains(FsFlags::ST_NOSUID) {
        Check::missing(subject, "is mounted nosuid, so the setuid bit does nothing")
            .remedy("install to a file system that is mounted without nosuid, with 'make install PREFIX=…'")
    } else if flags.contains(FsFlags::ST_NOEXEC) {
        Check::missing(subject, "is mounted noexec")
            .remedy("install to a file system that is mounted without noexec")
    } else {
        Check::ok(subject, "honours the setuid bit")
    }
}

/// Whether a setuid program gets its privileges in this very process's place.
fn privileges(status: &str, uid_map: &str) -> Check {
    let subject = "setuid programs";
    let no_new_privileges =
        status.lines().filter_map(|line| line.strip_prefix("NoNewPrivs:")).any(|value| value.trim() == "1");
    let fields: Vec<&str> = uid_map.split_whitespace().collect();
    if no_new_privileges {
        Check::missing(subject, "get no privileges here: no_new_privs is set for this process")
            .remedy("start from a shell outside the sandbox, service or container that set it")
    } else if fields != ["0", "0", "4294967295"] {
        Check::missing(subject, "get no privileges of the host here: this is a user namespace")
            .remedy("start outside the container")
    } else {
        Check::ok(subject, "get their privileges")
    }
}

fn configuration(unreadable: Option<&Failure>) -> Check {
    let subject = "singularity.conf";
    let path = site::path();
    if let Some(failure) = unreadable {
        let remedy = if Path::new(&path).exists() {
            "'config check' lists everything that is wrong with it"
        } else {
            "'make install' puts one there, and so does copying the one of SingularityCE or Apptainer"
        };
        return Check::missing(subject, failure.to_string()).remedy(remedy);
    }
    if let Some(reason) = trust::reasons_against(Path::new(&path)).into_iter().next() {
        return Check::missing(subject, reason)
            .remedy("give it, and the folders above it, to root, with mode 644 and 755");
    }
    let text = std::fs::read(&path).unwrap_or_default();
    let wrong = check::text(&text).into_iter().filter(Finding::is_wrong).count();
    if wrong > 0 {
        Check::limited(subject, format!("{path} is read; {wrong} lines deserve a look"))
            .remedy("'config check' lists them")
    } else {
        Check::ok(subject, format!("{path} is read and trusted"))
    }
}

fn log() -> Check {
    let subject = "system log";
    let socket = std::fs::metadata("/dev/log").is_ok_and(|data| data.file_type().is_socket());
    if socket {
        Check::new(subject, State::Ok, "/dev/log takes the starter's lines")
    } else {
        Check::limited(subject, "there is no /dev/log: containers run, and no log has them")
            .remedy("start systemd-journald or another syslog service")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn a_starter_must_be_roots_with_a_setuid_bit_and_nobody_elses_to_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let judged = |mode, owner| {
            chown(file.path(), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            starter_file(file.path())
        };
        assert_eq!(judged(0o4711, 0).state, State::Ok);
        for (mode, owner, fault) in [
            (0o0711, 0, "no setuid bit"),
            (0o4711, 7, "not belong to root"),
            (0o4731, 0, "written by others"),
            (0o4710, 0, "cannot be run"),
        ] {
            let check = judged(mode, owner);
            assert_eq!(check.state, State::Missing);
            assert!(check.found.contains(fault), "{check:?}");
        }
        assert_eq!(starter_file(Path::new("/no/such/starter")).state, State::Missing);
    }

    #[test]
    fn what_takes_the_setuid_bits_power_is_noticed() {
        let host = "         0          0 4294967295\n";
        assert_eq!(privileges("NoNewPrivs:\t0\n", host).state, State::Ok);
        assert_eq!(privileges("NoNewPrivs:\t1\n", host).state, State::Missing);
        assert_eq!(privileges("NoNewPrivs:\t0\n", "0 1000 1\n").state, State::Missing);
        assert_eq!(setuid_mount(FsFlags::ST_NOSUID).state, State::Missing);
        assert_eq!(setuid_mount(FsFlags::ST_RELATIME).state, State::Ok);
    }
}
