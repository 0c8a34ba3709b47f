//! An ext file system whose superblock is anything but for its magic.
#![no_main]

use frontend::image::{Format, detect};
use fuzz::Endless;
use libfuzzer_sys::fuzz_target;

const FILE_BYTES: u64 = 1 << 30;
const SUPERBLOCK_AT: usize = 1024;

fuzz_target!(|data: &[u8]| {
    // The fuzzer gives the superblock alone.
    let mut file = vec![0; SUPERBLOCK_AT];
    file.extend(data);
    file.resize(file.len().max(2 * SUPERBLOCK_AT), 0);
    file[SUPERBLOCK_AT + 56..SUPERBLOCK_AT + 58].copy_from_slice(&[0x53, 0xef]);
    if let Ok(format) = detect(&Endless::new(&file, FILE_BYTES)) {
        let Format::Ext3(ext3) = format else {
            panic!("{format:?}")
        };
        assert!(ext3.blocks_bytes > 0 && ext3.blocks_bytes <= ext3.window.size);
        assert!((1024..=65536).contains(&ext3.block_bytes));
        assert_eq!((ext3.window.offset, ext3.window.size), (0, FILE_BYTES));
    }
});
