//! Build arguments: `{{ NAME }}` in a definition, with values from the command line or from `%arguments`.

use super::lines::{self, Line};
use super::{DEFINITION_BYTES_MAX, Fault};
use std::collections::{BTreeMap, BTreeSet};

/// Values by name.
pub type Arguments = BTreeMap<String, String>;

/// `NAME=VALUE`
#[must_use]
pub fn parse_one(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    is_name(name.trim()).then(|| (name.trim().to_owned(), unquoted(value.trim()).to_owned()))
}

/// A file of such lines; blank ones and those that begin with `#` are none.
///
/// # Errors
/// A line says something else.
pub fn parse_file(text: &str) -> Result<Arguments, Fault> {
    let lines = text.lines().enumerate().map(|(index, text)| (index + 1, text));
    parse_lines(lines)
}

fn parse_lines<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Arguments, Fault> {
    let spoken = lines.map(|(number, text)| (number, text.trim()));
    let spoken = spoken.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
    let argument = |(number, text): (usize, &str)| {
        parse_one(text).ok_or_else(|| Fault::new(number, format!("{text} is not of the form NAME=VALUE")))
    };
    spoken.map(argument).collect()
}

/// Puts values into the lines of a stage: those `given`, else the defaults of the stage itself. `used` gets the names
/// of the arguments that were, and `room` what is left of the bytes there may be.
pub(super) fn put_in(
    lines: &[Line],
    given: &Arguments,
    used: &mut BTreeSet<String>,
    room: &mut usize,
) -> Result<Vec<Line>, Fault> {
    let (_, sections) = lines::sections(lines)?;
    let defaults = sections.iter().filter(|section| section.name == "arguments");
    let defaults = defaults.flat_map(|section| section.body);
    let defaults = parse_lines(defaults.map(|line| (line.number, line.text.as_str())))?;
    let mut done = Vec::with_capacity(lines.len());
    for line in lines {
        let text = with_values(line, |name| {
            used.insert(name.to_owned());
            given.get(name).or_else(|| defaults.get(name)).map(String::as_str)
        })?;
        *room = room
            .checked_sub(text.len())
            .ok_or_else(|| Fault::new(line.number, "with build arguments put in this is too long"))?;
        // A value may be of several lines.
        done.extend(text.split('\n').map(|text| Line { number: line.number, text: text.to_owned() }));
    }
    Ok(done)
}

fn with_values<'a>(line: &Line, mut value: impl FnMut(&str) -> Option<&'a str>) -> Result<String, Fault> {
    let mut text = String::new();
    let mut rest = line.text.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        match after.split_once("}}").filter(|(name, _)| is_name(name.trim())) {
            Some((name, behind)) => {
                let name = name.trim();
                text.push_str(value(name).ok_or_else(|| {
                    Fault::new(line.number, format!("build var {name} is not defined through either --build-arg (--build-arg-file) or 'arguments' section"))
                })?);
                rest = behind;
            }
            // Something of somebody else's, such as a Go template.
            None => {
                text.push_str("{{");
                rest = after;
            }
        }
        if text.len() > DEFINITION_BYTES_MAX {
            return Err(Fault::new(line.number, "with build arguments put in this is too long"));
        }
    }
    text.push_str(rest);
    Ok(text)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// Quotes at both ends hold a value together and are no part of it.
fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}
