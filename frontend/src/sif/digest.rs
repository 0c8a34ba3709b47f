//! The SHA-256 of content, by which OCI objects are named.

use crate::error::{Doing, Outcome};
use protocol::Window;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The SHA-256 of some bytes; shown as `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a part of a file. `what` says in a message what was being read.
    ///
    /// # Errors
    /// It cannot be read, or ends before the part does.
    pub fn of_part(file: &File, part: Window, what: impl Fn() -> String) -> Outcome<Self> {
        let mut digest = Sha256::new();
        let mut chunk = vec![0; usize::try_from(part.size).map_or(CHUNK_BYTES, |size| size.min(CHUNK_BYTES))];
        let mut done = 0;
        while done < part.size {
            let wanted = usize::try_from(part.size - done).map_or(chunk.len(), |left| left.min(chunk.len()));
            let chunk = &mut chunk[..wanted];
            file.read_exact_at(chunk, part.offset.saturating_add(done)).doing(&what)?;
            digest.update(&*chunk);
            done += wanted as u64;
        }
        Ok(Self(digest.finalize().into()))
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_text(text.as_bytes())
    }

    /// Reads the text form from bytes that may be no text at all.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let (pairs, rest) = text.strip_prefix(b"sha256:")?.as_chunks::<2>();
        let mut digest = [0; 32];
        if pairs.len() != digest.len() || !rest.is_empty() {
            return None;
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
