//! `cache list` and `cache clean`.

use super::entries::{Entry, chosen};
use super::{Cache, is_being_made};
use crate::prompt;
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, answer};
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::amount;
use frontend::message::{self, shown};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `cache list`
pub(crate) fn list(invocation: &Invocation, given: &Given, _: &[OsString]) -> Result<(), Stop> {
    let entries = wanted(invocation, given)?;
    let mut text = String::new();
    if given.is_on("verbose") {
        text = format!("{:<24} {:<22} {:<16} TYPE\n", "NAME", "DATE CREATED", "SIZE");
        for entry in &entries {
            let (name, bytes) = (name(entry), amount(entry.bytes));
            text += &format!("{name:<24.22} {:<22} {bytes:<16} {}\n", moment(entry.modified), entry.kind);
        }
        text += "\n";
    }
    let total = |blobs: bool| {
        let counted = entries.iter().filter(|entry| (entry.kind == "blob") == blobs);
        counted.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.bytes))
    };
    let ((images, image_bytes), (blobs, blob_bytes)) = (total(false), total(true));
    text += &format!(
        "There are {images} container file(s) using {} and {blobs} oci blob file(s) using {} of space\n\
         Total space used: {}\n",
        amount(image_bytes),
        amount(blob_bytes),
        amount(image_bytes + blob_bytes)
    );
    Ok(answer::print(text)?)
}

/// `cache clean`
pub(crate) fn clean(invocation: &Invocation, given: &Given, _: &[OsString]) -> Result<(), Stop> {
    let days: u32 = match given.last("days") {
        None => 0,
        Some(text) => text
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::new(format!("--days {} is no number of days", shown(text))))?,
    };
    let mut entries = wanted(invocation, given)?;
    if days > 0 {
        let oldest = SystemTime::now().checked_sub(DAY * days).unwrap_or(SystemTime::UNIX_EPOCH);
        entries.retain(|entry| entry.modified < oldest);
    }
    if given.is_on("dry-run") {
        message::info("User requested a dry run. Not actually deleting any data!");
    } else if !given.is_on("force") && !agreed_to()? {
        message::info("Nothing was removed");
        return Ok(());
    }
    for entry in &entries {
        remove(entry, given.is_on("dry-run"))?;
    }
    Ok(())
}

fn wanted(invocation: &Invocation, given: &Given) -> Outcome<Vec<Entry>> {
    let types: Vec<String> =
        given.all("type").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    Cache::open(invocation, false)?.entries(&chosen(&types)?)
}

fn agreed_to() -> Outcome<bool> {
    prompt::yes(
        "This will delete what is in your cache: images, and layers of images.\n\
         Hint: You can see exactly what would be deleted by canceling and using the --dry-run option.\n\
         Do you want to continue? [N/y] ",
    )
}

/// Whoever has an image open keeps it; what is being fetched at this moment stays.
fn remove(entry: &Entry, only_said: bool) -> Outcome<()> {
    if is_being_made(&entry.path) {
        message::info(format!("{} is being fetched and stays", name(entry)));
        return Ok(());
    }
    message::info(format!("Removing {} cache entry: {}", entry.kind, name(entry)));
    if only_said {
        return Ok(());
    }
    match std::fs::remove_file(&entry.path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.doing(|| format!("removing {}", shown(&entry.path))),
    }
}

fn name(entry: &Entry) -> String {
    shown(entry.path.file_name().unwrap_or_default())
}

fn moment(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
}
