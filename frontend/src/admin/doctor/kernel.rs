//! What the kernel has: calls, file systems, loop devices, and the ways it confines programs.

use super::{Check, kernel_config};
use crate::confined::helper::Programs;
use crate::flow::host::{self, Setting};
use crate::message::shown;
use crate::sys::probe::{self, MountCall};
use config::Settings;
use std::fs;
use std::path::Path;

/// The oldest kernel that the starter works on.
const OLDEST: (u32, u32) = (5, 14);
/// The first kernel that `LOOP_CONFIGURE` sets up a loop device in one step with.
const LOOP_CONFIGURE: (u32, u32) = (5, 8);
/// The first kernel that an overlay takes each layer from by descriptor.
const LAYERS_BY_DESCRIPTOR: (u32, u32) = (6, 15);

/// Everything about the kernel.
pub(super) fn checks(site: &Settings, programs: &Programs) -> Vec<Check> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let modules = Path::new("/lib/modules").join(release);
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let loadable = fs::read_to_string(modules.join("modules.dep")).unwrap_or_default();
    let mut checks = vec![version(release)];
    checks.extend(calls());
    checks.push(since("LOOP_CONFIGURE", release, LOOP_CONFIGURE, ""));
    checks.push(since(
        "overlay layers by descriptor",
        release,
        LAYERS_BY_DESCRIPTOR,
        ": layers are named through /proc instead, which works as well",
    ));
    checks.extend(file_systems(&known, &loadable));
    checks.push(kernel_config::squashfs_compressions(release, programs));
    checks.extend(loop_devices(site));
    checks.push(seccomp());
    checks.push(landlock(probe::landlock_abi()));
    checks.push(security_modules());
    checks.push(user_namespaces(host::sysctl));
    checks
}

/// The first two numbers of a release such as `6.8.0-45-generic`.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn version(release: &str) -> Check {
    let shown = shown(release);
    match numbers(release) {
        Some(found) if found >= OLDEST => Check::ok("kernel", format!("Linux {shown}")),
        _ => Check::missing("kernel", format!("Linux {shown}: too old")).remedy("boot Linux 5.14 or later"),
    }
}

fn since(subject: &str, release: &str, (major, minor): (u32, u32), otherwise: &str) -> Check {
    if numbers(release).is_some_and(|found| found >= (major, minor)) {
        Check::ok(subject, "known to this kernel")
    } else {
        Check::limited(subject, format!("in Linux {major}.{minor} and later{otherwise}"))
    }
}

fn calls() -> impl Iterator<Item = Check> {
    MountCall::ALL.into_iter().map(|call| {
        if call.exists() {
            Check::ok(call.name(), "known to this kernel")
        } else {
            Check::missing(call.name(), "this kernel does not know it, or a filter hides it")
                .remedy("boot Linux 5.14 or later; in a container, let its seccomp profile pass the call")
        }
    })
}

fn file_systems(known: &str, loadable: &str) -> Vec<Check> {
    let has = |name: &str| known.lines().any(|line| line.split_whitespace().last() == Some(name));
    let module = |file: &str| {
        let file = format!("/{file}.ko");
        loadable.lines().any(|line| line.contains(&file))
    };
    let check = |subject: &str, names: &[&str], what: &str| {
        if names.iter().any(|name| has(name)) {
            Check::ok(subject, "known to this kernel")
        } else if names.iter().any(|name| module(name)) {
            Check::ok(subject, "a module, which the kernel loads when it is needed")
        } else {
            Check::missing(subject, format!("this kernel does not have it: no {what}")).remedy(format!(
                "'modprobe {}', or a kernel that has it",
                names.first().copied().unwrap_or(subject)
            ))
        }
    };
    let erofs = if has("erofs") || module("erofs") {
        "known to this kernel; this version does not use it"
    } else {
        "not known to this kernel; this version does not use it"
    };
    vec![
        check("squashfs", &["squashfs"], "SIF and squashfs images"),
        check("ext3", &["ext4", "ext3"], "overlay images"),
        check("overlay", &["overlay"], "overlays"),
        check("tmpfs", &["tmpfs"], "containers"),
        Check::ok("erofs", erofs),
    ]
}

