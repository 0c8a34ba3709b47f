//! How a command fails: what was being done, to what, why, and what to do next.

use crate::message::shown;
use std::fmt;

/// The exit status of every failure of ours, as scripts of the incumbents expect.
pub const FAILURE_STATUS: u8 = 255;

/// A failure that ends the command with `FATAL:` and [`FAILURE_STATUS`].
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

/// The result of anything that can end a command.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure described by one sentence: what was being done, to what, and why it did not work.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Adds what the user can do next, as one sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds why, in parentheses.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.message = format!("{} ({why})", self.message);
        self
    }

    /// Puts what was being done in front, as the incumbents chain their messages: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What the user can do next, if anything is known.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Turns an operating system error into a [`Failure`] that says what was being done.
pub trait Doing<T> {
    /// `doing` reads like "opening image /a/b".
    ///
    /// # Errors
    /// The error it was given, described.
    fn doing(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        // Errors of libraries repeat what they read, and that may be anybody's.
        self.map_err(|error| Failure::new(format!("while {}: {}", doing(), shown(reason_of(&error)))))
    }
}

/// What an error says to people: without the number that the standard library adds to the kernel's words, without the path
/// of a file under a made-up name that `tempfile` adds to that, and without the name that `nix` puts in front of them.
pub(crate) fn reason_of(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((words, rest)) = text.rsplit_once(" (os error ")
        && let Some((number, path)) = rest.split_once(')')
        && digits(number)
        && (path.is_empty() || path.starts_with(" at path \""))
    {
        return words.to_owned();
    }
    let is_name = |text: &str| {
        let of_a_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        text.starts_with('E') && text.len() > 2 && text.bytes().all(of_a_name)
    };
    match text.split_once(": ") {
        Some((name, words)) if is_name(name) => words.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_kernel_is_told_in_words_alone() {
        let closed = nix::errno::Errno::EACCES;
        assert_eq!(reason_of(&closed), "Permission denied");
        assert_eq!(reason_of(&std::io::Error::from(closed)), "Permission denied");
        let of_tempfile = tempfile::tempdir_in("/nonexistent").unwrap_err();
        assert_eq!(reason_of(&of_tempfile), "No such file or directory");
        for other in ["E: no", "invalid type: map", "EISDIR", "x (os error y)", "line 3: ENOENT: x"] {
            assert_eq!(reason_of(&other), other);
        }
    }

    #[test]
    fn what_a_library_repeats_of_a_file_cannot_reach_the_terminal() {
        let failure =
            Err::<(), _>("no number: \u{1b}[31m\nFATAL:   x").doing(|| "reading".into()).unwrap_err();
        assert_eq!(failure.to_string(), "while reading: no number: \\u{1b}[31m\\nFATAL:   x");
    }
}
