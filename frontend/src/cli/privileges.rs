//! What users may beyond their own: `config fakeroot` and the `capability` group.

use super::given::Given;
use super::{Invocation, Stop, admin, answer};
use crate::admin::grants::{self, Grants, To};
use crate::admin::subordinate_ids::{self, Change};
use crate::error::{Doing, Failure, Outcome};
use crate::intent::{capability, every_capability};
use crate::message::{self, shown};
use crate::site;
use nix::unistd::{Group, User};
use rustix::thread::CapabilitySet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Who has what of grants.
pub(super) const NOTES: &str = "\
Root's containers keep what is granted to the user root when singularity.conf says
'root default capabilities = file'. Containers of others get none, whatever is granted to them.

";

/// `config fakeroot`
pub(super) fn config_fakeroot(
    invocation: &Invocation,
    given: &Given,
    words: &[OsString],
) -> Result<(), Stop> {
    let changes = [
        ("add", Change::Add),
        ("remove", Change::Remove),
        ("enable", Change::Enable),
        ("disable", Change::Disable),
    ];
    let asked: Vec<Change> =
        changes.into_iter().filter(|(flag, _)| given.is_on(flag)).map(|(_, change)| change).collect();
    let [change] = asked.as_slice() else {
        let hint = format!("'{} config fakeroot --help' shows how it is used", invocation.program);
        let text = "you must specify one of --add, --remove, --enable and --disable";
        return Err(Failure::new(text).hint(hint).into());
    };
    require_root("changing /etc/subuid and /etc/subgid")?;
    let name = text(words.first())?;
    let user = User::from_name(name)
        .doing(|| format!("looking up user {}", shown(name)))?
        .ok_or_else(|| Failure::new(format!("could not retrieve user information for {}", shown(name))))?;
    // Both are settled before one is written.
    let files = [subordinate_ids::USERS, subordinate_ids::GROUPS]
        .map(|path| change_of(path, name, user.uid.as_raw(), *change));
    for file in files {
        let (path, old, new) = file?;
        if let Some(new) = new {
            admin::store(Path::new(path), old.as_ref(), new.as_bytes())?;
        }
    }
    Ok(())
}

/// A file's path, the file if there is one, and what it is to become if it is to change.
type FileChange = (&'static str, Option<File>, Option<String>);

fn change_of(path: &'static str, name: &str, uid: u32, change: Change) -> Outcome<FileChange> {
    let reading = || format!("reading {path}");
    let mut before = String::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        file => Some(file.doing(reading)?),
    };
    if let Some(file) = &file {
        file.take(subordinate_ids::FILE_BYTES_MAX).read_to_string(&mut before).doing(reading)?;
    }
    let after =
        subordinate_ids::changed(&before, name, uid, change).map_err(|failure| failure.context(path))?;
    Ok((path, file, after))
}

/// `capability add`
pub(super) fn capability_add(given: &Given, words: &[OsString]) -> Result<(), Stop> {
    Ok(manage(given, words, "Unable to add capabilities", |grants, to, name, wanted| {
        if (to, name) != (To::User, "root") {
            message::warning(format!(
                "No container of {} gets these capabilities: here only root keeps any",
                shown(name)
            ));
        }
        grants.add(to, name, wanted);
        Ok(())
    })?)
}

/// `capability drop`
pub(super) fn capability_drop(given: &Given, words: &[OsString]) -> Result<(), Stop> {
    Ok(manage(given, words, "Unable to drop capabilities", Grants::drop)?)
}

fn manage(
    given: &Given,
    words: &[OsString],
    doing: &str,
    change: impl Fn(&mut Grants, To, &str, CapabilitySet) -> Outcome<()>,
) -> Outcome<()> {
    let manage = || {
        require_root("managing capability.json")?;
        let (wanted, unknown) = capabilities(words.first());
        if !unknown.is_empty() {
            message::warning(format!("Ignoring unknown capabilities: {}", unknown.join(",")));
        }
        let path = site::file(grants::FILE);
        let (mut grants, old) = Grants::read(&path)?;
        let whom = whom(given)?;
        for (to, name) in whom {
            change(&mut grants, to, &name, wanted)?;
        }
        admin::store(Path::new(&path), old.as_ref(), grants.text()?.as_bytes())
    };
    manage().map_err(|failure: Failure| failure.context(doing))
}

/// The user and the group that were named, which must be there.
fn whom(given: &Given) -> Outcome<Vec<(To, String)>> {
    let mut whom = Vec::new();
    if let Some(name) = given.last("user") {
        let name = text(Some(&name.to_owned()))?.to_owned();
        let found = User::from_name(&name).doing(|| format!("looking up user {}", shown(&name)))?;
        found.ok_or_else(|| Failure::new(format!("user {} does not exist", shown(&name))))?;
        whom.push((To::User, name));
    }
    if let Some(name) = given.last("group") {
        let name = text(Some(&name.to_owned()))?.to_owned();
        let found = Group::from_name(&name).doing(|| format!("looking up group {}", shown(&name)))?;
        found.ok_or_else(|| Failure::new(format!("group {} does not exist", shown(&name))))?;
        whom.push((To::Group, name));
    }
    if whom.is_empty() {
        return Err(Failure::new("no user or group specified").hint("name one with --user or --group"));
    }
    Ok(whom)
}

/// `capability list`
pub(super) fn capability_list(words: &[OsString]) -> Result<(), Stop> {
    let listing = |failure: Failure| failure.context("Unable to list capabilities");
    let (grants, _) = Grants::read(&site::file(grants::FILE)).map_err(listing)?;
    let list = match words.first() {
        None => grants.list(),
        Some(word) => {
            let name = text(Some(word))?;
            grants.line(To::User, name) + &grants.line(To::Group, name)
        }
    };
    if list.is_empty() {
        let whom =
            words.first().map_or("users or groups".into(), |word| format!("user/group {}", shown(word)));
        return Err(listing(Failure::new(format!("no capability set for {whom}"))).into());
    }
    Ok(answer::print(list)?)
}

/// `capability avail`
pub(super) fn capability_avail(words: &[OsString]) -> Result<(), Stop> {
    let (wanted, unknown) = match words.first() {
        Some(word) => capabilities(Some(word)),
        None => (every_capability(), Vec::new()),
    };
    if !unknown.is_empty() {
        let text = format!(
            "Unable to list available capabilities: unknown capabilities found in: {}",
            unknown.join(",")
        );
        return Err(Failure::new(text).into());
    }
    Ok(answer::print(grants::meanings(wanted))?)
}

/// The capabilities of a list, and what in it is none.
fn capabilities(list: Option<&OsString>) -> (CapabilitySet, Vec<String>) {
    let mut found = CapabilitySet::empty();
    let mut unknown = Vec::new();
    for name in super::given::items(list.map_or(OsStr::new(""), OsString::as_os_str)) {
        match name.to_str().and_then(capability) {
            Some(capability) => found |= capability,
            None => unknown.push(shown(&name)),
        }
    }
    (found, unknown)
}

fn text(word: Option<&OsString>) -> Outcome<&str> {
    let word = word.map_or(OsStr::new(""), OsString::as_os_str);
    word.to_str().ok_or_else(|| Failure::new(format!("{} is no text", shown(word))))
}

fn require_root(doing: &str) -> Outcome<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(format!("{doing} takes root")).hint("ask the administrator of this host"))
}
