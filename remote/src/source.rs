//! Where an image comes from: a registry, or a layout or archive of this machine.

use crate::cache::Cache;
use crate::documents::{Descriptor, Manifest, Platform};
use crate::image::Blob;
use crate::local::Local;
use crate::registry::{Access, Registry};
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Interrupts;
use frontend::message::shown;
use frontend::sif::Digest;
use std::fs::File;

/// What a reference names.
pub(crate) enum Source<'a> {
    /// A repository of a registry.
    Registry(Registry<'a>),
    /// Files of this machine.
    Local(Local),
}

/// The manifest of one image.
pub(crate) struct Found {
    /// As it is stored.
    pub(crate) bytes: Vec<u8>,
    /// The digest of these bytes.
    pub(crate) digest: Digest,
    /// What they say.
    pub(crate) manifest: Manifest,
}

impl<'a> Source<'a> {
    /// Finds what a reference names. Nothing is sent yet.
    ///
    /// # Errors
    /// Images with this scheme cannot be fetched; the reference is none; the files are not there.
    pub(crate) fn of(
        scheme: &str,
        rest: &str,
        access: &Access<'_>,
        interrupts: &'a Interrupts,
    ) -> Outcome<Self> {
        let instead = match scheme {
            "docker" | "oras" | "library" => {
                return Registry::of(scheme, rest, access, interrupts).map(Self::Registry);
            }
            "oci" | "oci-archive" | "docker-archive" => return Local::open(scheme, rest).map(Self::Local),
            "shub" => "Singularity Hub was closed in 2021; look for the image in a registry",
            "docker-daemon" => "Save the image with 'docker save', and name the file: docker-archive:FILE",
            _ => "Fetch the image with curl or wget, and name the file",
        };
        Err(Failure::new(format!("{scheme} images are not supported")).hint(instead))
    }

    /// The last part of the name and the tag, which a file takes its name from.
    pub(crate) fn last_name(&self) -> (&str, &str) {
        match self {
            Self::Registry(registry) => registry.last_name(),
            Self::Local(local) => local.last_name(),
        }
    }

    /// Finds the image for a platform.
    ///
    /// # Errors
    /// There is none; the registry cannot be reached or refuses.
    pub(crate) fn image(&self, platform: &Platform) -> Outcome<Found> {
        match self {
            Self::Registry(registry) => registry.image(platform),
            Self::Local(local) => local.image(platform),
        }
    }

    /// Some blobs of the image, each held against its digest.
    ///
    /// # Errors
    /// One of them is missing, cannot be fetched, or is not what its digest says; the disk is full.
    pub(crate) fn blobs(&self, wanted: &[Descriptor], cache: &Cache) -> Outcome<Vec<Blob>> {
        match self {
            Self::Local(local) => wanted.iter().map(|blob| local.blob(blob)).collect(),
            Self::Registry(registry) => {
                registry.fetch(wanted, cache)?;
                let open = |blob: &Descriptor| {
                    let path = cache.blob(blob.digest)?;
                    Blob::whole(File::open(&path).doing(|| format!("opening {}", shown(&path)))?)
                };
                wanted.iter().map(open).collect()
            }
        }
    }
}
