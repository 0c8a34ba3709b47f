//! The images of an OCI layout.

use super::Local;
use crate::documents::{self, Answer, Descriptor, Platform};
use crate::platform;
use crate::source::Found;
use frontend::error::{Failure, Outcome};
use frontend::message::shown;

/// The annotation that names an image in an index.
const NAME: &str = "org.opencontainers.image.ref.name";
/// How many indexes may lie one in the other.
const DEPTH_MAX: usize = 8;

/// The image of a name, or the only one, for a platform.
pub(super) fn image(layout: &Local, wanted: Option<&str>, platform: &Platform) -> Outcome<Found> {
    let index = layout.place.document("index.json")?;
    let Answer::Index(entries) = documents::read_answer(&index)? else {
        return Err(Failure::new(format!("the index.json of {} is no index", layout.place)));
    };
    let mut descriptor = named(&entries, wanted)
        .map_err(|failure| failure.context(format!("while looking into {}", layout.place)))?
        .clone();
    for _ in 0..DEPTH_MAX {
        let bytes = layout.blob(&descriptor)?.document()?;
        match documents::read_answer(&bytes)? {
            Answer::Manifest(manifest) => return Ok(Found { bytes, digest: descriptor.digest, manifest }),
            Answer::Index(entries) => descriptor = platform::choose(&entries, platform)?.clone(),
        }
    }
    Err(Failure::new(format!("the indexes in {} lie too deep in each other", layout.place)))
}

fn named<'a>(entries: &'a [Descriptor], wanted: Option<&str>) -> Outcome<&'a Descriptor> {
    let name = |entry: &'a Descriptor| entry.annotations.get(NAME).map(String::as_str);
    let names = || {
        let names: Vec<String> = entries.iter().filter_map(|entry| name(entry).map(shown)).collect();
        if names.is_empty() { "none with a name".to_owned() } else { names.join(", ") }
    };
    match (wanted, entries) {
        (Some(wanted), _) => entries
            .iter()
            .find(|entry| name(entry) == Some(wanted))
            .ok_or_else(|| Failure::new(format!("there is no image {}, only: {}", shown(wanted), names()))),
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::new("there is no image")),
        (None, _) => Err(Failure::new(format!("there is more than one image: {}", names()))
            .hint("Add the name of one, after a colon")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontend::sif::Digest;
    use std::collections::BTreeMap;

    #[test]
    fn one_of_several_images_has_to_be_named() {
        let entry = |name: &str| Descriptor {
            media_type: String::new(),
            size: 0,
            digest: Digest::of(name.as_bytes()),
            platform: None,
            annotations: BTreeMap::from([(NAME.to_owned(), name.to_owned())]),
        };
        let two = [entry("a"), entry("b")];
        assert_eq!(named(&two, Some("b")).unwrap(), &two[1]);
        assert_eq!(named(&two[..1], None).unwrap(), &two[0]);
        let refused = named(&two, None).unwrap_err().to_string();
        assert_eq!(refused, "there is more than one image: a, b");
        let refused = named(&two, Some("c")).unwrap_err().to_string();
        assert_eq!(refused, "there is no image c, only: a, b");
        assert!(named(&[], None).is_err());
    }
}
