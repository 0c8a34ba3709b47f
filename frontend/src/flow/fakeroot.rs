//! `--fakeroot`: how the caller becomes root in a container, the best way first.

use super::lent_ids::Lent;
use super::namespace::Mapping;
use crate::admin::subordinate_ids;
use crate::confined::helper::{FAKEROOT, NEWGIDMAP, NEWUIDMAP, Programs, STANDARD_PATH};
use crate::error::{Failure, Outcome};
use crate::message;
use crate::user::Caller;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// `--ignore-subuid`
    pub ignore_lent_ids: bool,
    /// `--ignore-fakeroot-command`
    pub ignore_command: bool,
    /// `--no-setgroups`
    pub keeps_groups: bool,
}

/// The way that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fakeroot {
    /// Which ids there are.
    pub mapping: Mapping,
    /// What makes programs believe that there are more.
    pub command: Option<FakerootCommand>,
}

/// The parts of the `fakeroot` command, but for its script, which starts the one and has the other loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FakerootCommand {
    /// The program that remembers what was changed.
    pub daemon: PathBuf,
    /// What is loaded into every program.
    pub library: PathBuf,
}

/// Looks for the best way there is, and says which one it is where it is not the best. `program` is the name to suggest
/// commands with.
#[must_use]
pub fn choose(request: Request, caller: &Caller, programs: &Programs, program: &str) -> Fakeroot {
    if !request.ignore_lent_ids {
        match lent(request, caller, programs, program) {
            Ok(lent) => return Fakeroot { mapping: Mapping::root_and(lent), command: None },
            Err(failure) => {
                message::info(format!("{failure}, trying root-mapped namespace"));
                failure.next_step().into_iter().for_each(message::info);
            }
        }
    }
    let command = if request.ignore_command { None } else { FakerootCommand::find(programs) };
    message::info(match (&command, request.ignore_command) {
        (Some(_), _) => "Using fakeroot command combined with root-mapped namespace",
        (None, true) => "Using root-mapped namespace only",
        (None, false) => "fakeroot command not found, using only root-mapped namespace",
    });
    Fakeroot { mapping: Mapping::root(), command }
}

/// What the host lends the caller, and the programs for it.
fn lent(request: Request, caller: &Caller, programs: &Programs, program: &str) -> Outcome<Lent> {
    let ids = |path: &str| {
        let found = subordinate_ids::of(&text(path), &caller.name, caller.uid.as_raw());
        found.ok_or_else(|| {
            Failure::new(format!("User not listed in {path}"))
                .hint(format!("'sudo {program} config fakeroot --add {}' lists you", caller.name))
        })
    };
    let [users, groups] = [ids(subordinate_ids::USERS)?, ids(subordinate_ids::GROUPS)?];
    let [newuidmap, newgidmap] = [programs.find(NEWUIDMAP)?, programs.find(NEWGIDMAP)?];
    if !caller.is_root() && nix::sys::prctl::get_no_new_privs().unwrap_or(false) {
        return Err(Failure::new("no_new_privs is set for this process, so newuidmap cannot work"));
    }
    Ok(Lent { users, groups, newuidmap, newgidmap, keeps_groups: request.keeps_groups })
}

/// What a file says; nothing where it cannot be read.
fn text(path: &str) -> String {
    let mut text = String::new();
    let file = File::open(path).map(|file| file.take(subordinate_ids::FILE_BYTES_MAX));
    match file.and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

impl FakerootCommand {
    /// Finds the parts: the daemon beside the script, the library by asking the script.
    fn find(programs: &Programs) -> Option<Self> {
        let script = fs::canonicalize(programs.locate(FAKEROOT.name)?).ok()?;
        let daemon = script.file_name()?.to_str()?.replace("fakeroot", "faked");
        let daemon = script.with_file_name(daemon);
        let mut env = Command::new(&script);
        env.args(["--", "env"]).env_clear().env("PATH", STANDARD_PATH);
        let said = env.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?.stdout;
        let library = library(&String::from_utf8_lossy(&said), Path::is_file)?;
        daemon.is_file().then_some(Self { daemon, library })
    }
}

/// What is preloaded where these are the variables.
fn library(variables: &str, is_there: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let value = |name: &str| {
        variables.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let name = value("LD_PRELOAD").split([':', ' ']).next().filter(|name| !name.is_empty())?;
    let folders = value("LD_LIBRARY_PATH");
    folders
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_absolute() && is_there(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_where_the_script_has_it_loaded_from() {
        let variables =
            "PATH=/bin\nLD_LIBRARY_PATH=/lib64/libfakeroot:/lib/libfakeroot\nLD_PRELOAD=fake.so\n";
        let at = |there: &'static str| move |path: &Path| path == Path::new(there);
        let found = library(variables, at("/lib/libfakeroot/fake.so"));
        assert_eq!(found, Some("/lib/libfakeroot/fake.so".into()));
        assert_eq!(library(variables, |_| false), None);
        let absolute = "LD_PRELOAD=/opt/fake.so\n";
        assert_eq!(library(absolute, at("/opt/fake.so")), Some("/opt/fake.so".into()));
        assert_eq!(library("LD_LIBRARY_PATH=/lib\n", |_| true), None);
    }
}
