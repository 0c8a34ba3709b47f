//! File systems without privilege: FUSE servers for image files and overlays, in a user namespace.
//!
//! The caller has made a user and a mount namespace of its own. Each mount is made here, with a connection to
//! `/dev/fuse` that the server inherits, so no `fusermount` is needed and the server needs no privilege: it is confined
//! before it reads the first byte of the image ([`crate::confined`]). See `README.md` in this folder.

mod answers;
mod connection;
mod server;
mod stand_in;
mod users;
mod version;

pub(crate) use connection::{attach, open_device};
pub use stand_in::stand_in;

use crate::confined::helper::{
    FUSE_OVERLAYFS, FUSE2FS, Program, Programs, SQUASHFUSE, SQUASHFUSE_LL, SUBJECT,
};
use crate::error::{Doing, Failure, Outcome};
use crate::image::{Access, Ext3};
use crate::making::Interrupts;
use crate::message::{self, shown};
use crate::overlay::marks;
use nix::fcntl::OFlag;
use protocol::Window;
use server::{Server, Start};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The servers of one container, in the order of their start.
///
/// They are children of this process, so it must not have entered a PID namespace for its children yet. They are told
/// to end when this process dies. Dropped without [`Servers::finish`], they are stopped and nothing is reported.
#[derive(Debug)]
pub struct Servers<'a> {
    programs: &'a Programs,
    interrupts: &'a Interrupts,
    answering: Option<PathBuf>,
    running: Vec<Server>,
    users_end: bool,
}

/// Whose the files of a squashfs are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owners {
    /// The ids in the image. Those that the namespace has no name for belong to nobody, and an overlay cannot change
    /// such files.
    Recorded,
    /// Everything belongs to this process's user and group.
    Caller,
}

/// An overlay that the kernel cannot or must not make.
#[derive(Clone, Debug)]
pub struct Overlay<'a> {
    /// The directories that are only read, the topmost first.
    pub lowers: Vec<&'a Path>,
    /// Where changes go, and an empty directory beside it on the same file system; without them the overlay is
    /// read-only.
    pub upper: Option<(&'a Path, &'a Path)>,
}

impl<'a> Servers<'a> {
    /// No servers yet. What `interrupts` holds back ends the waiting for a server.
    #[must_use]
    pub fn new(programs: &'a Programs, interrupts: &'a Interrupts) -> Self {
        Self { programs, interrupts, answering: None, running: Vec::new(), users_end: false }
    }

    /// Names the installed `lamina`, for programs that are not it: servers that were built with libfuse 2 start it under
    /// another name ([`stand_in()`]).
    #[must_use]
    pub fn answered_by(mut self, lamina: &Path) -> Self {
        self.answering = Some(lamina.to_path_buf());
        self
    }

    /// Mounts the squashfs in a part of a file at the directory `at`. `path` names the image in messages.
    ///
    /// # Errors
    /// There is no server for it, `/dev/fuse` cannot be used, or the server ended; its last words are in the message.
    pub fn squashfs(
        &mut self,
        image: &File,
        path: &Path,
        window: Window,
        owners: Owners,
        at: &Path,
    ) -> Outcome<()> {
        let mut options = format!("offset={}", window.offset);
        if owners == Owners::Caller {
            let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
            options.push_str(&format!(",uid={uid},gid={gid}"));
        }
        let (program, found) = self.squashfuse(owners)?;
        let start = Start::new(program, found, path, at)
            .arguments(["-f", "-o", &options, SUBJECT])
            .image(image, Access::ReadOnly);
        self.start(start)
    }

    /// The quicker `squashfuse_ll` where it is there and knows how to change owners, which it learned in 0.2.
    fn squashfuse(&self, owners: Owners) -> Outcome<(Program, PathBuf)> {
        if let Ok(found) = self.programs.find(SQUASHFUSE_LL)
            && (owners == Owners::Recorded || version::squashfuse_knows_owners(&found))
        {
            return Ok((SQUASHFUSE_LL, found));
        }
        Ok((SQUASHFUSE, self.programs.find(SQUASHFUSE)?))
    }

    /// Mounts an ext3, whose lock the caller holds, at the directory `at`. `path` names the image in messages.
    ///
    /// # Errors
    /// As [`Servers::squashfs`]; the file system was not closed properly, which only e2fsck or a kernel can put right;
    /// or fuse2fs is too old for a file system inside a file.
    pub fn ext3(&mut self, image: &File, path: &Path, ext3: Ext3, access: Access, at: &Path) -> Outcome<()> {
        ext3.require_sound(path)?;
        if ext3.needs_recovery {
            return Err(unrecovered(path, ext3));
        }
        let found = self.programs.find(FUSE2FS)?;
        version::require_offset(self.programs, self.interrupts, path, ext3.window.offset)?;
        // Permission is asked of the kernel, as in every other file system; fuse2fs's own rules know no capabilities.
        let mut options = format!("fakeroot,offset={}", ext3.window.offset);
        if access == Access::ReadOnly {
            options.push_str(",ro");
        }
        let asks_fusermount = version::asks_fusermount(&found)?;
        let mut start = Start::new(FUSE2FS, found, path, at);
        if asks_fusermount {
            options.push_str(stand_in::OPTIONS);
            start = start.with_stand_in(self.answering.as_deref())?;
        }
        start = start.arguments(["-f", "-o", &options, SUBJECT]).image(image, access);
        if access == Access::ReadWrite {
            start = start.closing(ext3);
        }
        self.start(start)
    }

