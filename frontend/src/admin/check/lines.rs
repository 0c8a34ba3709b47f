//! What can be said of a line by itself and by the lines above it.

use super::{Finding, Severity};
use crate::admin::directive;
use crate::message::shown;
use config::{ConfigError, Directive, Enforcer, Settings, assignments};
use std::collections::{HashMap, HashSet};

/// Unknown directives that a name is suggested for: in a file with more, nobody meant any of them.
const SUGGESTIONS_MAX: usize = 200;

/// Findings about the form, names and values of the lines, and about lines that others make pointless.
pub(super) fn findings(text: &[u8]) -> Vec<Finding> {
    let mut reader = Reader::default();
    let mut directives = HashSet::new();
    for assignment in assignments(text) {
        match assignment {
            Ok((line, name, value)) => {
                directives.insert(line);
                reader.line(line, name, value);
            }
            Err(error) => {
                directives.extend(error_line(&error));
                reader.error(error_line(&error), without_line(&error));
            }
        }
    }
    for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
        if !bytes.is_empty() && !bytes.starts_with(b"#") && !directives.contains(&line) {
            reader.warning(line, "is neither a comment nor 'name = value', and is passed over");
        }
    }
    if !reader.idle_defaults.is_empty() {
        let names = reader.idle_defaults.join(", ");
        let text = format!("read and without effect here, but at their defaults: {names}");
        reader.findings.push(Finding::new(Severity::Info, None, text));
    }
    reader.findings
}

#[derive(Default)]
struct Reader<'a> {
    findings: Vec<Finding>,
    /// Line of the value that decides each directive that has one.
    decided: HashMap<&'static str, u32>,
    /// Line of each entry of each list.
    entries: HashMap<(&'static str, &'a str), u32>,
    /// How many unknown directives there were.
    unknown: usize,
    /// Directives without effect that were named already.
    idle: HashSet<&'static str>,
    /// Those of them that say what holds anyway.
    idle_defaults: Vec<String>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: u32, name: &str, value: &'a [u8]) {
        let Some(directive) = directive::find(name) else {
            return self.unknown(line, name);
        };
        if value.trim_ascii().is_empty() {
            let text = format!("\"{name}\" has no value, so the line is passed over");
            return self.findings.push(Finding::new(Severity::Info, line, text));
        }
        if !directive.list
            && let Some(first) = self.decided.get(directive.name)
        {
            let text = format!("\"{name}\" is decided by line {first} already, so this line is never read");
            return self.warning(line, text);
        }
        if let Err(error) = alone(directive, value) {
            return self.error(line, format!("{}{}", without_line(&error), comment_hint(value)));
        }
        self.useless(line, directive, value);
        if directive.enforcer == Enforcer::Nobody && self.idle.insert(directive.name) {
            self.idle(line, directive, value);
        }
    }

    fn unknown(&mut self, line: u32, name: &str) {
        if name.is_empty() {
            return self.warning(line, "has no name before the '=', and is passed over");
        }
        self.unknown += 1;
        let suggestion =
            if self.unknown <= SUGGESTIONS_MAX { directive::suggestion(name) } else { String::new() };
        let name = shown(name);
        self.warning(line, format!("unknown directive \"{name}\", which is passed over{suggestion}"));
    }

    /// A whole file of the incumbents has many of these; only those that ask for something are worth a line each.
    fn idle(&mut self, line: u32, directive: &Directive, value: &[u8]) {
        let name = directive.name;
        let says = alone(directive, value).ok().and_then(|site| site.texts(name));
        if says == Settings::default().texts(name) {
            self.idle_defaults.push(format!("\"{name}\""));
        } else {
            let text = format!("\"{name}\" is read and does nothing here");
            self.findings.push(Finding::new(Severity::Info, line, text));
        }
    }

    /// Values that are read and make no difference.
    fn useless(&mut self, line: u32, directive: &'static Directive, value: &'a [u8]) {
        let name = directive.name;
        let values = std::str::from_utf8(value).unwrap_or_default().split(',').map(str::trim);
        if !directive.list {
            self.decided.insert(name, line);
            if values.count() > 1 {
                self.warning(line, format!("\"{name}\" has one value: only the first one counts"));
            }
            return;
        }
        for entry in values {
            if let Some(first) = self.entries.get(&(name, entry)) {
                let text = format!("\"{}\" is in \"{name}\" already, by line {first}", shown(entry));
                self.warning(line, text);
            } else {
                self.entries.insert((name, entry), line);
            }
        }
    }

    fn error(&mut self, line: impl Into<Option<u32>>, text: impl Into<String>) {
        self.findings.push(Finding::new(Severity::Error, line, text));
    }

    fn warning(&mut self, line: u32, text: impl Into<String>) {
        self.findings.push(Finding::new(Severity::Warning, line, text));
    }
}

