//! A file that is written beside its target and takes its name when it is complete and on disk.

use crate::error::{Doing, Failure, Outcome};
use crate::file::directory_of;
use crate::lock;
use crate::message::shown;
use nix::fcntl::{AT_FDCWD, AtFlags};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// What becomes of a file that already has the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// It stays and the new file is not made.
    Keep,
    /// The new file takes its place in one step, unless somebody writes to the old one: what is written then would be
    /// lost. Whoever only reads the old one keeps it.
    Replace,
}

/// A file being written. Dropped before [`NewFile::publish`] it leaves nothing behind; where the file system has files
/// without a name it does not even when the process is killed.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Its name for now, where it must have one.
    name: Option<TempPath>,
    target: PathBuf,
    directory: PathBuf,
}

impl NewFile {
    /// Begins a file in the directory of `target`, open for reading and writing, with the permissions of `mode` that
    /// the umask leaves. A symbolic link that leads to an existing file stands for that file.
    ///
    /// # Errors
    /// `target` can be no file's name or is taken by something that is never replaced, such as a device, or the directory
    /// cannot be written to.
    pub fn beside(target: &Path, mode: u32) -> Outcome<Self> {
        let creating = || format!("creating {}", shown(target));
        let resolved = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        if resolved.file_name().is_none() {
            return Err(Failure::new(format!("while {}: it is no name for a file", creating())));
        }
        if let Some(kind) = irreplaceable(&resolved) {
            return Err(Failure::new(format!("while {}: it is {kind}", creating()))
                .hint("Give the new file a name that is free, or that of another file"));
        }
        let directory = directory_of(&resolved).to_owned();
        let (file, name) = match unnamed(&directory, mode) {
            Ok(file) => (file, None),
            Err(error) if lacks_unnamed_files(&error) => {
                let (file, name) = named(&directory, mode).doing(creating)?.into_parts();
                (file, Some(name))
            }
            Err(error) => return Err(error).doing(creating),
        };
        Ok(Self { file, name, target: resolved, directory })
    }

    /// The file to write to.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it the owner, group and permissions of the file that it is to replace.
    ///
    /// # Errors
    /// The caller may not give files to that owner or group.
    pub fn take_after(&self, old: &File) -> Outcome<()> {
        let taking = || format!("giving the new {} the owner of the old one", shown(&self.target));
        let (old, new) = (old.metadata().doing(taking)?, self.file.metadata().doing(taking)?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&self.file, Some(old.uid()), Some(old.gid())).doing(taking)?;
        }
        self.file.set_permissions(old.permissions()).doing(taking)
    }

    /// Puts the file on disk and then gives it its name, in one step.
    ///
    /// # Errors
    /// The file could not be written out, the name is taken and is to be kept, or the file to be replaced is being
    /// written to. There is then no new file.
    pub fn publish(self, existing: Existing) -> Outcome<File> {
        let Self { file, name, target, directory } = self;
        file.sync_all().doing(|| format!("writing {}", shown(&target)))?;
        let _unwritten = match existing {
            Existing::Replace => hold(&target)?,
            Existing::Keep => None,
        };
        let named = match (name, existing) {
            (Some(name), _) => settle(name, &target, existing),
            (None, Existing::Keep) => link(&file, &target),
            // A link never replaces anything, so the file gets a name of its own first.
            (None, Existing::Replace) => hidden()
                .make_in(&directory, |path| link(&file, path))
                .and_then(|linked| settle(linked.into_temp_path(), &target, existing)),
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Failure::new(format!("{} already exists", shown(&target))));
            }
            named => named.doing(|| format!("giving the new file its name {}", shown(&target)))?,
        }
        // The name is on disk when the directory is. Where it cannot be read there is nothing to ask that of.
        let _ = File::open(&directory).and_then(|directory| directory.sync_all());
        Ok(file)
    }
}

/// Keeps writers from a file that is about to be replaced; nothing where there is none or it cannot be read.
fn hold(target: &Path) -> Outcome<Option<File>> {
    let held = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(target);
    match held {
        Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => {
            lock::shared_whole(&file, target).map_err(|used| used.context("while replacing a file"))?;
            Ok(Some(file))
        }
        _ => Ok(None),
    }
}

/// What has this name, where a file must not take its place: root could, and `/dev/null` would be gone. Nobody takes the
/// place of a directory.
fn irreplaceable(target: &Path) -> Option<&'static str> {
    let kind = std::fs::symlink_metadata(target).ok()?.file_type();
    let kinds = [
        (kind.is_symlink(), "a symbolic link that leads to nothing"),
        (kind.is_char_device() || kind.is_block_device(), "a device"),
        (kind.is_fifo(), "a named pipe"),
        (kind.is_socket(), "a socket"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind)
}

fn unnamed(directory: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(mode).open(directory)
}

