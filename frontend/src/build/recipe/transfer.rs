//! `%files`: copies from this machine or from another stage.

use super::tree::Tree;
use crate::build::Tools;
use crate::build::definition::{FileSet, Transfer};
use crate::confined::helper::{CP, Helper};
use crate::error::{Doing, Failure, Outcome};
use crate::init::matches_pattern;
use crate::making::Progress;
use crate::message::{self, shown};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most paths that one pattern may stand for.
const MATCHES_MAX: usize = 100_000;

/// Where files come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Supply<'a> {
    /// This machine; links are followed, and relative paths begin in the working directory.
    Host,
    /// What another stage made.
    Stage(&'a Tree),
}

/// Copies everything that a section names into `tree`, paths without a destination below `prefix`.
///
/// # Errors
/// A source is missing, or `cp` failed.
pub(super) fn copy(
    set: &FileSet,
    from: Supply<'_>,
    tree: &Tree,
    prefix: &str,
    tools: Tools<'_>,
) -> Outcome<()> {
    let whence = set.stage.as_ref().map_or_else(String::new, |stage| format!(" from stage {}", shown(stage)));
    for transfer in &set.transfers {
        let copying = || format!("while copying {}{whence}", shown(&transfer.source));
        copy_one(transfer, from, tree, prefix, tools).map_err(|failure| failure.context(copying()))?;
    }
    Ok(())
}

fn copy_one(
    transfer: &Transfer,
    from: Supply<'_>,
    tree: &Tree,
    prefix: &str,
    tools: Tools<'_>,
) -> Outcome<()> {
    let sources = from.matches(Path::new(&transfer.source));
    if sources.is_empty() {
        return Err(Failure::new("no such file or directory"));
    }
    for source in &sources {
        let real = from.find(source).ok_or_else(|| Failure::new(format!("{} is gone", shown(source))))?;
        let wanted = match &transfer.destination {
            Some(destination) => format!("{prefix}/{destination}"),
            None => format!("{prefix}/{}", source.display()),
        };
        let name = source.file_name().map(Path::new);
        let place = place(tree, &wanted, name, sources.len() > 1)
            .doing(|| format!("making a place for it at {}", shown(&wanted)))?;
        message::info(format!("Copying {} to {}", shown(source), shown(inside(&place, tree))));
        run_cp(&real, &place, from, tree, tools)?;
    }
    Ok(())
}

/// The path as the image has it.
fn inside(place: &Path, tree: &Tree) -> PathBuf {
    Path::new("/").join(place.strip_prefix(tree.path()).unwrap_or(place))
}

/// Where exactly the copy is made: in a directory that is there or that is meant, else under the name that was said.
fn place(tree: &Tree, wanted: &str, name: Option<&Path>, several: bool) -> std::io::Result<PathBuf> {
    let path = Path::new(wanted);
    let is_directory = tree.find(path).is_some_and(|found| found.is_dir());
    match (name, path.file_name()) {
        (Some(name), last) if is_directory || several || wanted.ends_with('/') || last.is_none() => {
            Ok(tree.directory(path)?.join(name))
        }
        (_, Some(last)) => Ok(tree.directory(path.parent().unwrap_or(Path::new("/")))?.join(last)),
        (_, None) => tree.directory(path),
    }
}

fn run_cp(source: &Path, place: &Path, from: Supply<'_>, tree: &Tree, tools: Tools<'_>) -> Outcome<()> {
    // What is in the way is replaced and not written through: a link in the image may lead to the host.
    let options = match from {
        Supply::Host => ["-fLr", "--remove-destination", "-T", "--"],
        Supply::Stage(_) => ["-fr", "--remove-destination", "-T", "--"],
    };
    let progress = Progress::of("Copying");
    // A link of the host's may lead anywhere, as it would for the caller's own cp.
    let reads = match from {
        Supply::Host => Path::new("/"),
        Supply::Stage(stage) => stage.path(),
    };
    let helper = Helper::new(tools.programs, CP)?.args(options).args([source, place]);
    helper.reads(reads).changes(tree.path()).run(tools.interrupts, || progress.reached(0)).map(drop)
}

impl Supply<'_> {
    /// Where a path really is; nothing where there is nothing.
    fn find(self, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Host => std::path::absolute(path).ok().filter(|path| path.exists()),
            Self::Stage(tree) => tree.find(path),
        }
    }

    /// The paths that a pattern stands for, sorted. A path that is there stands for itself.
    fn matches(self, pattern: &Path) -> Vec<PathBuf> {
        if self.find(pattern).is_some() {
            return vec![pattern.to_path_buf()];
        }
        let mut found = vec![PathBuf::new()];
        for part in pattern.components() {
            let text = part.as_os_str().to_str().filter(|text| text.contains(['*', '?', '[']));
            found = match (part, text) {
                (Component::Normal(_), Some(pattern)) => {
                    let below = found.iter().flat_map(|path| self.names_like(path, pattern));
                    below.take(MATCHES_MAX).collect()
                }
                _ => found.into_iter().map(|path| path.join(part)).collect(),
            };
        }
        found.retain(|path| self.find(path).is_some());
        found
    }

    /// The entries of a directory whose names match; hidden ones only where the pattern begins with a dot too.
    fn names_like(self, directory: &Path, pattern: &str) -> Vec<PathBuf> {
        let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let entries = self.find(here).and_then(|place| fs::read_dir(place).ok());
        let names =
            entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names
            .filter(|name| {
                matches_pattern(pattern, name) && (pattern.starts_with('.') || !name.starts_with('.'))
            })
            .collect();
        names.sort_unstable();
        names.into_iter().map(|name| directory.join(name)).collect()
    }
}
