//! Extended attributes, in the inode itself and in a block of their own.

use super::inode::Inode;
use super::{FileSystem, u16_of, u32_of};
use crate::image::{Bytes, Defect};

/// What both places begin with.
const MAGIC: u32 = 0xEA02_0000;
/// Bytes of the head of a block of attributes.
const BLOCK_HEAD_BYTES: usize = 32;
/// Bytes of an entry before its name.
const ENTRY_BYTES: usize = 16;

/// An extended attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Its name with its name space, such as `user.note`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl<'a, B: Bytes> FileSystem<'a, B> {
    /// All extended attributes of an inode.
    ///
    /// # Errors
    /// They make no sense, or cannot be read.
    pub fn attributes(&self, inode: &Inode) -> Result<Vec<Attribute>, Defect> {
        let damaged = Defect::ExtDamaged(inode.number);
        let mut attributes = Vec::new();
        let space = inode.attribute_space();
        if u32_of(space, 0) == MAGIC {
            // Places of values count from behind the magic.
            let entries = space.get(4..).ok_or(damaged)?;
            take(entries, entries, &mut attributes).ok_or(damaged)?;
        }
        if inode.attribute_block() != 0 {
            let block =
                self.block(inode.attribute_block()).map_err(|defect| defect.of_inode(inode.number))?;
            let entries =
                block.get(BLOCK_HEAD_BYTES..).filter(|_| u32_of(&block, 0) == MAGIC).ok_or(damaged)?;
            take(entries, &block, &mut attributes).ok_or(damaged)?;
        }
        Ok(attributes)
    }
}

/// Takes attributes from their entries and values; `None` where they make no sense.
fn take(mut entries: &[u8], values: &[u8], attributes: &mut Vec<Attribute>) -> Option<()> {
    while u32_of(entries, 0) != 0 {
        let (name_length, name_space) = (usize::from(*entries.first()?), *entries.get(1)?);
        let (at, length) = (usize::from(u16_of(entries, 2)), usize::try_from(u32_of(entries, 8)).ok()?);
        let in_another_inode = u32_of(entries, 4) != 0;
        if in_another_inode {
            return None;
        }
        let name = entries.get(ENTRY_BYTES..ENTRY_BYTES + name_length)?;
        let value = values.get(at..at.checked_add(length)?)?.to_vec();
        attributes.push(Attribute { name: [prefix(name_space)?, name].concat(), value });
        entries = entries.get((ENTRY_BYTES + name_length).next_multiple_of(4)..)?;
    }
    Some(())
}

/// What the number of a name space stands for.
fn prefix(name_space: u8) -> Option<&'static [u8]> {
    Some(match name_space {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        7 => b"system.",
        _ => return None,
    })
}
