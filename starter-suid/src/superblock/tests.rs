//! What is a squashfs, what is an ext3, and what only looks like one.
#![allow(clippy::disallowed_methods)]

use super::*;
use proptest::prelude::*;
use std::io::Write;

/// Bytes with numbers written into them, little-endian.
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Bytes<N> {
    fn put(mut self, at: usize, number: &[u8]) -> Self {
        self.0[at..at + number.len()].copy_from_slice(number);
        self
    }

    fn u16(self, at: usize, number: u16) -> Self {
        self.put(at, &number.to_le_bytes())
    }

    fn u32(self, at: usize, number: u32) -> Self {
        self.put(at, &number.to_le_bytes())
    }
}

/// A squashfs 4.0 of 4321 bytes, gzip.
fn good_squashfs() -> Bytes<SQUASHFS_BYTES> {
    let bytes = Bytes([0; SQUASHFS_BYTES]).put(0, b"hsqs").u16(20, 1).u16(28, 4).u16(30, 0);
    bytes.put(40, &4321_u64.to_le_bytes())
}

/// What mkfs.ext3 makes of 2048 blocks of 4 KiB.
fn good_ext3() -> Bytes<{ EXT.1 }> {
    let numbers = Bytes([0; EXT.1]).u32(4, 2048).u32(24, 2).u16(56, EXT_MAGIC);
    numbers.u32(92, 0x3c).u32(96, 0x2).u32(100, 0x3).u32(224, 8)
}

#[test]
fn bytes_that_are_no_superblock_are_none_whatever_their_numbers() {
    for byte in [0, b'x', 0xff] {
        assert_eq!(squashfs(&[byte; SQUASHFS_BYTES]), None);
        assert_eq!(ext3(&[byte; EXT.1]), None);
    }
}

#[test]
fn a_squashfs_says_how_long_it_is() {
    assert_eq!(squashfs(&good_squashfs().0), Some(Superblock::Squashfs { bytes: 4321 }));
}

#[test]
fn only_squashfs_4_0_with_a_known_compression_is_one() {
    let cases = [
        ("magic of the other byte order", good_squashfs().put(0, b"sqsh")),
        ("major version 3", good_squashfs().u16(28, 3)),
        ("minor version 1", good_squashfs().u16(30, 1)),
        ("compression 0", good_squashfs().u16(20, 0)),
        ("compression 7", good_squashfs().u16(20, 7)),
    ];
    for (what, bytes) in cases {
        assert_eq!(squashfs(&bytes.0), None, "{what}");
    }
    for compression in 1..=6 {
        assert!(squashfs(&good_squashfs().u16(20, compression).0).is_some(), "{compression}");
    }
}

#[test]
fn an_ext3_says_how_long_it_is() {
    assert_eq!(ext3(&good_ext3().0), Some(Superblock::Ext3 { bytes: 2048 * 4096, unclean: false }));
    let largest = good_ext3().u32(4, u32::MAX).u32(24, 6);
    let bytes = u64::from(u32::MAX) * 65536;
    assert_eq!(ext3(&largest.0), Some(Superblock::Ext3 { bytes, unclean: false }));
}

#[test]
fn a_journal_that_must_be_replayed_is_still_an_ext3() {
    let found = ext3(&good_ext3().u32(96, 0x2 | 0x4).0);
    assert_eq!(found, Some(Superblock::Ext3 { bytes: 2048 * 4096, unclean: true }));
}

#[test]
fn ext2_and_ext4_are_no_ext3() {
    assert_eq!(ext3(&good_ext3().u32(92, 0x38).0), None, "no journal");
    for bit in (0..32).map(|bit| 1_u32 << bit).filter(|bit| bit & EXT_INCOMPAT_ALLOWED == 0) {
        assert_eq!(ext3(&good_ext3().u32(96, 0x2 | bit).0), None, "incompatible feature {bit:#x}");
    }
    for bit in (0..32).map(|bit| 1_u32 << bit).filter(|bit| bit & EXT_RO_COMPAT_ALLOWED == 0) {
        assert_eq!(ext3(&good_ext3().u32(100, 0x3 | bit).0), None, "feature for reading only {bit:#x}");
    }
}

