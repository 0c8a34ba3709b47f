//! The lines of a definition: where a stage begins, and where a section does.

use super::Fault;
use crate::spelling;

/// Sections of an image.
const SECTIONS: [&str; 11] = [
    "arguments",
    "environment",
    "files",
    "help",
    "labels",
    "post",
    "pre",
    "runscript",
    "setup",
    "startscript",
    "test",
];
/// Sections of an app, whose name follows.
const APP_SECTIONS: [&str; 8] =
    ["appenv", "appfiles", "apphelp", "appinstall", "applabels", "apprun", "appstart", "apptest"];

/// A line, and its number in the file, counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

/// A section's first line and what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'static str,
    /// What follows the name in its line.
    pub(super) words: &'a str,
    pub(super) line: usize,
    pub(super) body: &'a [Line],
}

/// Takes a text apart where stages begin: with a line `Bootstrap:`, but for the first of all.
pub(super) fn stages(text: &str) -> Vec<Vec<Line>> {
    let mut stages = vec![Vec::new()];
    let mut begun = false;
    for (index, text) in text.lines().enumerate() {
        let begins = is_bootstrap(text);
        if begins && begun {
            stages.push(Vec::new());
        }
        begun |= begins;
        if let Some(stage) = stages.last_mut() {
            stage.push(Line { number: index + 1, text: text.to_owned() });
        }
    }
    stages
}

fn is_bootstrap(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case("bootstrap"))
}

/// The header of a stage, and its sections.
pub(super) fn sections(lines: &[Line]) -> Result<(&[Line], Vec<Section<'_>>), Fault> {
    let mut begins = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if let Some((name, words)) = section_of(line)? {
            begins.push((index, name, words));
        }
    }
    let header = lines.get(..begins.first().map_or(lines.len(), |(index, ..)| *index)).unwrap_or_default();
    let ends = begins.iter().skip(1).map(|(index, ..)| *index).chain([lines.len()]);
    let sections = begins.iter().zip(ends).map(|((index, name, words), end)| Section {
        name,
        words,
        line: lines.get(*index).map_or(0, |line| line.number),
        body: lines.get(index + 1..end).unwrap_or_default(),
    });
    Ok((header, sections.collect()))
}

/// The section that begins with this line. An indented line that begins with `%` and names none is part of a script.
fn section_of(line: &Line) -> Result<Option<(&'static str, &str)>, Fault> {
    let Some(rest) = line.text.trim_start().strip_prefix('%') else {
        return Ok(None);
    };
    let (typed, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let known = || SECTIONS.into_iter().chain(APP_SECTIONS);
    if let Some(name) = known().find(|name| typed.eq_ignore_ascii_case(name)) {
        return Ok(Some((name, words.trim())));
    }
    if line.text.starts_with(char::is_whitespace) {
        return Ok(None);
    }
    let meant =
        spelling::nearest(typed, known()).map_or_else(String::new, |name| format!("; did you mean %{name}?"));
    Err(Fault::new(line.number, format!("invalid section(s) specified: %{typed}{meant}")))
}

/// Whether a section belongs to an app.
pub(super) fn is_of_app(name: &str) -> bool {
    APP_SECTIONS.contains(&name)
}
