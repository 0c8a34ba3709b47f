//! What the tests of this module share.

use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Unpacks the OCI-SIF that another tool made, whose overlay was written to afterwards.
pub(super) fn unpack_sample(path: &Path) {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images/stale-overlay.oci.sif.zst");
    let file = File::create_new(path).unwrap();
    assert!(Command::new("zstd").args(["-qdc", packed]).stdout(file).status().unwrap().success());
}
