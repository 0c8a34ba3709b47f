//! Blobs out of a registry into the cache: several at once, and from where an earlier attempt was cut off.

use super::connection::chain;
use super::{Registry, tell_retry};
use crate::cache::{self, Cache};
use crate::digest::{self, hex};
use crate::documents::Descriptor;
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Progress;
use frontend::message::shown;
use futures_util::StreamExt;
use futures_util::stream;
use nix::fcntl::{Flock, FlockArg};
use oci_client::client::{BlobResponse, SizedStream};
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Blobs fetched at the same time: as many as the incumbents, so that no registry takes offence.
const AT_ONCE: usize = 3;
/// How often a blob is asked for before that is a failure.
const ATTEMPTS: usize = 4;

/// How far a download has got.
struct Watch<'a> {
    bytes: Cell<u64>,
    progress: &'a Progress,
}

impl Watch<'_> {
    fn moved(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.progress.reached(self.bytes.get());
    }
}

impl Registry<'_> {
    /// Fetches blobs that the cache lacks. Whatever is in the cache afterwards under a digest has that digest.
    ///
    /// # Errors
    /// One of them cannot be fetched, or is not what its digest says; the disk is full.
    pub(crate) fn fetch(&self, blobs: &[Descriptor], cache: &Cache) -> Outcome<()> {
        let mut missing: Vec<(&Descriptor, PathBuf)> = Vec::new();
        for blob in blobs {
            let path = cache.blob(blob.digest)?;
            if !path.exists() && !missing.iter().any(|(other, _)| other.digest == blob.digest) {
                missing.push((blob, path));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let total = missing.iter().map(|(blob, _)| blob.size).fold(0, u64::saturating_add);
        let progress = Progress::towards("Downloading", total);
        let watch = Watch { bytes: Cell::new(0), progress: &progress };
        let watch = &watch;
        let work = async {
            let mut done = stream::iter(missing.iter().map(|(blob, path)| self.fetch_one(blob, path, watch)))
                .buffer_unordered(AT_ONCE);
            while let Some(one) = done.next().await {
                one?;
            }
            Ok::<(), Failure>(())
        };
        self.connection.wait(|| format!("fetching {}", self.name), work)
    }

    async fn fetch_one(&self, blob: &Descriptor, path: &Path, watch: &Watch<'_>) -> Outcome<()> {
        let what = format!("blob {} of {}", blob.digest, self.name);
        let mut part = Part::open(path)?;
        for attempt in 1.. {
            let before = part.taken;
            match self.fetch_rest(blob, &mut part, watch).await {
                Ok(()) => break,
                // One that gets somewhere may go on for ever; the network is what it is.
                Err(failure) if attempt < ATTEMPTS || part.taken > before => {
                    tell_retry(&what, &failure);
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Err(failure) => return Err(failure.context(format!("while fetching {what}"))),
            }
        }
        part.finish(blob, path, &what)
    }

    /// Asks for what is missing of a blob.
    async fn fetch_rest(&self, blob: &Descriptor, part: &mut Part, watch: &Watch<'_>) -> Outcome<()> {
        if part.taken > blob.size {
            part.begin_again()?;
        }
        if part.taken == blob.size {
            return Ok(());
        }
        let asked = blob.digest.to_string();
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let failed = |error: &(dyn std::error::Error + 'static)| Failure::new(chain(error));
        let mut stream: SizedStream = if part.taken == 0 {
            self.client
                .pull_blob_stream(&self.reference, asked.as_str())
                .await
                .map_err(|error| failed(&error))?
        } else {
            let rest =
                self.client.pull_blob_stream_partial(&self.reference, asked.as_str(), part.taken, None).await;
            match rest.map_err(|error| failed(&error))? {
                BlobResponse::Partial(stream) => stream,
                BlobResponse::Full(stream) => {
                    part.begin_again()?;
                    stream
                }
            }
        };
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| failed(&error))?;
            if part.taken + bytes.len() as u64 > blob.size {
                part.begin_again()?;
                return Err(Failure::new(format!("more than the promised {} bytes came", blob.size)));
            }
            part.take(&bytes)?;
            watch.moved(bytes.len() as u64);
        }
        if part.taken < blob.size {
            return Err(Failure::new(format!("only {} of {} bytes came", part.taken, blob.size)));
        }
        Ok(())
    }
}

/// What there is of a blob, in a file beside its place in the cache.
struct Part {
    file: Flock<File>,
    path: PathBuf,
    taken: u64,
    hash: Sha256,
}

impl Part {
    /// Takes up what an earlier attempt left. Where another process is at work on it, begins one of its own.
    fn open(path: &Path) -> Outcome<Self> {
        let shared = path.with_extension(cache::PART);
        let (file, path) = match locked(&shared)? {
            Some(file) => (file, shared),
            None => {
                let own = path.with_extension(format!("{}-{}", cache::PART, std::process::id()));
                let file = locked(&own)?;
                (file.ok_or_else(|| Failure::new(format!("{} is in use", shown(&own))))?, own)
            }
        };
        let mut part = Self { file, path, taken: 0, hash: Sha256::new() };
        part.hash_what_is_there().doing(|| format!("reading {}", shown(&part.path)))?;
        Ok(part)
    }

    fn hash_what_is_there(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 1 << 20];
        loop {
            match self.file.read(&mut chunk)? {
                0 => return Ok(()),
                read => {
                    self.hash.update(chunk.get(..read).unwrap_or_default());
                    self.taken += read as u64;
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.file.write_all(bytes).doing(|| format!("writing {}", shown(&self.path)))?;
        self.hash.update(bytes);
        self.taken += bytes.len() as u64;
        Ok(())
    }

    fn begin_again(&mut self) -> Outcome<()> {
        let begun = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        begun.doing(|| format!("writing {}", shown(&self.path)))?;
        self.hash = Sha256::new();
        self.taken = 0;
        Ok(())
    }

    /// Gives the whole blob its name, if it is what it should be.
    fn finish(self, blob: &Descriptor, path: &Path, what: &str) -> Outcome<()> {
        if let Err(failure) = digest::check(digest::finish(self.hash), blob.digest, what) {
            let _ = std::fs::remove_file(&self.path);
            return Err(failure);
        }
        let storing = || format!("storing blob {} in the cache", hex(blob.digest));
        self.file.sync_data().doing(storing)?;
        std::fs::rename(&self.path, path).doing(storing)
    }
}

/// Opens a file that nobody else is at work on; `None` if somebody is.
fn locked(path: &Path) -> Outcome<Option<Flock<File>>> {
    let opening = || format!("opening {}", shown(path));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .doing(opening)?;
    let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
        return Ok(None);
    };
    // Whoever had the lock before may just have given the file its final name.
    let ours = file.metadata().doing(opening)?;
    let there = std::fs::metadata(path).ok();
    Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())).then_some(file))
}
