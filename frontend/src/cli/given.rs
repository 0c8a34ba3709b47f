//! What was typed, together with what the environment adds to it: one value for each flag, wherever it came from.

use super::flags::{Flag, Kind, parse_switch};
use crate::error::{Failure, Outcome};
use crate::message;
use crate::payload::Dialect;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Every flag's value.
#[derive(Debug, Default)]
pub struct Given {
    values: HashMap<&'static str, Vec<OsString>>,
}

impl Given {
    /// Takes the command line's values, then the environment's for flags that were not typed.
    ///
    /// # Errors
    /// A variable for a switch that says neither yes nor no; a flag that this program does not have.
    pub fn collect(flags: &[&'static Flag], typed: &ArgMatches, host: &Environment) -> Outcome<Self> {
        let mut given = Self::default();
        for flag in flags {
            let mut values = typed_values(flag, typed);
            if values.is_empty() || flag.variables_add {
                values.extend(host.values_for(flag)?);
            }
            if let Some(instead) = flag.instead
                && values.iter().any(|value| flag.kind != Kind::Switch || is_true(value))
            {
                return Err(Failure::new(format!("--{} is not supported", flag.name)).hint(instead));
            }
            given.values.insert(flag.name, values);
        }
        Ok(given)
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.all(name).last().is_some_and(|value| is_true(value))
    }

    /// The last value of a flag.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&OsStr> {
        self.all(name).last().map(OsString::as_os_str)
    }

    /// Every value of a flag, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> &[OsString] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Turns a switch on, as another flag implies it.
    pub fn imply(&mut self, name: &'static str) {
        self.values.insert(name, vec!["true".into()]);
    }
}

fn is_true(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| parse_switch(text) == Ok(true))
}

fn typed_values(flag: &Flag, typed: &ArgMatches) -> Vec<OsString> {
    if typed.value_source(flag.name) != Some(ValueSource::CommandLine) {
        return Vec::new();
    }
    match flag.kind {
        Kind::Switch => {
            let on = typed.get_one::<bool>(flag.name).copied().unwrap_or(false);
            vec![if on { "true" } else { "false" }.into()]
        }
        Kind::Text => typed.get_one::<OsString>(flag.name).cloned().into_iter().collect(),
        Kind::Each => typed.get_many::<OsString>(flag.name).into_iter().flatten().cloned().collect(),
        Kind::List => typed
            .get_many::<OsString>(flag.name)
            .into_iter()
            .flatten()
            .map(|value| items(value))
            .inspect(|items| warn_of_nothing(flag, items))
            .flatten()
            .collect(),
    }
}

/// Most often a variable of the shell's was meant to hold the value. To the incumbents it asks for nothing, and scripts may
/// rely on that, but what it was to say would be missed in silence.
fn warn_of_nothing(flag: &Flag, items: &[OsString]) {
    if items.is_empty() {
        message::warning(format!("--{} was given an empty value, and has no effect", flag.name));
    }
}

/// The items of a list: split at commas outside double quotes; quotes at both ends of an item are taken off and a
/// doubled quote inside them means one, as in CSV. `\,` is a comma that does not split.
#[must_use]
pub fn items(list: &OsStr) -> Vec<OsString> {
    let mut items = vec![Vec::new()];
    let mut quoted = false;
    let mut bytes = list.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let Some(item) = items.last_mut() else { break };
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => item.extend(bytes.next()),
            b'"' if quoted => quoted = false,
            b'"' if item.is_empty() => quoted = true,
            b'\\' if bytes.peek() == Some(&b',') => item.extend(bytes.next()),
            b',' if !quoted => items.push(Vec::new()),
            _ => item.push(byte),
        }
    }
    items.into_iter().filter(|item| !item.is_empty()).map(OsString::from_vec).collect()
}

/// What the names of variables that speak to this program begin with.
const PREFIXES: [&str; 2] = ["SINGULARITY", "APPTAINER"];

fn is_blank(value: &OsStr) -> bool {
    value.as_bytes().trim_ascii().is_empty()
}

/// The caller's environment as it was when the program started.
#[derive(Debug)]
pub struct Environment {
    variables: Vec<(OsString, OsString)>,
    /// Where in `variables` those are that speak to this program: few, and asked for at every flag.
    prefixed: Vec<usize>,
    dialect: Dialect,
    /// Whether what is odd about the variables was said already.
    spoken_of: bool,
}

impl Environment {
    /// The process's own environment, read the way the program was called.
    #[must_use]
    pub fn of_process(dialect: Dialect) -> Self {
        Self::new(std::env::vars_os().collect(), dialect)
    }

