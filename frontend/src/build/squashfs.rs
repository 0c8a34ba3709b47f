//! Packing and unpacking squashfs file systems with squashfs-tools.

use super::Tools;
use crate::confined::helper::{Ended, Helper, MKSQUASHFS, SUBJECT, UNSQUASHFS};
use crate::error::{Failure, Outcome};
use crate::image::{self, Format};
use crate::making::Progress;
use crate::message;
use nix::unistd::Uid;
use protocol::Window;
use std::fs::File;
use std::path::Path;

/// How new images are compressed: every kernel and every tool that reads squashfs knows gzip, and level 6 packs several
/// times as fast as the default 9 for one percent more bytes. Measured in the README of this crate.
const COMPRESSION: [&str; 4] = ["-comp", "gzip", "-Xcompression-level", "6"];
/// Most complaints of a helper that are repeated to the user.
const COMPLAINTS_MAX: usize = 8;
/// The exit status of unsquashfs since 4.5 when it did everything but, say, making device files.
const UNSQUASHFS_INCOMPLETE: i32 = 2;

/// Packs a directory into `image`, which is empty. Everything belongs to root unless root itself is packing.
///
/// # Errors
/// `mksquashfs` is missing or failed; `target` is for messages.
pub(super) fn pack(directory: &Path, image: &File, target: &Path, tools: Tools) -> Outcome<()> {
    let [comp, gzip, level, six] = COMPRESSION;
    mksquashfs(directory, image, tools, &["-noappend", comp, gzip, level, six])?;
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
    mksquashfs(directory, image, tools, &["-no-recovery"])
}

fn mksquashfs(directory: &Path, image: &File, tools: Tools, options: &[&str]) -> Outcome<()> {
    let Tools { programs, interrupts } = tools;
    let mut helper = Helper::new(programs, MKSQUASHFS)?
        .args([directory.as_os_str(), SUBJECT.as_ref()])
        .args(options)
        .args(["-no-progress"])
        .reads(directory)
        .changes_file(image);
    if !Uid::effective().is_root() {
        helper = helper.args(["-all-root"]);
    }
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
    repeat(&ended, MKSQUASHFS.name);
    Ok(())
}

/// Unpacks the squashfs in a part of `image` to `directory`, which must not exist: all of it, or what is at and below
/// some names. `room` is the directory that `directory` is made in.
///
/// # Errors
/// `unsquashfs` is missing or failed.
pub(super) fn unpack(
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
    if !Uid::effective().is_root() {
        helper = helper.args(["-user-xattrs"]);
    }
    let progress = Progress::of("Unpacking");
    let ended = helper.args([SUBJECT]).args(names).run(tools.interrupts, || progress.reached(0))?;
    drop(progress);
    repeat(&ended, UNSQUASHFS.name);
    Ok(())
}

/// Repeats what a helper complained of although it succeeded.
fn repeat(ended: &Ended, name: &str) {
    let complaints = ended.complaints();
    for complaint in complaints.iter().take(COMPLAINTS_MAX) {
        message::warning(format!("{name}: {complaint}"));
    }
    if complaints.len() > COMPLAINTS_MAX {
        message::warning(format!("{name}: {} more of these", complaints.len() - COMPLAINTS_MAX));
    }
}
