//! The header of a stage: what it begins with.

use super::Fault;
use super::lines::Line;
use crate::spelling;
use std::collections::BTreeMap;

/// Keywords of kinds of source that are there.
const KEYWORDS: [&str; 9] = [
    "bootstrap",
    "from",
    "registry",
    "namespace",
    "stage",
    "osversion",
    "mirrorurl",
    "include",
    "fingerprints",
];
/// Keywords of kinds that are not.
const OTHER_KEYWORDS: [&str; 19] = [
    "includecmd",
    "updateurl",
    "library",
    "product",
    "user",
    "regcode",
    "productpgp",
    "registerurl",
    "modules",
    "otherurl0",
    "otherurl1",
    "otherurl2",
    "otherurl3",
    "otherurl4",
    "otherurl5",
    "otherurl6",
    "confurl",
    "setopt",
    "gpg",
];
/// Kinds that the incumbents have and this program has not.
const ABSENT: [&str; 8] = ["yum", "dnf", "zypper", "arch", "busybox", "pacstrap", "dockerfile", "slackware"];

/// The header: values by keyword, in small letters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    values: BTreeMap<&'static str, (usize, String)>,
}

/// What the first files of a stage come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bootstrap {
    /// An image or directory of this machine.
    Local(String),
    /// An image that has to be fetched, by this reference.
    Reference(String),
    /// Nothing.
    Scratch,
    /// `debootstrap`
    Debootstrap {
        /// The release: `bookworm`, `noble`.
        release: String,
        /// Where its packages are; nothing where debootstrap knows.
        mirror: Option<String>,
        /// Packages beside the smallest system.
        include: Vec<String>,
    },
}

impl Header {
    pub(super) fn parse(lines: &[Line]) -> Result<Self, Fault> {
        let mut header = Self::default();
        for (number, text) in joined(lines) {
            let text = without_remark(&text);
            if text.is_empty() {
                continue;
            }
            let (key, value) = text
                .split_once(':')
                .ok_or_else(|| Fault::new(number, format!("header key {text} had no val")))?;
            let key = known(key.trim()).map_err(|what| Fault::new(number, what))?;
            if header.values.insert(key, (number, value.trim().to_owned())).is_some() {
                return Err(Fault::new(number, format!("there are two lines '{key}'")));
            }
        }
        Ok(header)
    }

    /// What a keyword says, if it says something.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Keywords and what they say.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, (_, value))| (*key, value.as_str()))
    }

    fn line(&self, keyword: &str) -> usize {
        self.values.get(keyword).map_or(1, |(line, _)| *line)
    }

    /// What the stage begins with. `line` is where it begins.
    pub(super) fn bootstrap(&self, line: usize) -> Result<Bootstrap, Fault> {
        let kind = self.get("bootstrap").ok_or_else(|| {
            Fault::new(
                line,
                "a stage begins with a line 'Bootstrap: KIND', such as docker, localimage or scratch",
            )
        })?;
        let at = self.line("bootstrap");
        if let Some((line, _)) = self.values.get("fingerprints").filter(|(_, value)| !value.is_empty()) {
            let what = "'Fingerprints' is not supported; check the image before with 'verify'";
            return Err(Fault::new(*line, what));
        }
        let from = || {
            self.get("from")
                .ok_or_else(|| Fault::new(at, format!("'Bootstrap: {kind}' needs a line 'From: …'")))
        };
        let kind = kind.to_ascii_lowercase();
        match kind.as_str() {
            "localimage" => Ok(Bootstrap::Local(from()?.to_owned())),
            "docker" | "oras" | "library" | "shub" | "docker-daemon" | "http" | "https" => {
                let places = [self.get("registry"), self.get("namespace")].into_iter().flatten();
                let places = places.map(|place| place.trim_matches('/')).chain([from()?]);
                Ok(Bootstrap::Reference(format!("{kind}://{}", places.collect::<Vec<_>>().join("/"))))
            }
            "oci" | "oci-archive" | "docker-archive" => {
                Ok(Bootstrap::Reference(format!("{kind}:{}", from()?)))
            }
            "scratch" => Ok(Bootstrap::Scratch),
            "debootstrap" => self.debootstrap(at),
            _ => Err(Fault::new(at, unknown_kind(&kind))),
        }
    }

    fn debootstrap(&self, at: usize) -> Result<Bootstrap, Fault> {
        let release = self.get("osversion").ok_or_else(|| {
            Fault::new(at, "'Bootstrap: debootstrap' needs a line 'OSVersion: …', such as bookworm")
        })?;
        // They become words of a command line: none may look like an option.
        for keyword in ["osversion", "mirrorurl", "include"] {
            if self.get(keyword).is_some_and(|value| value.starts_with('-')) {
                return Err(Fault::new(self.line(keyword), format!("'{keyword}' begins with '-'")));
            }
        }
        let packages = self.get("include").unwrap_or_default().split([' ', '\t', ',']);
        Ok(Bootstrap::Debootstrap {
            release: release.to_owned(),
            mirror: self.get("mirrorurl").map(str::to_owned),
            include: packages.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })
    }
}

fn unknown_kind(kind: &str) -> String {
    if ABSENT.contains(&kind) {
        return format!(
            "'Bootstrap: {kind}' is not supported; begin with docker and an image of that distribution"
        );
    }
    let known =
        ["localimage", "docker", "oras", "oci", "oci-archive", "docker-archive", "scratch", "debootstrap"];
    let meant =
        spelling::nearest(kind, known).map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    format!("unknown kind of source '{kind}'{meant}")
}

fn known(typed: &str) -> Result<&'static str, String> {
    let all = || KEYWORDS.into_iter().chain(OTHER_KEYWORDS);
    all().find(|known| typed.eq_ignore_ascii_case(known)).ok_or_else(|| {
        let meant = spelling::nearest(typed, KEYWORDS)
            .map_or_else(String::new, |meant| format!("; did you mean '{meant}'?"));
        format!("invalid header keyword found: {typed}{meant}")
    })
}

/// Lines, each with those that a backslash at its end joins to it.
fn joined(lines: &[Line]) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let text = line.text.trim_end();
        let (text, next) = text.strip_suffix('\\').map_or((text, false), |text| (text, true));
        match joined.last_mut().filter(|_| goes_on) {
            Some((_, before)) => *before += &format!(" {}", text.trim()),
            None => joined.push((line.number, text.to_owned())),
        }
        goes_on = next;
    }
    joined
}

/// A line without what follows a `#` at its beginning or behind a blank.
pub(super) fn without_remark(line: &str) -> &str {
    let remark = line.char_indices().find(|(index, letter)| {
        *letter == '#'
            && line
                .get(..*index)
                .is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
    });
    remark.and_then(|(index, _)| line.get(..index)).unwrap_or(line).trim()
}
