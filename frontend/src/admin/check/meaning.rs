//! What the settings mean together, and on this host.

use super::{Finding, Severity};
use crate::admin::account_files::{GROUPS, USERS};
use crate::admin::trust;
use crate::message::shown;
use config::{EnableOverlay, EnableUnderlay, MemoryFsType, Setting, Settings, SetuidMountSquashfs};
use nix::unistd::{Group, User};
use protocol::ContainerPath;
use std::collections::HashMap;
use std::path::Path;

/// Findings about settings that each could be right.
pub(super) fn findings(site: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(limits(site));
    findings.extend(binds(site));
    findings.extend(overlays(site));
    findings.extend(images(site));
    findings.extend(memory(site));
    findings.extend(spellings(site));
    findings
}

fn error(line: Option<u32>, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, line, text)
}

fn warning(line: Option<u32>, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, line, text)
}

fn info(line: Option<u32>, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Info, line, text)
}

/// `line 12`, or `the default`.
fn written<T>(setting: &Setting<T>) -> String {
    setting.line.map_or_else(|| "the default".to_owned(), |line| format!("line {line}"))
}

/// The starter takes numbers, and names that are in root's own account files. It asks no name service.
fn limits(site: &Settings) -> Vec<Finding> {
    let owners = Accounts {
        file: USERS,
        kind: "user",
        look_up: |name| Some(User::from_name(name).ok()??.uid.as_raw()),
    };
    let groups = Accounts {
        file: GROUPS,
        kind: "group",
        look_up: |name| Some(Group::from_name(name).ok()??.gid.as_raw()),
    };
    let missing_paths =
        site.limit_container_paths.iter().filter(|entry| !Path::new(entry.value.as_str()).is_dir()).map(
            |entry| {
                let path = shown(entry.value.as_str());
                warning(entry.line, format!("there is no directory {path}, so no image can be in it"))
            },
        );
    owners
        .findings(&site.limit_container_owners)
        .into_iter()
        .chain(groups.findings(&site.limit_container_groups))
        .chain(missing_paths)
        .collect()
}

/// Where names of one kind are looked for.
struct Accounts {
    file: &'static str,
    kind: &'static str,
    /// What all name services of the host say.
    look_up: fn(&str) -> Option<u32>,
}

impl Accounts {
    fn findings(&self, entries: &[Setting<String>]) -> Vec<Finding> {
        let mut named = entries.iter().filter(|entry| entry.value.parse::<u32>().is_err()).peekable();
        if named.peek().is_none() {
            return Vec::new();
        }
        let known = std::fs::read(self.file).unwrap_or_default();
        let distrust = trust::file_reason(Path::new(self.file)).map(|reason| error(None, reason));
        let unresolved = named
            .filter(|entry| config::account_id(&known, &entry.value).is_none())
            .map(|entry| error(entry.line, self.unresolved(&entry.value)));
        distrust.into_iter().chain(unresolved).collect()
    }

    fn unresolved(&self, name: &str) -> String {
        let (file, kind) = (self.file, self.kind);
        let stops = "so no container starts";
        match (self.look_up)(name) {
            Some(id) => format!(
                "{kind} \"{}\" is not in {file}, and the starter asks no directory service, {stops}: write {id}",
                shown(name)
            ),
            None => format!("there is no {kind} \"{}\" on this host, {stops}", shown(name)),
        }
    }
}

fn binds(site: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut taken = HashMap::new();
    for entry in &site.bind_path {
        let (source, destination) = config::bind_path_parts(&entry.value);
        if let Err(why) = std::fs::metadata(source) {
            findings
                .push(warning(entry.line, format!("bind source {} cannot be bound: {why}", shown(source))));
        }
        if ContainerPath::new(destination.as_bytes().to_vec()).is_err() {
            findings.push(warning(
                entry.line,
                format!("{} is no plain absolute path, so it is not mounted", shown(destination)),
            ));
        }
        match taken.get(destination) {
            None => drop(taken.insert(destination, (source, entry))),
            // The same entry twice was noticed by its line.
            Some((first, _)) if *first == source => {}
            Some((first, by)) => findings.push(warning(
                entry.line,
                format!("{} shows {} already, by {}", shown(destination), shown(first), written(by)),
            )),
        }
    }
    findings
}

