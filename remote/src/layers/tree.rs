//! A root file system as its layers describe it: names, and what each of them stands for.

use frontend::error::{Failure, Outcome};
use frontend::message::shown;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Most files, directories and links of all layers together.
const NODES_MAX: usize = 4_000_000;
/// Most bytes of their names, link targets and extended attributes together.
const TEXT_BYTES_MAX: usize = 1 << 30;
/// Most symbolic links followed on the way to one name, as the kernel has it.
const LINKS_FOLLOWED_MAX: usize = 40;
/// Longest path that can be used in a container.
const PATH_BYTES_MAX: usize = 4095;
/// Longest name that a file system holds.
const NAME_BYTES_MAX: usize = 255;

/// Owner, permissions, time and extended attributes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attributes {
    /// Permissions, with the bits for set-id and sticky.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: u32,
    /// Extended attributes by name.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// What root would make now-ish: owned by 0:0, of the year 1970.
    #[must_use]
    pub(crate) fn of_root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() }
    }
}

/// What a name stands for. Several names can stand for one node: hard links.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) attributes: Attributes,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Directory(BTreeMap<Vec<u8>, Child>),
    /// The content is in a layer's stream, at the entry of this number.
    InLayer {
        layer: usize,
        entry: u64,
    },
    /// The content is given here.
    Text(Vec<u8>),
    Symlink(Vec<u8>),
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// A name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Child {
    pub(super) node: NodeId,
    /// The layer that said so last; what deletes it is in a higher one.
    pub(super) layer: usize,
}

/// The number of a node in its tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NodeId(usize);

