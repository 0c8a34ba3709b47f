//! The names in a directory. An index over them (`dir_index`) looks like unused entries and is passed over.

use super::inode::{Inode, Kind};
use super::{Content, FileSystem, u16_of, u32_of};
use crate::image::{Bytes, Defect};
use std::io::Read;

/// Longest directory that is read: half a million names of ordinary length.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;
/// Bytes of an entry before its name.
const ENTRY_BYTES: usize = 8;

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// The name: at most 255 bytes, no `/` and no NUL among them.
    pub name: Vec<u8>,
    /// The number of the inode.
    pub inode: u32,
}

impl<'a, B: Bytes> FileSystem<'a, B> {
    /// The names in a directory but `.` and `..`, in order.
    ///
    /// # Errors
    /// It is no directory, is longer than any that is read, or makes no sense.
    pub fn entries(&self, directory: &Inode) -> Result<Vec<Entry>, Defect> {
        let damaged = Defect::ExtDamaged(directory.number);
        if directory.kind != Kind::Directory {
            return Err(damaged);
        }
        if directory.size > DIRECTORY_BYTES_MAX {
            return Err(Defect::ExtUnsupported(directory.number));
        }
        let mut content = self.content(directory);
        let mut block = vec![0; self.block_bytes as usize];
        let mut entries = Vec::new();
        for _ in 0..directory.size / u64::from(self.block_bytes) {
            content
                .read_exact(&mut block)
                .map_err(|error| Content::<B>::defect(&error).unwrap_or(damaged))?;
            self.entries_in(&block, &mut entries).ok_or(damaged)?;
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// The entry of one name.
    ///
    /// # Errors
    /// As [`FileSystem::entries`].
    pub fn entry(&self, directory: &Inode, name: &[u8]) -> Result<Option<Entry>, Defect> {
        Ok(self.entries(directory)?.into_iter().find(|entry| entry.name == name))
    }

    /// Takes the entries of one block; `None` where it makes no sense.
    fn entries_in(&self, mut rest: &[u8], entries: &mut Vec<Entry>) -> Option<()> {
        while !rest.is_empty() {
            let length = match u16_of(rest, 4) {
                // What 16 bits cannot say, a block of 64 KiB.
                0 | u16::MAX => rest.len(),
                length => usize::from(length),
            };
            let name_length = match self.entries_have_types {
                true => usize::from(*rest.get(6)?),
                false => usize::from(u16_of(rest, 6)),
            };
            let (entry, behind) = rest.split_at_checked(length).filter(|_| length >= ENTRY_BYTES)?;
            let inode = u32_of(entry, 0);
            if inode != 0 {
                let name = entry.get(ENTRY_BYTES..ENTRY_BYTES + name_length)?;
                if name.is_empty() || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
                    return None;
                }
                if name != b"." && name != b".." {
                    entries.push(Entry { name: name.to_vec(), inode });
                }
            }
            rest = behind;
        }
        Some(())
    }
}
