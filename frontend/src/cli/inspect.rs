//! `inspect` and `run-help`: words in, one call out.

use super::given::Given;
use super::{Stop, answer};
use crate::error::{Doing, Failure, Outcome};
use crate::inspect::{self, Attributes, Section};
use crate::message::shown;
use crate::site;
use serde::Serialize;
use serde_json::json;
use serde_json::ser::{PrettyFormatter, Serializer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// Which flag asks for which section.
const FLAGS: [(&str, Section); 8] = [
    ("list-apps", Section::Apps),
    ("deffile", Section::Deffile),
    ("runscript", Section::Runscript),
    ("startscript", Section::Startscript),
    ("test", Section::Test),
    ("helpfile", Section::Helpfile),
    ("environment", Section::Environment),
    ("labels", Section::Labels),
];

/// `inspect`
pub(super) fn inspect(given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let image = read(words)?;
    let all = given.is_on("all");
    let asked: Vec<Section> =
        FLAGS.into_iter().filter(|(flag, _)| all || given.is_on(flag)).map(|(_, section)| section).collect();
    let sections = if asked.is_empty() { &[Section::Labels][..] } else { &asked };
    let app = given.last("app").filter(|_| !all).map(|app| app.to_string_lossy().into_owned());
    let mut selected = match &app {
        Some(name) => of_app(&image, name)?.only(sections),
        None => image.only(sections),
    };
    if !(all || given.is_on("json")) {
        return Ok(answer::print(selected.in_words())?);
    }
    if let Some(name) = app {
        selected = Attributes { apps: BTreeMap::from([(name, selected)]), ..Attributes::default() };
    }
    Ok(answer::print(as_json(&selected)?)?)
}

/// `run-help`
pub(super) fn run_help(given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let image = read(words)?;
    let help = match given.last("app") {
        Some(app) => of_app(&image, &app.to_string_lossy())?.helpfile.clone(),
        None => image.helpfile,
    };
    let none = "No help sections were defined for this image".to_owned();
    let help = if help.is_empty() { none } else { help };
    Ok(answer::print(format!("{help}\n"))?)
}

fn read(words: &[OsString]) -> Outcome<Attributes> {
    let path = words.first().map(Path::new).unwrap_or(Path::new(""));
    inspect::read(path, &site::programs(&site::load()?))
}

fn of_app<'a>(image: &'a Attributes, name: &str) -> Outcome<&'a Attributes> {
    image.apps.get(name).ok_or_else(|| {
        Failure::new(format!("the image has no app {}", shown(name))).hint("--list-apps shows those it has")
    })
}

/// As the incumbents lay it out, with tabs.
fn as_json(attributes: &Attributes) -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    let whole = json!({ "data": { "attributes": attributes }, "type": "container" });
    whole
        .serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t")))
        .doing(|| "writing JSON".into())?;
    text.push(b'\n');
    Ok(text)
}
