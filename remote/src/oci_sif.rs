//! An OCI-SIF out of an OCI image: its layers as squashfs file systems, one for all or each for itself. Its overlay, if it
//! has one, stays as it is.

use crate::digest::hex;
use crate::image::{Form, Image, Layer};
use crate::layers::Tree;
use crate::pack::{Packed, pack};
use crate::source::Found;
use frontend::build::Tools;
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::Existing;
use frontend::message;
use frontend::oci_sif::{self, LayerType, NewLayer, media_type};
use frontend::sif::{Data, Digest};
use serde_json::{Value, json};
use std::path::Path;

/// What becomes of layers that nothing is written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layers {
    /// All of them become one.
    Squashed,
    /// Each stays one.
    Kept,
}

/// Makes the OCI-SIF at `target`. An image that is one already, and has no layers to be squashed, is stored as it is, with
/// the same digests.
///
/// # Errors
/// Says why there is none.
pub(crate) fn make(
    found: &Found,
    config: &[u8],
    image: &Image<'_>,
    layers: Layers,
    target: &Path,
    tools: Tools<'_>,
) -> Outcome<()> {
    let squashed = layers == Layers::Squashed && image.read_only().len() > 1;
    if !squashed && image.layers.iter().all(|layer| layer.form != Form::Tar) {
        let layers = image.layers.iter().map(as_it_is).collect::<Outcome<Vec<_>>>()?;
        return oci_sif::create(target, &found.bytes, config, &layers, Existing::Replace).map(drop);
    }
    message::info("Extracting OCI image...");
    let packed = match layers {
        Layers::Squashed => vec![Some(pack(&image.merged()?, image, target, tools)?)],
        Layers::Kept => each(image, target, tools)?,
    };
    message::info("Creating OCI-SIF file...");
    let mut layers = Vec::new();
    for (layer, packed) in image.read_only().iter().zip(&packed) {
        layers.push(match packed {
            None => as_it_is(layer)?,
            Some(packed) => NewLayer {
                layer_type: LayerType::Squashfs,
                digest: packed.digest()?,
                data: Data::Part(packed.file(), packed.part()?),
            },
        });
    }
    layers.extend(image.layers.get(image.read_only().len()).map(as_it_is).transpose()?);
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let config = with_layers(config, &digests, found.digest)?;
    let manifest = with_annotations(oci_sif::manifest(media_type::CONFIG, &config, &layers), &found.bytes)?;
    tools.interrupts.check()?;
    oci_sif::create(target, &manifest, &config, &layers, Existing::Replace).map(drop)
}

/// Packs every layer that is an archive for itself; `None` are those that need it not.
fn each(image: &Image<'_>, target: &Path, tools: Tools<'_>) -> Outcome<Vec<Option<Packed>>> {
    let mut below = Tree::new();
    let mut packed = Vec::new();
    for (number, layer) in image.read_only().iter().enumerate() {
        if layer.form == Form::Squashfs {
            packed.push(None);
        } else {
            let mut tree = Tree::for_one_layer();
            image.add_to(&mut tree, number)?;
            tree.inherit(&below);
            packed.push(Some(pack(&tree, image, target, tools)?));
        }
        image.add_to(&mut below, number)?;
    }
    Ok(packed)
}

fn as_it_is(layer: &Layer) -> Outcome<NewLayer<'_>> {
    let layer_type = match layer.form {
        Form::Squashfs => LayerType::Squashfs,
        Form::Ext3 => LayerType::Ext3,
        Form::Tar => return Err(Failure::new("an archive is no layer of an OCI-SIF")),
    };
    let data = Data::Part(&layer.blob.file, layer.blob.window);
    Ok(NewLayer { layer_type, digest: layer.digest, data })
}

/// The configuration of an image with other layers. A history that tells of another number of layers gives way to one
/// that says where the image comes from.
///
/// # Errors
/// It is no JSON object.
pub(crate) fn with_layers(config: &[u8], layers: &[Digest], made_from: Digest) -> Outcome<Vec<u8>> {
    let reading = || "reading the configuration of the image".to_owned();
    let mut config: Value = serde_json::from_slice(config).doing(reading)?;
    let fields = config.as_object_mut().ok_or_else(|| Failure::new("the configuration is no JSON object"))?;
    let diff_ids: Vec<String> = layers.iter().map(Digest::to_string).collect();
    fields.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    let told = fields.get("history").and_then(Value::as_array).map_or(0, |history| {
        history.iter().filter(|step| step.get("empty_layer") != Some(&Value::Bool(true))).count()
    });
    if told != layers.len() {
        // The image's own time, so that the same image always becomes the same OCI-SIF.
        let created = fields.get("created").cloned().unwrap_or_else(|| "1970-01-01T00:00:00Z".into());
        let step = json!({
            "created": created,
            "created_by": concat!("lamina/", env!("CARGO_PKG_VERSION")),
            "comment": format!("oci-sif created from {}", hex(made_from)),
        });
        fields.insert("history".into(), vec![step; layers.len()].into());
    }
    serde_json::to_vec(&config).doing(reading)
}

/// Gives a manifest the annotations of another.
///
/// # Errors
/// One of them is no JSON object.
pub(crate) fn with_annotations(manifest: Vec<u8>, old: &[u8]) -> Outcome<Vec<u8>> {
    let reading = || "reading the manifest of the image".to_owned();
    let old: Value = serde_json::from_slice(old).doing(reading)?;
    let Some(annotations) = old.get("annotations").filter(|annotations| annotations.is_object()) else {
        return Ok(manifest);
    };
    let mut manifest: Value = serde_json::from_slice(&manifest).doing(reading)?;
    if let Some(fields) = manifest.as_object_mut() {
        fields.insert("annotations".into(), annotations.clone());
    }
    serde_json::to_vec(&manifest).doing(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(config: &Value, layers: usize) -> Value {
        let digests = vec![Digest::of(b"layer"); layers];
        let changed = with_layers(config.to_string().as_bytes(), &digests, Digest::of(b"")).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(changed["rootfs"]["diff_ids"].as_array().unwrap().len(), layers);
        assert_eq!(changed["config"], config["config"]);
        changed["history"].clone()
    }

    #[test]
    fn the_history_tells_of_as_many_layers_as_there_are() {
        let steps =
            json!([{ "created_by": "a" }, { "created_by": "b", "empty_layer": true }, { "created_by": "c" }]);
        let config =
            json!({ "created": "2024-01-01T00:00:00Z", "config": { "Cmd": ["<x>"] }, "history": steps });
        assert_eq!(history(&config, 2), steps);
        let one = history(&config, 1);
        assert_eq!(one.as_array().unwrap().len(), 1);
        assert_eq!(one[0]["created"], "2024-01-01T00:00:00Z");
        let comment = one[0]["comment"].as_str().unwrap();
        assert!(comment.starts_with("oci-sif created from e3b0c442"), "{comment}");
    }

    #[test]
    fn annotations_come_along() {
        let old = br#"{"annotations":{"a":"b"}}"#;
        let new = with_annotations(br#"{"layers":[]}"#.to_vec(), old).unwrap();
        assert_eq!(new, br#"{"layers":[],"annotations":{"a":"b"}}"#);
        assert_eq!(with_annotations(b"{}".to_vec(), b"{}").unwrap(), b"{}");
    }
}
