//! A seccomp profile in Docker's form, as programs that init installs for the user's program.
//!
//! A profile has a default and rules with actions of their own; a filter of the library's has two actions. So there is
//! a filter for each action, which lets everything else pass, and one that gives whatever no rule names the default.
//! Of the answers of several filters the kernel takes the strictest.

use crate::error::{Doing, Failure, Outcome};
use crate::intent::capability;
use crate::message::{self, shown};
use crate::payload::Instruction;
use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use syscalls::Sysno;

/// Bytes of a profile: Docker's own has 15 KB.
const PROFILE_BYTES_MAX: u64 = 1 << 20;
/// Arguments of a system call.
const ARGUMENTS: usize = 6;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    syscalls: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Option<Vec<String>>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    includes: Option<Selection>,
    excludes: Option<Selection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Where an entry counts, or does not.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// What an entry's selection is about.
struct Circumstances {
    capabilities: CapabilitySet,
    architecture: &'static str,
    kernel: (u32, u32),
}

/// System calls by number: those with a rule list are meant when one of the rules holds, the others always.
type Calls = BTreeMap<i64, Option<Vec<SeccompRule>>>;

/// Reads a profile and compiles it for a program that has `capabilities`.
///
/// # Errors
/// The file cannot be read, or says something that cannot be done.
pub(super) fn compile(path: &Path, capabilities: CapabilitySet) -> Outcome<Vec<Vec<Instruction>>> {
    let reading = || format!("reading the seccomp profile {}", shown(path));
    let mut text = Vec::new();
    let file = std::fs::File::open(path).doing(reading)?;
    file.take(PROFILE_BYTES_MAX + 1).read_to_end(&mut text).doing(reading)?;
    if text.len() as u64 > PROFILE_BYTES_MAX {
        return Err(Failure::new(format!("while {}: it is larger than 1 MiB", reading())));
    }
    let profile: Profile = serde_json::from_slice(&text).doing(reading)?;
    let here = Circumstances { capabilities, architecture: architecture(), kernel: kernel()? };
    filters(&profile, &here).map_err(|failure| failure.context(format!("while {}", reading())))
}

fn filters(profile: &Profile, here: &Circumstances) -> Outcome<Vec<Vec<Instruction>>> {
    for flag in profile.flags.iter().flatten().filter(|flag| *flag != "SECCOMP_FILTER_FLAG_TSYNC") {
        message::warning(format!("The seccomp profile's flag {} has no effect", shown(flag)));
    }
    if profile.listener_path.as_ref().is_some_and(|path| !path.is_empty()) {
        return Err(Failure::new("listenerPath is not supported: nothing of ours stays to be asked"));
    }
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut named = Calls::new();
    let mut groups: Vec<(SeccompAction, Calls)> = Vec::new();
    for entry in profile.syscalls.iter().flatten().filter(|entry| entry.counts(here)) {
        let action = action(&entry.action, entry.errno_ret.or(profile.default_errno_ret))?;
        let group = match groups.iter().position(|(known, _)| *known == action) {
            Some(place) => place,
            None => {
                groups.push((action, Calls::new()));
                groups.len() - 1
            }
        };
        let rules = entry.rules()?;
        // A name that this machine's kernel does not have cannot be called.
        for call in entry.calls().filter_map(|name| name.parse::<Sysno>().ok()) {
            add(&mut named, i64::from(call.id()), &rules);
            add(&mut groups[group].1, i64::from(call.id()), &rules);
        }
    }
    let mut filters = Vec::new();
    for (action, calls) in groups.into_iter().filter(|(action, _)| *action != SeccompAction::Allow) {
        filters.push(filter(calls, SeccompAction::Allow, action)?);
    }
    // The last one to be installed may forbid to install another.
    if default != SeccompAction::Allow {
        filters.push(filter(named, default, SeccompAction::Allow)?);
    }
    Ok(filters)
}

/// A call that is meant always stays so.
fn add(calls: &mut Calls, call: i64, rules: &[SeccompRule]) {
    let known = calls.entry(call).or_insert_with(|| Some(Vec::new()));
    match known {
        Some(known) if !rules.is_empty() => known.extend_from_slice(rules),
        _ => *known = None,
    }
}

fn filter(calls: Calls, otherwise: SeccompAction, matched: SeccompAction) -> Outcome<Vec<Instruction>> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("it makes no filter: {error}"));
    let machine = std::env::consts::ARCH.try_into().map_err(|error| failed(&error))?;
    let calls = calls.into_iter().map(|(call, rules)| (call, rules.unwrap_or_default())).collect();
    let filter = SeccompFilter::new(calls, otherwise, matched, machine).map_err(|error| failed(&error))?;
    let program: BpfProgram = filter.try_into().map_err(|error| failed(&error))?;
    Ok(program.into_iter().map(Instruction::from).collect())
}

impl Entry {
    fn calls(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().chain(&self.name).map(String::as_str)
    }

