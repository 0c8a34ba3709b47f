//! One layer upon the tree of those below it.

use super::marks::OPAQUE_ATTRIBUTE;
use super::tar_reader::{Entries, Entry, Kind};
use super::tree::{Attributes, Child, Content, NodeId, Tree};
use frontend::error::{Doing, Failure, Outcome};
use frontend::message::shown;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// Begins the name of a file that deletes the one with the rest of the name.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// Deletes what lower layers have in a directory.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
/// Begins the names of files that old layers have for purposes of their own.
const RESERVED: &[u8] = b".wh..wh.";

impl Tree {
    /// Takes in a layer: a tar stream, which is read to the end of its entries and given back.
    ///
    /// # Errors
    /// It is no sound tar stream, or describes what no file system can hold.
    pub(crate) fn apply<R: Read>(&mut self, layer: usize, stream: R) -> Outcome<R> {
        let mut entries = Entries::new(stream);
        // Links whose targets have not come yet.
        let mut waiting = Vec::new();
        let mut number = 0;
        while let Some(entry) = entries.next().doing(|| "reading a layer".into())? {
            self.enter(layer, number, entry, &mut waiting)?;
            number += 1;
        }
        for (path, target) in waiting {
            if !self.link(layer, &path, &target)? {
                let [path, target] = [path, target].map(|name| shown(OsStr::from_bytes(&name)));
                return Err(Failure::new(format!(
                    "a layer has a hard link {path} to {target}, which is not there"
                )));
            }
        }
        Ok(entries.into_inner())
    }

    fn enter(
        &mut self,
        layer: usize,
        number: u64,
        entry: Entry,
        waiting: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Outcome<()> {
        if let Kind::HardLink(target) = &entry.kind {
            if !self.link(layer, &entry.path, target)? {
                waiting.push((entry.path, target.clone()));
            }
            return Ok(());
        }
        let Some((directory, name)) = self.place(&entry.path, layer)? else {
            if entry.kind == Kind::Directory {
                self.describe(Self::ROOT, layer, &entry);
            }
            return Ok(());
        };
        if name == OPAQUE {
            self.hide(directory, layer);
        } else if name.starts_with(RESERVED) {
            // Housekeeping of the storage driver that wrote it.
        } else if let Some(deleted) = name.strip_prefix(WHITEOUT) {
            self.delete(directory, deleted, layer)?;
        } else if entry.kind == (Kind::CharacterDevice { major: 0, minor: 0 }) {
            // The same in the form that overlays store it.
            self.delete(directory, name, layer)?;
        } else {
            let name = name.to_vec();
            self.make(layer, number, entry, directory, &name)?;
        }
        Ok(())
    }

    fn make(
        &mut self,
        layer: usize,
        number: u64,
        entry: Entry,
        directory: NodeId,
        name: &[u8],
    ) -> Outcome<()> {
        if entry.kind == Kind::Directory {
            let there = self.child(directory, name);
            let node = match there.filter(|child| self.is_directory(child.node)) {
                Some(there) => there.node,
                None => self.add(attributes(&entry), Content::Directory(BTreeMap::new()))?,
            };
            if there.is_some_and(|there| self.is_mark(there.node)) {
                self.opaque.insert(node);
            }
            self.name(directory, name, Child { node, layer })?;
            self.describe(node, layer, &entry);
            return Ok(());
        }
        let attributes = attributes(&entry);
        let content = match entry.kind {
            Kind::File { .. } => Content::InLayer { layer, entry: number },
            Kind::Symlink(target) => Content::Symlink(target),
            Kind::CharacterDevice { major, minor } => Content::CharacterDevice { major, minor },
            Kind::BlockDevice { major, minor } => Content::BlockDevice { major, minor },
            Kind::Fifo => Content::Fifo,
            Kind::HardLink(_) | Kind::Directory => return Ok(()),
        };
        let node = self.add(attributes, content)?;
        self.name(directory, name, Child { node, layer })
    }

    /// Takes over what an entry says of a directory.
    fn describe(&mut self, directory: NodeId, layer: usize, entry: &Entry) {
        self.node_mut(directory).attributes = attributes(entry);
        self.implied.remove(&directory);
        let (name, value) = OPAQUE_ATTRIBUTE;
        if entry.xattrs.iter().any(|(its_name, its_value)| its_name == name && its_value == value) {
            self.hide(directory, layer);
        }
    }

    /// Makes a hard link, if its target is there.
    fn link(&mut self, layer: usize, path: &[u8], target: &[u8]) -> Outcome<bool> {
        let Some((directory, name)) = self.place(target, layer)? else {
            return Ok(false);
        };
        let Some(found) = self.child(directory, name).filter(|child| !self.is_directory(child.node)) else {
            return Ok(false);
        };
        if let Some((directory, name)) = self.place(path, layer)? {
            self.name(directory, name, Child { node: found.node, layer })?;
        }
        Ok(true)
    }

    /// Deletes what layers below `layer` have under a name.
    fn delete(&mut self, directory: NodeId, name: &[u8], layer: usize) -> Outcome<()> {
        if self.keeps_marks {
            return self.mark_deleted(directory, name, layer);
        }
        self.remove(directory, name, layer);
        Ok(())
    }

    /// Hides what layers below `layer` have in a directory.
    fn hide(&mut self, directory: NodeId, layer: usize) {
        if self.keeps_marks {
            self.opaque.insert(directory);
        } else {
            self.clear(directory, layer);
        }
    }

    fn remove(&mut self, directory: NodeId, name: &[u8], layer: usize) {
        let Some(child) = self.child(directory, name) else { return };
        if self.is_directory(child.node) {
            self.clear(child.node, layer);
        }
        let stays = child.layer >= layer || self.children(child.node).next().is_some();
        if !stays {
            self.children_mut(directory).remove(name);
        }
    }

    fn clear(&mut self, directory: NodeId, layer: usize) {
        let names: Vec<Vec<u8>> = self.children(directory).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.remove(directory, &name, layer);
        }
    }
}

fn attributes(entry: &Entry) -> Attributes {
    Attributes {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs: entry.xattrs.iter().filter(|(name, _)| is_kept(name)).cloned().collect(),
    }
}

/// Whether an extended attribute means the same in every container. Those of overlays would make an image delete or
/// redirect what others have; those of security modules are the host's.
fn is_kept(name: &[u8]) -> bool {
    let private: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers."];
    name == b"security.capability"
        || (name.starts_with(b"user.") && !private.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
