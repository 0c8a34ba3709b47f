//! From a reference to an image on this machine.

use crate::cache::Cache;
use crate::digest::hex;
use crate::documents::{Manifest, Platform};
use crate::image::Image;
use crate::native;
use crate::oci_sif::{self, Layers};
use crate::platform;
use crate::registry::{Access, Registry};
use crate::source::{Found, Source};
use frontend::build::{Origin, Tools};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, answer, reference};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::Existing;
use frontend::making::Interrupts;
use frontend::message::shown;
use frontend::site;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a SIF that a registry stores whole is said to be, now and by old versions of the incumbents, who misspelt it.
const SIF_TYPES: [&str; 2] = [SIF_LAYER, "appliciation/vnd.sylabs.sif.layer.tar"];
/// The media type of such a SIF.
pub(crate) const SIF_LAYER: &str = "application/vnd.sylabs.sif.layer.v1.sif";

/// What every fetch needs.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) access: Access<'a>,
    pub(crate) cache: &'a Cache,
    pub(crate) platform: &'a Platform,
    pub(crate) tools: Tools<'a>,
}

/// Fetches what a source has for a platform, as a SIF in the cache: one that is stored whole as it is, an image as a
/// native SIF, or with `--oci` as an OCI-SIF.
///
/// # Errors
/// Says why there is none.
pub(crate) fn sif(source: &Source<'_>, origin: &Origin, job: Job<'_>) -> Outcome<PathBuf> {
    let (given, scheme) = (job.access.given, origin.bootstrap.as_str());
    let layers = if given.is_on("keep-layers") { Layers::Kept } else { Layers::Squashed };
    let found = source.image(job.platform)?;
    match source {
        Source::Registry(registry) if scheme == "oras" => stored_sif(registry, &found, "oras", job),
        Source::Registry(registry) if scheme == "library" && is_stored(&found.manifest) => {
            if given.is_on("oci") {
                return Err(Failure::new("the library has a native SIF for this, not an image with layers")
                    .hint("Fetch it without --oci"));
            }
            stored_sif(registry, &found, "library", job)
        }
        _ if given.is_on("oci") => oci_sif(source, &found, layers, job),
        _ if layers == Layers::Kept => {
            Err(Failure::new("a native SIF has one layer only, so --keep-layers says nothing")
                .hint("Only an OCI-SIF has several: add --oci"))
        }
        _ => native_sif(source, &found, origin, job),
    }
}

/// Whether a manifest is that of a SIF which a registry stores whole.
fn is_stored(manifest: &Manifest) -> bool {
    manifest.layers.first().is_some_and(|layer| SIF_TYPES.contains(&layer.media_type.as_str()))
}

/// Fetches a SIF that a registry stores whole.
fn stored_sif(registry: &Registry<'_>, found: &Found, kind: &str, job: Job<'_>) -> Outcome<PathBuf> {
    let layers = &found.manifest.layers;
    let sif = job.cache.image(kind, &hex(found.digest))?;
    if sif.exists() {
        return Ok(sif);
    }
    let [layer] = layers.as_slice() else {
        return Err(Failure::new(format!("this is no SIF: it has {} parts", layers.len()))
            .hint("A container image is fetched with docker://"));
    };
    if !is_stored(&found.manifest) {
        return Err(Failure::new(format!(
            "this is no SIF but something of type {}",
            shown(&layer.media_type)
        ))
        .hint("A container image is fetched with docker://"));
    }
    registry.fetch(std::slice::from_ref(layer), job.cache)?;
    // It moves: nothing else is ever made of this blob.
    let blob = job.cache.blob(layer.digest)?;
    std::fs::rename(&blob, &sif).doing(|| format!("storing the image as {}", shown(&sif)))?;
    Ok(sif)
}

/// Makes a native SIF of an image, in the cache.
fn native_sif(source: &Source<'_>, found: &Found, origin: &Origin, job: Job<'_>) -> Outcome<PathBuf> {
    let fix_permissions = job.access.given.is_on("fix-perms");
    let suffix = if fix_permissions { "-permissions" } else { "" };
    let sif = job.cache.image("oci-tmp", &(hex(found.digest) + suffix))?;
    if sif.exists() {
        return Ok(sif);
    }
    let (_, image) = image(source, &found.manifest, job)?;
    native::make(&image, origin, (&sif, Existing::Replace), fix_permissions, job.tools)?;
    Ok(sif)
}

/// Makes an OCI-SIF of an image, in the cache.
fn oci_sif(source: &Source<'_>, found: &Found, layers: Layers, job: Job<'_>) -> Outcome<PathBuf> {
    let name = match layers {
        Layers::Squashed => hex(found.digest),
        Layers::Kept => hex(found.digest) + "-layers",
    };
    let sif = job.cache.image("oci-sif", &name)?;
    if sif.exists() {
        return Ok(sif);
    }
    let (config, image) = image(source, &found.manifest, job)?;
    oci_sif::make(found, &config, &image, layers, &sif, job.tools)?;
    Ok(sif)
}

/// Brings the configuration and the layers of an image together.
fn image<'a>(source: &Source<'_>, manifest: &Manifest, job: Job<'a>) -> Outcome<(Vec<u8>, Image<'a>)> {
    let wanted: Vec<_> = [&manifest.config].into_iter().chain(&manifest.layers).cloned().collect();
    let mut blobs = source.blobs(&wanted, job.cache)?;
    let config = blobs.remove(0).document()?;
    let image = Image::new(manifest, &config, blobs, job.tools)?;
    Ok((config, image))
}

/// Fetches an image that is to be run or built from, and prints where it is. Without a cache that is a directory of its
/// own, which whoever asked removes.
///
/// # Errors
/// Says why there is none.
pub(crate) fn for_use(invocation: &Invocation, given: &Given, source: Option<&OsString>) -> Result<(), Stop> {
    let named = source.map(|source| reference::split(source)).transpose()?.flatten();
    let Some((scheme, rest)) = named else {
        return Err(Failure::new("this image needs not be fetched").into());
    };
    let interrupts = Interrupts::hold()?;
    let programs = site::programs(&site::load()?);
    let cache = Cache::open(invocation, given.is_on("disable-cache"))?;
    let job = Job {
        access: Access { invocation, given },
        cache: &cache,
        platform: &platform::wanted(given)?,
        tools: Tools { programs: &programs, interrupts: &interrupts },
    };
    let source = Source::of(scheme, rest, &job.access, &interrupts)?;
    let sif = sif(&source, &Origin::new(scheme, rest), job)?;
    let sif = cache.keep(sif)?;
    answer::print([sif.as_os_str().as_bytes(), b"\n"].concat())?;
    Ok(())
}
