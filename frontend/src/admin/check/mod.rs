//! `config check`: what is wrong with a `singularity.conf`, and what in it has no effect.

mod lines;
mod meaning;

use super::trust;
use config::Settings;
use std::fmt;
use std::path::Path;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// No container starts, or none that it is about.
    Error,
    /// The file does not do what it seems to say.
    Warning,
    /// Worth knowing; nothing is wrong.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One thing that was noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where in the file, counted from 1; `None` for the file as a whole.
    pub line: Option<u32>,
    /// How much it matters.
    pub severity: Severity,
    /// What it is, and what to do about it.
    pub text: String,
}

impl Finding {
    fn new(severity: Severity, line: impl Into<Option<u32>>, text: impl Into<String>) -> Self {
        Self { line: line.into(), severity, text: text.into() }
    }

    /// Whether something is wrong.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.severity < Severity::Info
    }
}

/// Everything there is to say about the text of a configuration, in the order of its lines.
#[must_use]
pub fn text(text: &[u8]) -> Vec<Finding> {
    let mut findings = lines::findings(text);
    match Settings::parse(text) {
        Ok(site) => findings.extend(meaning::findings(&site)),
        // Most errors belong to a line and were found there.
        Err(error) if !findings.iter().any(|finding| finding.severity == Severity::Error) => {
            findings.push(Finding::new(Severity::Error, None, error.to_string()));
        }
        Err(_) => {}
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// Whether the starter would believe the file. That is wrong only of the file it reads; a draft elsewhere may be
/// anybody's.
#[must_use]
pub fn ownership(path: &Path, in_place: bool) -> Vec<Finding> {
    let reasons = trust::reasons_against(path).into_iter();
    if in_place {
        reasons.map(|reason| Finding::new(Severity::Error, None, reason)).collect()
    } else {
        let would = |reason| format!("in place, the starter would not believe it: {reason}");
        reasons.map(|reason| Finding::new(Severity::Info, None, would(reason))).collect()
    }
}
