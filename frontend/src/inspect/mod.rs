//! What an image says of itself: labels, scripts, environment, help, apps. Nothing is mounted and nothing of the image
//! is run.
//!
//! A SIF has it all in one object since 2020. Of other images the few files that say it are unpacked first.

mod attributes;
mod texts;

pub use attributes::{Attributes, Section};
pub(crate) use texts::Texts;

use crate::build::{Tools, ext3, squashfs};
use crate::confined::helper::Programs;
use crate::error::{Doing, Failure, Outcome};
use crate::image::{self, Access, Ext3, Format, Image, RootContent, SifImage, Squashfs};
use crate::lock;
use crate::making::{Interrupts, Staging};
use crate::message::{self, shown};
use crate::sif::{DataType, Descriptor};
use serde::Deserialize;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The name of the object in a SIF that answers everything.
const OBJECT_NAME: &[u8] = b"inspect-metadata.json";
/// Most bytes of that object, and of a definition file in a SIF.
const OBJECT_BYTES_MAX: u64 = 16 << 20;
/// What is unpacked of a squashfs, as unsquashfs matches names.
const NAMES: [&str; 2] = [".singularity.d", "scif/apps/*/scif"];

/// Reads what an image says of itself.
///
/// # Errors
/// The path leads to no image, to one whose files cannot be read without a mount, or a helper program failed.
pub fn read(path: &Path, programs: &Programs) -> Outcome<Attributes> {
    let image = image::open(path, Access::ReadOnly)?;
    match &image.format {
        Format::Sandbox => of_directory(&image.path),
        Format::Squashfs(squashfs) => of_squashfs(&image, *squashfs, programs),
        Format::Ext3(ext3) => of_ext3(&image, *ext3, programs),
        Format::Sif(sif) => of_sif(&image, sif, programs),
        Format::OciSif(_) => {
            Err(Failure::new(format!("{} is an OCI-SIF, and these are not inspected yet", shown(path))).hint(
                "'sif list' shows the documents in it, and 'sif dump' prints one: labels, environment and command \
                 are in the configuration of the OCI image",
            ))
        }
    }
}

fn of_directory(root: &Path) -> Outcome<Attributes> {
    Ok(Attributes::of(&Texts::below(root)?))
}

fn of_squashfs(image: &Image, squashfs: Squashfs, programs: &Programs) -> Outcome<Attributes> {
    unpacked(programs, |staging, root, tools| {
        squashfs::unpack(&image.file, squashfs.window, staging, root, &NAMES, tools)
    })
}

fn of_ext3(image: &Image, ext3: Ext3, programs: &Programs) -> Outcome<Attributes> {
    lock::take(&image.file, &image.path, ext3.window, Access::ReadOnly)?;
    unpacked(programs, |_, root, tools| {
        ext3::unpack(&image.file, ext3, root, &["/.singularity.d", "/scif"], tools)
    })
}

/// Reads files that `unpack` puts into a temporary directory.
fn unpacked(
    programs: &Programs,
    unpack: impl FnOnce(&Path, &Path, Tools<'_>) -> Outcome<()>,
) -> Outcome<Attributes> {
    let interrupts = Interrupts::hold()?;
    let staging = Staging::in_temporary_directory()?;
    let root = staging.path().join("root");
    unpack(staging.path(), &root, Tools { programs, interrupts: &interrupts })?;
    of_directory(&root)
}

fn of_sif(image: &Image, sif: &SifImage, programs: &Programs) -> Outcome<Attributes> {
    let objects = &sif.table.descriptors;
    let is_answer = |object: &&Descriptor| object.data_type == DataType::Json && object.name == OBJECT_NAME;
    if let Some(object) = objects.iter().find(is_answer) {
        match serde_json::from_slice::<Answer>(&bytes(image, object)?) {
            Ok(answer) => return Ok(answer.data.attributes),
            Err(error) => message::warning(format!(
                "Unable to read object {} of {}: {}; its root file system is asked instead",
                object.id,
                shown(&image.path),
                shown(error.to_string())
            )),
        }
    }
    let mut attributes = match sif.primary.map(|primary| primary.content) {
        Some(RootContent::Squashfs(squashfs)) => of_squashfs(image, squashfs, programs)?,
        Some(RootContent::Ext3(ext3)) => of_ext3(image, ext3, programs)?,
        Some(_) => {
            return Err(Failure::new(format!(
                "the root file system of {} is encrypted or of an unknown kind",
                shown(&image.path)
            )));
        }
        None => return Err(Failure::new(format!("{} has no root file system", shown(&image.path)))),
    };
    if let Some(object) = objects.iter().find(|object| object.data_type == DataType::Definition) {
        attributes.deffile = String::from_utf8_lossy(&bytes(image, object)?).trim_end().to_owned();
    }
    Ok(attributes)
}

/// The object of a SIF that answers everything.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    attributes: Attributes,
}

fn bytes(image: &Image, object: &Descriptor) -> Outcome<Vec<u8>> {
    let reading = || format!("reading object {} of {}", object.id, shown(&image.path));
    if object.size > OBJECT_BYTES_MAX {
        return Err(Failure::new(format!("while {}: it is longer than {OBJECT_BYTES_MAX} bytes", reading())));
    }
    let mut bytes = vec![0; usize::try_from(object.size).unwrap_or(0)];
    image.file.read_exact_at(&mut bytes, object.offset).doing(reading)?;
    Ok(bytes)
}
