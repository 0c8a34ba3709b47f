//! A file whose content becomes an object.

use super::codes::FsType;
use super::write::Data;
use crate::error::{Doing, Failure, Outcome};
use crate::file::directory_of;
use crate::image;
use crate::lock;
use crate::message::shown;
use protocol::Window;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// Bytes read at once for a digest.
const CHUNK_BYTES: u64 = 1 << 20;

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
    pub fn sha256(&self) -> Outcome<[u8; 32]> {
        let mut digest = Sha256::new();
        let mut chunk = vec![0; usize::try_from(self.size.min(CHUNK_BYTES)).unwrap_or(0)];
        let mut at = 0;
        while at < self.size {
            let wanted = chunk.len().min(usize::try_from(self.size - at).unwrap_or(usize::MAX));
            let chunk = &mut chunk[..wanted];
            self.file.read_exact_at(chunk, at).doing(|| format!("reading {}", shown(&self.path)))?;
            digest.update(&*chunk);
            at += wanted as u64;
        }
        Ok(digest.finalize().into())
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
        let digest: String = source.sha256().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        // The third example of FIPS 180-2.
        assert_eq!(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
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