    fn counts(&self, here: &Circumstances) -> bool {
        self.includes.as_ref().is_none_or(|selection| selection.includes(here))
            && self.excludes.as_ref().is_none_or(|selection| !selection.excludes(here))
    }

    /// The conditions on arguments hold together, but those on one and the same argument are alternatives.
    fn rules(&self) -> Outcome<Vec<SeccompRule>> {
        let arguments: Vec<&Argument> = self.args.iter().flatten().collect();
        let twice = |argument: &&Argument| arguments.iter().filter(|a| a.index == argument.index).count() > 1;
        let alternatives = arguments.iter().any(twice);
        let conditions: Vec<SeccompCondition> =
            arguments.iter().map(|argument| argument.condition()).collect::<Outcome<_>>()?;
        let groups: Vec<Vec<SeccompCondition>> = match (conditions.is_empty(), alternatives) {
            (true, _) => Vec::new(),
            (false, true) => conditions.into_iter().map(|condition| vec![condition]).collect(),
            (false, false) => vec![conditions],
        };
        let rule = |conditions| {
            SeccompRule::new(conditions).map_err(|error| Failure::new(format!("it makes no filter: {error}")))
        };
        groups.into_iter().map(rule).collect()
    }
}

impl Argument {
    fn condition(&self) -> Outcome<SeccompCondition> {
        let (operator, value) = match self.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, self.value),
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, self.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, self.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, self.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, self.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, self.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(self.value), self.value_two),
            other => return Err(Failure::new(format!("{} is no comparison", shown(other)))),
        };
        if usize::from(self.index) >= ARGUMENTS {
            return Err(Failure::new(format!("no system call has an argument {}", self.index)));
        }
        SeccompCondition::new(self.index, SeccompCmpArgLen::Qword, operator, value)
            .map_err(|error| Failure::new(format!("it makes no filter: {error}")))
    }
}

impl Selection {
    fn includes(&self, here: &Circumstances) -> bool {
        let mut capabilities = self.caps.iter().flatten();
        let arches = self.arches.as_deref().unwrap_or_default();
        capabilities.all(|name| here.has(name))
            && (arches.is_empty() || arches.iter().any(|name| name == here.architecture))
            && self.min_kernel.as_ref().is_none_or(|least| here.is_at_least(least))
    }

    fn excludes(&self, here: &Circumstances) -> bool {
        self.caps.iter().flatten().any(|name| here.has(name))
            || self.arches.iter().flatten().any(|name| name == here.architecture)
            || self.min_kernel.as_ref().is_some_and(|least| here.is_at_least(least))
    }
}

impl Circumstances {
    fn has(&self, name: &str) -> bool {
        capability(name).is_some_and(|set| self.capabilities.contains(set))
    }

    fn is_at_least(&self, least: &str) -> bool {
        version(least).is_some_and(|least| self.kernel >= least)
    }
}

fn action(name: &str, number: Option<u32>) -> Outcome<SeccompAction> {
    let errno = number.unwrap_or(libc::EPERM.unsigned_abs());
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno),
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        other => return Err(Failure::new(format!("the action {} is not supported", shown(other)))),
    })
}

/// This machine, as profiles call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn kernel() -> Outcome<(u32, u32)> {
    let system = nix::sys::utsname::uname().doing(|| "asking for the kernel's version".into())?;
    version(&system.release().to_string_lossy())
        .ok_or_else(|| Failure::new("the kernel's version has no number"))
}

/// `6.18.1-x` is 6, 18.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(profile: &str, capabilities: CapabilitySet) -> Outcome<usize> {
        let profile: Profile = serde_json::from_str(profile).unwrap();
        let here = Circumstances { capabilities, architecture: "amd64", kernel: (5, 14) };
        filters(&profile, &here).map(|filters| filters.len())
    }

    #[test]
    fn there_is_a_filter_for_each_action_but_to_allow() {
        let rules = r#""syscalls": [
            {"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"name": "rmdir", "action": "SCMP_ACT_KILL", "args": null},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
            {"names": ["mount"], "action": "SCMP_ACT_TRAP", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["umount2"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4.8"}}]"#;
        let with = |default: &str| format!("{{\"defaultAction\": \"{default}\", {rules}}}");
        assert_eq!(compiled(&with("SCMP_ACT_ALLOW"), CapabilitySet::empty()).unwrap(), 2);
        assert_eq!(compiled(&with("SCMP_ACT_ALLOW"), CapabilitySet::SYS_ADMIN).unwrap(), 3);
        assert_eq!(compiled(&with("SCMP_ACT_ERRNO"), CapabilitySet::empty()).unwrap(), 3);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for bad in [
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "read", "action": "SCMP_ACT_KILL", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "read", "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 0, "op": "=="}]}]}"#,
        ] {
            assert!(compiled(bad, CapabilitySet::empty()).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version("6.18.1-rc2"), Some((6, 18)));
        assert_eq!(version("5"), Some((5, 0)));
        assert_eq!(version("x"), None);
        assert!((5, 14) >= version("4.8").unwrap());
    }
}
