//! `%files`: what is copied into an image.

use super::Fault;
use super::header::without_remark;
use super::lines::Section;

/// The files of one section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSet {
    /// The stage they come from; nothing for this machine.
    pub stage: Option<String>,
    /// Where the section begins.
    pub line: usize,
    /// What is copied, in order.
    pub transfers: Vec<Transfer>,
}

/// One line of such a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// What is copied: a path, which may be a pattern.
    pub source: String,
    /// Where to: a path in the image, or nothing for the same as the source.
    pub destination: Option<String>,
}

impl FileSet {
    /// `words` are what follows the section's name, and its app's.
    pub(super) fn parse(section: &Section<'_>, words: &str) -> Result<Self, Fault> {
        let stage = match words.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => None,
            [from, name] if from.eq_ignore_ascii_case("from") => Some((*name).to_owned()),
            _ => return Err(Fault::new(section.line, format!("'{words}' is not of the form 'from STAGE'"))),
        };
        let mut transfers = Vec::new();
        for line in section.body {
            let fault = |what: &str| Fault::new(line.number, what);
            let mut found = words_of(without_remark(&line.text)).map_err(fault)?.into_iter();
            let Some(source) = found.next() else { continue };
            let destination = found.next();
            if found.next().is_some() {
                return Err(fault(
                    "more than a source and a destination; quotes hold a name with blanks together",
                ));
            }
            if [Some(&source), destination.as_ref()].into_iter().flatten().any(|path| path.contains('\0')) {
                return Err(fault("a path with a NUL"));
            }
            transfers.push(Transfer { source, destination });
        }
        Ok(Self { stage, line: section.line, transfers })
    }
}

/// Words separated by blanks; quotes and backslashes hold them together.
fn words_of(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            _ if quote == Some(letter) => quote = None,
            '\\' if quote != Some('\'') => {
                word.get_or_insert_default().push(letters.next().ok_or("a backslash at the end")?);
            }
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            _ if quote.is_none() && letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote without its end");
    }
    words.extend(word);
    Ok(words)
}
