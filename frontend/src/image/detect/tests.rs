use super::*;
use crate::image::{Compression, EmbeddedContent, RootContent, SifImage};
use crate::oci_sif;
use crate::sif::{self, Arch, CreateOptions, Data, DataType, FsType, NewObject, PartitionType};
use proptest::prelude::*;
use std::process::Command;
use std::sync::LazyLock;

const SQUASHFS: &[u8] = include_bytes!("../../../tests/images/tiny.sqfs");
const LEGACY: &[u8] = include_bytes!("../../../tests/images/legacy-2.4.simg");
const TINY: &[u8] = include_bytes!("../../../tests/images/tiny.sif");
const SIGNED: &[u8] = include_bytes!("../../../tests/images/tiny-signed-dsse.sif");
const GOCRYPTFS: &[u8] = include_bytes!("../../../tests/images/tiny-gocryptfs.sif");
const LAUNCH_LINE: &[u8] = b"#!/usr/bin/env run-singularity\n";
/// Long enough for a journal.
const EXT_BYTES: u64 = 4 << 20;

/// What mke2fs makes of `-t KIND`.
fn ext(kind: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(EXT_BYTES).unwrap();
    let made =
        Command::new("/usr/sbin/mke2fs").args(["-q", "-F", "-t", kind]).arg(file.path()).status().unwrap();
    assert!(made.success());
    std::fs::read(file.path()).unwrap()
}

static EXT3: LazyLock<Vec<u8>> = LazyLock::new(|| ext("ext3"));

fn found(bytes: &[u8]) -> Result<Format, Defect> {
    detect(&bytes)
}

fn edited(image: &[u8], at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = image.to_vec();
    bytes[at..at + field.len()].copy_from_slice(field);
    bytes
}

fn prefixed(line: &[u8], image: &[u8]) -> Vec<u8> {
    [line, image].concat()
}

/// The image of a SIF of these objects.
fn sif(objects: &[NewObject<'_>]) -> SifImage {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("x.sif");
    sif::create(&target, objects, &CreateOptions::native()).unwrap();
    native(&std::fs::read(&target).unwrap())
}

fn native(bytes: &[u8]) -> SifImage {
    match found(bytes) {
        Ok(Format::Sif(sif)) => *sif,
        other => panic!("{other:?}"),
    }
}

fn partition<'a>(fs: FsType, partition_type: PartitionType, bytes: &'a [u8]) -> NewObject<'a> {
    NewObject::partition(fs, partition_type, Arch::AMD64, Data::Bytes(bytes))
}

#[test]
fn a_squashfs_is_known_with_any_of_its_compressions() {
    let names = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
    for (number, name) in (1..).zip(names) {
        let Ok(Format::Squashfs(squashfs)) = found(&edited(SQUASHFS, 20, &[number, 0])) else {
            panic!("{name}")
        };
        assert_eq!(squashfs.compression.name(), name);
        assert_eq!(squashfs.window, Window { offset: 0, size: 4096 });
    }
    for number in [0, 7, 255] {
        let refused = found(&edited(SQUASHFS, 20, &[number, 0])).unwrap_err();
        assert_eq!(refused, Defect::SquashfsCompression(number.into()));
    }
}

#[test]
fn a_squashfs_of_another_version_or_cut_short_is_refused() {
    assert_eq!(found(&edited(SQUASHFS, 28, &[3])), Err(Defect::SquashfsVersion(3, 0)));
    assert_eq!(found(&edited(SQUASHFS, 30, &[1])), Err(Defect::SquashfsVersion(4, 1)));
    let used = u64::from_le_bytes(SQUASHFS[40..48].try_into().unwrap());
    assert!(found(&SQUASHFS[..used as usize]).is_ok(), "the padding after it is not needed");
    let short = used - 1;
    assert_eq!(found(&SQUASHFS[..short as usize]), Err(Defect::SquashfsLength(used, short)));
    assert_eq!(found(&edited(SQUASHFS, 40, &[0xff; 8])), Err(Defect::SquashfsLength(u64::MAX, 4096)));
    assert_eq!(found(&edited(SQUASHFS, 40, &[0; 8])), Err(Defect::SquashfsLength(0, 4096)));
    assert_eq!(found(&SQUASHFS[..95]), Err(Defect::CutShort));
}

#[test]
fn an_ext3_is_known_with_what_it_says_of_itself() {
    let Ok(Format::Ext3(ext3)) = found(&EXT3) else { panic!() };
    assert_eq!(ext3.window, Window { offset: 0, size: EXT_BYTES });
    assert_eq!((ext3.block_bytes, ext3.blocks_bytes), (1024, EXT_BYTES));
    assert!(!ext3.needs_recovery && !ext3.has_errors);
    let Ok(Format::Ext3(ext3)) = found(&edited(&EXT3, 1024 + 96, &[0x6])) else { panic!() };
    assert!(ext3.needs_recovery);
    let Ok(Format::Ext3(ext3)) = found(&edited(&EXT3, 1024 + 58, &[0x2])) else { panic!() };
    assert!(ext3.has_errors);
}

