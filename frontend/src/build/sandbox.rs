//! A sandbox directory out of any source.

use super::skeleton::Skeleton;
use super::source::{Root, Source};
use super::{Job, Tools, ext3, squashfs};
use crate::confined::helper::{CP, Helper};
use crate::error::{Doing, Failure, Outcome};
use crate::file::{self, Existing};
use crate::making::{Progress, Staging};
use crate::message::{self, shown};
use crate::user;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Makes the sandbox beside its place and then puts it there in one step.
///
/// # Errors
/// Says why there is none; an existing target is then as it was.
pub(super) fn make(job: &Job) -> Outcome<()> {
    let target = &job.options.target;
    let staging = Staging::below(file::directory_of(target))?;
    let root = staging.path().join("root");
    unpack(job.source, staging.path(), &root, job.tools)?;
    let placing = || format!("creating sandbox {}", shown(target));
    if !user::may_give_files_away() {
        // A sandbox is there to be written to by its owner, whatever the image said of its root.
        let mode = root.metadata().doing(placing)?.permissions().mode();
        std::fs::set_permissions(&root, Permissions::from_mode(mode | 0o700)).doing(placing)?;
    }
    Skeleton::missing_in(&root).write_into(&root, &job.source.origin, job.source.arch)?;
    put(&root, staging, job)
}

/// Makes `root` with the files of a source. `room` is the directory that `root` is in.
///
/// # Errors
/// A program failed or is missing.
pub(super) fn unpack(source: &Source, room: &Path, root: &Path, tools: Tools) -> Outcome<()> {
    match source.root {
        Root::Directory => copy(&source.path, root, room, tools),
        Root::Squashfs(packed) => squashfs::unpack(&source.file, packed.window, room, root, &[], tools),
        Root::Ext3(image) => ext3::unpack_all(&source.file, image, root, tools),
    }
}

/// Puts the finished directory `root`, which is in `staging`, into the place of the target.
///
/// # Errors
/// As [`make`].
pub(super) fn put(root: &Path, staging: Staging, job: &Job) -> Outcome<()> {
    let (target, tools) = (&job.options.target, job.tools);
    let placing = || format!("creating sandbox {}", shown(target));
    File::open(root).and_then(|root| Ok(nix::unistd::syncfs(root)?)).doing(placing)?;
    tools.interrupts.check()?;
    match place(root, target, job.existing, staging.path()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::new(format!("{} already exists", shown(target))));
        }
        placed => placed.doing(placing)?,
    }
    let left = staging.path().to_path_buf();
    drop(staging);
    if left.exists() {
        message::warning(format!(
            "The old {} could not be removed whole; the rest is {}",
            shown(target),
            shown(left)
        ));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, room: &Path, tools: Tools) -> Outcome<()> {
    let progress = Progress::of("Copying");
    Helper::new(tools.programs, CP)?
        .args(["-a", "-T"])
        .args((!user::may_give_files_away()).then_some("--no-preserve=ownership"))
        .args(["--".as_ref(), from.as_os_str(), to.as_os_str()])
        .reads(from)
        .changes(room)
        .run(tools.interrupts, || progress.reached(0))
        .map(drop)
}

/// Moves the finished directory to its place. What is replaced ends up in `room`.
fn place(made: &Path, target: &Path, existing: Existing, room: &Path) -> io::Result<()> {
    let rename = |flags| renameat2(AT_FDCWD, made, AT_FDCWD, target, flags);
    let flags = match existing {
        Existing::Keep => RenameFlags::RENAME_NOREPLACE,
        Existing::Replace => RenameFlags::RENAME_EXCHANGE,
    };
    match (rename(flags), existing) {
        (Ok(()), _) => Ok(()),
        // What was to be replaced has gone meanwhile.
        (Err(Errno::ENOENT), Existing::Replace) => Ok(rename(RenameFlags::RENAME_NOREPLACE)?),
        // The file system knows neither way. A plain rename replaces nothing but an empty directory.
        (Err(Errno::EINVAL | Errno::ENOSYS), Existing::Keep) => match std::fs::symlink_metadata(target) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(made, target),
        },
        (Err(Errno::EINVAL | Errno::ENOSYS), Existing::Replace) => {
            std::fs::rename(target, room.join("old"))?;
            std::fs::rename(made, target)
        }
        (Err(errno), _) => Err(errno.into()),
    }
}
