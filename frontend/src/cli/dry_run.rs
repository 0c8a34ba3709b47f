//! `--dry-run`: the plan in words, or as JSON.

use super::answer;
use crate::error::{Doing, Outcome};
use crate::flow::Flow;
use crate::intent::DryRun;
use crate::message::shown;
use crate::payload::{FuseMount, Side};
use crate::planning::Planned;
use protocol::{AccountFile, Bind, ContainerPath, Content, Descriptor, Dev, Image, Mount, Window, Writable};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// Prints what would be asked of the starter.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn print(planned: &Planned, form: DryRun) -> Outcome<()> {
    let text = match form {
        DryRun::Text => in_words(planned),
        DryRun::Json => {
            let sources: Vec<String> = planned.sources.iter().map(|source| shown(&source.path)).collect();
            let file_systems: Vec<_> = planned
                .file_systems
                .iter()
                .map(|served| {
                    serde_json::json!({
                        "destination": lossy(&served.place),
                        "command": served.command.iter().map(|word| lossy(word)).collect::<Vec<_>>(),
                        "host": served.side == Side::Host,
                        "daemon": served.daemon,
                    })
                })
                .collect();
            let whole = serde_json::json!({
                "plan": planned.plan,
                "sources": sources,
                "flow": planned.flow().name(),
                "reason": planned.reason.to_string(),
                "file_systems": file_systems,
            });
            let mut text =
                serde_json::to_string_pretty(&whole).doing(|| "writing the plan as JSON".into())?;
            text.push('\n');
            text
        }
    };
    answer::print(text)
}

fn in_words(planned: &Planned) -> String {
    let plan = &planned.plan;
    let mut text = String::new();
    let mut line = |label: &str, what: String| {
        let _ = writeln!(text, "{label:<12} {what}");
    };
    line("started", way(planned));
    line("root", image(planned, &plan.root));
    for layer in &plan.layers {
        line("overlay", format!("{}, read-only", image(planned, layer)));
    }
    line("writes", writes(planned));
    for mount in &plan.mounts {
        let (place, what) = describe(planned, mount);
        line("mount", format!("{place:<24} {what}"));
    }
    for served in &planned.file_systems {
        let (place, what) = file_system(served);
        line("mount", format!("{place:<24} {what}"));
    }
    for file in &plan.account_files {
        line("mount", format!("{:<24} {}", file.path(), account_file(*file)));
    }
    line("namespaces", namespaces(planned));
    if let Some(hostname) = &plan.hostname {
        line("hostname", hostname.as_str().into());
    }
    text
}

/// The way the container is started, and why.
pub(super) fn way(planned: &Planned) -> String {
    format!("through {}: {}", planned.flow(), planned.reason)
}

/// What a file that init writes has in it, in words.
pub(super) fn account_file(file: AccountFile) -> &'static str {
    match file {
        AccountFile::Passwd | AccountFile::Group => "the image's, with the caller added",
        AccountFile::Hostname => "the container's own name",
        AccountFile::ResolvConf => "the name servers of --dns",
    }
}

/// Where a FUSE file system is, and who serves it, in words.
pub(super) fn file_system(served: &FuseMount) -> (String, String) {
    let side = match served.side {
        Side::Container => "in the container",
        Side::Host => "on the host",
    };
    let what = format!("served by '{}' {side}", lossy(&served.command.join(&b' ')));
    (lossy(&served.place), what)
}

fn lossy(bytes: &[u8]) -> String {
    shown(OsStr::from_bytes(bytes))
}

/// Where writes go, in words.
pub(super) fn writes(planned: &Planned) -> String {
    match &planned.plan.writable {
        Writable::Nothing => "nowhere: the root is read-only".into(),
        Writable::Root => "into the root".into(),
        Writable::Tmpfs => "into memory, gone when the container ends".into(),
        Writable::Overlay(overlay) => format!("into {}", image(planned, overlay)),
    }
}

/// The kinds of namespaces that are the container's own.
pub(super) fn namespaces(planned: &Planned) -> String {
    let namespaces = planned.plan.namespaces;
    let own = [
        (true, "mount"),
        (namespaces.pid, "pid"),
        (namespaces.ipc, "ipc"),
        (namespaces.uts, "uts"),
        (namespaces.net, "net"),
    ];
    let own: Vec<&str> = own.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    own.join(", ")
}

fn path(planned: &Planned, descriptor: Descriptor) -> String {
    planned.sources.get(usize::from(descriptor.0)).map_or_else(String::new, |source| shown(&source.path))
}

/// An image in words.
pub(super) fn image(planned: &Planned, image: &Image) -> String {
    let path = path(planned, image.descriptor);
    let driver = match (planned.flow(), image.content) {
        (Flow::UserNamespace, Content::Squashfs(_)) => ", served by squashfuse",
        (Flow::UserNamespace, Content::Ext3(_)) => ", served by fuse2fs",
        _ => "",
    };
    let part = |kind: &str, window: Window| match window.offset {
        0 => format!("{path} ({kind}{driver})"),
        offset => format!("{path} ({kind} of {} bytes at {offset}{driver})", window.size),
    };
    match image.content {
        Content::Squashfs(window) => part("squashfs", window),
        Content::Ext3(window) => part("ext3", window),
        Content::Directory => format!("{path} (directory)"),
    }
}

/// Whether a FUSE file system is mounted here.
fn serves(planned: &Planned, place: &ContainerPath) -> bool {
    planned.file_systems.iter().any(|served| served.place == place.as_bytes())
}

/// The place of a mount, and what is there.
pub(super) fn describe(planned: &Planned, mount: &Mount) -> (String, String) {
    let bind = |bind: &Bind| {
        let access = if bind.read_only { ", read-only" } else { "" };
        (bind.destination.to_string(), format!("{}{access}", path(planned, bind.descriptor)))
    };
    let fixed = |place: &str, what: &str| (place.to_owned(), what.to_owned());
    match mount {
        Mount::Dev(Dev::Host) => fixed("/dev", "the host's"),
        Mount::Dev(Dev::Minimal { terminals, gpus }) => {
            let terminals = if *terminals { "" } else { " without terminals" };
            let gpus = if *gpus { ", and the host's graphics processors" } else { "" };
            fixed("/dev", &format!("a minimal one{terminals}{gpus}"))
        }
        Mount::Proc if planned.plan.namespaces.pid => fixed("/proc", "a new one"),
        Mount::Proc => fixed("/proc", "the host's"),
        Mount::Sys if planned.flow() == Flow::UserNamespace => fixed("/sys", "the host's"),
        Mount::Sys => fixed("/sys", "a new one"),
        Mount::Tmp => fixed("/tmp", "the host's"),
        Mount::VarTmp => fixed("/var/tmp", "the host's"),
        Mount::ResolvConf => fixed("/etc/resolv.conf", "the host's"),
        Mount::SiteBind(destination) => (destination.to_string(), "by 'bind path' of the site".into()),
        Mount::Home(inner) | Mount::Hostfs(inner) | Mount::User(inner) => bind(inner),
        Mount::Scratch { destination, .. } if serves(planned, destination) => {
            (destination.to_string(), "a mount point".into())
        }
        Mount::Scratch { destination, .. } => (destination.to_string(), "memory".into()),
        Mount::Data { image: data, within, destination, writable } => {
            let part = within.as_ref().map_or_else(String::new, |path| format!("{path} of "));
            let access = if *writable { "" } else { ", read-only" };
            (destination.to_string(), format!("{part}{}{access}", image(planned, data)))
        }
    }
}
