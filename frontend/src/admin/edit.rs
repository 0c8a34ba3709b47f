//! `config global`: one directive of a `singularity.conf` changed in its own lines; every other byte stays.

use super::directive;
use crate::error::{Failure, Outcome};
use crate::message::shown;
use config::{Directive, Settings, assignments};
use std::collections::HashMap;

/// What is to be done to a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// Gives it the value; adds values, separated by commas, in front of a list.
    Set(&'a str),
    /// Takes the value away; of a list, each of the values separated by commas.
    Unset(&'a str),
    /// Gives it the value of the installed file.
    Reset,
}

/// The directive of that name.
///
/// # Errors
/// There is none.
pub fn known(name: &str) -> Outcome<&'static Directive> {
    directive::find(name).ok_or_else(|| {
        let suggestion = directive::suggestion(name);
        Failure::new(format!("\"{}\" is not a directive of singularity.conf{suggestion}", shown(name)))
    })
}

/// The text with the change made. It always parses.
///
/// # Errors
/// The value is not one of the directive's, there is nothing to take away, or another line of the text is wrong.
pub fn changed(text: &[u8], directive: &'static Directive, change: Change) -> Outcome<Vec<u8>> {
    let mut lines = Lines::of(text, directive);
    match change {
        Change::Set(value) if directive.list => lines.add(&values(directive, value)?),
        Change::Set(value) => lines.replace(single(directive, value)?),
        Change::Unset(value) if directive.list => lines.remove_each(&values(directive, value)?)?,
        Change::Unset(value) => lines.remove(single(directive, value)?)?,
        Change::Reset => lines.reset(),
    }
    let text = lines.into_text();
    match Settings::parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(format!("the configuration would not be accepted: {error}"))
            .hint("nothing was changed; 'config check' lists everything that is wrong with the file")),
    }
}

/// The one value of a directive that is no list.
fn single<'a>(directive: &Directive, value: &'a str) -> Outcome<&'a str> {
    let value = value.trim();
    if value.contains(',') {
        return Err(Failure::new(format!("\"{}\" has one value", directive.name)));
    }
    writable(directive, value)
}

/// The values of a list.
fn values<'a>(directive: &Directive, text: &'a str) -> Outcome<Vec<&'a str>> {
    text.split(',').map(|value| writable(directive, value.trim())).collect()
}

/// A value with a line end in it would be more than one line.
fn writable<'a>(directive: &Directive, value: &'a str) -> Outcome<&'a str> {
    let name = directive.name;
    if value.is_empty() {
        return Err(Failure::new(format!("a value of \"{name}\" cannot be empty"))
            .hint("--reset gives the directive its default again"));
    }
    if value.chars().any(char::is_control) {
        let value = shown(value);
        return Err(Failure::new(format!("a value of \"{name}\" cannot have control characters: {value}")));
    }
    Ok(value)
}

/// The lines of a file, those of one directive marked.
struct Lines {
    directive: &'static Directive,
    lines: Vec<Line>,
}

struct Line {
    /// Everything, with the line end.
    bytes: Vec<u8>,
    /// The values written here, if the line is the directive's.
    values: Option<Vec<String>>,
}

impl Lines {
    fn of(text: &[u8], directive: &'static Directive) -> Self {
        let mut written: HashMap<u32, Vec<String>> = assignments(text)
            .filter_map(Result::ok)
            .filter(|(_, name, _)| *name == directive.name)
            .map(|(line, _, value)| (line, entries(value)))
            .collect();
        let lines = (1..)
            .zip(text.split_inclusive(|byte| *byte == b'\n'))
            .map(|(number, bytes)| Line { bytes: bytes.to_vec(), values: written.remove(&number) })
            .collect();
        Self { directive, lines }
    }

    fn into_text(self) -> Vec<u8> {
        self.lines.into_iter().flat_map(|line| line.bytes).collect()
    }

