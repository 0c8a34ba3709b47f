//! The command lines: words in, one call out.

pub(crate) mod key;
pub(crate) mod sign;
pub(crate) mod verify;

use crate::certificate;
use frontend::cli::given::Given;
use frontend::error::{Failure, Outcome};
use frontend::message::shown;
use pgp::composed::SignedPublicKey;
use pgp::types::KeyDetails;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::str::FromStr;
use time::OffsetDateTime;
use time::macros::format_description;

/// The path that a command was given.
fn path(words: &[OsString]) -> &Path {
    Path::new(words.first().map_or(OsStr::new(""), OsString::as_os_str))
}

/// The number that a flag was given.
fn number<T: FromStr>(given: &Given, flag: &str) -> Outcome<Option<T>> {
    let Some(typed) = given.last(flag) else {
        return Ok(None);
    };
    let number = typed.to_str().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Failure::new(format!("--{flag} {} is not a number in its range", shown(typed))))
}

/// One key of a listing, as the incumbents print it.
fn listed(index: usize, key: &SignedPublicKey) -> String {
    let mut text = String::new();
    for user in &key.details.users {
        let (name, comment, mail) = parts(user.id.as_str().unwrap_or_default());
        text += &format!("{index}) U: {} ({}) <{}>\n", shown(name), shown(comment), shown(mail));
    }
    let created = i64::from(key.created_at().as_secs());
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
    let created =
        OffsetDateTime::from_unix_timestamp(created).ok().and_then(|time| time.format(&format).ok());
    text += &format!("   C: {}\n", created.unwrap_or_default());
    text += &format!("   F: {}\n", certificate::fingerprint(key));
    if let Some(bits) = certificate::bits(key) {
        text += &format!("   L: {bits}\n");
    }
    text + "   --------\n"
}

/// The parts of a user id: `Name (comment) <mail>`, of which any may be missing.
fn parts(id: &str) -> (&str, &str, &str) {
    let between = |open: char, close: char| {
        let inside = id.split_once(open)?.1;
        inside.split_once(close).map(|(part, _)| part)
    };
    let name = id.split(['(', '<']).next().unwrap_or_default();
    (name.trim(), between('(', ')').unwrap_or_default(), between('<', '>').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_come_apart_whatever_is_missing() {
        assert_eq!(parts("A B (for tests) <a@b.c>"), ("A B", "for tests", "a@b.c"));
        assert_eq!(parts("A B <a@b.c>"), ("A B", "", "a@b.c"));
        assert_eq!(parts("A"), ("A", "", ""));
        assert_eq!(parts("<a@b.c>"), ("", "", "a@b.c"));
        assert_eq!(parts("A (half"), ("A", "", ""));
    }
}
