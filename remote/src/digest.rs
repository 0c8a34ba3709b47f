//! Contents held against their digests.

use frontend::error::{Failure, Outcome};
use frontend::message::shown;
use frontend::sif::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// Reads a digest out of a document.
///
/// # Errors
/// It is none, or of a kind other than SHA-256, the only one that registries use in practice.
pub(crate) fn parse(text: &str) -> Outcome<Digest> {
    Digest::parse(text).ok_or_else(|| Failure::new(format!("\"{}\" is not a SHA-256 digest", shown(text))))
}

/// The 64 digits of a digest.
pub(crate) fn hex(digest: Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

/// What a hash comes to.
pub(crate) fn finish(hash: Sha256) -> Digest {
    Digest(hash.finalize().into())
}

/// Checks that what came is what was asked for.
///
/// # Errors
/// It is not; `what` is for the message.
pub(crate) fn check(came: Digest, expected: Digest, what: &str) -> Outcome<()> {
    if came == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what} is not what its digest says: {expected} was expected, {came} came"))
        .hint("It was damaged on its way or where it is stored; nothing of it is used"))
}

/// A reader or writer that hashes what goes through it.
#[derive(Debug)]
pub(crate) struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<T> Hashing<T> {
    /// Begins before the first byte.
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// What is behind it, and what went through comes to.
    pub(crate) fn into_parts(self) -> (T, Digest) {
        (self.inner, finish(self.hash))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Hashing<R> {
    /// Reads what is left, and says what all of it hashes to.
    ///
    /// # Errors
    /// What reading says.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(finish(self.hash))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_covers_what_nobody_read() {
        let mut hashing = Hashing::new(&b"abc"[..]);
        hashing.read_exact(&mut [0]).unwrap();
        assert_eq!(hashing.finish().unwrap(), Digest::of(b"abc"));
    }
}
