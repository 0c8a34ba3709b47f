//! Questions on the terminal.

use frontend::error::{Doing, Failure, Outcome};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Write};

/// Asks for a line.
///
/// # Errors
/// Nobody is there to answer.
pub(crate) fn line(question: &str) -> Outcome<String> {
    let asking = || "asking on the terminal".to_owned();
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Failure::new("nobody can be asked: standard input is not a terminal"));
    }
    io::stderr().write_all(question.as_bytes()).doing(asking)?;
    let mut answer = String::new();
    input.read_line(&mut answer).doing(asking)?;
    let answer = answer.trim_end_matches(['\n', '\r']).to_owned();
    if answer.is_empty() { Err(Failure::new("no answer was given")) } else { Ok(answer) }
}

/// Asks whether to go on. No answer is no; one that comes through a pipe counts.
///
/// # Errors
/// Nothing can be read or written.
pub(crate) fn yes(question: &str) -> Outcome<bool> {
    let asking = || "asking on the terminal".to_owned();
    io::stderr().write_all(question.as_bytes()).doing(asking)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).doing(asking)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// Asks for a line that is not shown while it is typed.
///
/// # Errors
/// As [`line()`].
pub(crate) fn secret(question: &str) -> Outcome<String> {
    let input = io::stdin();
    let Ok(shown) = tcgetattr(&input) else {
        return line(question);
    };
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&input, SetArg::TCSAFLUSH, &hidden).doing(|| "asking on the terminal".into())?;
    let answer = line(question);
    // The terminal was there a moment ago.
    let _ = tcsetattr(&input, SetArg::TCSAFLUSH, &shown);
    let _ = io::stderr().write_all(b"\n");
    answer
}
