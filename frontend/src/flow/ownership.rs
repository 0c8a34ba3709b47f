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
use serde::{Deserialize, Serialize};
use std::fmt;
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

/// Whose a directory is, and what others may do there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "uid {}, gid {}, mode {:04o}", self.uid, self.gid, self.mode)
    }
}

fn owner(source: &Source, window: Window) -> Outcome<u32> {
    Ok(standing(source, window, "upper")?.uid)
}

/// Whose a part of the ext3 in an image is, or the whole of it where that part is not there yet: in the ids of the image, also
/// those that this process has no name for.
///
/// # Errors
/// The image cannot be read.
pub fn standing(source: &Source, window: Window, part: &str) -> Outcome<Standing> {
    let reading = || format!("while looking for the owner of {}", shown(&source.path));
    let file = source.file.try_clone().map_err(|error| Failure::new(error.to_string()).context(reading()))?;
    let length = window.offset.saturating_add(window.size);
    let answer = reader::read(&File::from(file), length, |bytes| standing_in(bytes, window, part));
    let standing = answer.map_err(|why| Failure::new(why.to_string()).context(reading()))?;
    standing.map_err(|defect| Failure::new(defect.to_string()).context(reading()))
}

fn standing_in(bytes: &impl Bytes, window: Window, part: &str) -> Result<Standing, Defect> {
    let file_system = FileSystem::open(bytes, window)?;
    let root = file_system.inode(ROOT)?;
    let found = match file_system.entry(&root, part.as_bytes())? {
        Some(part) => file_system.inode(part.inode)?,
        None => root,
    };
    Ok(Standing { uid: found.uid, gid: found.gid, mode: found.permissions })
}