#[test]
fn ext2_and_ext4_are_refused_as_no_ext3() {
    assert_eq!(found(&ext("ext2")), Err(Defect::ExtNoJournal));
    let refused = found(&ext("ext4")).unwrap_err();
    assert!(matches!(refused, Defect::ExtIncompatible(bits) if bits & 0x40 != 0), "{refused:?}");
    assert!(refused.to_string().starts_with("file is not a valid ext3 image: "), "{refused}");
}

#[test]
fn each_feature_beyond_ext3_is_refused_and_each_of_its_own_is_not() {
    let with = |word: usize, bit: u32| {
        let at = 1024 + word;
        let old = u32::from_le_bytes(EXT3[at..at + 4].try_into().unwrap());
        found(&edited(&EXT3, at, &(old | bit).to_le_bytes()))
    };
    for bit in (0..32).map(|n| 1_u32 << n) {
        assert!(with(92, bit).is_ok(), "compatible {bit:#x}");
        let incompatible = if bit & 0x16 != 0 { None } else { Some(Defect::ExtIncompatible(bit)) };
        assert_eq!(with(96, bit).err(), incompatible, "incompatible {bit:#x}");
        let read_only = if bit & 0x7 != 0 { None } else { Some(Defect::ExtReadOnlyCompatible(bit)) };
        assert_eq!(with(100, bit).err(), read_only, "read-only compatible {bit:#x}");
    }
}

#[test]
fn an_ext3_of_impossible_size_is_refused() {
    assert_eq!(found(&edited(&EXT3, 1024 + 24, &[7])), Err(Defect::ExtBlockSize(7)));
    assert_eq!(found(&edited(&EXT3, 1024 + 24, &[0xff; 4])), Err(Defect::ExtBlockSize(u32::MAX)));
    let cut = &EXT3[..EXT3.len() - 1];
    assert_eq!(found(cut), Err(Defect::ExtLength(EXT_BYTES, EXT_BYTES - 1)));
    let huge = u64::from(u32::MAX) << 16;
    let most = edited(&edited(&EXT3, 1024 + 4, &[0xff; 4]), 1024 + 24, &[6]);
    assert_eq!(found(&most), Err(Defect::ExtLength(huge, EXT_BYTES)));
    assert_eq!(found(&edited(&EXT3, 1024 + 4, &[0; 4])), Err(Defect::ExtLength(0, EXT_BYTES)));
}

#[test]
fn an_image_may_begin_with_its_launch_line() {
    let Ok(Format::Squashfs(squashfs)) = found(LEGACY) else { panic!() };
    assert_eq!(squashfs.window, Window { offset: 31, size: 4096 });
    let Ok(Format::Ext3(ext3)) = found(&prefixed(LAUNCH_LINE, &EXT3)) else { panic!() };
    assert_eq!(ext3.window, Window { offset: 31, size: EXT_BYTES });
    let Ok(Format::Squashfs(squashfs)) = found(&prefixed(b"#!/bin/sh run-singularity\n", SQUASHFS)) else {
        panic!()
    };
    assert_eq!(squashfs.window.offset, 26);
}

#[test]
fn only_a_first_line_that_is_one_moves_the_image() {
    for start in
        [&b"#!/bin/sh\n run-singularity\n"[..], b"x run-singularity\n", b"#!/bin/sh\n", b" run-singularity\n"]
    {
        assert_eq!(found(&prefixed(start, SQUASHFS)), Err(Defect::Unrecognised), "{start:?}");
    }
    let inside = edited(SQUASHFS, 200, b"#! run-singularity\n");
    assert!(matches!(found(&inside), Ok(Format::Squashfs(squashfs)) if squashfs.window.offset == 0));
}

#[test]
fn a_launch_line_with_nothing_behind_it_is_no_image() {
    for end in 28..=31 {
        assert_eq!(found(&LAUNCH_LINE[..end]), Err(Defect::Unrecognised));
    }
    assert_eq!(found(&prefixed(LAUNCH_LINE, &SQUASHFS[..40])), Err(Defect::CutShort));
}

#[test]
fn what_has_no_mark_is_not_recognised() {
    let text = b"just some text, long enough to be looked at\n".repeat(100);
    for bytes in [&[][..], &[0; 5000], &text, &EXT3[..2047]] {
        assert_eq!(found(bytes), Err(Defect::Unrecognised));
    }
    let elsewhere = edited(&edited(TINY, 32, b"XXXXXXXXXX"), 1100, b"SIF_MAGIC\0");
    assert_eq!(found(&elsewhere), Err(Defect::Unrecognised), "the mark is at its place or nowhere");
}

