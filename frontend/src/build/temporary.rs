//! The root file system of an image in a directory that is there as long as a container.

use super::source::{Root, Source};
use super::{Tools, squashfs};
use crate::confined::helper::Programs;
use crate::error::{Doing, Failure, Outcome};
use crate::making::{Interrupts, Staging};
use crate::message::{self, shown};
use protocol::Window;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An unpacked image in `$TMPDIR`, or `/tmp`; removed with this value. Only a kill leaves it there.
#[derive(Debug)]
pub struct TemporarySandbox {
    staging: Staging,
    root: PathBuf,
}

impl TemporarySandbox {
    /// Unpacks the root of the image that a path names; `None` where it is a directory or an ext3, which are used as
    /// they are.
    ///
    /// # Errors
    /// As [`Self::unpack`]; there is no such image.
    pub fn of(image: &Path, programs: &Programs, interrupts: &Interrupts) -> Outcome<Option<Self>> {
        let source = Source::open(image, None)?;
        match source.root {
            Root::Squashfs(packed) => {
                Self::unpack(&source.file, packed.window, &source.path, programs, interrupts).map(Some)
            }
            Root::Directory | Root::Ext3(_) => Ok(None),
        }
    }

    /// Unpacks the squashfs in a part of `image`, whose `path` is for messages and gives the directory its name.
    ///
    /// # Errors
    /// `unsquashfs` is missing or failed, or the command was asked to end.
    pub fn unpack(
        image: &File,
        part: Window,
        path: &Path,
        programs: &Programs,
        interrupts: &Interrupts,
    ) -> Outcome<Self> {
        message::info("Converting SIF file to temporary sandbox...");
        let staging = Staging::in_temporary_directory()?;
        let root = staging.path().join(path.file_name().unwrap_or(OsStr::new("image")));
        let tools = Tools { programs, interrupts };
        squashfs::unpack(image, part, staging.path(), &root, &[], tools).map_err(unpacked(path))?;
        let opening = || format!("using the files of {}", shown(path));
        let mode = root.metadata().doing(opening)?.permissions().mode();
        // Its owner has to look into it whatever the image said of its root, and nobody else gets this far.
        std::fs::set_permissions(&root, Permissions::from_mode(mode | 0o700)).doing(opening)?;
        Ok(Self { staging, root })
    }

    /// Where the files are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes it now, and says so if something of it could not be removed.
    pub fn remove(self) {
        let Self { staging, .. } = self;
        let left = staging.path().to_path_buf();
        drop(staging);
        if left.exists() {
            message::warning(format!("The temporary sandbox {} could not be removed whole", shown(left)));
        }
    }
}

fn unpacked(path: &Path) -> impl FnOnce(Failure) -> Failure {
    move |failure| failure.context(format!("while extracting {}", shown(path)))
}
