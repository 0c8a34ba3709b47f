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

/// What every fetch needs.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) access: Access<'a>,
    pub(crate) cache: &'a Cache,
    pub(crate) platform: &'a Platform,
    pub(crate) tools: Tools<'a>,
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
    let sif = native_sif(&registry, &Origin::new(scheme, rest), job)?;
    let sif = cache.keep(sif)?;
    answer::print([sif.as_os_str().as_bytes(), b"\n"].concat())?;
    Ok(())
}
