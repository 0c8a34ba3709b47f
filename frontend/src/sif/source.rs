//! A file whose content becomes an object.

use super::codes::FsType;
use super::digest::Digest;
use super::write::Data;
use crate::error::{Doing, Failure, Outcome};
use crate::file::directory_of;
use crate::image;
use crate::lock;
use crate::message::shown;
use protocol::Window;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// An open file and its length.
#[derive(Debug)]
pub struct Source {
    file: File,
    size: u64,
    path: PathBuf,
}

impl Source {
    /// Opens a file to be read whole, and keeps writers from it. What comes through a pipe is first stored in a file
    /// without a name, beside the one that it is for.
    ///
    /// # Errors
    /// It cannot be read, somebody writes to it, or it is neither a file nor a pipe.
    pub fn open(path: &Path, for_file: &Path) -> Outcome<Self> {
        let opening = || format!("opening {}", shown(path));
        let file = File::open(path).doing(opening)?;
        let found = file.metadata().doing(opening)?;
        let file = if found.is_file() {
            lock::shared_whole(&file, path)?;
            file
        } else if found.file_type().is_fifo() {
            stored(&file, directory_of(for_file)).doing(|| format!("storing {}", shown(path)))?
        } else {
            return Err(Failure::new(format!("{} is neither a file nor a pipe", shown(path))));
        };
        Ok(Self { size: file.metadata().doing(opening)?.len(), file, path: path.to_owned() })
    }

    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_bytes()
    }

    /// All of it.
    #[must_use]
    pub fn data(&self) -> Data<'_> {
        let window = Window { offset: 0, size: self.size };
        Data::Part(&self.file, window)
    }

    /// Checks that it is a file system that can be mounted from a partition.
    ///
    /// # Errors
    /// As [`image::check_file_system`].
    pub fn check_file_system(&self, fs: FsType) -> Outcome<()> {
        image::check_file_system(&self.file, fs)
    }

    /// The SHA-256 of all of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn digest(&self) -> Outcome<Digest> {
        let all = Window { offset: 0, size: self.size };
        Digest::of_part(&self.file, all, || format!("reading {}", shown(&self.path)))
    }
}

fn stored(pipe: &File, directory: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(directory)?;
    io::copy(&mut &*pipe, &mut &file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    #[test]
    fn the_digest_is_that_of_the_whole_file() {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
        let source = Source::open(&path, &path).unwrap();
        let digest = source.digest().unwrap().to_string();
        // The third example of FIPS 180-2.
        assert_eq!(digest, "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
        assert_eq!((source.name(), source.size), (b"file".as_slice(), 1_000_000));
    }

    #[test]
    fn neither_a_directory_nor_a_device_is_a_source() {
        for path in ["/tmp", "/dev/zero"] {
            let refused = Source::open(Path::new(path), Path::new("/tmp/x")).unwrap_err().to_string();
            assert_eq!(refused, format!("{path} is neither a file nor a pipe"));
        }
    }
}
