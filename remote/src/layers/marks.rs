//! A layer of its own: what it deletes in the layers below it stays in it, as marks.
//!
//! In a file system that is one of several in an overlay a deleted file is a character device 0:0, and a directory that
//! hides what is below has an extended attribute. In the tar archives of registries both are files with names that begin
//! with `.wh.`.

use super::tree::{Attributes, Child, Content, NodeId, Tree};
use frontend::error::Outcome;

/// The extended attribute of a directory that hides what is below, and its value.
pub(super) const OPAQUE_ATTRIBUTE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");
/// Permissions of the files that are marks in archives.
pub(super) const MARK_MODE: u32 = 0o600;

/// How marks are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Marks {
    /// As overlays have them.
    Overlay,
    /// As registries have them.
    Registry,
}

impl Tree {
    /// Whether a node stands for a file that is deleted.
    pub(super) fn is_mark(&self, id: NodeId) -> bool {
        matches!(self.node(id).content, Content::CharacterDevice { major: 0, minor: 0 })
    }

    /// Marks a name as deleted in the layers below. What this layer has under the name stays.
    pub(super) fn mark_deleted(&mut self, directory: NodeId, name: &[u8], layer: usize) -> Outcome<()> {
        match self.child(directory, name) {
            Some(there) if self.is_directory(there.node) => drop(self.opaque.insert(there.node)),
            Some(_) => {}
            None => {
                let mark = Content::CharacterDevice { major: 0, minor: 0 };
                let node = self.add(Attributes::of_root(0), mark)?;
                self.name(directory, name, Child { node, layer })?;
            }
        }
        Ok(())
    }

    /// Gives directories that no entry described the owner, permissions and times that they have in the layers below:
    /// an overlay shows those of the topmost layer that has the directory.
    pub(crate) fn inherit(&mut self, below: &Self) {
        let mut ahead = vec![(Self::ROOT, Self::ROOT)];
        while let Some((here, there)) = ahead.pop() {
            if self.implied.contains(&here) {
                self.node_mut(here).attributes = below.node(there).attributes.clone();
            }
            let both = self.children(here).filter_map(|(name, child)| {
                let other = below.child(there, name)?;
                (self.is_directory(child.node) && below.is_directory(other.node))
                    .then_some((child.node, other.node))
            });
            ahead.extend(both.collect::<Vec<_>>());
        }
    }
}
