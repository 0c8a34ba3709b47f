//! `overlay seal`: an ext3 overlay becomes a read-only squashfs, in its place.
//!
//! Nothing is mounted, so an ordinary user's layer keeps every owner, device and attribute. A confined child reads the
//! ext3 and writes a tar archive into a pipe; mksquashfs, confined too, packs it. The image changes in one step when the
//! squashfs is complete.

mod archive;
mod journal;
mod marks;
mod upper;

use crate::build::{Tools, squashfs};
use crate::confined::helper::Programs;
use crate::confined::reader;
use crate::error::{Doing, Failure, Outcome};
use crate::ext3::FileSystem;
use crate::file::{Existing, NewFile};
use crate::image::{self, Access, Ext3, Format, Image, SifImage};
use crate::lock;
use crate::making::Interrupts;
use crate::message::{self, shown};
use crate::oci_sif::{self, Change, LayerType, NewLayer, OciSif};
use crate::sif::{self, Data, Digest, Edit, Extra, FsType, NewObject, PartitionType, Room};
use marks::Unfit;
use protocol::Window;
use std::ffi::OsStr;
use std::fs::File;
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use upper::{Left, Top, Unsealed};

/// Bytes written into the pipe at once.
const PIPE_BYTES: usize = 64 << 10;

/// What `overlay seal` was asked for.
#[derive(Clone, Debug)]
pub struct SealOptions {
    /// The name this program was called by, for the commands that hints name.
    pub program: String,
    /// The image whose overlay is sealed: an OCI-SIF, a SIF, or an ext3 that is an overlay itself.
    pub target: PathBuf,
    /// Where helper programs come from.
    pub programs: Programs,
}

/// Carries out `overlay seal`.
///
/// # Errors
/// There is no overlay, somebody uses it, it is damaged or cannot stand for itself, or there is no room. The image is
/// then as it was.
pub fn seal(options: &SealOptions) -> Outcome<()> {
    // Told apart before it is opened for writing, so that what has no overlay is called that first.
    overlay_of(&image::open(&options.target, Access::ReadOnly)?.format, options)?;
    let Image { path, file, .. } = image::open(&options.target, Access::ReadWrite)?;
    lock_for_change(&file, &path)?;
    // Under the lock once more: somebody may have changed it meanwhile.
    let format = image::inspect(&file, &path)?;
    let ext3 = overlay_of(&format, options)?;
    ext3.require_sound(&path)?;
    let interrupts = Interrupts::hold()?;
    let sealed = NewFile::beside(&path, super::IMAGE_MODE)?;
    let tools = Tools { programs: &options.programs, interrupts: &interrupts };
    if ext3.needs_recovery {
        let replayed = journal::replayed(&file, ext3.window, &path, tools)?;
        let whole = Window { offset: 0, ..ext3.window };
        image::inspect_ext3(replayed.file(), &path, whole)?.require_sound(&path)?;
        pack(replayed.file(), whole, sealed.file(), &path, tools)?;
    } else {
        pack(&file, ext3.window, sealed.file(), &path, tools)?;
    }
    interrupts.check()?;
    put_in_place(sealed, &file, &path, &format)?;
    drop(interrupts);
    message::verbose(format!("The overlay in {} is sealed", shown(&path)));
    Ok(())
}

/// Keeps everybody from a file that is changed in place.
fn lock_for_change(file: &File, path: &Path) -> Outcome<()> {
    if sif::starts_as_sif(file) { lock::exclusive_whole(file, path) } else { lock::shared_whole(file, path) }
}

/// The overlay that is to be sealed.
fn overlay_of(format: &Format, options: &SealOptions) -> Outcome<Ext3> {
    let ext3 = match format {
        Format::Ext3(ext3) => Some(*ext3),
        Format::OciSif(oci) => oci.overlay().map(|(_, ext3)| ext3),
        Format::Sif(sif) => ext3_partition(sif)?.map(|(_, ext3)| ext3),
        Format::Sandbox | Format::Squashfs(_) => None,
    };
    let target = shown(&options.target);
    ext3.ok_or_else(|| {
        Failure::new("image does not contain a writable overlay").hint(match format {
            Format::Sandbox => {
                format!(
                    "a directory's changes are in its 'upper': 'mksquashfs {target}/upper FILE' packs them"
                )
            }
            Format::Squashfs(_) => "a squashfs is read-only already".into(),
            _ => format!("'{} overlay create {target}' adds one", options.program),
        })
    })
}

fn ext3_partition(sif: &SifImage) -> Outcome<Option<(u32, Ext3)>> {
    let mut overlays = sif.ext3_overlays();
    let first = overlays.next();
    match overlays.next() {
        Some(_) => Err(Failure::new(
            "image contains more than one writable overlay, and it is not clear which to seal",
        )),
        None => Ok(first),
    }
}

