//! What a script is made of.

use crate::payload::Text;
use std::rc::Rc;

/// Commands that run one after the other.
pub(super) type List = Vec<Command>;

/// One command. What is parsed only so that the rest of a script can be, and cannot be run here, is
/// [`Command::Foreign`].
#[derive(Debug)]
pub(super) enum Command {
    /// Assignments, or a builtin or function with its arguments.
    Simple { assignments: Vec<(Text, Word)>, words: Vec<Word> },
    /// `! command`
    Not(Box<Command>),
    /// `first && second`
    And(Box<Command>, Box<Command>),
    /// `first || second`
    Or(Box<Command>, Box<Command>),
    /// `{ list }`
    Group(List),
    /// `( list )`
    Subshell(List),
    /// `if`, with its conditions and their branches, and `else`.
    If { branches: Vec<(List, List)>, otherwise: List },
    /// `for name in words`, or over the positional parameters.
    For { name: Text, words: Option<Vec<Word>>, body: List },
    /// `while`, or `until`.
    While { until: bool, condition: List, body: List },
    /// `case`, each arm with its patterns.
    Case { subject: Word, arms: Vec<(Vec<Word>, List)> },
    /// `name() body`
    Function { name: Text, body: Rc<Command> },
    /// A command with redirections.
    Redirected(Box<Command>, Vec<Redirection>),
    /// Something that only a whole shell can run: what it is.
    Foreign(&'static str),
}

/// `[number]>target` and the like.
#[derive(Debug)]
pub(super) struct Redirection {
    /// The descriptor that is redirected.
    pub(super) number: u8,
    /// Whether `target` names a descriptor, not a file.
    pub(super) duplicate: bool,
    /// Whether the descriptor is for reading.
    pub(super) input: bool,
    /// Where to.
    pub(super) target: Word,
}

/// A word, before expansion.
pub(super) type Word = Vec<Part>;

/// A piece of a word.
#[derive(Debug)]
pub(super) enum Part {
    /// Text in which a pattern may hide.
    Plain(Text),
    /// Text that means nothing but itself; also an empty pair of quotes.
    Quoted(Text),
    /// `$name` or `${name…}`.
    Parameter { name: Text, operation: Operation, quoted: bool },
    /// `$(list)`
    Substitution { list: List, quoted: bool },
    /// Something that only a whole shell can expand: what it is.
    Foreign(&'static str),
}

/// What `${name…}` does with the parameter.
#[derive(Debug)]
pub(super) enum Operation {
    /// Its value.
    Value,
    /// `${#name}`
    Length,
    /// `${name-word}` and the like.
    Alternative {
        /// `:` – an empty parameter counts as one that is not set.
        empty_too: bool,
        /// What happens.
        kind: Alternative,
        /// The word.
        word: Word,
    },
    /// `${name%pattern}` and the like.
    Trim {
        /// `%`, else `#`.
        suffix: bool,
        /// Doubled.
        longest: bool,
        /// What is taken off.
        pattern: Word,
    },
}

/// The letter of an [`Operation::Alternative`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alternative {
    /// `-`: the word where the parameter is not set.
    Default,
    /// `=`: the same, and assigns it.
    Assign,
    /// `+`: the word where the parameter is set.
    Replace,
    /// `?`: an error where the parameter is not set.
    Require,
}

/// Whether this is the name of a variable.
pub(in crate::init) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|first| is_name_start(*first)) && text.iter().all(|byte| is_name_byte(*byte))
}

/// Whether a name may begin with this.
pub(super) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether a name may hold this.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
