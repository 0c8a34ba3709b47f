//! New OCI-SIF files.

use super::documents::{Manifest, Reference};
use super::{Fault, LayerType, Part, media_type};
use crate::error::{Failure, Outcome};
use crate::file::Existing;
use crate::message::shown;
use crate::sif::layout::PARTITION_ALIGNMENT;
use crate::sif::{self, CreateOptions, Data, DataType, Digest, Extra, NewObject};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// A layer that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewLayer<'a> {
    /// What it is.
    pub layer_type: LayerType,
    /// The digest of its data, which whoever made or fetched it knows.
    pub digest: Digest,
    /// The file system.
    pub data: Data<'a>,
}

impl<'a> NewLayer<'a> {
    pub(super) fn object(&self) -> NewObject<'a> {
        // The incumbents leave it wherever it falls; a loop device is much faster on pages of the file.
        blob(self.digest, self.data).aligned_to(PARTITION_ALIGNMENT)
    }
}

/// The manifest that binds a configuration to layers, lowest first. `config_type` is [`media_type::CONFIG`] for an image and
/// [`media_type::EMPTY`] for a data container.
#[must_use]
pub fn manifest(config_type: &str, config: &[u8], layers: &[NewLayer<'_>]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| descriptor(layer.layer_type.media_type(), layer.digest, layer.data.size()))
        .collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": descriptor(config_type, Digest::of(config), config.len() as u64),
        "layers": layers,
    });
    document.to_string().into_bytes()
}

/// Makes an OCI-SIF of a manifest and what it names; both documents are stored byte by byte as they are. The layers are
/// in the manifest's order; one that it has twice may be given twice and is stored once. The descriptor of the new
/// file comes back.
///
/// # Errors
/// The documents do not go with each other or with the layers, or the file cannot be written. There is then no new
/// file, and an old one is as it was.
pub fn create(
    target: &Path,
    manifest: &[u8],
    config: &[u8],
    layers: &[NewLayer<'_>],
    existing: Existing,
) -> Outcome<File> {
    check(manifest, config, layers)
        .map_err(|fault| Failure::new(format!("while creating {}: {fault}", shown(target))))?;
    let index = index_of(manifest)?;
    let mut objects: Vec<NewObject<'_>> = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        if !layers[..n].iter().any(|earlier| earlier.digest == layer.digest) {
            objects.push(layer.object());
        }
    }
    objects.push(document(config));
    objects.push(document(manifest));
    objects.push(root_index(&index));
    sif::create(target, &objects, &CreateOptions { existing, ..CreateOptions::oci() })
}

/// Whether the documents go with each other and with the layers.
fn check(manifest: &[u8], config: &[u8], layers: &[NewLayer<'_>]) -> Result<(), Fault> {
    let described = Manifest::read(manifest)?;
    described.config.check(config, Part::Config)?;
    described.check_config(config)?;
    if described.layers.len() != layers.len() {
        return Err(Fault::LayerCount);
    }
    for ((number, layer), (layer_type, reference)) in (1..).zip(layers).zip(&described.layers) {
        let part = Part::Layer(number);
        if layer.layer_type != *layer_type {
            return Err(Fault::Type(part));
        }
        if (Reference { digest: layer.digest, size: layer.data.size() }) != *reference {
            return Err(Fault::Digest(part));
        }
    }
    Ok(())
}

/// The root index that names one manifest, as the incumbents write it: they repeat the type of the configuration.
pub(super) fn index_of(manifest: &[u8]) -> Outcome<Vec<u8>> {
    let unreadable = || Failure::new(Fault::Json(Part::Manifest).to_string());
    let document: Value = serde_json::from_slice(manifest).map_err(|_| unreadable())?;
    let manifest_type = document.get("mediaType").and_then(Value::as_str).unwrap_or(media_type::MANIFEST);
    let config_type = document.pointer("/config/mediaType").and_then(Value::as_str).ok_or_else(unreadable)?;
    let artifact_type = document.get("artifactType").and_then(Value::as_str).unwrap_or(config_type);
    let mut entry = descriptor(manifest_type, Digest::of(manifest), manifest.len() as u64);
    entry["artifactType"] = artifact_type.into();
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry] });
    Ok(index.to_string().into_bytes())
}

/// How a document names a blob.
pub(super) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({ "mediaType": media_type, "size": size, "digest": digest.to_string() })
}

/// A manifest or configuration as an object.
pub(super) fn document(bytes: &[u8]) -> NewObject<'_> {
    blob(Digest::of(bytes), Data::Bytes(bytes))
}

/// A root index as an object.
pub(super) fn root_index(bytes: &[u8]) -> NewObject<'_> {
    NewObject::new(DataType::OciRootIndex, Data::Bytes(bytes)).with(Extra::Digest(Digest::of(bytes)))
}

fn blob(digest: Digest, data: Data<'_>) -> NewObject<'_> {
    NewObject::new(DataType::OciBlob, data).with(Extra::Digest(digest))
}
