//! The `sif` group: words in, one call out.

use super::given::Given;
use crate::error::{Doing, Failure, Outcome};
use crate::image::Access;
use crate::lock;
use crate::message::shown;
use crate::sif::{self, Descriptor, SifFile, describe};
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
    .or_else(unless_nobody_reads)
    .doing(writing)?;
    Ok(())
}

fn opened(path: Option<&OsString>) -> Outcome<SifFile> {
    sif::open(
        Path::new(path.map_or(OsStr::new(""), OsString::as_os_str)),
        Access::ReadOnly,
    )
}

fn object(opened: &SifFile, id: u32) -> Outcome<&Descriptor> {
    opened.table.object(id).ok_or_else(|| {
        Failure::new(format!(
            "object not found: {} has no object {id}",
            shown(&opened.path)
        ))
    })
}

/// The number of an object.
fn id(word: Option<&OsString>) -> Result<u32, Wrong> {
    let word = word.map_or(OsStr::new(""), OsString::as_os_str);
    let number = word.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        Wrong::Usage(format!(
            "while converting id: \"{}\" is not a number",
            shown(word)
        ))
    })
}

fn print(given: &Given, words: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<(), Wrong> {
    let text = if given.is_on("json") {
        format!("{:#}\n", json())
    } else {
        words()
    };
    let mut out = io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(unless_nobody_reads)
        .doing(|| "writing to standard output".into())?;
    Ok(())
}

/// A reader that has seen enough, as `head` has, is no failure.
fn unless_nobody_reads(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    }
}
