//! Opening an image once, without touching anything that is not a file or directory, and having it inspected.

use super::{Access, Defect, Ext3, Format, Image, detect, ext3, squashfs};
use crate::confined::reader;
use crate::error::{Doing, Failure, Outcome, reason_of};
use crate::message::shown;
use crate::sif::FsType;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::AccessFlags;
use protocol::Window;
use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A squashfs superblock: nothing shorter is an image.
const IMAGE_BYTES_MIN: u64 = 96;

/// Opens an image for `access` and tells what it is.
///
/// # Errors
/// The path leads nowhere, to something that is no image, or to something the caller may not open so.
pub fn open(path: &Path, access: Access) -> Outcome<Image> {
    let path = resolve(path)?;
    let file = open_file(&path, access).map_err(|refused| refused.describe(&path))?;
    recognise(path, file, access)
}

/// Opens an image for writing where the caller may write it, else for reading; [`Image::access`] tells which.
///
/// # Errors
/// As [`open`] for reading.
pub fn open_writable_if_permitted(path: &Path) -> Outcome<Image> {
    let path = resolve(path)?;
    match open_file(&path, Access::ReadWrite) {
        Err(Refused::NotWritable) => {
            let file = open_file(&path, Access::ReadOnly).map_err(|refused| refused.describe(&path))?;
            recognise(path, file, Access::ReadOnly)
        }
        opened => {
            recognise(path.clone(), opened.map_err(|refused| refused.describe(&path))?, Access::ReadWrite)
        }
    }
}

/// Opens a regular file for `access` without looking into it, and returns it with its absolute path.
///
/// # Errors
/// The path leads nowhere, to something else, or to something the caller may not open so.
pub fn open_regular(path: &Path, access: Access) -> Outcome<(PathBuf, File)> {
    let path = resolve(path)?;
    let file = open_file(&path, access).map_err(|refused| refused.describe(&path))?;
    let kind = file.metadata().map_err(|error| Refused::from(error).describe(&path))?;
    if kind.is_dir() {
        return Err(Failure::new(format!("{} is a directory, not a file", shown(&path))));
    }
    Ok((path, file))
}

/// Tells what an open regular file holds, in a confined child. `path` is for messages.
///
/// # Errors
/// The content is of no known format, is damaged, or could not be read.
pub fn inspect(file: &File, path: &Path) -> Outcome<Format> {
    let opening = || format!("while opening image file {}", shown(path));
    let length = file.metadata().map_err(|error| Failure::new(error.to_string()).context(opening()))?.len();
    if length < IMAGE_BYTES_MIN {
        let why = if length == 0 {
            "the file is empty".into()
        } else {
            format!("the file has only {length} bytes")
        };
        return Err(Failure::new(format!("{}: {}: {why}", opening(), Defect::Unrecognised)));
    }
    let answer = reader::read(file, length, |bytes| detect(bytes))
        .map_err(|unanswered| Failure::new(format!("{}: {unanswered}", opening())))?;
    let format = answer.map_err(|defect| Failure::new(format!("{}: {defect}", opening())))?;
    if !within(&format, length) {
        return Err(Failure::new(format!("{}: {}", opening(), reader::Unanswered::Nonsense)));
    }
    match &format {
        Format::Sif(sif) => crate::sif::warn_of_counters(&sif.table, path),
        Format::OciSif(oci) => crate::sif::warn_of_counters(&oci.table, path),
        _ => {}
    }
    Ok(format)
}

/// Reads, in a confined child, the superblock of an ext3 that is known to be in this part of a file.
///
/// # Errors
/// There is none any more, it is damaged, or it could not be read.
pub fn inspect_ext3(file: &File, path: &Path, window: Window) -> Outcome<Ext3> {
    let reading = || format!("while reading the ext3 superblock in {}", shown(path));
    let length = file.metadata().map_err(|error| Failure::new(error.to_string()).context(reading()))?.len();
    let answer = reader::read(file, length, |bytes| ext3::probe(bytes, window))
        .map_err(|unanswered| Failure::new(format!("{}: {unanswered}", reading())))?;
    match answer.map_err(|defect| Failure::new(format!("{}: {defect}", reading())))? {
        Some(ext3) => Ok(Ext3 { window, ..ext3 }),
        None => Err(Failure::new(format!("{}: {}", reading(), Defect::Unrecognised))),
    }
}

/// Checks, in a confined child, that a whole file is the file system that the descriptor of a partition would name.
/// One of a type that is never mounted passes.
///
/// # Errors
/// It is not, or not one that can be mounted.
pub fn check_file_system(file: &File, fs: FsType) -> Outcome<()> {
    let size = file.metadata().doing(|| "reading it".into())?.len();
    let window = Window { offset: 0, size };
    let answer = reader::read(file, size, |bytes| match fs {
        FsType::Squashfs => squashfs::probe(bytes, window).map(|found| found.is_some()),
        FsType::Ext3 => ext3::probe(bytes, window).map(|found| found.is_some()),
        _ => Ok(true),
    });
    match answer.map_err(|unanswered| Failure::new(unanswered.to_string()))? {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(format!("it does not begin as {} does", fs.name()))),
        Err(defect) => Err(Failure::new(defect.to_string())),
    }
}

