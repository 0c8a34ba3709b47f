//! Who stands in the way of a lock. The kernel does not say for OFD locks, so three sources are asked: the open files of
//! the processes that may be looked at, the kernel for a POSIX lock, and the word that the last writer left in an
//! extended attribute of the file. All of it is advice for a message; no decision is made from it.

use super::{Range, USED_TWICE};
use crate::image::Access;
use crate::instance;
use crate::message::shown;
use crate::process::{name_of, start_of};
use crate::sys::attributes::{get_attribute, set_attribute};
use nix::unistd::{Pid, User, getpid, getuid};
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const ATTRIBUTE: &CStr = c"user.lamina.writer";
/// Longest record that is read; an honest one has some 150 bytes.
const RECORD_BYTES_MAX: usize = 1024;
/// Most characters of each text in a record, written or shown.
const TEXT_CHARACTERS_MAX: usize = 64;

/// Who stands in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// This very process, through another open file.
    ThisProcess(Access),
    /// An instance of the caller's, by its name and its process 1.
    Instance(String, Pid),
    /// A process on this machine, found through its lock.
    Process(Pid),
    /// Who left word when it took a lock for writing.
    Recorded(Record),
}

impl Holder {
    /// Looks for whoever keeps `range` from being locked for `access`.
    pub(super) fn find(file: &File, range: Range, access: Access) -> Option<Self> {
        if let Some(held) = lock_of_this_process(file, range, access) {
            return Some(Self::ThisProcess(held));
        }
        let conflict = range.conflict(file, access)?;
        let written = i32::from(conflict.l_type) == libc::F_WRLCK;
        let record = Record::left_in(file).filter(|_| written);
        if let Some(instance) = instance::locking(file) {
            return Some(Self::Instance(instance.name, Pid::from_raw(instance.pid)));
        }
        if conflict.l_pid > 0 {
            return Some(Self::Process(Pid::from_raw(conflict.l_pid)));
        }
        if let Some(record) = record.as_ref().filter(|record| record.is_running() == Some(true)) {
            return Some(Self::Recorded(record.clone()));
        }
        process_with_lock(file, range, access).map(Self::Process).or(record.map(Self::Recorded))
    }

    /// One sentence for a person, or two.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::ThisProcess(_) => USED_TWICE.into(),
            Self::Instance(name, pid) => format!(
                "It is in use by instance {} (process {pid}); 'instance stop {}' ends it.",
                shown(name),
                shown(name)
            ),
            Self::Process(pid) => match name_of(*pid) {
                Some(command) => format!("It is in use by process {pid} ({command})."),
                None => format!("It is in use by process {pid}."),
            },
            Self::Recorded(record) => record.describe(),
        }
    }
}

/// What the taker of a write lock leaves behind. It outlives the lock, and anybody who may write the file may change it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pid: i32,
    /// Clock ticks from boot to the start of that process, which tells it from a later one with the same id.
    started: u64,
    command: String,
    user: String,
    host: String,
    /// Unix seconds.
    since: i64,
}

impl Record {
    pub(super) fn of_this_process() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            pid: getpid().as_raw(),
            started: start_of(getpid()).unwrap_or(0),
            command: shortened(&command_typed(std::env::args_os().map(PathBuf::from))),
            user: shortened(&user_name()),
            host: shortened(&host_name()),
            since: i64::try_from(now.as_secs()).unwrap_or(0),
        }
    }

    /// Writes the record to the file. Where that does not work nothing is lost but a name in a message.
    pub(super) fn leave(&self, file: &File) {
        if let Ok(text) = serde_json::to_vec(self) {
            let _ = set_attribute(file, ATTRIBUTE, &text);
        }
    }

    pub(super) fn left_in(file: &File) -> Option<Self> {
        let mut buffer = [0; RECORD_BYTES_MAX];
        let length = get_attribute(file, ATTRIBUTE, &mut buffer).ok()?;
        serde_json::from_slice(buffer.get(..length)?).ok()
    }

    /// Whether the process is still there; `None` when it is on another machine.
    fn is_running(&self) -> Option<bool> {
        (self.host == shortened(&host_name()))
            .then(|| start_of(Pid::from_raw(self.pid)).is_some_and(|started| started == self.started))
    }

    fn describe(&self) -> String {
        let text = |text: &str| shown(shortened(text));
        let who = format!(
            "process {} ({}) of user {} on {}, since {}",
            self.pid,
            text(&self.command),
            text(&self.user),
            text(&self.host),
            moment(self.since)
        );
        match self.is_running() {
            Some(true) => format!("It is in use by {who}."),
            Some(false) => format!(
                "It was last opened for writing by {who}. That process has ended; one that it left behind may still \
                 be using the file."
            ),
            None => format!("It was last opened for writing by {who}."),
        }
    }
}

/// The access of a lock of this process's that stands in the way of `range`, held through another open file.
pub(super) fn lock_of_this_process(file: &File, range: Range, access: Access) -> Option<Access> {
    lock_of_process("self", file, range, access)
}

