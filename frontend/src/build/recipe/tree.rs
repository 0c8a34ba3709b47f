//! The files of an image that is being built. No link in them leads out of them.

use crate::build::skeleton;
use crate::error::{Doing, Outcome};
use crate::inspect::Texts;
use crate::message::shown;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

/// A root directory. Paths in it are written from it, with or without a slash before them.
#[derive(Debug)]
pub(super) struct Tree {
    root: File,
    path: PathBuf,
}

impl Tree {
    /// The tree below a directory.
    pub(super) fn below(path: &Path) -> Outcome<Self> {
        let opening = || format!("opening {}", shown(path));
        let path = fs::canonicalize(path).doing(opening)?;
        Ok(Self { root: File::open(&path).doing(opening)?, path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where something in it is, links followed; nothing where there is nothing.
    pub(super) fn find(&self, inner: &Path) -> Option<PathBuf> {
        let inner = inner.strip_prefix("/").unwrap_or(inner);
        let inner = if inner.as_os_str().is_empty() { Path::new(".") } else { inner };
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found = openat2(&self.root, inner, how).ok()?;
        fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
    }

    /// Where a directory in it is, which is made if it is missing, and so are those above it.
    pub(super) fn directory(&self, inner: &Path) -> io::Result<PathBuf> {
        let (mut place, mut path) = (self.path.clone(), PathBuf::new());
        for part in inner.components() {
            if matches!(part, Component::RootDir | Component::CurDir) {
                continue;
            }
            path.push(part);
            place = match self.find(&path) {
                Some(found) => found,
                None => {
                    let missing = place.join(part);
                    skeleton::make_directory(&missing)?;
                    missing
                }
            };
        }
        if place.is_dir() { Ok(place) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Writes a file in it, in place of one that is there.
    pub(super) fn write(&self, inner: &str, text: &str, mode: u32) -> Outcome<()> {
        let writing = || format!("writing {} of the image", shown(inner));
        let (parent, name) = inner.rsplit_once('/').unwrap_or(("", inner));
        let place = self.directory(Path::new(parent)).doing(writing)?.join(name);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).doing(writing),
            _ => {}
        }
        skeleton::make_file(&place, text, mode).doing(writing)
    }

    /// Makes an empty file in it unless something is there.
    pub(super) fn make_sure_of(&self, inner: &str) -> Outcome<()> {
        let inner_path = Path::new(inner);
        let is_there = |found: &PathBuf| {
            found.join(inner_path.file_name().unwrap_or_default()).symlink_metadata().is_ok()
        };
        match self.find(inner_path.parent().unwrap_or(Path::new("/"))) {
            Some(parent) if is_there(&parent) => Ok(()),
            _ => self.write(inner, "", 0o644),
        }
    }

    /// Takes a file out of it.
    pub(super) fn remove(&self, inner: &str) {
        let (parent, name) = inner.rsplit_once('/').unwrap_or(("", inner));
        if let Some(parent) = self.find(Path::new(parent)) {
            let _ = fs::remove_file(parent.join(name));
        }
    }

    /// What small text files in it say.
    pub(super) fn texts(&self) -> Outcome<Texts> {
        Texts::below(&self.path)
    }
}