    /// Puts values that a list does not have yet in front of those that it has.
    fn add(&mut self, values: &[&str]) {
        let has = |value: &str| self.written().any(|written| written == value);
        let mut new: Vec<&str> = Vec::new();
        for value in values {
            if !has(value) && !new.contains(value) {
                new.push(value);
            }
        }
        let place = self.place();
        self.insert(place, &new);
    }

    /// Gives the line that decides another value.
    fn replace(&mut self, value: &str) {
        let deciding = self.lines.iter().position(Line::says_something);
        let empty = self.lines.iter().position(|line| line.values.is_some());
        match deciding.or(empty).and_then(|place| self.lines.get_mut(place)) {
            Some(line) => line.rewrite(&[value.to_owned()]),
            None => {
                let place = self.place();
                self.insert(place, &[value]);
            }
        }
    }

    /// Takes away each of the values wherever it is written.
    fn remove_each(&mut self, unwanted: &[&str]) -> Outcome<()> {
        for value in unwanted {
            if !self.written().any(|written| written == *value) {
                return Err(self.has_no(value));
            }
        }
        let mut emptied = Vec::new();
        for (place, line) in self.lines.iter_mut().enumerate() {
            let Some(values) = &line.values else { continue };
            let mut kept = values.clone();
            kept.retain(|value| !unwanted.contains(&value.as_str()));
            if kept.is_empty() && !values.is_empty() {
                emptied.push(place);
            } else if kept.len() < values.len() {
                line.rewrite(&kept);
            }
        }
        self.delete(&emptied);
        Ok(())
    }

    /// Takes the directive's own value away, so that the default holds.
    fn remove(&mut self, value: &str) -> Outcome<()> {
        if self.written().next() != Some(value) {
            return Err(self.has_no(value));
        }
        self.delete(&self.own());
        Ok(())
    }

    fn reset(&mut self) {
        let name = self.directive.name;
        let defaults = Settings::as_installed().texts(name).unwrap_or_default();
        let own = self.own();
        let place = own.first().copied().unwrap_or_else(|| self.place());
        let defaults: Vec<&str> = defaults.iter().map(String::as_str).collect();
        if defaults.is_empty() {
            return self.delete(&own);
        }
        for place in own.iter().rev() {
            self.lines.remove(*place);
        }
        self.insert(place, &defaults);
    }

    fn has_no(&self, value: &str) -> Failure {
        let name = self.directive.name;
        let value = shown(value);
        Failure::new(format!("the file does not say \"{name} = {value}\""))
            .hint(format!("'config global --get \"{name}\"' shows its values"))
    }

    /// Every value of the directive, in order.
    fn written(&self) -> impl Iterator<Item = &str> {
        let values = self.lines.iter().filter_map(|line| line.values.as_ref());
        values.flatten().map(String::as_str)
    }

    /// The places of the directive's lines.
    fn own(&self) -> Vec<usize> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(_, line)| line.values.is_some()).map(|(place, _)| place).collect()
    }

    /// Where a new line of the directive goes: before its first one, else behind the comment `# name =` that holds
    /// its place, else at the end.
    fn place(&self) -> usize {
        let first = self.lines.iter().position(|line| line.values.is_some());
        let comment = || self.lines.iter().position(|line| line.holds_place_of(self.directive.name));
        first.or_else(|| comment().map(|place| place + 1)).unwrap_or(self.lines.len())
    }

    /// Puts a line for each value at a place.
    fn insert(&mut self, place: usize, values: &[&str]) {
        let line_end = self.line_end();
        if let Some(before) = place.checked_sub(1).and_then(|before| self.lines.get_mut(before))
            && !before.bytes.ends_with(b"\n")
        {
            before.bytes.extend(line_end);
        }
        let name = self.directive.name;
        let line = |value: &&str| Line {
            bytes: [format!("{name} = {value}").as_bytes(), line_end].concat(),
            values: Some(vec![(*value).to_owned()]),
        };
        let place = place.min(self.lines.len());
        self.lines.splice(place..place, values.iter().map(line));
    }

    /// Removes lines. Where none of the directive's is left, a comment keeps its place.
    fn delete(&mut self, places: &[usize]) {
        let Some(first) = places.first() else { return };
        let line_end = self.line_end();
        for place in places.iter().rev() {
            self.lines.remove(*place);
        }
        let name = self.directive.name;
        let none_left = self.lines.iter().all(|line| line.values.is_none());
        if none_left && !self.lines.iter().any(|line| line.holds_place_of(name)) {
            let comment = Line { bytes: [format!("# {name} =").as_bytes(), line_end].concat(), values: None };
            self.lines.insert(*first, comment);
        }
    }

    /// How lines end in this file.
    fn line_end(&self) -> &'static [u8] {
        match self.lines.first() {
            Some(first) if first.bytes.ends_with(b"\r\n") => b"\r\n",
            _ => b"\n",
        }
    }
}

