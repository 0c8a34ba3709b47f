//! What was asked for, on standard output.

use crate::error::{Doing, Outcome};
use std::io::{self, ErrorKind, Write};

/// Prints an answer.
///
/// # Errors
/// Standard output cannot be written to.
pub fn print(text: impl AsRef<[u8]>) -> Outcome<()> {
    let mut out = io::stdout();
    out.write_all(text.as_ref())
        .and_then(|()| out.flush())
        .or_else(unless_nobody_reads)
        .doing(|| "writing to standard output".into())
}

/// A reader that has seen enough, as `head` has, is no failure.
///
/// # Errors
/// The error it was given, if it is another one.
pub fn unless_nobody_reads(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    }
}
