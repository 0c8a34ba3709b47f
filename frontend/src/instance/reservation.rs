//! Taking a name while an instance is being started.
//!
//! Whoever starts an instance holds a lock on a file beside the record to be. The kernel takes the lock back when the
//! command ends, however that happens, so what a killed one leaves behind is known as such. A file, because NFS locks
//! no directories. Where there are no locks at all, a name is taken by making its directory.

use super::{Folder, Found, Record, check_name};
use crate::error::{Doing, Failure, Outcome};
use crate::message::shown;
use crate::sys::descriptors;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// How often a name is tried that somebody holds: to remove what is left of it takes a moment.
const TRIES: u32 = 10;
/// How long to wait in between.
const TRY_STEP: Duration = Duration::from_millis(20);

/// A name that was taken; given back with this value unless it is kept.
pub(super) struct Reserved {
    folder: Folder,
    name: String,
    lock: File,
    kept: bool,
}

/// What came of an attempt to lock a name.
enum Attempt {
    Locked(File),
    /// Somebody else holds it, or has just removed it.
    Held,
    /// This file system has no locks.
    NoLocks(File),
}

impl Folder {
    /// Where whoever starts an instance holds a lock.
    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.place(name).join("lock")
    }

    /// Takes a name, so that nobody else does. What is left of an instance that has ended, or of a start that was killed, is
    /// removed.
    pub(super) fn reserve(&self, name: &str) -> Outcome<Reserved> {
        check_name(name)?;
        let reserving = || format!("making a record of instance {name} in {}", shown(&self.records));
        DirBuilder::new().mode(0o700).recursive(true).create(&self.records).doing(reserving)?;
        for _ in 0..TRIES {
            self.refuse_taken(name)?;
            let made = self.make_place(name).doing(reserving)?;
            let lock = match self.attempt(name).doing(reserving)? {
                Attempt::Locked(lock) => lock,
                Attempt::NoLocks(lock) if made => lock,
                Attempt::NoLocks(_) => return Err(self.perhaps_taken(name)),
                Attempt::Held => {
                    sleep(TRY_STEP);
                    continue;
                }
            };
            // By whoever had the lock before.
            self.refuse_taken(name).inspect_err(|_| drop(fs::remove_file(self.lock(name))))?;
            for left in [self.record(name), self.part(name)] {
                let _ = fs::remove_file(left);
            }
            return Ok(Reserved { folder: self.clone(), name: name.to_owned(), lock, kept: false });
        }
        Err(exists(name).hint("another command is starting it at this moment"))
    }

    fn refuse_taken(&self, name: &str) -> Outcome<()> {
        match self.look(name) {
            Found::Ended => Ok(()),
            Found::Running(..) => Err(exists(name)),
            Found::Unclear(why) => Err(exists(name)
                .because(why)
                .hint(format!("if no such instance runs any more, remove {}", shown(self.place(name))))),
        }
    }

    fn perhaps_taken(&self, name: &str) -> Failure {
        let place = shown(self.place(name));
        exists(name).hint(format!("if it neither runs nor is being started, remove {place}"))
    }

    /// Whether the directory of a name was made now.
    fn make_place(&self, name: &str) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(self.place(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn attempt(&self, name: &str) -> io::Result<Attempt> {
        let lock = match lock_options().create(true).mode(0o600).open(self.lock(name)) {
            // Its directory was empty, and was removed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Held),
            opened => opened?,
        };
        Ok(match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if self.is_lock(&lock, name) => Attempt::Locked(lock),
            Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => Attempt::Held,
            Err(_) => Attempt::NoLocks(lock),
        })
    }

    /// Whether this file is still the one that everybody locks.
    fn is_lock(&self, lock: &File, name: &str) -> bool {
        let (Ok(open), Ok(named)) = (lock.metadata(), fs::symlink_metadata(self.lock(name))) else {
            return false;
        };
        (open.dev(), open.ino()) == (named.dev(), named.ino())
    }

    /// Removes what is left of an instance that has ended, or of a start that was killed, unless somebody has begun to start
    /// it again.
    pub(super) fn clear(&self, name: &str) {
        match lock_options().open(self.lock(name)) {
            Ok(lock) => {
                let locked = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
                if locked && self.is_lock(&lock, name) && matches!(self.look(name), Found::Ended) {
                    self.remove(name);
                }
            }
            // Whoever makes the directory for a start that begins makes it again.
            Err(error) if error.kind() == ErrorKind::NotFound => self.remove(name),
            Err(_) => {}
        }
    }
}

