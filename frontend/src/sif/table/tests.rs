//! Hostile tables, each made of a sound file by editing one thing.

use super::*;
use crate::sif::layout::header as h;
use proptest::prelude::*;

const TINY: &[u8] = include_bytes!("../../../tests/images/tiny.sif");
const SIGNED: &[u8] = include_bytes!("../../../tests/images/tiny-signed-pgp.sif");

/// Where a field of a slot of the samples is.
const fn slot(number: usize, field: usize) -> usize {
    4096 + number * DESCRIPTOR_BYTES + field
}

fn read(bytes: &[u8]) -> Result<Table, Defect> {
    assert!(has_magic(&bytes).unwrap());
    Table::read(&bytes)
}

fn with(at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = TINY.to_vec();
    bytes[at..at + field.len()].copy_from_slice(field);
    bytes
}

fn with_i64(at: usize, value: i64) -> Result<Table, Defect> {
    read(&with(at, &value.to_le_bytes()))
}

#[test]
fn a_sound_file_reads_as_it_was_written() {
    let table = read(TINY).unwrap();
    assert_eq!((table.header.slots, table.header.free_claimed), (48, 45));
    assert_eq!(table.header.launch_line, b"#!/usr/bin/env run-singularity\n");
    assert_eq!((table.header.created, table.header.arch), (1_795_186_815, Arch::AMD64));
    assert_eq!(
        (table.first_unused_slot, table.counters_agree, table.used_marks_clean),
        (Some(3), true, true)
    );
    let places: Vec<(u32, u64, u64)> = table.descriptors.iter().map(|o| (o.id, o.offset, o.end())).collect();
    assert_eq!(places, [(1, 32176, 32211), (2, 32211, 34396), (3, 36864, 40960)]);
    assert_eq!(table.descriptors[1].name, b"inspect-metadata.json");
    let (primary, fs, arch) = table.primary().unwrap();
    assert_eq!((primary.id, primary.group, fs, arch), (3, Some(1), FsType::Squashfs, Arch::AMD64));
    assert!(!table.signed() && !table.is_deterministic());
}

#[test]
fn a_signature_is_found_with_its_signer_and_group() {
    let table = read(SIGNED).unwrap();
    let signature = table.object(4).unwrap();
    assert_eq!((signature.group, signature.link), (None, Link::Group(1)));
    let Extra::Signature { hash, entity } = &signature.extra else { panic!("{:?}", signature.extra) };
    assert_eq!((*hash, entity[..4].to_vec()), (HashType::Sha256, vec![0x4f, 0x84, 0xa9, 0x8c]));
    assert!(table.signed());
}

#[test]
fn a_forged_counter_hides_nothing() {
    let mut hidden = SIGNED.to_vec();
    hidden[h::FREE..h::FREE + 8].copy_from_slice(&48_i64.to_le_bytes());
    let table = read(&hidden).unwrap();
    assert!(table.signed() && table.primary().is_some());
    assert!(!table.counters_agree);
    for claimed in [-1, i64::MIN, i64::MAX] {
        assert!(!with_i64(h::FREE, claimed).unwrap().counters_agree);
    }
    assert!(!with_i64(h::DATA_SIZE, i64::MAX).unwrap().counters_agree);
}

#[test]
fn other_versions_are_refused() {
    for version in [b"02\0", b"00\0", b"01 ", b"1\0\0"] {
        assert_eq!(read(&with(h::VERSION, version)), Err(Defect::SifVersion));
    }
}

#[test]
fn impossible_tables_are_refused() {
    for total in [1 << 50, -1, 1_000_000, 65537, 49, i64::MAX, i64::MIN] {
        assert_eq!(with_i64(h::TOTAL, total), Err(Defect::SifTable), "total {total}");
    }
    for size in [585, 0, -1, 28079, i64::MIN] {
        assert_eq!(with_i64(h::TABLE_SIZE, size), Err(Defect::SifTable), "size {size}");
    }
    for offset in [-4096, 1 << 40, 0, 127, 40960 - 28079, i64::MAX, i64::MIN] {
        assert_eq!(with_i64(h::TABLE_OFFSET, offset), Err(Defect::SifTable), "offset {offset}");
    }
}

#[test]
fn a_table_that_says_it_is_longer_than_its_slots_is_read() {
    assert_eq!(with_i64(h::TABLE_SIZE, 1 << 40).unwrap().descriptors.len(), 3);
}

