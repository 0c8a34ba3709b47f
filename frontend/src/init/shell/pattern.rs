//! Patterns: `*`, `?`, `[…]`, and the files they find.

use super::expand::Glyph;
use crate::payload::Text;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether a whole text matches a pattern in which nothing is quoted.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let glyphs: Vec<Glyph> = pattern.bytes().map(|byte| Glyph { byte, literal: false }).collect();
    matches(&glyphs, text.as_bytes())
}

/// Whether a whole text matches a pattern.
pub(super) fn matches(pattern: &[Glyph], text: &[u8]) -> bool {
    // The last star, and how much of the text it covers so far: only ever the last one must give way.
    let (mut star, mut covered) = (None, 0);
    let (mut at, mut position) = (0, 0);
    while position < text.len() {
        match pattern.get(at) {
            Some(Glyph { byte: b'*', literal: false }) => {
                (star, covered) = (Some(at), position);
                at += 1;
                continue;
            }
            Some(_) => {
                if let Some(length) = match_one(pattern.get(at..).unwrap_or_default(), text[position]) {
                    at += length;
                    position += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some(star) = star else { return false };
        covered += 1;
        (at, position) = (star + 1, covered);
    }
    pattern.get(at..).unwrap_or_default().iter().all(|glyph| !glyph.literal && glyph.byte == b'*')
}

/// How many glyphs of the pattern match this byte; nothing when they do not.
fn match_one(pattern: &[Glyph], byte: u8) -> Option<usize> {
    let first = pattern.first()?;
    match (first.byte, first.literal) {
        (b'?', false) => Some(1),
        (b'[', false) => match set(pattern, byte) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        (other, _) => (other == byte).then_some(1),
    }
}

/// Whether `[…]` holds a byte, and how long it is; nothing when it has no end.
fn set(pattern: &[Glyph], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = pattern.get(at).is_some_and(|glyph| !glyph.literal && matches!(glyph.byte, b'!' | b'^'));
    at += usize::from(negated);
    let (first, mut found) = (at, false);
    loop {
        let glyph = pattern.get(at)?;
        if glyph.byte == b']' && !glyph.literal && at > first {
            return Some((found != negated, at + 1));
        }
        if let Some((holds, length)) = class(pattern.get(at..).unwrap_or_default(), byte) {
            found |= holds;
            at += length;
            continue;
        }
        let range = pattern.get(at + 1).is_some_and(|glyph| glyph.byte == b'-' && !glyph.literal);
        let last = pattern.get(at + 2).filter(|last| range && (last.literal || last.byte != b']'));
        found |= (glyph.byte..=last.unwrap_or(glyph).byte).contains(&byte);
        at += if last.is_some() { 3 } else { 1 };
    }
}

/// Whether `[:class:]` holds a byte, and how long it is; nothing when it is no class.
fn class(pattern: &[Glyph], byte: u8) -> Option<(bool, usize)> {
    let text: Text = pattern.iter().take(16).map(|glyph| glyph.byte).collect();
    let name = text.strip_prefix(b"[:")?;
    let end = name.windows(2).position(|end| end == b":]")?;
    let holds = match name.get(..end)? {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    };
    Some((holds, end + 4))
}

/// Whether a word asks for files at all. The name of the builtin `[` does not.
pub(super) fn is_pattern(word: &[Glyph]) -> bool {
    let mut open = false;
    word.iter().filter(|glyph| !glyph.literal).any(|glyph| {
        open |= glyph.byte == b'[';
        matches!(glyph.byte, b'*' | b'?') || (open && glyph.byte == b']')
    })
}

/// The files a pattern finds, sorted, and how many directory entries were looked at.
pub(super) fn files(pattern: &[Glyph]) -> (Vec<Text>, usize) {
    let mut found = vec![Text::new()];
    let mut looked_at = 0;
    for (number, component) in pattern.split(|glyph| glyph.byte == b'/').enumerate() {
        let mut longer = Vec::new();
        for path in found {
            let prefix = if number == 0 { path } else { [path.as_slice(), b"/"].concat() };
            if is_pattern(component) {
                let names = names(&prefix, component);
                looked_at += names.len() + 1;
                longer.extend(names.into_iter().map(|name| [prefix.as_slice(), &name].concat()));
            } else {
                looked_at += 1;
                let name: Text = component.iter().map(|glyph| glyph.byte).collect();
                longer.push([prefix, name].concat());
            }
        }
        found = longer;
    }
    found.retain(|path| Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok());
    found.sort();
    (found, looked_at)
}

/// The names in a directory that match.
fn names(directory: &[u8], pattern: &[Glyph]) -> Vec<Text> {
    let directory = if directory.is_empty() { b".".as_slice() } else { directory };
    let Ok(entries) = std::fs::read_dir(OsStr::from_bytes(directory)) else {
        return Vec::new();
    };
    let wants_hidden = pattern.first().is_some_and(|first| first.byte == b'.');
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name().as_bytes().to_vec()))
        .filter(|name| (wants_hidden || !name.starts_with(b".")) && matches(pattern, name))
        .collect()
}
