//! Places inside the container: finding them without leaving it, and making those that the image lacks.

use crate::caller::Caller;
use crate::mounter::layers::Stack;
use crate::mounter::privilege::{NOTHING, as_caller, walk};
use crate::mounter::session::{make_directory, make_file};
use crate::namespaces::Tree;
use crate::policy::Permit;
use crate::refusal::{Refusal, Step, errno};
use nix::errno::Errno;
use protocol::path::COMPONENTS_MAX;
use protocol::{AccountFile, ContainerPath, Mount};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// Symbolic links followed on the way to one place: the kernel's own limit.
const LINKS_MAX: u32 = 40;

/// A place that must exist in the container, and whether as a directory.
pub type Wanted = (ContainerPath, bool);

/// Where a mount of the plan appears.
pub fn of(mount: &Mount) -> Result<ContainerPath, Refusal> {
    match mount {
        Mount::Dev(_) => fixed("/dev"),
        Mount::Proc => fixed("/proc"),
        Mount::Sys => fixed("/sys"),
        Mount::Tmp => fixed("/tmp"),
        Mount::VarTmp => fixed("/var/tmp"),
        Mount::ResolvConf => fixed("/etc/resolv.conf"),
        Mount::SiteBind(destination)
        | Mount::Scratch { destination, .. }
        | Mount::Data { destination, .. } => Ok(destination.clone()),
        Mount::Home(bind) | Mount::Hostfs(bind) | Mount::User(bind) => Ok(bind.destination.clone()),
    }
}

/// Every place the permit mounts something at.
pub fn wanted(permit: &Permit, host_trees: &[Option<Tree>], stack: &Stack) -> Result<Vec<Wanted>, Refusal> {
    let mut places = Vec::new();
    for (mount, tree) in permit.plan.mounts.iter().zip(host_trees) {
        let directory = match (mount, tree) {
            (Mount::SiteBind(_) | Mount::ResolvConf, None) => continue,
            (_, Some(tree)) => tree.directory,
            (Mount::Home(bind) | Mount::Hostfs(bind) | Mount::User(bind), None) => {
                stack.is_directory(bind.descriptor)
            }
            (Mount::Data { image, .. }, None) => stack.is_directory(image.descriptor),
            _ => true,
        };
        places.push((of(mount)?, directory));
    }
    for file in permit.plan.account_files.iter().filter(|file| !file.extends_original()) {
        places.push((account_place(*file)?, false));
    }
    Ok(places)
}

/// The place of an account file.
pub fn account_place(file: AccountFile) -> Result<ContainerPath, Refusal> {
    fixed(file.path())
}

/// A place that does not depend on the plan.
fn fixed(path: &str) -> Result<ContainerPath, Refusal> {
    ContainerPath::new(path.as_bytes().to_vec()).map_err(|error| Refusal::new(format!("{path} {error}")))
}

/// Opens a place below `root`, following links as a process inside would: none leads out. The inner result is the
/// kernel's answer for the place.
pub fn find(
    caller: &Caller,
    root: &OwnedFd,
    place: &ContainerPath,
) -> Result<Result<OwnedFd, Errno>, Refusal> {
    as_caller(caller, walk(caller), || Ok(open_in(root, place.as_bytes(), OFlags::PATH)))
}

/// Like [`find`], for reading with nothing but the caller's own right.
pub fn read(
    caller: &Caller,
    root: &OwnedFd,
    place: &ContainerPath,
) -> Result<Result<OwnedFd, Errno>, Refusal> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    as_caller(caller, NOTHING, || Ok(open_in(root, place.as_bytes(), flags)))
}

fn open_in(root: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(errno)
}

/// Which of the places are missing below `root`.
pub fn missing(caller: &Caller, root: &OwnedFd, wanted: &[Wanted]) -> Result<Vec<Wanted>, Refusal> {
    let is_missing =
        |(place, _): &&Wanted| matches!(open_in(root, place.as_bytes(), OFlags::PATH), Err(Errno::ENOENT));
    as_caller(caller, walk(caller), || Ok(wanted.iter().filter(is_missing).cloned().collect()))
}

/// Where a missing place would be if every link on the way to it were followed: what has to be made so that the
/// place exists. `None` when no making helps.
pub fn real_place(
    caller: &Caller,
    root: &OwnedFd,
    place: &ContainerPath,
) -> Result<Option<ContainerPath>, Refusal> {
    let mut todo: VecDeque<Vec<u8>> = place.components().map(<[u8]>::to_vec).collect();
    let mut real: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(component) = todo.pop_front() {
        match component.as_slice() {
            b"" | b"." => continue,
            b".." => drop(real.pop()),
            _ => real.push(component),
        }
        let here = [b"/".as_slice(), &real.join(b"/".as_slice())].concat();
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let Ok(found) = as_caller(caller, walk(caller), || Ok(open_in(root, &here, flags)))? else {
            continue;
        };
        let stat = rustix::fs::fstat(&found).step("looking at a place in the container")?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            continue;
        }
        links += 1;
        let target =
            rustix::fs::readlinkat(&found, "", Vec::new()).step("reading a link in the container")?;
        if links > LINKS_MAX || todo.len() > COMPONENTS_MAX {
            return Ok(None);
        }
        real.pop();
        if target.as_bytes().starts_with(b"/") {
            real.clear();
        }
        for component in target.as_bytes().split(|byte| *byte == b'/').rev() {
            todo.push_front(component.to_vec());
        }
    }
    Ok(ContainerPath::new([b"/".as_slice(), &real.join(b"/".as_slice())].concat()).ok())
}

/// Makes a place, and the directories above it, in a file system of the starter's own.
pub fn create(layer: &OwnedFd, place: &ContainerPath, directory: bool) -> Result<(), Refusal> {
    let mut components = place.components().peekable();
    let mut at = rustix::io::fcntl_dupfd_cloexec(layer, 0).step("making a mount point")?;
    while let Some(component) = components.next() {
        let name = crate::sys::c_string(component)?;
        let last = components.peek().is_none();
        if rustix::fs::statat(&at, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err() {
            if last && !directory {
                return make_file(&at, &name);
            }
            make_directory(&at, &name, 0o755)?;
        }
        if !last {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = match rustix::fs::openat(&at, &name, flags, Mode::empty()) {
                Ok(next) => next,
                // A file is wanted where a directory is: whoever mounts there says so.
                Err(rustix::io::Errno::NOTDIR) => return Ok(()),
                Err(error) => {
                    return Err(Refusal::failed("making a mount point", errno(error)));
                }
            };
        }
    }
    Ok(())
}
