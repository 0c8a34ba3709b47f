//! What an image was made from.

/// The first two lines of a definition file: the kind of source, and which one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The kind: `localimage`, or the scheme of a reference.
    pub bootstrap: String,
    /// The source, as it was typed and may be shown.
    pub from: String,
}

impl Origin {
    /// A source of some kind.
    #[must_use]
    pub fn new(bootstrap: &str, from: &str) -> Self {
        Self { bootstrap: bootstrap.into(), from: from.into() }
    }
}
