//! The marks in an upper directory that say that something below is gone, and who understands which.
//!
//! A deleted name is a character device 0:0 or, by fuse-overlayfs where the upper file system cannot exchange names, a file
//! `.wh.NAME`. A directory that hides what is below it has an attribute, which root's kernel overlay, a user's and
//! fuse-overlayfs each call by another name. Who does not know a mark shows what was deleted.
//!
//! This looks at directories that are mounted or on the host's own file systems.

use crate::error::{Doing, Outcome};
use crate::message::shown;
use crate::sys::attributes::{attribute_names, set_attribute};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::ffi::{CStr, OsStr};
use std::fs::{self, DirEntry, File};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What the name of a file begins with that stands for a deleted name.
pub(super) const DELETED_PREFIX: &[u8] = b".wh.";
/// A file that makes its directory opaque.
pub(super) const OPAQUE_FILE: &[u8] = b".wh..wh..opq";
/// What fuse-overlayfs leaves beside it: a whiteout of nothing.
pub(super) const OPAQUE_NOISE: &[u8] = b".wh..opq";
const TRUSTED_OPAQUE: &CStr = c"trusted.overlay.opaque";
const USER_OPAQUE: &CStr = c"user.overlay.opaque";
const FUSE_OPAQUE: &CStr = c"user.fuseoverlayfs.opaque";

/// Who stacks the layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// The kernel, for root: the setuid flow.
    RootsKernel,
    /// The kernel, in a user namespace, with `userxattr`.
    UsersKernel,
    /// fuse-overlayfs, without privilege.
    FuseOverlayfs,
}

/// A mark.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Mark {
    /// A file that stands for a deleted name beside it.
    DeletedFile(PathBuf),
    /// A directory that hides what is below it.
    Opaque(Opaque),
}

/// How a directory says that it hides what is below it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Opaque {
    directory: PathBuf,
    trusted: bool,
    user: bool,
    fuse: bool,
    files: Vec<PathBuf>,
}

impl Mark {
    fn is_understood_by(&self, reader: Reader) -> bool {
        match (self, reader) {
            (Self::DeletedFile(_), reader) => reader == Reader::FuseOverlayfs,
            (Self::Opaque(opaque), Reader::RootsKernel) => opaque.trusted && opaque.files.is_empty(),
            (Self::Opaque(opaque), Reader::UsersKernel) => opaque.user && opaque.files.is_empty(),
            (Self::Opaque(opaque), Reader::FuseOverlayfs) => {
                opaque.user || opaque.fuse || !opaque.files.is_empty()
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::DeletedFile(path) => path,
            Self::Opaque(opaque) => &opaque.directory,
        }
    }
}

/// Looks through a layer for marks that `reader` does not understand, and returns where the first one is: below it, or
/// beside it, deleted files would be seen again.
///
/// # Errors
/// A directory cannot be read.
pub fn misread(layer: &Path, reader: Reader) -> Outcome<Option<PathBuf>> {
    let mut found = None;
    each_mark(layer, &mut |mark| {
        if !mark.is_understood_by(reader) {
            found.get_or_insert_with(|| mark.path().to_path_buf());
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// Gives an upper directory that nobody has mounted the marks that everybody understands: devices for deleted names, and
/// for directories the attributes of both kinds of kernel overlay. Returns the inode numbers of the directories that still
/// need root's attribute, which only root can set in a mounted file system.
///
/// # Errors
/// A directory cannot be read, or a mark not be made; those that were changed before are as good as they were.
pub fn settle(upper: &Path) -> Outcome<Vec<u64>> {
    let mut without_trusted = Vec::new();
    each_mark(upper, &mut |mark| {
        match mark {
            Mark::DeletedFile(path) => settle_deleted(&path)
                .doing(|| format!("replacing the mark of a deleted file {}", shown(&path)))?,
            Mark::Opaque(opaque) => {
                let number = settle_opaque(&opaque)
                    .doing(|| format!("marking the replaced directory {}", shown(&opaque.directory)))?;
                without_trusted.extend(number);
            }
        }
        Ok(true)
    })?;
    Ok(without_trusted)
}

fn settle_deleted(path: &Path) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let deleted = path.with_file_name(OsStr::from_bytes(&name[DELETED_PREFIX.len().min(name.len())..]));
    // The new mark first: with both, fuse-overlayfs is right too.
    match mknod(&deleted, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
        Ok(()) | Err(Errno::EEXIST) => fs::remove_file(path),
        Err(errno) => Err(errno.into()),
    }
}

fn settle_opaque(opaque: &Opaque) -> std::io::Result<Option<u64>> {
    let directory = File::open(&opaque.directory)?;
    if !opaque.user {
        set_attribute(&directory, USER_OPAQUE, b"y")?;
    }
    let trusted = opaque.trusted || set_attribute(&directory, TRUSTED_OPAQUE, b"y").is_ok();
    for file in &opaque.files {
        fs::remove_file(file)?;
    }
    Ok(if trusted { None } else { Some(directory.metadata()?.ino()) })
}

/// Calls `see` with every mark until it returns `false`. Nothing below an opaque directory is left out: it has its own.
/// Directories that are closed to this process are.
fn each_mark(layer: &Path, see: &mut impl FnMut(Mark) -> Outcome<bool>) -> Outcome<()> {
    let mut directories = vec![layer.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let reading = || format!("looking for the marks of an overlay in {}", shown(&directory));
        let opened = match File::open(&directory) {
            // Somebody else's, whose names and marks the caller can neither see nor have made.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            opened => opened,
        };
        let names = opened.and_then(|file| Ok(attribute_names(file)?)).doing(reading)?;
        let has = |name: &CStr| names.split(|byte| *byte == 0).any(|found| found == name.to_bytes());
        let mut opaque = Opaque {
            trusted: has(TRUSTED_OPAQUE),
            user: has(USER_OPAQUE),
            fuse: has(FUSE_OPAQUE),
            files: Vec::new(),
            directory: directory.clone(),
        };
        let mut deleted = Vec::new();
        for entry in fs::read_dir(&directory).doing(reading)? {
            let entry = entry.doing(reading)?;
            let name = entry.file_name().into_vec();
            if entry.file_type().doing(reading)?.is_dir() {
                directories.push(entry.path());
            } else if name == OPAQUE_FILE || (name == OPAQUE_NOISE && is_device(&entry)) {
                opaque.files.push(entry.path());
            } else if name.len() > DELETED_PREFIX.len()
                && name.starts_with(DELETED_PREFIX)
                && is_empty(&entry)
            {
                deleted.push(Mark::DeletedFile(entry.path()));
            }
        }
        let is_opaque = opaque.trusted || opaque.user || opaque.fuse || !opaque.files.is_empty();
        let opaque = is_opaque.then_some(Mark::Opaque(opaque));
        for mark in deleted.into_iter().chain(opaque) {
            if !see(mark)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn is_device(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_char_device())
}

fn is_empty(entry: &DirEntry) -> bool {
    entry.metadata().is_ok_and(|data| data.is_file() && data.len() == 0)
}
