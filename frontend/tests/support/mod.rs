//! A place to work in and another user to be.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod killed;

pub(crate) mod fuse;

use frontend::error::Outcome;
use frontend::message::{self, Level};
use frontend::sys::fork;
use frontend::sys::signal::{Disposition, set_disposition};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};
use std::ffi::CString;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A user whose ids do not fit in 16 bits.
pub(crate) const SOMEBODY: (u32, u32) = (70_000, 80_000);

/// A directory that anybody may write to, removed with this value.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let made = TempDir::with_prefix("lamina-test-").unwrap();
        std::fs::set_permissions(made.path(), Permissions::from_mode(0o777)).unwrap();
        Self(made)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The names in it, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Gives a path in it to [`SOMEBODY`].
    pub(crate) fn give(&self, name: &str) {
        chown(self.join(name), Some(SOMEBODY.0), Some(SOMEBODY.1)).unwrap();
    }
}

/// A tmpfs of so many MiB, unmounted with this value.
pub(crate) struct SmallDisk(pub(crate) Place);

impl SmallDisk {
    pub(crate) fn of_mib(mib: u32) -> Self {
        let place = Place::new();
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mib}m,mode=777"), "tmpfs", place.path().to_str().unwrap()],
        );
        Self(place)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Runs a program that must succeed and returns what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Starts `work` in another process.
pub(crate) fn elsewhere(work: impl FnOnce() -> Outcome<()>) -> Pid {
    fork::fork_to(|| match work() {
        Ok(()) => 0,
        Err(failure) => {
            message::say(Level::Error, &failure.to_string());
            1
        }
    })
    .unwrap()
}

/// Starts `work` in another process that keeps its temporary files in `place`, where what it cannot remove when it is
/// killed is removed with the rest.
pub(crate) fn doomed(place: &Place, work: impl FnOnce() -> Outcome<()>) -> Pid {
    let path = CString::new(place.path().as_os_str().as_bytes()).unwrap();
    elsewhere(|| {
        // SAFETY: both strings end with NUL, and the new process has one thread, so nobody reads the environment
        // meanwhile. The standard library's own call takes a lock that another thread may have held at the fork.
        unsafe { libc::setenv(c"TMPDIR".as_ptr(), path.as_ptr(), 1) };
        // What a shell starts in the background has them ignored.
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            set_disposition(signal, Disposition::Default).unwrap();
        }
        work()
    })
}

/// Does `work` as [`SOMEBODY`], in another process, and tells whether it succeeded.
pub(crate) fn as_somebody(work: impl FnOnce() -> Outcome<()>) -> bool {
    let child = elsewhere(|| {
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(SOMEBODY.1)).unwrap();
        setuid(Uid::from_raw(SOMEBODY.0)).unwrap();
        work()
    });
    waitpid(child, None).unwrap() == WaitStatus::Exited(child, 0)
}

/// The processes that `parent` started and that still run.
pub(crate) fn children_of(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(|id| Pid::from_raw(id.parse().unwrap())).collect()
}
