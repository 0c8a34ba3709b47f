//! Blobs and manifests into a registry.

use super::Registry;
use crate::image::Blob;
use frontend::error::{Doing, Outcome};
use frontend::making::Progress;
use frontend::sif::Digest;
use futures_util::stream;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use std::io::Read;
use std::sync::Arc;

/// Bytes sent at once.
const CHUNK_BYTES: u64 = 4 << 20;

impl Registry<'_> {
    /// Sends an image: what the registry lacks of its blobs, then the manifest that names them.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses, or a blob is not what its digest says.
    pub(crate) fn push(&self, blobs: Vec<(Digest, Blob)>, manifest: &[u8], media_type: &str) -> Outcome<()> {
        let pushing = || format!("pushing {}", self.name);
        self.connection
            .wait(pushing, self.client.auth(&self.reference, &self.auth, RegistryOperation::Push))?;
        let progress =
            Arc::new(Progress::towards("Uploading", blobs.iter().map(|(_, blob)| blob.window.size).sum()));
        let mut sent = 0;
        for (digest, blob) in blobs {
            let size = blob.window.size;
            let name = digest.to_string();
            if !self.connection.wait(pushing, self.client.blob_exists(&self.reference, &name))? {
                let chunks = chunks(blob, Arc::clone(&progress), sent);
                let send =
                    self.client.push_blob_stream(&self.reference, stream::iter(chunks), &name, Some(size));
                self.connection.wait(pushing, send)?;
            }
            sent += size;
            progress.reached(sent);
        }
        let media_type = media_type.parse().doing(pushing)?;
        let send = self.client.push_manifest_raw(&self.reference, manifest.to_vec(), media_type);
        self.connection.wait(pushing, send).map(drop)
    }
}

type Chunk = Result<bytes::Bytes, OciDistributionError>;

/// The content of a blob, piece by piece; the registry compares its digest at the end.
fn chunks(blob: Blob, progress: Arc<Progress>, before: u64) -> impl Iterator<Item = Chunk> + Send + 'static {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= blob.window.size {
            return None;
        }
        let mut chunk = Vec::new();
        match blob.reader_at(at).take(CHUNK_BYTES).read_to_end(&mut chunk) {
            Ok(0) => Some(Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())),
            Ok(read) => {
                at += read as u64;
                progress.reached(before + at);
                Some(Ok(chunk.into()))
            }
            Err(error) => Some(Err(error.into())),
        }
    })
}
