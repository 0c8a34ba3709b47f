//! From words to arguments: parameters, substitutions, field splitting and file names.

use super::pattern;
use super::syntax::{Alternative, Operation, Part, Word, is_name};
use super::{Shell, Stop, Stream};
use crate::payload::Text;

/// A byte of an expanded word, and whether quotes made it mean only itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Glyph {
    pub(super) byte: u8,
    pub(super) literal: bool,
}

/// How a piece of an expanded word came about.
enum Piece {
    /// From the script: never split. Quoted when it makes a word even when it is empty.
    Fixed { glyphs: Vec<Glyph>, quoted: bool },
    /// From an expansion outside quotes: split at the separators.
    Loose(Text),
    /// The end of one of the words of `"$@"`.
    Break,
}

/// Variables that another shell would have by itself.
const OTHER_SHELLS: [&[u8]; 12] = [
    b"RANDOM",
    b"SECONDS",
    b"LINENO",
    b"HOSTNAME",
    b"HOSTTYPE",
    b"OSTYPE",
    b"MACHTYPE",
    b"PPID",
    b"GROUPS",
    b"FUNCNAME",
    b"SHLVL",
    b"EPOCHSECONDS",
];

impl Shell {
    /// The arguments that words become.
    pub(super) fn fields(&mut self, words: &[Word]) -> Result<Vec<Text>, Stop> {
        let mut fields = Vec::new();
        for word in words {
            for field in self.split(word)? {
                self.spend(field.len() + 1)?;
                if self.no_globbing || !pattern::is_pattern(&field) {
                    fields.push(text_of(&field));
                    continue;
                }
                let (files, looked_at) = pattern::files(&field);
                self.spend(looked_at)?;
                if files.is_empty() { fields.push(text_of(&field)) } else { fields.extend(files) }
            }
        }
        Ok(fields)
    }

    /// The text that a word becomes where it is neither split nor a pattern, as in an assignment.
    pub(super) fn text(&mut self, word: &Word) -> Result<Text, Stop> {
        Ok(text_of(&self.pattern(word)?))
    }

    /// The value of an assignment, in which a tilde may also follow a colon.
    pub(super) fn value(&mut self, word: &Word) -> Result<Text, Stop> {
        let mut glyphs = Vec::new();
        for (number, part) in word.iter().enumerate() {
            match part {
                Part::Plain(text) => {
                    for (index, piece) in text.split_inclusive(|byte| *byte == b':').enumerate() {
                        let ends = number + 1 == word.len() || piece.ends_with(b":") || piece.contains(&b'/');
                        let starts = index > 0 || number == 0;
                        glyphs.extend(plain(&self.tilde(piece, starts && ends)?));
                    }
                }
                part => glyphs.extend(self.glyphs_of(part)?),
            }
        }
        Ok(text_of(&glyphs))
    }

    /// A word as a pattern: without splitting, quoted bytes marked.
    pub(super) fn pattern(&mut self, word: &Word) -> Result<Vec<Glyph>, Stop> {
        let mut glyphs = Vec::new();
        for (number, part) in word.iter().enumerate() {
            match part {
                Part::Plain(text) => {
                    let whole = number == 0 && (word.len() == 1 || text.contains(&b'/'));
                    glyphs.extend(plain(&self.tilde(text, whole)?));
                }
                part => glyphs.extend(self.glyphs_of(part)?),
            }
        }
        Ok(glyphs)
    }

    /// The text of a part, without splitting.
    pub(super) fn part_text(&mut self, part: &Part) -> Result<Text, Stop> {
        Ok(text_of(&self.glyphs_of(part)?))
    }

    /// A part without splitting; several positional parameters are joined by blanks.
    fn glyphs_of(&mut self, part: &Part) -> Result<Vec<Glyph>, Stop> {
        let mut glyphs = Vec::new();
        for piece in self.pieces(part)? {
            match piece {
                Piece::Fixed { glyphs: fixed, .. } => glyphs.extend(fixed),
                Piece::Loose(text) => glyphs.extend(plain(&text)),
                Piece::Break => glyphs.extend(literal(b" ")),
            }
        }
        Ok(glyphs)
    }