#[test]
fn impossible_data_sections_are_refused() {
    for offset in [-1, 0, 4096, 32175, i64::MIN] {
        assert_eq!(with_i64(h::DATA_OFFSET, offset), Err(Defect::SifData), "offset {offset}");
    }
    assert_eq!(with_i64(h::DATA_SIZE, -1), Err(Defect::SifData));
}

#[test]
fn objects_outside_the_data_of_the_file_are_refused() {
    for offset in [-1, 0, 1 << 40, 32175, 36865, i64::MAX, i64::MIN] {
        let found = with_i64(slot(2, d::OFFSET), offset);
        assert_eq!(found, Err(Defect::SifObjectPlace(2)), "offset {offset}");
    }
    for size in [-5, i64::MAX, 4097, i64::MIN] {
        assert_eq!(with_i64(slot(2, d::SIZE), size), Err(Defect::SifObjectPlace(2)), "size {size}");
    }
    assert_eq!(read(&TINY[..38000]), Err(Defect::SifObjectPlace(2)));
}

#[test]
fn objects_that_share_bytes_are_refused() {
    assert_eq!(with_i64(slot(2, d::OFFSET), 34395), Err(Defect::SifObjectsOverlap(2, 3)));
    assert_eq!(with_i64(slot(2, d::OFFSET), 32176), Err(Defect::SifObjectsOverlap(1, 3)));
    assert_eq!(with_i64(slot(0, d::SIZE), 36), Err(Defect::SifObjectsOverlap(1, 2)));
    let empty = with_i64(slot(0, d::SIZE), 0).unwrap();
    assert_eq!(empty.descriptors[0].size, 0, "an empty object shares no bytes");
}

#[test]
fn ids_are_unique_and_not_zero() {
    assert_eq!(read(&with(slot(1, d::ID), &[1])), Err(Defect::SifObjectId(1)));
    assert_eq!(read(&with(slot(1, d::ID), &[0])), Err(Defect::SifObjectId(1)));
    assert_eq!(read(&with(slot(0, d::ID), &[0])), Err(Defect::SifObjectId(0)));
}

#[test]
fn any_used_mark_but_zero_makes_an_object_and_is_remembered() {
    let table = read(&with(slot(0, d::USED), &[2])).unwrap();
    assert_eq!((table.descriptors.len(), table.used_marks_clean), (3, false));
    let table = read(&with(slot(0, d::USED), &[0])).unwrap();
    assert_eq!((table.descriptors.len(), table.first_unused_slot), (2, Some(0)));
}

#[test]
fn a_second_primary_partition_is_refused() {
    let mut bytes = with(slot(0, d::TYPE), &0x4004_i32.to_le_bytes());
    bytes[slot(0, d::EXTRA)..][..11].copy_from_slice(&TINY[slot(2, d::EXTRA)..][..11]);
    assert_eq!(read(&bytes), Err(Defect::SifPrimaries));
}

#[test]
fn numbers_nobody_has_assigned_are_kept() {
    let arch = read(&with(h::ARCH, b"99")).unwrap().header.arch;
    assert_eq!((arch.name(), arch.digits()), ("unknown", *b"99"));
    let partition =
        |at, field| read(&with(slot(2, d::EXTRA) + at, field)).unwrap().primary().map(|p| (p.1, p.2));
    assert_eq!(partition(0, &[9]), Some((FsType::Unknown(9), Arch::AMD64)));
    assert_eq!(partition(8, b"99"), Some((FsType::Squashfs, Arch::from_digits(*b"99"))));
    assert_eq!(partition(4, &[9]), None);
    let table = read(&with(slot(0, d::TYPE), &[0xff; 4])).unwrap();
    assert_eq!(table.descriptors[0].data_type, DataType::Unknown(-1));
}

#[test]
fn a_group_is_read_with_or_without_its_mask() {
    let group =
        |field: u32| read(&with(slot(2, d::GROUP), &field.to_le_bytes())).unwrap().descriptors[2].group;
    assert_eq!(group(0xF000_0001), Some(1));
    assert_eq!(group(1), Some(1));
    assert_eq!(group(0xF000_0000), None);
}

