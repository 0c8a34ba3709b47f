//! From text to words: quotes and dollars.

use super::Stop;
use super::parser::{Parsed, Parser, is_separator};
use super::syntax::{Alternative, Operation, Part, Word, is_name_byte, is_name_start};
use crate::payload::Text;

/// The rules for words.
pub(super) trait Words {
    /// One word.
    ///
    /// # Errors
    /// [`Stop::Foreign`] where there is none.
    fn word(&mut self) -> Parsed<Word>;
}

/// What a piece of text is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Nothing.
    Nothing,
    /// Double quotes.
    Quotes,
    /// `${name…}`.
    Braces,
    /// `${name…}` within double quotes.
    QuotedBraces,
}

impl Inside {
    fn is_quoted(self) -> bool {
        matches!(self, Self::Quotes | Self::QuotedBraces)
    }

    fn is_end(self, byte: u8) -> bool {
        match self {
            Self::Nothing => is_separator(byte),
            Self::Quotes => byte == b'"',
            Self::Braces | Self::QuotedBraces => byte == b'}',
        }
    }
}

impl Words for Parser<'_> {
    fn word(&mut self) -> Parsed<Word> {
        let word = self.parts(Inside::Nothing)?;
        if word.is_empty() { Err(Stop::foreign("a syntax error")) } else { Ok(word) }
    }
}

