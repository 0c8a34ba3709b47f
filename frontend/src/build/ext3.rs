//! Reading the files of an ext3 image without mounting it.

use super::Tools;
use crate::confined::helper::{DEBUGFS, Helper, SUBJECT};
use crate::error::{Doing, Failure, Outcome};
use crate::image::Ext3;
use crate::making::Progress;
use crate::message;
use crate::user;
use std::fs::File;
use std::path::Path;

/// Copies everything in the ext3 image to `directory`, and says what does not come along.
///
/// # Errors
/// As [`unpack`].
pub(super) fn unpack_all(image: &File, ext3: Ext3, directory: &Path, tools: Tools) -> Outcome<()> {
    message::warning(
        "From an ext3 image, hard links become copies, and device files, named pipes and extended attributes are left out",
    );
    unpack(image, ext3, directory, &["/"], tools)
}

/// Copies what is at and below some names in the ext3 image to `directory`, which is made; `/` is everything, and what
/// is not there is passed over. Nobody but root may give files away, so without
/// root they are the caller's.
///
/// # Errors
/// `debugfs` is missing or failed.
pub(crate) fn unpack(
    image: &File,
    ext3: Ext3,
    directory: &Path,
    names: &[&str],
    tools: Tools,
) -> Outcome<()> {
    std::fs::create_dir(directory).doing(|| "creating a directory for the files of the image".into())?;
    // Its own directory as the destination: debugfs splits its commands at blanks.
    let command = format!("rdump {} .", names.join(" "));
    let subject = format!("{SUBJECT}?offset={}", ext3.window.offset);
    let progress = Progress::of("Copying");
    let ended = Helper::new(tools.programs, DEBUGFS)?
        .args(["-R", &command, &subject])
        .reads_file(image)
        .changes(directory)
        .working_in(directory)
        .run(tools.interrupts, || progress.reached(0))?;
    drop(progress);
    let root = user::may_give_files_away();
    let expected = |complaint: &String| {
        complaint.starts_with("debugfs 1.")
            || complaint.contains("File not found by ext2_lookup")
            || (!root && complaint.contains("while changing ownership"))
    };
    if let Some(complaint) = ended.complaints().into_iter().find(|complaint| !expected(complaint)) {
        return Err(Failure::new(format!("debugfs failed: {complaint}")));
    }
    // What mkfs made, not what is in the container. It is kept if something was found for it.
    let _ = std::fs::remove_dir(directory.join("lost+found"));
    Ok(())
}
