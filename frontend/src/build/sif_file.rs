//! A SIF out of any source.

use super::metadata::Metadata;
use super::skeleton::{self, Skeleton};
use super::source::Root;
use super::{Job, ext3, squashfs};
use crate::error::{Doing, Outcome};
use crate::file::{self, Existing, NewFile};
use crate::making::Staging;
use crate::message::shown;
use crate::sif::{self, Arch, CreateOptions, Data, DataType, FsType, NewObject, PartitionType};
use protocol::Window;
use std::fs::File;
use std::path::Path;

/// Permissions of the packed file system while it has no name.
const PACKED_MODE: u32 = 0o600;

/// Makes the SIF.
///
/// # Errors
/// Says why there is none; an existing target is then as it was.
pub(super) fn make(job: &Job) -> Outcome<()> {
    match job.source.root {
        Root::Directory => from_directory(&job.source.path, job),
        Root::Squashfs(packed) => from_squashfs(packed.window, job),
        Root::Ext3(image) => {
            // Beside the target, where there must be room for as much anyway.
            let staging = Staging::below(file::directory_of(&job.options.target))?;
            let root = staging.path().join("root");
            ext3::unpack_all(&job.source.file, image, &root, job.tools)?;
            from_directory(&root, job)
        }
    }
}

fn from_directory(root: &Path, job: &Job) -> Outcome<()> {
    let target = &job.options.target;
    let packed = NewFile::beside(target, PACKED_MODE)?;
    squashfs::pack(root, packed.file(), target, job.tools)?;
    let metadata = complete(root, packed.file(), job)?;
    write(packed.file(), whole(packed.file(), target)?, &metadata, job)
}

fn from_squashfs(part: Window, job: &Job) -> Outcome<()> {
    let source = job.source;
    let staging = Staging::in_temporary_directory()?;
    let root = staging.path().join("root");
    squashfs::unpack(&source.file, part, staging.path(), &root, &skeleton::NAMES, job.tools)?;
    if Skeleton::missing_in(&root).is_empty() {
        // Nothing to add: the file system is taken over as it is.
        return write(&source.file, part, &Metadata::read(&root, source)?, job);
    }
    let packed = NewFile::beside(&job.options.target, PACKED_MODE)?;
    let copying = || format!("copying the file system of {}", shown(&source.path));
    packed.file().set_len(part.size).doing(copying)?;
    file::copy(&source.file, part, packed.file(), 0).doing(copying)?;
    let metadata = complete(&root, packed.file(), job)?;
    write(packed.file(), whole(packed.file(), &job.options.target)?, &metadata, job)
}

fn whole(packed: &File, target: &Path) -> Outcome<Window> {
    let metadata = packed.metadata().doing(|| format!("creating {}", shown(target)))?;
    Ok(Window { offset: 0, size: metadata.len() })
}

/// Adds what the file system in `packed`, whose root is seen at `root`, lacks of a native image, and tells what is said
/// of the image then.
fn complete(root: &Path, packed: &File, job: &Job) -> Outcome<Metadata> {
    let skeleton = Skeleton::missing_in(root);
    if skeleton.is_empty() {
        return Metadata::read(root, job.source);
    }
    let staging = Staging::in_temporary_directory()?;
    skeleton.write_into(staging.path(), &job.source.origin, job.source.arch)?;
    let described = if skeleton.has_directory() { staging.path() } else { root };
    let metadata = Metadata::read(described, job.source)?;
    skeleton::take_root_attributes(root, staging.path())?;
    squashfs::add(staging.path(), packed, job.tools)?;
    Ok(metadata)
}

fn write(packed: &File, part: Window, metadata: &Metadata, job: &Job) -> Outcome<()> {
    job.tools.interrupts.check()?;
    let sif = NativeSif { packed, part, arch: job.source.arch, metadata };
    sif.write(&job.options.target, job.existing)
}

/// What a native SIF is put together from.
#[derive(Clone, Copy, Debug)]
pub struct NativeSif<'a> {
    /// The file that has the root file system, a squashfs.
    pub packed: &'a File,
    /// The part of it that is the squashfs.
    pub part: Window,
    /// What it runs on.
    pub arch: Arch,
    /// What is said of it.
    pub metadata: &'a Metadata,
}

impl NativeSif<'_> {
    /// Writes the SIF.
    ///
    /// # Errors
    /// It could not be written, or `target` is there and is to be kept; `target` is then as it was.
    pub fn write(&self, target: &Path, existing: Existing) -> Outcome<()> {
        let definition = self.metadata.definition_object();
        let inspection = self.metadata.inspection_object();
        let data = Data::Part(self.packed, self.part);
        let objects = [
            NewObject::new(DataType::Definition, Data::Bytes(definition.as_bytes())),
            NewObject::new(DataType::Json, Data::Bytes(inspection.as_bytes())).named("inspect-metadata.json"),
            NewObject::partition(FsType::Squashfs, PartitionType::PrimarySystem, self.arch, data),
        ];
        let options = CreateOptions { existing, ..CreateOptions::native() };
        sif::create(target, &objects, &options).map(drop)
    }
}
