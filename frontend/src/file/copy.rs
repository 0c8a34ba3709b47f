//! Copying a part of a file with its holes.

use nix::errno::Errno;
use nix::unistd::Whence;
use protocol::Window;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes copied at once where the kernel does not copy by itself.
const CHUNK_BYTES: usize = 1 << 20;

/// Copies a part of `from` to `to` at `at`, which must read as zeroes over that length: holes of the source are left out,
/// so they stay holes. Data is shared instead of copied where the file system can. The position of `from` changes.
///
/// # Errors
/// `from` ends before the part does (`UnexpectedEof`); what reading or writing said.
pub fn copy(from: &File, part: Window, to: &File, at: u64) -> io::Result<()> {
    let end = part.offset.checked_add(part.size).ok_or(io::ErrorKind::InvalidInput)?;
    at.checked_add(part.size).ok_or(io::ErrorKind::InvalidInput)?;
    if from.metadata()?.len() < end {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut position = part.offset;
    while let Some(data) = next_data(from, position, end)? {
        copy_data(from, data, to, at + (data.offset - part.offset))?;
        position = data.offset + data.size;
    }
    Ok(())
}

/// The first run of data between `position` and `end`.
fn next_data(file: &File, position: u64, end: u64) -> io::Result<Option<Window>> {
    let offset = match seek(file, position, Whence::SeekData) {
        Ok(offset) => offset,
        Err(Errno::ENXIO) => return Ok(None),
        // A file system that keeps no account of holes.
        Err(Errno::EINVAL) => position,
        Err(errno) => return Err(errno.into()),
    };
    if offset >= end {
        return Ok(None);
    }
    let hole = match seek(file, offset, Whence::SeekHole) {
        Ok(hole) => hole.min(end),
        Err(Errno::EINVAL) => end,
        Err(errno) => return Err(errno.into()),
    };
    Ok((hole > offset).then_some(Window { offset, size: hole - offset }))
}

fn seek(file: &File, position: u64, to: Whence) -> Result<u64, Errno> {
    let position = i64::try_from(position).map_err(|_| Errno::EOVERFLOW)?;
    let found = nix::unistd::lseek(file, position, to)?;
    u64::try_from(found).map_err(|_| Errno::EOVERFLOW)
}

fn copy_data(from: &File, data: Window, to: &File, at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < data.size {
        match copy_in_kernel(from, data.offset + done, to, at + done, data.size - done) {
            // Between file systems, into or from a special one, on an old kernel: by hand.
            None | Some(0) => break,
            Some(copied) => done += copied,
        }
    }
    let mut chunk = vec![0; if done < data.size { CHUNK_BYTES } else { 0 }];
    while done < data.size {
        let wanted = usize::try_from(data.size - done).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let chunk = &mut chunk[..wanted];
        from.read_exact_at(chunk, data.offset + done)?;
        to.write_all_at(chunk, at + done)?;
        done += wanted as u64;
    }
    Ok(())
}

/// Bytes that the kernel copied; `None` when it does not. An error that is more than that shows again by hand.
fn copy_in_kernel(from: &File, offset: u64, to: &File, at: u64, length: u64) -> Option<u64> {
    let (mut offset, mut at) = (i64::try_from(offset).ok()?, i64::try_from(at).ok()?);
    // The kernel copies at most 2 GiB at once.
    let length = usize::try_from(length.min(1 << 30)).ok()?;
    let copied = nix::fcntl::copy_file_range(from, Some(&mut offset), to, Some(&mut at), length).ok()?;
    u64::try_from(copied).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn file_in(directory: &str) -> File {
        tempfile::tempfile_in(directory).unwrap()
    }

    fn read(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_part_is_copied_with_its_holes_within_and_between_file_systems() {
        for (there, here) in [("/tmp", "/tmp"), ("/dev/shm", "/tmp"), ("/tmp", "/dev/shm")] {
            let (from, to) = (file_in(there), file_in(here));
            from.set_len(64 << 20).unwrap();
            from.write_all_at(&[1; 5000], 3000).unwrap();
            from.write_all_at(&[2; 100], 40 << 20).unwrap();
            let part = Window { offset: 4000, size: 50 << 20 };
            to.set_len(100 + part.size).unwrap();
            copy(&from, part, &to, 100).unwrap();
            assert!(read(&from)[4000..][..50 << 20] == read(&to)[100..], "{there} {here}");
            assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20, "{there} {here}");
        }
    }

    #[test]
    fn a_part_that_the_source_does_not_have_is_an_error() {
        let (from, to) = (file_in("/tmp"), file_in("/tmp"));
        from.set_len(4096).unwrap();
        for (offset, size) in [(0, 4097), (4097, 0), (u64::MAX, 1), (1, u64::MAX)] {
            copy(&from, Window { offset, size }, &to, 0).unwrap_err();
        }
        copy(&from, Window { offset: 4096, size: 0 }, &to, 0).unwrap();
    }
}
