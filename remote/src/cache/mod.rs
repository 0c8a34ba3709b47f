//! What is kept of fetched images: `cache/` in the user's configuration directory, or in what `*_CACHEDIR` names.
//!
//! `blob/blobs/sha256/` has manifests, configurations and layers as registries gave them, under their digests;
//! `oci-tmp/` the native SIFs made of them, `oci-sif/` the OCI-SIFs, and `oras/` the SIFs that registries store whole,
//! under the digests of the manifests. The incumbents use the same places.

mod commands;
mod entries;

pub(crate) use commands::{clean, list};

use crate::digest::hex;
use frontend::cli::Invocation;
use frontend::error::{Doing, Outcome};
use frontend::making::Staging;
use frontend::message::shown;
use frontend::sif::Digest;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where blobs are.
const BLOBS: &str = "blob/blobs/sha256";
/// How the names of blobs end that are being fetched.
pub(crate) const PART: &str = "part";

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    /// With `--disable-cache`: removed when this value is dropped.
    temporary: Option<Staging>,
}

impl Cache {
    /// The user's cache, or one that exists for this command only. Nothing is made yet.
    ///
    /// # Errors
    /// The user's home is not known.
    pub(crate) fn open(invocation: &Invocation, disabled: bool) -> Outcome<Self> {
        if disabled {
            let staging = Staging::in_temporary_directory()?;
            return Ok(Self { root: staging.path().to_owned(), temporary: Some(staging) });
        }
        Ok(Self { root: root(invocation)?, temporary: None })
    }

    /// The path of a blob, in a directory that is there.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub(crate) fn blob(&self, digest: Digest) -> Outcome<PathBuf> {
        Ok(self.directory(BLOBS)?.join(hex(digest)))
    }

    /// The path of an image of some kind.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub(crate) fn image(&self, kind: &str, name: &str) -> Outcome<PathBuf> {
        Ok(self.directory(kind)?.join(name))
    }

    /// Sees to it that an image outlives the cache: one that is for this command only is moved to a directory of its own.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn keep(self, image: PathBuf) -> Outcome<PathBuf> {
        if self.temporary.is_none() {
            return Ok(image);
        }
        let own = Staging::in_temporary_directory()?;
        let kept = own.path().join("image.sif");
        std::fs::rename(&image, &kept).doing(|| format!("moving the image to {}", shown(&kept)))?;
        own.keep();
        Ok(kept)
    }

    fn directory(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.root.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .doing(|| format!("creating cache directory {}", shown(&path)))?;
        Ok(path)
    }
}

/// Whether some process is fetching this at the moment.
fn is_being_made(path: &Path) -> bool {
    let is_part =
        path.extension().is_some_and(|ending| ending.as_encoded_bytes().starts_with(PART.as_bytes()));
    let Some(file) = File::open(path).ok().filter(|_| is_part) else { return false };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

fn root(invocation: &Invocation) -> Outcome<PathBuf> {
    if let Some((_, directory)) = invocation.host.prefixed("CACHEDIR") {
        let directory = std::path::absolute(directory).doing(|| "looking for the cache".into())?;
        return Ok(directory.join("cache"));
    }
    Ok(invocation.configuration_directory()?.join("cache"))
}