impl Parser<'_> {
    /// Parts up to the end of what they are inside of; the end stays.
    fn parts(&mut self, inside: Inside) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(byte) = self.peek() {
            if inside.is_end(byte) {
                return Ok(word);
            }
            match byte {
                b'$' => word.push(self.nested(|parser| parser.dollar(inside.is_quoted()))?),
                b'`' => word.push(self.nested(|parser| parser.backticks(inside.is_quoted()))?),
                b'\\' => self.escape(inside, &mut word),
                b'\'' if !inside.is_quoted() => word.push(self.single_quotes()?),
                b'"' => self.nested(|parser| parser.double_quotes(&mut word))?,
                _ => self.plain(inside, &mut word),
            }
        }
        if inside == Inside::Nothing { Ok(word) } else { Err(Stop::foreign("a syntax error")) }
    }

    fn plain(&mut self, inside: Inside, word: &mut Word) {
        let text = self
            .take_while(|byte| !inside.is_end(byte) && !matches!(byte, b'$' | b'`' | b'\\' | b'"' | b'\''));
        // A single quote within double quotes is text.
        let text = if text.is_empty() {
            self.next().map(|byte| vec![byte]).unwrap_or_default()
        } else {
            text.to_vec()
        };
        word.push(if inside.is_quoted() { Part::Quoted(text) } else { Part::Plain(text) });
    }

    fn escape(&mut self, inside: Inside, word: &mut Word) {
        self.next();
        match self.next() {
            Some(b'\n') => {}
            Some(byte) if !inside.is_quoted() || matches!(byte, b'$' | b'`' | b'"' | b'\\') => {
                word.push(Part::Quoted(vec![byte]));
            }
            Some(b'}') if inside == Inside::QuotedBraces => word.push(Part::Quoted(b"}".into())),
            Some(byte) => word.push(Part::Quoted(vec![b'\\', byte])),
            None => word.push(Part::Quoted(b"\\".into())),
        }
    }

    fn single_quotes(&mut self) -> Parsed<Part> {
        self.next();
        let text = self.take_while(|byte| byte != b'\'').to_vec();
        if self.eat(b"'") { Ok(Part::Quoted(text)) } else { Err(Stop::foreign("a syntax error")) }
    }

    fn double_quotes(&mut self, word: &mut Word) -> Parsed<()> {
        self.next();
        // Even without anything inside, a pair of quotes makes a word.
        word.push(Part::Quoted(Text::new()));
        word.extend(self.parts(Inside::Quotes)?);
        if self.eat(b"\"") { Ok(()) } else { Err(Stop::foreign("a syntax error")) }
    }

    fn dollar(&mut self, quoted: bool) -> Parsed<Part> {
        self.next();
        match self.peek() {
            Some(b'{') => self.braces(quoted),
            Some(b'(') => self.substitution(quoted),
            Some(byte) if is_name_start(byte) => {
                let name = self.take_while(is_name_byte).to_vec();
                Ok(Part::Parameter { name, operation: Operation::Value, quoted })
            }
            Some(byte) if is_special_parameter(byte) => {
                self.next();
                Ok(Part::Parameter { name: vec![byte], operation: Operation::Value, quoted })
            }
            Some(b'\'' | b'"') if !quoted => Err(Stop::foreign("a $ before quotes")),
            _ => Ok(Part::Quoted(b"$".into())),
        }
    }

    fn substitution(&mut self, quoted: bool) -> Parsed<Part> {
        if self.rest().starts_with(b"((") {
            return self.arithmetic();
        }
        self.next();
        let list = self.list()?;
        if self.eat(b")") {
            Ok(Part::Substitution { list, quoted })
        } else {
            Err(Stop::foreign("a syntax error"))
        }
    }

    /// Goes past `$((…))`.
    fn arithmetic(&mut self) -> Parsed<Part> {
        let mut open = 0_usize;
        while let Some(byte) = self.next() {
            match byte {
                b'(' => open += 1,
                b')' if open == 1 => return Ok(Part::Foreign("arithmetic")),
                b')' => open -= 1,
                _ => {}
            }
        }
        Err(Stop::foreign("a syntax error"))
    }

    /// What is between backticks is a text of its own, with one level of backslashes taken off.
    fn backticks(&mut self, quoted: bool) -> Parsed<Part> {
        self.next();
        let mut text = Text::new();
        loop {
            match (self.next(), self.peek()) {
                (Some(b'`'), _) => break,
                (Some(b'\\'), Some(byte @ (b'`' | b'\\' | b'$'))) => {
                    self.next();
                    text.push(byte);
                }
                (Some(b'\\'), Some(b'"')) if quoted => {
                    self.next();
                    text.push(b'"');
                }
                (Some(byte), _) => text.push(byte),
                (None, _) => return Err(Stop::foreign("a syntax error")),
            }
        }
        let mut parser = Parser::new(&text, self.depth());
        let list = parser.list()?;
        if parser.rest().is_empty() {
            Ok(Part::Substitution { list, quoted })
        } else {
            Err(Stop::foreign("a syntax error"))
        }
    }

    fn braces(&mut self, quoted: bool) -> Parsed<Part> {
        self.next();
        let length = self.peek() == Some(b'#') && self.rest().get(1).is_some_and(|byte| *byte != b'}');
        if length {
            self.next();
        }
        let name = match self.peek() {
            Some(byte) if is_name_start(byte) => self.take_while(is_name_byte).to_vec(),
            Some(byte) if byte.is_ascii_digit() => self.take_while(|byte| byte.is_ascii_digit()).to_vec(),
            Some(byte) if is_special_parameter(byte) => self.next().into_iter().collect(),
            _ => return self.skip_braces(quoted),
        };
        let operation = if length { Some(Operation::Length) } else { self.operation(quoted)? };
        match operation {
            Some(operation) if self.eat(b"}") => Ok(Part::Parameter { name, operation, quoted }),
            _ => self.skip_braces(quoted),
        }
    }

    /// Goes past an expansion of another shell's.
    fn skip_braces(&mut self, quoted: bool) -> Parsed<Part> {
        self.parts(inside_braces(quoted))?;
        self.eat(b"}");
        Ok(Part::Foreign("an expansion of another shell"))
    }

    fn operation(&mut self, quoted: bool) -> Parsed<Option<Operation>> {
        let empty_too = self.eat(b":");
        let kind = match self.peek() {
            Some(b'}') if !empty_too => return Ok(Some(Operation::Value)),
            Some(b'-') => Alternative::Default,
            Some(b'=') => Alternative::Assign,
            Some(b'+') => Alternative::Replace,
            Some(b'?') => Alternative::Require,
            Some(sign @ (b'%' | b'#')) if !empty_too => {
                self.next();
                let longest = self.eat(&[sign]);
                let suffix = sign == b'%';
                // A pattern is a pattern even within double quotes.
                return Ok(Some(Operation::Trim { suffix, longest, pattern: self.parts(Inside::Braces)? }));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(Operation::Alternative { empty_too, kind, word: self.parts(inside_braces(quoted))? }))
    }
}

fn inside_braces(quoted: bool) -> Inside {
    if quoted { Inside::QuotedBraces } else { Inside::Braces }
}

fn is_special_parameter(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!')
}