/// The access of a lock that stands in the way of `range`, held through an open file of a process other than `file`.
fn lock_of_process(process: &str, file: &File, range: Range, access: Access) -> Option<Access> {
    let wanted = file.metadata().ok()?;
    let root = Path::new("/proc").join(process);
    let own = (process == "self").then(|| OsString::from(file.as_raw_fd().to_string()));
    std::fs::read_dir(root.join("fd")).ok()?.flatten().find_map(|entry| {
        let found = std::fs::metadata(entry.path()).ok()?;
        if (found.dev(), found.ino()) != (wanted.dev(), wanted.ino()) || Some(entry.file_name()) == own {
            return None;
        }
        let described = std::fs::read_to_string(root.join("fdinfo").join(entry.file_name())).ok()?;
        let mut locks = described.lines().filter_map(Lock::parse);
        locks.find(|lock| lock.conflicts(range, access)).map(|lock| lock.access)
    })
}

/// A lock as `/proc/PID/fdinfo/N` describes it.
#[derive(PartialEq, Eq, Debug)]
struct Lock {
    access: Access,
    start: i64,
    /// Its last byte.
    last: i64,
}

impl Lock {
    /// Reads one line, such as `lock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:01:42 0 EOF`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("lock:")?.split_whitespace().skip(1);
        if !matches!(words.next()?, "OFDLCK" | "POSIX") {
            return None;
        }
        let access = match words.nth(1)? {
            "WRITE" => Access::ReadWrite,
            "READ" => Access::ReadOnly,
            _ => return None,
        };
        let start = words.nth(2)?.parse().ok()?;
        let last = match words.next()? {
            "EOF" => i64::MAX,
            last => last.parse().ok()?,
        };
        Some(Self { access, start, last })
    }

    fn conflicts(&self, range: Range, access: Access) -> bool {
        let shared = self.access == Access::ReadOnly && access == Access::ReadOnly;
        !shared && self.start <= range.last() && range.start <= self.last
    }
}

/// A process with a lock in the way, among those that the caller may look at.
fn process_with_lock(file: &File, range: Range, access: Access) -> Option<Pid> {
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let pid: i32 = name.parse().ok()?;
        lock_of_process(&name, file, range, access).map(|_| Pid::from_raw(pid))
    })
}

/// The program and its first word that is no flag: `lamina shell`. The rest of a command line may hold secrets,
/// and the record stays in the file.
fn command_typed(mut words: impl Iterator<Item = PathBuf>) -> String {
    let program = words.next().unwrap_or_default();
    let program = program.file_name().unwrap_or_else(|| OsStr::new("lamina"));
    let verb = words.find(|word| !word.as_os_str().as_encoded_bytes().starts_with(b"-"));
    match verb.as_deref().and_then(Path::file_name) {
        Some(verb) => format!("{} {}", shown(program), shown(verb)),
        None => shown(program),
    }
}

fn user_name() -> String {
    match User::from_uid(getuid()) {
        Ok(Some(user)) => user.name,
        _ => getuid().to_string(),
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

/// A time in Unix seconds for a person.
fn moment(seconds: i64) -> String {
    match time::OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
        Err(_) => "an unknown time".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_a_record_has_no_arguments_that_could_be_secret() {
        let typed = |words: &[&str]| command_typed(words.iter().map(PathBuf::from));
        assert_eq!(typed(&["/usr/bin/lamina", "-v", "exec", "--env", "P=1", "x.sif"]), "lamina exec");
        assert_eq!(typed(&["lamina"]), "lamina");
        assert_eq!(typed(&[]), "lamina");
    }

    #[test]
    fn locks_are_read_from_what_the_kernel_says_of_a_descriptor() {
        let whole = Lock::parse("lock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:01:42 0 EOF").unwrap();
        assert_eq!(whole, Lock { access: Access::ReadWrite, start: 0, last: i64::MAX });
        let part = Lock::parse("lock:\t2: POSIX  ADVISORY  READ 77 fe:01:42 8 99").unwrap();
        assert_eq!(part, Lock { access: Access::ReadOnly, start: 8, last: 99 });
        assert!(part.conflicts(Range { start: 99, length: 1 }, Access::ReadWrite));
        assert!(!part.conflicts(Range { start: 99, length: 1 }, Access::ReadOnly));
        assert!(!part.conflicts(Range { start: 100, length: 0 }, Access::ReadWrite));
        assert!(whole.conflicts(Range { start: 100, length: 0 }, Access::ReadOnly));
        for line in [
            "lock:\t1: FLOCK  ADVISORY  WRITE 77 fe:01:42 0 EOF",
            "flags:\t0100000",
            "lock:",
            "lock:\t1: POSIX",
        ] {
            assert_eq!(Lock::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_record_with_hostile_words_is_shown_short_and_without_control_characters() {
        let mut record = Record::of_this_process();
        record.command = format!("\x1b[31m\nFATAL: {}", "x".repeat(500));
        record.since = i64::MAX;
        let words = record.describe();
        assert!(!words.contains(char::is_control), "{words}");
        assert!(words.len() < 400, "{words}");
        assert!(words.contains("an unknown time"), "{words}");
    }

    #[test]
    fn a_record_tells_a_process_from_a_later_one_with_its_id_and_from_one_elsewhere() {
        let mut record = Record::of_this_process();
        assert_eq!(record.is_running(), Some(true));
        assert!(record.describe().starts_with("It is in use by process "), "{}", record.describe());
        record.started += 1;
        assert_eq!(record.is_running(), Some(false));
        assert!(record.describe().contains("That process has ended"), "{}", record.describe());
        record.host = "elsewhere.example".into();
        assert_eq!(record.is_running(), None);
        assert!(record.describe().contains("on elsewhere.example, since 20"), "{}", record.describe());
    }
}