impl Line {
    fn says_something(&self) -> bool {
        self.values.as_ref().is_some_and(|values| !values.is_empty())
    }

    /// Writes other values behind the name, which stays as it is, and so does the line end.
    fn rewrite(&mut self, values: &[String]) {
        let equals = self.bytes.iter().position(|byte| *byte == b'=');
        let name = equals.and_then(|equals| self.bytes.get(..=equals)).unwrap_or_default();
        let written = self.bytes.trim_ascii_end().len();
        let rest = self.bytes.get(written.max(name.len())..).unwrap_or_default();
        let line_end: &[u8] = match rest {
            [.., b'\r', b'\n'] => b"\r\n",
            [.., b'\n'] => b"\n",
            _ => b"",
        };
        self.bytes = [name, b" ", values.join(", ").as_bytes(), line_end].concat();
        self.values = Some(values.to_owned());
    }

    /// Whether this is `# name =`, with or without a value.
    fn holds_place_of(&self, name: &str) -> bool {
        let comment = self.bytes.trim_ascii_start().strip_prefix(b"#");
        comment
            .and_then(|comment| {
                comment.split(|byte| *byte == b'=').next().filter(|left| left.len() < comment.len())
            })
            .is_some_and(|left| left.trim_ascii() == name.as_bytes())
    }
}

