//! What may become of something that already has the target's name.

use super::Options;
use super::source::{Root, Source};
use crate::error::{Doing, Failure, Outcome};
use crate::file::{Existing, directory_of};
use crate::message::shown;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Finds out whether the target may be replaced, asking if somebody is there to answer.
///
/// # Errors
/// It exists and may not be, or replacing it would take more with it than the target.
pub(super) fn settle(options: &Options, source: Option<&Source>) -> Outcome<Existing> {
    let target = &options.target;
    if let Some(source) = source.filter(|_| options.sandbox) {
        check_apart(target, source)?;
    }
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Existing::Keep),
        Err(error) => return Err(error).doing(|| format!("looking at build target {}", shown(target))),
        Ok(_) => {}
    }
    if !options.sandbox && target.is_dir() {
        return Err(Failure::new(format!("build target {} is a directory", shown(target)))
            .hint("Give the SIF file another name, remove the directory, or make a sandbox with --sandbox"));
    }
    if options.sandbox {
        check_expendable(target)?;
    }
    if options.force || agreed_to(target)? {
        Ok(Existing::Replace)
    } else {
        Err(Failure::new(format!("build target {} was left as it is", shown(target))))
    }
}

/// Finds out whether anything can be made where the target is to be, so that nobody waits for a build in vain.
///
/// # Errors
/// The directory is not there or cannot be written to.
pub fn check_place(options: &Options) -> Outcome<()> {
    let target = &options.target;
    // A SIF takes the place of the file that a link leads to, a sandbox that of the link.
    let resolved = std::fs::canonicalize(target).ok().filter(|_| !options.sandbox);
    let directory = directory_of(resolved.as_deref().unwrap_or(target));
    let writable = AccessFlags::W_OK | AccessFlags::X_OK;
    let usable = faccessat(AT_FDCWD, directory, writable, AtFlags::AT_EACCESS);
    usable.doing(|| format!("creating {}", shown(target))).map_err(|failure| {
        failure.hint("Choose a target in a directory that is there and that you can write to")
    })
}

/// A sandbox that is to be changed has to be there.
///
/// # Errors
/// It is not.
pub(super) fn to_be_updated(target: &Path) -> Outcome<Existing> {
    if !target.is_dir() {
        return Err(Failure::new(format!("--update changes a sandbox, and {} is none", shown(target)))
            .hint("Leave --update out to make it"));
    }
    check_expendable(target)?;
    Ok(Existing::Replace)
}

/// The path without symbolic links, or, where nothing is there yet, its place in its directory without any.
fn real(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path)
        .ok()
        .or_else(|| Some(std::fs::canonicalize(directory_of(path)).ok()?.join(path.file_name()?)))
}

/// A sandbox in its own source would be copied into itself, and a source in its target would be gone with it.
fn check_apart(target: &Path, source: &Source) -> Outcome<()> {
    let Some(target) = real(target) else { return Ok(()) };
    let below = matches!(source.root, Root::Directory) && target.starts_with(&source.path);
    if below || source.path.starts_with(&target) {
        return Err(Failure::new(format!(
            "build target {} and build source {} are one within the other",
            shown(&target),
            shown(&source.path)
        )));
    }
    Ok(())
}

/// Directories that nobody means when he says "overwrite".
fn check_expendable(target: &Path) -> Outcome<()> {
    let Some(target) = real(target) else { return Ok(()) };
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let precious = [std::env::current_dir().ok(), home];
    match precious.into_iter().flatten().filter_map(|path| real(&path)).find(|path| path.starts_with(&target))
    {
        Some(path) => Err(Failure::new(format!(
            "build target {} is not replaced: {} is in it",
            shown(&target),
            shown(&path)
        ))),
        None => Ok(()),
    }
}

/// Asks on the terminal.
fn agreed_to(target: &Path) -> Outcome<bool> {
    let asking = || "asking whether to overwrite the build target".to_string();
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(format!("build target {} already exists", shown(target)))
            .hint("Use --force to overwrite it"));
    }
    let mut terminal = std::io::stderr();
    terminal.write_all(b"Build target already exists. Do you want to overwrite? [N/y] ").doing(asking)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).doing(asking)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}