    /// An environment made up by a test.
    #[must_use]
    pub fn new(variables: Vec<(OsString, OsString)>, dialect: Dialect) -> Self {
        let speaks_to_us = |(_, (name, value)): &(usize, &(OsString, OsString))| {
            let name = name.as_bytes();
            PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes())) && !is_blank(value)
        };
        let prefixed = variables.iter().enumerate().filter(speaks_to_us).map(|(at, _)| at).collect();
        Self { variables, prefixed, dialect, spoken_of: false }
    }

    /// The same environment in a program that another one became, which said already what is odd about it.
    #[must_use]
    pub(super) fn spoken_of(self) -> Self {
        Self { spoken_of: true, ..self }
    }

    /// Every variable, in the order the process got them.
    #[must_use]
    pub fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// The prefixes of variables that speak to this program, the preferred one first.
    #[must_use]
    pub fn prefixes(&self) -> [&'static str; 2] {
        let [singularity, apptainer] = PREFIXES;
        match self.dialect {
            Dialect::Singularity => [singularity, apptainer],
            Dialect::Apptainer => [apptainer, singularity],
        }
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    /// What the environment says about a flag: the first variable that is set, or every one for a flag that adds.
    fn values_for(&self, flag: &Flag) -> Outcome<Vec<OsString>> {
        let mut values = Vec::new();
        for name in flag.variables {
            let Some((variable, value)) = self.prefixed(name) else {
                continue;
            };
            values.extend(interpret(flag, &variable, value)?);
            if !flag.variables_add {
                break;
            }
        }
        Ok(values)
    }

    /// As [`Self::prefixed`], for a variable that may not matter: without a word about what is odd.
    #[must_use]
    pub fn prefixed_quietly(&self, name: &str) -> Option<&OsStr> {
        self.prefixes().into_iter().find_map(|prefix| self.set(&format!("{prefix}_{name}")))
    }

    /// The value of a prefixed variable that is not blank.
    fn set(&self, name: &str) -> Option<&OsStr> {
        let mut prefixed = self.prefixed.iter().filter_map(|at| self.variables.get(*at));
        prefixed.find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    /// A variable under the preferred prefix, else under the other one. Blank counts as not set.
    #[must_use]
    pub fn prefixed(&self, name: &str) -> Option<(String, &OsStr)> {
        if self.prefixed.is_empty() {
            return None;
        }
        let [preferred, other] = self.prefixes().map(|prefix| format!("{prefix}_{name}"));
        match (self.set(&preferred), self.set(&other)) {
            (Some(value), second) => {
                if !self.spoken_of && second.is_some_and(|second| second != value) {
                    message::warning(format!(
                        "{other} and {preferred} have different values, using the latter"
                    ));
                }
                Some((preferred, value))
            }
            (None, Some(value)) => {
                if !self.spoken_of && self.dialect == Dialect::Apptainer {
                    let text = format!("Environment variable {other} is set, but {preferred} is preferred");
                    message::info(text);
                }
                Some((other, value))
            }
            (None, None) => None,
        }
    }
}

fn interpret(flag: &Flag, variable: &str, value: &OsStr) -> Outcome<Vec<OsString>> {
    Ok(match flag.kind {
        Kind::Switch => {
            let on = value.to_str().and_then(|text| parse_switch(text.trim()).ok()).ok_or_else(|| {
                Failure::new(format!(
                    "While parsing environment variables: {variable} is \"{}\", which is neither true nor false",
                    message::shown(value)
                ))
            })?;
            vec![if on { "true" } else { "false" }.into()]
        }
        Kind::Text | Kind::Each => vec![value.to_owned()],
        Kind::List => items(value)
            .into_iter()
            .map(|item| OsString::from_vec(item.as_bytes().trim_ascii().to_vec()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_at_commas_that_nothing_protects() {
        let split = |text: &str| {
            items(OsStr::new(text)).into_iter().map(|i| i.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(split("a,b:ro"), ["a", "b:ro"]);
        assert_eq!(split("\"a,b\",c"), ["a,b", "c"]);
        assert_eq!(split("a\\,b,c"), ["a,b", "c"]);
        assert_eq!(split("\"a\"\"b\""), ["a\"b"]);
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(split("a,,b"), ["a", "b"]);
    }

    #[test]
    fn the_prefix_of_the_name_the_program_was_called_by_wins() {
        let variables =
            || vec![("SINGULARITY_BIND".into(), "/s".into()), ("APPTAINER_BIND".into(), "/a".into())];
        let value = |dialect| Environment::new(variables(), dialect).prefixed("BIND").unwrap().1.to_owned();
        assert_eq!(value(Dialect::Singularity), "/s");
        assert_eq!(value(Dialect::Apptainer), "/a");
        let quietly = |dialect| {
            Environment::new(variables(), dialect).prefixed_quietly("BIND").map(OsStr::to_owned).unwrap()
        };
        assert_eq!(quietly(Dialect::Singularity), "/s");
        assert_eq!(quietly(Dialect::Apptainer), "/a");
    }
}
