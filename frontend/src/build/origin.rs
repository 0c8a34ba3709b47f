//! What an image was made from.

/// What a definition file says of it, or would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The kind of source: `localimage`, or the scheme of a reference.
    pub bootstrap: String,
    /// The header's keywords, in small letters, and what they say.
    pub(super) header: Vec<(String, String)>,
    /// The definition file, where there was one.
    pub(super) definition: Option<String>,
}

impl Origin {
    /// A source of some kind, as it was typed and may be shown.
    #[must_use]
    pub fn new(bootstrap: &str, from: &str) -> Self {
        let header = [("bootstrap", bootstrap), ("from", from)];
        let header = header.map(|(keyword, value)| (keyword.to_owned(), value.to_owned()));
        Self { bootstrap: bootstrap.into(), header: header.into(), definition: None }
    }

    /// A stage of a definition file.
    pub(super) fn of_definition(bootstrap: &str, header: Vec<(String, String)>, text: String) -> Self {
        Self { bootstrap: bootstrap.into(), header, definition: Some(text) }
    }

    /// The definition file, or one that would do the same.
    pub(super) fn text(&self) -> String {
        let lines = || self.header.iter().map(|(keyword, value)| format!("{keyword}: {value}"));
        self.definition.clone().unwrap_or_else(|| lines().collect::<Vec<_>>().join("\n"))
    }
}
