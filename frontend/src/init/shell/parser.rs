//! From text to commands: the grammar of the POSIX shell without here-documents.

use super::Stop;
use super::syntax::{Command, List, Redirection, Word, is_name, is_name_byte, is_name_start};
use super::words::Words;
use crate::payload::Text;
use std::rc::Rc;

/// Deepest nesting of commands and words: far beyond what people write, far within the stack.
const DEPTH_MAX: usize = 100;

/// Words that end a list.
const CLOSING: [&[u8]; 8] = [b"then", b"else", b"elif", b"fi", b"do", b"done", b"esac", b"}"];

/// The result of a grammar rule.
pub(super) type Parsed<T> = Result<T, Stop>;

/// A place in a text.
pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// Parses a whole script.
///
/// # Errors
/// [`Stop::Foreign`] for what this grammar does not know, errors included: a real shell says better what is wrong.
pub(super) fn parse(text: &[u8]) -> Parsed<List> {
    let mut parser = Parser::new(text, 0);
    let list = parser.list()?;
    if parser.at < text.len() { Err(Stop::foreign("a syntax error")) } else { Ok(list) }
}

/// Parses a whole text as one word.
///
/// # Errors
/// As [`parse`], and when it is not exactly one word.
pub(super) fn parse_word(text: &[u8]) -> Parsed<Word> {
    let mut parser = Parser::new(text, 0);
    let word = parser.word()?;
    if parser.at < text.len() { Err(Stop::foreign("more than one word")) } else { Ok(word) }
}

impl<'a> Parser<'a> {
    /// A parser at the beginning of a text that is itself nested so deep.
    pub(super) fn new(text: &'a [u8], depth: usize) -> Self {
        Self { text, at: 0, depth }
    }

    /// How deep the parser is in the grammar.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// What comes next.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Takes the next byte.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes this text if it comes next.
    pub(super) fn eat(&mut self, wanted: &[u8]) -> bool {
        let there = self.rest().starts_with(wanted);
        if there {
            self.at += wanted.len();
        }
        there
    }

    /// Takes bytes while they are wanted.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Runs a rule one level deeper.
    pub(super) fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(Stop::foreign("very deep nesting"));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    /// Skips blanks, continued lines and a comment.
    fn blanks(&mut self) {
        loop {
            self.take_while(|byte| byte == b' ' || byte == b'\t');
            if !self.eat(b"\\\n") {
                break;
            }
        }
        if self.peek() == Some(b'#') {
            self.take_while(|byte| byte != b'\n');
        }
    }

    /// Skips blanks and newlines.
    fn lines(&mut self) {
        loop {
            self.blanks();
            if !self.eat(b"\n") {
                break;
            }
        }
    }

