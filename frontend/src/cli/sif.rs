//! The `sif` group: words in, one call out.

mod add;

pub(super) use add::add;

use super::answer;
use super::given::Given;
use crate::error::{Doing, Failure, Outcome};
use crate::image::Access;
use crate::lock;
use crate::message::shown;
use crate::sif::{self, CreateOptions, Descriptor, Gap, SifFile, describe};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Why a command of the group ends without having done what was asked.
#[derive(Debug)]
pub(super) enum Wrong {
    /// What was typed makes no sense.
    Usage(String),
    /// It could not be done.
    Failed(Failure),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What the columns of a list mean.
pub(super) const LIST_NOTES: &str = "\
Columns:
  ID            what 'sif info', 'sif dump' and 'sif del' call the object
  GROUP         objects that belong together and are signed together; NONE is no group
  LINK          the object that this one is about, or with (G) the group; NONE is neither
  SIF POSITION  the first byte of the data in the file, and the first byte behind it
  TYPE          what the object is; of a partition (file system/use/architecture):
                *System is the root file system that is run, Overlay a layer over it

Types, with their --datatype number in 'sif add':
   1  Def.FILE               the definition file that the image was built from
   2  Env.Vars               environment variables
   3  JSON.Labels            labels
   4  FS                     a file system
   5  Signature              a signature over the group in LINK
   6  JSON.Generic           any JSON
   7  Generic/Raw            anything
   8  Cryptographic Message  the key of an encrypted partition
   9  SBOM                   a bill of materials
  10  OCI.RootIndex          the index of an OCI image
  11  OCI.Blob               a part of an OCI image
File systems (--partfs): 1 Squashfs, 2 Ext3, 3 Archive, 4 Raw, 5 Encrypted squashfs, 6 Gocryptfs squashfs
Uses (--parttype): 1 System, 2 *System, 3 Data, 4 Overlay
Architectures (--partarch): 1 386, 2 amd64, 3 arm, 4 arm64, 5 ppc64, 6 ppc64le, 7 mips, 8 mipsle, 9 mips64,
  10 mips64le, 11 s390x, 12 riscv64, 13 loong64
Hashes (--signhash): 1 SHA-256, 2 SHA-384, 3 SHA-512, 4 BLAKE2s-256, 5 BLAKE2b-256

";

/// `sif header`
pub(super) fn header(given: &Given, words: &[OsString]) -> Result<(), Wrong> {
    let opened = opened(words.first())?;
    let table = &opened.table;
    print(given, || describe::header(table), || describe::header_json(table))
}

/// `sif list`
pub(super) fn list(given: &Given, words: &[OsString]) -> Result<(), Wrong> {
    let opened = opened(words.first())?;
    let table = &opened.table;
    print(given, || describe::list(table), || describe::list_json(table))
}

/// `sif info`
pub(super) fn info(given: &Given, words: &[OsString]) -> Result<(), Wrong> {
    let id = id(words.first())?;
    let opened = opened(words.get(1))?;
    let object = object(&opened, id)?;
    print(given, || describe::info(object), || describe::info_json(object))
}

/// `sif dump`
pub(super) fn dump(words: &[OsString]) -> Result<(), Wrong> {
    let id = id(words.first())?;
    let opened = opened(words.get(1))?;
    let object = object(&opened, id)?;
    let SifFile { path, file, .. } = &opened;
    if object.size > 0 {
        lock::take(file, path, object.window(), Access::ReadOnly)?;
    }
    let writing = || format!("writing object {id} of {}", shown(path));
    let mut data = file;
    data.seek(SeekFrom::Start(object.offset)).doing(writing)?;
    match io::copy(&mut data.take(object.size), &mut io::stdout().lock()) {
        Ok(written) if written < object.size => Err(io::Error::from(ErrorKind::UnexpectedEof)),
        Ok(_) => io::stdout().flush(),
        Err(error) => Err(error),
    }
    .or_else(answer::unless_nobody_reads)
    .doing(writing)?;
    Ok(())
}

/// `sif new`
pub(super) fn new(words: &[OsString]) -> Result<(), Wrong> {
    let options = CreateOptions { launch_line: false, ..CreateOptions::native() };
    sif::create(path(words.first()), &[], &options)?;
    Ok(())
}

/// `sif del`
pub(super) fn del(given: &Given, words: &[OsString]) -> Result<(), Wrong> {
    let id = id(words.first())?;
    let SifFile { path, file, .. } = sif::open(path(words.get(1)), Access::ReadWrite)?;
    let gap = if given.is_on("compact") { Gap::Free } else { Gap::Keep };
    Ok(sif::delete(&file, &path, id, gap)?)
}

/// `sif setprim`
pub(super) fn setprim(words: &[OsString]) -> Result<(), Wrong> {
    let id = id(words.first())?;
    Ok(sif::set_primary(path(words.get(1)), id)?)
}

fn opened(word: Option<&OsString>) -> Outcome<SifFile> {
    sif::open(path(word), Access::ReadOnly)
}

fn path(word: Option<&OsString>) -> &Path {
    Path::new(word.map_or(OsStr::new(""), OsString::as_os_str))
}

fn object(opened: &SifFile, id: u32) -> Outcome<&Descriptor> {
    opened
        .table
        .object(id)
        .ok_or_else(|| Failure::new(format!("object not found: {} has no object {id}", shown(&opened.path))))
}

/// The number of an object.
fn id(word: Option<&OsString>) -> Result<u32, Wrong> {
    let word = word.map_or(OsStr::new(""), OsString::as_os_str);
    let number = word.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Wrong::Usage(format!("while converting id: \"{}\" is not a number", shown(word))))
}

fn print(given: &Given, words: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<(), Wrong> {
    let text = if given.is_on("json") { format!("{:#}\n", json()) } else { words() };
    answer::print(text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sif::{Arch, DataType, FsType, HashType, PartitionType};

    #[test]
    fn the_help_has_every_number_and_its_meaning() {
        let names = |name: fn(i32) -> &'static str, last| (1..=last).map(move |n| (n, name(n)));
        for (number, name) in names(|n| DataType::from_code(0x4000 + n).name(), 11) {
            assert!(LIST_NOTES.contains(&format!("\n  {number:>2}  {name}")), "{name}");
        }
        for (number, name) in names(|n| FsType::from_code(n).name(), 6)
            .chain(names(|n| PartitionType::from_code(n).name(), 4))
            .chain(names(|n| HashType::from_code(n).name(), 5))
        {
            assert!(LIST_NOTES.contains(&format!("{number} {name}")), "{name}");
        }
        for number in 1..=13_u8 {
            let name = Arch::from_number(number).unwrap().name();
            assert!(LIST_NOTES.contains(&format!("{number} {name}")), "{name}");
        }
    }
}
