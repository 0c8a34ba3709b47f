//! Any bytes.
#![no_main]

use frontend::image::{Format, detect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let window = match detect(&data) {
        Ok(Format::Squashfs(squashfs)) => squashfs.window,
        Ok(Format::Ext3(ext3)) => ext3.window,
        _ => return,
    };
    assert!(window.size > 0 && window.offset + window.size == data.len() as u64);
});
