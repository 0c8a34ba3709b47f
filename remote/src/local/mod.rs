//! Images of this machine: an OCI layout as a directory (`oci:`) or in a tar archive (`oci-archive:`), and what
//! `docker save` writes (`docker-archive:`).

mod archive;
mod docker;
mod layout;
mod place;

use crate::digest::check;
use crate::documents::{Descriptor, Platform};
use crate::image::Blob;
use crate::source::Found;
use frontend::error::{Failure, Outcome};
use frontend::message::shown;
use frontend::sif::Digest;
use place::Place;
use std::collections::BTreeMap;
use std::path::Path;

/// One reference to an image of this machine.
pub(crate) struct Local {
    place: Place,
    /// What follows the path: the name of one of several images.
    wanted: Option<String>,
    form: Form,
    /// What a file takes its name from.
    last_name: (String, String),
}

/// How images are stored in a place.
enum Form {
    /// By digest; an index names them.
    Layout,
    /// By name; only the file itself tells a digest.
    Docker { manifest: Vec<u8>, names: BTreeMap<Digest, Vec<u8>> },
}

impl Local {
    /// Opens what `PATH[:NAME]` names.
    ///
    /// # Errors
    /// It is not there, or not of the form that the scheme says.
    pub(crate) fn open(scheme: &str, reference: &str) -> Outcome<Self> {
        let (path, wanted) = match reference.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
            None => (reference, None),
        };
        let last_name = last_name(reference);
        let place = match scheme {
            "oci" => Place::folder(Path::new(path))?,
            _ => Place::archive(Path::new(path))?,
        };
        let form = match scheme {
            "docker-archive" => docker::read(&place, wanted.as_deref())?,
            _ => Form::Layout,
        };
        Ok(Self { place, wanted, form, last_name })
    }

    /// As [`crate::source::Source::last_name`].
    pub(crate) fn last_name(&self) -> (&str, &str) {
        (&self.last_name.0, &self.last_name.1)
    }

    /// As [`crate::source::Source::image`].
    pub(crate) fn image(&self, platform: &Platform) -> Outcome<Found> {
        match &self.form {
            Form::Layout => layout::image(self, self.wanted.as_deref(), platform),
            Form::Docker { manifest, .. } => docker::found(manifest.clone()),
        }
    }

    /// A blob, held against its digest.
    ///
    /// # Errors
    /// It is missing, cannot be read or is another.
    pub(crate) fn blob(&self, wanted: &Descriptor) -> Outcome<Blob> {
        let missing = || Failure::new(format!("{} lacks blob {}", self.place, wanted.digest));
        match &self.form {
            // Its digest was taken when the archive was opened.
            Form::Docker { names, .. } => {
                let name = names.get(&wanted.digest).ok_or_else(missing)?;
                self.place.open(name)?.ok_or_else(missing)
            }
            Form::Layout => {
                let name = format!("blobs/{}", wanted.digest.to_string().replace(':', "/"));
                let blob = self.place.open(name.as_bytes())?.ok_or_else(missing)?;
                let what = format!("blob {} in {}", wanted.digest, self.place);
                let came = Digest::of_part(&blob.file, blob.window, || format!("reading {what}"))?;
                check(came, wanted.digest, &what)?;
                Ok(blob)
            }
        }
    }
}

/// The incumbents name a file after the last part of the reference.
fn last_name(reference: &str) -> (String, String) {
    let last = reference.trim_end_matches('/').rsplit('/').next().unwrap_or(reference);
    let (name, tag) = last.split_once(':').unwrap_or((last, "latest"));
    let tag = if tag.is_empty() { "latest" } else { tag };
    (shown(name), shown(tag.replace(':', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_its_name_from_the_end_of_a_reference() {
        for (reference, name, tag) in [
            ("dir/layout:v1", "layout", "v1"),
            ("layout", "layout", "latest"),
            ("/x/box.tar", "box.tar", "latest"),
            ("box.tar:team/app:v2", "app", "v2"),
            ("box.tar:app:v2", "box.tar", "app_v2"),
            ("layout/", "layout", "latest"),
        ] {
            assert_eq!(last_name(reference), (name.to_owned(), tag.to_owned()), "{reference}");
        }
    }
}
