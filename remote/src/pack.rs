//! Squashfs file systems out of trees.

use crate::image::Image;
use crate::layers::{Marks, Tree};
use frontend::build::{self, Tools};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::NewFile;
use frontend::sif::Digest;
use protocol::Window;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Permissions of the packed file system while it has no name.
const PACKED_MODE: u32 = 0o600;
/// Bytes handed to the packer at once: what a pipe may hold.
const PIPE_BUFFER_BYTES: usize = 1 << 20;

/// A squashfs beside its destination, which goes with this value.
#[derive(Debug)]
pub(crate) struct Packed(NewFile);

impl Packed {
    /// Its file.
    pub(crate) fn file(&self) -> &File {
        self.0.file()
    }

    /// All of the file.
    ///
    /// # Errors
    /// Its length cannot be told.
    pub(crate) fn part(&self) -> Outcome<Window> {
        let size = self.file().metadata().doing(|| "looking at the packed image".into())?.len();
        Ok(Window { offset: 0, size })
    }

    /// Its digest.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn digest(&self) -> Outcome<Digest> {
        Digest::of_part(self.file(), self.part()?, || "reading the packed image".into())
    }
}

/// Packs a tree of layers of an image into a squashfs beside `target`.
///
/// # Errors
/// A layer cannot be read; the packer is missing or failed.
pub(crate) fn pack(tree: &Tree, image: &Image<'_>, target: &Path, tools: Tools<'_>) -> Outcome<Packed> {
    let packed = NewFile::beside(target, PACKED_MODE)?;
    let (reader, writer) = std::io::pipe().doing(|| "making a pipe".into())?;
    std::thread::scope(|threads| {
        let feeding = threads.spawn(move || {
            let writer = BufWriter::with_capacity(PIPE_BUFFER_BYTES, writer);
            tree.write(writer, Marks::Overlay, |layer| image.layer(layer))
        });
        let done = build::pack_archive(reader.into(), packed.file(), target, tools);
        // Nobody reads any more, so this comes to an end.
        let fed = feeding.join().unwrap_or_else(|_| Err(Failure::new("what packs the image panicked")));
        match fed {
            // What could not be read or written says more than the packer that found its input too short.
            Err(cause) if !cause.to_string().contains("Broken pipe") => Err(cause),
            fed => done.and(fed),
        }
    })?;
    let root = tree.root();
    build::describe_root(packed.file(), (root.uid, root.gid, root.mode), root.mtime, tools)?;
    Ok(Packed(packed))
}
