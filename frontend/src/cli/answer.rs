//! What was asked for, on standard output.

use crate::error::{Doing, Outcome};
use std::io::{self, ErrorKind, Write};

/// Spaces between the columns of a list.
const GAP: usize = 4;

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

/// Cells of equal width in each column but the last.
#[must_use]
pub fn in_columns(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0) + GAP
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let (last, before) = row.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        for (cell, width) in before.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let text =
            in_columns(&[row(["NAME", "PID", "IMAGE"]), row(["a", "1234", "/x"]), row(["", "", "/y"])]);
        assert_eq!(text, "NAME    PID     IMAGE\na       1234    /x\n                /y\n");
    }
}