fn overlays(site: &Settings) -> Vec<Finding> {
    let (overlay, underlay) = (&site.enable_overlay, &site.enable_underlay);
    let kernel = matches!(overlay.value, EnableOverlay::Yes | EnableOverlay::Try);
    let mut findings = Vec::new();
    if !kernel && underlay.value == EnableUnderlay::No {
        findings.push(warning(
            underlay.line.or(overlay.line),
            format!(
                "without overlay ({}) and underlay ({}) nothing can be mounted where an image has no mount point: \
                 allow one of 'enable overlay' and 'enable underlay'",
                written(overlay),
                written(underlay)
            ),
        ));
    }
    if overlay.value == EnableOverlay::Driver {
        findings.push(info(
            overlay.line,
            "with 'driver' users' overlays are made by fuse-overlayfs, in user namespaces; root has none",
        ));
    }
    findings
}

fn images(site: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !site.allow_setuid.value {
        findings.push(info(
            site.allow_setuid.line,
            "with 'allow setuid = no' users' containers run in user namespaces only",
        ));
    }
    let squashfs = site.kernel_squashfs();
    let extfs = site.kernel_extfs();
    for (kind, (allowed, directive, line)) in [("squashfs", squashfs), ("ext3", extfs)] {
        if !allowed {
            let text = format!(
                "by \"{directive}\" users' containers with {kind} images, or with SIF images that hold one, run in \
                 user namespaces, through FUSE"
            );
            findings.push(info(line, text));
        }
    }
    let sif = site.allow_container_sif.value && (squashfs.0 || extfs.0);
    let bare =
        site.allow_container_squashfs.value && squashfs.0 || site.allow_container_extfs.value && extfs.0;
    if !(sif || bare || site.allow_container_dir.value) {
        let line = site.allow_container_dir.line;
        findings.push(warning(
            line,
            "no kind of image is left that the setuid starter runs for users: all are refused by 'allow container …' or \
             'allow kernel …'",
        ));
    }
    let limited = &site.allow_setuid_mount_squashfs;
    if limited.value == SetuidMountSquashfs::IfLimited && !site.limits_containers() {
        findings.push(warning(
            limited.line,
            "'iflimited' means 'no' here: there is no 'limit container' directive",
        ));
    }
    if site.max_loop_devices.value == 0 {
        let text = "with no loop device no image file can be mounted";
        findings.push(warning(site.max_loop_devices.line, text));
    }
    findings
}

fn memory(site: &Settings) -> Vec<Finding> {
    let (size, kind) = (&site.sessiondir_max_size, &site.memory_fs_type);
    let ramfs = kind.value == MemoryFsType::Ramfs;
    let mut findings = Vec::new();
    if ramfs {
        let text = "a ramfs has no limit: users can fill the host's memory";
        findings.push(warning(kind.line, text));
        if size.line.is_some() {
            let text = format!("has no effect on the ramfs of {}", written(kind));
            findings.push(warning(size.line, text));
        }
    } else if size.value == 0 {
        let text = "leaves one page of memory: '--writable-tmpfs' and scratch directories are full at once";
        findings.push(warning(size.line, text));
    }
    findings
}

/// Directives that each incumbent spells in its own way.
fn spellings(site: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (Some(first), Some(second)) = (site.binary_path.line, site.user_search_path.line)
        && site.binary_path.value != site.user_search_path.value
    {
        let text = format!("\"user search path\" is not used: \"binary path\" of line {first} is");
        findings.push(warning(Some(second), text));
    }
    let (one, other) = (&site.allow_kernel_extfs, &site.allow_setuid_mount_extfs);
    let disagree = one.value != other.value;
    if let (Some(first), Some(second)) = (one.line, other.line)
        && disagree
    {
        let (wins, loses) = if one.value { (second, first) } else { (first, second) };
        findings.push(overruled(loses, wins, "ext3"));
    }
    let (one, other) = (&site.allow_kernel_squashfs, &site.allow_setuid_mount_squashfs);
    let disagree = one.value != (other.value != SetuidMountSquashfs::No);
    if let (Some(first), Some(second)) = (one.line, other.line)
        && disagree
    {
        let (wins, loses) = if one.value { (second, first) } else { (first, second) };
        findings.push(overruled(loses, wins, "squashfs"));
    }
    findings
}

