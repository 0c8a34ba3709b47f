//! What is said of an image: in its `labels.json` and in the objects of its SIF.

use super::source::Source;
use crate::error::Outcome;
use crate::inspect::{Attributes, Texts};
use crate::sif::Arch;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use time::OffsetDateTime;

/// What is said of an image.
#[derive(Debug)]
pub(super) struct Metadata {
    attributes: Attributes,
}

impl Metadata {
    /// Reads what the root file system at `root` says of itself and adds what is known of this build.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(super) fn read(root: &Path, source: &Source) -> Outcome<Self> {
        let mut attributes = Attributes::of(&Texts::below(root)?);
        attributes.deffile = format!("bootstrap: localimage\nfrom: {}", source.spec);
        attributes.labels.extend(build_labels(source));
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

/// The `labels.json` of an image that had none.
pub(super) fn labels_json(source: &Source) -> String {
    format!("{:#}\n", json!(build_labels(source)))
}

/// Labels of this build, under the names that other tools look for.
fn build_labels(source: &Source) -> BTreeMap<String, String> {
    let arch = if source.arch.is_known() { source.arch } else { Arch::host() };
    let labels = [
        ("org.label-schema.build-arch", arch.name().to_string()),
        ("org.label-schema.build-date", date(OffsetDateTime::now_utc())),
        ("org.label-schema.schema-version", "1.0".into()),
        ("org.label-schema.usage.lamina.version", env!("CARGO_PKG_VERSION").into()),
        ("org.label-schema.usage.singularity.deffile.bootstrap", "localimage".into()),
        ("org.label-schema.usage.singularity.deffile.from", source.spec.clone()),
    ];
    labels.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
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
