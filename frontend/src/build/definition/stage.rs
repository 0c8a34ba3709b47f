//! One stage: its header and its sections, by meaning.

use super::Fault;
use super::files::FileSet;
use super::header::{Bootstrap, Header, without_remark};
use super::lines::{self, Line, Section};
use std::collections::BTreeMap;

/// One stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Its text, with build arguments put in.
    pub text: String,
    /// Where it begins in the file, counted from 1.
    pub line: usize,
    /// Its header.
    pub header: Header,
    /// What its first files come from.
    pub bootstrap: Bootstrap,
    /// `%files`, in order.
    pub files: Vec<FileSet>,
    /// `%labels`, in order.
    pub labels: Vec<(String, String)>,
    /// Its apps by name.
    pub apps: BTreeMap<String, App>,
    scripts: BTreeMap<&'static str, Script>,
}

/// What is done for one app.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct App {
    /// `%appfiles`, in order.
    pub files: Vec<FileSet>,
    /// `%applabels`, in order.
    pub labels: Vec<(String, String)>,
    scripts: BTreeMap<&'static str, Script>,
}

/// The text of a section that is run, sourced or shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script {
    /// What follows the section's name: options of the shell.
    pub options: String,
    /// What is to be done.
    pub text: String,
}

impl Stage {
    pub(super) fn parse(lines: &[Line]) -> Result<Self, Fault> {
        let spoken = lines.iter().find(|line| !without_remark(&line.text).is_empty());
        let line = spoken.map_or(1, |line| line.number);
        let (header, sections) = lines::sections(lines)?;
        let header = Header::parse(header)?;
        let mut stage = Self {
            text: lines.iter().map(|line| format!("{}\n", line.text)).collect(),
            line,
            bootstrap: header.bootstrap(line)?,
            header,
            files: Vec::new(),
            labels: Vec::new(),
            apps: BTreeMap::new(),
            scripts: BTreeMap::new(),
        };
        sections.iter().try_for_each(|section| stage.take(section))?;
        Ok(stage)
    }

    fn take(&mut self, section: &Section<'_>) -> Result<(), Fault> {
        if lines::is_of_app(section.name) {
            let (name, words) = section.words.split_once(char::is_whitespace).unwrap_or((section.words, ""));
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
                let what =
                    format!("'%{} NAME' names an app, and '{name}' cannot be one's name", section.name);
                return Err(Fault::new(section.line, what));
            }
            return self.apps.entry(name.to_owned()).or_default().take(section, words.trim());
        }
        match section.name {
            // Their values are in the text by now.
            "arguments" => {}
            "files" => self.files.push(FileSet::parse(section, section.words)?),
            "labels" => self.labels.extend(labels(section)),
            name => join(&mut self.scripts, name, section, section.words),
        }
        Ok(())
    }

    /// `Stage: NAME`
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.header.get("stage")
    }

    /// What a section says; nothing where it is missing or blank.
    #[must_use]
    pub fn script(&self, section: &str) -> Option<&Script> {
        self.scripts.get(section).filter(|script| !script.text.trim().is_empty())
    }
}

impl App {
    fn take(&mut self, section: &Section<'_>, words: &str) -> Result<(), Fault> {
        match section.name {
            "appfiles" => self.files.push(FileSet::parse(section, words)?),
            "applabels" => self.labels.extend(labels(section)),
            name => join(&mut self.scripts, name, section, words),
        }
        Ok(())
    }

    /// What a section says; nothing where it is missing or blank.
    #[must_use]
    pub fn script(&self, section: &str) -> Option<&Script> {
        self.scripts.get(section).filter(|script| !script.text.trim().is_empty())
    }
}

/// A section that is there twice is one.
fn join(
    scripts: &mut BTreeMap<&'static str, Script>,
    name: &'static str,
    section: &Section<'_>,
    words: &str,
) {
    let script = scripts.entry(name).or_default();
    if !words.is_empty() {
        script.options = without_remark(words).to_owned();
    }
    script.text.extend(section.body.iter().map(|line| format!("{}\n", line.text)));
}

/// Lines of a name and a value.
fn labels(section: &Section<'_>) -> impl Iterator<Item = (String, String)> {
    let lines = section.body.iter().map(|line| line.text.trim());
    let spoken = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    spoken.map(label)
}

/// A name and a value behind the first blank.
pub(in crate::build) fn label(line: &str) -> (String, String) {
    let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}
