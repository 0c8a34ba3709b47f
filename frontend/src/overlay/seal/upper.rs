//! `upper` of an ext3 overlay, written as a tar archive with its marks in their one form.

use super::archive::{Archive, What};
use super::marks::{Listing, Settled, Unfit};
use crate::ext3::{Content, FileSystem, Inode, Kind, ROOT};
use crate::image::{Bytes, Defect};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Longest path of a file: longer ones no system call takes.
const PATH_BYTES_MAX: usize = 4096;

/// Owner, permissions and time of `upper` itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Top {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) permissions: u32,
    pub(super) modified: i64,
}

/// What an archive does not have of its source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Left {
    /// Extended attributes.
    pub(super) attributes: u64,
    /// Sockets.
    pub(super) sockets: u64,
}

/// Why there is no archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Unsealed {
    /// The file system is damaged or cannot be read.
    Defect(Defect),
    /// It has no directory `upper`.
    NoUpper,
    /// Something in it means nothing without the layers below; its path from the root of the image.
    Unfit(Vec<u8>, Unfit),
    /// Nobody takes the archive: the error's number.
    NotTaken(i32),
}

impl From<Defect> for Unsealed {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

impl Unsealed {
    fn writing<B: Bytes>(error: &io::Error) -> Self {
        match Content::<B>::defect(error) {
            Some(defect) => Self::Defect(defect),
            None => Self::NotTaken(error.raw_os_error().unwrap_or_default()),
        }
    }
}

/// What `upper` itself is.
///
/// # Errors
/// There is none.
pub(super) fn top<B: Bytes>(files: &FileSystem<'_, B>) -> Result<Top, Unsealed> {
    let inode = upper(files)?;
    let Settled { uid, gid, permissions, .. } = Settled::of(&inode, files.attributes(&inode)?)
        .map_err(|unfit| Unsealed::Unfit(b"/".into(), unfit))?;
    Ok(Top { uid, gid, permissions, modified: inode.modified })
}

fn upper<B: Bytes>(files: &FileSystem<'_, B>) -> Result<Inode, Unsealed> {
    let entry = files.entry(&files.inode(ROOT)?, b"upper")?.ok_or(Unsealed::NoUpper)?;
    let inode = files.inode(entry.inode)?;
    if inode.kind == Kind::Directory { Ok(inode) } else { Err(Unsealed::NoUpper) }
}

/// Writes what is in `upper`, but not `upper` itself.
///
/// # Errors
/// It cannot be read or not be said, or `out` cannot be written to.
pub(super) fn archive<B: Bytes>(files: &FileSystem<'_, B>, out: impl Write) -> Result<Left, Unsealed> {
    let upper = upper(files)?.number;
    let mut walk = Walk { files, archive: Archive::new(out), links: BTreeMap::new(), left: Left::default() };
    let mut seen = BTreeSet::new();
    let mut waiting = vec![Directory { path: Vec::new(), inode: upper, opaque: false }];
    while let Some(directory) = waiting.pop() {
        // A directory with two names: each would contain the other, or be told twice.
        if !seen.insert(directory.inode) {
            return Err(Defect::ExtDamaged(directory.inode).into());
        }
        walk.directory(directory, &mut waiting)?;
    }
    walk.archive.finish().map_err(|error| Unsealed::writing::<B>(&error))?;
    Ok(walk.left)
}

/// A directory that is still to be written.
struct Directory {
    /// From the root of the layer, which is the empty path.
    path: Vec<u8>,
    inode: u32,
    opaque: bool,
}

struct Walk<'a, B, W: Write> {
    files: &'a FileSystem<'a, B>,
    archive: Archive<W>,
    /// Files that have further names: the path of the first one, and how many are still to come.
    links: BTreeMap<u32, (Vec<u8>, u16)>,
    left: Left,
}

impl<B: Bytes, W: Write> Walk<'_, B, W> {
    fn directory(&mut self, directory: Directory, waiting: &mut Vec<Directory>) -> Result<(), Unsealed> {
        let Directory { path, inode, opaque } = directory;
        let inode = self.files.inode(inode)?;
        let attributes = self.files.attributes(&inode)?;
        let listing = Listing::of(self.files, &inode, &attributes)?;
        let mut settled = Settled::of(&inode, attributes).map_err(|unfit| unsealed(&path, unfit))?;
        if path.is_empty() {
            // mksquashfs takes no attributes for the root of what it makes.
            self.left.attributes += settled.lost + settled.attributes.len() as u64;
        } else {
            self.left.attributes += settled.lost;
            if opaque || listing.opaque {
                settled.make_opaque();
            }
            self.add(&path, inode.modified, &settled, What::Directory)?;
        }
        for name in &listing.deleted {
            let device = crate::ext3::Device { major: 0, minor: 0 };
            let whiteout = Settled::whiteout();
            self.add(&joined(&path, name)?, inode.modified, &whiteout, What::CharacterDevice(device))?;
        }
        for (entry, hides) in listing.present {
            let path = joined(&path, &entry.name)?;
            let inode = self.files.inode(entry.inode)?;
            if inode.kind == Kind::Directory {
                waiting.push(Directory { path, inode: inode.number, opaque: hides });
            } else {
                self.file(path, &inode)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: Vec<u8>, inode: &Inode) -> Result<(), Unsealed> {
        if let Some((first, further)) = self.links.get_mut(&inode.number) {
            let first = first.clone();
            *further -= 1;
            if *further == 0 {
                self.links.remove(&inode.number);
            }
            return self.add(&path, 0, &Settled::whiteout(), What::HardLink(&first));
        }
        if inode.kind == Kind::Socket {
            self.left.sockets += 1;
            return Ok(());
        }
        let attributes = self.files.attributes(inode)?;
        let settled = Settled::of(inode, attributes).map_err(|unfit| unsealed(&path, unfit))?;
        self.left.attributes += settled.lost;
        let files = self.files;
        let (mut content, target);
        let what = match inode.kind {
            Kind::Link => {
                target = files.target(inode)?;
                What::Link(&target)
            }
            Kind::CharacterDevice(device) => What::CharacterDevice(device),
            Kind::BlockDevice(device) => What::BlockDevice(device),
            Kind::Pipe => What::Pipe,
            Kind::Regular | Kind::Directory | Kind::Socket => {
                content = files.content(inode);
                What::Regular(inode.size, &mut content)
            }
        };
        self.add(&path, inode.modified, &settled, what)?;
        if inode.links > 1 {
            self.links.insert(inode.number, (path, inode.links - 1));
        }
        Ok(())
    }

    fn add(&mut self, path: &[u8], modified: i64, settled: &Settled, what: What<'_>) -> Result<(), Unsealed> {
        self.archive.add(path, modified, settled, what).map_err(|error| Unsealed::writing::<B>(&error))
    }
}

fn unsealed(path: &[u8], unfit: Unfit) -> Unsealed {
    Unsealed::Unfit([b"/", path].concat(), unfit)
}

fn joined(path: &[u8], name: &[u8]) -> Result<Vec<u8>, Unsealed> {
    let joined = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
    if joined.len() < PATH_BYTES_MAX {
        Ok(joined)
    } else {
        Err(unsealed(&joined[..PATH_BYTES_MAX], Unfit::Path))
    }
}