/// Makes the path absolute and free of symbolic links.
fn resolve(path: &Path) -> Outcome<PathBuf> {
    let resolved = std::fs::canonicalize(path).map_err(|error| Refused::from(error).describe(path))?;
    if resolved == Path::new("/") {
        return Err(Failure::new("/ as sandbox is not authorized"));
    }
    Ok(resolved)
}

fn recognise(path: PathBuf, file: File, access: Access) -> Outcome<Image> {
    let kind = file.metadata().map_err(|error| Refused::from(error).describe(&path))?;
    if kind.is_dir() {
        return Ok(Image { path, file, access, format: Format::Sandbox });
    }
    let format = inspect(&file, &path)?;
    if matches!(format, Format::Squashfs(_)) && access == Access::ReadWrite {
        let file = reopen(&file, OFlag::O_RDONLY).map_err(|refused| refused.describe(&path))?;
        return Ok(Image { path, file, access: Access::ReadOnly, format });
    }
    Ok(Image { path, file, access, format })
}

/// Why a path was not opened.
enum Refused {
    NotReadable,
    NotWritable,
    NotAnImage(FileType),
    Failed(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EACCES) => Self::NotReadable,
            _ => Self::Failed(error),
        }
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl Refused {
    fn describe(self, place: &Path) -> Failure {
        let path = shown(place);
        match self {
            Self::NotReadable => {
                Failure::new(format!("{path} is not readable by the current user, check permissions"))
            }
            Self::NotWritable => unwritable(place),
            Self::NotAnImage(kind) => Failure::new(format!(
                "while opening image file {path}: {}: it is a {}, not a regular file or directory",
                Defect::Unrecognised,
                name_of(kind)
            )),
            Self::Failed(error) => {
                Failure::new(format!("could not open image {path}: {}", reason_of(&error)))
            }
        }
    }
}

/// Says that the caller may not write there.
pub fn unwritable(path: &Path) -> Failure {
    let text = format!("could not use {} for writing, you don't have write permissions", shown(path));
    let failure = Failure::new(text);
    match statvfs(path) {
        Ok(found) if found.flags().contains(FsFlags::ST_RDONLY) => {
            failure.because("its file system is mounted read-only")
        }
        _ => failure,
    }
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "device"
    } else {
        "special file"
    }
}

/// Opens what the resolved path leads to. It is held first by a descriptor that touches nothing, so neither a fifo
/// nor a device is ever opened and what was looked at is what gets opened.
fn open_file(path: &Path, access: Access) -> Result<File, Refused> {
    let held = File::from(nix::fcntl::open(
        path,
        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?);
    let kind = held.metadata()?.file_type();
    if kind.is_dir() {
        let directory = reopen(&held, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        if access == Access::ReadWrite {
            check_directory_writable(&directory)?;
        }
        return Ok(directory);
    }
    if !kind.is_file() {
        return Err(Refused::NotAnImage(kind));
    }
    if access == Access::ReadOnly {
        return reopen(&held, OFlag::O_RDONLY);
    }
    match reopen(&held, OFlag::O_RDWR) {
        // Whether it cannot be read either is told by opening it so.
        Err(Refused::NotReadable) => reopen(&held, OFlag::O_RDONLY).and(Err(Refused::NotWritable)),
        Err(Refused::Failed(error)) if is_not_writable(&error) => Err(Refused::NotWritable),
        opened => opened,
    }
}

/// A read-only file system, an immutable file, a program that is running.
fn is_not_writable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EROFS | libc::EPERM | libc::ETXTBSY))
}

fn check_directory_writable(directory: &File) -> Result<(), Refused> {
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    nix::unistd::faccessat(AT_FDCWD, &link_to(directory), wanted, AtFlags::AT_EACCESS)
        .map_err(|_| Refused::NotWritable)
}

/// Opens what a descriptor refers to once more, with other flags.
fn reopen(held: &File, flags: OFlag) -> Result<File, Refused> {
    let opened = nix::fcntl::open(
        &link_to(held),
        flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY,
        Mode::empty(),
    )?;
    Ok(File::from(opened))
}

fn link_to(held: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_fd().as_raw_fd()))
}

/// Whether every part of the file that an answer names is inside the file.
fn within(format: &Format, length: u64) -> bool {
    let inside = |window: Window| {
        window.size > 0 && window.offset.checked_add(window.size).is_some_and(|end| end <= length)
    };
    match format {
        Format::Sandbox => false,
        Format::Squashfs(squashfs) => inside(squashfs.window),
        Format::Ext3(ext3) => inside(ext3.window),
        Format::OciSif(oci) => oci.windows().all(inside) && oci.table.lies_within(length),
        Format::Sif(sif) => sif.windows().all(inside) && sif.table.lies_within(length),
    }
}

#[cfg(test)]
mod tests;
