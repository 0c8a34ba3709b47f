//! A place inside the container, as bytes with one canonical spelling.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest container path in bytes: the kernel's `PATH_MAX` less the terminating NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest single component in bytes: the kernel's `NAME_MAX`.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Most components a container path may have; bounds every walk the starter makes.
pub const COMPONENTS_MAX: usize = 64;

/// An absolute path inside the container: starts with `/`, is not `/` itself, and has no empty, `.` or `..`
/// component, no trailing slash and no NUL. Any other byte is allowed; it is never joined into option text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct ContainerPath(Vec<u8>);

/// Why bytes are not a [`ContainerPath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// Does not start with `/`, or is `/` alone.
    NotBelowRoot,
    /// Longer than [`PATH_BYTES_MAX`], a component longer than [`COMPONENT_BYTES_MAX`], or too many components.
    TooLong,
    /// Holds an empty, `.` or `..` component, or a NUL byte.
    NotCanonical,
}

impl ContainerPath {
    /// Checks `bytes` and takes them as they are; nothing is normalised here.
    ///
    /// # Errors
    /// Says which rule of the type is broken.
    pub fn new(bytes: Vec<u8>) -> Result<Self, PathError> {
        let Some(below) = bytes.strip_prefix(b"/").filter(|below| !below.is_empty()) else {
            return Err(PathError::NotBelowRoot);
        };
        if bytes.len() > PATH_BYTES_MAX || below.split(|b| *b == b'/').count() > COMPONENTS_MAX {
            return Err(PathError::TooLong);
        }
        for component in below.split(|b| *b == b'/') {
            match component {
                b"" | b"." | b".." => return Err(PathError::NotCanonical),
                name if name.contains(&0) => return Err(PathError::NotCanonical),
                name if name.len() > COMPONENT_BYTES_MAX => return Err(PathError::TooLong),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// The whole path, with its leading slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components from the root down; never empty.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').skip(1)
    }
}

impl TryFrom<Vec<u8>> for ContainerPath {
    type Error = PathError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, PathError> {
        Self::new(bytes)
    }
}

impl From<ContainerPath> for Vec<u8> {
    fn from(path: ContainerPath) -> Self {
        path.0
    }
}

/// Escaped: control bytes, quotes and anything outside ASCII appear as `\xNN`, so the text is safe in one line.
impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBelowRoot => "must be an absolute path below /",
            Self::TooLong => "is too long",
            Self::NotCanonical => "has an empty, '.' or '..' component or a NUL byte",
        })
    }
}

impl std::error::Error for PathError {}
