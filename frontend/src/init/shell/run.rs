//! Running commands.

use super::syntax::{Command, List, Part, Redirection, Word, is_name};
use super::{
    CALLS_MAX, Foreign, SCRIPT_BYTES_MAX, SCRIPT_BYTES_USUAL, Shell, Stop, Stream, Variable, builtins,
    parser, pattern,
};
use crate::error::reason_of;
use crate::payload::Text;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Builtins whose arguments may be assignments, which are then not split.
const DECLARING: [&[u8]; 3] = [b"export", b"readonly", b"local"];

impl Shell {
    /// Runs commands one after the other.
    pub(super) fn list(&mut self, list: &List) -> Result<(), Stop> {
        list.iter().try_for_each(|command| self.command(command))
    }

    fn command(&mut self, command: &Command) -> Result<(), Stop> {
        self.spend(1)?;
        match command {
            Command::Simple { assignments, words } => self.simple(assignments, words),
            Command::Not(command) => {
                self.command(command)?;
                self.status = i32::from(self.status == 0);
                Ok(())
            }
            Command::And(first, second) => {
                self.command(first)?;
                if self.status == 0 { self.command(second) } else { Ok(()) }
            }
            Command::Or(first, second) => {
                self.command(first)?;
                if self.status != 0 { self.command(second) } else { Ok(()) }
            }
            Command::Group(list) => self.compound(list),
            Command::Subshell(list) => self.subshell(list),
            Command::If { branches, otherwise } => self.branch(branches, otherwise),
            Command::For { name, words, body } => self.for_each(name, words.as_deref(), body),
            Command::While { until, condition, body } => self.while_true(*until, condition, body),
            Command::Case { subject, arms } => self.case(subject, arms),
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::clone(body));
                self.status = 0;
                Ok(())
            }
            Command::Redirected(command, redirections) => self.redirected(command, redirections),
            Command::Foreign(what) => Err(Stop::foreign(*what)),
        }
    }

    fn compound(&mut self, list: &List) -> Result<(), Stop> {
        if list.is_empty() {
            self.status = 0;
        }
        self.list(list)
    }

    fn subshell(&mut self, list: &List) -> Result<(), Stop> {
        let mut copy = self.copy()?;
        let result = copy.compound(list);
        self.leave_copy(&copy, result)?;
        self.printed = copy.printed;
        Ok(())
    }

    fn branch(&mut self, branches: &[(List, List)], otherwise: &List) -> Result<(), Stop> {
        for (condition, body) in branches {
            self.list(condition)?;
            if self.status == 0 {
                return self.compound(body);
            }
        }
        self.compound(otherwise)
    }

    fn for_each(&mut self, name: &[u8], words: Option<&[Word]>, body: &List) -> Result<(), Stop> {
        let values = match words {
            Some(words) => self.fields(words)?,
            None => self.positional.clone(),
        };
        if values.is_empty() {
            self.status = 0;
        }
        for value in values {
            self.spend(1)?;
            self.set(name, value)?;
            let result = self.list(body);
            if goes_on(result)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn while_true(&mut self, until: bool, condition: &List, body: &List) -> Result<(), Stop> {
        let mut status = 0;
        loop {
            self.spend(1)?;
            self.list(condition)?;
            if (self.status == 0) == until {
                break;
            }
            let result = self.list(body);
            status = self.status;
            if goes_on(result)?.is_break() {
                break;
            }
        }
        self.status = status;
        Ok(())
    }

    fn case(&mut self, subject: &Word, arms: &[(Vec<Word>, List)]) -> Result<(), Stop> {
        let subject = self.text(subject)?;
        for (patterns, body) in arms {
            for word in patterns {
                let glyphs = self.pattern(word)?;
                self.spend(subject.len().saturating_mul(glyphs.len().max(8) / 8) + 1)?;
                if pattern::matches(&glyphs, &subject) {
                    return self.compound(body);
                }
            }
        }
        self.status = 0;
        Ok(())
    }

    fn redirected(&mut self, command: &Command, redirections: &[Redirection]) -> Result<(), Stop> {
        let before = self.streams;
        for redirection in redirections {
            let target = self.text(&redirection.target)?;
            let stream = match (redirection.duplicate, redirection.input, target.as_slice()) {
                (true, false, b"1") => self.streams[0],
                (true, false, b"2") => self.streams[1],
                (false, false, b"/dev/null") => Stream::Nowhere,
                (false, true, b"/dev/null") if redirection.number == 0 => continue,
                _ => return Err(Stop::foreign("a redirection")),
            };
            match redirection.number {
                1 => self.streams[0] = stream,
                2 => self.streams[1] = stream,
                _ => return Err(Stop::foreign("a redirection")),
            }
        }
        let result = self.command(command);
        self.streams = before;
        result
    }

    fn simple(&mut self, assignments: &[(Text, Word)], words: &[Word]) -> Result<(), Stop> {
        self.substituted = false;
        let arguments = self.arguments(words)?;
        let Some((name, arguments)) = arguments.split_first() else {
            return self.assign(assignments);
        };
        if !assignments.is_empty() {
            return Err(Stop::foreign("a command with variables of its own"));
        }
        if let Some(body) = self.functions.get(name).cloned() {
            return self.call(&body, arguments);
        }
        match builtins::find(name) {
            Some(builtin) => {
                self.status = builtin(self, arguments)?;
                Ok(())
            }
            None => {
                Err(Stop::foreign(format!("the command {}", crate::message::shown(OsStr::from_bytes(name)))))
            }
        }
    }

    /// Assignments alone: their status is that of the last substitution in them.
    fn assign(&mut self, assignments: &[(Text, Word)]) -> Result<(), Stop> {
        for (name, word) in assignments {
            let value = self.value(word)?;
            self.set(name, value)?;
        }
        if !self.substituted {
            self.status = 0;
        }
        Ok(())
    }

    /// Expands the words of a command.
    fn arguments(&mut self, words: &[Word]) -> Result<Vec<Text>, Stop> {
        let declares = matches!(words.first().map(Vec::as_slice), Some([Part::Plain(name)])
            if DECLARING.contains(&name.as_slice()));
        if !declares {
            return self.fields(words);
        }
        let mut arguments = Vec::new();
        for word in words {
            match word.as_slice() {
                [Part::Plain(first), rest @ ..] if assigned(first).is_some() => {
                    let (name, value) = assigned(first).unwrap_or_default();
                    let mut argument = [name, b"="].concat();
                    argument.extend(self.declared_value(value, rest)?);
                    arguments.push(argument);
                }
                _ => arguments.extend(self.fields(std::slice::from_ref(word))?),
            }
        }
        Ok(arguments)
    }

    fn declared_value(&mut self, start: &[u8], rest: &[Part]) -> Result<Text, Stop> {
        if start.starts_with(b"~") || start.windows(2).any(|pair| pair == b":~") {
            return Err(Stop::foreign("a home directory in a declaration"));
        }
        let mut value = start.to_vec();
        for part in rest {
            value.extend(self.part_text(part)?);
        }
        Ok(value)
    }

    fn call(&mut self, body: &Command, arguments: &[Text]) -> Result<(), Stop> {
        let positional = std::mem::replace(&mut self.positional, arguments.to_vec());
        self.hidden.push(Vec::new());
        let result = self.deeper(|shell| shell.command(body));
        self.positional = positional;
        for (name, variable) in self.hidden.pop().unwrap_or_default().into_iter().rev() {
            match variable {
                Some(variable) => drop(self.variables.insert(name, variable)),
                None => drop(self.variables.remove(&name)),
            }
        }
        self.returned(result)
    }

    /// Hides a variable until the function that runs returns.
    pub(super) fn hide(&mut self, name: &[u8]) -> Result<(), Stop> {
        let before = self.variables.get(name).cloned();
        let Some(hidden) = self.hidden.last_mut() else {
            return Err(Stop::foreign("local outside a function"));
        };
        hidden.push((name.to_vec(), before.clone()));
        self.variables.insert(name.to_vec(), before.unwrap_or_else(Variable::default));
        Ok(())
    }

    /// Runs a file's commands in this shell.
    pub(super) fn source(&mut self, path: &[u8], arguments: &[Text]) -> Result<(), Stop> {
        let result = self.read_script(path).and_then(|text| {
            let before =
                (!arguments.is_empty()).then(|| std::mem::replace(&mut self.positional, arguments.to_vec()));
            let result = self.deeper(|shell| shell.run_text(&text));
            if let Some(positional) = before {
                self.positional = positional;
            }
            self.returned(result)
        });
        match (result, &mut self.skipped) {
            (Err(Stop::Foreign(foreign)), skipped) => {
                let foreign = Foreign { script: foreign.script.or_else(|| Some(path.to_vec())), ..foreign };
                match skipped {
                    Some(skipped) => skipped.push(foreign),
                    None => return Err(Stop::Foreign(foreign)),
                }
                Ok(())
            }
            (result, _) => result,
        }
    }

    pub(super) fn read_script(&mut self, path: &[u8]) -> Result<Text, Stop> {
        let mut text = Text::with_capacity(SCRIPT_BYTES_USUAL);
        let read = std::fs::File::open(OsStr::from_bytes(path))
            .and_then(|file| file.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut text));
        match read {
            Ok(_) if text.len() as u64 <= SCRIPT_BYTES_MAX => {
                self.spend(text.len())?;
                Ok(text)
            }
            Ok(_) => Err(Stop::foreign("a very long script")),
            Err(error) => Err(Stop::foreign(format!("a file that cannot be read ({})", reason_of(&error)))),
        }
    }

    /// Runs text in this shell.
    pub(super) fn run_text(&mut self, text: &[u8]) -> Result<(), Stop> {
        let list = parser::parse(text)?;
        self.compound(&list)
    }

    /// Runs something one call deeper.
    pub(super) fn deeper(&mut self, run: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.calls >= CALLS_MAX {
            return Err(Stop::foreign("very deep calls"));
        }
        self.calls += 1;
        let result = run(self);
        self.calls -= 1;
        result
    }

    fn returned(&mut self, result: Result<(), Stop>) -> Result<(), Stop> {
        match result {
            Err(Stop::Return(status)) => {
                self.status = status;
                Ok(())
            }
            result => result,
        }
    }
}

/// What a loop does after one round.
fn goes_on(result: Result<(), Stop>) -> Result<std::ops::ControlFlow<()>, Stop> {
    use std::ops::ControlFlow;
    match result {
        Ok(()) | Err(Stop::Continue(0 | 1)) => Ok(ControlFlow::Continue(())),
        Err(Stop::Break(0 | 1)) => Ok(ControlFlow::Break(())),
        Err(Stop::Break(levels)) => Err(Stop::Break(levels - 1)),
        Err(Stop::Continue(levels)) => Err(Stop::Continue(levels - 1)),
        Err(stop) => Err(stop),
    }
}

/// `name=` and what follows it in the same piece of text.
fn assigned(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = text.split_at(equals);
    is_name(name).then_some((name, value.get(1..).unwrap_or_default()))
}
