//! A SIF out of any source.

use super::metadata::Metadata;
use super::skeleton::{self, Skeleton};
use super::source::{Root, Source};
use super::{Options, ext3, squashfs};
use crate::error::{Doing, Outcome};
use crate::file::{self, Existing, NewFile};
use crate::making::{Interrupts, Staging};
use crate::message::shown;
use crate::sif::{self, CreateOptions, Data, DataType, FsType, NewObject, PartitionType};
use protocol::Window;
use std::fs::File;
use std::path::Path;

/// Permissions of the packed file system while it has no name.
const PACKED_MODE: u32 = 0o600;

/// Makes the SIF.
///
/// # Errors
/// Says why there is none; an existing target is then as it was.
pub(super) fn make(
    options: &Options,
    source: &Source,
    existing: Existing,
    interrupts: &Interrupts,
) -> Outcome<()> {
    match source.root {
        Root::Directory => from_directory(&source.path, options, source, existing, interrupts),
        Root::Squashfs(packed) => from_squashfs(packed.window, options, source, existing, interrupts),
        Root::Ext3(image) => {
            // Beside the target, where there must be room for as much anyway.
            let staging = Staging::below(directory_of(&options.target))?;
            let root = staging.path().join("root");
            ext3::unpack(&source.file, image, &root, &options.programs, interrupts)?;
            from_directory(&root, options, source, existing, interrupts)
        }
    }
}

/// The directory that a path's last name is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn from_directory(
    root: &Path,
    options: &Options,
    source: &Source,
    existing: Existing,
    interrupts: &Interrupts,
) -> Outcome<()> {
    let packed = NewFile::beside(&options.target, PACKED_MODE)?;
    squashfs::pack(root, packed.file(), &options.target, &options.programs, interrupts)?;
    let metadata = complete(root, packed.file(), options, source, interrupts)?;
    write(packed.file(), whole(packed.file(), options)?, &metadata, options, source, existing, interrupts)
}

fn from_squashfs(
    part: Window,
    options: &Options,
    source: &Source,
    existing: Existing,
    interrupts: &Interrupts,
) -> Outcome<()> {
    let staging = Staging::in_temporary_directory()?;
    let root = staging.path().join("root");
    let names = skeleton::NAMES;
    squashfs::unpack(&source.file, part, staging.path(), &root, &names, &options.programs, interrupts)?;
    if Skeleton::missing_in(&root).is_empty() {
        // Nothing to add: the file system is taken over as it is.
        let metadata = Metadata::read(&root, source)?;
        return write(&source.file, part, &metadata, options, source, existing, interrupts);
    }
    let packed = NewFile::beside(&options.target, PACKED_MODE)?;
    let copying = || format!("copying the file system of {}", shown(&source.path));
    packed.file().set_len(part.size).doing(copying)?;
    file::copy(&source.file, part, packed.file(), 0).doing(copying)?;
    let metadata = complete(&root, packed.file(), options, source, interrupts)?;
    write(packed.file(), whole(packed.file(), options)?, &metadata, options, source, existing, interrupts)
}

fn whole(packed: &File, options: &Options) -> Outcome<Window> {
    let metadata = packed.metadata().doing(|| format!("creating {}", shown(&options.target)))?;
    Ok(Window { offset: 0, size: metadata.len() })
}

/// Adds what the file system in `packed`, whose root is seen at `root`, lacks of a native image, and tells what is said
/// of the image then.
fn complete(
    root: &Path,
    packed: &File,
    options: &Options,
    source: &Source,
    interrupts: &Interrupts,
) -> Outcome<Metadata> {
    let skeleton = Skeleton::missing_in(root);
    if skeleton.is_empty() {
        return Metadata::read(root, source);
    }
    let staging = Staging::in_temporary_directory()?;
    skeleton.write_into(staging.path(), source)?;
    let described = if skeleton.has_directory() { staging.path() } else { root };
    let metadata = Metadata::read(described, source)?;
    skeleton::take_root_attributes(root, staging.path())?;
    squashfs::add(staging.path(), packed, &options.programs, interrupts)?;
    Ok(metadata)
}

fn write(
    packed: &File,
    part: Window,
    metadata: &Metadata,
    options: &Options,
    source: &Source,
    existing: Existing,
    interrupts: &Interrupts,
) -> Outcome<()> {
    interrupts.check()?;
    let definition = metadata.definition_object();
    let inspection = metadata.inspection_object();
    let objects = [
        NewObject::new(DataType::Definition, Data::Bytes(definition.as_bytes())),
        NewObject::new(DataType::Json, Data::Bytes(inspection.as_bytes())).named("inspect-metadata.json"),
        NewObject::partition(
            FsType::Squashfs,
            PartitionType::PrimarySystem,
            source.arch,
            Data::Part(packed, part),
        ),
    ];
    sif::create(&options.target, &objects, &CreateOptions { existing, ..CreateOptions::native() }).map(drop)
}
