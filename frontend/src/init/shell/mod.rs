//! The small shell that evaluates environment scripts without a shell in the image.
//!
//! It knows the language as far as such scripts use it, and runs no program. Whatever it does not know ends the
//! evaluation with [`Stop::Foreign`], and because nothing it does has an effect outside (output is kept until the
//! end) the caller may then let a real shell do all of it again. Every evaluation ends: it may spend a limited amount
//! of work, which also bounds its memory.

mod builtins;
mod expand;
mod parser;
mod pattern;
mod run;
mod syntax;
mod test_builtin;
mod words;

pub(crate) use pattern::matches_pattern;
pub(super) use syntax::is_name;

use crate::payload::Text;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use syntax::Command;

/// What one evaluation may spend: a unit for each command, file system question, and byte produced. Stock scripts
/// need a few thousand.
const WORK_MAX: usize = 2 << 20;
/// Longest script that is read, in bytes.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;
/// What a script is expected to have at most, so that it is read at once.
const SCRIPT_BYTES_USUAL: usize = 16 << 10;
/// Deepest nesting of functions, sourced files and `eval`.
const CALLS_MAX: usize = 50;

/// Why commands do not simply go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Only a real shell can do this.
    Foreign(Foreign),
    /// `exit`
    Exit(i32),
    /// `return`
    Return(i32),
    /// `break`, out of so many loops.
    Break(usize),
    /// `exec`: the program to become, with its arguments.
    Exec(Vec<Text>),
    /// `continue`, of the loop so many levels up.
    Continue(usize),
}

/// What only a real shell can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// The script, where it is in one.
    pub(super) script: Option<Text>,
    /// What it is, to follow "uses".
    pub(super) what: String,
}

impl Stop {
    fn foreign(what: impl Into<String>) -> Self {
        Self::Foreign(Foreign { script: None, what: what.into() })
    }
}

/// A shell variable.
#[derive(Clone, Default)]
struct Variable {
    value: Option<Text>,
    exported: bool,
}

/// Where output goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
    /// Nowhere.
    Nowhere,
}

/// The state of a shell.
#[derive(Clone)]
pub(super) struct Shell {
    variables: BTreeMap<Text, Variable>,
    functions: BTreeMap<Text, Rc<Command>>,
    positional: Vec<Text>,
    /// The state of variables that `local` hides, for each function that runs.
    hidden: Vec<Vec<(Text, Option<Variable>)>>,
    /// Where descriptors 1 and 2 lead.
    streams: [Stream; 2],
    printed: Vec<(Stream, Text)>,
    status: i32,
    /// Whether the command that is being expanded had a substitution.
    substituted: bool,
    work_left: usize,
    calls: usize,
    export_all: bool,
    no_globbing: bool,
    /// Whether `exec` is for the caller to carry out.
    may_exec: bool,
    /// Scripts that end early because of something foreign, where that is not the end of everything.
    skipped: Option<Vec<Foreign>>,
}

impl Shell {
    /// A shell with these exported variables and positional parameters.
    pub(super) fn new<'a>(
        variables: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        positional: Vec<Text>,
    ) -> Self {
        let exported = |value: &[u8]| Variable { value: Some(value.to_vec()), exported: true };
        Self {
            variables: variables.map(|(name, value)| (name.to_vec(), exported(value))).collect(),
            functions: BTreeMap::new(),
            positional,
            hidden: Vec::new(),
            streams: [Stream::Output, Stream::Error],
            printed: Vec::new(),
            status: 0,
            substituted: false,
            work_left: WORK_MAX,
            calls: 0,
            export_all: false,
            no_globbing: false,
            may_exec: false,
            skipped: None,
        }
    }

    /// Lets the script end with [`Stop::Exec`].
    pub(super) fn let_exec(mut self) -> Self {
        self.may_exec = true;
        self
    }

    /// Lets a sourced script that needs a real shell end where it needs it, for an image that has none.
    pub(super) fn skip_foreign(mut self) -> Self {
        self.skipped = Some(Vec::new());
        self
    }

    /// Runs a script. `Err` carries its exit status when it exits, and [`Stop::Foreign`] when it needs a real shell.
    pub(super) fn run(&mut self, script: &[u8]) -> Result<(), Stop> {
        for command in parser::parse(script)? {
            match (self.list(&vec![command]), &mut self.skipped) {
                (Err(Stop::Foreign(foreign)), Some(skipped)) => skipped.push(foreign),
                (Err(Stop::Break(_) | Stop::Continue(_)), _) => {
                    return Err(Stop::foreign("break outside a loop"));
                }
                (result, _) => result?,
            }
        }
        Ok(())
    }

    /// Runs the script in a file, as [`Shell::run`] does.
    pub(super) fn run_file(&mut self, path: &[u8]) -> Result<(), Stop> {
        let script = self.read_script(path)?;
        self.run(&script)
    }

    /// The exported variables that have a value.
    pub(super) fn exported(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables
            .iter()
            .filter(|(_, variable)| variable.exported)
            .filter_map(|(name, variable)| variable.value.as_deref().map(|value| (name.as_slice(), value)))
    }

    /// The exit status of the last command.
    pub(super) fn status(&self) -> i32 {
        self.status
    }

    /// Prints what was printed, in order. Output that nobody can be told of changes nothing.
    pub(super) fn print_all(&self) {
        for (stream, text) in &self.printed {
            let _ = match stream {
                Stream::Output => std::io::stdout().write_all(text),
                Stream::Error => std::io::stderr().write_all(text),
                Stream::Nowhere => Ok(()),
            };
        }
        let _ = std::io::stdout().flush();
    }

    /// What was skipped, with [`Shell::skip_foreign`].
    pub(super) fn skipped(&self) -> &[Foreign] {
        self.skipped.as_deref().unwrap_or_default()
    }

    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.variables.get(name)?.value.as_deref()
    }

    fn set(&mut self, name: &[u8], value: Text) -> Result<(), Stop> {
        self.spend(value.len())?;
        let export_all = self.export_all;
        let variable = self.variables.entry(name.to_vec()).or_default();
        variable.value = Some(value);
        variable.exported |= export_all;
        Ok(())
    }

    fn export(&mut self, name: &[u8]) {
        self.variables.entry(name.to_vec()).or_default().exported = true;
    }

    /// Pays for work.
    fn spend(&mut self, work: usize) -> Result<(), Stop> {
        self.work_left = self.work_left.checked_sub(work).ok_or_else(|| Stop::foreign("very much work"))?;
        Ok(())
    }

    /// A copy for commands that may change everything and leave no trace; paid for by its size.
    fn copy(&mut self) -> Result<Self, Stop> {
        let variables = self
            .variables
            .iter()
            .map(|(name, variable)| name.len() + variable.value.as_ref().map_or(0, Vec::len));
        let printed = self.printed.iter().map(|(_, text)| text.len());
        let positional = self.positional.iter().map(Vec::len);
        self.spend(variables.chain(printed).chain(positional).sum())?;
        Ok(self.clone())
    }

    fn print(&mut self, descriptor: usize, text: &[u8]) -> Result<(), Stop> {
        self.spend(text.len())?;
        let stream = self.streams.get(descriptor).copied().unwrap_or(Stream::Nowhere);
        if stream != Stream::Nowhere {
            self.printed.push((stream, text.to_vec()));
        }
        Ok(())
    }
}

/// Whether a text is one word of the shell, so that it can stand in a script and change nothing around it.
pub(super) fn is_one_word(text: &[u8]) -> bool {
    parser::parse_word(text).is_ok()
}

#[cfg(test)]
mod tests;