    /// Mounts an overlay at the directory `at`, by fuse-overlayfs. `path` names it in messages.
    ///
    /// # Errors
    /// As [`Servers::squashfs`]; a layer cannot be opened.
    pub fn overlay(&mut self, overlay: &Overlay<'_>, path: &Path, at: &Path) -> Outcome<()> {
        let found = self.programs.find(FUSE_OVERLAYFS)?;
        let lowers: Vec<OwnedFd> =
            overlay.lowers.iter().map(|lower| open_layer(lower)).collect::<Outcome<_>>()?;
        let work = overlay.upper.map(|(upper, work)| prepare_upper(upper, work)).transpose()?;
        let uppers: Vec<OwnedFd> = match (overlay.upper, &work) {
            (Some((upper, _)), Some(work)) => vec![open_layer(upper)?, open_layer(work)?],
            _ => Vec::new(),
        };
        // A descriptor's name has no character that the option text gives a meaning to; fuse-overlayfs resolves it.
        let name = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
        let below: Vec<String> = lowers.iter().map(name).collect();
        // With writes held back in the kernel nobody would tell a program that the image is full.
        let mut options = format!("noacl,writeback=0,lowerdir={}", below.join(":"));
        if let [upper, work] = uppers.as_slice() {
            options.push_str(&format!(",upperdir={},workdir={}", name(upper), name(work)));
        }
        let start = Start::new(FUSE_OVERLAYFS, found, path, at)
            .arguments(["-f", "-o", &options])
            .reading(overlay.lowers.iter().copied())
            .inheriting(lowers.into_iter().chain(uppers))
            .keeping_capabilities();
        self.start(match overlay.upper {
            Some((upper, work)) => start.changing([upper, work]).upper(upper),
            None => start,
        })
    }

    fn start(&mut self, start: Start<'_>) -> Outcome<()> {
        message::verbose(format!("Using {} for {}", start.program.name, shown(start.subject)));
        self.running.push(start.start(self.interrupts)?);
        Ok(())
    }

    /// Has [`Servers::finish`] end whoever still uses a mount, rather than wait: the command was asked to end.
    pub fn end_users(&mut self) {
        self.users_end = true;
    }

    /// Unmounts everything and waits for the servers, the last one first. When this returns without an error, every
    /// image that was written to is closed and on disk.
    ///
    /// Whoever still uses a mount is named and waited for; what the [`Interrupts`] hold back ends him, not the writing back.
    ///
    /// # Errors
    /// A server died while the container ran, or did not close its image; each one is in the message.
    pub fn finish(mut self) -> Outcome<()> {
        let mut failures = Vec::new();
        while let Some(mut server) = self.running.pop() {
            let upper = server.upper.take();
            failures.extend(server.finish(self.interrupts, self.programs, self.users_end).err());
            if let Some(Err(failure)) = upper.map(|upper| self.settle(&upper)) {
                message::warning(format!(
                    "{failure}; without --userns and --fakeroot, deleted files can be seen again"
                ));
            }
        }
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else {
            return Ok(());
        };
        failures.for_each(|failure| message::say(message::Level::Error, &failure.to_string()));
        Err(first)
    }
}

impl Servers<'_> {
    /// Has the next flow understand what fuse-overlayfs wrote, whichever it is.
    fn settle(&mut self, upper: &Path) -> Outcome<()> {
        let needing_root = marks::settle(upper)?;
        if let Some(holder) = self.running.iter_mut().rev().find(|server| upper.starts_with(&server.at)) {
            holder.opaque.extend(needing_root);
        }
        Ok(())
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        while let Some(server) = self.running.pop() {
            drop(server);
        }
    }
}

/// Makes the directory that fuse-overlayfs works in: root's kernel overlay leaves one in `work` that is closed to others, and
/// fuse-overlayfs itself one that is closed to every other id, so each has a directory of its own. What that overlay wrote is
/// marked for fuse-overlayfs too.
fn prepare_upper(upper: &Path, work: &Path) -> Outcome<PathBuf> {
    let by_kernel = std::fs::symlink_metadata(work.join("work")).is_ok_and(|data| data.mode() & 0o777 == 0);
    if by_kernel {
        marks::settle(upper)?;
    }
    let own = work.join(format!("fuse-overlayfs-{}", nix::unistd::geteuid()));
    match std::fs::create_dir(&own) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).doing(|| format!("creating {}", shown(&own)))
        }
        _ => Ok(own),
    }
}

fn open_layer(path: &Path) -> Outcome<OwnedFd> {
    let opened =
        OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits()).open(path);
    Ok(opened.doing(|| format!("opening overlay layer {}", shown(path)))?.into())
}

/// e2fsprogs loses the offset when it has to replay a journal, in e2fsck as in fuse2fs.
fn unrecovered(path: &Path, ext3: Ext3) -> Failure {
    let shown = shown(path);
    let failure = Failure::new(format!(
        "the ext3 file system in {shown} was not closed properly and has to be recovered before it is used without \
         the kernel's driver"
    ));
    failure.hint(if ext3.window.offset == 0 {
        format!("'e2fsck -f \"{shown}\"' recovers it")
    } else {
        "using it once for writing without --userns and --fakeroot recovers it, unless it is an OCI-SIF; 'overlay seal' \
         recovers it and makes it read-only"
            .to_string()
    })
}
