//! The scripts that put the product on a machine, tried on a folder: nothing here is built or run.

mod install;
mod prepare;

/// Where the scripts are started.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