fn lock_options() -> OpenOptions {
    let mut options = File::options();
    // NFS locks for writing only what is open for writing.
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    options
}

fn exists(name: &str) -> Failure {
    Failure::new(format!("instance {name} already exists"))
}

impl Reserved {
    /// For a forked copy of this process: the name is the parent's alone.
    pub(super) fn leave_to_parent(&self) {
        descriptors::close(self.lock.as_raw_fd());
    }

    /// Writes the record, whole or not at all.
    pub(super) fn write(&mut self, record: &Record) -> Outcome<()> {
        let (path, part) = (self.folder.record(&self.name), self.folder.part(&self.name));
        let writing = || format!("writing {}", shown(&path));
        let text = serde_json::to_vec_pretty(record).doing(writing)?;
        let mut file = File::options().write(true).create_new(true).mode(0o644).open(&part).doing(writing)?;
        file.write_all(&text).and_then(|()| fs::rename(&part, &path)).doing(writing)
    }

    /// Leaves the record to whoever looks for the instance.
    pub(super) fn keep(mut self) {
        let _ = fs::remove_file(self.folder.lock(&self.name));
        self.kept = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.kept {
            self.folder.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder_in, record};
    use super::*;
    use crate::process::start_of;
    use nix::unistd::Pid;

    fn refusal(folder: &Folder, name: &str) -> Failure {
        folder.reserve(name).map(drop).unwrap_err()
    }

    #[test]
    fn a_name_is_given_once_and_free_again_when_the_instance_has_ended() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder_in(home.path());
        let this = Pid::this();
        let alive = record("one", this.as_raw(), start_of(this).unwrap());
        let mut reserved = folder.reserve("one").unwrap();
        reserved.write(&alive).unwrap();
        reserved.keep();
        let running: Vec<Record> = folder.running().into_iter().map(|(record, _)| record).collect();
        assert_eq!(running, [alive]);
        assert_eq!(refusal(&folder, "one").to_string(), "instance one already exists");
        assert!(!folder.lock("one").exists(), "nobody is starting it any more");

        let mut reserved = folder.reserve("two").unwrap();
        reserved.write(&record("two", this.as_raw(), 1)).unwrap();
        reserved.keep();
        assert!(folder.find("two").is_none(), "its number is another process's now");
        assert!(!folder.place("two").exists(), "what has ended is removed");
        assert!(folder.reserve("two").is_ok());
        assert!(!folder.place("two").exists(), "a start that fails leaves nothing");
    }

    #[test]
    fn a_name_that_is_being_started_is_nobody_elses_and_in_no_list() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder_in(home.path());
        let reserved = folder.reserve("one").unwrap();
        assert!(folder.running().is_empty());
        assert!(folder.place("one").exists(), "a list leaves it alone");
        let refused = refusal(&folder, "one");
        assert_eq!(refused.to_string(), "instance one already exists");
        assert_eq!(refused.next_step(), Some("another command is starting it at this moment"));
        drop(reserved);
        assert!(folder.reserve("one").is_ok());
    }

    #[test]
    fn what_a_killed_start_leaves_is_taken_over_by_the_next_and_removed_by_a_list() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder_in(home.path());
        let leave = |files: &[PathBuf]| {
            fs::create_dir_all(folder.place("one")).unwrap();
            files.iter().for_each(|file| fs::write(file, "{").unwrap());
        };
        for left in [vec![], vec![folder.lock("one")], vec![folder.lock("one"), folder.part("one")]] {
            leave(&left);
            assert!(folder.running().is_empty());
            assert!(!folder.place("one").exists(), "{left:?}");

            leave(&left);
            let mut reserved = folder.reserve("one").unwrap();
            reserved.write(&record("one", 1, 1)).unwrap();
        }
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_left_alone_and_told_of() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder_in(home.path());
        fs::create_dir_all(folder.place("one")).unwrap();
        let path = folder.record("one");
        for text in ["", "garbage", &serde_json::to_string(&record("two", 1, 1)).unwrap()] {
            fs::write(&path, text).unwrap();
            assert!(folder.running().is_empty());
            let refused = refusal(&folder, "one");
            assert!(refused.to_string().starts_with("instance one already exists ("), "{refused}");
            assert!(refused.to_string().contains(&shown(&path)), "{refused}");
            assert!(refused.next_step().unwrap().ends_with(&shown(folder.place("one"))), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
