//! The JSON documents of OCI images, as far as they are needed here. Unknown members are passed over.

use crate::digest;
use frontend::error::{Failure, Outcome};
use frontend::message::shown;
use frontend::sif::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Most bytes of an index, a manifest or a configuration.
pub(crate) use frontend::oci_sif::DOCUMENT_BYTES_MAX;
/// Most layers of an image.
pub(crate) const LAYERS_MAX: usize = 1024;

/// A document or a layer by its digest.
#[derive(Clone, PartialEq, Eq, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub(crate) media_type: String,
    /// How long it is.
    pub(crate) size: u64,
    /// Its SHA-256.
    #[serde(deserialize_with = "digest_of")]
    pub(crate) digest: Digest,
    /// What it runs on, in an index.
    pub(crate) platform: Option<Platform>,
    /// Further facts.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

fn digest_of<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    digest::parse(&text).map_err(serde::de::Error::custom)
}

/// What an image runs on.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, Debug)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
}

/// An index, or a manifest: registries answer with either.
#[derive(Debug)]
pub(crate) enum Answer {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// What binds a configuration and layers.
#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// What an image says of itself.
#[derive(Clone, Default, Deserialize, Debug)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) config: Option<Execution>,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
}

/// How it is run.
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Execution {
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// The layers without their compression.
#[derive(Clone, Default, Deserialize, Debug)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub(crate) diff_ids: Vec<String>,
}

/// Reads an index or a manifest.
///
/// # Errors
/// It is neither, or one of Docker's first form, which has no digests to check.
pub(crate) fn read_answer(bytes: &[u8]) -> Outcome<Answer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        schema_version: u32,
        manifests: Option<Vec<Descriptor>>,
    }
    let shape: Shape = read(bytes, "manifest")?;
    if shape.schema_version != 2 {
        return Err(Failure::new(format!(
            "the image has a manifest of version {}, not 2",
            shape.schema_version
        ))
        .hint("Push it again with a tool of this decade"));
    }
    match shape.manifests {
        Some(manifests) => Ok(Answer::Index(manifests)),
        None => read_manifest(bytes).map(Answer::Manifest),
    }
}

/// Reads a manifest.
///
/// # Errors
/// It is none, or has more layers than anybody needs.
pub(crate) fn read_manifest(bytes: &[u8]) -> Outcome<Manifest> {
    let manifest: Manifest = read(bytes, "manifest")?;
    if manifest.layers.len() > LAYERS_MAX {
        return Err(Failure::new(format!("the image has more than {LAYERS_MAX} layers")));
    }
    Ok(manifest)
}

/// Reads a document; `what` is for the message.
///
/// # Errors
/// It is not JSON of the right shape, or too long.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Outcome<T> {
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(Failure::new(format!("the {what} of the image is longer than 4 MiB")));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(format!("the {what} of the image cannot be read: {}", shown(error.to_string())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_answer_is_told_apart() {
        let digest = Digest::of(b"");
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"size":1,"digest":"{digest}","platform":{{"os":"linux","architecture":"arm64"}}}}]}}"#
        );
        assert!(
            matches!(read_answer(index.as_bytes()).unwrap(), Answer::Index(entries) if entries.len() == 1)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","size":1,"digest":"{digest}"}},"layers":[],"more":1}}"#
        );
        assert!(
            matches!(read_answer(manifest.as_bytes()).unwrap(), Answer::Manifest(m) if m.config.size == 1)
        );
        for wrong in ["", "{}", r#"{"schemaVersion":1,"fsLayers":[]}"#, &manifest.replace("sha256", "sha512")]
        {
            read_answer(wrong.as_bytes()).unwrap_err();
        }
        read_answer(&vec![b' '; 5 << 20]).unwrap_err();
    }
}