    /// The fields of one word, before file names.
    fn split(&mut self, word: &Word) -> Result<Vec<Vec<Glyph>>, Stop> {
        let separators = self.get(b"IFS").unwrap_or(b" \t\n").to_vec();
        let mut fields = Fields::default();
        for (number, part) in word.iter().enumerate() {
            if let Part::Plain(text) = part {
                let whole = number == 0 && (word.len() == 1 || text.contains(&b'/'));
                fields.add(&plain(&self.tilde(text, whole)?), false);
                continue;
            }
            for piece in self.pieces(part)? {
                match piece {
                    Piece::Fixed { glyphs, quoted } => fields.add(&glyphs, quoted),
                    Piece::Loose(text) => fields.split(&text, &separators),
                    Piece::Break => fields.end(),
                }
            }
        }
        fields.end();
        Ok(fields.done)
    }

    fn pieces(&mut self, part: &Part) -> Result<Vec<Piece>, Stop> {
        match part {
            Part::Plain(text) => Ok(vec![Piece::Fixed { glyphs: plain(text), quoted: false }]),
            Part::Quoted(text) => Ok(vec![Piece::Fixed { glyphs: literal(text), quoted: true }]),
            Part::Foreign(what) => Err(Stop::foreign(*what)),
            Part::Substitution { list, quoted } => {
                let output = self.capture(list)?;
                Ok(vec![piece(output, *quoted)])
            }
            Part::Parameter { name, operation, quoted } => self.parameter(name, operation, *quoted),
        }
    }

    /// Runs commands in a copy of this shell and returns what they print.
    fn capture(&mut self, list: &super::syntax::List) -> Result<Text, Stop> {
        let mut copy = self.copy()?;
        copy.printed = Vec::new();
        self.substituted = true;
        copy.streams[0] = Stream::Output;
        let result = copy.list(list);
        self.leave_copy(&copy, result)?;
        let mut output = Text::new();
        for (stream, text) in copy.printed {
            match stream {
                Stream::Output => output.extend(text),
                other => self.printed.push((other, text)),
            }
        }
        while output.last() == Some(&b'\n') {
            output.pop();
        }
        Ok(output)
    }

    /// Takes over what outlives a subshell: its status, and what it spent.
    pub(super) fn leave_copy(&mut self, copy: &Self, result: Result<(), Stop>) -> Result<(), Stop> {
        self.work_left = copy.work_left;
        self.status = match result {
            Ok(()) => copy.status,
            Err(Stop::Exit(status) | Stop::Return(status)) => status,
            Err(Stop::Break(_) | Stop::Continue(_)) => 0,
            Err(Stop::Exec(_)) => return Err(Stop::foreign("exec in a subshell")),
            Err(foreign @ Stop::Foreign(_)) => return Err(foreign),
        };
        Ok(())
    }

    fn parameter(&mut self, name: &[u8], operation: &Operation, quoted: bool) -> Result<Vec<Piece>, Stop> {
        if matches!(name, b"@" | b"*") {
            return match operation {
                Operation::Value => Ok(self.positional(name, quoted)),
                _ => Err(Stop::foreign("an expansion of all parameters")),
            };
        }
        let value = self.lookup(name)?;
        self.spend(value.as_ref().map_or(1, Vec::len))?;
        match operation {
            Operation::Value => Ok(vec![piece(value.unwrap_or_default(), quoted)]),
            Operation::Length => {
                let value = value.unwrap_or_default();
                let length = std::str::from_utf8(&value).map_or(value.len(), |text| text.chars().count());
                Ok(vec![piece(length.to_string().into(), quoted)])
            }
            Operation::Alternative { empty_too, kind, word } => {
                let value = value.filter(|value| !(*empty_too && value.is_empty()));
                self.alternative(name, value, *kind, word, quoted)
            }
            Operation::Trim { suffix, longest, pattern } => {
                let pattern = self.pattern(pattern)?;
                let value = value.unwrap_or_default();
                self.spend(value.len().saturating_mul(pattern.len().max(8) / 8))?;
                Ok(vec![piece(trim(&value, &pattern, *suffix, *longest), quoted)])
            }
        }
    }

    fn alternative(
        &mut self,
        name: &[u8],
        value: Option<Text>,
        kind: Alternative,
        word: &Word,
        quoted: bool,
    ) -> Result<Vec<Piece>, Stop> {
        match (kind, value) {
            (Alternative::Replace, None) => Ok(vec![piece(Text::new(), quoted)]),
            (Alternative::Replace, Some(_)) | (Alternative::Default, None) => self.word_pieces(word, quoted),
            (_, Some(value)) => Ok(vec![piece(value, quoted)]),
            (Alternative::Assign, None) if is_name(name) => {
                let value = self.text(word)?;
                self.set(name, value.clone())?;
                Ok(vec![piece(value, quoted)])
            }
            (Alternative::Assign | Alternative::Require, None) => Err(Stop::foreign("a required variable")),
        }
    }

