//! Whose the image is that a container writes into. Its ids are those of the user namespace it is served in, and where
//! that has only one, the image must be that one's.

use super::namespace::Mapping;
use crate::confined::reader;
use crate::error::{Failure, Outcome};
use crate::ext3::{FileSystem, ROOT};
use crate::image::{Bytes, Defect};
use crate::message::shown;
use crate::planning::Source;
use nix::unistd::geteuid;
use protocol::{Content, Plan, Window, Writable};
use std::fs::File;

/// Where the image that is written belongs to the caller himself, although the container has only root: the namespace of
/// the container, inside of one in which he is himself and in which the image is served. So what he writes as root stays
/// his own, for containers in which he is not root too.
///
/// # Errors
/// The image cannot be read.
pub fn inner(plan: &Plan, sources: &[Source], mapping: &Mapping) -> Outcome<Option<Mapping>> {
    let written = match &plan.writable {
        Writable::Overlay(image) => *image,
        Writable::Root => plan.root,
        Writable::Nothing | Writable::Tmpfs => return Ok(None),
    };
    let (Content::Ext3(window), true) = (written.content, *mapping == Mapping::root()) else {
        return Ok(None);
    };
    let Some(source) = sources.get(usize::from(written.descriptor.0)) else {
        return Ok(None);
    };
    let owner = owner(source, window)?;
    Ok((owner == geteuid().as_raw() && owner != 0).then(Mapping::root))
}

fn owner(source: &Source, window: Window) -> Outcome<u32> {
    let reading = || format!("while looking for the owner of {}", shown(&source.path));
    let file = source.file.try_clone().map_err(|error| Failure::new(error.to_string()).context(reading()))?;
    let length = window.offset.saturating_add(window.size);
    let answer = reader::read(&File::from(file), length, |bytes| owner_in(bytes, window));
    let owner = answer.map_err(|why| Failure::new(why.to_string()).context(reading()))?;
    owner.map_err(|defect| Failure::new(defect.to_string()).context(reading()))
}

/// The owner of `upper`, or of everything where there is none yet.
fn owner_in(bytes: &impl Bytes, window: Window) -> Result<u32, Defect> {
    let file_system = FileSystem::open(bytes, window)?;
    let root = file_system.inode(ROOT)?;
    match file_system.entry(&root, b"upper")? {
        Some(upper) => Ok(file_system.inode(upper.inode)?.uid),
        None => Ok(root.uid),
    }
}
