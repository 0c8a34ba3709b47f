//! What administrators ask: `config check`, `config global` and `doctor`.

use super::given::Given;
use super::{Invocation, Stop, answer};
use crate::admin::check::{self, Finding};
use crate::admin::doctor::{self, State};
use crate::admin::edit::{self, Change};
use crate::error::{Doing, Failure, Outcome};
use crate::file::{Existing, NewFile};
use crate::message::shown;
use crate::site;
use config::Settings;
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What `config check` looks for.
pub(super) const CHECK_NOTES: &str = "\
Each finding is one line: FILE:LINE: error, warning or info, and what it is.
  error    no container starts, or none that the line is about
  warning  the file does not do what it seems to say
  info     worth knowing; nothing is wrong
The exit status is 0 when there is no error and no warning, else 1. Without FILE the site's own file
is checked, and that nobody but root could have written it.

";

/// How `config global` changes a file.
pub(super) const GLOBAL_NOTES: &str = "\
Only the lines of the directive change; comments and order stay. The file is replaced in one step,
keeps its owner and mode, and always parses. Changing it takes root. Commas separate the values of
a list.

";

/// What `doctor` says.
pub(super) const DOCTOR_NOTES: &str = "\
Each line is ok, limited or missing, what was looked at, and what was found; what to do about it is
on the line below. Nothing is changed.
  limited  containers run; something beside them is less than it could be
  missing  something this program does cannot work
The exit status is 1 when something is missing, else 0. Run it as the user whose containers do not
start: some answers depend on who asks.

";

/// `doctor`
pub(super) fn doctor(given: &Given) -> Result<(), Stop> {
    let checks = doctor::examine()?;
    if given.is_on("json") {
        answer::print(format!("{:#}\n", doctor::as_json(&checks)))?;
    } else {
        answer::print(doctor::in_words(&checks))?;
    }
    if checks.iter().any(|check| check.state == State::Missing) {
        return Err(Stop::Said(1));
    }
    Ok(())
}

/// `config check`
pub(super) fn config_check(words: &[OsString]) -> Result<(), Stop> {
    let own = PathBuf::from(site::path());
    let path = match words.first() {
        Some(word) => std::path::absolute(word).doing(|| format!("looking for {}", shown(word)))?,
        None => own.clone(),
    };
    let mut findings = check::ownership(&path, is_same(&path, &own));
    let (_, text) = read(&path)?;
    findings.extend(check::text(&text));
    let lines: String = findings.iter().map(|finding| line(&path, finding)).collect();
    answer::print(lines)?;
    if findings.iter().any(Finding::is_wrong) {
        return Err(Stop::Said(1));
    }
    Ok(())
}

fn line(path: &Path, finding: &Finding) -> String {
    let line = finding.line.map_or_else(String::new, |line| format!("{line}:"));
    format!("{}:{line} {}: {}\n", shown(path), finding.severity, finding.text)
}

fn is_same(path: &Path, own: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    path == own || identity(path).is_some_and(|found| Some(found) == identity(own))
}

/// `config global`
pub(super) fn config_global(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let (change, name) = asked(invocation, given, words)?;
    let directive = edit::known(name)?;
    let path = PathBuf::from(site::path());
    let (file, text) = read(&path)?;
    let Some(change) = change else {
        let site = Settings::parse(&text)
            .map_err(|error| Failure::new(format!("while reading {}: {error}", shown(&path))))?;
        let values = site.texts(directive.name).unwrap_or_default().join(",");
        return Ok(answer::print(format!("{values}\n"))?);
    };
    if given.is_on("dry-run") {
        return Ok(answer::print(edit::changed(&text, directive, change)?)?);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(format!("changing {} takes root", shown(&path)))
            .hint("--dry-run shows what the file would become")
            .into());
    }
    let new = edit::changed(&text, directive, change)?;
    Ok(store(&path, Some(&file), &new)?)
}

/// The change, or none for `--get`, and the name of the directive.
fn asked<'a>(
    invocation: &Invocation,
    given: &Given,
    words: &'a [OsString],
) -> Outcome<(Option<Change<'a>>, &'a str)> {
    let wrong = |what: &str| {
        Failure::new(what).hint(format!("'{} config global --help' shows how it is used", invocation.program))
    };
    let on: Vec<&str> =
        ["set", "unset", "get", "reset"].into_iter().filter(|name| given.is_on(name)).collect();
    let [verb] = on.as_slice() else {
        return Err(wrong("you must specify one of --set, --unset, --get and --reset"));
    };
    let text =
        |word: &'a OsString| word.to_str().ok_or_else(|| Failure::new(format!("{} is no text", shown(word))));
    let words: Vec<&str> = words.iter().map(text).collect::<Outcome<_>>()?;
    match (*verb, words.as_slice()) {
        ("set", [name, value]) => Ok((Some(Change::Set(value)), name)),
        ("unset", [name, value]) => Ok((Some(Change::Unset(value)), name)),
        ("reset", [name]) => Ok((Some(Change::Reset), name)),
        ("get", [name]) => Ok((None, name)),
        ("get" | "reset", _) => Err(wrong(&format!("--{verb} takes a directive and no value"))),
        _ => Err(wrong(&format!("--{verb} takes a directive and a value"))),
    }
}

/// Puts the new text in the place of the file that was read.
pub(super) fn store(path: &Path, old: Option<&File>, text: &[u8]) -> Outcome<()> {
    let writing = || format!("writing the new {}", shown(path));
    let new = NewFile::beside(path, 0o600)?;
    new.file().write_all(text).doing(writing)?;
    let Some(old) = old else {
        new.file().set_permissions(Permissions::from_mode(0o644)).doing(writing)?;
        return new.publish(Existing::Keep).map(drop);
    };
    new.take_after(old)?;
    let identity = |data: std::fs::Metadata| (data.dev(), data.ino(), data.mtime(), data.mtime_nsec());
    let read = identity(old.metadata().doing(writing)?);
    if identity(std::fs::metadata(path).doing(writing)?) != read {
        return Err(Failure::new(format!("somebody else changed {} meanwhile", shown(path)))
            .hint("nothing was changed; try again"));
    }
    new.publish(Existing::Replace).map(drop)
}

/// The file, open, and what is in it: at most one byte more than a configuration may have.
fn read(path: &Path) -> Outcome<(File, Vec<u8>)> {
    let reading = || format!("reading {}", shown(path));
    let file = File::open(path).doing(reading)?;
    let mut text = Vec::new();
    (&file).take(config::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text).doing(reading)?;
    Ok((file, text))
}
