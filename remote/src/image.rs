//! An OCI image whose parts are all on this machine.

use crate::digest::{self, Hashing};
use crate::documents::{self, Config, Manifest};
use crate::layers::{Tree, decompressed};
use frontend::build::{self, Tools};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file;
use frontend::making::{Interrupts, Staging};
use frontend::message::{self, shown};
use frontend::oci_sif::{LayerType, media_type};
use frontend::sif::Digest;
use protocol::Window;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes read between two looks at whether the command was asked to end.
const LOOK_EVERY_BYTES: u64 = 1 << 20;

/// The image.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// The configuration.
    pub(crate) config: Config,
    /// The layers, lowest first.
    pub(crate) layers: Vec<Layer>,
    tools: Tools<'a>,
}

/// A layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// What it is stored as.
    pub(crate) form: Form,
    /// The digest it is stored under.
    pub(crate) digest: Digest,
    /// Where it is.
    pub(crate) blob: Blob,
}

/// What a layer is stored as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// A tar archive, compressed or not.
    Tar,
    /// A squashfs, as OCI-SIF files have it.
    Squashfs,
    /// The overlay of an OCI-SIF.
    Ext3,
}

impl Form {
    fn of(media_type: &str) -> Outcome<Self> {
        match LayerType::of_media_type(media_type) {
            Some(LayerType::Squashfs) => Ok(Self::Squashfs),
            Some(LayerType::Ext3) => Ok(Self::Ext3),
            None if media_type.contains("tar") => Ok(Self::Tar),
            None => Err(Failure::new(format!("the image has a layer of unknown type {}", shown(media_type)))),
        }
    }
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

    /// What is in it as a tar stream, if it is a squashfs.
    ///
    /// # Errors
    /// The program for that is missing; there is no room for the part as a file of its own.
    pub(crate) fn squashfs_as_archive(&self, tools: Tools<'_>) -> Outcome<impl Read + use<>> {
        let whole = self.file.metadata().doing(|| "looking at a layer".into())?.len();
        if self.window == (Window { offset: 0, size: whole }) {
            return build::as_archive(&self.file, tools);
        }
        let copying = || "copying a layer".to_owned();
        let staging = Staging::in_temporary_directory()?;
        let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
        let own = options.open(staging.path().join("layer")).doing(copying)?;
        own.set_len(self.window.size).doing(copying)?;
        file::copy(&self.file, self.window, &own, 0).doing(copying)?;
        build::as_archive(&own, tools)
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

impl<'a> Image<'a> {
    /// Puts an image together.
    ///
    /// # Errors
    /// It is no container image, or its documents do not go with each other.
    pub(crate) fn new(
        manifest: &Manifest,
        config: &[u8],
        blobs: Vec<Blob>,
        tools: Tools<'a>,
    ) -> Outcome<Self> {
        check_kind(manifest)?;
        let config: Config = documents::read(config, "configuration")?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() || blobs.len() != manifest.layers.len() {
            return Err(Failure::new(
                "the configuration of the image does not have as many layers as its manifest",
            ));
        }
        let mut layers = Vec::new();
        for (number, (layer, blob)) in (1..).zip(manifest.layers.iter().zip(blobs)) {
            let form = Form::of(&layer.media_type)?;
            if form == Form::Ext3 && number < manifest.layers.len() {
                return Err(Failure::new(format!(
                    "layer {number} of the image is an overlay, but not the last"
                )));
            }
            layers.push(Layer { form, digest: layer.digest, blob });
        }
        Ok(Self { config, layers, tools })
    }

    /// The layers that nothing is written to, lowest first: all but the overlay.
    pub(crate) fn read_only(&self) -> &[Layer] {
        match self.layers.split_last() {
            Some((last, below)) if last.form == Form::Ext3 => below,
            _ => &self.layers,
        }
    }

    /// The tar stream of a layer.
    ///
    /// # Errors
    /// It cannot be read, or is an overlay.
    pub(crate) fn layer(&self, number: usize) -> Outcome<Box<dyn Read + '_>> {
        let reading = || format!("reading layer {}", number + 1);
        let layer = self.layers.get(number).ok_or_else(|| Failure::new("the image has no such layer"))?;
        match layer.form {
            Form::Tar => decompressed(layer.blob.reader()).doing(reading),
            Form::Squashfs => Ok(Box::new(layer.blob.squashfs_as_archive(self.tools)?)),
            Form::Ext3 => Err(Failure::new("an overlay has no tar stream")),
        }
    }

    /// All layers in one tree, but the overlay. The content of each is held against its `diff_id`.
    ///
    /// # Errors
    /// A layer cannot be read or is not what the configuration says; the command was asked to end.
    pub(crate) fn merged(&self) -> Outcome<Tree> {
        let mut tree = Tree::new();
        for number in 0..self.read_only().len() {
            self.add_to(&mut tree, number)?;
        }
        Ok(tree)
    }

    /// Adds one layer to a tree: of those below it, or one for this layer only.
    ///
    /// # Errors
    /// As [`Image::merged`].
    pub(crate) fn add_to(&self, tree: &mut Tree, number: usize) -> Outcome<()> {
        let reading = || format!("reading layer {}", number + 1);
        message::verbose(format!("Reading layer {} of {}", number + 1, self.layers.len()));
        let stream =
            Attentive { inner: self.layer(number)?, until_look: 0, interrupts: self.tools.interrupts };
        let rest = tree.apply(number, Hashing::new(stream)).map_err(|failure| failure.context(reading()))?;
        let came = rest.finish().doing(reading)?;
        let content = match self.layers.get(number) {
            // Nothing packs it once more, and as a blob it was held against its digest.
            Some(Layer { form: Form::Squashfs | Form::Ext3, digest, .. }) => *digest,
            _ => came,
        };
        let expected = self.config.rootfs.diff_ids.get(number).map(|text| digest::parse(text)).transpose()?;
        digest::check(content, expected.unwrap_or(content), &format!("layer {}", number + 1))
    }
}

/// Checks that a manifest is that of a container image.
fn check_kind(manifest: &Manifest) -> Outcome<()> {
    let config = manifest.config.media_type.as_str();
    if !matches!(config, "" | media_type::CONFIG | media_type::DOCKER_CONFIG) {
        return Err(Failure::new(format!(
            "this is no container image but something of type {}",
            shown(config)
        ))
        .hint("A SIF in a registry is fetched with oras://"));
    }
    Ok(())
}
