//! The first files of a stage.

use super::tree::Tree;
use crate::build::definition::Bootstrap;
use crate::build::origin::Origin;
use crate::build::skeleton::{self, Skeleton};
use crate::build::source::Source;
use crate::build::{Tools, sandbox};
use crate::confined::helper::{DEBOOTSTRAP, STANDARD_PATH};
use crate::error::{Doing, Failure, Outcome};
use crate::flow::{host, namespace};
use crate::message::{self, shown};
use crate::sif::Arch;
use crate::sys::child;
use crate::user;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Directories that containers are mounted on.
const MOUNT_POINTS: [&str; 9] =
    ["/dev", "/proc", "/sys", "/root", "/home", "/tmp", "/var/tmp", "/etc", "/usr"];
/// Directories that everybody may write to, and only the owner of a file may remove it.
const SHARED: [&str; 2] = ["/tmp", "/var/tmp"];
const SHARED_MODE: u32 = 0o1777;
/// Files that are mounted on.
const MOUNTED_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// Makes `root` with what the stage begins with. `fetched` is the image that a reference names; `room` is a private
/// directory that `root` is in.
///
/// # Errors
/// There is no such image, or a program failed.
pub(super) fn make(
    bootstrap: &Bootstrap,
    fetched: Option<&Path>,
    room: &Path,
    root: &Path,
    tools: Tools<'_>,
) -> Outcome<()> {
    match (bootstrap, fetched) {
        (Bootstrap::Local(path), _) => image(Path::new(path), room, root, tools)?,
        (Bootstrap::Reference(_), Some(path)) => image(path, room, root, tools)?,
        (Bootstrap::Reference(reference), None) => {
            return Err(Failure::new(format!("{} was not fetched", shown(reference))));
        }
        (Bootstrap::Scratch, _) => skeleton::make_directory(root).doing(|| "making an empty image".into())?,
        (Bootstrap::Debootstrap { release, mirror, include }, _) => {
            debootstrap(release, mirror.as_deref(), include, root, tools)?;
        }
    }
    complete(root)
}

fn image(path: &Path, room: &Path, root: &Path, tools: Tools<'_>) -> Outcome<()> {
    let source = Source::open(path, None)?;
    message::verbose(format!("Unpacking {}", shown(path)));
    sandbox::unpack(&source, room, root, tools)
}

/// Adds what the build and containers need.
fn complete(root: &Path) -> Outcome<()> {
    let adding = || "adding what containers are mounted on".to_string();
    let mode = root.metadata().doing(adding)?.permissions().mode();
    fs::set_permissions(root, Permissions::from_mode(mode | 0o700)).doing(adding)?;
    let tree = Tree::below(root)?;
    for path in MOUNT_POINTS {
        let is_missing = tree.find(Path::new(path)).is_none();
        let place = tree.directory(Path::new(path)).doing(adding)?;
        if is_missing && SHARED.contains(&path) {
            fs::set_permissions(place, Permissions::from_mode(SHARED_MODE)).doing(adding)?;
        }
    }
    MOUNTED_FILES.iter().try_for_each(|path| tree.make_sure_of(path))?;
    Skeleton::missing_in(root).write_into(root, &Origin::new("scratch", ""), Arch::host())
}

/// Has `debootstrap` make the smallest system of a release.
fn debootstrap(
    release: &str,
    mirror: Option<&str>,
    include: &[String],
    root: &Path,
    tools: Tools<'_>,
) -> Outcome<()> {
    let program = tools.programs.find(DEBOOTSTRAP)?;
    if !user::may_give_files_away() {
        return Err(Failure::new(
            "'Bootstrap: debootstrap' needs the ids of many users, and here is only one",
        )
        .hint("Build as root, or have the administrator lend you ids with 'config fakeroot --add'"));
    }
    let packages: Vec<&str> = ["apt"].into_iter().chain(include.iter().map(String::as_str)).collect();
    let mut command = Command::new(&program);
    command
        .args(["--variant=minbase", "--exclude=openssl,udev,debconf-i18n,e2fsprogs"])
        .arg(format!("--include={}", packages.join(",")))
        .arg(release)
        .arg(root)
        .args(mirror)
        .env("PATH", STANDARD_PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if host::in_user_namespace() {
        // Its word for a place where device files cannot be made.
        command.env("container", "lxc");
    }
    // What it mounts goes with it, whatever ends it.
    child::before_exec(&mut command, || Ok(namespace::unshare_mounts()?));
    message::info(format!("Running {} for {}", shown(&program), shown(release)));
    super::scripts::run("debootstrap", command, tools)
}
