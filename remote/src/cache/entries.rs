//! What is in the cache.

use super::Cache;
use frontend::error::{Doing, Failure, Outcome};
use frontend::message::shown;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The kinds of what the cache keeps, and the directory of each. Not all of them are ever made here.
pub(super) const KINDS: [(&str, &str); 7] = [
    ("library", "library"),
    ("oci-tmp", "oci-tmp"),
    ("oci-sif", "oci-sif"),
    ("shub", "shub"),
    ("blob", super::BLOBS),
    ("net", "net"),
    ("oras", "oras"),
];

/// One file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: &'static str,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

/// The kinds that `--type` names; all without it.
///
/// # Errors
/// There is no such kind.
pub(super) fn chosen(types: &[String]) -> Outcome<Vec<(&'static str, &'static str)>> {
    if types.is_empty() || types.iter().any(|name| name == "all") {
        return Ok(KINDS.to_vec());
    }
    let find = |name: &String| {
        KINDS.into_iter().find(|(kind, _)| kind == name).ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            Failure::new(format!("not a valid type: {}", shown(name)))
                .hint(format!("It is one of all, {}", known.join(", ")))
        })
    };
    types.iter().map(find).collect()
}

impl Cache {
    /// The files of some kinds, oldest first within each.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub(super) fn entries(&self, kinds: &[(&'static str, &str)]) -> Outcome<Vec<Entry>> {
        let mut entries = Vec::new();
        for (kind, directory) in kinds {
            let mut files = files(&self.root.join(directory))?;
            files.sort_by_key(|(path, found)| (found.modified().ok(), path.clone()));
            entries.extend(files.into_iter().map(|(path, found)| Entry {
                kind,
                path,
                bytes: found.len(),
                modified: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            }));
        }
        Ok(entries)
    }
}

/// The files in a directory, and one level below, where the incumbents sort some kinds by digest.
fn files(directory: &Path) -> Outcome<Vec<(PathBuf, Metadata)>> {
    let mut files = Vec::new();
    for (path, found) in listed(directory)? {
        if found.is_dir() {
            files.extend(listed(&path)?.into_iter().filter(|(_, found)| found.is_file()));
        } else if found.is_file() {
            files.push((path, found));
        }
    }
    Ok(files)
}

fn listed(directory: &Path) -> Outcome<Vec<(PathBuf, Metadata)>> {
    let reading = || format!("reading cache directory {}", shown(directory));
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(reading)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.doing(reading)?.path();
        // One that is gone meanwhile is none.
        if let Ok(metadata) = path.symlink_metadata() {
            found.push((path, metadata));
        }
    }
    Ok(found)
}
