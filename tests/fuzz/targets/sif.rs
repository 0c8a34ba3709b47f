//! A SIF whose magic and version are right and whose header and table are anything.
#![no_main]

use frontend::image::detect;
use frontend::sif::layout::{HEADER_BYTES, MAGIC, VERSION};
use frontend::sif::{Table, describe};
use fuzz::Endless;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

/// Room for a table of some thousand slots and objects behind it.
const FILE_BYTES: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    if data.len() < HEADER_BYTES {
        return;
    }
    let mut data = data.to_vec();
    data[32..42].copy_from_slice(&MAGIC);
    data[42..45].copy_from_slice(&VERSION);
    let file = Endless::new(&data, FILE_BYTES);
    if let Ok(table) = Table::read(&file) {
        check(&table);
    }
    let _ = detect(&file);
});

/// What everybody relies on who uses a table.
fn check(table: &Table) {
    let objects = &table.descriptors;
    let ids: BTreeSet<u32> = objects.iter().map(|object| object.id).collect();
    assert!(ids.len() == objects.len() && !ids.contains(&0));
    assert!(table.end_of_data() >= table.header.data_offset);
    let mut places: Vec<_> = objects.iter().filter(|object| object.size > 0).collect();
    places.sort_by_key(|object| object.offset);
    assert!(places.windows(2).all(|pair| pair[0].end() <= pair[1].offset));
    for object in objects {
        assert!(object.offset >= HEADER_BYTES as u64);
        assert!(object.offset >= table.header.table_end() || object.end() <= table.header.table_offset);
        assert!(
            object
                .offset
                .checked_add(object.size)
                .is_some_and(|end| end <= FILE_BYTES)
        );
        assert!(!describe::info(object).contains('\u{1b}'));
    }
    assert!(!describe::header(table).contains('\u{1b}'));
    assert_eq!(describe::list(table).lines().count(), objects.len() + 3);
    let _ = (describe::header_json(table), describe::list_json(table));
}
