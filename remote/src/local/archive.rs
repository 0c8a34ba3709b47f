//! A tar archive as a place: its files are read where they are.

use crate::image::Blob;
use crate::layers::{Entries, Kind, decompressed};
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Staging;
use protocol::Window;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

/// Most files of an archive: some ten for each layer.
const FILES_MAX: usize = 100_000;
/// Most links followed from one name to its file.
const LINKS_MAX: usize = 8;

/// The archive.
pub(super) struct Archive {
    file: File,
    members: BTreeMap<Vec<u8>, Member>,
}

enum Member {
    File(Window),
    /// Another name; older versions of Docker store equal layers so.
    Link(Vec<u8>),
}

impl Archive {
    /// Finds out what is where. What is compressed is unpacked to a temporary file first.
    ///
    /// # Errors
    /// It is no tar archive, or cannot be read; there is no room to unpack it.
    pub(super) fn read(file: File) -> Outcome<Self> {
        let file = if is_compressed(&file).doing(reading)? { unpacked(&file)? } else { file };
        let at = Cell::new(0);
        let mut entries = Entries::new(Position { file: &file, at: &at });
        let mut members = BTreeMap::new();
        while let Some(entry) = entries.next().doing(reading)? {
            let name = plain(&entry.path);
            let member = match entry.kind {
                Kind::File { size } => Member::File(Window { offset: at.get(), size }),
                Kind::HardLink(target) => Member::Link(plain(&target)),
                Kind::Symlink(target) => Member::Link(beside(&name, &target)),
                _ => continue,
            };
            members.insert(name, member);
            if members.len() > FILES_MAX {
                return Err(Failure::new(format!("the archive has more than {FILES_MAX} files")));
            }
        }
        Ok(Self { file, members })
    }

    /// The file of a name; `None` if there is none.
    ///
    /// # Errors
    /// There are too many files open.
    pub(super) fn open(&self, name: &[u8]) -> Outcome<Option<Blob>> {
        let mut name = name;
        for _ in 0..LINKS_MAX {
            match self.members.get(name) {
                Some(Member::Link(target)) => name = target,
                Some(Member::File(window)) => {
                    let file = self.file.try_clone().doing(reading)?;
                    return Ok(Some(Blob { file, window: *window }));
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn reading() -> String {
    "reading the archive".into()
}

/// Archives have the magic word of tar 257 bytes behind their beginning; what is compressed has not.
fn is_compressed(file: &File) -> io::Result<bool> {
    let mut magic = [0; 5];
    match file.read_exact_at(&mut magic, 257) {
        Ok(()) => Ok(&magic != b"ustar"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        Err(error) => Err(error),
    }
}

fn unpacked(file: &File) -> Outcome<File> {
    let unpacking = || "unpacking the archive".to_owned();
    let staging = Staging::in_temporary_directory()?;
    let path = staging.path().join("archive.tar");
    let mut whole = OpenOptions::new().read(true).write(true).create_new(true).open(path).doing(unpacking)?;
    io::copy(&mut decompressed(file).doing(unpacking)?, &mut whole).doing(unpacking)?;
    whole.rewind().doing(unpacking)?;
    Ok(whole)
}

/// A name without what says nothing.
fn plain(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

/// What a symbolic link in an archive names.
fn beside(link: &[u8], target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    plain(&parts.join(&b'/'))
}

/// Reads a file from its beginning and tells how far it has got.
struct Position<'a> {
    file: &'a File,
    at: &'a Cell<u64>,
}

impl Read for Position<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at.get())?;
        self.at.set(self.at.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tar::{Builder, EntryType, Header};

    fn archive() -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        let mut add = |name: &str, link: Option<(EntryType, &str)>, text: &str| {
            let mut header = Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_size(text.len() as u64);
            if let Some((kind, target)) = link {
                header.set_entry_type(kind);
                header.set_link_name(target).unwrap();
            }
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        };
        add("./one/layer.tar", None, "content");
        add("two/layer.tar", Some((EntryType::Symlink, "../one/layer.tar")), "");
        add("three", Some((EntryType::Link, "one/layer.tar")), "");
        add("circle", Some((EntryType::Symlink, "circle")), "");
        builder.into_inner().unwrap()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn every_name_leads_to_its_file_however_the_archive_is_packed() {
        let packed = zstd::encode_all(&archive()[..], 1).unwrap();
        for bytes in [archive(), packed] {
            let archive = Archive::read(file(&bytes)).unwrap();
            for name in ["one/layer.tar", "two/layer.tar", "three"] {
                let blob = archive.open(name.as_bytes()).unwrap().unwrap();
                assert_eq!(blob.document().unwrap(), b"content", "{name}");
            }
            for name in ["circle", "one", "four"] {
                assert!(archive.open(name.as_bytes()).unwrap().is_none(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert!(Archive::read(file(b"no archive")).is_err());
        assert!(Archive::read(file(&archive()[..515])).is_err());
    }
}
