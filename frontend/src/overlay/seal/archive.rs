//! A tar archive as `mksquashfs -tar` reads it: POSIX records for attributes, long names and nothing else.

use super::marks::Settled;
use crate::ext3::Device;
use std::io::{self, Read, Write};
use tar::{Builder, EntryType, Header};

/// Bytes that a name or the target of a link has room for in a header.
const NAME_BYTES: usize = 100;

/// An archive being written.
pub(super) struct Archive<W: Write>(Builder<W>);

/// What an entry is beside its owner and permissions.
pub(super) enum What<'a> {
    Directory,
    /// A file of so many bytes.
    Regular(u64, &'a mut dyn Read),
    /// A symbolic link.
    Link(&'a [u8]),
    /// Another name for the file at a path.
    HardLink(&'a [u8]),
    CharacterDevice(Device),
    BlockDevice(Device),
    Pipe,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self(Builder::new(out))
    }

    /// Adds an entry. `modified` is in Unix seconds; what squashfs cannot say becomes what is nearest.
    pub(super) fn add(
        &mut self,
        path: &[u8],
        modified: i64,
        settled: &Settled,
        what: What<'_>,
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_mode(settled.permissions);
        header.set_uid(settled.uid.into());
        header.set_gid(settled.gid.into());
        header.set_mtime(u32::try_from(modified.max(0)).unwrap_or(u32::MAX).into());
        header.set_size(0);
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if !put_text(&mut header.as_old_mut().name, path) {
            records.push(("path".into(), path.to_vec()));
        }
        for (name, value) in &settled.attributes {
            records.push((format!("SCHILY.xattr.{name}"), value.clone()));
        }
        let nothing: &mut dyn Read = &mut io::empty();
        let (entry_type, content) = match what {
            What::Directory => (EntryType::Directory, nothing),
            What::Regular(size, content) => {
                header.set_size(size);
                (EntryType::Regular, content)
            }
            What::Link(target) => {
                self.put_target(&mut header, target)?;
                (EntryType::Symlink, nothing)
            }
            What::HardLink(path) => {
                self.put_target(&mut header, path)?;
                (EntryType::Link, nothing)
            }
            What::CharacterDevice(device) => (put_device(&mut header, device, EntryType::Char)?, nothing),
            What::BlockDevice(device) => (put_device(&mut header, device, EntryType::Block)?, nothing),
            What::Pipe => (EntryType::Fifo, nothing),
        };
        header.set_entry_type(entry_type);
        header.set_cksum();
        let records = records.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        self.0.append_pax_extensions(records)?;
        self.0.append(&header, content)
    }

    /// Puts the target of a link in its field or, if it is too long for that, in an entry of its own before this one. Of a
    /// target in a record mksquashfs takes a leading slash away.
    fn put_target(&mut self, header: &mut Header, target: &[u8]) -> io::Result<()> {
        if put_text(&mut header.as_old_mut().linkname, target) {
            return Ok(());
        }
        let content = [target, b"\0"].concat();
        let mut before = Header::new_gnu();
        put_text(&mut before.as_old_mut().name, b"././@LongLink");
        before.set_entry_type(EntryType::GNULongLink);
        before.set_size(content.len() as u64);
        before.set_cksum();
        self.0.append(&before, content.as_slice())
    }

    /// Writes the end.
    pub(super) fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.flush()
    }
}

fn put_device(header: &mut Header, device: Device, entry_type: EntryType) -> io::Result<EntryType> {
    header.set_device_major(device.major)?;
    header.set_device_minor(device.minor)?;
    Ok(entry_type)
}

/// Puts a name in its field as far as it has room, and tells whether it has.
fn put_text(field: &mut [u8; NAME_BYTES], text: &[u8]) -> bool {
    let fitting = text.len().min(NAME_BYTES);
    field[..fitting].copy_from_slice(&text[..fitting]);
    fitting == text.len()
}
