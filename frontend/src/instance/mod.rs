//! Instances: containers that go on in the background, and the records by which they are found again.
//!
//! A record is a file of the user's, in the place and form of the incumbents'. It is advice: whoever acts on it makes
//! sure that the process is the one that was started then, and the starter believes nothing of it.

mod reservation;
mod start;
mod stop;

pub use start::{Logs, Outlets, Processes, start, tell};
pub use stop::{Stopping, stop};

use crate::error::{Doing, Failure, Outcome};
use crate::message::{self, shown};
use crate::payload::{Dialect, Restrictions};
use crate::process::Process;
use nix::unistd::{Pid, User, getuid};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of a record that are read.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// A record, with the incumbents' names for its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Process 1 of the instance, as the host numbers it.
    pub pid: i32,
    /// The process that waits for it.
    pub ppid: i32,
    /// When that was started, in clock ticks since boot.
    pub parent_started: u64,
    /// The instance's name.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// The image's path.
    pub image: String,
    /// Whether it is in a user namespace.
    pub userns: bool,
    /// Whether it has a control group of its own.
    pub cgroup: bool,
    /// Its network address: none.
    pub ip: String,
    /// Where its standard error goes.
    pub log_err_path: String,
    /// Where its standard output goes.
    pub log_out_path: String,
    /// When process 1 was started, in clock ticks since boot.
    pub started: u64,
    /// The home directory in it.
    pub home: String,
    /// What its programs may not do, or who they are: whoever joins is bound by it too.
    pub restrictions: Restrictions,
    /// Whether programs that join are run by the `fakeroot` command.
    pub fakeroot: bool,
    /// The process that keeps the namespaces of its FUSE file systems, as the instance numbers it.
    pub keeper: Option<i32>,
    /// Device and inode of every image file that it locks, so that who meets the lock can be told whose it is.
    #[serde(default)]
    pub locked: Vec<(u64, u64)>,
}

/// Where one user's records and logs are.
#[derive(Clone, Debug)]
pub struct Folder {
    records: PathBuf,
    logs: PathBuf,
}

/// The record of an instance of the caller's that locks this file, whichever of the incumbents' names it was started by.
#[must_use]
pub fn locking(file: &File) -> Option<Record> {
    let file = identity(file).ok()?;
    let user = User::from_uid(getuid()).ok()??;
    let folders =
        [Dialect::Singularity, Dialect::Apptainer].map(|dialect| Folder::of(dialect, &user.dir, &user.name));
    let mut running = folders.into_iter().flatten().flat_map(|folder| folder.running());
    running.find(|(record, _)| record.locked.contains(&file)).map(|(record, _)| record)
}

/// Device and inode of a file.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|data| (data.dev(), data.ino()))
}

/// Whether this can be an instance's name: letters, digits, `.`, `_` and `-`.
///
/// # Errors
/// It cannot.
pub fn check_name(name: &str) -> Outcome<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name == "." || name == ".." || !name.bytes().all(allowed) {
        return Err(Failure::new(format!("{} is not a valid instance name", shown(name))));
    }
    Ok(())
}

impl Folder {
    /// Those of a user with this home directory.
    ///
    /// # Errors
    /// The host's name cannot be read.
    pub fn of(dialect: Dialect, home: &Path, user: &str) -> Outcome<Self> {
        let host = nix::unistd::gethostname().doing(|| "reading the host's name".into())?;
        let (product, kind) = match dialect {
            Dialect::Singularity => (".singularity", "sing"),
            Dialect::Apptainer => (".apptainer", "app"),
        };
        let instances = home.join(product).join("instances");
        let of_user = |kind: &str| instances.join(kind).join(&host).join(user);
        Ok(Self { records: of_user(kind), logs: of_user("logs") })
    }

    /// The instances that are running, by name, each with its process 1. Records of others are removed.
    #[must_use]
    pub fn running(&self) -> Vec<(Record, Process)> {
        let entries = fs::read_dir(&self.records).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<(Record, Process)> = names.filter_map(|name| self.find(&name)).collect();
        found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        found
    }

    /// A running instance and its process 1. What is left of one that has ended is removed; a record that cannot be
    /// understood is told of.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(Record, Process)> {
        check_name(name).ok()?;
        match self.look(name) {
            Found::Running(record, process) => return Some((*record, process)),
            Found::Ended => self.clear(name),
            Found::Unclear(why) => message::warning(format!("Ignoring instance {name}: {why}")),
        }
        None
    }

    /// Looks for an instance, and leaves everything as it is.
    fn look(&self, name: &str) -> Found {
        match self.read(name) {
            Ok(None) => Found::Ended,
            Ok(Some(record)) => match Process::find(Pid::from_raw(record.pid), record.started) {
                Some(process) => Found::Running(Box::new(record), process),
                None => Found::Ended,
            },
            Err(why) => Found::Unclear(why),
        }
    }

    fn read(&self, name: &str) -> Outcome<Option<Record>> {
        let path = self.record(name);
        let reading = || format!("reading {}", shown(&path));
        // A pipe in its place is not waited for.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = match opened {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            opened => opened.doing(reading)?,
        };
        let mut text = Vec::new();
        file.take(RECORD_BYTES_MAX).read_to_end(&mut text).doing(reading)?;
        let record: Record = serde_json::from_slice(&text).doing(reading)?;
        if record.name != name {
            return Err(Failure::new(format!("{} is a record of {}", shown(&path), shown(&record.name))));
        }
        Ok(Some(record))
    }

    fn place(&self, name: &str) -> PathBuf {
        self.records.join(name)
    }

    fn record(&self, name: &str) -> PathBuf {
        self.place(name).join(format!("{name}.json"))
    }

    /// What a record is written to before it is whole.
    fn part(&self, name: &str) -> PathBuf {
        self.record(name).with_extension("part")
    }

    fn remove(&self, name: &str) {
        for file in [self.record(name), self.part(name), self.lock(name)] {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_dir(self.place(name));
    }
}

/// What there is of an instance.
enum Found {
    /// It runs: its record and its process 1.
    Running(Box<Record>, Process),
    /// Nothing that runs.
    Ended,
    /// A record that says nothing: why.
    Unclear(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn folder_in(home: &Path) -> Folder {
        Folder::of(Dialect::Singularity, home, "anna").unwrap()
    }

    pub(super) fn record(name: &str, pid: i32, started: u64) -> Record {
        Record {
            pid,
            ppid: 1,
            parent_started: 1,
            name: name.into(),
            user: "anna".into(),
            image: "/images/a.sif".into(),
            userns: false,
            cgroup: false,
            ip: String::new(),
            log_err_path: String::new(),
            log_out_path: String::new(),
            started,
            home: "/home/anna".into(),
            restrictions: Restrictions::default(),
            fakeroot: false,
            keeper: None,
            locked: Vec::new(),
        }
    }

    #[test]
    fn a_name_is_made_of_letters_digits_and_a_few_signs() {
        for good in ["a", "Web-1", "x_y.z"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\n"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