fn loop_devices(site: &Settings) -> Vec<Check> {
    let control = if Path::new("/dev/loop-control").exists() {
        Check::ok("/dev/loop-control", "is there")
    } else {
        Check::missing("/dev/loop-control", "is not there: no image file can be mounted")
            .remedy("'modprobe loop'")
    };
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let used = devices
        .filter(|device| device.file_name().to_string_lossy().starts_with("loop"))
        .filter(|device| device.path().join("loop/backing_file").exists())
        .count();
    vec![control, free_loop_devices(used, site)]
}

fn free_loop_devices(used: usize, site: &Settings) -> Check {
    let subject = "free loop devices";
    let most = usize::try_from(site.max_loop_devices.value).unwrap_or(usize::MAX);
    match most.saturating_sub(used) {
        0 => Check::missing(subject, format!("{used} are in use, and 'max loop devices' is {most}"))
            .remedy("raise 'max loop devices' in singularity.conf"),
        free => Check::ok(subject, format!("{free}: {used} of {most} are in use")),
    }
}

fn seccomp() -> Check {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.contains("kill_process") => Check::ok("seccomp", "filters work"),
        _ => Check::missing("seccomp", "this kernel has no filters")
            .remedy("a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

fn landlock(abi: Option<i32>) -> Check {
    match abi {
        Some(abi) => Check::ok("Landlock", format!("version {abi} of its interface")),
        None => Check::limited(
            "Landlock",
            "is not there or turned off: programs that read images have the caller's rights",
        )
        .remedy("a kernel with CONFIG_SECURITY_LANDLOCK and 'landlock' among the 'lsm=' of its command line"),
    }
}

fn security_modules() -> Check {
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) => Check::ok("security modules", shown(list.trim())),
        Err(_) => Check::limited(
            "security modules",
            "cannot be listed: securityfs is not mounted at /sys/kernel/security",
        ),
    }
}

/// Whether the host lets users make user namespaces. `sysctl` reads a setting, by its path.
fn user_namespaces(sysctl: impl Fn(&str) -> Option<String>) -> Check {
    let subject = "user namespaces";
    match host::forbidding(sysctl) {
        Some(Setting { name, value, allowing }) => Check::limited(
            subject,
            format!(
                "users may not make them ({name} = {value}): no --userns, no directory overlays for users"
            ),
        )
        .remedy(format!("'sysctl -w {name}={allowing}'")),
        None => Check::ok(subject, "users may make them: --userns works, and directory overlays for users"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert_eq!(numbers("6.8.0-45-generic"), Some((6, 8)));
        assert_eq!(numbers("5.14-rc1"), Some((5, 14)));
        assert_eq!(numbers("unknown"), None);
        for (release, state) in [
            ("5.14.0-427.el9.x86_64", State::Ok),
            ("6.1", State::Ok),
            ("5.9.9", State::Missing),
            ("4.18.0", State::Missing),
        ] {
            assert_eq!(version(release).state, state, "{release}");
        }
        assert_eq!(since("x", "6.9.1", (6, 15), "").state, State::Limited);
    }

    #[test]
    fn a_file_system_is_there_built_in_or_as_a_module() {
        let known = "nodev\ttmpfs\nnodev\toverlay\n\text4\n";
        let squashfs = |loadable: &str| file_systems(known, loadable)[0].state;
        assert_eq!(squashfs(""), State::Missing);
        assert_eq!(squashfs("kernel/fs/squashfs/squashfs.ko.zst:\n"), State::Ok);
        for check in &file_systems(known, "")[1..] {
            assert_eq!(check.state, State::Ok, "{check:?}");
        }
    }

    #[test]
    fn loop_devices_run_out_at_the_sites_number() {
        let site = Settings::parse(b"max loop devices = 8").unwrap();
        assert_eq!(free_loop_devices(7, &site).state, State::Ok);
        assert_eq!(free_loop_devices(8, &site).state, State::Missing);
    }

    #[test]
    fn the_sysctl_that_forbids_user_namespaces_is_named() {
        assert_eq!(user_namespaces(|_| None).state, State::Ok);
        let ubuntu = user_namespaces(|name| name.contains("apparmor").then(|| "1\n".to_owned()));
        assert_eq!(ubuntu.state, State::Limited);
        assert!(ubuntu.found.contains("apparmor_restrict_unprivileged_userns"));
        assert_eq!(user_namespaces(|name| Some(name.len().to_string())).state, State::Ok);
    }
}
