//! `doctor`: what this host can and cannot do, and what to do about it.

mod accounts;
mod installation;
mod kernel;
mod kernel_config;
mod programs;

use crate::confined::helper::Programs;
use crate::error::Outcome;
use crate::site;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be.
    Ok,
    /// Containers run; something beside them is less than it could be.
    Limited,
    /// Something this program does cannot work.
    Missing,
}

impl State {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was looked at.
    pub subject: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` where nothing has to be done, or can be.
    pub remedy: Option<String>,
}

impl Check {
    fn new(subject: impl Into<String>, state: State, found: impl Into<String>) -> Self {
        Self { subject: subject.into(), state, found: found.into(), remedy: None }
    }

    fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, State::Ok, found)
    }

    fn limited(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, State::Limited, found)
    }

    fn missing(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, State::Missing, found)
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Looks at everything. Changes nothing.
///
/// # Errors
/// Helper programs cannot be listened to, or the caller interrupted.
pub fn examine() -> Outcome<Vec<Check>> {
    // A configuration that cannot be read is one of the findings; programs are then looked for where they usually are.
    let site = site::load();
    let programs = site.as_ref().map_or_else(|_| Programs::default(), site::programs);
    let settings = site.as_ref().cloned().unwrap_or_default();
    let mut checks = installation::checks(site.as_ref().err());
    checks.extend(kernel::checks(&settings, &programs));
    checks.extend(programs::checks(&programs)?);
    checks.extend(accounts::checks());
    Ok(checks)
}

/// The checks for people: a line each, the remedy below.
#[must_use]
pub fn in_words(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.subject.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let _ = writeln!(text, "{:<8} {:<width$} {}", check.state.name(), check.subject, check.found);
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "{:<8} {:<width$} -> {remedy}", "", "");
        }
    }
    text
}

/// The checks for programs.
#[must_use]
pub fn as_json(checks: &[Check]) -> Value {
    let checks: Vec<Value> = checks
        .iter()
        .map(|check| {
            json!({
                "subject": check.subject,
                "state": check.state.name(),
                "found": check.found,
                "remedy": check.remedy,
            })
        })
        .collect();
    json!({ "checks": checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_a_line_and_its_remedy_another() {
        let checks = [
            Check::ok("kernel", "6.18"),
            Check::missing("mkfs.ext3", "not found").remedy("Install package e2fsprogs"),
        ];
        assert_eq!(
            in_words(&checks),
            "ok       kernel    6.18\nmissing  mkfs.ext3 not found\n                   -> Install package e2fsprogs\n"
        );
        assert_eq!(as_json(&checks)["checks"][1]["state"], "missing");
    }

    #[test]
    fn whatever_is_not_ok_is_explained() {
        for check in examine().unwrap() {
            assert!(!check.found.is_empty(), "{check:?}");
            assert!(check.state != State::Missing || check.remedy.is_some(), "{check:?}");
        }
    }
}