/// Packs `upper` of the ext3 in a part of `image` into the empty file `sealed`. `path` is for messages.
fn pack(image: &File, part: Window, sealed: &File, path: &Path, tools: Tools<'_>) -> Outcome<()> {
    let sealing = || format!("while sealing the overlay in {}", shown(path));
    let refused = |unsealed: Unsealed| describe(&unsealed).context(sealing());
    let unanswered = |why: reader::Unanswered| Failure::new(why.to_string()).context(sealing());
    let length = part.offset.saturating_add(part.size);
    let top = reader::read(image, length, |bytes| upper::top(&FileSystem::open(bytes, part)?));
    let top: Top = top.map_err(unanswered)?.map_err(refused)?;
    let (archive, pipe) = reader::stream(image, length, |bytes, out| {
        upper::archive(&FileSystem::open(bytes, part)?, BufWriter::with_capacity(PIPE_BYTES, out))
    })
    .map_err(unanswered)?;
    let packed = squashfs::pack_archive(pipe, sealed, path, tools);
    // Whoever packs a broken archive only knows that it is broken.
    let left: Result<Left, Unsealed> = match (&packed, archive.answer()) {
        (_, Ok(answer)) => answer,
        (Ok(()), Err(why)) => return Err(unanswered(why)),
        (Err(_), Err(_)) => Err(Unsealed::NotTaken(0)),
    };
    match (left, packed) {
        (Err(Unsealed::NotTaken(_)), Err(failure)) | (Ok(_), Err(failure)) => {
            return Err(failure.context(sealing()));
        }
        (Err(unsealed), _) => return Err(refused(unsealed)),
        (Ok(left), Ok(())) => tell_what_is_left(left),
    }
    let modified = u32::try_from(top.modified.max(0)).unwrap_or(u32::MAX);
    squashfs::describe_root(sealed, (top.uid, top.gid, top.permissions), modified, tools)
}

fn tell_what_is_left(left: Left) {
    let several =
        |number: u64, one: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") };
    if left.attributes > 0 {
        message::warning(format!(
            "{} cannot be kept in a squashfs: only user.* and security.capability can",
            several(left.attributes, "extended attribute")
        ));
    }
    if left.sockets > 0 {
        message::warning(format!("{} left out", several(left.sockets, "socket")));
    }
}

fn describe(unsealed: &Unsealed) -> Failure {
    match unsealed {
        Unsealed::Defect(defect) => {
            Failure::new(defect.to_string()).hint("'e2fsck -f' checks and repairs the file system")
        }
        Unsealed::NoUpper => {
            Failure::new("it has no directory 'upper', so nothing was ever written through it")
        }
        Unsealed::NotTaken(number) => Failure::new(format!(
            "the files could not be handed to mksquashfs: {}",
            std::io::Error::from_raw_os_error(*number)
        )),
        Unsealed::Unfit(path, unfit) => {
            let path = shown(OsStr::from_bytes(path));
            let why = match unfit {
                Unfit::Redirected => "is a renamed directory of a layer below",
                Unfit::WithoutContent => "has its content in a layer below",
                Unfit::Owner => "has an owner recorded in a way that is not known",
                Unfit::Path => "has a path longer than can be used",
            };
            let failure = Failure::new(format!("{path} {why}"));
            match unfit {
                Unfit::Redirected | Unfit::WithoutContent => {
                    failure.hint("Copy it to another name in a container and remove the old one.")
                }
                Unfit::Owner | Unfit::Path => failure,
            }
        }
    }
}

/// Has the squashfs take the place of the overlay.
fn put_in_place(sealed: NewFile, file: &File, path: &Path, format: &Format) -> Outcome<()> {
    let size = sealed.file().metadata().doing(|| "reading the sealed overlay".into())?.len();
    let part = Window { offset: 0, size };
    match format {
        Format::OciSif(oci) => seal_layer(sealed.file(), part, file, path, oci),
        Format::Sif(sif) => seal_partition(Data::Part(sealed.file(), part), file, path, sif),
        _ => {
            sealed.take_after(file)?;
            sealed.publish(Existing::Replace).map(drop)
        }
    }
}

fn seal_layer(sealed: &File, part: Window, file: &File, path: &Path, oci: &OciSif) -> Outcome<()> {
    let digest = Digest::of_part(sealed, part, || "reading the sealed overlay".into())?;
    let layer = NewLayer { layer_type: LayerType::Squashfs, digest, data: Data::Part(sealed, part) };
    oci_sif::change(file, path, oci, Change::Seal(layer))
}

fn seal_partition(data: Data<'_>, file: &File, path: &Path, sif: &SifImage) -> Outcome<()> {
    let old = ext3_partition(sif)?.and_then(|(id, _)| sif.table.object(id));
    let Some(old) = old else {
        return Err(Failure::new("image does not contain a writable overlay"));
    };
    let arch = match old.extra {
        Extra::Partition { arch, .. } => arch,
        _ => sif.arch,
    };
    let partition = NewObject::partition(FsType::Squashfs, PartitionType::Overlay, arch, data)
        .in_group(old.group)
        .linked_to(old.link)
        .named(&old.name);
    sif::edit(file, path, &[Edit::Replace(old.id, partition)], Room::BehindKept)
}
