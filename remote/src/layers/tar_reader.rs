//! The entries of a tar stream, with bounds on everything that is kept in memory.
//!
//! The headers are those of the `tar` crate. Its own iterator is not used: it keeps long names and PAX records of any
//! length, and splits the records at line feeds, which are ordinary bytes in the extended attributes of files.

use std::io::{self, Read};
use tar::{EntryType, Header};

const BLOCK_BYTES: u64 = 512;
/// Most bytes of long names or PAX records that describe one entry.
const RECORDS_BYTES_MAX: u64 = 1 << 20;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970; earlier times are taken for 0.
    pub(crate) mtime: u32,
    /// Extended attributes by name, in the order of the stream.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    File { size: u64 },
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// A tar stream, read entry by entry. Reading from it gives the content of the entry that came last.
#[derive(Debug)]
pub(crate) struct Entries<R> {
    input: R,
    /// What is left of the last entry's content.
    content: u64,
    /// What fills its last block.
    padding: u64,
}

/// What extended headers say of the entry that follows them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, content: 0, padding: 0 }
    }

    /// What the entries are read from, wherever it has got to.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size()?;
            match header.entry_type() {
                EntryType::GNULongName => extended.path = Some(terminated(self.records(size)?)),
                EntryType::GNULongLink => extended.link = Some(terminated(self.records(size)?)),
                EntryType::XHeader => extended.take_in(&self.records(size)?)?,
                // What holds for all entries is comments in practice, such as the commit of an archive.
                EntryType::XGlobalHeader => self.begin(size),
                _ => return self.entry(&header, extended).map(Some),
            }
        }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut filled = 0;
        let block = header.as_mut_bytes();
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(wrong("it ends in the middle of a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let spaces = 8 * u32::from(b' ');
        let (before, after) = (block.get(..148).unwrap_or_default(), block.get(156..).unwrap_or_default());
        if sum(before) + spaces + sum(after) != header.cksum()? {
            return Err(wrong("the checksum of a header does not agree"));
        }
        Ok(Some(header))
    }

    fn begin(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
    }

    fn skip(&mut self) -> io::Result<()> {
        let content = std::mem::take(&mut self.content);
        if io::copy(&mut (&mut self.input).take(content), &mut io::sink())? < content {
            return Err(wrong("it ends in the middle of a file"));
        }
        // Some writers end with the last byte that matters.
        let padding = std::mem::take(&mut self.padding);
        io::copy(&mut (&mut self.input).take(padding), &mut io::sink()).map(drop)
    }

    fn records(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > RECORDS_BYTES_MAX {
            return Err(wrong("the description of a file is longer than 1 MiB"));
        }
        self.begin(size);
        let mut records = Vec::new();
        self.read_to_end(&mut records)?;
        Ok(records)
    }

    fn entry(&mut self, header: &Header, extended: Extended) -> io::Result<Entry> {
        let size = match extended.size {
            Some(size) => size,
            None => header.entry_size()?,
        };
        let path = extended.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || {
            let own = || header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
            extended.link.clone().unwrap_or_else(own)
        };
        let device = || -> io::Result<(u32, u32)> {
            Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
        };
        let kind = match header.entry_type() {
            // Old archives have no type for directories, only names that end with a slash.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File { size },
            EntryType::Link => Kind::HardLink(link()),
            EntryType::Symlink => Kind::Symlink(link()),
            EntryType::Directory => Kind::Directory,
            EntryType::Char => device().map(|(major, minor)| Kind::CharacterDevice { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => {
                return Err(wrong("it has a file with holes, a form that layers do not have"));
            }
            other => {
                return Err(wrong(&format!("it has an entry of unknown type {:#04x}", other.as_byte())));
            }
        };
        // Some writers give a link the size of its target although no content follows.
        self.begin(if matches!(kind, Kind::File { .. }) { size } else { 0 });
        let plain = header.as_old();
        Ok(Entry {
            path,
            kind,
            mode: filled(&plain.mode, header.mode())? & 0o7777,
            uid: id(extended.uid, filled(&plain.uid, header.uid())?)?,
            gid: id(extended.gid, filled(&plain.gid, header.gid())?)?,
            mtime: match extended.mtime {
                Some(time) => seconds(time.max(0).unsigned_abs()),
                // Times before 1970 are numbers that the header's reader does not know.
                None => seconds(header.mtime().unwrap_or(0)),
            },
            xattrs: extended.xattrs,
        })
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = (&mut self.input).take(self.content).read(into)?;
        if read == 0 && self.content > 0 && !into.is_empty() {
            return Err(wrong("it ends in the middle of a file"));
        }
        self.content -= read as u64;
        Ok(read)
    }
}

impl Extended {
    /// Reads records of the form `LENGTH KEY=VALUE\n`, where the length counts all of it.
    fn take_in(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let (record, rest) = split_record(records).ok_or_else(|| wrong("a PAX record is malformed"))?;
            let (key, value) = record;
            self.set(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => {
                self.mtime = Some(number(value.split(|byte| *byte == b'.').next().unwrap_or_default())?)
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if key.starts_with(b"GNU.sparse.") {
                    return Err(wrong("it has a file with holes, a form that layers do not have"));
                }
            }
        }
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split_record(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), &records[length..]))
}

fn number<N: std::str::FromStr>(text: &[u8]) -> io::Result<N> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| wrong("a PAX record has no number where one must be"))
}

fn id(extended: Option<u64>, plain: u64) -> io::Result<u32> {
    u32::try_from(extended.unwrap_or(plain)).map_err(|_| wrong("an owner's id does not fit 32 bits"))
}

/// The number in a field; 0 where it was left blank.
fn filled<N: Default>(field: &[u8], number: io::Result<N>) -> io::Result<N> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(N::default()) } else { number }
}

fn seconds(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

/// A name up to the NUL that ends it.
fn terminated(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    name
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a sound tar archive: {why}"))
}

#[cfg(test)]
#[path = "tar_reader_tests.rs"]
mod tests;
