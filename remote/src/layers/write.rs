//! The tar stream of a whole tree.

use super::apply::{OPAQUE, WHITEOUT};
use super::marks::{MARK_MODE, Marks, OPAQUE_ATTRIBUTE};
use super::tar_reader::{Entries, Kind};
use super::tree::{Attributes, Content, NodeId, Tree};
use frontend::error::{Doing, Failure, Outcome};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use tar::{Builder, EntryType, Header};

/// Where the files that have their content in a layer belong.
#[derive(Default)]
struct Files {
    /// By layer and the number of the entry: the node.
    wanted: BTreeMap<usize, HashMap<u64, NodeId>>,
    /// The first path of every node that is no directory.
    paths: HashMap<NodeId, Vec<u8>>,
    /// Further paths of nodes.
    links: Vec<(Vec<u8>, NodeId)>,
}

impl Tree {
    /// Writes a tar stream of all that is in the tree: first what has no content in a layer, then the files of each layer
    /// in its own order, at last hard links. `open` gives a layer's stream once more. The root directory itself is
    /// there for registries only; `mksquashfs` takes it from elsewhere.
    ///
    /// # Errors
    /// A layer cannot be read again as it was, or nobody reads what is written.
    pub(crate) fn write<S: Read>(
        &self,
        out: impl Write,
        marks: Marks,
        mut open: impl FnMut(usize) -> Outcome<S>,
    ) -> Outcome<()> {
        let mut out = Builder::new(out);
        let files = self.write_names(&mut out, marks).doing(writing)?;
        for (layer, wanted) in &files.wanted {
            self.write_files(&mut out, Entries::new(open(*layer)?), wanted, &files.paths)?;
        }
        for (path, node) in &files.links {
            if let Some(target) = files.paths.get(node) {
                let attributes = &self.node(*node).attributes;
                let member = Member::new(path, attributes, EntryType::Link).to(target);
                member.append(&mut out, io::empty()).doing(writing)?;
            }
        }
        out.into_inner().and_then(|mut out| out.flush()).doing(writing)
    }

    /// Writes every entry without content, and collects the others.
    fn write_names(&self, out: &mut Builder<impl Write>, marks: Marks) -> io::Result<Files> {
        let mut files = Files::default();
        if marks == Marks::Registry {
            self.write_directory(out, b"./", Self::ROOT, marks)?;
        }
        let mut ahead = vec![(Vec::new(), Self::ROOT)];
        while let Some((path, id)) = ahead.pop() {
            for (name, child) in self.children(id) {
                let mut below = path.clone();
                below.extend_from_slice(name);
                let id = child.node;
                if self.is_directory(id) {
                    below.push(b'/');
                    self.write_directory(out, &below, id, marks)?;
                    ahead.push((below, id));
                } else if marks == Marks::Registry && self.is_mark(id) {
                    below.splice(path.len()..path.len(), WHITEOUT.iter().copied());
                    write_mark(out, &below)?;
                } else if files.paths.contains_key(&id) {
                    files.links.push((below, id));
                } else {
                    self.write_name(out, &below, id, &mut files)?;
                    files.paths.insert(id, below);
                }
            }
        }
        Ok(files)
    }

    fn write_directory(
        &self,
        out: &mut Builder<impl Write>,
        path: &[u8],
        id: NodeId,
        marks: Marks,
    ) -> io::Result<()> {
        let mut attributes = Cow::Borrowed(&self.node(id).attributes);
        let opaque = self.opaque.contains(&id);
        if opaque && marks == Marks::Overlay {
            let (name, value) = OPAQUE_ATTRIBUTE;
            attributes.to_mut().xattrs.push((name.to_vec(), value.to_vec()));
        }
        Member::new(path, &attributes, EntryType::Directory).append(out, io::empty())?;
        if opaque && marks == Marks::Registry {
            write_mark(out, &[path, OPAQUE].concat())?;
        }
        Ok(())
    }

