//! From a reference to an image on this machine.

use crate::cache::Cache;
use crate::documents::Platform;
use crate::image::{self, Blob, Image};
use crate::native;
use crate::platform;
use crate::registry::{Access, Registry};
use frontend::build::{Origin, Tools};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, answer, reference};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::Existing;
use frontend::making::Interrupts;
use frontend::message::shown;
use frontend::site;
use std::ffi::OsString;
use std::fs::File;
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

/// Checks that images with a scheme can be fetched at all.
///
/// # Errors
/// They cannot; the hint says what can be done.
pub(crate) fn check_scheme(scheme: &str) -> Outcome<()> {
    let instead = match scheme {
        "docker" | "oras" => return Ok(()),
        "library" => {
            "The library speaks a protocol of its own; many of its images are in registries too: docker://NAME"
        }
        "shub" => "Singularity Hub was closed in 2021; look for the image in a registry",
        "docker-daemon" => "Save the image with 'docker save', and put it into a registry with skopeo",
        "oci" | "oci-archive" | "docker-archive" => {
            "Put the image into a registry with skopeo; one on this machine will do, with --no-https"
        }
        _ => "Fetch the image with curl or wget, and name the file",
    };
    Err(Failure::new(format!("{scheme} images are not supported")).hint(instead))
}

/// Fetches what a reference names, as a SIF in the cache.
///
/// # Errors
/// Says why there is none.
pub(crate) fn sif(scheme: &str, rest: &str, registry: &Registry<'_>, job: Job<'_>) -> Outcome<PathBuf> {
    match scheme {
        "oras" => stored_sif(registry, job),
        _ => native_sif(registry, &Origin::new(scheme, rest), job),
    }
}

/// Fetches a SIF that a registry stores whole.
fn stored_sif(registry: &Registry<'_>, job: Job<'_>) -> Outcome<PathBuf> {
    let (_, digest, manifest) = registry.image_manifest(job.platform)?;
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

/// Fetches the image that a registry has for a platform, and makes a native SIF of it, in the cache.
///
/// # Errors
/// Says why there is none.
pub(crate) fn native_sif(registry: &Registry<'_>, origin: &Origin, job: Job<'_>) -> Outcome<PathBuf> {
    let (_, digest, manifest) = registry.image_manifest(job.platform)?;
    let sif = job.cache.image("oci-tmp", digest)?;
    if sif.exists() {
        return Ok(sif);
    }
    image::check_kind(&manifest)?;
    let blobs: Vec<_> = [&manifest.config].into_iter().chain(&manifest.layers).cloned().collect();
    registry.fetch(&blobs, job.cache)?;
    let open = |digest| -> Outcome<Blob> {
        let path = job.cache.blob(digest)?;
        Blob::whole(File::open(&path).doing(|| format!("opening {}", shown(&path)))?)
    };
    let config = open(manifest.config.digest)?.document()?;
    let layers = manifest.layers.iter().map(|layer| open(layer.digest)).collect::<Outcome<_>>()?;
    let image = Image::new(&manifest, &config, layers)?;
    native::make(&image, origin, &sif, Existing::Replace, job.tools)?;
    Ok(sif)
}

/// Fetches an image that is to be run or built from, and prints where it is. Without a cache that is a directory of its
/// own, which whoever asked removes.
///
/// # Errors
/// Says why there is none.
pub(crate) fn for_use(invocation: &Invocation, given: &Given, source: Option<&OsString>) -> Result<(), Stop> {
    let named = source.map(|source| reference::split(source)).transpose()?.flatten();
    let Some((scheme, rest)) = named else {
        return Err(Failure::new("this image is on this machine and needs no network").into());
    };
    check_scheme(scheme)?;
    let interrupts = Interrupts::hold()?;
    let programs = site::programs(&site::load()?);
    let cache = Cache::open(invocation, given.is_on("disable-cache"))?;
    let job = Job {
        access: Access { invocation, given },
        cache: &cache,
        platform: &platform::wanted(given)?,
        tools: Tools { programs: &programs, interrupts: &interrupts },
    };
    let registry = Registry::of(scheme, rest, &job.access, &interrupts)?;
    let sif = sif(scheme, rest, &registry, job)?;
    let sif = cache.keep(sif)?;
    answer::print([sif.as_os_str().as_bytes(), b"\n"].concat())?;
    Ok(())
}
