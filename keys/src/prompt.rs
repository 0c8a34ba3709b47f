//! Questions to whoever sits at the terminal, or to what is at the other end of standard input.

use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Interrupts;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Stdin, Write, stdin};
use std::os::fd::AsFd;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4096;
/// How often a passphrase is asked for until it was typed twice the same.
const TRIES_MAX: u32 = 3;

/// Asks for a line.
///
/// # Errors
/// There is nobody to answer, or the answer is no text.
pub(crate) fn line(question: &str) -> Outcome<String> {
    let interrupts = Interrupts::hold()?;
    ask(question, &interrupts).map(|answer| answer.trim().to_owned())
}

/// Asks for a number.
///
/// # Errors
/// There is nobody to answer, or the answer is no number below `end`.
pub(crate) fn number(question: &str, end: usize) -> Outcome<usize> {
    let answer = line(question)?;
    let number = usize::from_str(&answer).ok().filter(|number| *number < end);
    number.ok_or_else(|| Failure::new("the answer is not one of the numbers shown"))
}

/// Asks for a passphrase, which a terminal does not show.
///
/// # Errors
/// There is nobody to answer, or the answer is no text.
pub(crate) fn passphrase(question: &str) -> Outcome<Zeroizing<String>> {
    // Before the terminal is changed, so that it is put right again before a signal ends the program.
    let interrupts = Interrupts::hold()?;
    let input = stdin();
    if !input.is_terminal() {
        return ask(question, &interrupts);
    }
    let _hidden = Hidden::begin(input)?;
    let answer = ask(question, &interrupts);
    say("\n");
    answer
}

/// Asks for a new passphrase until it was typed twice the same.
///
/// # Errors
/// It never was, or there is nobody to answer.
pub(crate) fn new_passphrase(question: &str) -> Outcome<Zeroizing<String>> {
    for _ in 0..TRIES_MAX {
        let first = passphrase(question)?;
        if passphrase("Retype your passphrase : ")? == first {
            return Ok(first);
        }
        say("Passphrases do not match\n");
    }
    Err(Failure::new(format!("passphrases did not match {TRIES_MAX} times")))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    fn begin(terminal: Stdin) -> Outcome<Self> {
        let hiding = || "hiding what is typed".to_owned();
        let before = tcgetattr(&terminal).doing(hiding)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden).doing(hiding)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

/// Questions go to standard error: what is on standard output was asked for by the command.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Reads up to the end of the line and not a byte further: the next question's answer may be there already.
fn ask(question: &str, interrupts: &Interrupts) -> Outcome<Zeroizing<String>> {
    say(question);
    let reading = || "reading the answer".to_owned();
    let input = stdin();
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    let mut byte = [0];
    loop {
        let mut ready = [
            PollFd::new(interrupts.as_fd(), PollFlags::POLLIN),
            PollFd::new(input.as_fd(), PollFlags::POLLIN),
        ];
        match nix::poll::poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(reading),
        }
        interrupts.check()?;
        match nix::unistd::read(&input, &mut byte).doing(reading)? {
            0 if answer.is_empty() => {
                return Err(Failure::new("no answer: standard input has ended"));
            }
            0 => break,
            _ if byte == *b"\n" => break,
            _ if answer.len() == ANSWER_BYTES_MAX => return Err(Failure::new("the answer is too long")),
            _ => answer.push(byte[0]),
        }
    }
    let text = std::str::from_utf8(&answer).doing(reading)?;
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}