    fn write_name(
        &self,
        out: &mut Builder<impl Write>,
        path: &[u8],
        id: NodeId,
        files: &mut Files,
    ) -> io::Result<()> {
        let node = self.node(id);
        let member = |kind| Member::new(path, &node.attributes, kind);
        match &node.content {
            Content::InLayer { layer, entry } => {
                files.wanted.entry(*layer).or_default().insert(*entry, id);
                Ok(())
            }
            Content::Text(text) => {
                member(EntryType::Regular).sized(text.len() as u64).append(out, text.as_slice())
            }
            Content::Symlink(target) => member(EntryType::Symlink).to(target).append(out, io::empty()),
            Content::CharacterDevice { major, minor } => {
                member(EntryType::Char).numbered(*major, *minor).append(out, io::empty())
            }
            Content::BlockDevice { major, minor } => {
                member(EntryType::Block).numbered(*major, *minor).append(out, io::empty())
            }
            Content::Fifo => member(EntryType::Fifo).append(out, io::empty()),
            // Its caller has seen to it.
            Content::Directory(_) => Ok(()),
        }
    }

    /// Writes the files whose content is in one layer.
    fn write_files<R: Read>(
        &self,
        out: &mut Builder<impl Write>,
        mut entries: Entries<R>,
        wanted: &HashMap<u64, NodeId>,
        paths: &HashMap<NodeId, Vec<u8>>,
    ) -> Outcome<()> {
        let (mut number, mut written) = (0, 0);
        while written < wanted.len() {
            let Some(entry) = entries.next().doing(|| "reading a layer".into())? else {
                return Err(Failure::new("a layer changed while it was read"));
            };
            let node = wanted.get(&number).and_then(|node| Some((node, paths.get(node)?)));
            if let (Some((node, path)), Kind::File { size }) = (node, &entry.kind) {
                let attributes = &self.node(*node).attributes;
                let member = Member::new(path, attributes, EntryType::Regular).sized(*size);
                member.append(out, &mut entries).doing(writing)?;
                written += 1;
            }
            number += 1;
        }
        Ok(())
    }
}

fn write_mark(out: &mut Builder<impl Write>, path: &[u8]) -> io::Result<()> {
    Member::new(path, &Attributes::of_root(MARK_MODE), EntryType::Regular).append(out, io::empty())
}

fn writing() -> String {
    "writing the files of the image".into()
}

/// One entry of the stream.
struct Member<'a> {
    path: &'a [u8],
    attributes: &'a Attributes,
    kind: EntryType,
    link: Option<&'a [u8]>,
    device: (u32, u32),
    size: u64,
}

impl<'a> Member<'a> {
    fn new(path: &'a [u8], attributes: &'a Attributes, kind: EntryType) -> Self {
        Self { path, attributes, kind, link: None, device: (0, 0), size: 0 }
    }

    fn to(self, link: &'a [u8]) -> Self {
        Self { link: Some(link), ..self }
    }

    fn numbered(self, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..self }
    }

    fn sized(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// Writes it. What its header cannot hold goes before it.
    fn append(self, out: &mut Builder<impl Write>, content: impl Read) -> io::Result<()> {
        let mut records = Vec::new();
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        match old.name.get_mut(..self.path.len()) {
            Some(field) => field.copy_from_slice(self.path),
            None => record(&mut records, b"path", self.path),
        }
        if let Some(link) = self.link {
            match old.linkname.get_mut(..link.len()) {
                Some(field) => field.copy_from_slice(link),
                // In a PAX record mksquashfs 4.5 would take the target for a name in the archive and cut `../` off.
                None => extension(out, EntryType::GNULongLink, &[link, b"\0"].concat())?,
            }
        }
        for (name, value) in &self.attributes.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            extension(out, EntryType::XHeader, &records)?;
        }
        header.set_entry_type(self.kind);
        header.set_mode(self.attributes.mode);
        header.set_uid(self.attributes.uid.into());
        header.set_gid(self.attributes.gid.into());
        header.set_mtime(self.attributes.mtime.into());
        header.set_size(self.size);
        header.set_device_major(self.device.0)?;
        header.set_device_minor(self.device.1)?;
        header.set_cksum();
        out.append(&header, content)
    }
}

/// Writes what says more of the entry that follows.
fn extension(out: &mut Builder<impl Write>, kind: EntryType, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_cksum();
    out.append(&header, content)
}

/// Adds a PAX record, `LENGTH KEY=VALUE\n`, whose length counts its own digits too.
pub(super) fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}