    /// The reserved or other plain word that comes next; empty for anything else.
    fn plain_word(&self) -> &'a [u8] {
        let rest = self.rest();
        let end = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
        match rest.get(end) {
            Some(b'\'' | b'"' | b'\\' | b'$' | b'`') => b"",
            _ => rest.get(..end).unwrap_or_default(),
        }
    }

    fn eat_reserved(&mut self, word: &[u8]) -> bool {
        self.plain_word() == word && self.eat(word)
    }

    fn expect_reserved(&mut self, word: &'static [u8]) -> Parsed<()> {
        self.lines();
        if self.eat_reserved(word) { Ok(()) } else { Err(Stop::foreign("a syntax error")) }
    }

    /// Commands up to whatever ends a list.
    pub(super) fn list(&mut self) -> Parsed<List> {
        self.nested(|parser| {
            let mut list = List::new();
            loop {
                parser.lines();
                match parser.peek() {
                    None | Some(b')') => return Ok(list),
                    Some(b';') if parser.rest().starts_with(b";;") => return Ok(list),
                    _ if CLOSING.contains(&parser.plain_word()) => return Ok(list),
                    _ => {}
                }
                let command = parser.and_or()?;
                parser.blanks();
                let background = parser.peek() == Some(b'&');
                list.push(if background { Command::Foreign("a background command") } else { command });
                match parser.peek() {
                    Some(b'&') => drop(parser.next()),
                    Some(b';') if !parser.rest().starts_with(b";;") => drop(parser.next()),
                    None | Some(b'\n' | b')' | b';') => {}
                    _ => return Err(Stop::foreign("a syntax error")),
                }
            }
        })
    }

    /// Commands that must be there.
    fn body(&mut self) -> Parsed<List> {
        let list = self.list()?;
        if list.is_empty() { Err(Stop::foreign("a syntax error")) } else { Ok(list) }
    }

    fn and_or(&mut self) -> Parsed<Command> {
        let mut command = self.pipeline()?;
        loop {
            self.blanks();
            if self.eat(b"&&") {
                self.lines();
                command = Command::And(Box::new(command), Box::new(self.pipeline()?));
            } else if self.eat(b"||") {
                self.lines();
                command = Command::Or(Box::new(command), Box::new(self.pipeline()?));
            } else {
                return Ok(command);
            }
        }
    }

    fn pipeline(&mut self) -> Parsed<Command> {
        let negated = self.eat_reserved(b"!");
        self.blanks();
        let mut command = self.command()?;
        self.blanks();
        while self.peek() == Some(b'|') && !self.rest().starts_with(b"||") {
            self.next();
            self.lines();
            self.command()?;
            self.blanks();
            command = Command::Foreign("a pipeline");
        }
        Ok(if negated { Command::Not(Box::new(command)) } else { command })
    }

    fn command(&mut self) -> Parsed<Command> {
        let command = self.nested(|parser| match parser.plain_word() {
            b"if" => parser.if_command(),
            b"for" => parser.for_command(),
            b"while" | b"until" => parser.while_command(),
            b"case" => parser.case_command(),
            b"{" => parser.group(),
            _ if parser.peek() == Some(b'(') => parser.subshell(),
            word if is_name(word) && word != b"in" && is_function(parser.rest(), word.len()) => {
                parser.function()
            }
            _ => parser.simple(),
        })?;
        let mut redirections = Vec::new();
        self.blanks();
        while let Some(redirection) = self.redirection()? {
            redirections.push(redirection);
            self.blanks();
        }
        Ok(if redirections.is_empty() {
            command
        } else {
            Command::Redirected(Box::new(command), redirections)
        })
    }

    fn group(&mut self) -> Parsed<Command> {
        self.eat_reserved(b"{");
        let list = self.body()?;
        self.expect_reserved(b"}")?;
        Ok(Command::Group(list))
    }

    fn subshell(&mut self) -> Parsed<Command> {
        self.eat(b"(");
        if self.peek() == Some(b'(') {
            return Err(Stop::foreign("arithmetic"));
        }
        let list = self.body()?;
        if self.eat(b")") { Ok(Command::Subshell(list)) } else { Err(Stop::foreign("a syntax error")) }
    }

    fn function(&mut self) -> Parsed<Command> {
        let name = self.plain_word();
        self.eat(name);
        self.blanks();
        self.eat(b"(");
        self.blanks();
        self.eat(b")");
        self.lines();
        Ok(Command::Function { name: name.to_vec(), body: Rc::new(self.command()?) })
    }

    fn if_command(&mut self) -> Parsed<Command> {
        self.eat_reserved(b"if");
        let mut branches = Vec::new();
        loop {
            let condition = self.body()?;
            self.expect_reserved(b"then")?;
            branches.push((condition, self.body()?));
            if !self.eat_reserved(b"elif") {
                break;
            }
        }
        let otherwise = if self.eat_reserved(b"else") { self.body()? } else { List::new() };
        self.expect_reserved(b"fi")?;
        Ok(Command::If { branches, otherwise })
    }

    fn for_command(&mut self) -> Parsed<Command> {
        self.eat_reserved(b"for");
        self.blanks();
        let name = self.plain_word();
        if !is_name(name) {
            return Err(Stop::foreign("a syntax error"));
        }
        self.eat(name);
        self.lines();
        let words = if self.eat_reserved(b"in") { Some(self.words()?) } else { None };
        self.blanks();
        self.eat(b";");
        let body = self.loop_body()?;
        Ok(Command::For { name: name.to_vec(), words, body })
    }

    fn words(&mut self) -> Parsed<Vec<Word>> {
        let mut words = Vec::new();
        loop {
            self.blanks();
            if self.peek().is_none_or(is_operator) {
                return Ok(words);
            }
            words.push(self.word()?);
        }
    }

    fn while_command(&mut self) -> Parsed<Command> {
        let until = self.eat_reserved(b"until");
        if !until {
            self.eat_reserved(b"while");
        }
        let condition = self.body()?;
        let body = self.loop_body()?;
        Ok(Command::While { until, condition, body })
    }

    fn loop_body(&mut self) -> Parsed<List> {
        self.expect_reserved(b"do")?;
        let body = self.body()?;
        self.expect_reserved(b"done")?;
        Ok(body)
    }

    fn case_command(&mut self) -> Parsed<Command> {
        self.eat_reserved(b"case");
        self.blanks();
        let subject = self.word()?;
        self.expect_reserved(b"in")?;
        let mut arms = Vec::new();
        loop {
            self.lines();
            if self.eat_reserved(b"esac") {
                return Ok(Command::Case { subject, arms });
            }
            self.eat(b"(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
                if !self.eat(b"|") {
                    break;
                }
            }
            if !self.eat(b")") {
                return Err(Stop::foreign("a syntax error"));
            }
            arms.push((patterns, self.list()?));
            if !self.eat(b";;") && self.plain_word() != b"esac" {
                return Err(Stop::foreign("a syntax error"));
            }
        }
    }

    fn simple(&mut self) -> Parsed<Command> {
        if CLOSING.contains(&self.plain_word()) || matches!(self.plain_word(), b"in" | b"!") {
            return Err(Stop::foreign("a syntax error"));
        }
        let (mut assignments, mut words, mut redirections) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirection) = self.redirection()? {
                redirections.push(redirection);
            } else if self.peek().is_none_or(is_operator) {
                break;
            } else if let (true, Some(name)) = (words.is_empty(), self.assigned_name()) {
                self.eat(&name);
                self.eat(b"=");
                assignments.push((name, self.optional_word()?));
            } else {
                words.push(self.word()?);
            }
        }
        if assignments.is_empty() && words.is_empty() && redirections.is_empty() {
            return Err(Stop::foreign("a syntax error"));
        }
        let simple = Command::Simple { assignments, words };
        Ok(if redirections.is_empty() { simple } else { Command::Redirected(Box::new(simple), redirections) })
    }

    /// The name, if `name=` comes next.
    fn assigned_name(&self) -> Option<Text> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| !is_name_byte(*byte))?;
        let name = rest.get(..end).filter(|name| is_name(name) && rest.get(end) == Some(&b'='))?;
        Some(name.to_vec())
    }

    fn optional_word(&mut self) -> Parsed<Word> {
        if self.peek().is_none_or(is_separator) { Ok(Word::new()) } else { self.word() }
    }

    fn redirection(&mut self) -> Parsed<Option<Redirection>> {
        let rest = self.rest();
        let digit = rest.first().filter(|byte| byte.is_ascii_digit());
        let operator = rest.get(usize::from(digit.is_some()));
        let input = match operator {
            Some(b'<') => true,
            Some(b'>') => false,
            _ => return Ok(None),
        };
        self.at += 1 + usize::from(digit.is_some());
        if matches!(self.peek(), Some(b'<' | b'(')) || (input && self.peek() == Some(b'>')) {
            return Err(Stop::foreign("a here-document or the like"));
        }
        let duplicate = self.eat(b"&");
        if !duplicate && !input {
            let _ = self.eat(b">") || self.eat(b"|");
        }
        self.blanks();
        let number = digit.map_or(u8::from(!input), |digit| digit - b'0');
        Ok(Some(Redirection { number, duplicate, input, target: self.word()? }))
    }
}

/// Whether `name` is followed by `()`.
fn is_function(rest: &[u8], name_length: usize) -> bool {
    let after = rest.get(name_length..).unwrap_or_default().trim_ascii_start();
    after.strip_prefix(b"(").is_some_and(|inner| inner.trim_ascii_start().starts_with(b")"))
        && rest.first().is_some_and(|first| is_name_start(*first))
}

/// Ends a command or begins one of the operators.
fn is_operator(byte: u8) -> bool {
    matches!(byte, b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')')
}

/// Ends a word.
pub(super) fn is_separator(byte: u8) -> bool {
    is_operator(byte) || matches!(byte, b' ' | b'\t')
}

/// Ends a word or means that it is not plain.
fn is_special(byte: u8) -> bool {
    is_separator(byte) || matches!(byte, b'\'' | b'"' | b'\\' | b'$' | b'`')
}
