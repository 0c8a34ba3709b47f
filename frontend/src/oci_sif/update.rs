//! The layers of an image changed, and the documents with them, in one step and in place.
//!
//! The documents are edited as JSON, so what this build does not know stays in them, in its order.

use super::create::{document, root_index};
use super::documents::Manifest;
use super::{Fault, NewLayer, OciSif, Part};
use crate::error::{Failure, Outcome};
use crate::message::{self, shown};
use crate::sif::{self, DataType, Digest, Edit, Extra, Room};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// The time of an entry of the history that is nobody's business.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// What becomes of the overlay of an image.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// An image without overlay gets one.
    Add(NewLayer<'a>),
    /// The digest that is recorded for it becomes this one.
    Record(Digest),
    /// A read-only layer takes its place.
    Seal(NewLayer<'a>),
}

/// Changes the overlay of an OCI-SIF that is open for reading and writing, locked as a whole, and was found to hold `image`.
/// The configuration, the manifest and the root index then say so; objects that they do not name any more are gone.
///
/// # Errors
/// The documents cannot be changed so, or the file cannot be written. It then is as it was.
pub fn change(file: &File, path: &Path, image: &OciSif, change: Change<'_>) -> Outcome<()> {
    let documents = Documents::after(image, change)
        .map_err(|failure| failure.context(format!("while changing the image in {}", shown(path))))?;
    let mut edits = match change {
        Change::Add(layer) => vec![Edit::Add(layer.object())],
        Change::Record(digest) => {
            let overlay = overlay_id(image)?;
            vec![Edit::Describe(overlay, Extra::Digest(digest))]
        }
        Change::Seal(layer) => vec![Edit::Replace(overlay_id(image)?, layer.object())],
    };
    let documents_now = [
        (image.config.id, document(&documents.config)),
        (image.manifest.id, document(&documents.manifest)),
        (image.index.id, root_index(&documents.index)),
    ];
    edits.extend(documents_now.into_iter().map(|(id, object)| Edit::Replace(id, object)));
    edits.extend(unnamed(image).map(Edit::Delete));
    // A new overlay is large, and written once; whatever is sealed gives its room back.
    let room = if matches!(change, Change::Add(_)) { Room::BehindAll } else { Room::BehindKept };
    if image.cosign_entries > 0 {
        message::warning(format!(
            "The cosign signatures in {} do not cover the changed image and are removed",
            shown(path)
        ));
    }
    sif::edit(file, path, &edits, room)
}

fn overlay_id(image: &OciSif) -> Outcome<u32> {
    image.overlay().map(|(overlay, _)| overlay.id).ok_or_else(|| Failure::new("the image has no overlay"))
}

/// The blobs that no document names: cosign's, and what was stored twice.
fn unnamed(image: &OciSif) -> impl Iterator<Item = u32> {
    let blobs = image.table.descriptors.iter().filter(|object| object.data_type == DataType::OciBlob);
    let named = |id| {
        id == image.config.id || id == image.manifest.id || image.layers.iter().any(|layer| layer.id == id)
    };
    blobs.map(|object| object.id).filter(move |id| !named(*id))
}

/// The three documents of an image.
struct Documents {
    config: Vec<u8>,
    manifest: Vec<u8>,
    index: Vec<u8>,
}

impl Documents {
    /// What they say when the overlay has changed.
    fn after(image: &OciSif, change: Change<'_>) -> Outcome<Self> {
        let mut config = tree(&image.config.bytes, Part::Config)?;
        let mut manifest = tree(&image.manifest.bytes, Part::Manifest)?;
        let layers = array(&mut manifest, "/layers", Part::Manifest)?;
        let diff_ids = array(&mut config, "/rootfs/diff_ids", Part::Config)?;
        let digest = match change {
            Change::Record(digest) => digest,
            Change::Add(layer) | Change::Seal(layer) => layer.digest,
        };
        if let Change::Add(_) = change {
            layers.push(json!({}));
            diff_ids.push(Value::Null);
        }
        let (Some(layer), Some(diff_id)) = (layers.last_mut(), diff_ids.last_mut()) else {
            return Err(faulty(Fault::LayerCount));
        };
        if let Change::Add(new) | Change::Seal(new) = change {
            layer["mediaType"] = new.layer_type.media_type().into();
            layer["size"] = new.data.size().into();
        }
        layer["digest"] = digest.to_string().into();
        *diff_id = digest.to_string().into();
        if let Change::Add(_) = change {
            note_in_history(&mut config);
        }
        Self::bound(config, manifest, image)
    }

    /// The documents, each naming the next. Of the old root index the entry of the image stays.
    fn bound(config: Value, mut manifest: Value, image: &OciSif) -> Outcome<Self> {
        let mut index = tree(&image.index.bytes, Part::Index)?;
        let config = text(&config);
        name(&mut manifest["config"], &config);
        let manifest = text(&manifest);
        let entries = array(&mut index, "/manifests", Part::Index)?;
        let old = image.manifest.digest.to_string();
        entries.retain(|entry| entry["digest"] == old.as_str());
        entries.truncate(1);
        entries.iter_mut().for_each(|entry| name(entry, &manifest));
        let index = text(&index);
        // What is stored must be readable again.
        Manifest::read(&manifest).and_then(|manifest| manifest.check_config(&config)).map_err(faulty)?;
        Ok(Self { config, manifest, index })
    }
}

/// Says in the history of an image that it got an overlay.
fn note_in_history(config: &mut Value) {
    if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
        history.push(json!({ "created": NO_TIME, "created_by": "overlay create" }));
    }
}

/// Has a descriptor name other bytes.
fn name(descriptor: &mut Value, bytes: &[u8]) {
    descriptor["size"] = bytes.len().into();
    descriptor["digest"] = Digest::of(bytes).to_string().into();
}

fn tree(bytes: &[u8], part: Part) -> Outcome<Value> {
    serde_json::from_slice(bytes).ok().filter(Value::is_object).ok_or_else(|| faulty(Fault::Json(part)))
}

fn array<'a>(document: &'a mut Value, pointer: &str, part: Part) -> Outcome<&'a mut Vec<Value>> {
    document.pointer_mut(pointer).and_then(Value::as_array_mut).ok_or_else(|| faulty(Fault::Json(part)))
}

fn faulty(fault: Fault) -> Failure {
    Failure::new(fault.to_string())
}

/// A document as other tools, which are written in Go, would write it: five characters are escaped, all of which occur
/// in strings only. Equal images so have equal digests.
fn text(document: &Value) -> Vec<u8> {
    let mut text = document.to_string();
    for (character, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if text.contains(character) {
            text = text.replace(character, escaped);
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests;
