//! OCI-SIF files: a SIF whose objects are the blobs of one OCI image, found by their digests.
//!
//! One object is the root index; it names a manifest, which names a configuration and the layers, lowest first. Layers are
//! squashfs file systems; the last one may be an ext3, *the overlay*. [`open`] reads a file with every check that its
//! documents allow; [`create()`] makes a new one of documents and layers, [`manifest`] makes the document that binds
//! them; [`change`](change()) changes the overlay of an old one.
//!
//! Sizes are bytes, digests the SHA-256 of the bytes as they are stored. Layers are not compressed as blobs, so the
//! `diff_ids` of the configuration are the digests of the layers. Only the overlay may differ from its digest, from the
//! first write into it until somebody brings the digest up to date.

mod create;
mod documents;
mod fault;
mod read;
mod update;

pub use create::{NewLayer, create, manifest};
pub use fault::{Fault, Part};
pub(crate) use read::inspect;
pub use read::{OciSifFile, open};
pub use update::{Change, change};

use crate::image::{EmbeddedContent, Ext3};
pub use crate::sif::Digest;
use crate::sif::Table;
use protocol::Window;
use serde::{Deserialize, Serialize};

/// Most bytes of an index, a manifest or a configuration. Those of images with hundreds of layers have some 100 KiB.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// The words of the specifications for what a blob is.
pub mod media_type {
    /// An index of manifests.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// What Docker calls an index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// A manifest of Docker's.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// The configuration of an image.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// The configuration of an image of Docker's.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// A layer that is a compressed tar archive.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer of Docker's that is a tar archive as it is.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// The configuration of what has none, as data containers have.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// A layer that can be mounted.
    pub const SQUASHFS: &str = "application/vnd.sylabs.image.layer.v1.squashfs";
    /// The overlay.
    pub const EXT3: &str = "application/vnd.sylabs.image.layer.v1.ext3";
}

/// The one image of an OCI-SIF: its documents agree with each other, and its layers begin as what they are said to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OciSif {
    /// The table of the SIF.
    pub table: Table,
    /// The root index.
    pub index: Document,
    /// The manifest of the image.
    pub manifest: Document,
    /// Its configuration.
    pub config: Document,
    /// Its layers, lowest first. Only the last one may be an ext3.
    pub layers: Vec<Layer>,
    /// Whether it is an image to run, and not a data container.
    pub is_image: bool,
    /// Cosign signatures and attestations that the index names beside the image.
    pub cosign_entries: u32,
}

/// A JSON document of an image, as it is stored. Its content has its digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// The object's id.
    pub id: u32,
    /// The digest.
    pub digest: Digest,
    /// The bytes: at most [`DOCUMENT_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// A layer of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layer {
    /// The object's id.
    pub id: u32,
    /// The digest it is recorded under; that of an overlay may be out of date.
    pub digest: Digest,
    /// Where it is in the file.
    pub window: Window,
    /// What it was found to hold.
    pub content: EmbeddedContent,
}

impl Layer {
    /// What kind of layer it is.
    #[must_use]
    pub fn layer_type(&self) -> LayerType {
        match self.content {
            EmbeddedContent::Squashfs(_) => LayerType::Squashfs,
            EmbeddedContent::Ext3(_) => LayerType::Ext3,
        }
    }
}

/// What a layer of an OCI-SIF can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LayerType {
    /// Read only.
    Squashfs,
    /// The overlay.
    Ext3,
}

impl LayerType {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Squashfs => media_type::SQUASHFS,
            Self::Ext3 => media_type::EXT3,
        }
    }

    /// The layer with this media type; `None` is one that no OCI-SIF can have, such as a tar archive.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        [Self::Squashfs, Self::Ext3].into_iter().find(|layer| layer.media_type() == media_type)
    }
}

/// A run of bytes that is stored and sent under its digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blob {
    /// The digest it is recorded under.
    pub digest: Digest,
    /// Where it is in the file.
    pub window: Window,
}

impl OciSif {
    /// The overlay: the last layer, if it is an ext3.
    #[must_use]
    pub fn overlay(&self) -> Option<(&Layer, Ext3)> {
        self.layers.last().and_then(|layer| match layer.content {
            EmbeddedContent::Ext3(ext3) => Some((layer, ext3)),
            EmbeddedContent::Squashfs(_) => None,
        })
    }

    /// Every part of the file that may be mounted.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Window> {
        self.layers.iter().flat_map(|layer| match layer.content {
            EmbeddedContent::Squashfs(squashfs) => [layer.window, squashfs.window],
            EmbeddedContent::Ext3(ext3) => [layer.window, ext3.window],
        })
    }

    /// What a registry that is given the image must have before its manifest: the layers, lowest first and each once,
    /// and the configuration.
    #[must_use]
    pub fn blobs(&self) -> Vec<Blob> {
        let mut blobs: Vec<Blob> = Vec::new();
        let layers = self.layers.iter().map(|layer| (layer.id, layer.digest));
        for (id, digest) in layers.chain([(self.config.id, self.config.digest)]) {
            let Some(object) = self.table.object(id) else { continue };
            if !blobs.iter().any(|blob| blob.digest == digest) {
                blobs.push(Blob { digest, window: object.window() });
            }
        }
        blobs
    }
}

#[cfg(test)]
mod tests;