#[test]
fn an_oci_object_has_a_digest_or_the_file_is_refused() {
    let oci = |text: &[u8]| {
        let mut bytes = with(slot(0, d::TYPE), &0x400B_i32.to_le_bytes());
        bytes[slot(0, d::EXTRA)..][..text.len()].copy_from_slice(text);
        read(&bytes).map(|table| table.descriptors[0].extra.clone())
    };
    let good = [b"sha256:".as_slice(), &[b'a'; 64]].concat();
    assert_eq!(oci(&good), Ok(Extra::Digest(Digest([0xaa; 32]))));
    for bad in
        [&b""[..], b"sha256:", &good[..70], &[good.as_slice(), b"a"].concat(), &good.to_ascii_uppercase()]
    {
        assert_eq!(oci(bad), Err(Defect::SifDigest(1)), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn names_are_what_comes_before_nul_and_may_fill_their_field() {
    let full = read(&with(slot(0, d::NAME), &[b'x'; d::NAME_BYTES])).unwrap();
    assert_eq!(full.descriptors[0].name, [b'x'; 128]);
    let control = read(&with(slot(0, d::NAME), b"a\x1b\n\0b")).unwrap();
    assert_eq!(control.descriptors[0].name, b"a\x1b\n");
}

#[test]
fn the_largest_table_is_read_and_one_more_slot_is_not() {
    let mut bytes = TINY[..4096].to_vec();
    bytes.resize(4096 + 65536 * DESCRIPTOR_BYTES + 1, 0);
    let end = (bytes.len() as i64 - 1).to_le_bytes();
    for (at, field) in
        [(h::TOTAL, 65536_i64.to_le_bytes()), (h::TABLE_SIZE, i64::MAX.to_le_bytes()), (h::DATA_OFFSET, end)]
    {
        bytes[at..at + 8].copy_from_slice(&field);
    }
    for number in 0..65536_usize {
        bytes[slot(number, d::USED)] = 1;
        bytes[slot(number, d::ID)..][..4].copy_from_slice(&(number as u32 + 1).to_le_bytes());
        bytes[slot(number, d::OFFSET)..][..8].copy_from_slice(&end);
    }
    let table = read(&bytes).unwrap();
    assert_eq!((table.descriptors.len(), table.first_unused_slot), (65536, None));
    bytes[h::TOTAL..h::TOTAL + 8].copy_from_slice(&65537_i64.to_le_bytes());
    bytes.resize(bytes.len() + DESCRIPTOR_BYTES, 0);
    assert_eq!(read(&bytes), Err(Defect::SifTable));
}

#[test]
fn every_length_of_a_cut_file_is_an_error_or_a_table_within_it() {
    for length in (0..TINY.len()).step_by(7) {
        let bytes = &TINY[..length];
        if has_magic(&bytes).unwrap() {
            Table::read(&bytes).unwrap_err();
        }
    }
}

proptest! {
    /// Edits of the header and of the first slots, whole fields and single bytes.
    #[test]
    fn no_edit_of_a_table_makes_one_that_reaches_out_of_the_file(
        bytes_edited in prop::collection::vec((0_usize..4096 + 5 * DESCRIPTOR_BYTES, any::<u8>()), 0..4),
        fields_edited in prop::collection::vec((0_usize..5, 0_usize..8, any::<i64>()), 0..4),
        length in 128_usize..=TINY.len(),
    ) {
        let mut bytes = TINY.to_vec();
        for (at, byte) in bytes_edited {
            bytes[at] = byte;
        }
        let fields = [d::TYPE, d::USED, d::GROUP, d::LINK, d::OFFSET, d::SIZE, d::EXTRA, d::EXTRA + 4];
        for (number, field, value) in fields_edited {
            bytes[slot(number, fields[field])..][..8].copy_from_slice(&value.to_le_bytes());
        }
        bytes.truncate(length);
        if let Ok(table) = Table::read(&bytes.as_slice()) {
            prop_assert!(table.lies_within(length as u64));
            prop_assert!(table.descriptors.iter().all(|object| object.offset >= table.header.table_end()));
        }
    }

    #[test]
    fn no_header_makes_the_reader_fail_otherwise_than_by_an_error(fields in prop::collection::vec(any::<i64>(), 6)) {
        let mut bytes = TINY.to_vec();
        for (n, field) in fields.iter().enumerate() {
            // Small numbers too, which come closer to being possible.
            let field = if field % 3 == 0 { field % 50000 } else { *field };
            bytes[h::FREE + n * 8..][..8].copy_from_slice(&field.to_le_bytes());
        }
        if let Ok(table) = Table::read(&bytes.as_slice()) {
            prop_assert!(table.lies_within(bytes.len() as u64));
        }
    }
}
