//! `overlay create` for a file that exists: a SIF gets an overlay partition, everything else is refused.

use super::CreateOptions;
use super::ext3::Recipe;
use crate::error::{Doing, Failure, Outcome};
use crate::file::NewFile;
use crate::image::{self, Access, Format, Image, SifImage};
use crate::lock;
use crate::making::Interrupts;
use crate::message::{self, shown};
use crate::sif::{self, Arch, Data, FsType, NewObject, PartitionType};
use nix::fcntl::{FallocateFlags, fallocate};
use protocol::Window;
use std::fs::File;
use std::path::Path;

/// Adds an overlay to what exists under the target's name, if that is a SIF that can take one.
///
/// # Errors
/// It cannot, or there is no room. It is then as it was.
pub(super) fn add_to_existing(recipe: &Recipe<'_>, options: &CreateOptions) -> Outcome<()> {
    // Told apart before it is opened for writing, so that what cannot take an overlay is called that first.
    arch_if_suitable(&image::open(&options.target, Access::ReadOnly)?.format, options)?;
    let Image { path, file, .. } = image::open(&options.target, Access::ReadWrite)?;
    lock::exclusive_whole(&file, &path)?;
    // Under the lock once more: somebody may have been faster.
    let arch = arch_if_suitable(&image::inspect(&file, &path)?, options)?;
    let id = append(recipe, &file, &path, arch)?;
    if !recipe.sparse {
        take_space(&file, &path, id)?;
    }
    Ok(())
}

/// The architecture for an overlay partition in this image.
fn arch_if_suitable(format: &Format, options: &CreateOptions) -> Outcome<Arch> {
    let refusal = match format {
        Format::Sif(sif) => return arch_if_overlay_fits(sif, options),
        Format::Ext3(_) => Failure::new("image is an EXT3 filesystem that can be used as an overlay directly"),
        Format::Sandbox | Format::Squashfs(_) => Failure::new("cannot add an overlay to a non-SIF image"),
        Format::OciSif(_) => Failure::new("adding an overlay to an OCI-SIF image is not supported yet").hint(format!(
            "Make a separate one with `{0} overlay create overlay.img` and use it with `{0} exec --overlay overlay.img`",
            options.program
        )),
    };
    Err(refusal)
}

fn arch_if_overlay_fits(sif: &SifImage, options: &CreateOptions) -> Outcome<Arch> {
    if sif.encrypted() {
        return Err(Failure::new("cannot add overlay to an encrypted image"));
    }
    if sif.signed {
        return Err(Failure::new("cannot add overlay to a signed image"));
    }
    if let Some((id, _)) = sif.ext3_overlays().next() {
        let (program, target) = (&options.program, shown(&options.target));
        message::info(format!(
            "Existing overlay partition can be deleted with: {program} sif del {id} {target}"
        ));
        return Err(Failure::new("writable overlay already exists in image"));
    }
    Ok(if sif.arch == Arch::NONE { Arch::host() } else { sif.arch })
}

/// Makes the file system in a file of its own, beside the SIF so that the copy can share its blocks, and appends it.
fn append(recipe: &Recipe<'_>, sif: &File, path: &Path, arch: Arch) -> Outcome<u32> {
    let interrupts = Interrupts::hold()?;
    let new = NewFile::beside(path, super::IMAGE_MODE)?;
    let window = Window { offset: 0, size: recipe.make_in(new.file(), path, &interrupts)? };
    interrupts.check()?;
    // From here on a signal may end the process at any time: the SIF has the overlay or it has not.
    drop(interrupts);
    let partition =
        NewObject::partition(FsType::Ext3, PartitionType::Overlay, arch, Data::Part(new.file(), window));
    sif::append(sif, path, &partition)
}

/// Has the SIF own the disk space of a new overlay, most of which was copied as holes. That there is as much was known a
/// moment ago.
fn take_space(sif: &File, path: &Path, id: u32) -> Outcome<()> {
    let Format::Sif(image) = image::inspect(sif, path)? else {
        return Ok(());
    };
    let Some(window) = image.table.object(id).map(sif::Descriptor::window) else {
        return Ok(());
    };
    let reserving = || format!("reserving disk space for the new overlay of {}", shown(path));
    let (offset, size) =
        (i64::try_from(window.offset).doing(reserving)?, i64::try_from(window.size).doing(reserving)?);
    if let Err(errno) = fallocate(sif, FallocateFlags::empty(), offset, size) {
        message::warning(format!("The overlay takes disk space only as it is used: {}", errno.desc()));
    }
    Ok(())
}
