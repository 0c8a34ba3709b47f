//! The directives by the names that people type.

use config::{Directive, TABLE};

/// A name that is further away than this many changed letters is not what was meant.
const TYPOS_MAX: usize = 3;

/// The directive of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

/// The directive whose name looks most like `name`; none if nothing is close.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static Directive> {
    // Names of the table have a few dozen letters: a line of thousands is not worth comparing.
    let wanted: Vec<char> = plain(name).take(100).collect();
    TABLE
        .iter()
        .map(|directive| {
            let known: Vec<char> = plain(directive.name).collect();
            (distance(&wanted, &known), directive)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= TYPOS_MAX.min(wanted.len() / 2))
        .map(|(_, directive)| directive)
}

/// `; did you mean "…"?`, or nothing.
#[must_use]
pub fn suggestion(name: &str) -> String {
    nearest(name).map_or_else(String::new, |directive| format!("; did you mean \"{}\"?", directive.name))
}

/// Letters without what is mistyped most: case, and which of blank, `_` and `-` is between words.
fn plain(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|letter| match letter {
        '_' | '-' => ' ',
        other => other.to_ascii_lowercase(),
    })
}

/// The fewest letters to insert, delete or replace to make one text of the other (Levenshtein).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, letter) in one.iter().enumerate() {
        let mut diagonal = n;
        let mut left = n + 1;
        for (place, second) in row.iter_mut().zip(std::iter::once(None).chain(other.iter().map(Some))) {
            let above = *place;
            *place = match second {
                None => n + 1,
                Some(second) => {
                    let replaced = diagonal + usize::from(letter != second);
                    replaced.min(above + 1).min(left + 1)
                }
            };
            (diagonal, left) = (above, *place);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_the_directive_that_was_meant() {
        for (typed, meant) in [
            ("alow setuid", "allow setuid"),
            ("Mount Home", "mount home"),
            ("mount-home", "mount home"),
            ("bind paht", "bind path"),
            ("limit container owner", "limit container owners"),
        ] {
            assert_eq!(nearest(typed).map(|found| found.name), Some(meant), "{typed}");
        }
        assert_eq!(suggestion("mount hom"), "; did you mean \"mount home\"?");
    }

    #[test]
    fn a_name_of_something_else_finds_nothing() {
        for typed in ["", "x", "no such thing", &"mount home".repeat(1000)] {
            assert_eq!(nearest(typed), None, "{typed}");
        }
    }

    #[test]
    fn the_distance_is_the_number_of_changed_letters() {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        for (one, other, changes) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(&letters(one), &letters(other)), changes, "{one} {other}");
        }
    }
}
