//! `--security` and the flags about capabilities.

use crate::cli::given::Given;
use crate::error::{Failure, Outcome};
use crate::message::{self, shown};
use rustix::thread::CapabilitySet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// `--security`
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SecurityRequest {
    /// `seccomp:FILE`, absolute.
    pub seccomp: Option<PathBuf>,
    /// `apparmor:PROFILE`
    pub apparmor: Option<String>,
    /// `selinux:LABEL`
    pub selinux: Option<String>,
    /// `uid:NUMBER`
    pub uid: Option<u32>,
    /// `gid:NUMBER[:NUMBER...]`, the primary group first; empty where it was not given.
    pub gids: Vec<u32>,
}

/// `--keep-privs`, `--no-privs`, `--add-caps` and `--drop-caps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CapabilityRequest {
    /// `--keep-privs`
    pub keep: bool,
    /// `--no-privs`
    pub none: bool,
    /// `--add-caps`
    pub add: CapabilitySet,
    /// `--drop-caps`
    pub drop: CapabilitySet,
}

/// The capabilities that have a name here, which is what `all` means.
#[must_use]
pub fn every_capability() -> CapabilitySet {
    CapabilitySet::all()
}

/// A capability by its name: `CAP_NET_RAW`, `net_raw`, or `all`.
#[must_use]
pub fn capability(name: &str) -> Option<CapabilitySet> {
    let upper = name.trim().to_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if plain == "ALL" { Some(every_capability()) } else { CapabilitySet::from_name(plain) }
}

/// The names of capabilities, separated by commas.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    names.join(",")
}

impl SecurityRequest {
    /// Every item of `--security`.
    ///
    /// # Errors
    /// A feature that nobody knows, or a value that cannot be.
    pub(super) fn parse(items: &[OsString]) -> Outcome<Self> {
        let mut request = Self::default();
        for item in items {
            request.take(item)?;
        }
        if request.apparmor.is_some() && request.selinux.is_some() {
            return Err(Failure::new("You can't specify both an apparmor profile and a SELinux label"));
        }
        Ok(request)
    }

    fn take(&mut self, item: &OsStr) -> Outcome<()> {
        let unknown = || {
            Failure::new(format!("--security {}: no such security feature", shown(item))).hint(
                "write seccomp:FILE, apparmor:PROFILE, selinux:LABEL, uid:NUMBER or gid:NUMBER[:NUMBER...]",
            )
        };
        let bytes = item.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(unknown)?;
        let value = OsStr::from_bytes(&bytes[colon + 1..]);
        if value.is_empty() {
            return Err(unknown());
        }
        let text = || value.to_str().map(str::to_owned).ok_or_else(unknown);
        match &bytes[..colon] {
            b"seccomp" => self.seccomp = Some(super::absolute(value)?),
            b"apparmor" => self.apparmor = Some(text()?),
            b"selinux" => self.selinux = Some(text()?),
            b"uid" => self.uid = Some(id(&text()?, "UID")?),
            b"gid" => self.gids = text()?.split(':').map(|text| id(text, "GID")).collect::<Outcome<_>>()?,
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

/// The largest number means "no change" to the kernel.
fn id(text: &str, what: &str) -> Outcome<u32> {
    let number = text.parse().ok().filter(|id| *id != u32::MAX);
    number.ok_or_else(|| Failure::new(format!("failed to parse provided {what}: {}", shown(text))))
}

impl CapabilityRequest {
    pub(super) fn of(given: &Given) -> Outcome<Self> {
        let (keep, none) = (given.is_on("keep-privs"), given.is_on("no-privs"));
        if keep && none {
            return Err(Failure::new("--keep-privs and --no-privs exclude each other"));
        }
        let (add, drop) = (listed(given.last("add-caps"), "add"), listed(given.last("drop-caps"), "drop"));
        Ok(Self { keep, none, add, drop })
    }
}

/// What a list names; says what it cannot mean.
fn listed(list: Option<&OsStr>, verb: &str) -> CapabilitySet {
    let mut set = CapabilitySet::empty();
    let mut unknown = Vec::new();
    for name in crate::cli::given::items(list.unwrap_or_default()) {
        match name.to_str().and_then(capability) {
            Some(found) => set |= found,
            None => unknown.push(shown(&name)),
        }
    }
    if !unknown.is_empty() {
        message::warning(format!("won't {verb} unknown capability: {}", unknown.join(",")));
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_their_names_in_any_spelling() {
        for name in ["CAP_NET_RAW", "net_raw", "cap_net_raw", " NET_RAW "] {
            assert_eq!(capability(name), Some(CapabilitySet::NET_RAW), "{name}");
        }
        assert_eq!(capability("all"), Some(every_capability()));
        assert_eq!(capability("CAP_EVERYTHING"), None);
        assert_eq!(names(CapabilitySet::CHOWN | CapabilitySet::KILL), "CAP_CHOWN,CAP_KILL");
    }

    #[test]
    fn security_features_are_parsed_and_unknown_ones_refused() {
        let parse =
            |items: &[&str]| SecurityRequest::parse(&items.iter().map(OsString::from).collect::<Vec<_>>());
        let request = parse(&["uid:1000", "gid:100:7", "seccomp:/p.json", "apparmor:a:b"]).unwrap();
        assert_eq!((request.uid, request.gids), (Some(1000), vec![100, 7]));
        assert_eq!((request.seccomp, request.apparmor), (Some("/p.json".into()), Some("a:b".into())));
        for bad in ["uid", "uid:", "uid:x", "uid:-1", "uid:4294967295", "gid:1:", "magic:1"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        assert!(parse(&["apparmor:a", "selinux:b"]).is_err());
    }
}
