//! What an image is, told by its content: one file per format.
//!
//! [`open`] opens the file once and hands out that descriptor for everything that follows: locks, loop devices,
//! further reading. The content is parsed in a child that can reach nothing else ([`crate::confined::reader`]).

use crate::oci_sif::OciSif;
use crate::sif;
use protocol::Window;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::PathBuf;

mod bytes;
mod condition;
mod defect;
mod detect;
mod ext3;
mod native;
mod opening;
mod squashfs;

pub use bytes::{Bytes, FileBytes};
pub use defect::Defect;
pub use detect::detect;
pub(crate) use ext3::probe as probe_ext3;
pub use opening::{
    check_file_system, inspect, inspect_ext3, open, open_regular, open_writable_if_permitted, unwritable,
};
pub(crate) use squashfs::probe as probe_squashfs;

/// What the caller wants to do with an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Only read it.
    ReadOnly,
    /// Write to it too.
    ReadWrite,
}

/// An opened and inspected image.
#[derive(Debug)]
pub struct Image {
    /// Where it is: absolute, symbolic links resolved.
    pub path: PathBuf,
    /// The image, opened once; every later act uses this descriptor. It is close-on-exec. A directory is open for
    /// reading whatever [`Image::access`] says.
    pub file: File,
    /// What was asked for and granted, except that a bare squashfs is always [`Access::ReadOnly`].
    pub access: Access,
    /// What it is.
    pub format: Format,
}

/// What an image is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Format {
    /// A directory with a root file system.
    Sandbox,
    /// A bare squashfs.
    Squashfs(Squashfs),
    /// A bare ext3.
    Ext3(Ext3),
    /// A native SIF.
    Sif(Box<SifImage>),
    /// A SIF with an OCI image in it, which the native commands refuse.
    OciSif(Box<OciSif>),
}

/// A squashfs whose superblock was checked: version 4.0, a known compression, no longer than its window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Squashfs {
    /// Where it is in the file, up to the end of the file or partition.
    pub window: Window,
    /// How its blocks are compressed.
    pub compression: Compression,
}

/// How a squashfs is compressed, by the number in its superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Compression {
    /// 1, the one every kernel has.
    Gzip,
    /// 2
    Lzma,
    /// 3
    Lzo,
    /// 4
    Xz,
    /// 5
    Lz4,
    /// 6
    Zstd,
}

impl Compression {
    /// The name mksquashfs has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// An ext3 whose superblock was checked: a journal, no feature of ext4, no longer than its window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ext3 {
    /// Where it is in the file, up to the end of the file or partition.
    pub window: Window,
    /// The journal holds changes that were not carried out: the last writer died. A read-only mount of a read-only
    /// device cannot replay it and fails.
    pub needs_recovery: bool,
    /// Bit 1 of `s_state` is not set: the last writer died and had not used the journal, as fuse2fs does not.
    /// `e2fsck -f` must look at it.
    pub not_closed: bool,
    /// The kernel or e2fsck noted errors (bit 2 of `s_state`): `e2fsck -f` should look at it.
    pub has_errors: bool,
    /// Bytes of one block: 1024 to 65536.
    pub block_bytes: u32,
    /// Bytes of all blocks, at most the window's size.
    pub blocks_bytes: u64,
}

/// A native SIF: what its table says and what the partitions that may be mounted were found to hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SifImage {
    /// The root file system, if there is one.
    pub primary: Option<RootPartition>,
    /// Overlays for that root, in table order, lowest first: overlay partitions in the primary's group (every one
    /// where there is no primary or it has no group) that hold a valid squashfs or ext3.
    pub overlays: Vec<EmbeddedPartition>,
    /// Data partitions that hold a valid squashfs or ext3, in table order.
    pub data: Vec<EmbeddedPartition>,
    /// Whether any object is a signature.
    pub signed: bool,
    /// The primary partition's architecture, or the header's where there is no primary.
    pub arch: sif::Arch,
    /// The whole table, every check of it passed.
    pub table: sif::Table,
}

/// The partition that a SIF runs from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootPartition {
    /// The object's id.
    pub id: u32,
    /// What it holds.
    pub content: RootContent,
    /// Where it is in the file.
    pub window: Window,
    /// What it runs on.
    pub arch: sif::Arch,
}

/// What a root partition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RootContent {
    /// A squashfs.
    Squashfs(Squashfs),
    /// An ext3.
    Ext3(Ext3),
    /// A squashfs in a LUKS2 volume; the content was not looked at.
    EncryptedLuks,
    /// A squashfs in gocryptfs in a squashfs; the content was not looked at.
    EncryptedGocryptfs,
    /// Anything else that the descriptor may name; the content was not looked at.
    Other(sif::FsType),
}

/// A partition of a SIF beside its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EmbeddedPartition {
    /// The object's id.
    pub id: u32,
    /// What it holds, with its place in the file.
    pub content: EmbeddedContent,
}

/// What a partition beside the root holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EmbeddedContent {
    /// A squashfs.
    Squashfs(Squashfs),
    /// An ext3.
    Ext3(Ext3),
}

impl SifImage {
    /// Whether the root is encrypted in either way.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.primary.is_some_and(|primary| {
            matches!(primary.content, RootContent::EncryptedLuks | RootContent::EncryptedGocryptfs)
        })
    }

    /// The overlays that can be written to, in table order.
    pub fn ext3_overlays(&self) -> impl Iterator<Item = (u32, Ext3)> {
        self.overlays.iter().filter_map(|overlay| match overlay.content {
            EmbeddedContent::Ext3(ext3) => Some((overlay.id, ext3)),
            EmbeddedContent::Squashfs(_) => None,
        })
    }

    /// Every part of the file that may be mounted.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Window> {
        let embedded = self.overlays.iter().chain(&self.data).map(|partition| match partition.content {
            EmbeddedContent::Squashfs(squashfs) => squashfs.window,
            EmbeddedContent::Ext3(ext3) => ext3.window,
        });
        let root = self.primary.iter().flat_map(|primary| match primary.content {
            RootContent::Squashfs(squashfs) => vec![primary.window, squashfs.window],
            RootContent::Ext3(ext3) => vec![primary.window, ext3.window],
            _ => vec![],
        });
        root.chain(embedded)
    }
}
