//! Words to the user on standard error, in the form the incumbents use: a label padded to eight columns.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI8, Ordering};

/// How much is said. A message is shown when its own level is at most the threshold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub enum Level {
    /// The command ends.
    Fatal = -4,
    /// Something failed.
    Error = -3,
    /// Something is not as asked for.
    Warning = -2,
    /// Something worth knowing.
    Info = 1,
    /// Shown with `-v`.
    Verbose = 4,
    /// Shown with `-d`.
    Debug = 5,
}

static THRESHOLD: AtomicI8 = AtomicI8::new(1);
static COLOUR: AtomicBool = AtomicBool::new(true);

/// Sets the threshold: 1 by default, 4 with `-v`, 5 with `-d`, -1 with `-q`, -3 with `-s`; and whether labels may
/// be coloured on a terminal.
pub fn configure(threshold: i8, colour: bool) {
    THRESHOLD.store(threshold, Ordering::Relaxed);
    COLOUR.store(colour, Ordering::Relaxed);
}

/// The threshold in force.
#[must_use]
pub fn threshold() -> i8 {
    THRESHOLD.load(Ordering::Relaxed)
}

/// Whether labels may be coloured where standard error is a terminal: nobody said no, `NO_COLOR` is not set, and the
/// terminal is not a dumb one.
#[must_use]
pub fn colour_allowed() -> bool {
    let minded = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    COLOUR.load(Ordering::Relaxed) && !minded && !dumb_terminal()
}

/// Whether the terminal, if there is one, takes no control sequences.
#[must_use]
pub fn dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|name| name == "dumb")
}

/// Says why the command ends: the failure and, under it, what to do next.
pub fn failure(failure: &crate::error::Failure) {
    say(Level::Fatal, &failure.to_string());
    if let Some(hint) = failure.next_step() {
        write(format!("         {hint}\n").as_bytes());
    }
}

/// Whether labels are coloured: allowed, and standard error a terminal.
#[must_use]
pub fn coloured() -> bool {
    colour_allowed() && std::io::stderr().is_terminal()
}

/// Says one line. A standard error that cannot be written to is nobody's fault and changes nothing.
pub fn say(level: Level, text: &str) {
    if level as i8 > threshold() {
        return;
    }
    let (label, colour) = match level {
        Level::Fatal => ("FATAL:", "\x1b[31m"),
        Level::Error => ("ERROR:", "\x1b[31m"),
        Level::Warning => ("WARNING:", "\x1b[33m"),
        Level::Info => ("INFO:", "\x1b[34m"),
        Level::Verbose => ("VERBOSE:", ""),
        Level::Debug => ("DEBUG:", ""),
    };
    let line = if coloured() && !colour.is_empty() {
        format!("{colour}{label:<8}\x1b[0m {text}\n")
    } else {
        format!("{label:<8} {text}\n")
    };
    write(line.as_bytes());
}

/// Writes straight to the descriptor: a forked child could find the stream's lock held for ever.
fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match nix::unistd::write(std::io::stderr(), bytes) {
            Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(nix::errno::Errno::EINTR) => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Says something worth knowing.
pub fn info(text: impl AsRef<str>) {
    say(Level::Info, text.as_ref());
}

/// Says that something is not as asked for.
pub fn warning(text: impl AsRef<str>) {
    say(Level::Warning, text.as_ref());
}

/// Says what `-v` asks for.
pub fn verbose(text: impl AsRef<str>) {
    say(Level::Verbose, text.as_ref());
}

/// Says what `-d` asks for.
pub fn debug(text: impl AsRef<str>) {
    say(Level::Debug, text.as_ref());
}

/// A path or other text of somebody's choosing as it may appear in a message: control characters and bytes that are no
/// text are escaped, so that it can neither forge a line nor reach the terminal.
#[must_use]
pub fn shown(text: impl AsRef<OsStr>) -> String {
    let mut shown = String::new();
    for chunk in text.as_ref().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_has_no_control_characters_and_no_stray_bytes() {
        assert_eq!(shown("/a b/\u{e9}.img"), "/a b/\u{e9}.img");
        assert_eq!(shown("a\nFATAL: \x1b[31m"), "a\\nFATAL: \\u{1b}[31m");
        assert_eq!(shown(OsStr::from_bytes(b"a\xffb")), "a\\xffb");
    }
}
