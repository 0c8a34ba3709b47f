//! What can be wrong with the image in an OCI-SIF.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Part {
    /// The root index.
    Index,
    /// The manifest.
    Manifest,
    /// The configuration.
    Config,
    /// A layer, counted from 1, the lowest.
    Layer(u32),
}

/// One thing that is wrong with the image in an OCI-SIF, as numbers: its documents have no say in what the user reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// There is more than one root index.
    Indexes,
    /// The root index names another number of images than one.
    Images(u32),
    /// A part is named by its digest, but no object has that digest.
    Missing(Part),
    /// A document is longer than [`super::DOCUMENT_BYTES_MAX`].
    TooLong(Part),
    /// A document is not the JSON that the OCI image specification describes.
    Json(Part),
    /// A part has another length than the document that names it says.
    Size(Part),
    /// The content of a document does not have its digest.
    Digest(Part),
    /// A part has a media type that this build cannot use.
    Type(Part),
    /// The configuration has more or fewer digests of layers than there are layers.
    LayerCount,
    /// The configuration has another digest for a layer, counted from 1, than the manifest.
    DiffId(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("root index"),
            Self::Manifest => f.write_str("manifest"),
            Self::Config => f.write_str("configuration"),
            Self::Layer(number) => write!(f, "layer {number}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Indexes => f.write_str("corrupted OCI-SIF: it has more than one root index"),
            Self::Images(0) => f.write_str("the OCI-SIF holds no image"),
            Self::Images(count) => {
                write!(
                    f,
                    "the OCI-SIF holds {count} images, and only one that holds a single image can be used"
                )
            }
            Self::Missing(part) => write!(f, "corrupted OCI-SIF: its {part} is missing"),
            Self::TooLong(part) => write!(
                f,
                "its {part} is longer than the {} MiB that are read",
                super::DOCUMENT_BYTES_MAX >> 20
            ),
            Self::Json(part) => {
                write!(f, "corrupted OCI-SIF: its {part} is not what the OCI image specification describes")
            }
            Self::Size(part) => {
                write!(f, "corrupted OCI-SIF: its {part} does not have the length that is recorded")
            }
            Self::Digest(part) => {
                write!(f, "corrupted OCI-SIF: its {part} does not have the digest that is recorded")
            }
            Self::Type(part @ Part::Layer(_)) => write!(
                f,
                "its {part} is neither a squashfs nor, as the topmost, an ext3, and cannot be used from a file"
            ),
            Self::Type(part) => write!(f, "its {part} is of a type that is not supported"),
            Self::LayerCount => {
                f.write_str("corrupted OCI-SIF: its configuration does not have a digest for each layer")
            }
            Self::DiffId(number) => write!(
                f,
                "corrupted OCI-SIF: its configuration has another digest for layer {number} than its manifest"
            ),
        }
    }
}

impl std::error::Error for Fault {}
