//! What is read of the JSON documents of an image.
//!
//! The views are our own and read only what is needed: they run in the confined reader, where the hash maps of the types
//! of `oci-spec` would ask the system for randomness.

use super::{DOCUMENT_BYTES_MAX, Fault, LayerType, Part, media_type};
use crate::sif::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The annotation by which cosign's entries of an index are known, and how its value begins.
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";
const COSIGN_PREFIX: &str = "_cosign:";

/// How a document names another blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reference {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What a root index says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Index {
    pub(super) manifest: Reference,
    pub(super) cosign_entries: u32,
}

/// What a manifest says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Manifest {
    pub(super) config: Reference,
    /// Whether the configuration is that of an image, and not the empty one of a data container.
    pub(super) is_image: bool,
    pub(super) layers: Vec<(LayerType, Reference)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawIndex {
    manifests: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
struct RawManifest {
    config: RawDescriptor,
    layers: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
struct RawConfig {
    rootfs: RawRootFs,
}

#[derive(Deserialize)]
struct RawRootFs {
    diff_ids: Option<Vec<String>>,
}

impl Index {
    /// Reads a root index that names exactly one image. Cosign's entries are counted; other indexes are passed over.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let raw: RawIndex = parse(bytes, Part::Index)?;
        let (cosign, others): (Vec<_>, Vec<_>) =
            raw.manifests.into_iter().flatten().partition(RawDescriptor::is_cosign);
        let is_image = |entry: &RawDescriptor| {
            [media_type::MANIFEST, media_type::DOCKER_MANIFEST].contains(&entry.media_type.as_str())
        };
        let images: Vec<RawDescriptor> = others.into_iter().filter(is_image).collect();
        let [image] = images.as_slice() else {
            return Err(Fault::Images(count(images.len())));
        };
        Ok(Self { manifest: image.reference(Part::Index)?, cosign_entries: count(cosign.len()) })
    }
}

impl Manifest {
    /// Reads a manifest whose layers can all be used.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let raw: RawManifest = parse(bytes, Part::Manifest)?;
        let is_image = match raw.config.media_type.as_str() {
            media_type::CONFIG | media_type::DOCKER_CONFIG => true,
            media_type::EMPTY => false,
            _ => return Err(Fault::Type(Part::Config)),
        };
        let raw_layers = raw.layers.unwrap_or_default();
        let mut layers = Vec::new();
        for (n, layer) in raw_layers.iter().enumerate() {
            let part = Part::Layer(count(n + 1));
            let last = n + 1 == raw_layers.len();
            let layer_type = LayerType::of_media_type(&layer.media_type)
                .filter(|layer_type| *layer_type == LayerType::Squashfs || last)
                .ok_or(Fault::Type(part))?;
            layers.push((layer_type, layer.reference(Part::Manifest)?));
        }
        Ok(Self { config: raw.config.reference(Part::Manifest)?, is_image, layers })
    }

    /// Checks that a configuration goes with the manifest.
    pub(super) fn check_config(&self, bytes: &[u8]) -> Result<(), Fault> {
        if !self.is_image {
            return Ok(());
        }
        let raw: RawConfig = parse(bytes, Part::Config)?;
        let diff_ids = raw.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != self.layers.len() {
            return Err(Fault::LayerCount);
        }
        let differs = |(diff_id, (_, layer)): (&String, &(LayerType, Reference))| {
            Digest::parse(diff_id) != Some(layer.digest)
        };
        match diff_ids.iter().zip(&self.layers).position(differs) {
            Some(n) => Err(Fault::DiffId(count(n + 1))),
            None => Ok(()),
        }
    }
}

impl RawDescriptor {
    fn is_cosign(&self) -> bool {
        let name = self.annotations.as_ref().and_then(|annotations| annotations.get(REFERENCE_NAME));
        name.is_some_and(|name| name.starts_with(COSIGN_PREFIX))
    }

    /// The blob it names; a digest of another kind than SHA-256 is no OCI-SIF's.
    fn reference(&self, by: Part) -> Result<Reference, Fault> {
        let digest = Digest::parse(&self.digest).ok_or(Fault::Json(by))?;
        Ok(Reference { digest, size: self.size })
    }
}

impl Reference {
    /// Checks that these are the bytes that are meant.
    pub(super) fn check(self, bytes: &[u8], part: Part) -> Result<(), Fault> {
        if bytes.len() as u64 != self.size {
            return Err(Fault::Size(part));
        }
        if Digest::of(bytes) == self.digest { Ok(()) } else { Err(Fault::Digest(part)) }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], part: Part) -> Result<T, Fault> {
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(Fault::TooLong(part));
    }
    serde_json::from_slice(bytes).map_err(|_| Fault::Json(part))
}

/// A count of things in a document, of which there are fewer than it has bytes.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
