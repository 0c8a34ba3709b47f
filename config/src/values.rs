//! The types a directive can have, and how each is read from its text.

use crate::parse::LIST_ENTRIES_MAX;
use std::fmt;

/// What a directive says, and the line that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// What holds.
    pub value: T,
    /// Where it was written, counted from 1; `None` for a default.
    pub line: Option<u32>,
}

/// The entries of a directive that may have many, in the order of the file. Without a line there are none.
pub type List<T> = Vec<Setting<T>>;

/// What can be written as the value of a directive, or as one entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number of 32 bits: decimal, octal after `0`, hexadecimal after `0x`.
    Number,
    /// Any text.
    Text,
    /// A path from the root.
    AbsolutePath,
    /// `source` or `source:destination`, both paths from the root.
    BindPath,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Words(words) => write!(out, "[{}]", words.join(" ")),
            Self::Number => write!(out, "[number from 0 to {}]", u32::MAX),
            Self::Text => write!(out, "[text]"),
            Self::AbsolutePath => write!(out, "[absolute path]"),
            Self::BindPath => write!(out, "[source or source:destination, absolute paths]"),
        }
    }
}

/// A value, or an entry of a list.
pub(crate) trait Value: Sized {
    const KIND: Kind;
    fn read(text: &str) -> Option<Self>;
    fn text(&self) -> String;
}

/// Why a field cannot take a text.
pub(crate) enum Problem {
    NotAccepted,
    ListTooLong,
}

/// A field of the settings: one value, or a list of them.
pub(crate) trait Field {
    const KIND: Kind;
    const LIST: bool;
    /// How the table states the default.
    type Default;
    /// What holds where nothing is written.
    fn unwritten(default: Self::Default) -> Self;
    /// What the installed file says.
    fn installed(default: Self::Default) -> Self;
    fn write(&mut self, text: &str, line: u32) -> Result<(), Problem>;
    /// What would have to be written, one text a line.
    fn texts(&self) -> Vec<String>;
}

impl<T: Value> Field for Setting<T> {
    const KIND: Kind = T::KIND;
    const LIST: bool = false;
    type Default = T;

    fn unwritten(value: T) -> Self {
        Self { value, line: None }
    }

    fn installed(value: T) -> Self {
        Self::unwritten(value)
    }

    /// The first value written stays; others, on the same line or below, were never read by the incumbents either.
    fn write(&mut self, text: &str, line: u32) -> Result<(), Problem> {
        if self.line.is_none() {
            let first = text.split(',').next().unwrap_or(text).trim();
            let value = if first.is_empty() { None } else { T::read(first) };
            *self = Self { value: value.ok_or(Problem::NotAccepted)?, line: Some(line) };
        }
        Ok(())
    }

    fn texts(&self) -> Vec<String> {
        Some(self.value.text()).into_iter().filter(|text| !text.is_empty()).collect()
    }
}

impl<T: Value> Field for List<T> {
    const KIND: Kind = T::KIND;
    const LIST: bool = true;
    type Default = &'static [&'static str];

    fn unwritten(_: Self::Default) -> Self {
        Self::new()
    }

    fn installed(entries: Self::Default) -> Self {
        entries.iter().filter_map(|entry| T::read(entry)).map(|value| Setting { value, line: None }).collect()
    }

    /// An empty entry is refused: dropping it could leave a list of limits empty, which would limit nothing.
    fn write(&mut self, text: &str, line: u32) -> Result<(), Problem> {
        for entry in text.split(',').map(str::trim) {
            if self.len() >= LIST_ENTRIES_MAX {
                return Err(Problem::ListTooLong);
            }
            let value = if entry.is_empty() { None } else { T::read(entry) };
            self.push(Setting { value: value.ok_or(Problem::NotAccepted)?, line: Some(line) });
        }
        Ok(())
    }

    fn texts(&self) -> Vec<String> {
        self.iter().map(|entry| entry.value.text()).collect()
    }
}

impl Value for u32 {
    const KIND: Kind = Kind::Number;

    fn read(text: &str) -> Option<Self> {
        let (digits, radix) =
            match (text.strip_prefix("0x").or(text.strip_prefix("0X")), text.strip_prefix('0')) {
                (Some(digits), _) => (digits, 16),
                (None, Some(digits)) if !digits.is_empty() => (digits, 8),
                _ => (text, 10),
            };
        if digits.starts_with('+') { None } else { Self::from_str_radix(digits, radix).ok() }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

/// A path from the root. Nothing is known about what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// A path of the table's own.
    pub(crate) fn from_static(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for AbsolutePath {
    const KIND: Kind = Kind::AbsolutePath;

    fn read(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// What a site binds into every container, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindPath(String);

/// The source and the destination of a `bind path` entry.
#[must_use]
pub fn bind_path_parts(bind: &BindPath) -> (&str, &str) {
    bind.0.split_once(':').unwrap_or((&bind.0, &bind.0))
}

impl Value for BindPath {
    const KIND: Kind = Kind::BindPath;

    /// A third part (`:ro`) has no meaning to the incumbents, so whoever writes one does not get what was meant.
    fn read(text: &str) -> Option<Self> {
        let bind = Self(text.to_owned());
        let (source, destination) = bind_path_parts(&bind);
        (source.starts_with('/') && destination.starts_with('/') && !destination.contains(':'))
            .then_some(bind)
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Words(&["yes", "no"]);

    fn read(text: &str) -> Option<Self> {
        match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    fn text(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }
}

/// Types with a few words, each the name of one variant.
macro_rules! words {
    ($( $(#[$doc:meta])* $type:ident { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $( $(#[$word_doc])* $variant, )* }

        impl Value for $type {
            const KIND: Kind = Kind::Words(&[$($word),*]);

            fn read(text: &str) -> Option<Self> {
                match text {
                    $( $word => Some(Self::$variant), )*
                    _ => None,
                }
            }

            fn text(&self) -> String {
                match self { $( Self::$variant => $word, )* }.to_owned()
            }
        }
    )* }
}

words! {
    /// `mount dev`.
    MountDev {
        /// All of the host's `/dev`.
        Yes = "yes",
        /// Nothing.
        No = "no",
        /// A new `/dev` with the few devices every program expects.
        Minimal = "minimal",
    }

    /// `enable overlay`.
    EnableOverlay {
        /// Through the kernel.
        Yes = "yes",
        /// Not at all.
        No = "no",
        /// Through the kernel, if it can.
        Try = "try",
        /// Through FUSE only.
        Driver = "driver",
    }

    /// `enable underlay`.
    EnableUnderlay {
        /// Where overlay is not to be had.
        Yes = "yes",
        /// Not at all.
        No = "no",
        /// Before overlay.
        Preferred = "preferred",
    }

    /// `memory fs type`.
    MemoryFsType {
        /// Bounded in size, may be swapped out.
        Tmpfs = "tmpfs",
        /// Not bounded, stays in memory.
        Ramfs = "ramfs",
    }

    /// `allow setuid-mount squashfs`.
    SetuidMountSquashfs {
        /// Any image.
        Yes = "yes",
        /// No image.
        No = "no",
        /// Any image, at a site that limits which images run.
        IfLimited = "iflimited",
    }

    /// `root default capabilities`.
    RootCapabilities {
        /// All of them.
        Full = "full",
        /// Those of a file kept by the administrator.
        File = "file",
        /// None.
        No = "no",
    }
}
