//! `overlay create` for a file that exists: a SIF gets an overlay partition, an OCI-SIF a layer that can be written to;
//! everything else is refused.

use super::CreateOptions;
use super::ext3::Recipe;
use crate::error::{Doing, Failure, Outcome};
use crate::file::NewFile;
use crate::image::{self, Access, Format, Image, SifImage};
use crate::lock;
use crate::making::Interrupts;
use crate::message::{self, shown};
use crate::oci_sif::{self, LayerType, NewLayer, OciSif};
use crate::sif::{self, Arch, Data, Digest, FsType, NewObject, PartitionType};
use nix::fcntl::{FallocateFlags, fallocate};
use protocol::Window;
use std::fs::File;
use std::path::Path;

/// Slots that an OCI-SIF gets when it has none left: as many as the incumbents leave in a new one.
const SLOTS_MORE: u32 = 8;

/// Adds an overlay to what exists under the target's name, if that is a SIF that can take one.
///
/// # Errors
/// It cannot, or there is no room. It is then as it was.
pub(super) fn add_to_existing(recipe: &Recipe<'_>, options: &CreateOptions) -> Outcome<()> {
    // Told apart before it is opened for writing, so that what cannot take an overlay is called that first.
    Host::of(image::open(&options.target, Access::ReadOnly)?.format, options)?;
    let Image { path, mut file, .. } = image::open(&options.target, Access::ReadWrite)?;
    lock::exclusive_whole(&file, &path)?;
    // Under the lock once more: somebody may have been faster.
    let mut host = Host::of(image::inspect(&file, &path)?, options)?;
    if host.is_full() {
        file = sif::grow(&file, &path, SLOTS_MORE)?;
        host = Host::of(image::inspect(&file, &path)?, options)?;
    }
    add(recipe, &file, &path, &host)?;
    if !recipe.sparse {
        take_space(&file, &path)?;
    }
    say_how_to_write(&host, options);
    Ok(())
}

/// A container that only names the image reads the overlay, and whoever made it wants to write.
fn say_how_to_write(host: &Host, options: &CreateOptions) {
    let flags = match host {
        Host::Sif(_) => "--writable",
        Host::OciSif(_) => "--oci --writable",
    };
    let (program, target) = (&options.program, shown(&options.target));
    message::info(format!("'{program} exec {flags} {target}' writes to the overlay"));
}

/// What can take an overlay.
enum Host {
    /// A native SIF, and the architecture for the partition.
    Sif(Arch),
    OciSif(Box<OciSif>),
}

impl Host {
    /// Whether an OCI-SIF has no slot left, as after many overlays that were sealed one on top of the other.
    fn is_full(&self) -> bool {
        matches!(self, Self::OciSif(oci) if oci.table.unused_slots() == 0)
    }

    fn of(format: Format, options: &CreateOptions) -> Outcome<Self> {
        let refusal = match format {
            Format::Sif(sif) => return Ok(Self::Sif(arch_if_overlay_fits(&sif, options)?)),
            Format::OciSif(oci) => {
                check_oci_sif(&oci, options)?;
                return Ok(Self::OciSif(oci));
            }
            Format::Ext3(_) => "image is an EXT3 filesystem that can be used as an overlay directly",
            Format::Sandbox | Format::Squashfs(_) => "cannot add an overlay to a non-SIF image",
        };
        Err(Failure::new(refusal))
    }
}

fn check_oci_sif(oci: &OciSif, options: &CreateOptions) -> Outcome<()> {
    if oci.table.signed() {
        return Err(Failure::new("cannot add overlay to a signed image"));
    }
    if !oci.is_image {
        return Err(Failure::new("cannot add overlay to a data container"));
    }
    if oci.overlay().is_some() {
        return Err(Failure::new("writable overlay already exists in image").hint(format!(
            "'{} overlay seal {}' makes it a read-only layer, on which another one can be put.",
            options.program,
            shown(&options.target)
        )));
    }
    Ok(())
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

/// Makes the file system in a file of its own, beside the SIF so that the copy can share its blocks, and adds it.
fn add(recipe: &Recipe<'_>, sif: &File, path: &Path, host: &Host) -> Outcome<()> {
    let interrupts = Interrupts::hold()?;
    let new = NewFile::beside(path, super::IMAGE_MODE)?;
    let window = Window { offset: 0, size: recipe.make_in(new.file(), path, &interrupts)? };
    interrupts.check()?;
    // From here on a signal may end the process at any time: the SIF has the overlay or it has not.
    drop(interrupts);
    let data = Data::Part(new.file(), window);
    match host {
        Host::Sif(arch) => {
            let partition = NewObject::partition(FsType::Ext3, PartitionType::Overlay, *arch, data);
            sif::append(sif, path, &partition).map(drop)
        }
        Host::OciSif(image) => {
            let digest = Digest::of_part(new.file(), window, || "reading the new overlay".into())?;
            let layer = NewLayer { layer_type: LayerType::Ext3, digest, data };
            oci_sif::change(sif, path, image, oci_sif::Change::Add(layer))
        }
    }
}

/// Has the SIF own the disk space of its new overlay, most of which was copied as holes. That there is as much was known a
/// moment ago.
fn take_space(sif: &File, path: &Path) -> Outcome<()> {
    let Some(window) = overlay_of(&image::inspect(sif, path)?) else {
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

/// Where the overlay is that was added: there was none before.
fn overlay_of(format: &Format) -> Option<Window> {
    match format {
        Format::Sif(sif) => sif.ext3_overlays().next().map(|(_, ext3)| ext3.window),
        Format::OciSif(oci) => oci.overlay().map(|(overlay, _)| overlay.window),
        _ => None,
    }
}
