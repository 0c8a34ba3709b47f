//! Where the bytes of a SIF are. All numbers are little-endian; a descriptor's fields are not aligned.

/// Bytes of the global header, at the start of the file.
pub const HEADER_BYTES: usize = 128;
/// Bytes of one descriptor.
pub const DESCRIPTOR_BYTES: usize = 585;
/// Most slots of a table that this build reads or makes: 64 times what anybody was seen to use, and a table of
/// 38 MB. The format itself allows 2^63.
pub const DESCRIPTORS_MAX: u64 = 65536;
/// Slots of a table that nobody asked for more of.
pub const DESCRIPTORS_DEFAULT: u32 = 48;
/// Where the table of a new file starts.
pub const TABLE_OFFSET: u64 = 4096;
/// What partitions are aligned to.
pub const PARTITION_ALIGNMENT: u64 = 4096;

/// The first line of a file that can be run, padded to its field of 32 bytes.
pub const LAUNCH_LINE: [u8; 32] = *b"#!/usr/bin/env run-singularity\n\0";
/// Ten bytes at [`header::MAGIC`].
pub const MAGIC: [u8; 10] = *b"SIF_MAGIC\0";
/// Three bytes at [`header::VERSION`].
pub const VERSION: [u8; 3] = *b"01\0";
/// What stands for "no time": 0001-01-01T00:00:00Z in Unix seconds.
pub const NO_TIME: i64 = -62_135_596_800;
/// The bits a group number carries in a group field, and a group's number in a link field.
pub const GROUP_MASK: u32 = 0xF000_0000;

/// Offsets in the global header.
pub mod header {
    /// 32 bytes, text padded with NUL.
    pub const LAUNCH: usize = 0;
    /// 10 bytes.
    pub const MAGIC: usize = 32;
    /// 3 bytes.
    pub const VERSION: usize = 42;
    /// Two digits and NUL.
    pub const ARCH: usize = 45;
    /// 16 bytes in RFC 4122 order.
    pub const ID: usize = 48;
    /// Unix seconds.
    pub const CREATED: usize = 64;
    /// Unix seconds.
    pub const MODIFIED: usize = 72;
    /// Unused slots.
    pub const FREE: usize = 80;
    /// Slots.
    pub const TOTAL: usize = 88;
    /// Where the table starts.
    pub const TABLE_OFFSET: usize = 96;
    /// Bytes of the table.
    pub const TABLE_SIZE: usize = 104;
    /// Where data may start.
    pub const DATA_OFFSET: usize = 112;
    /// Bytes from there to the end of the last object.
    pub const DATA_SIZE: usize = 120;
}

/// Offsets in a descriptor.
pub mod descriptor {
    /// i32
    pub const TYPE: usize = 0;
    /// One byte, 0 or 1.
    pub const USED: usize = 4;
    /// u32
    pub const ID: usize = 5;
    /// u32 with [`super::GROUP_MASK`].
    pub const GROUP: usize = 9;
    /// u32
    pub const LINK: usize = 13;
    /// i64
    pub const OFFSET: usize = 17;
    /// i64
    pub const SIZE: usize = 25;
    /// i64
    pub const PADDED_SIZE: usize = 33;
    /// Unix seconds.
    pub const CREATED: usize = 41;
    /// Unix seconds.
    pub const MODIFIED: usize = 49;
    /// i64
    pub const UID: usize = 57;
    /// i64
    pub const GID: usize = 65;
    /// 128 bytes, text padded with NUL.
    pub const NAME: usize = 73;
    /// 384 bytes, by type.
    pub const EXTRA: usize = 201;
    /// Bytes of the name field.
    pub const NAME_BYTES: usize = 128;
    /// Bytes of the extra field.
    pub const EXTRA_BYTES: usize = 384;
}

/// The four bytes of a field.
#[must_use]
pub(super) fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

/// The four bytes of a signed field.
#[must_use]
pub(super) fn i32_at<const N: usize>(bytes: &[u8; N], at: usize) -> i32 {
    i32::from_le_bytes(bytes_at(bytes, at))
}

/// The eight bytes of a signed field.
#[must_use]
pub(super) fn i64_at<const N: usize>(bytes: &[u8; N], at: usize) -> i64 {
    i64::from_le_bytes(bytes_at(bytes, at))
}

/// `WIDTH` bytes of a field. `at` is one of the constants above, all of which lie inside their structure.
pub(super) fn bytes_at<const WIDTH: usize, const N: usize>(bytes: &[u8; N], at: usize) -> [u8; WIDTH] {
    let mut field = [0; WIDTH];
    field.copy_from_slice(&bytes[at..at + WIDTH]);
    field
}