/// A root file system.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    text_bytes: usize,
    /// Whether what a layer deletes is kept as a mark, because the layers below it are not here.
    pub(super) keeps_marks: bool,
    /// Directories that hide what lower layers have in them.
    pub(super) opaque: HashSet<NodeId>,
    /// Directories that no entry described.
    pub(super) implied: HashSet<NodeId>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    pub(super) const ROOT: NodeId = NodeId(0);

    /// An empty root directory, for all layers of an image.
    #[must_use]
    pub(crate) fn new() -> Self {
        let root =
            Node { attributes: Attributes::of_root(0o755), content: Content::Directory(BTreeMap::new()) };
        Self {
            nodes: vec![root],
            text_bytes: 0,
            keeps_marks: false,
            opaque: HashSet::new(),
            implied: HashSet::from([Self::ROOT]),
        }
    }

    /// An empty root directory, for one layer of several.
    #[must_use]
    pub(crate) fn for_one_layer() -> Self {
        Self { keeps_marks: true, ..Self::new() }
    }

    /// Lets the owner of every file read and write it, and use it if it is a directory or a program.
    pub(crate) fn let_owners_in(&mut self) {
        for node in &mut self.nodes {
            let mode = &mut node.attributes.mode;
            match node.content {
                Content::Symlink(_) => {}
                Content::Directory(_) => *mode |= 0o700,
                _ if *mode & 0o111 != 0 => *mode |= 0o700,
                _ => *mode |= 0o600,
            }
        }
    }

    /// What is said of the root directory itself.
    #[must_use]
    pub(crate) fn root(&self) -> &Attributes {
        &self.node(Self::ROOT).attributes
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// The names in a directory; none in anything else.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = (&Vec<u8>, &Child)> {
        match &self.node(id).content {
            Content::Directory(children) => Some(children.iter()),
            _ => None,
        }
        .into_iter()
        .flatten()
    }

    /// The names in a directory, to be changed. Anything else becomes an empty directory.
    pub(super) fn children_mut(&mut self, id: NodeId) -> &mut BTreeMap<Vec<u8>, Child> {
        let content = &mut self.node_mut(id).content;
        if !matches!(content, Content::Directory(_)) {
            *content = Content::Directory(BTreeMap::new());
        }
        match content {
            Content::Directory(children) => children,
            _ => unreachable!("it has just been made a directory"),
        }
    }

    pub(super) fn child(&self, directory: NodeId, name: &[u8]) -> Option<Child> {
        match &self.node(directory).content {
            Content::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.node(id).content, Content::Directory(_))
    }

    /// A new node, which no name stands for yet.
    pub(super) fn add(&mut self, attributes: Attributes, content: Content) -> Outcome<NodeId> {
        let text = match &content {
            Content::Symlink(bytes) | Content::Text(bytes) => bytes.len(),
            _ => 0,
        };
        self.count(
            text + attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>(),
        )?;
        if self.nodes.len() >= NODES_MAX {
            return Err(Failure::new(format!("the image has more than {NODES_MAX} files")));
        }
        self.nodes.push(Node { attributes, content });
        Ok(NodeId(self.nodes.len() - 1))
    }

    fn count(&mut self, text_bytes: usize) -> Outcome<()> {
        self.text_bytes = self.text_bytes.saturating_add(text_bytes);
        if self.text_bytes > TEXT_BYTES_MAX {
            return Err(Failure::new("the names and attributes of the image's files take more than 1 GiB"));
        }
        Ok(())
    }

    /// Gives a node a name.
    pub(super) fn name(&mut self, directory: NodeId, name: &[u8], child: Child) -> Outcome<()> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Failure::new(format!(
                "the image has a file name of more than {NAME_BYTES_MAX} bytes: {}",
                shown(OsStr::from_bytes(name))
            )));
        }
        self.count(name.len())?;
        self.children_mut(directory).insert(name.to_vec(), child);
        Ok(())
    }

    /// Where a path's last name belongs: the directory, and the name. `None` for the root directory. Symbolic links on
    /// the way lead where they lead inside this tree, `..` never above its root, and what is missing on the way is
    /// made as if by `layer`.
    pub(super) fn place<'p>(&mut self, path: &'p [u8], layer: usize) -> Outcome<Option<(NodeId, &'p [u8])>> {
        if path.len() > PATH_BYTES_MAX || path.contains(&0) {
            let start = OsStr::from_bytes(path.get(..64).unwrap_or(path));
            return Err(Failure::new(format!(
                "the image has a path that no system can use: {}…",
                shown(start)
            )));
        }
        let parts = components(path);
        match parts.split_last() {
            None => Ok(None),
            Some((&b"..", _)) => Ok(None),
            Some((name, before)) => Ok(Some((self.directory(before, layer)?, name))),
        }
    }

    /// The directory at the end of some names, made where it is missing.
    fn directory(&mut self, names: &[&[u8]], layer: usize) -> Outcome<NodeId> {
        let mut ahead: Vec<Vec<u8>> = names.iter().rev().map(|name| name.to_vec()).collect();
        let mut way = vec![Self::ROOT];
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            let here = way.last().copied().unwrap_or(Self::ROOT);
            if name == b".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let next = match self.child(here, &name) {
                Some(child) if self.is_directory(child.node) => child.node,
                Some(Child { node, .. }) if matches!(self.node(node).content, Content::Symlink(_)) => {
                    followed += 1;
                    if followed > LINKS_FOLLOWED_MAX {
                        let name = shown(OsStr::from_bytes(&name));
                        return Err(Failure::new(format!(
                            "symbolic links of the image lead in a circle at {name}"
                        )));
                    }
                    let Content::Symlink(target) = &self.node(node).content else { continue };
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    ahead.extend(components(target).into_iter().rev().map(<[u8]>::to_vec));
                    continue;
                }
                // Nothing is there, or something that is no directory and has to give way.
                there => {
                    let made = self.add(Attributes::of_root(0o755), Content::Directory(BTreeMap::new()))?;
                    self.implied.insert(made);
                    if there.is_some_and(|there| self.is_mark(there.node)) {
                        self.opaque.insert(made);
                    }
                    self.name(here, &name, Child { node: made, layer })?;
                    made
                }
            };
            way.push(next);
        }
        Ok(way.last().copied().unwrap_or(Self::ROOT))
    }

    /// Puts a file that no layer has at a path, in place of what is there, unless `keep` says to leave that.
    ///
    /// # Errors
    /// The path cannot be used.
    pub(crate) fn put(&mut self, path: &str, attributes: Attributes, what: Put<'_>) -> Outcome<()> {
        let Some((directory, name)) = self.place(path.as_bytes(), usize::MAX)? else {
            return Ok(());
        };
        let there = self.child(directory, name);
        let content = match what {
            Put::Directory if there.is_some() => return Ok(()),
            Put::Directory => Content::Directory(BTreeMap::new()),
            Put::IfMissing(_) | Put::Link(_) if there.is_some() => return Ok(()),
            Put::IfMissing(text) | Put::Text(text) => Content::Text(text.into()),
            Put::Link(target) => Content::Symlink(target.into()),
        };
        let node = self.add(attributes, content)?;
        self.name(directory, name, Child { node, layer: usize::MAX })
    }
}

/// What [`Tree::put`] puts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put<'a> {
    /// A directory, where nothing has its name.
    Directory,
    /// A file, in place of what has its name.
    Text(&'a str),
    /// A file, where nothing has its name.
    IfMissing(&'a str),
    /// A symbolic link, where nothing has its name.
    Link(&'a str),
}

/// The names in a path, without those that say nothing.
fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect()
}
