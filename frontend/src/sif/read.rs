//! The table of a file on disk, read in a confined child.

use super::table::{self, Table};
use crate::confined::reader;
use crate::error::{Doing, Failure, Outcome};
use crate::image::{self, Access, Defect};
use crate::message::{self, shown};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A SIF that was opened once; everything that follows uses this descriptor.
#[derive(Debug)]
pub struct SifFile {
    /// Where it is: absolute, symbolic links resolved.
    pub path: PathBuf,
    /// The file, close-on-exec.
    pub file: File,
    /// Its table as it was when it was opened.
    pub table: Table,
}

/// Opens a SIF of either kind and reads its table. What its objects hold is not looked at.
///
/// # Errors
/// The path leads nowhere, to no regular file, to one that the caller may not open so, or to no sound SIF.
pub fn open(path: &Path, access: Access) -> Outcome<SifFile> {
    let (path, file) = image::open_regular(path, access)?;
    let table = read(&file, &path)?;
    warn_of_counters(&table, &path);
    Ok(SifFile { path, file, table })
}

/// Reads the table of an open file. `path` is for messages.
///
/// # Errors
/// It is no sound SIF or cannot be read.
pub fn read(file: &File, path: &Path) -> Outcome<Table> {
    let reading = || format!("while reading {}", shown(path));
    let length = file.metadata().doing(|| format!("reading {}", shown(path)))?.len();
    let parse = |bytes: &image::FileBytes<'_>| match table::has_magic(bytes)? {
        true => Table::read(bytes),
        false => Err(Defect::NotSif),
    };
    let answer = reader::read(file, length, parse)
        .map_err(|unanswered| Failure::new(unanswered.to_string()).context(reading()))?;
    let table = answer.map_err(|defect| Failure::new(defect.to_string()).context(reading()))?;
    if !table.lies_within(length) {
        return Err(Failure::new(reader::Unanswered::Nonsense.to_string()).context(reading()));
    }
    Ok(table)
}

/// Says so when a header does not agree with its table.
pub(crate) fn warn_of_counters(table: &Table, path: &Path) {
    if !table.counters_agree {
        message::warning(format!(
            "The header of {} miscounts its objects or their bytes; its descriptor table is used instead",
            shown(path)
        ));
    }
}
