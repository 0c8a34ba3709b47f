//! A file that is longer than what the fuzzer gives, so that headers may speak of much data without there being any.

use frontend::image::{Bytes, Defect};

/// Some bytes, and zeroes behind them up to a length.
pub struct Endless<'a> {
    start: &'a [u8],
    length: u64,
}

impl<'a> Endless<'a> {
    /// A file of `length` bytes, or of as many as there are in `start`.
    pub fn new(start: &'a [u8], length: u64) -> Self {
        Self {
            start,
            length: length.max(start.len() as u64),
        }
    }
}

impl Bytes for Endless<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Defect> {
        let end = offset.checked_add(buffer.len() as u64).ok_or(Defect::CutShort)?;
        if end > self.length {
            return Err(Defect::CutShort);
        }
        buffer.fill(0);
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.start.len());
        let there = &self.start[from..];
        let there = &there[..there.len().min(buffer.len())];
        buffer[..there.len()].copy_from_slice(there);
        Ok(())
    }
}
