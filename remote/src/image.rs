//! An OCI image whose parts are all on this machine.

use crate::digest::{self, Hashing};
use crate::documents::{self, Config, Manifest};
use crate::layers::{Tree, decompressed};
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Interrupts;
use frontend::message::{self, shown};
use frontend::oci_sif::{LayerType, media_type};
use protocol::Window;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes read between two looks at whether the command was asked to end.
const LOOK_EVERY_BYTES: u64 = 1 << 20;

/// The image.
#[derive(Debug)]
pub(crate) struct Image {
    /// The configuration.
    pub(crate) config: Config,
    /// The layers, lowest first.
    pub(crate) layers: Vec<Blob>,
}

/// A part of a file, where a blob is.
#[derive(Debug)]
pub(crate) struct Blob {
    /// The file.
    pub(crate) file: File,
    /// The part.
    pub(crate) window: Window,
}

impl Blob {
    /// All of a file.
    ///
    /// # Errors
    /// Its length cannot be told.
    pub(crate) fn whole(file: File) -> Outcome<Self> {
        let size = file.metadata().doing(|| "looking at a blob".into())?.len();
        Ok(Self { file, window: Window { offset: 0, size } })
    }

    /// A few bytes, in a file without a name.
    ///
    /// # Errors
    /// There is no room in memory.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Outcome<Self> {
        let storing = || "storing a document".to_owned();
        let memory = nix::sys::memfd::memfd_create(c"document", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
        let file = File::from(memory.doing(storing)?);
        file.write_all_at(bytes, 0).doing(storing)?;
        Self::whole(file)
    }

    /// Reads it from its beginning.
    pub(crate) fn reader(&self) -> impl Read + '_ {
        self.reader_at(0)
    }

    /// Reads it from a place in it.
    pub(crate) fn reader_at(&self, at: u64) -> impl Read + '_ {
        Reader { blob: self, at }
    }

    /// All of it, if it is no longer than a document may be.
    ///
    /// # Errors
    /// It is, or cannot be read.
    pub(crate) fn document(&self) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = documents::DOCUMENT_BYTES_MAX + 1;
        self.reader()
            .take(limit)
            .read_to_end(&mut bytes)
            .doing(|| "reading a document of the image".into())?;
        Ok(bytes)
    }
}

struct Reader<'a> {
    blob: &'a Blob,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.window.size - self.at).unwrap_or(usize::MAX);
        let wanted = into.len().min(left);
        let read = self
            .blob
            .file
            .read_at(into.get_mut(..wanted).unwrap_or_default(), self.blob.window.offset + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A reader that fails when the command was asked to end.
struct Attentive<'a, R> {
    inner: R,
    until_look: u64,
    interrupts: &'a Interrupts,
}

impl<R: Read> Read for Attentive<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.until_look == 0 {
            if self.interrupts.pending() {
                return Err(io::Error::other("interrupted"));
            }
            self.until_look = LOOK_EVERY_BYTES;
        }
        let read = self.inner.read(into)?;
        self.until_look = self.until_look.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Image {
    /// Puts an image together.
    ///
    /// # Errors
    /// It is no container image, or its documents do not go with each other.
    pub(crate) fn new(manifest: &Manifest, config: &[u8], layers: Vec<Blob>) -> Outcome<Self> {
        let config: Config = documents::read(config, "configuration")?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() || layers.len() != manifest.layers.len() {
            return Err(Failure::new(
                "the configuration of the image does not have as many layers as its manifest",
            ));
        }
        Ok(Self { config, layers })
    }

    /// The tar stream of a layer.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn layer(&self, number: usize) -> Outcome<Box<dyn Read + '_>> {
        let blob = self.layers.get(number).ok_or_else(|| Failure::new("the image has no such layer"))?;
        decompressed(blob.reader()).doing(|| format!("reading layer {}", number + 1))
    }

    /// All layers in one tree. The content of each is held against its `diff_id`.
    ///
    /// # Errors
    /// A layer cannot be read or is not what the configuration says; the command was asked to end.
    pub(crate) fn merged(&self, interrupts: &Interrupts) -> Outcome<Tree> {
        let mut tree = Tree::new();
        for number in 0..self.layers.len() {
            self.add_to(&mut tree, number, interrupts)?;
        }
        Ok(tree)
    }

    /// Adds one layer to a tree of those below it.
    ///
    /// # Errors
    /// As [`Image::merged`].
    pub(crate) fn add_to(&self, tree: &mut Tree, number: usize, interrupts: &Interrupts) -> Outcome<()> {
        let reading = || format!("reading layer {}", number + 1);
        message::verbose(format!("Reading layer {} of {}", number + 1, self.layers.len()));
        let stream = Attentive { inner: self.layer(number)?, until_look: 0, interrupts };
        let rest = tree.apply(number, Hashing::new(stream)).map_err(|failure| failure.context(reading()))?;
        let came = rest.finish().doing(reading)?;
        let expected = self.config.rootfs.diff_ids.get(number).map(|text| digest::parse(text)).transpose()?;
        digest::check(came, expected.unwrap_or(came), &format!("layer {}", number + 1))
    }
}

/// Checks that a manifest is that of a container image whose layers are tar archives.
///
/// # Errors
/// It is another artifact, or the image is one of layers that have to stay as they are.
pub(crate) fn check_kind(manifest: &Manifest) -> Outcome<()> {
    let config = manifest.config.media_type.as_str();
    if !matches!(config, "" | media_type::CONFIG | media_type::DOCKER_CONFIG) {
        return Err(Failure::new(format!(
            "this is no container image but something of type {}",
            shown(config)
        ))
        .hint("A SIF in a registry is fetched with oras://"));
    }
    for layer in &manifest.layers {
        let kind = layer.media_type.as_str();
        if LayerType::of_media_type(kind).is_some() {
            return Err(Failure::new("the image has layers that are file systems, as an OCI-SIF has them")
                .hint("Fetch it with --oci"));
        }
        if !kind.contains("tar") {
            return Err(Failure::new(format!("the image has a layer of unknown type {}", shown(kind))));
        }
    }
    Ok(())
}
