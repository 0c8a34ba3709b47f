//! What somebody meant who mistyped a name.

/// A name that is further away than this many changed letters is not what was meant.
const TYPOS_MAX: usize = 3;
/// Most letters of what was typed that are compared: names have a few dozen, a line of thousands is none.
const LETTERS_MAX: usize = 100;

/// The one of some names that looks most like what was typed; none if nothing is close.
#[must_use]
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = plain(typed).take(LETTERS_MAX).collect();
    names
        .into_iter()
        .map(|name| (distance(&wanted, &plain(name).collect::<Vec<_>>()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= TYPOS_MAX.min(wanted.len() / 2))
        .map(|(_, name)| name)
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
    fn the_distance_is_the_number_of_changed_letters() {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        for (one, other, changes) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(&letters(one), &letters(other)), changes, "{one} {other}");
        }
    }
}
