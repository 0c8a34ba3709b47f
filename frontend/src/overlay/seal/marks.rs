//! What the marks in an upper directory mean, and the one form that sealed layers have.
//!
//! Kernels and fuse-overlayfs leave different marks for what was deleted or replaced, often several kinds side by side. The
//! kernel takes some of them for files when they are in a lower layer. A sealed layer has the ones that everybody
//! understands: the character device 0:0 for a deleted name, and for a directory that hides what is below it the attribute
//! `overlay.opaque` in both name spaces, for overlays of root and of users.

use crate::ext3::{Attribute, Entry, FileSystem, Inode, Kind};
use crate::image::{Bytes, Defect};
use crate::overlay::marks::{DELETED_PREFIX, OPAQUE_FILE, OPAQUE_NOISE};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Attributes of an opaque directory, in every form that is written.
const OPAQUE: [&[u8]; 3] = [b"trusted.overlay.opaque", b"user.overlay.opaque", b"user.fuseoverlayfs.opaque"];
/// Attributes of an empty file that stands for a deleted name, since Linux 6.7.
const WHITEOUT: [&[u8]; 2] = [b"trusted.overlay.whiteout", b"user.overlay.whiteout"];
/// Where overlays keep what concerns only them.
const PRIVATE: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."];
/// Owner and permissions that fuse-overlayfs keeps aside.
const OVERRIDE: &[u8] = b"user.containers.override_stat";
/// What the names of other files begin with that mean something to AUFS only.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// What cannot be said in a layer of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Unfit {
    /// A directory that was renamed: it names one in a lower layer.
    Redirected,
    /// A file whose content is in a lower layer.
    WithoutContent,
    /// An owner kept aside in a form that is not known.
    Owner,
    /// A path longer than any can be.
    Path,
}

/// A directory with its marks understood.
#[derive(Debug)]
pub(super) struct Listing {
    /// It hides what is below it.
    pub(super) opaque: bool,
    /// Names that are deleted.
    pub(super) deleted: BTreeSet<Vec<u8>>,
    /// What is there, and whether a deletion of its name says that it hides what is below it.
    pub(super) present: Vec<(Entry, bool)>,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning<'a> {
    Present,
    Deleted(&'a [u8]),
    Opaque,
    Noise,
}

impl Listing {
    /// Reads a directory with these attributes.
    pub(super) fn of<B: Bytes>(
        files: &FileSystem<'_, B>,
        directory: &Inode,
        attributes: &[Attribute],
    ) -> Result<Self, Defect> {
        let value =
            |name: &[u8]| attributes.iter().find(|found| found.name == name).map(|found| &*found.value);
        let mut opaque = OPAQUE.iter().any(|name| value(name) == Some(b"y"));
        let has_whiteout_files = OPAQUE.iter().any(|name| value(name) == Some(b"x"));
        let (mut deleted, mut present) = (BTreeSet::new(), Vec::new());
        for entry in files.entries(directory)? {
            let inode = files.inode(entry.inode)?;
            let marked = has_whiteout_files && inode.kind == Kind::Regular && inode.size == 0 && {
                let attributes = files.attributes(&inode)?;
                attributes.iter().any(|attribute| WHITEOUT.contains(&&*attribute.name))
            };
            match meaning(&entry.name, &inode, marked) {
                Meaning::Present => present.push(entry),
                Meaning::Deleted(name) => drop(deleted.insert(name.to_vec())),
                Meaning::Opaque => opaque = true,
                Meaning::Noise => {}
            }
        }
        let present = present
            .into_iter()
            .map(|entry| {
                let hides = deleted.remove(&entry.name);
                (entry, hides)
            })
            .collect();
        Ok(Self { opaque, deleted, present })
    }
}

fn meaning<'a>(name: &'a [u8], inode: &Inode, marked: bool) -> Meaning<'a> {
    if name == OPAQUE_FILE {
        return Meaning::Opaque;
    }
    if name.starts_with(AUFS_PREFIX) || (name == OPAQUE_NOISE && inode.is_whiteout()) {
        return Meaning::Noise;
    }
    if inode.is_whiteout() || marked {
        return Meaning::Deleted(name);
    }
    match name.strip_prefix(DELETED_PREFIX) {
        Some(deleted) if !deleted.is_empty() && inode.kind == Kind::Regular && inode.size == 0 => {
            Meaning::Deleted(deleted)
        }
        _ => Meaning::Present,
    }
}

/// Owner and permissions of a file, and the attributes that go with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settled {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) permissions: u32,
    pub(super) attributes: Vec<(String, Vec<u8>)>,
    /// Attributes that no squashfs can hold, or that mean nothing elsewhere.
    pub(super) lost: u64,
}

impl Settled {
    /// What of an inode and its attributes goes into a layer.
    pub(super) fn of(inode: &Inode, attributes: Vec<Attribute>) -> Result<Self, Unfit> {
        let Inode { uid, gid, permissions, .. } = *inode;
        let mut settled = Self { uid, gid, permissions, attributes: Vec::new(), lost: 0 };
        for Attribute { name, value } in attributes {
            if name == OVERRIDE {
                (settled.uid, settled.gid, settled.permissions) = kept_aside(&value).ok_or(Unfit::Owner)?;
            } else if let Some(private) = PRIVATE.iter().find_map(|prefix| name.strip_prefix(*prefix)) {
                match private {
                    b"redirect" => return Err(Unfit::Redirected),
                    b"metacopy" => return Err(Unfit::WithoutContent),
                    _ => {}
                }
            } else if name.starts_with(b"user.") || name == b"security.capability" {
                // A tar archive cannot have an equals sign in a name.
                match String::from_utf8(name).ok().filter(|name| !name.contains('=')) {
                    Some(name) => settled.attributes.push((name, value)),
                    None => settled.lost += 1,
                }
            } else {
                settled.lost += 1;
            }
        }
        Ok(settled)
    }

    /// Makes it a directory that hides what is below it.
    pub(super) fn make_opaque(&mut self) {
        for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
            self.attributes.push((name.into(), b"y".into()));
        }
    }

    /// The mark of a deleted name.
    pub(super) fn whiteout() -> Self {
        Self { uid: 0, gid: 0, permissions: 0, attributes: Vec::new(), lost: 0 }
    }
}

/// `UID:GID:MODE`, the mode octal and, if it says more than permissions, that of a file or directory.
fn kept_aside(value: &[u8]) -> Option<(u32, u32, u32)> {
    let mut fields = std::str::from_utf8(value).ok()?.trim_end_matches('\0').split(':');
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    // A fourth field is the kind of another file, such as a device, that stands in for it.
    let is_itself = matches!(fields.next(), None | Some("file" | "dir"));
    is_itself.then_some((uid, gid, mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_kept_aside_is_read_or_refused() {
        assert_eq!(kept_aside(b"1000:70000:100644"), Some((1000, 70000, 0o644)));
        assert_eq!(kept_aside(b"0:0:4755:file"), Some((0, 0, 0o4755)));
        for wrong in ["", "0:0", "0:0:9", "-1:0:644", "0:0:644:block-8-0"] {
            assert_eq!(kept_aside(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
