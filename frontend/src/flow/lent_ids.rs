//! Ids that the host lends a user for his namespaces. Only `newuidmap` and `newgidmap` may map them, which the host
//! trusts and which have to run outside of the namespace.

use crate::admin::subordinate_ids::Ids;
use crate::confined::helper::STANDARD_PATH;
use crate::error::{Doing, Failure, Outcome};
use crate::message::shown;
use crate::sys::fork::fork_to;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getegid, geteuid, pipe2};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a process says that its namespace's groups cannot be left.
pub(super) const SETGROUPS: &str = "/proc/self/setgroups";
/// Most bytes of what goes wrong that are repeated.
const WORDS_BYTES_MAX: u64 = 4096;

/// What is lent, and the programs that map it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lent {
    /// User ids.
    pub users: Ids,
    /// Group ids.
    pub groups: Ids,
    /// `newuidmap`
    pub newuidmap: PathBuf,
    /// `newgidmap`
    pub newgidmap: PathBuf,
    /// Nobody in the namespace may leave the groups the caller is in.
    pub keeps_groups: bool,
}

/// A process that stays outside and has the ids of this one's new namespace mapped.
pub(super) struct Assistant<'a> {
    lent: &'a Lent,
    process: Pid,
    go: OwnedFd,
    words: File,
}

impl<'a> Assistant<'a> {
    /// Starts it; call this before the namespace is made.
    pub(super) fn start(lent: &'a Lent) -> Outcome<Self> {
        let starting = || "preparing to map the ids that are lent to you".to_owned();
        let (told, go) = pipe2(OFlag::O_CLOEXEC).doing(starting)?;
        let (words, mut said) =
            pipe2(OFlag::O_CLOEXEC).map(|(r, w)| (File::from(r), File::from(w))).doing(starting)?;
        let this = Pid::this();
        // What the assistant holds of `go` would keep it waiting for itself.
        let mut ends = Some((told, go));
        let process = fork_to(|| {
            let Some((told, go)) = ends.take() else { return 1 };
            drop(go);
            // End of file without the word: nobody wants anything any more.
            if File::from(told).read_exact(&mut [0]).is_err() {
                return 0;
            }
            let mapped = lent.map(this);
            mapped.map_err(|failure| said.write_all(failure.to_string().as_bytes())).map_or(1, |()| 0)
        })
        .doing(starting)?;
        let (_, go) = ends.ok_or_else(|| Failure::new("the assistant took everything"))?;
        Ok(Self { lent, process, go, words })
    }

    /// Has the ids mapped; call this inside the namespace.
    pub(super) fn map(self) -> Outcome<()> {
        let mapping = || "mapping the ids that are lent to you".to_owned();
        if self.lent.keeps_groups {
            fs::write(SETGROUPS, "deny").doing(mapping)?;
        }
        let mut why = String::new();
        File::from(self.go).write_all(b"1").doing(mapping)?;
        self.words.take(WORDS_BYTES_MAX).read_to_string(&mut why).doing(mapping)?;
        waitpid(self.process, None).doing(mapping)?;
        if why.is_empty() {
            return Ok(());
        }
        Err(Failure::new(why).hint("with --ignore-subuid you are root without ids of others"))
    }
}

impl Lent {
    fn map(&self, process: Pid) -> Outcome<()> {
        let own = [geteuid().as_raw(), getegid().as_raw()];
        let [users, groups] = [(own[0], self.users), (own[1], self.groups)].map(|(own, ids)| lines(own, ids));
        run(&self.newuidmap, process, &users)?;
        run(&self.newgidmap, process, &groups)
    }
}

/// Each line of the map: first id inside, first one outside, how many.
fn lines(own: u32, lent: Ids) -> Vec<u32> {
    vec![0, own, 1, 1, lent.first, lent.count]
}

fn run(program: &Path, process: Pid, lines: &[u32]) -> Outcome<()> {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", STANDARD_PATH).env("LC_ALL", "C").stdin(Stdio::null());
    command.arg(process.to_string()).args(lines.iter().map(u32::to_string));
    let ended: io::Result<_> = command.output();
    let ended = ended.doing(|| format!("starting {}", shown(program)))?;
    if ended.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    Err(Failure::new(format!("while mapping the ids that are lent to you: {}", shown(words.trim()))))
}
