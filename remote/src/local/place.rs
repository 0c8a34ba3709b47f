//! Named files, in a directory or in an archive.

use super::archive::Archive;
use crate::image::Blob;
use frontend::error::{Doing, Failure, Outcome};
use frontend::message::shown;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the parts of images are.
pub(super) struct Place {
    path: PathBuf,
    /// `None` is a directory.
    archive: Option<Archive>,
}

impl Place {
    /// A directory.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn folder(path: &Path) -> Outcome<Self> {
        let found = path.metadata().doing(|| format!("looking for {}", shown(path)))?;
        if !found.is_dir() {
            return Err(Failure::new(format!("{} is no directory, as OCI layouts are", shown(path)))
                .hint("One that is packed in a tar archive is named oci-archive:FILE"));
        }
        Ok(Self { path: path.into(), archive: None })
    }

    /// A tar archive.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn archive(path: &Path) -> Outcome<Self> {
        let reading = || format!("reading {}", shown(path));
        let file = File::open(path).doing(reading)?;
        if file.metadata().doing(reading)?.is_dir() {
            return Err(Failure::new(format!("{} is a directory, not an archive", shown(path)))
                .hint("An OCI layout that is not packed is named oci:DIRECTORY"));
        }
        let archive = Archive::read(file).map_err(|failure| failure.context(reading()))?;
        Ok(Self { path: path.into(), archive: Some(archive) })
    }

    /// The file of a name; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(&self, name: &[u8]) -> Outcome<Option<Blob>> {
        if let Some(archive) = &self.archive {
            return archive.open(name);
        }
        let path = self.path.join(OsStr::from_bytes(name));
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.doing(|| format!("opening {}", shown(&path))).and_then(Blob::whole).map(Some),
        }
    }

    /// A document that has to be there.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub(super) fn document(&self, name: &str) -> Outcome<Vec<u8>> {
        let missing = || Failure::new(format!("{self} has no {}, which says what images there are", name));
        self.open(name.as_bytes())?.ok_or_else(missing)?.document()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.path))
    }
}
