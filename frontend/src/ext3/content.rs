//! The content of a file, read from its blocks in order, holes as zeroes.

use super::inode::{Inode, Kind};
use super::{FileSystem, u32_of};
use crate::image::{Bytes, Defect};
use std::io::{self, Read};

/// Block numbers in an inode that lead to content directly.
const DIRECT: u64 = 12;
/// Blocks read at once, if they are neighbours: 128 blocks of 1 KiB or 32 of 4 KiB.
const RUN_BYTES: u64 = 128 << 10;
/// Longest target of a symbolic link.
const TARGET_BYTES_MAX: u64 = 4096;

/// The content of an inode. A defect comes as the inner error of an [`io::Error`]; [`Content::defect`] gets it back.
#[derive(Debug)]
pub struct Content<'a, B> {
    file_system: &'a FileSystem<'a, B>,
    inode: &'a Inode,
    position: u64,
    /// The last block of numbers that was read on each level, with its number.
    levels: [Option<(u32, Vec<u8>)>; 3],
    /// What was read and not yet taken.
    run: Vec<u8>,
    taken: usize,
}

impl<'a, B: Bytes> FileSystem<'a, B> {
    /// The content of a file or directory.
    #[must_use]
    pub fn content(&'a self, inode: &'a Inode) -> Content<'a, B> {
        Content {
            file_system: self,
            inode,
            position: 0,
            levels: [None, None, None],
            run: Vec::new(),
            taken: 0,
        }
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// It is none, is longer than any can be, or cannot be read.
    pub fn target(&self, link: &Inode) -> Result<Vec<u8>, Defect> {
        let damaged = Defect::ExtDamaged(link.number);
        if link.kind != Kind::Link || link.size == 0 || link.size > TARGET_BYTES_MAX {
            return Err(damaged);
        }
        if let Some(target) = link.short_target() {
            return Ok(target.to_vec());
        }
        let mut target = Vec::new();
        self.content(link)
            .read_to_end(&mut target)
            .map_err(|error| Content::<B>::defect(&error).unwrap_or(damaged))?;
        Ok(target)
    }
}

impl<B: Bytes> Content<'_, B> {
    /// What was wrong with the file system when reading failed; `None` for another error.
    #[must_use]
    pub fn defect(error: &io::Error) -> Option<Defect> {
        error.get_ref()?.downcast_ref::<Defect>().copied()
    }

    /// Reads on, as far as the next blocks are neighbours.
    fn read_run(&mut self) -> Result<(), Defect> {
        let block_bytes = u64::from(self.file_system.block_bytes);
        let first = self.position / block_bytes;
        let last = (self.inode.size - 1) / block_bytes;
        let most = (RUN_BYTES / block_bytes).max(1).min(last - first + 1);
        let start = self.physical(first)?;
        let mut blocks = 1;
        while blocks < most {
            let expected = if start == 0 { 0 } else { u64::from(start) + blocks };
            if u64::from(self.physical(first + blocks)?) != expected {
                break;
            }
            blocks += 1;
        }
        self.run.clear();
        self.run.resize(usize::try_from(blocks * block_bytes).map_err(|_| self.damaged())?, 0);
        if start != 0 {
            if u64::from(start) + blocks > u64::from(self.file_system.blocks) {
                return Err(self.damaged());
            }
            self.file_system.read_at(u64::from(start) * block_bytes, &mut self.run)?;
        }
        let left = usize::try_from(self.inode.size - self.position).unwrap_or(usize::MAX);
        self.run.truncate(left);
        self.taken = 0;
        Ok(())
    }

    fn damaged(&self) -> Defect {
        Defect::ExtDamaged(self.inode.number)
    }

    /// The block of the file system that has a block of the file; 0 is a hole.
    fn physical(&mut self, mut block: u64) -> Result<u32, Defect> {
        if block < DIRECT {
            return Ok(self.inode.block_number(block as usize));
        }
        block -= DIRECT;
        let numbers = u64::from(self.file_system.block_bytes / 4);
        let mut reach = numbers;
        for depth in 1..=3 {
            if block < reach {
                return self.descend(depth, block);
            }
            block -= reach;
            reach *= numbers;
        }
        // No file system can have a file as long.
        Err(self.damaged())
    }

    /// Follows block numbers through `depth` blocks of them.
    fn descend(&mut self, depth: usize, block: u64) -> Result<u32, Defect> {
        let numbers = u64::from(self.file_system.block_bytes / 4);
        let mut at = self.inode.block_number(DIRECT as usize + depth - 1);
        for level in (0..depth).rev() {
            if at == 0 {
                return Ok(0);
            }
            let index = block / numbers.pow(level as u32) % numbers;
            at = self.number_in(level, at, index as usize)?;
        }
        Ok(at)
    }

    /// A number in a block of numbers.
    fn number_in(&mut self, level: usize, block: u32, index: usize) -> Result<u32, Defect> {
        let damaged = self.damaged();
        let cached = self.levels.get_mut(level).ok_or(damaged)?;
        let numbers = match cached {
            Some((number, numbers)) if *number == block => numbers,
            _ => &mut cached.insert((block, self.file_system.block(block)?)).1,
        };
        Ok(u32_of(numbers, 4 * index))
    }
}

impl<B: Bytes> Read for Content<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.run.len() {
            if self.position >= self.inode.size {
                return Ok(0);
            }
            self.read_run().map_err(|defect| io::Error::other(defect.of_inode(self.inode.number)))?;
        }
        let left = self.run.get(self.taken..).unwrap_or_default();
        let length = left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&left[..length]);
        self.taken += length;
        self.position += length as u64;
        Ok(length)
    }
}
