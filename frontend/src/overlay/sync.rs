//! `overlay sync`: the digest that an OCI-SIF records for its overlay, brought up to date.

use crate::error::{Failure, Outcome};
use crate::image::{Access, Ext3};
use crate::lock;
use crate::message::{self, shown};
use crate::oci_sif::{self, Change, Layer, OciSif, OciSifFile};
use crate::sif::Digest;
use std::path::Path;

/// Carries out `overlay sync`. `program` is what this program was called by, for hints.
///
/// # Errors
/// The file is no OCI-SIF with an overlay, somebody uses it, or it cannot be written. It then is as it was.
pub fn sync(target: &Path, program: &str) -> Outcome<()> {
    // Told apart before it is opened for writing.
    overlay(&oci_sif::open(target, Access::ReadOnly)?.image, target, program)?;
    let opened = oci_sif::open(target, Access::ReadWrite)?;
    lock::exclusive_whole(&opened.file, &opened.path)?;
    // Under the lock once more: somebody may have changed it meanwhile.
    let opened = opened.again()?;
    if bring_up_to_date(&opened, program)? {
        message::verbose(format!("The digest of the overlay in {} is up to date", shown(target)));
    } else {
        message::info("OCI digest matches overlay, no update required.");
    }
    Ok(())
}

/// Records the digest of the overlay in a file that is open for reading and writing and locked as a whole, and tells
/// whether another one was recorded before.
///
/// # Errors
/// There is no overlay, or the file cannot be written. It then is as it was.
pub fn bring_up_to_date(opened: &OciSifFile, program: &str) -> Outcome<bool> {
    let OciSifFile { path, file, image } = opened;
    let (layer, ext3) = overlay(image, path, program)?;
    if ext3.needs_recovery {
        message::warning(format!(
            "The journal of the overlay in {} holds changes that were not carried out; the digest is that of the \
             overlay as it is",
            shown(path)
        ));
    }
    let digest = Digest::of_part(file, layer.window, || format!("reading the overlay in {}", shown(path)))?;
    if digest == layer.digest {
        return Ok(false);
    }
    oci_sif::change(file, path, image, Change::Record(digest))?;
    Ok(true)
}

/// The overlay of an image.
fn overlay<'a>(image: &'a OciSif, path: &Path, program: &str) -> Outcome<(&'a Layer, Ext3)> {
    image.overlay().ok_or_else(|| {
        Failure::new("image does not contain a writable overlay")
            .hint(format!("'{program} overlay create {}' adds one", shown(path)))
    })
}
