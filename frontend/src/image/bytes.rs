//! The bytes of an image as a parser sees them: a length and reads at an offset, nothing else.
//!
//! Parsers are pure functions over this trait, so the same code runs over a slice in a test or a fuzzer and over a
//! descriptor in the reader child.

use super::Defect;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A run of bytes that can be read anywhere.
pub trait Bytes {
    /// How many there are.
    fn length(&self) -> u64;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`Defect::CutShort`] when the bytes end before, [`Defect::Unreadable`] when the system cannot read them.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Defect>;

    /// Reads an array from `offset`.
    ///
    /// # Errors
    /// As [`Bytes::read_at`].
    fn array_at<const N: usize>(&self, offset: u64) -> Result<[u8; N], Defect>
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }
}

impl Bytes for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Defect> {
        let start = usize::try_from(offset).map_err(|_| Defect::CutShort)?;
        let end = start.checked_add(buffer.len()).ok_or(Defect::CutShort)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(Defect::CutShort)?);
        Ok(())
    }
}

impl<T: Bytes + ?Sized> Bytes for &T {
    fn length(&self) -> u64 {
        (**self).length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Defect> {
        (**self).read_at(offset, buffer)
    }
}

/// An open file together with the length it had when it was looked at.
#[derive(Clone, Copy, Debug)]
pub struct FileBytes<'a> {
    file: &'a File,
    length: u64,
}

impl<'a> FileBytes<'a> {
    /// The first `length` bytes of a file. Reading makes no other system call than `pread64`, which is all that the
    /// reader child may do with it.
    #[must_use]
    pub fn new(file: &'a File, length: u64) -> Self {
        Self { file, length }
    }
}

impl Bytes for FileBytes<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Defect> {
        let end = offset.checked_add(buffer.len() as u64).ok_or(Defect::CutShort)?;
        if end > self.length {
            return Err(Defect::CutShort);
        }
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.raw_os_error() {
            Some(number) => Defect::Unreadable(number),
            None => Defect::CutShort,
        })
    }
}
