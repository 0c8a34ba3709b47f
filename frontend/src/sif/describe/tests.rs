use super::*;

const TINY: &[u8] = include_bytes!("../../../tests/images/tiny.sif");
const SIGNED_PGP: &[u8] = include_bytes!("../../../tests/images/tiny-signed-pgp.sif");
const SIGNED_DSSE: &[u8] = include_bytes!("../../../tests/images/tiny-signed-dsse.sif");

fn table(bytes: &[u8]) -> Table {
    Table::read(&bytes).unwrap()
}

fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Table {
    let mut bytes = TINY.to_vec();
    edit(&mut bytes);
    table(&bytes)
}

#[test]
fn a_header_reads_as_the_incumbents_print_it() {
    let expected = "\
Launch Script:        #!/usr/bin/env run-singularity
Version:              01
Primary Architecture: amd64
ID:                   ";
    let words = header(&table(TINY));
    assert!(words.starts_with(expected), "{words}");
    let expected = "
Created At:           2026-11-20 15:00:15 +0000 UTC
Modified At:          2026-11-20 15:00:15 +0000 UTC
Descriptors Free:     45
Descriptors Total:    48
Descriptors Offset:   4096
Descriptors Size:     27 KiB
Data Offset:          32176
Data Size:            9 KiB
";
    assert!(words.ends_with(expected), "{words}");
}

#[test]
fn what_a_header_does_not_say_is_left_out() {
    let words = header(&edited(|bytes| {
        bytes[..32].fill(0);
        bytes[45..47].copy_from_slice(b"00");
        bytes[48..64].fill(0);
        bytes[64..72].copy_from_slice(&layout::NO_TIME.to_le_bytes());
        bytes[72..80].copy_from_slice(&layout::NO_TIME.to_le_bytes());
    }));
    assert!(words.starts_with("Version:            01\nDescriptors Free:   45\n"), "{words}");
}

#[test]
fn a_list_reads_as_the_incumbents_print_it() {
    let expected = "\
------------------------------------------------------------------------------
ID   |GROUP   |LINK    |SIF POSITION (start-end)  |TYPE
------------------------------------------------------------------------------
1    |1       |NONE    |32176-32211               |Def.FILE
2    |1       |NONE    |32211-34396               |JSON.Generic
3    |1       |NONE    |36864-40960               |FS (Squashfs/*System/amd64)
4    |NONE    |1   (G) |40960-42625               |Signature (SHA-256)
";
    assert_eq!(list(&table(SIGNED_PGP)), expected);
}

#[test]
fn an_object_reads_as_the_incumbents_print_it() {
    let signed = table(SIGNED_PGP);
    let expected = "  \
  Data Type:        FS
  ID:               3
  Group ID:         1
  Linked ID:        NONE
  Offset:           36864
  Size:             4096
  Created At:       2026-11-20 15:00:15 +0000 UTC
  Modified At:      2026-11-20 15:00:15 +0000 UTC
  Filesystem Type:  Squashfs
  Partition Type:   *System
  Architecture:     amd64
";
    assert_eq!(info(signed.object(3).unwrap()), expected);
    let words = info(signed.object(4).unwrap());
    let expected = "  Hash Type:    SHA-256\n  Entity:       4F84A98CEB896E98D5040619F8A6989D4BEFF3AC\n";
    assert!(words.ends_with(expected), "{words}");
    assert!(words.contains("  Group ID:     NONE\n  Linked ID:    1 (G)\n"), "{words}");
    let words = info(table(SIGNED_DSSE).object(4).unwrap());
    assert!(words.ends_with("  Hash Type:    SHA-256\n"), "{words}");
}

#[test]
fn numbers_nobody_assigned_are_unknown_and_names_cannot_reach_the_terminal() {
    let slot = 4096 + 2 * 585;
    let strange = edited(|bytes| {
        bytes[slot + 201] = 9;
        bytes[slot + 209..slot + 211].copy_from_slice(b"99");
        bytes[slot + 73..slot + 78].copy_from_slice(b"\x1b[2J\n");
        bytes[4096 + 585] = 0xff;
    });
    assert!(list(&strange).contains("|FS (Unknown/*System/unknown)\n"));
    assert!(list(&strange).contains("|32211-34396               |Unknown\n"));
    assert!(info(strange.object(3).unwrap()).contains("  Name:             \\u{1b}[2J\\n\n"));
}

#[test]
fn json_has_the_same_facts() {
    let signed = table(SIGNED_PGP);
    let objects = list_json(&signed);
    assert_eq!(objects.as_array().map(Vec::len), Some(4));
    assert_eq!(objects[2]["details"]["filesystem"], "Squashfs");
    assert_eq!(objects[2]["details"]["partition_code"], 2);
    assert_eq!(objects[2]["link"], Value::Null);
    assert_eq!(objects[3]["link"], json!({ "group": 1 }));
    assert_eq!(objects[3]["group"], Value::Null);
    assert_eq!(objects[3]["details"]["entity"], "4f84a98ceb896e98d5040619f8a6989d4beff3ac");
    assert_eq!(objects[1], info_json(signed.object(2).unwrap()));
    assert_eq!(objects[1]["name"], "inspect-metadata.json");
    let header = header_json(&signed);
    assert_eq!((&header["arch"], &header["descriptors_free"]), (&json!("amd64"), &json!(44)));
    assert_eq!(header["created"], "2026-11-20T15:00:15Z");
}

#[test]
fn sizes_are_rounded_to_the_unit() {
    let cases = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (28080, "27 KiB"),
        (68_211_280, "65 MiB"),
        (u64::MAX, "16 EiB"),
    ];
    for (bytes, words) in cases {
        assert_eq!(readable_size(bytes), words);
    }
}

#[test]
fn impossible_times_are_numbers() {
    assert_eq!(moment(i64::MAX).unwrap(), "9223372036854775807 seconds since 1970");
    assert_eq!(rfc3339(i64::MAX), None);
    assert_eq!((moment(layout::NO_TIME), rfc3339(layout::NO_TIME)), (None, None));
}
