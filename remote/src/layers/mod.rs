//! Layers of an OCI image: tar streams that, one upon the other, describe a root file system.
//!
//! Nothing of them is ever unpacked. [`Tree`] takes in what each layer says (names, owners, devices, deletions) and where
//! in its stream the content of each file is; then it writes one tar stream of what is left, reading the layers
//! once more. So owners, devices and odd names survive without privilege, and no name in a layer can reach a file of
//! this machine.

mod apply;
mod compression;
mod marks;
mod tar_reader;
mod tree;
mod write;

pub(crate) use compression::decompressed;
pub(crate) use marks::Marks;
pub(crate) use tar_reader::{Entries, Kind};
pub(crate) use tree::{Attributes, Put, Tree};