/// What the parser makes of the line by itself, so that every wrong line is found and not only the first.
fn alone(directive: &Directive, value: &[u8]) -> Result<Settings, ConfigError> {
    Settings::parse(&[directive.name.as_bytes(), b"=", value].concat())
}

fn error_line(error: &ConfigError) -> Option<u32> {
    match error {
        ConfigError::FileTooLong => None,
        ConfigError::NulByte { line }
        | ConfigError::StrayCarriageReturn { line }
        | ConfigError::Value { line, .. }
        | ConfigError::ValueTooLong { line, .. }
        | ConfigError::ListTooLong { line, .. } => Some(*line),
    }
}

/// The error's words without the line, which a finding has already.
fn without_line(error: &ConfigError) -> String {
    let text = error.to_string();
    let prefix = error_line(error).map_or_else(String::new, |line| format!("line {line}: "));
    text.strip_prefix(&prefix).unwrap_or(&text).to_owned()
}

fn comment_hint(value: &[u8]) -> &'static str {
    if value.contains(&b'#') { "; there are no comments behind a value" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let shown = |finding: Finding| {
            let line = finding.line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            format!("{line} {} {}", finding.severity, finding.text)
        };
        findings(text.as_bytes()).into_iter().map(shown).collect()
    }

    #[test]
    fn the_installed_file_and_an_empty_one_have_nothing_wrong() {
        for text in [config::default_file().as_str(), "", "# nothing\n\n"] {
            let wrong: Vec<Finding> =
                findings(text.as_bytes()).into_iter().filter(Finding::is_wrong).collect();
            assert_eq!(wrong, []);
        }
    }

    #[test]
    fn an_unknown_directive_is_named_with_what_was_meant() {
        assert_eq!(
            said("mount home = yes\nalow setuid = no\n"),
            [
                "2 warning unknown directive \"alow setuid\", which is passed over; did you mean \"allow setuid\"?"
            ]
        );
    }

    #[test]
    fn every_wrong_value_is_found_at_its_line() {
        let said = said("mount home = maybe\n\nmount tmp = yes # always\nbind path = etc\n");
        assert_eq!(said.len(), 3);
        assert!(said[0].starts_with("1 error") && said[0].contains("[yes no]") && said[0].contains("maybe"));
        assert!(said[1].starts_with("3 error") && said[1].ends_with("no comments behind a value"));
        assert!(said[2].starts_with("4 error"));
    }

    #[test]
    fn a_value_behind_the_first_one_of_a_directive_is_never_read() {
        assert_eq!(
            said("mount home = yes\nmount home = no\nmount tmp = no,yes\n"),
            [
                "2 warning \"mount home\" is decided by line 1 already, so this line is never read",
                "3 warning \"mount tmp\" has one value: only the first one counts",
            ]
        );
    }

    #[test]
    fn an_entry_that_a_list_has_already_is_named() {
        assert_eq!(
            said("bind path = /a, /b\nbind path = /c\nbind path = /b\n"),
            ["3 warning \"/b\" is in \"bind path\" already, by line 1"]
        );
    }

    #[test]
    fn lines_that_are_no_directives_are_named() {
        assert_eq!(
            said("allow setuid: no\n  # comment\nmount home =\n"),
            [
                "3 info \"mount home\" has no value, so the line is passed over",
                "1 warning is neither a comment nor 'name = value', and is passed over",
            ]
        );
        assert_eq!(said("= yes\n"), ["1 warning has no name before the '=', and is passed over"]);
        assert_eq!(said("mount home = yes\0\n"), ["1 error a NUL byte"]);
    }

    #[test]
    fn a_directive_without_effect_is_told_once() {
        assert_eq!(
            said("systemd cgroups = no\n"),
            ["1 info \"systemd cgroups\" is read and does nothing here"]
        );
        assert_eq!(said("allow net users = a\nallow net users = b\n").len(), 1);
        assert_eq!(
            said("systemd cgroups = yes\nsif fuse = no\n"),
            ["- info read and without effect here, but at their defaults: \"systemd cgroups\", \"sif fuse\""]
        );
    }
}
