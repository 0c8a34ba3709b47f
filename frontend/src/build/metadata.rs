//! What is said of an image: in its `labels.json` and in the objects of its SIF.

use super::source::Source;
use crate::error::{Doing, Outcome};
use crate::sif::Arch;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use time::OffsetDateTime;

/// Most bytes of one file whose text is taken up. Longer ones stay in the image only.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// What is said of an image.
#[derive(Debug)]
pub(super) struct Metadata {
    definition: String,
    attributes: Map<String, Value>,
}

impl Metadata {
    /// Reads what the root file system at `root` says of itself and adds what is known of this build.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(super) fn read(root: &Path, source: &Source) -> Outcome<Self> {
        let root = File::open(root).doing(|| "looking at the root directory of the image".into())?;
        let definition = format!("bootstrap: localimage\nfrom: {}", source.spec);
        let mut labels = text(&root, ".singularity.d/labels.json")
            .and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok())
            .unwrap_or_default();
        labels.extend(build_labels(source));
        let mut environment = Map::new();
        for name in ["90-environment.sh", "91-environment.sh"] {
            let path = format!(".singularity.d/env/{name}");
            if let Some(text) = text(&root, &path) {
                environment.insert(format!("/{path}"), Value::from(text.trim_end()));
            }
        }
        let mut attributes = Map::new();
        attributes.insert("labels".into(), labels.into());
        attributes.insert("environment".into(), environment.into());
        attributes.insert("deffile".into(), Value::from(definition.as_str()));
        for (key, path) in [
            ("runscript", ".singularity.d/runscript"),
            ("startscript", ".singularity.d/startscript"),
            ("test", ".singularity.d/test"),
            ("helpfile", ".singularity.d/runscript.help"),
        ] {
            if let Some(text) = text(&root, path) {
                attributes.insert(key.into(), Value::from(text.trim_end()));
            }
        }
        Ok(Self { definition, attributes })
    }

    /// The definition object of the SIF: how this image could be built again.
    pub(super) fn definition_object(&self) -> String {
        format!("{}\n\n", self.definition)
    }

    /// The JSON object of the SIF, from which `inspect` answers without mounting anything.
    pub(super) fn inspection_object(&self) -> String {
        json!({ "data": { "attributes": self.attributes }, "type": "container" }).to_string()
    }
}

/// The `labels.json` of an image that had none.
pub(super) fn labels_json(source: &Source) -> String {
    format!("{:#}\n", Value::from(build_labels(source)))
}

/// Labels of this build, under the names that other tools look for.
fn build_labels(source: &Source) -> Map<String, Value> {
    let arch = if source.arch.is_known() { source.arch } else { Arch::host() };
    let labels = [
        ("org.label-schema.build-arch", arch.name().to_string()),
        ("org.label-schema.build-date", date(OffsetDateTime::now_utc())),
        ("org.label-schema.schema-version", "1.0".into()),
        ("org.label-schema.usage.lamina.version", env!("CARGO_PKG_VERSION").into()),
        ("org.label-schema.usage.singularity.deffile.bootstrap", "localimage".into()),
        ("org.label-schema.usage.singularity.deffile.from", source.spec.clone()),
    ];
    labels.into_iter().map(|(name, value)| (name.to_string(), Value::from(value))).collect()
}

/// A time as the incumbents label it: `Friday_20_November_2026_15:0:15_UTC`.
fn date(time: OffsetDateTime) -> String {
    let (hour, minute, second) = time.to_hms();
    let (weekday, day, month, year) = (time.weekday(), time.day(), time.month(), time.year());
    format!("{weekday}_{day}_{month}_{year}_{hour}:{minute}:{second}_UTC")
}

/// The text of a regular file below `root`, links taken as they lead inside it.
fn text(root: &File, path: &str) -> Option<String> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(root, path, how).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut text = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut text).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn dates_are_written_as_other_tools_write_them() {
        let time = OffsetDateTime::from_unix_timestamp(1_795_186_815).unwrap();
        assert_eq!(date(time), "Friday_20_November_2026_15:0:15_UTC");
    }

    #[test]
    fn a_link_in_an_image_leads_to_nothing_outside_of_it() {
        let place = tempfile::tempdir().unwrap();
        let image = place.path().join("image");
        std::fs::create_dir(&image).unwrap();
        std::fs::write(place.path().join("secret"), "outside").unwrap();
        std::fs::write(image.join("secret"), "inside").unwrap();
        symlink("/secret", image.join("absolute")).unwrap();
        symlink("../../secret", image.join("relative")).unwrap();
        symlink("/nowhere", image.join("nowhere")).unwrap();
        let root = File::open(&image).unwrap();
        assert_eq!(text(&root, "absolute").as_deref(), Some("inside"));
        assert_eq!(text(&root, "relative").as_deref(), Some("inside"));
        assert_eq!(text(&root, "nowhere"), None);
    }
}
