//! Packing and unpacking squashfs file systems with squashfs-tools.

use super::Tools;
use crate::confined::helper::{Helper, HelperOutput, MKSQUASHFS, SQFS2TAR, SUBJECT, UNSQUASHFS};
use crate::error::{Failure, Outcome};
use crate::image::{self, Format};
use crate::making::{Progress, Staging};
use crate::message;
use crate::user;
use protocol::Window;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How new images are compressed: every kernel and every tool that reads squashfs knows gzip, and level 6 packs several
/// times as fast as the default 9 for one percent more bytes. Measured in the README of this crate.
const COMPRESSION: [&str; 4] = ["-comp", "gzip", "-Xcompression-level", "6"];
/// Equal archives become equal images.
const NO_TIME: [&str; 2] = ["-mkfs-time", "0"];
/// Most complaints of a helper that are repeated to the user.
const COMPLAINTS_MAX: usize = 8;
/// The exit status of unsquashfs since 4.5 when it did everything but, say, making device files.
const UNSQUASHFS_INCOMPLETE: i32 = 2;

/// Packs a directory into `image`, which is empty. Everything belongs to root unless root itself is packing.
///
/// # Errors
/// `mksquashfs` is missing or failed; `target` is for messages.
pub(super) fn pack(directory: &Path, image: &File, target: &Path, tools: Tools) -> Outcome<()> {
    let options = [COMPRESSION.as_slice(), &["-noappend"], owner_options()].concat();
    mksquashfs(helper(tools, directory.as_os_str())?.args(options).reads(directory), image, tools)?;
    check(image, target)
}

/// Packs what comes as a tar archive through a pipe into `image`, which is empty. Everything belongs to whom the archive
/// says; the root of the squashfs to nobody in particular until [`describe_root`].
///
/// # Errors
/// As [`pack`].
pub fn pack_archive(archive: OwnedFd, image: &File, target: &Path, tools: Tools) -> Outcome<()> {
    let options = [COMPRESSION.as_slice(), &NO_TIME, &["-noappend", "-tar"]].concat();
    mksquashfs(helper(tools, "-".as_ref())?.args(options).fed_by(archive), image, tools)?;
    check(image, target)
}

/// Gives the root of the squashfs in `image` an owner, permissions and a time. `mksquashfs -tar` of 4.5 knows no way.
///
/// # Errors
/// As [`pack`].
pub fn describe_root(
    image: &File,
    (uid, gid, permissions): (u32, u32, u32),
    modified: u32,
    tools: Tools,
) -> Outcome<()> {
    let nothing = Staging::in_temporary_directory()?;
    let fields = [
        ("-root-uid", uid.to_string()),
        ("-root-gid", gid.to_string()),
        ("-root-mode", format!("{permissions:04o}")),
        ("-root-time", modified.to_string()),
    ];
    let options = fields.iter().flat_map(|(option, value)| [*option, value.as_str()]);
    let helper =
        helper(tools, nothing.path().as_os_str())?.args(["-no-recovery"]).args(NO_TIME).args(options);
    mksquashfs(helper.reads(nothing.path()), image, tools)
}

/// What is in the squashfs in `image` as a tar archive, the root directory included. What no archive can hold is an error.
///
/// # Errors
/// `sqfs2tar` is missing or cannot be started.
pub fn as_archive(image: &File, tools: Tools) -> Outcome<HelperOutput> {
    let helper = Helper::new(tools.programs, SQFS2TAR)?;
    helper.args(["--root-becomes", ".", "--no-skip", SUBJECT]).reads_file(image).output()
}

fn check(image: &File, target: &Path) -> Outcome<()> {
    match image::inspect(image, target)? {
        Format::Squashfs(_) => Ok(()),
        _ => Err(Failure::new("mksquashfs made something that is not a squashfs")),
    }
}

/// Adds what is in a directory to the root of the squashfs in `image`. None of it may have a name that is there already.
/// The root takes the owner and permissions of `directory`.
///
/// # Errors
/// As [`pack`].
pub(super) fn add(directory: &Path, image: &File, tools: Tools) -> Outcome<()> {
    let options = [&["-no-recovery"], owner_options()].concat();
    mksquashfs(helper(tools, directory.as_os_str())?.args(options).reads(directory), image, tools)
}

/// Files of who can have none of others belong to root in what he packs.
fn owner_options() -> &'static [&'static str] {
    if user::may_give_files_away() { &[] } else { &["-all-root"] }
}

fn helper<'a>(tools: Tools<'_>, source: &OsStr) -> Outcome<Helper<'a>> {
    let helper = Helper::new(tools.programs, MKSQUASHFS)?;
    Ok(helper.args([source, SUBJECT.as_ref()]).args(["-no-progress"]))
}

fn mksquashfs<'a>(helper: Helper<'a>, image: &'a File, tools: Tools<'_>) -> Outcome<()> {
    let Tools { programs, interrupts } = tools;
    let mut helper = helper.changes_file(image);
    if programs.mksquashfs_threads > 0 {
        helper = helper.args(["-processors".into(), programs.mksquashfs_threads.to_string()]);
    }
    if let Some(memory) = &programs.mksquashfs_memory {
        helper = helper.args(["-mem", memory]);
    }
    let progress = Progress::of("Packing");
    let ended =
        helper.run(interrupts, || progress.reached(image.metadata().map_or(0, |image| image.len())))?;
    drop(progress);
    // It packs an unreadable file as an empty one and succeeds: that much the user must know.
    repeat(ended.complaints(), MKSQUASHFS.name);
    Ok(())
}

/// Unpacks the squashfs in a part of `image` to `directory`, which must not exist: all of it, or what is at and below
/// some names. `room` is the directory that `directory` is made in.
///
/// # Errors
/// `unsquashfs` is missing or failed.
pub(crate) fn unpack(
    image: &File,
    part: Window,
    room: &Path,
    directory: &Path,
    names: &[&str],
    tools: Tools,
) -> Outcome<()> {
    let mut helper = Helper::new(tools.programs, UNSQUASHFS)?
        .args(["-no-progress", "-offset", &part.offset.to_string(), "-dest"])
        .args([directory.as_os_str()])
        .reads_file(image)
        .changes(room)
        .tolerating(UNSQUASHFS_INCOMPLETE);
    if !user::may_give_files_away() {
        helper = helper.args(["-user-xattrs"]);
    }
    let progress = Progress::of("Unpacking");
    let ended = helper.args([SUBJECT]).args(names).run(tools.interrupts, || progress.reached(0))?;
    drop(progress);
    let expected = |complaint: &String| {
        !user::may_give_files_away() && complaint.contains("failed to change uid and gids")
    };
    repeat(
        ended.complaints().into_iter().filter(|complaint| !expected(complaint)).collect(),
        UNSQUASHFS.name,
    );
    Ok(())
}

/// Repeats what a helper complained of although it succeeded.
fn repeat(complaints: Vec<String>, name: &str) {
    for complaint in complaints.iter().take(COMPLAINTS_MAX) {
        message::warning(format!("{name}: {complaint}"));
    }
    if complaints.len() > COMPLAINTS_MAX {
        message::warning(format!("{name}: {} more of these", complaints.len() - COMPLAINTS_MAX));
    }
}