/// The values of one line; none where it is empty.
fn entries(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|value| value.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(text: &str, name: &str, change: Change) -> Outcome<String> {
        changed(text.as_bytes(), known(name)?, change).map(|text| String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn becomes(text: &str, name: &str, change: Change, wanted: &str) {
        assert_eq!(after(text, name, change).unwrap(), wanted);
    }

    const SITE: &str =
        "# ours\n  mount home=yes\n\n# hosts\nbind path = /etc/hosts, /etc/x\nbind path = /opt\n# end";

    #[test]
    fn a_value_is_replaced_in_its_line() {
        becomes(SITE, "mount home", Change::Set("no"), &SITE.replace("home=yes", "home= no"));
        becomes("mount tmp =\r\n", "mount tmp", Change::Set("no"), "mount tmp = no\r\n");
        becomes(
            "\nmount tmp = no,yes \nmount tmp = no",
            "mount tmp",
            Change::Set("yes"),
            "\nmount tmp = yes\nmount tmp = no",
        );
    }

    #[test]
    fn a_directive_without_a_line_gets_one_where_a_comment_keeps_its_place_or_at_the_end() {
        becomes(
            "#a\n# mount tmp = no\n#b\n",
            "mount tmp",
            Change::Set("no"),
            "#a\n# mount tmp = no\nmount tmp = no\n#b\n",
        );
        becomes("# end", "mount tmp", Change::Set("no"), "# end\nmount tmp = no\n");
        becomes("", "mount tmp", Change::Set("no"), "mount tmp = no\n");
        becomes("# a\r\n", "bind path", Change::Set("/a,/b"), "# a\r\nbind path = /a\r\nbind path = /b\r\n");
    }

    #[test]
    fn values_are_added_in_front_of_a_list_once() {
        let wanted = SITE.replace("bind path = /etc/hosts", "bind path = /new\nbind path = /etc/hosts");
        becomes(SITE, "bind path", Change::Set("/new, /opt,/new"), &wanted);
        becomes(SITE, "bind path", Change::Set("/opt"), SITE);
    }

    #[test]
    fn values_are_taken_out_of_a_list_and_the_last_one_leaves_a_comment() {
        becomes(SITE, "bind path", Change::Unset("/etc/x"), &SITE.replace(", /etc/x", ""));
        becomes(SITE, "bind path", Change::Unset("/opt"), &SITE.replace("bind path = /opt\n", ""));
        let all = Change::Unset("/opt,/etc/x,/etc/hosts");
        becomes(SITE, "bind path", all, "# ours\n  mount home=yes\n\n# hosts\n# bind path =\n# end");
    }

    #[test]
    fn a_value_is_taken_away_only_if_it_is_there() {
        becomes("a\nmount tmp = no\n", "mount tmp", Change::Unset("no"), "a\n# mount tmp =\n");
        for (name, value) in [("mount home", "no"), ("bind path", "/none"), ("mount tmp", "yes")] {
            let refused = after(SITE, name, Change::Unset(value)).unwrap_err();
            assert!(refused.to_string().starts_with("the file does not say"), "{refused}");
        }
    }

    #[test]
    fn reset_writes_what_the_installed_file_says() {
        becomes(
            "mount hostfs = yes\n#\nmount hostfs = no\n",
            "mount hostfs",
            Change::Reset,
            "mount hostfs = no\n#\n",
        );
        becomes(
            "#\nbind path = /a\nbind path = /b\n",
            "bind path",
            Change::Reset,
            "#\nbind path = /etc/localtime\nbind path = /etc/hosts\n",
        );
        becomes(
            "limit container paths = /a\n",
            "limit container paths",
            Change::Reset,
            "# limit container paths =\n",
        );
        let installed = config::default_file();
        for directive in config::TABLE {
            becomes(&installed, directive.name, Change::Reset, &installed);
        }
    }

    #[test]
    fn what_would_not_be_accepted_is_refused() {
        for (name, value) in [
            ("mount home", "perhaps"),
            ("mount home", "yes,no"),
            ("mount home", ""),
            ("bind path", "etc"),
            ("bind path", "/a,,/b"),
            ("mksquashfs path", "/a\nallow setuid = yes"),
        ] {
            after(SITE, name, Change::Set(value)).unwrap_err();
        }
        let elsewhere = after("mount tmp = perhaps\n", "mount home", Change::Set("no")).unwrap_err();
        assert!(elsewhere.to_string().contains("line 1"), "{elsewhere}");
        becomes("mount tmp = perhaps\n", "mount tmp", Change::Set("no"), "mount tmp = no\n");
        assert!(known("mount hom").unwrap_err().to_string().contains("did you mean \"mount home\"?"));
    }

    proptest! {
        #[test]
        fn other_lines_stay_and_the_value_holds(text in "([ a-z#=,/\r]{0,12}\n|mount tmp ?= ?(yes|no)?\n|# mount tmp =\n){0,8}", on: bool) {
            let value = if on { "yes" } else { "no" };
            if let Ok(new) = after(&text, "mount tmp", Change::Set(value)) {
                prop_assert_eq!(Settings::parse(new.as_bytes()).unwrap().mount_tmp.value, on);
                let others = |text: &str| {
                    let ended = text.lines().filter(|line| !line.trim().starts_with("mount tmp"));
                    ended.map(str::to_owned).collect::<Vec<_>>()
                };
                prop_assert_eq!(others(&text), others(&new));
            }
        }
    }
}
