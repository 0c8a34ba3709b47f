//! Mount points without an overlay: a root in memory that shows the image's own directories and files where they are,
//! with the missing mount points between them. It is read-only, and it cannot stack layers.

use crate::caller::Caller;
use crate::mounter::destinations::{self, Wanted};
use crate::mounter::kernel_fs;
use crate::mounter::privilege::{as_caller, walk};
use crate::mounter::session::{self, Session, attach, make_directory, make_file};
use crate::namespaces::{NOSUID_NODEV, READ_ONLY};
use crate::refusal::{Refusal, Step};
use crate::sys::{self, MountAttributes};
use protocol::ContainerPath;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

/// Most names that are shown one by one: each is a mount. A directory with more is refused, not cut short.
const NAMES_MAX: usize = 4096;

/// Makes the root. It is attached in the session as the container's root.
pub fn assemble(
    caller: &Caller,
    image: &OwnedFd,
    lacking: &[Wanted],
    session: &Session,
) -> Result<OwnedFd, Refusal> {
    session.attach_aside(image, "image")?;
    let root = kernel_fs::fresh("tmpfs", &[("mode", "0755"), ("size", "1048576")], NOSUID_NODEV)?;
    session.attach_root(&root)?;
    let mut places = Vec::new();
    for (place, directory) in lacking {
        // Every link on the way is followed first, so that no component of a place is a link.
        let real = destinations::real_place(caller, image, place)?;
        places.extend(real.map(|real| (real, *directory)));
    }
    let mut names_left = NAMES_MAX;
    show(caller, image, &root, b"", &places, &mut names_left)?;
    for (place, directory) in &places {
        destinations::create(&root, place, *directory)?;
    }
    let change = MountAttributes { set: READ_ONLY, ..Default::default() };
    sys::set_mount_attributes(&root, change).step("making the root read-only")?;
    Ok(root)
}

/// Shows what the image's directory holds in a directory of the new root: whole, or name by name where one of the
/// places lies below it. `above` is the path of both.
fn show(
    caller: &Caller,
    image: &OwnedFd,
    root: &OwnedFd,
    above: &[u8],
    places: &[Wanted],
    names_left: &mut usize,
) -> Result<(), Refusal> {
    for (name, kind) in names(caller, image)? {
        *names_left = names_left.checked_sub(1).ok_or_else(|| {
            Refusal::new(
                "a directory of the image that lacks a mount point has too many names for an underlay",
            )
        })?;
        let path = [above, b"/", name.to_bytes()].concat();
        let below = |place: &ContainerPath| place.as_bytes().starts_with(&[&path, b"/".as_slice()].concat());
        match kind {
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(image, &name, Vec::new()).step("reading a link in the image")?;
                rustix::fs::symlinkat(target, root, &name).step("copying a link of the image")?;
            }
            FileType::Directory => {
                make_directory(root, &name, 0o755)?;
                if places.iter().any(|(place, _)| below(place)) {
                    let inner = (open(caller, image, &name)?, open(caller, root, &name)?);
                    show(caller, &inner.0, &inner.1, &path, places, names_left)?;
                } else {
                    bind(caller, image, root, &name)?;
                }
            }
            FileType::RegularFile => {
                make_file(root, &name)?;
                bind(caller, image, root, &name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The names in a directory, `.` and `..` left out.
fn names(caller: &Caller, directory: &OwnedFd) -> Result<Vec<(CString, FileType)>, Refusal> {
    let doing = "listing a directory of the image";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    as_caller(caller, walk(caller), || {
        let opened = rustix::fs::openat(directory, c".", flags, Mode::empty()).step(doing)?;
        let mut names = Vec::new();
        for entry in Dir::new(opened).step(doing)?.take(NAMES_MAX + 2) {
            let entry = entry.step(doing)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        Ok(names)
    })
}

fn open(caller: &Caller, at: &OwnedFd, name: &CStr) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    as_caller(caller, walk(caller), || {
        rustix::fs::openat(at, name, flags, Mode::empty()).step("opening a part of the image")
    })
}

fn bind(caller: &Caller, image: &OwnedFd, root: &OwnedFd, name: &CStr) -> Result<(), Refusal> {
    let part = session::clone(&open(caller, image, name)?).step("cloning a part of the image")?;
    attach(&part, root, name).step("showing a part of the image")
}
