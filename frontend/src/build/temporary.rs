//! The root file system of an image in a directory that is there as long as a container.

use super::{Tools, squashfs};
use crate::error::{Doing, Failure, Outcome};
use crate::image::{self, Access, Format, RootContent};
use crate::making::Staging;
use crate::message::{self, shown};
use protocol::Window;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An unpacked image where temporary files go; removed with this value. Only a kill leaves it there.
#[derive(Debug)]
pub struct TemporarySandbox {
    staging: Staging,
    root: PathBuf,
}

impl TemporarySandbox {
    /// Unpacks the squashfs that is the root of the image that a path names; `None` where it has another one, which
    /// is used as it is.
    ///
    /// # Errors
    /// As [`Self::unpack`]; there is no such image.
    pub fn of(image: &Path, tools: Tools) -> Outcome<Option<Self>> {
        let image = image::open(image, Access::ReadOnly)?;
        let root = match &image.format {
            Format::Squashfs(squashfs) => Some(*squashfs),
            Format::Sif(sif) => sif.primary.and_then(|primary| match primary.content {
                RootContent::Squashfs(squashfs) => Some(squashfs),
                _ => None,
            }),
            Format::Sandbox | Format::Ext3(_) | Format::OciSif(_) => None,
        };
        let Some(root) = root else {
            return Ok(None);
        };
        if matches!(&image.format, Format::Sif(sif) if !sif.overlays.is_empty()) {
            message::warning(format!("The overlay in {} is not extracted and not used", shown(&image.path)));
        }
        Self::unpack(&image.file, root.window, &image.path, tools).map(Some)
    }

    /// Unpacks the squashfs in a part of `image`, whose `path` is for messages and gives the directory its name.
    ///
    /// # Errors
    /// `unsquashfs` is missing or failed, or the command was asked to end.
    pub fn unpack(image: &File, part: Window, path: &Path, tools: Tools) -> Outcome<Self> {
        message::info("Converting SIF file to temporary sandbox...");
        let staging = Staging::in_temporary_directory()?;
        let root = staging.path().join(path.file_name().unwrap_or(OsStr::new("image")));
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