/// Whether the file system, or an old kernel, has no files without a name.
fn lacks_unnamed_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOSYS))
}

fn named(directory: &Path, mode: u32) -> io::Result<NamedTempFile> {
    hidden().permissions(Permissions::from_mode(mode)).tempfile_in(directory)
}

fn hidden() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lamina-").suffix(".part");
    builder
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    let held = format!("/proc/self/fd/{}", file.as_raw_fd());
    nix::unistd::linkat(AT_FDCWD, held.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(())
}

fn settle(name: TempPath, target: &Path, existing: Existing) -> io::Result<()> {
    let settled = match existing {
        Existing::Keep => name.persist_noclobber(target),
        Existing::Replace => name.persist(target),
    };
    settled.map_err(|failed| failed.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Access;
    use protocol::Window;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use tempfile::tempdir;

    #[test]
    fn a_device_is_never_replaced_nor_what_a_link_leads_to_in_vain() {
        let directory = tempdir().unwrap();
        let device = directory.path().join("device");
        let number = nix::sys::stat::makedev(1, 3);
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        nix::sys::stat::mknod(&device, kind, nix::sys::stat::Mode::S_IRWXU, number).unwrap();
        let (link, nowhere) = (directory.path().join("link"), directory.path().join("nowhere"));
        symlink(&device, &link).unwrap();
        symlink("not/there", &nowhere).unwrap();
        for (target, kind) in [(&device, "a device"), (&link, "a device"), (&nowhere, "a symbolic link")] {
            let refused = NewFile::beside(target, 0o644).unwrap_err().to_string();
            assert!(refused.contains(kind), "{refused}");
        }
        assert!(std::fs::metadata(&device).unwrap().file_type().is_char_device());
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The same file as on a file system that has no files without a name.
    fn with_a_name(target: &Path) -> NewFile {
        let mut new = NewFile::beside(target, 0o644).unwrap();
        let (file, name) = named(&new.directory, 0o644).unwrap().into_parts();
        new.file = file;
        new.name = Some(name);
        new
    }

    fn both_ways(target: &Path) -> [NewFile; 2] {
        [NewFile::beside(target, 0o644).unwrap(), with_a_name(target)]
    }

    #[test]
    fn a_file_appears_only_when_it_is_published() {
        let directory = tempdir().unwrap();
        for (n, target) in ["one", "two"].map(|name| directory.path().join(name)).into_iter().enumerate() {
            let new = both_ways(&target).into_iter().nth(n).unwrap();
            new.file().write_all(b"whole").unwrap();
            assert!(!target.exists());
            new.publish(Existing::Keep).unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        }
        assert_eq!(names(directory.path()).len(), 2);
    }

    #[test]
    fn a_file_given_up_leaves_nothing_behind() {
        let directory = tempdir().unwrap();
        drop(both_ways(&directory.path().join("x")));
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn an_existing_file_is_kept_unless_it_is_to_be_replaced() {
        let directory = tempdir().unwrap();
        let target = directory.path().join("x");
        for new in both_ways(&target) {
            std::fs::write(&target, "old").unwrap();
            let refused = new.publish(Existing::Keep).unwrap_err();
            assert_eq!(refused.to_string(), format!("{} already exists", target.display()));
            assert_eq!(std::fs::read(&target).unwrap(), b"old");
        }
        for new in both_ways(&target) {
            std::fs::write(&target, "old").unwrap();
            new.file().write_all(b"new").unwrap();
            new.publish(Existing::Replace).unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), b"new");
        }
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn a_file_that_somebody_writes_to_is_not_replaced() {
        let directory = tempdir().unwrap();
        let target = directory.path().join("x");
        std::fs::write(&target, "old").unwrap();
        let writer = OpenOptions::new().read(true).write(true).open(&target).unwrap();
        lock::take(&writer, &target, Window { offset: 1, size: 2 }, Access::ReadWrite).unwrap();
        NewFile::beside(&target, 0o644).unwrap().publish(Existing::Replace).unwrap_err();
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
    }

    #[test]
    fn a_symbolic_link_stays_one_and_the_file_it_leads_to_is_replaced() {
        let directory = tempdir().unwrap();
        let (file, way) = (directory.path().join("file"), directory.path().join("way"));
        std::fs::write(&file, "old").unwrap();
        symlink("file", &way).unwrap();
        let new = NewFile::beside(&way, 0o644).unwrap();
        new.file().write_all(b"new").unwrap();
        new.publish(Existing::Replace).unwrap();
        assert!(way.is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn what_can_be_no_name_of_a_file_is_refused() {
        let directory = tempdir().unwrap();
        for target in
            [Path::new("/"), Path::new(""), &directory.path().join("missing/x"), Path::new("/proc/x")]
        {
            NewFile::beside(target, 0o644).unwrap_err();
        }
    }
}
