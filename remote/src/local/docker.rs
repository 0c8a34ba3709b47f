//! What `docker save` and `podman save` write: a list of images in `manifest.json`, whose parts are named and not
//! numbered by digest. A manifest is made up for the image that is wanted.

use super::Form;
use super::place::Place;
use crate::documents::{self, LAYERS_MAX};
use crate::source::Found;
use frontend::error::{Doing, Failure, Outcome};
use frontend::message::shown;
use frontend::oci_sif::media_type;
use frontend::sif::Digest;
use oci_client::Reference;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One image of the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Reads the image that is wanted, or the only one. `@N` is the one that comes after `N` others.
pub(super) fn read(place: &Place, wanted: Option<&str>) -> Outcome<Form> {
    let entries: Vec<Entry> = documents::read(&place.document("manifest.json")?, "list")?;
    let entry =
        choose(&entries, wanted).map_err(|failure| failure.context(format!("while looking into {place}")))?;
    if entry.layers.len() > LAYERS_MAX {
        return Err(Failure::new(format!("the image has more than {LAYERS_MAX} layers")));
    }
    let mut names = BTreeMap::new();
    let mut describe = |name: &str, media_type: &str| -> Outcome<Value> {
        let missing = || Failure::new(format!("{place} lacks {}, which its list names", shown(name)));
        let blob = place.open(name.as_bytes())?.ok_or_else(missing)?;
        let digest = Digest::of_part(&blob.file, blob.window, || format!("reading {}", shown(name)))?;
        names.insert(digest, name.as_bytes().to_vec());
        Ok(json!({ "mediaType": media_type, "size": blob.window.size, "digest": digest.to_string() }))
    };
    let config = describe(&entry.config, media_type::DOCKER_CONFIG)?;
    let layers = entry.layers.iter().map(|name| describe(name, media_type::DOCKER_LAYER));
    let layers = layers.collect::<Outcome<Vec<_>>>()?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::DOCKER_MANIFEST,
        "config": config,
        "layers": layers,
    });
    let manifest = serde_json::to_vec(&manifest).doing(|| "describing the image".into())?;
    Ok(Form::Docker { manifest, names })
}

/// The image that a manifest describes.
pub(super) fn found(bytes: Vec<u8>) -> Outcome<Found> {
    let manifest = documents::read_manifest(&bytes)?;
    Ok(Found { digest: Digest::of(&bytes), bytes, manifest })
}

fn choose<'a>(entries: &'a [Entry], wanted: Option<&str>) -> Outcome<&'a Entry> {
    let names = || {
        let names: Vec<String> =
            entries.iter().flat_map(|entry| entry.repo_tags.iter().flatten()).map(shown).collect();
        if names.is_empty() { "none with a name".to_owned() } else { names.join(", ") }
    };
    let Some(wanted) = wanted else {
        return match entries {
            [only] => Ok(only),
            [] => Err(Failure::new("there is no image")),
            _ => Err(Failure::new(format!("there is more than one image: {}", names()))
                .hint("Add the name of one, after a colon")),
        };
    };
    let number = wanted.strip_prefix('@').and_then(|number| number.parse::<usize>().ok());
    let found = match number {
        Some(number) => entries.get(number),
        None => entries
            .iter()
            .find(|entry| entry.repo_tags.iter().flatten().any(|tag| whole(tag) == whole(wanted))),
    };
    found.ok_or_else(|| Failure::new(format!("there is no image {}, only: {}", shown(wanted), names())))
}

/// A name with everything that may be left out.
fn whole(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.whole())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_its_name_or_number() {
        let entry = |tags: &[&str], config: &str| Entry {
            config: config.into(),
            repo_tags: Some(tags.iter().map(ToString::to_string).collect()),
            layers: Vec::new(),
        };
        let entries =
            [entry(&["alpine:latest", "r.example/x:1"], "a"), entry(&["docker.io/library/box:2"], "b")];
        for (wanted, config) in [
            ("alpine", "a"),
            ("docker.io/library/alpine:latest", "a"),
            ("r.example/x:1", "a"),
            ("box:2", "b"),
            ("@1", "b"),
        ] {
            assert_eq!(choose(&entries, Some(wanted)).unwrap().config, config, "{wanted}");
        }
        let names = "alpine:latest, r.example/x:1, docker.io/library/box:2";
        for wanted in ["box", "@2", "x:1"] {
            let refused = choose(&entries, Some(wanted)).err().unwrap().to_string();
            assert_eq!(refused, format!("there is no image {wanted}, only: {names}"));
        }
        let refused = choose(&entries, None).err().unwrap().to_string();
        assert_eq!(refused, format!("there is more than one image: {names}"));
        assert_eq!(choose(&entries[1..], None).unwrap().config, "b");
    }
}
