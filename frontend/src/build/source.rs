//! What there is to build from.

use super::Origin;
use crate::error::{Failure, Outcome};
use crate::image::{self, Access, Ext3, Format, Image, RootContent, Squashfs};
use crate::lock;
use crate::message::{self, shown};
use crate::sif::Arch;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An opened source whose root file system was found.
#[derive(Debug)]
pub(super) struct Source {
    /// What a definition file would say of it.
    pub(super) origin: Origin,
    /// Where it is: absolute, symbolic links resolved.
    pub(super) path: PathBuf,
    /// The image, or the directory.
    pub(super) file: File,
    /// Its root file system.
    pub(super) root: Root,
    /// What it runs on: said by a SIF, otherwise taken to be this machine's.
    pub(super) arch: Arch,
}

/// Where the root file system of a source is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// At and below the source's path.
    Directory,
    /// In the file.
    Squashfs(Squashfs),
    /// In the file, which is locked against writers.
    Ext3(Ext3),
}

impl Source {
    /// Opens what a build is to be made from. Without an `origin` it is an image of this machine.
    ///
    /// # Errors
    /// It is nothing that this program can build from, or cannot be read.
    pub(super) fn open(path: &Path, origin: Option<&Origin>) -> Outcome<Self> {
        let image = image::open(path, Access::ReadOnly)?;
        let (root, arch) = root_of(&image)?;
        if let Root::Ext3(ext3) = root {
            lock::take(&image.file, &image.path, ext3.window, Access::ReadOnly)?;
            refuse_unfinished(&image, ext3)?;
        }
        let origin = origin.cloned().unwrap_or_else(|| Origin::new("localimage", &shown(path)));
        Ok(Self { origin, path: image.path, file: image.file, root, arch })
    }
}

/// Whether a file is a definition: by its name, or by a `Bootstrap:` line before any section.
#[must_use]
pub fn is_definition(path: &Path) -> bool {
    const HEADER_BYTES_MAX: u64 = 4096;
    // A path that leads to a device or a pipe must neither block nor be consumed.
    if !path.is_file() {
        return false;
    }
    if path.extension().is_some_and(|ending| ending == "def") {
        return true;
    }
    let opened =
        OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path);
    let mut header = Vec::new();
    if opened.and_then(|file| file.take(HEADER_BYTES_MAX).read_to_end(&mut header)).is_err() {
        return false;
    }
    header
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .take_while(|line| !line.starts_with(b"%"))
        .any(|line| line.get(..10).is_some_and(|word| word.eq_ignore_ascii_case(b"bootstrap:")))
}

fn root_of(image: &Image) -> Outcome<(Root, Arch)> {
    let refused = |why: &str| Err(Failure::new(format!("cannot build from {}: {why}", shown(&image.path))));
    let (root, arch) = match &image.format {
        Format::Sandbox => (Root::Directory, Arch::host()),
        Format::Squashfs(squashfs) => (Root::Squashfs(*squashfs), Arch::host()),
        Format::Ext3(ext3) => (Root::Ext3(*ext3), Arch::host()),
        Format::OciSif(_) => return refused("OCI-SIF images are not supported yet"),
        Format::Sif(sif) => {
            let Some(primary) = sif.primary else {
                return refused("it has no root file system");
            };
            if !sif.overlays.is_empty() {
                message::warning(format!(
                    "The overlay in {} is not part of what is built from it",
                    shown(&image.path)
                ));
            }
            let root = match primary.content {
                RootContent::Squashfs(squashfs) => Root::Squashfs(squashfs),
                RootContent::Ext3(ext3) => Root::Ext3(ext3),
                RootContent::EncryptedLuks | RootContent::EncryptedGocryptfs => {
                    return refused("its root file system is encrypted");
                }
                RootContent::Other(_) => return refused("its root file system is of an unknown kind"),
            };
            (root, if primary.arch == Arch::NONE { Arch::host() } else { primary.arch })
        }
    };
    Ok((root, arch))
}

/// Under the lock, since a writer at work leaves the same trace as one that died.
fn refuse_unfinished(image: &Image, ext3: Ext3) -> Outcome<()> {
    let ext3 = image::inspect_ext3(&image.file, &image.path, ext3.window)?;
    ext3.require_sound(&image.path)?;
    if !ext3.needs_recovery {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cannot build from {}: its last writer died and its journal was not replayed",
        shown(&image.path)
    ))
    .hint("Repair it: e2fsck -p, or use it once with --writable"))
}
