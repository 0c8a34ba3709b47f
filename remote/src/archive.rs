//! A squashfs layer as the compressed tar archive that other tools have in its place.

use crate::digest::Hashing;
use crate::image::{Blob, Image};
use crate::layers::{Marks, Tree};
use flate2::Compression;
use flate2::write::GzEncoder;
use frontend::error::{Doing, Outcome};
use frontend::making::Staging;
use frontend::oci_sif::media_type;
use frontend::sif::Digest;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};

/// Bytes that are collected before they are compressed or written.
const BUFFER_BYTES: usize = 256 << 10;

/// The archive, in a file without a name.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The digest of what is stored.
    pub(crate) digest: Digest,
    /// The digest of the archive without its compression.
    pub(crate) content: Digest,
    /// What is stored.
    pub(crate) blob: Blob,
}

impl Archive {
    /// Makes one of a layer.
    ///
    /// # Errors
    /// The layer cannot be read; there is no room for the archive.
    pub(crate) fn of(image: &Image<'_>, number: usize) -> Outcome<Self> {
        let writing = || "writing a layer as a tar archive".to_owned();
        let mut tree = Tree::for_one_layer();
        image.add_to(&mut tree, number)?;
        let staging = Staging::in_temporary_directory()?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(staging.path().join("layer"));
        let file = file.doing(writing)?;
        let stored = Hashing::new(BufWriter::with_capacity(BUFFER_BYTES, file.try_clone().doing(writing)?));
        let mut plain = Hashing::new(GzEncoder::new(stored, Compression::default()));
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, &mut plain);
        tree.write(buffered, Marks::Registry, |number| image.layer(number))?;
        let (gzip, content) = plain.into_parts();
        let (mut out, digest) = gzip.finish().doing(writing)?.into_parts();
        out.flush().doing(writing)?;
        Ok(Self { digest, content, blob: Blob::whole(file)? })
    }

    /// What a manifest says of it.
    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": media_type::LAYER_GZIP, "size": self.blob.window.size, "digest": self.digest.to_string() })
    }
}
