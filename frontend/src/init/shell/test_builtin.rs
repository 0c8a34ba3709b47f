//! `test` and `[`.

use super::{Shell, Stop};
use crate::payload::Text;
use nix::errno::Errno;
use nix::sys::stat::{SFlag, lstat, stat};
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Evaluates an expression: 0 where it is true, 1 where it is false.
///
/// # Errors
/// [`Stop::Foreign`] for one that only a real shell understands.
pub(super) fn evaluate(shell: &mut Shell, expression: &[Text]) -> Result<i32, Stop> {
    shell.spend(expression.len() + 1)?;
    let words: Vec<&[u8]> = expression.iter().map(Vec::as_slice).collect();
    // With few arguments their number alone decides what is an operator: an operand may look like one.
    let truth = match words.as_slice() {
        [] => false,
        [word] => !word.is_empty(),
        [b"!", word] => word.is_empty(),
        [left, operator, right] if is_binary(operator) => binary(left, operator, right)?,
        words => {
            let mut expression = Expression { words, shell };
            let truth = expression.any()?;
            if !expression.words.is_empty() {
                return Err(Stop::foreign("an odd test"));
            }
            truth
        }
    };
    Ok(i32::from(!truth))
}

/// What is left of an expression.
struct Expression<'a> {
    words: &'a [&'a [u8]],
    shell: &'a Shell,
}

impl<'a> Expression<'a> {
    fn take(&mut self) -> Result<&'a [u8], Stop> {
        let (first, rest) = self.words.split_first().ok_or_else(|| Stop::foreign("an odd test"))?;
        self.words = rest;
        Ok(first)
    }

    fn eat(&mut self, word: &[u8]) -> bool {
        let there = self.words.first() == Some(&word);
        if there {
            self.words = self.words.get(1..).unwrap_or_default();
        }
        there
    }

    fn any(&mut self) -> Result<bool, Stop> {
        let mut truth = self.all()?;
        while self.eat(b"-o") {
            truth |= self.all()?;
        }
        Ok(truth)
    }

    fn all(&mut self) -> Result<bool, Stop> {
        let mut truth = self.negated()?;
        while self.eat(b"-a") {
            truth &= self.negated()?;
        }
        Ok(truth)
    }

    fn negated(&mut self) -> Result<bool, Stop> {
        let mut negated = false;
        while self.eat(b"!") {
            negated = !negated;
        }
        Ok(self.primary()? != negated)
    }

    fn primary(&mut self) -> Result<bool, Stop> {
        if let [left, operator, right, ..] = self.words
            && is_binary(operator)
        {
            self.words = self.words.get(3..).unwrap_or_default();
            return binary(left, operator, right);
        }
        if self.words.first() == Some(&b"(".as_slice()) {
            return Err(Stop::foreign("parentheses in a test"));
        }
        let first = self.take()?;
        match first {
            [b'-', letter] if !self.words.is_empty() => {
                let operand = self.take()?;
                unary(self.shell, *letter, operand)
            }
            first => Ok(!first.is_empty()),
        }
    }
}

fn is_binary(operator: &[u8]) -> bool {
    matches!(operator, b"=" | b"==" | b"!=" | b"-eq" | b"-ne" | b"-gt" | b"-ge" | b"-lt" | b"-le")
}

fn binary(left: &[u8], operator: &[u8], right: &[u8]) -> Result<bool, Stop> {
    match operator {
        b"=" | b"==" => return Ok(left == right),
        b"!=" => return Ok(left != right),
        _ => {}
    }
    let (left, right) = (number(left)?, number(right)?);
    Ok(match operator {
        b"-eq" => left == right,
        b"-ne" => left != right,
        b"-gt" => left > right,
        b"-ge" => left >= right,
        b"-lt" => left < right,
        _ => left <= right,
    })
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| Stop::foreign("a test of something that is no number"))
}

fn unary(shell: &Shell, letter: u8, operand: &[u8]) -> Result<bool, Stop> {
    let path = OsStr::from_bytes(operand);
    let kind = |kind: SFlag| stat(path).is_ok_and(|stat| kind_of(stat.st_mode) == kind);
    let may = |flags: AccessFlags| access(path, flags) == Ok::<(), Errno>(());
    Ok(match letter {
        b'n' => !operand.is_empty(),
        b'z' => operand.is_empty(),
        b'e' => stat(path).is_ok(),
        b'f' => kind(SFlag::S_IFREG),
        b'd' => kind(SFlag::S_IFDIR),
        b'p' => kind(SFlag::S_IFIFO),
        b'S' => kind(SFlag::S_IFSOCK),
        b'b' => kind(SFlag::S_IFBLK),
        b'c' => kind(SFlag::S_IFCHR),
        b'h' | b'L' => lstat(path).is_ok_and(|stat| kind_of(stat.st_mode) == SFlag::S_IFLNK),
        b's' => stat(path).is_ok_and(|stat| stat.st_size > 0),
        b'r' => may(AccessFlags::R_OK),
        b'w' => may(AccessFlags::W_OK),
        b'x' => may(AccessFlags::X_OK),
        b'v' => shell.get(operand).is_some(),
        _ => return Err(Stop::foreign("an odd test")),
    })
}

fn kind_of(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits())
}
