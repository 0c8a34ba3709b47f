//! From a reference to an image on this machine.

use crate::cache::Cache;
use crate::documents::{Manifest, Platform};
use crate::image::{self, Image};
use crate::native;
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

/// Fetches what a source has for a platform, as a SIF in the cache.
///
/// # Errors
/// Says why there is none.
pub(crate) fn sif(source: &Source<'_>, origin: &Origin, job: Job<'_>) -> Outcome<PathBuf> {
    match source {
        Source::Registry(registry) if origin.bootstrap == "oras" => stored_sif(registry, job),
        _ => native_sif(source, origin, job),
    }
}

/// Fetches a SIF that a registry stores whole.
fn stored_sif(registry: &Registry<'_>, job: Job<'_>) -> Outcome<PathBuf> {
    let Found { digest, manifest, .. } = registry.image(job.platform)?;
    let sif = job.cache.image("oras", digest)?;
    if sif.exists() {
        return Ok(sif);
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(Failure::new(format!("this is no SIF: it has {} parts", manifest.layers.len()))
            .hint("A container image is fetched with docker://"));
    };
    if !SIF_TYPES.contains(&layer.media_type.as_str()) {
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
fn native_sif(source: &Source<'_>, origin: &Origin, job: Job<'_>) -> Outcome<PathBuf> {
    let found = source.image(job.platform)?;
    let sif = job.cache.image("oci-tmp", found.digest)?;
    if sif.exists() {
        return Ok(sif);
    }
    image::check_kind(&found.manifest)?;
    let image = image(source, &found.manifest, job.cache)?;
    native::make(&image, origin, &sif, Existing::Replace, job.tools)?;
    Ok(sif)
}

/// Brings the parts of an image together.
fn image(source: &Source<'_>, manifest: &Manifest, cache: &Cache) -> Outcome<Image> {
    let wanted: Vec<_> = [&manifest.config].into_iter().chain(&manifest.layers).cloned().collect();
    let mut blobs = source.blobs(&wanted, cache)?;
    let config = blobs.remove(0).document()?;
    Image::new(manifest, &config, blobs)
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