    /// The word of an alternative: within quotes it is quoted, outside its plain text is split like a value.
    fn word_pieces(&mut self, word: &Word, quoted: bool) -> Result<Vec<Piece>, Stop> {
        let mut pieces = if quoted { vec![piece(Text::new(), true)] } else { Vec::new() };
        for part in word {
            match part {
                Part::Plain(text) if !quoted => {
                    let text = self.tilde(text, word.len() == 1)?;
                    pieces.push(Piece::Loose(text));
                }
                part => pieces.extend(self.pieces(part)?),
            }
        }
        Ok(pieces)
    }

    fn positional(&self, name: &[u8], quoted: bool) -> Vec<Piece> {
        if quoted && name == b"*" {
            let separator = self.get(b"IFS").map_or(Some(b' '), |separators| separators.first().copied());
            return vec![piece(self.positional.join(separator.as_slice()), true)];
        }
        let mut pieces = Vec::new();
        for parameter in &self.positional {
            if !pieces.is_empty() {
                pieces.push(Piece::Break);
            }
            pieces.push(piece(parameter.clone(), quoted));
        }
        pieces
    }

    fn lookup(&self, name: &[u8]) -> Result<Option<Text>, Stop> {
        match name {
            b"?" => Ok(Some(self.status.to_string().into())),
            b"#" => Ok(Some(self.positional.len().to_string().into())),
            b"-" | b"$" | b"!" | b"0" => Err(Stop::foreign("a parameter of the shell's own")),
            [digit, ..] if digit.is_ascii_digit() => {
                let number = std::str::from_utf8(name).ok().and_then(|digits| digits.parse::<usize>().ok());
                Ok(number.and_then(|number| self.positional.get(number.checked_sub(1)?)).cloned())
            }
            name => match self.get(name) {
                None if OTHER_SHELLS.contains(&name) || name.starts_with(b"BASH") => {
                    Err(Stop::foreign("a variable of another shell"))
                }
                value => Ok(value.map(<[u8]>::to_vec)),
            },
        }
    }

    /// Replaces a tilde in front of a whole word or path by the home directory.
    fn tilde(&self, text: &[u8], applies: bool) -> Result<Text, Stop> {
        match text.strip_prefix(b"~").filter(|_| applies) {
            None => Ok(text.to_vec()),
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(b":") => {
                Ok([self.get(b"HOME").unwrap_or(b"~"), rest].concat())
            }
            Some(_) => Err(Stop::foreign("another user's home")),
        }
    }
}

/// Fields being put together.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<Glyph>>,
    open: Option<Vec<Glyph>>,
}

impl Fields {
    fn add(&mut self, glyphs: &[Glyph], quoted: bool) {
        if quoted || !glyphs.is_empty() {
            self.open.get_or_insert_default().extend(glyphs);
        }
    }

    fn end(&mut self) {
        self.done.extend(self.open.take());
    }

    /// Adds a value: blanks among the separators end a field, each other separator ends one even if it is empty.
    fn split(&mut self, text: &[u8], separators: &[u8]) {
        for byte in text {
            if !separators.contains(byte) {
                self.open.get_or_insert_default().push(Glyph { byte: *byte, literal: false });
            } else if byte.is_ascii_whitespace() {
                self.end();
            } else {
                self.open.get_or_insert_default();
                self.end();
            }
        }
    }
}

fn piece(text: Text, quoted: bool) -> Piece {
    if quoted { Piece::Fixed { glyphs: literal(&text), quoted } } else { Piece::Loose(text) }
}

fn plain(text: &[u8]) -> Vec<Glyph> {
    text.iter().map(|byte| Glyph { byte: *byte, literal: false }).collect()
}

fn literal(text: &[u8]) -> Vec<Glyph> {
    text.iter().map(|byte| Glyph { byte: *byte, literal: true }).collect()
}

fn text_of(glyphs: &[Glyph]) -> Text {
    glyphs.iter().map(|glyph| glyph.byte).collect()
}

/// Takes what matches the pattern off one end.
fn trim(value: &[u8], pattern: &[Glyph], suffix: bool, longest: bool) -> Text {
    let mut cuts: Vec<usize> = (0..=value.len()).collect();
    if suffix != longest {
        cuts.reverse();
    }
    for cut in cuts {
        let (front, back) = value.split_at(cut);
        let (taken, left) = if suffix { (back, front) } else { (front, back) };
        if pattern::matches(pattern, taken) {
            return left.to_vec();
        }
    }
    value.to_vec()
}
