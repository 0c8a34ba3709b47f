//! A plan pipe that holds anything, behind a right header every other time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Request;
use protocol::frame::{self, MAGIC, VERSION};

fuzz_target!(|data: &[u8]| {
    check(data);
    if let Ok(length) = u32::try_from(data.len()) {
        check(&[&MAGIC[..], &VERSION.to_le_bytes(), &length.to_le_bytes(), data].concat());
    }
});

/// What was understood has one spelling, and what the starter relies on holds.
fn check(bytes: &[u8]) {
    let request: Request = match frame::decode(bytes) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().chars().all(|letter| !letter.is_control())),
    };
    assert_eq!(frame::encode(&request).expect("what was decoded can be encoded"), bytes);
    let Request::Start(plan) = request else { return };
    let count = plan.descriptor_count();
    assert!(plan.images().all(|image| usize::from(image.descriptor.0) < count));
    assert!(plan.binds().all(|bind| usize::from(bind.descriptor.0) < count));
    assert!(plan.check_shape().is_ok());
    for bind in plan.binds() {
        let path = bind.destination.as_bytes();
        assert!(path.starts_with(b"/") && !path.contains(&0));
        assert!(bind.destination.components().all(|name| !name.is_empty() && name != b"." && name != b".."));
    }
}
