//! Byte-range locks over the writable parts of images, and the record of who holds them.
//!
//! A lock is an open-file-description (OFD) lock: it belongs to the open file itself, not to a process. The
//! descriptor it is taken on is the one that backs the loop device, so the lock lives exactly as long as the mount, with
//! nobody left to release it. OFD locks and the POSIX locks that the incumbents take over the same ranges exclude
//! each other.

mod holder;

use crate::error::{Failure, Outcome};
use crate::image::Access;
use crate::message::{self, shown};
use holder::{Holder, Record, lock_of_this_process};
use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use protocol::Window;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long [`exclusive_whole`] waits for another user of the file: longer than any of our own commands holds one
/// while it only reads, short enough for somebody at a terminal.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long [`take`] waits: a container's lock goes with its loop device, which the kernel may take down a moment after
/// its last process has ended.
const RELEASE_MAX: Duration = Duration::from_secs(1);
/// What to do about an image that stands in its own way.
pub(crate) const USED_TWICE: &str =
    "This command names it more than once: name it once, or with ':ro' wherever it is named.";
/// What to do about an image that others read.
const ONLY_READ: &str =
    "It is only read there, so it can be read here too: with ':ro', or without --writable.";
/// How often they try meanwhile.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// Locks a part of an open image: against every other user for writing, against writers for reading. The lock is
/// gone when the last copy of this open file is, which a loop device counts as. Waits a second for a container that has
/// just ended, but not for this process itself. `file` must be open for what `access` says; `path` is for messages.
///
/// Where the file system cannot lock, this is told with `-v` and nothing is locked, as the incumbents do.
///
/// # Errors
/// The part is in use; the hint names the user as far as anybody left word.
pub fn take(file: &File, path: &Path, window: Window, access: Access) -> Outcome<()> {
    let range = Range::of(window).ok_or_else(|| impossible(path))?;
    lock(file, path, range, access, RELEASE_MAX)
}

/// Locks the whole of a file that is about to be changed, whatever length it has or gets. Waits some seconds for
/// somebody who is just about to be done with it. `file` must be open for writing.
///
/// # Errors
/// Some part of the file stays in use, by a running container for example; the hint names the user as far as
/// anybody left word.
pub fn exclusive_whole(file: &File, path: &Path) -> Outcome<()> {
    lock(file, path, Range::WHOLE, Access::ReadWrite, WAIT_MAX)
}

/// Locks the whole of a file against writers, for a command that reads all of it or replaces it by a new one.
/// `file` must be open for reading.
///
/// # Errors
/// As [`exclusive_whole`], of writers only.
pub fn shared_whole(file: &File, path: &Path) -> Outcome<()> {
    lock(file, path, Range::WHOLE, Access::ReadOnly, WAIT_MAX)
}

fn lock(file: &File, path: &Path, range: Range, access: Access, patience: Duration) -> Outcome<()> {
    let deadline = Instant::now() + patience;
    loop {
        match range.set(file, access) {
            Ok(()) => break,
            Err(Errno::EAGAIN | Errno::EACCES)
                if Instant::now() < deadline && lock_of_this_process(file, range, access).is_none() =>
            {
                std::thread::sleep(WAIT_STEP);
            }
            Err(Errno::EAGAIN | Errno::EACCES) => return Err(in_use(file, path, range, access)),
            Err(Errno::EINTR) => {}
            Err(Errno::ENOLCK) => {
                message::verbose(format!(
                    "Could not set lock on {}: the file system has no locks to give. Data corruptions may occur if \
                     another process writes to it",
                    shown(path)
                ));
                return Ok(());
            }
            Err(errno) => {
                return Err(Failure::new(format!("could not lock {}: {}", shown(path), errno.desc())));
            }
        }
    }
    if access == Access::ReadWrite {
        Record::of_this_process().leave(file);
    }
    Ok(())
}

fn in_use(file: &File, path: &Path, range: Range, access: Access) -> Failure {
    let path = shown(path);
    let holder = Holder::find(file, range, access);
    let verb = |access| {
        if access == Access::ReadWrite { "writing" } else { "reading" }
    };
    let why = match (access, &holder) {
        (_, Some(Holder::ThisProcess(held))) => format!("already used for {} by this process", verb(*held)),
        (Access::ReadWrite, _) => "currently in use by another process".into(),
        (Access::ReadOnly, _) => "currently in use for writing by another process".into(),
    };
    let failure = Failure::new(format!("can't open {path} for {}, {why}", verb(access)));
    // Parts are locked for containers, which can be given the image in both ways.
    let could_be_read = access == Access::ReadWrite
        && range != Range::WHOLE
        && !matches!(holder, Some(Holder::ThisProcess(_)))
        && range.conflict(file, Access::ReadOnly).is_none();
    let words: Vec<String> = holder
        .map(|holder| holder.describe())
        .into_iter()
        .chain(could_be_read.then(|| ONLY_READ.into()))
        .collect();
    if words.is_empty() { failure } else { failure.hint(words.join(" ")) }
}

fn impossible(path: &Path) -> Failure {
    Failure::new(format!("could not lock {}: impossible range of bytes", shown(path)))
}

/// A range of bytes as `fcntl` takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    start: i64,
    /// 0 reaches to the end of the file, wherever that will be.
    length: i64,
}

impl Range {
    const WHOLE: Self = Self { start: 0, length: 0 };

    fn of(window: Window) -> Option<Self> {
        let start = i64::try_from(window.offset).ok()?;
        let length = i64::try_from(window.size).ok()?;
        (length > 0).then_some(Self { start, length })
    }

    /// The last byte.
    fn last(self) -> i64 {
        if self.length == 0 { i64::MAX } else { self.start.saturating_add(self.length - 1) }
    }

    fn set(self, file: &File, access: Access) -> Result<(), Errno> {
        nix::fcntl::fcntl(file, FcntlArg::F_OFD_SETLK(&self.request(access))).map(drop)
    }

    /// A lock that stands in the way of this one, if there is still one.
    fn conflict(self, file: &File, access: Access) -> Option<libc::flock> {
        let mut found = self.request(access);
        nix::fcntl::fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).ok()?;
        (i32::from(found.l_type) != libc::F_UNLCK).then_some(found)
    }

    fn request(self, access: Access) -> libc::flock {
        let kind = match access {
            Access::ReadOnly => libc::F_RDLCK,
            Access::ReadWrite => libc::F_WRLCK,
        };
        // The five constants involved are 0, 1 and 2: no bit is lost.
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.start,
            l_len: self.length,
            l_pid: 0,
        }
    }
}

#[cfg(test)]
mod tests;
