//! What a program of somebody else's may reach: a Landlock domain.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is known of Landlock here; an older kernel does what it can.
const KNOWN: ABI = ABI::V7;
/// What programs read to start and to know the machine. What is not there is passed over.
const READABLE: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/proc",
    "/sys/devices/system/cpu",
];
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/random"];
/// Where the loader of dynamic programs is; it counts as executed.
const LIBRARIES: [&str; 8] =
    ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/nix/store", "/gnu/store"];

/// A domain to be: no network, no signals to others, and of files what is named here.
#[derive(Debug)]
pub(crate) struct Domain {
    readable: Vec<PathBuf>,
    executable: Option<Vec<PathBuf>>,
    writable: Vec<PathBuf>,
}

impl Domain {
    /// What a program needs to start, itself included. Whatever it can read it can execute.
    pub(crate) fn of(program: &Path) -> Self {
        let beside = program.parent().map(Path::to_path_buf);
        Self {
            readable: READABLE.iter().map(PathBuf::from).chain(beside).collect(),
            executable: None,
            writable: Vec::new(),
        }
    }

    /// Lets it execute only these files, and load libraries.
    pub(crate) fn executing_only(mut self, programs: impl IntoIterator<Item = PathBuf>) -> Self {
        self.executable = Some(LIBRARIES.iter().map(PathBuf::from).chain(programs).collect());
        self
    }

    /// Lets it read what is at and below these paths.
    pub(crate) fn reading(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.readable.extend(paths);
        self
    }

    /// Lets it change what is at and below these paths.
    pub(crate) fn changing(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.writable.extend(paths);
        self
    }

    /// Makes the domain, with an open file in it, which may be changed if that is said.
    pub(crate) fn create(self, subject: Option<(&File, bool)>) -> Result<RulesetCreated, RulesetError> {
        let all = AccessFs::from_all(KNOWN);
        let read_and_execute = AccessFs::from_read(KNOWN);
        let read = if self.executable.is_some() {
            read_and_execute & !BitFlags::from(AccessFs::Execute)
        } else {
            read_and_execute
        };
        let mut domain = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .handle_access(AccessNet::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?
            .create()?;
        let rules = (self.readable.into_iter().map(|path| (path, read)))
            .chain(self.executable.into_iter().flatten().map(|path| (path, read_and_execute)))
            .chain(DEVICES.map(|path| (path.into(), AccessFs::from_file(KNOWN))))
            .chain(self.writable.into_iter().map(|path| (path, all)));
        for (path, allowed) in rules {
            let Ok(opened) = PathFd::new(&path) else { continue };
            let allowed = if path.is_dir() { allowed } else { allowed & AccessFs::from_file(KNOWN) };
            domain = domain.add_rule(PathBeneath::new(opened, allowed))?;
        }
        if let Some((file, changed)) = subject {
            let allowed = if changed { all } else { read } & AccessFs::from_file(KNOWN);
            domain = domain.add_rule(PathBeneath::new(file, allowed))?;
        }
        Ok(domain)
    }
}
