//! What is said of an image: in its `labels.json` and in the objects of its SIF.

use super::origin::Origin;
use super::source::Source;
use crate::error::Outcome;
use crate::inspect::{Attributes, Texts};
use crate::sif::Arch;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use time::OffsetDateTime;

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// What is said of an image.
#[derive(Debug)]
pub struct Metadata {
    attributes: Attributes,
}

impl Metadata {
    /// Reads what the root file system at `root` says of itself and adds what is known of this build.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(super) fn read(root: &Path, source: &Source) -> Outcome<Self> {
        Self::of(root, &source.origin, source.arch)
    }

    /// The same for files that were made from `origin`, for machines of an architecture. What a definition says is in
    /// the files already.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn of(root: &Path, origin: &Origin, arch: Arch) -> Outcome<Self> {
        let mut attributes = Attributes::of(&Texts::below(root)?);
        if origin.definition.is_none() {
            attributes.labels.extend(build_labels(origin, arch));
        }
        attributes.deffile = origin.text();
        Ok(Self { attributes })
    }

    /// The definition object of the SIF: how this image could be built again.
    pub(super) fn definition_object(&self) -> String {
        format!("{}\n\n", self.attributes.deffile)
    }

    /// The JSON object of the SIF, from which `inspect` answers without mounting anything.
    pub(super) fn inspection_object(&self) -> String {
        json!({ "data": { "attributes": self.attributes }, "type": "container" }).to_string()
    }
}

/// The `labels.json` of an image that has these labels of its own.
pub(super) fn labels_json(mut labels: Labels, origin: &Origin, arch: Arch) -> String {
    labels.extend(build_labels(origin, arch));
    format!("{:#}\n", json!(labels))
}

/// Labels of this build, under the names that other tools look for.
fn build_labels(origin: &Origin, arch: Arch) -> Labels {
    const KEYWORDS: &str = "org.label-schema.usage.singularity.deffile";
    let arch = if arch.is_known() { arch } else { Arch::host() };
    let labels = [
        ("org.label-schema.build-arch", arch.name().to_string()),
        ("org.label-schema.build-date", date(OffsetDateTime::now_utc())),
        ("org.label-schema.schema-version", "1.0".into()),
        ("org.label-schema.usage.lamina.version", env!("CARGO_PKG_VERSION").into()),
    ];
    let keywords =
        origin.header.iter().map(|(keyword, value)| (format!("{KEYWORDS}.{keyword}"), value.clone()));
    labels.into_iter().map(|(name, value)| (name.to_string(), value)).chain(keywords).collect()
}

/// A time as the incumbents label it: `Friday_20_November_2026_15:0:15_UTC`.
fn date(time: OffsetDateTime) -> String {
    let (hour, minute, second) = time.to_hms();
    let (weekday, day, month, year) = (time.weekday(), time.day(), time.month(), time.year());
    format!("{weekday}_{day}_{month}_{year}_{hour}:{minute}:{second}_UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_other_tools_write_them() {
        let time = OffsetDateTime::from_unix_timestamp(1_795_186_815).unwrap();
        assert_eq!(date(time), "Friday_20_November_2026_15:0:15_UTC");
    }
}
