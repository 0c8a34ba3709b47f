//! Which format a file has: SIF, squashfs, ext3, in this order; the first whose mark is there decides.

use super::{Bytes, Defect, Format, ext3, native, squashfs};
use crate::sif;
use protocol::Window;

/// How far into a file the first line is looked for.
const FIRST_LINE_BYTES_MAX: usize = 2048;
/// What the first line of a Singularity 2 image has after its interpreter.
const LAUNCHER: &[u8] = b" run-singularity";

/// Tells the format of a regular file by its content and checks the headers of everything in it that may be mounted.
///
/// # Errors
/// What is wrong with the content; [`Defect::Unrecognised`] when it has the mark of no format.
pub fn detect(bytes: &impl Bytes) -> Result<Format, Defect> {
    if sif::table::has_magic(bytes)? {
        let table = sif::Table::read(bytes)?;
        return native::inspect(bytes, table);
    }
    let offset = launch_line_bytes(bytes)?;
    let window = Window { offset, size: bytes.length() - offset };
    if let Some(squashfs) = squashfs::probe(bytes, window)? {
        return Ok(Format::Squashfs(squashfs));
    }
    if let Some(ext3) = ext3::probe(bytes, window)? {
        return Ok(Format::Ext3(ext3));
    }
    Err(Defect::Unrecognised)
}

/// How many bytes of a bare image are its launch line: 0, or up to and with the byte after ` run-singularity` when
/// the file begins with `#!` and that is on its first line. Never more than the file has.
fn launch_line_bytes(bytes: &impl Bytes) -> Result<u64, Defect> {
    let mut start = [0; FIRST_LINE_BYTES_MAX];
    let present = usize::try_from(bytes.length()).map_or(start.len(), |length| length.min(start.len()));
    let start = &mut start[..present];
    bytes.read_at(0, start)?;
    if !start.starts_with(b"#!") {
        return Ok(0);
    }
    let line_end = start.iter().position(|byte| *byte == b'\n').unwrap_or(start.len());
    let found = start[..line_end].windows(LAUNCHER.len()).position(|window| window == LAUNCHER);
    let offset = found.map_or(0, |at| at as u64 + LAUNCHER.len() as u64 + 1);
    Ok(if offset > bytes.length() { 0 } else { offset })
}

#[cfg(test)]
mod tests;
