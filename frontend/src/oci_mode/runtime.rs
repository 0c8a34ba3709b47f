//! The OCI runtime: crun, or runc where there is no crun.

use crate::confined::helper::{CRUN, Program, Programs, RUNC};
use crate::error::{Doing, Failure, Outcome};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the kernel's control groups are, and where version 2 is beside version 1.
const CGROUPS: &str = "/sys/fs/cgroup";
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// A runtime that was found.
pub(super) struct Runtime {
    program: Program,
    path: PathBuf,
}

impl Runtime {
    /// Finds one.
    pub(super) fn find(programs: &Programs) -> Outcome<Self> {
        for program in [CRUN, RUNC] {
            if let Some(path) = programs.locate(program.name) {
                return Ok(Self { program, path });
            }
        }
        Err(Failure::new("OCI mode needs crun or runc, and neither was found")
            .hint("Install package crun (Debian, Ubuntu, RHEL, Fedora)"))
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.program.name
    }

    /// Refuses what this runtime cannot make. `id` is the only one in the container's user namespace, if it has one.
    pub(super) fn require_able(&self, id: Option<u32>) -> Outcome<()> {
        match id {
            Some(id) if self.program == RUNC && id != 0 => {
                Err(Failure::new("runc makes no container without a root, and an ordinary user's has none")
                    .hint("Install package crun, or be root in the container: --fakeroot"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it gives a container a terminal of its own that has the host's `/dev`.
    pub(super) fn gives_terminals_in_hosts_dev(&self) -> bool {
        self.program == CRUN
    }

    /// Arranges this process's mount namespace as the runtime expects a machine's.
    pub(super) fn prepare(&self) -> Outcome<()> {
        let is_unified =
            |path: &str| statfs(path).is_ok_and(|data| data.filesystem_type() == CGROUP2_SUPER_MAGIC);
        if self.program == CRUN && !is_unified(CGROUPS) && is_unified(UNIFIED) {
            // It refuses a machine with both versions, though it is told to leave them alone.
            mount(Some(UNIFIED), CGROUPS, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .doing(|| format!("showing {} control groups of version 2", self.name()))?;
        }
        Ok(())
    }

    /// Becomes the runtime, and so the parent of a container that gets this many descriptors beside the standard
    /// ones. Its notes are kept in `state`.
    pub(super) fn become_it(&self, bundle: &Path, state: &Path, descriptors: usize) -> Outcome<Infallible> {
        let mut words: Vec<OsString> = vec![self.name().into(), "--root".into(), state.into()];
        if self.program == CRUN {
            // Limits are set before, on the group that everything here is started in.
            words.push("--cgroup-manager=disabled".into());
        }
        words.extend(["run".into(), "--preserve-fds".into(), descriptors.to_string().into()]);
        words.extend(["--bundle".into(), bundle.into(), format!("lamina-{}", std::process::id()).into()]);
        let c_string = |word: &OsStr| CString::new(word.as_bytes()).unwrap_or_default();
        let words: Vec<CString> = words.iter().map(|word| c_string(word)).collect();
        let environment: [&CStr; 1] = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
        nix::unistd::execve(&c_string(self.path.as_os_str()), &words, &environment)
            .doing(|| format!("starting {}", self.name()))
    }
}
