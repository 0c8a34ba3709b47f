//! A squashfs whose superblock is anything but for its magic.
#![no_main]

use frontend::image::{Format, detect};
use fuzz::Endless;
use libfuzzer_sys::fuzz_target;

const FILE_BYTES: u64 = 1 << 30;

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    data.resize(data.len().max(96), 0);
    data[..4].copy_from_slice(b"hsqs");
    if let Ok(format) = detect(&Endless::new(&data, FILE_BYTES)) {
        let Format::Squashfs(squashfs) = format else {
            panic!("{format:?}")
        };
        assert_eq!((squashfs.window.offset, squashfs.window.size), (0, FILE_BYTES));
    }
});
