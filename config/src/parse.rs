//! From the text of `singularity.conf` to [`Settings`].
//!
//! A line is `name = value`. The name is made of letters, blanks, `_` and `-`, and is matched exactly; a line of any
//! other form, a comment or an unknown directive is passed over. There are no comments after a value. Blanks around
//! name and value do not count, and neither does a line whose value is empty. Values are split on commas: the first
//! value ever written decides a directive that has one, all of them together make a list.

use crate::values::{Field, Kind, Problem};
use crate::{Settings, TABLE};
use std::fmt;

/// Longest file in bytes; thousands of times what a site writes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest value in bytes, commas and all: as long as the kernel lets a path be.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Most entries of one list.
pub const LIST_ENTRIES_MAX: usize = 1024;
/// How much of a wrong value an error repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 80;

/// Some editors put these bytes first; left there, they would hide the directive of the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The text has more than [`FILE_BYTES_MAX`] bytes.
    FileTooLong,
    /// A NUL byte, which no text has.
    NulByte {
        /// Where it is, counted from 1.
        line: u32,
    },
    /// A carriage return that is not the end of a line: what follows it looks like a line of its own and is none.
    StrayCarriageReturn {
        /// Where it is, counted from 1.
        line: u32,
    },
    /// A directive cannot have this value.
    Value {
        /// The name of the directive.
        directive: &'static str,
        /// Where it was written, counted from 1.
        line: u32,
        /// What was written, fit for a terminal; cut short if it is long.
        value: String,
        /// What could have been written.
        accepted: Kind,
    },
    /// The value of a directive has more than [`VALUE_BYTES_MAX`] bytes.
    ValueTooLong {
        /// The name of the directive.
        directive: &'static str,
        /// Where it was written, counted from 1.
        line: u32,
    },
    /// A list has more than [`LIST_ENTRIES_MAX`] entries.
    ListTooLong {
        /// The name of the directive.
        directive: &'static str,
        /// Where the last entry was written, counted from 1.
        line: u32,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::FileTooLong => write!(out, "it is longer than {FILE_BYTES_MAX} bytes"),
            Self::NulByte { line } => write!(out, "line {line}: a NUL byte"),
            Self::StrayCarriageReturn { line } => {
                write!(out, "line {line}: a carriage return inside the line; end lines with a newline")
            }
            Self::Value { directive, line, value, accepted } => {
                let text = "value authorized for directive";
                write!(out, "line {line}: {text} \"{directive}\" are {accepted}, but it says \"{value}\"")
            }
            Self::ValueTooLong { directive, line } => {
                write!(
                    out,
                    "line {line}: the value of \"{directive}\" is longer than {VALUE_BYTES_MAX} bytes"
                )
            }
            Self::ListTooLong { directive, line } => {
                write!(out, "line {line}: \"{directive}\" has more than {LIST_ENTRIES_MAX} entries")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Settings {
    /// Reads the text of a configuration file.
    ///
    /// Lines may end in `\n` or `\r\n`; the carriage return is never part of a value. Anywhere else it is an error.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with a directive of the table, and whatever makes the text doubtful as a whole. Only the
    /// first error is reported.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(ConfigError::FileTooLong);
        }
        let mut settings = Self::default();
        for directive in assignments(text) {
            let (line, name, value) = directive?;
            settings.set(name, value, line)?;
        }
        Ok(settings)
    }
}

/// The directives of a text that are not in the table, with their lines: misspelt, of a later version, or of another
/// program. [`Settings::parse`] passes over them; whoever checks a file wants to hear of them.
pub fn unknown_directives(text: &[u8]) -> impl Iterator<Item = (u32, &str)> {
    let unknown = |name: &str| !name.is_empty() && TABLE.iter().all(|directive| directive.name != name);
    assignments(text)
        .filter_map(Result::ok)
        .map(|(line, name, _)| (line, name))
        .filter(move |(_, name)| unknown(name))
}

/// Line, name and value of every line that has the form of a directive, whether it is in the table or not. Values are
/// as they were written, blanks and all. Whoever checks or edits a file reads it with the same rules as
/// [`Settings::parse`].
///
/// # Errors
///
/// In place of a line whose bytes are no text of a configuration.
pub fn assignments(text: &[u8]) -> impl Iterator<Item = Result<(u32, &str, &[u8]), ConfigError>> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    (1..).zip(text.split(|byte| *byte == b'\n')).filter_map(|(number, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&0) {
            return Some(Err(ConfigError::NulByte { line: number }));
        }
        if line.contains(&b'\r') {
            return Some(Err(ConfigError::StrayCarriageReturn { line: number }));
        }
        name_and_value(line).map(|(name, value)| Ok((number, name, value)))
    })
}

/// The two sides of the first `=`, if the left one has the form of a name. Most lines are comments, which end the
/// search with their first byte.
fn name_and_value(line: &[u8]) -> Option<(&str, &[u8])> {
    let of_a_name = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b' ' | b'_' | b'-');
    let around_a_name = |byte: &u8| matches!(byte, b'\t' | b'\x0c');
    let equals = line.iter().position(|byte| !of_a_name(byte) && !around_a_name(byte))?;
    let (left, right) = line.split_at_checked(equals)?;
    let value = right.strip_prefix(b"=")?;
    let name =
        std::str::from_utf8(left).ok()?.trim_start_matches(['\t', '\x0c', ' ']).trim_end_matches(['\t', ' ']);
    name.as_bytes().iter().all(of_a_name).then_some((name, value))
}

/// Puts the value of one line into the field of its directive.
pub(crate) fn write<F: Field>(
    field: &mut F,
    directive: &'static str,
    value: &[u8],
    line: u32,
) -> Result<(), ConfigError> {
    let wrong = || {
        let quoted = value.trim_ascii();
        let value = quoted.get(..QUOTED_BYTES_MAX).unwrap_or(quoted).escape_ascii().to_string();
        ConfigError::Value { directive, line, value, accepted: F::KIND }
    };
    let text = std::str::from_utf8(value).map_err(|_| wrong())?.trim();
    if text.len() > VALUE_BYTES_MAX {
        return Err(ConfigError::ValueTooLong { directive, line });
    }
    if text.is_empty() {
        return Ok(());
    }
    field.write(text, line).map_err(|problem| match problem {
        Problem::NotAccepted => wrong(),
        Problem::ListTooLong => ConfigError::ListTooLong { directive, line },
    })
}
