//! Why the content of a file is not the image it claims to be.

use crate::oci_sif;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that is wrong with the content of a file. It crosses the pipe from the reader child as a number and
/// a few more, so a hostile image has no way to choose words that the user reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Defect {
    /// None of the formats.
    Unrecognised,
    /// The file ends before something it says it has.
    CutShort,
    /// The system could not read it; the error's number.
    Unreadable(i32),
    /// A squashfs of another version; major and minor.
    SquashfsVersion(u16, u16),
    /// A squashfs with an unknown compression.
    SquashfsCompression(u16),
    /// A squashfs that says it is longer than the space it has: said and present, in bytes.
    SquashfsLength(u64, u64),
    /// An ext file system without a journal: ext2.
    ExtNoJournal,
    /// An ext file system with incompatible features beyond ext3's, as ext4 has; the offending bits.
    ExtIncompatible(u32),
    /// An ext file system with read-only compatible features beyond ext3's, as ext4 has; the offending bits.
    ExtReadOnlyCompatible(u32),
    /// An ext3 with an impossible block size; its logarithm.
    ExtBlockSize(u32),
    /// An ext3 that is longer than the space it has: its length and the space, in bytes.
    ExtLength(u64, u64),
    /// An ext3 whose inode with this number, or another structure if it is 0, makes no sense.
    ExtDamaged(u32),
    /// An ext3 with an inode of this number that ext3 has no means to make.
    ExtUnsupported(u32),
    /// A partition that should hold a squashfs or ext3 and does not; the object's id.
    PartitionContent(u32),
    /// No SIF.
    NotSif,
    /// A SIF of another version.
    SifVersion,
    /// A SIF whose descriptor table is negative, longer than this build reads, or not where its header says.
    SifTable,
    /// A SIF whose data section overlaps its table or is negative.
    SifData,
    /// A SIF object that lies outside the file or over the table; the slot, from 0.
    SifObjectPlace(u32),
    /// A SIF object with the id 0 or the id of another one; the slot, from 0.
    SifObjectId(u32),
    /// Two SIF objects share bytes; their ids.
    SifObjectsOverlap(u32, u32),
    /// An OCI object without a SHA-256 digest; the object's id.
    SifDigest(u32),
    /// More than one primary partition.
    SifPrimaries,
    /// The image in an OCI-SIF.
    OciSif(oci_sif::Fault),
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unrecognised => f.write_str("image format not recognized"),
            Self::CutShort => f.write_str("the image is cut short"),
            Self::Unreadable(number) => {
                write!(f, "reading failed: {}", std::io::Error::from_raw_os_error(number))
            }
            Self::SquashfsVersion(major, minor) => {
                write!(f, "corrupted image: squashfs version {major}.{minor}, only 4.0 can be used")
            }
            Self::SquashfsCompression(value) => {
                write!(f, "corrupted image: unknown compression algorithm value {value}")
            }
            Self::SquashfsLength(said, present) => write!(
                f,
                "corrupted image: the squashfs says it has {said} bytes, but only {present} are there (incomplete \
                 copy or download?)"
            ),
            Self::ExtNoJournal => {
                f.write_str("file is not a valid ext3 image: it has no journal, as ext2 has none")
            }
            Self::ExtIncompatible(bits) | Self::ExtReadOnlyCompatible(bits) => {
                write!(f, "file is not a valid ext3 image: it has ext4 features ({bits:#x})")
            }
            Self::ExtBlockSize(log) => {
                write!(f, "file is not a valid ext3 image: impossible block size (1024 << {log})")
            }
            Self::ExtLength(said, present) => write!(
                f,
                "file is not a valid ext3 image: it has {said} bytes, but only {present} are there (incomplete copy?)"
            ),
            Self::ExtDamaged(0) => f.write_str("the ext3 file system is damaged"),
            Self::ExtDamaged(inode) => write!(f, "the ext3 file system is damaged at inode {inode}"),
            Self::ExtUnsupported(inode) => {
                write!(f, "inode {inode} of the ext3 file system is of an unknown kind")
            }
            Self::PartitionContent(id) => {
                write!(f, "SIF object {id} does not hold the file system that its descriptor names")
            }
            Self::NotSif => f.write_str("it is not a SIF file"),
            Self::SifVersion => f.write_str("incompatible SIF version, only 01 can be used"),
            Self::SifTable => f.write_str("corrupted SIF: impossible descriptor table"),
            Self::SifData => f.write_str("corrupted SIF: impossible data section"),
            Self::SifObjectPlace(slot) => {
                write!(
                    f,
                    "corrupted SIF: the object in slot {slot} lies outside the data of the file (incomplete copy or \
                     download?)"
                )
            }
            Self::SifObjectId(slot) => {
                write!(f, "corrupted SIF: the object in slot {slot} has an id that is zero or not its own")
            }
            Self::SifObjectsOverlap(a, b) => write!(f, "corrupted SIF: objects {a} and {b} share bytes"),
            Self::SifDigest(id) => write!(f, "corrupted SIF: object {id} has no valid digest"),
            Self::OciSif(fault) => write!(f, "{fault}"),
            Self::SifPrimaries => f.write_str("corrupted SIF: more than one primary partition"),
        }
    }
}

impl std::error::Error for Defect {}
