//! The tar stream of a whole tree.

use super::tar_reader::{Entries, Kind};
use super::tree::{Attributes, Content, NodeId, Tree};
use frontend::error::{Doing, Failure, Outcome};
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
    /// Writes a tar stream of all that is in the tree, but for the root directory itself: first what has no content
    /// in a layer, then the files of each layer in its own order, at last hard links. `open` gives a layer's
    /// stream once more.
    ///
    /// # Errors
    /// A layer cannot be read again as it was, or nobody reads what is written.
    pub(crate) fn write<S: Read>(
        &self,
        out: impl Write,
        mut open: impl FnMut(usize) -> Outcome<S>,
    ) -> Outcome<()> {
        let mut out = Builder::new(out);
        let files = self.write_names(&mut out).doing(writing)?;
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
    fn write_names(&self, out: &mut Builder<impl Write>) -> io::Result<Files> {
        let mut files = Files::default();
        let mut ahead = vec![(Vec::new(), Self::ROOT)];
        while let Some((path, id)) = ahead.pop() {
            for (name, child) in self.children(id) {
                let mut below = path.clone();
                below.extend_from_slice(name);
                let id = child.node;
                if self.is_directory(id) {
                    let attributes = &self.node(id).attributes;
                    below.push(b'/');
                    Member::new(&below, attributes, EntryType::Directory).append(out, io::empty())?;
                    ahead.push((below, id));
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

    /// Writes it. What its header cannot hold goes into PAX records before it.
    fn append(self, out: &mut Builder<impl Write>, content: impl Read) -> io::Result<()> {
        let mut records = Vec::new();
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        for (name, field, key) in
            [(Some(self.path), &mut old.name, "path"), (self.link, &mut old.linkname, "linkpath")]
        {
            let Some(name) = name else { continue };
            match field.get_mut(..name.len()) {
                Some(field) => field.copy_from_slice(name),
                None => record(&mut records, key.as_bytes(), name),
            }
        }
        for (name, value) in &self.attributes.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            let mut before = Header::new_gnu();
            before.set_entry_type(EntryType::XHeader);
            before.set_size(records.len() as u64);
            before.set_cksum();
            out.append(&before, records.as_slice())?;
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