#[test]
fn a_native_sif_is_its_root_and_what_belongs_to_it() {
    let image = native(TINY);
    let root = image.primary.unwrap();
    assert_eq!((root.id, root.window, root.arch), (3, Window { offset: 36864, size: 4096 }, Arch::AMD64));
    let RootContent::Squashfs(squashfs) = root.content else { panic!("{root:?}") };
    assert_eq!((squashfs.window, squashfs.compression), (root.window, Compression::Gzip));
    assert!(!image.signed && !image.encrypted());
    assert!(native(SIGNED).signed);
}

#[test]
fn an_encrypted_root_is_told_by_its_descriptor() {
    let image = native(GOCRYPTFS);
    assert_eq!(image.primary.unwrap().content, RootContent::EncryptedGocryptfs);
    assert!(image.encrypted());
    let luks = edited(TINY, 4096 + 2 * 585 + 201, &[5]);
    assert_eq!(native(&luks).primary.unwrap().content, RootContent::EncryptedLuks);
}

#[test]
fn overlays_and_data_are_found_in_the_group_of_the_root_and_in_table_order() {
    let overlay = |fs, bytes| partition(fs, PartitionType::Overlay, bytes);
    let image = sif(&[
        overlay(FsType::Ext3, &EXT3),
        partition(FsType::Squashfs, PartitionType::PrimarySystem, SQUASHFS),
        overlay(FsType::Squashfs, SQUASHFS),
        overlay(FsType::Ext3, &EXT3).in_group(Some(2)),
        overlay(FsType::Ext3, &EXT3).in_group(None),
        partition(FsType::Squashfs, PartitionType::Data, SQUASHFS).in_group(Some(2)),
        overlay(FsType::Ext3, SQUASHFS),
        overlay(FsType::Raw, SQUASHFS),
        NewObject::new(DataType::Generic, Data::Bytes(SQUASHFS)),
    ]);
    assert_eq!(image.overlays.iter().map(|overlay| overlay.id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(image.data.iter().map(|data| data.id).collect::<Vec<_>>(), [6]);
    assert_eq!(
        image.ext3_overlays().map(|(id, ext3)| (id, ext3.window.size)).collect::<Vec<_>>(),
        [(1, EXT_BYTES)]
    );
    assert!(matches!(image.overlays[1].content, EmbeddedContent::Squashfs(_)));
}

#[test]
fn a_sif_without_a_root_has_every_overlay_and_the_architecture_of_its_header() {
    let image = sif(&[partition(FsType::Ext3, PartitionType::Overlay, &EXT3).in_group(Some(7))]);
    assert_eq!((image.primary, image.overlays.len(), image.arch), (None, 1, Arch::NONE));
}

#[test]
fn a_root_that_is_not_what_its_descriptor_says_is_refused() {
    for (at, byte) in [(4096 + 2 * 585 + 201, 2), (36864, 0)] {
        assert_eq!(found(&edited(TINY, at, &[byte])), Err(Defect::PartitionContent(3)));
    }
    assert_eq!(found(&edited(TINY, 36864 + 28, &[3])), Err(Defect::SquashfsVersion(3, 0)));
    let unknown = native(&edited(TINY, 4096 + 2 * 585 + 201, &[9]));
    assert_eq!(unknown.primary.unwrap().content, RootContent::Other(FsType::Unknown(9)));
}

#[test]
fn a_root_index_makes_it_an_oci_sif_whose_image_is_read_too() {
    let mut bytes = edited(TINY, 4096, &0x400A_i32.to_le_bytes());
    let digest = [b"sha256:".as_slice(), &[b'0'; 64]].concat();
    bytes[4096 + 201..][..71].copy_from_slice(&digest);
    assert_eq!(found(&bytes), Err(Defect::OciSif(oci_sif::Fault::Digest(oci_sif::Part::Index))));
}

proptest! {
    #[test]
    fn no_edit_of_any_image_makes_the_reader_fail_otherwise_than_by_an_error(
        image in 0_usize..5,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        length in any::<prop::sample::Index>(),
    ) {
        let superblock = &EXT3[..4096];
        let image = [SQUASHFS, LEGACY, TINY, SIGNED, superblock][image];
        let mut bytes = image.to_vec();
        for (at, byte) in edits {
            // Where the headers are, most of the time.
            let near = [128, 2048, 6000, image.len()][at.index(4)].min(image.len());
            bytes[at.index(near)] = byte;
        }
        bytes.truncate(length.index(image.len()) + 1);
        let _ = found(&bytes);
        let _ = found(&prefixed(LAUNCH_LINE, &bytes));
    }
}