#[test]
fn an_ext3_cannot_send_the_kernel_to_a_journal_on_another_device() {
    assert_eq!(ext3(&good_ext3().u32(224, 0).0), None, "no journal inode");
    assert_eq!(ext3(&good_ext3().u32(224, 0).u32(228, 0x0801).0), None, "a journal device");
    assert_eq!(ext3(&good_ext3().u32(228, 0x0801).0), None, "both");
}

#[test]
fn an_ext3_cannot_bring_mount_options() {
    assert_eq!(ext3(&good_ext3().put(512, b"journal_dev=2049").0), None);
}

#[test]
fn a_block_size_that_no_kernel_takes_is_refused() {
    for exponent in [7, 31, 32, 53, 54, 64, u32::MAX] {
        assert_eq!(ext3(&good_ext3().u32(24, exponent).0), None, "{exponent}");
    }
}

/// A file with these parts, each at its offset.
fn file(parts: &[(usize, &[u8])]) -> OwnedFd {
    let length = parts.iter().map(|(at, bytes)| at + bytes.len()).max().unwrap_or(0);
    let mut whole = vec![0; length];
    for (at, bytes) in parts {
        whole[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&whole).expect("written");
    file.into()
}

fn window(offset: u64) -> Window {
    Window { offset, size: 1 << 20 }
}

#[test]
fn a_superblock_is_looked_for_where_the_window_starts() {
    let (squashfs, ext3) = (good_squashfs().0, good_ext3().0);
    let file = file(&[(4096, &squashfs), (8192 + 1024, &ext3), (16384, &[0])]);
    assert!(matches!(read(&file, window(4096)), Some(Superblock::Squashfs { .. })));
    assert!(matches!(read(&file, window(8192)), Some(Superblock::Ext3 { .. })));
    for offset in [0, 4095, 4097, 9216, 16384, 1 << 40, u64::MAX, u64::MAX - 1023] {
        assert_eq!(read(&file, window(offset)), None, "{offset}");
    }
}

#[test]
fn a_superblock_that_is_cut_short_is_none() {
    let squashfs = good_squashfs().0;
    assert_eq!(read(&file(&[(0, &squashfs[..95])]), window(0)), None);
    let ext3 = good_ext3().0;
    assert_eq!(read(&file(&[(1024, &ext3[..EXT.1 - 1])]), window(0)), None);
}

#[test]
fn a_sif_is_known_by_its_magic_behind_the_launch_line() {
    assert!(starts_as_sif(&file(&[(0, b"#!/usr/bin/env run-singularity\n"), (32, b"SIF_MAGIC\0")])));
    assert!(starts_as_sif(&file(&[(32, b"SIF_MAGIC\0")])));
    for other in [&b"SIF_MAGIC"[..], b"SIF_MAGIC\x01", b"sif_magic\0"] {
        assert!(!starts_as_sif(&file(&[(32, other)])), "{other:?}");
    }
    assert!(!starts_as_sif(&file(&[(0, b"SIF_MAGIC\0")])));
    assert!(!starts_as_sif(&file(&[])));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_start_of_a_file_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..2200), offset: u64) {
        let file = file(&[(0, &bytes)]);
        let _ = (read(&file, window(0)), read(&file, window(offset)), starts_as_sif(&file));
    }

    #[test]
    fn whatever_the_numbers_of_a_good_magic_there_is_an_answer(numbers in proptest::collection::vec(any::<u8>(), EXT.1)) {
        let mut bytes = good_ext3().0;
        bytes[..56].copy_from_slice(&numbers[..56]);
        let _ = ext3(&bytes);
    }
}
