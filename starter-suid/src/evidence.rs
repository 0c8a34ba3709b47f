//! What the claims point at: the descriptors, held open, and what the kernel says of each. Nothing is judged here.

use crate::policy;
use crate::proc;
use crate::refusal::{Refusal, Step};
use crate::superblock::{self, Superblock};
use crate::sys;
use protocol::{Content, Plan, SOURCE_FD_FIRST};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// One source descriptor and its facts.
pub struct Source {
    /// Held until the container's mounts are made.
    pub fd: OwnedFd,
    /// What the kernel says of it.
    pub facts: Facts,
}

/// What the kernel says of an open file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Regular file, directory, or something else.
    pub kind: FileType,
    /// The descriptor was opened for reading (a path-only one was not).
    pub readable: bool,
    /// The descriptor was opened for writing.
    pub writable: bool,
    /// Bytes.
    pub size: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names the file has.
    pub links: u64,
    /// The file system's magic number, as `statfs` tells it.
    pub file_system: u64,
    /// The kernel's number of the device and of the file on it.
    pub identity: (u64, u64),
    /// Where the file is, if it can be reached there from this mount namespace without a symbolic link.
    pub place: Option<Vec<u8>>,
    /// Whether this is the root of a mount.
    pub mount_root: bool,
    /// Whether something is mounted on or in this directory, in which an image lies: the image alone would show what that
    /// hides.
    pub mounted_over: bool,
    /// Whether the file starts as a SIF does.
    pub in_sif: bool,
    /// For an image: what lies at the window's start.
    pub superblock: Option<Superblock>,
}

/// All sources of a plan, by number.
pub struct Evidence {
    sources: Vec<Source>,
}

impl Evidence {
    /// Takes the descriptors the plan names, closes all others, and asks the kernel about each.
    pub fn gather(plan: &Plan) -> Result<Self, Refusal> {
        let count = i32::try_from(plan.descriptor_count()).unwrap_or(i32::MAX);
        sys::close_range(SOURCE_FD_FIRST.saturating_add(count), false)?;
        let fds = (0..count).map(|n| sys::adopt(SOURCE_FD_FIRST + n)).collect::<Result<Vec<_>, _>>()?;
        let mut contents = vec![None; fds.len()];
        for image in plan.images() {
            if let Some(content) = contents.get_mut(usize::from(image.descriptor.0)) {
                *content = Some(image.content);
            }
        }
        let look = |(fd, content)| look(&fd, content).map(|facts| Source { fd, facts });
        Ok(Self { sources: fds.into_iter().zip(contents).map(look).collect::<Result<_, _>>()? })
    }

    /// The sources, in the order of the numbers.
    pub fn into_sources(self) -> Vec<Source> {
        self.sources
    }

    /// The facts alone, in the order of the numbers.
    pub fn facts(&self) -> Vec<&Facts> {
        self.sources.iter().map(|source| &source.facts).collect()
    }
}

fn look(fd: &OwnedFd, content: Option<Content>) -> Result<Facts, Refusal> {
    let stat = rustix::fs::fstat(fd).step("looking at a source")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let flags = rustix::fs::fcntl_getfl(fd).step("looking at a source's open mode")?;
    let path_only = flags.contains(OFlags::PATH);
    let mode = flags & OFlags::RWMODE;
    let statx = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .step("looking at a source's mount")?;
    let readable = !path_only && mode != OFlags::WRONLY;
    let window = match content {
        Some(Content::Squashfs(window) | Content::Ext3(window))
            if readable && kind == FileType::RegularFile =>
        {
            Some(window)
        }
        _ => None,
    };
    Ok(Facts {
        kind,
        readable,
        writable: !path_only && mode != OFlags::RDONLY,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: stat.st_nlink,
        file_system: u64::try_from(rustix::fs::fstatfs(fd).step("looking at a source's file system")?.f_type)
            .unwrap_or(u64::MAX),
        identity: (stat.st_dev, stat.st_ino),
        place: place(fd, statx.stx_mnt_id, stat.st_ino),
        mount_root: statx.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT),
        mounted_over: content == Some(Content::Directory) && is_mounted_over(fd, statx.stx_mnt_id)?,
        in_sif: window.is_some() && superblock::starts_as_sif(fd),
        superblock: window.and_then(|window| superblock::read(fd, window)),
    })
}

/// Whether a mount of the mount that a directory is in lies on or below it. The names on both sides are the kernel's.
fn is_mounted_over(fd: &OwnedFd, mount: u64) -> Result<bool, Refusal> {
    let directory = name_of(fd).step("naming a directory")?;
    let table = proc::mount_table(CWD, "/proc/self/mountinfo")?;
    for other in proc::mounts(&table) {
        let other = other?;
        let place = other.mount_point.as_encoded_bytes();
        if other.parent_id == mount && policy::is_below(place, directory.to_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the kernel calls an open file.
pub fn name_of(fd: &OwnedFd) -> Result<CString, rustix::io::Errno> {
    rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())
}

/// The path the kernel gives for a descriptor is text, and in another mount namespace it may be anybody's text. So
/// it is walked again from here, without symbolic links, and must end at the same file of the same mount.
fn place(fd: &OwnedFd, mount: u64, inode: u64) -> Option<Vec<u8>> {
    let path = name_of(fd).ok()?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let again =
        rustix::fs::openat2(CWD, path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
            .ok()?;
    let found =
        rustix::fs::statx(again.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | StatxFlags::INO)
            .ok()?;
    (found.stx_mnt_id == mount && found.stx_ino == inode).then(|| path.into_bytes())
}

#[cfg(test)]
mod tests;