fn overruled(loses: u32, wins: u32, kind: &str) -> Finding {
    warning(Some(loses), format!("allows {kind} images that line {wins} forbids, and 'no' wins"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and beginning of the text of everything that is wrong.
    fn wrong(text: &str) -> Vec<(Option<u32>, String)> {
        let site = Settings::parse(text.as_bytes()).unwrap();
        findings(&site)
            .into_iter()
            .filter(Finding::is_wrong)
            .map(|finding| (finding.line, finding.text))
            .collect()
    }

    #[track_caller]
    fn one(text: &str, line: u32, part: &str) {
        let wrong = wrong(text);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!(wrong[0].0, Some(line));
        assert!(wrong[0].1.contains(part), "{wrong:?}");
    }

    #[test]
    fn defaults_contradict_nothing() {
        assert_eq!(wrong(""), []);
    }

    #[test]
    fn names_that_are_nobodys_are_errors_at_their_line() {
        assert_eq!(wrong("limit container owners = root, 12345\nlimit container groups = root\n"), []);
        one("mount home = yes\nlimit container owners = nobody-has-this-name\n", 2, "there is no user");
        one("limit container groups = nobody-has-this\n", 1, "there is no group");
    }

    #[test]
    fn a_name_of_a_directory_service_is_answered_with_its_number() {
        let accounts = Accounts { file: USERS, kind: "user", look_up: |_| Some(70_123) };
        let entry = Setting { value: "from-ldap".to_owned(), line: Some(4) };
        let findings = accounts.findings(&[entry]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, Some(4));
        assert!(findings[0].text.ends_with("write 70123"), "{findings:?}");
    }

    #[test]
    fn directories_and_bind_sources_that_do_not_exist_are_named() {
        one("limit container paths = /no/such/folder\n", 1, "/no/such/folder");
        one("bind path = /etc\nbind path = /no/such/file\n", 2, "/no/such/file");
        one("bind path = /etc:/a/../b\n", 1, "no plain absolute path");
        one("bind path = /etc:/x\nbind path = /usr:/x\n", 2, "shows /etc already, by line 1");
    }

    #[test]
    fn settings_that_leave_nothing_to_run_are_named() {
        one("enable overlay = no\nenable underlay = no\n", 2, "no mount point");
        one(
            "allow container sif = no\nallow container squashfs = no\nallow container extfs = no\nallow container dir = no\n",
            4,
            "no kind of image is left",
        );
        one("max loop devices = 0\n", 1, "no loop device");
        one("sessiondir max size = 0\n", 1, "full at once");
        one("memory fs type = ramfs\n", 1, "no limit");
        one("allow setuid-mount squashfs = iflimited\n", 1, "means 'no'");
    }

    #[test]
    fn settings_that_lead_to_user_namespaces_say_so_and_are_not_wrong() {
        for (text, part) in [
            ("allow setuid = no\n", "user namespaces only"),
            ("enable overlay = driver\n", "by fuse-overlayfs"),
            ("allow kernel extfs = no\n", "through FUSE"),
        ] {
            assert_eq!(wrong(text), []);
            let found = findings(&Settings::parse(text.as_bytes()).unwrap());
            assert!(
                found.iter().any(|finding| finding.line == Some(1) && finding.text.contains(part)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn of_two_spellings_the_one_that_loses_is_named() {
        one("allow kernel extfs = no\nallow setuid-mount extfs = yes\n", 2, "line 1 forbids");
        one("allow kernel squashfs = yes\nallow setuid-mount squashfs = no\n", 1, "line 2 forbids");
        one("binary path = /bin\nuser search path = /usr/bin\n", 2, "not used");
    }
}
