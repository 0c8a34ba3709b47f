//! `/etc/subuid` and `/etc/subgid`: which ids beside his own a user may use, for `--fakeroot`.
//!
//! A line is `owner:first:count`, the owner a name or a number; a `!` before it disables the line.

use crate::error::{Failure, Outcome};
use crate::message::shown;

/// The file of user ids.
pub const USERS: &str = "/etc/subuid";
/// The file of group ids.
pub const GROUPS: &str = "/etc/subgid";
/// Most bytes of such a file.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Ids of one range: what a container needs.
const COUNT: u32 = 65536;
/// Where the highest range starts; they are given out downward, away from those of `useradd`.
const FIRST_MAX: u32 = u32::MAX - 2 * COUNT + 1;
/// Where the lowest range starts.
const FIRST_MIN: u32 = COUNT;

/// What is to become of a user's range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Give him one, unless he has one.
    Add,
    /// Take it away.
    Remove,
    /// Let it be used again.
    Enable,
    /// Keep it and do not let it be used.
    Disable,
}

/// Ids that a user may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// The first one.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What the text of a file lets a user's containers have; nothing where his line is disabled.
#[must_use]
pub fn of(text: &str, name: &str, uid: u32) -> Option<Ids> {
    let own = own_range(&ranges(text), name, uid).filter(|range| !range.disabled)?;
    Some(Ids { first: own.first, count: own.count.min(COUNT) })
}

/// A line that names a range.
#[derive(Clone, Copy)]
struct Range<'a> {
    line: usize,
    owner: &'a str,
    disabled: bool,
    first: u32,
    count: u32,
}

impl<'a> Range<'a> {
    fn parse(line: usize, text: &'a str) -> Option<Self> {
        let mut fields = text.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let enabled = owner.strip_prefix('!');
        let range = Self { line, owner: enabled.unwrap_or(owner), disabled: enabled.is_some(), first, count };
        (count > 0 && !range.owner.is_empty()).then_some(range)
    }

    fn overlaps(&self, first: u32, count: u32) -> bool {
        let end = |first: u32, count: u32| u64::from(first) + u64::from(count);
        u64::from(self.first) < end(first, count) && u64::from(first) < end(self.first, self.count)
    }
}

/// The text that a file becomes, or `None` when it says already what is wanted. All other lines stay as they are.
///
/// # Errors
/// The user has no range that is large enough, or none is free.
pub fn changed(text: &str, name: &str, uid: u32, change: Change) -> Outcome<Option<String>> {
    let ranges = ranges(text);
    let own = own_range(&ranges, name, uid);
    if change == Change::Add {
        return match own {
            Some(_) => Ok(None),
            None => added(text, &ranges, uid).map(Some),
        };
    }
    let Some(own) = own else {
        return Err(Failure::new(format!("no mapping entry of {COUNT} ids found for {}", shown(name)))
            .hint("'config fakeroot --add' gives the user one"));
    };
    let lines = text.lines().enumerate();
    Ok(match (change, own.disabled) {
        (Change::Enable, false) | (Change::Disable, true) => None,
        (Change::Remove, _) => {
            Some(joined(lines.filter(|(line, _)| *line != own.line).map(|(_, text)| text.into())))
        }
        (_, disabled) => Some(joined(lines.map(|(line, text)| match (line == own.line, disabled) {
            (false, _) => text.to_owned(),
            (true, false) => format!("!{}", text.trim_start()),
            (true, true) => text.trim_start().trim_start_matches('!').to_owned(),
        }))),
    })
}

fn ranges(text: &str) -> Vec<Range<'_>> {
    text.lines().enumerate().filter_map(|(line, text)| Range::parse(line, text)).collect()
}

/// The range that a user's containers get: one of just the right size, else the largest that is larger.
fn own_range<'a>(ranges: &[Range<'a>], name: &str, uid: u32) -> Option<Range<'a>> {
    let own = || ranges.iter().copied().filter(|range| range.owner == name || range.owner == uid.to_string());
    let larger = || own().filter(|range| range.count > COUNT).max_by_key(|range| range.count);
    own().find(|range| range.count == COUNT).or_else(larger)
}

fn added(text: &str, ranges: &[Range<'_>], uid: u32) -> Outcome<String> {
    let mut places = (FIRST_MIN..=FIRST_MAX).rev().step_by(COUNT as usize);
    let free = places.find(|first| !ranges.iter().any(|range| range.overlaps(*first, COUNT)));
    let first = free.ok_or_else(|| Failure::new(format!("no range of {COUNT} ids is free")))?;
    Ok(joined(text.lines().map(str::to_owned).chain([format!("{uid}:{first}:{COUNT}")])))
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str, change: Change) -> Option<String> {
        changed(text, "ben", 1001, change).unwrap()
    }

    #[test]
    fn ranges_are_given_out_downward_where_nobody_has_one() {
        assert_eq!(change("", Change::Add).unwrap(), "1001:4294836224:65536\n");
        let taken = "# mine\nanna:4294836224:65536\n!carl:4294770700:1\nodd line\n";
        assert_eq!(change(taken, Change::Add).unwrap(), format!("{taken}1001:4294705152:65536\n"));
        let full = "anna:65536:4294901760\n";
        let refused = changed(full, "ben", 1001, Change::Add).unwrap_err();
        assert_eq!(refused.to_string(), "no range of 65536 ids is free");
    }

    #[test]
    fn a_user_keeps_the_range_he_has_whatever_he_is_called_there() {
        for text in
            ["ben:100000:65536\n", "1001:100000:65536\n", "ben:100000:200000\n", "!ben:100000:65536\n"]
        {
            assert_eq!(change(text, Change::Add), None, "{text}");
        }
        let small = "ben:100000:1000\n";
        assert_eq!(change(small, Change::Add).unwrap(), format!("{small}1001:4294836224:65536\n"));
    }

    #[test]
    fn a_container_gets_what_the_users_line_says_unless_it_is_disabled() {
        let ids = |text: &str| of(text, "ben", 1001).map(|ids| (ids.first, ids.count));
        assert_eq!(ids("anna:1:65536\nben:100000:65536\n"), Some((100000, 65536)));
        assert_eq!(ids("1001:100000:200000\n"), Some((100000, 65536)));
        for text in ["", "anna:1:65536\n", "!ben:100000:65536\n", "ben:100000:1000\n"] {
            assert_eq!(ids(text), None, "{text}");
        }
    }

    #[test]
    fn disabling_enabling_and_removing_touch_one_line() {
        let text = "anna:1:65536\nben:100000:65536\nben:300000:10\n";
        let disabled = "anna:1:65536\n!ben:100000:65536\nben:300000:10\n";
        assert_eq!(change(text, Change::Disable).as_deref(), Some(disabled));
        assert_eq!(change(disabled, Change::Disable), None);
        assert_eq!(change(disabled, Change::Enable).as_deref(), Some(text));
        assert_eq!(change(text, Change::Enable), None);
        assert_eq!(change(text, Change::Remove).as_deref(), Some("anna:1:65536\nben:300000:10\n"));
        for change in [Change::Remove, Change::Enable, Change::Disable] {
            let refused = changed("ben:300000:10\n", "ben", 1001, change).unwrap_err();
            assert_eq!(refused.to_string(), "no mapping entry of 65536 ids found for ben");
        }
    }
}
