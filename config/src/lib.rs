//! What the site may say: every directive of `singularity.conf`, its parser, its typed settings.
//!
//! [`Settings::parse`] turns the text of the file into [`Settings`]; opening the file, and judging who could have
//! written it, is left to the caller. One table, in `directives.rs`, names every directive once; the parser, the
//! settings, [`TABLE`] and the default file all come from it.
//!
//! This crate is linked into a program that runs as root: it has no dependencies, does no input or output, and
//! never panics. What it cannot understand of a directive it knows is an error, never a default.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod parse;
mod values;
mod directives;
mod combined;
mod accounts;
mod default_file;

pub use accounts::account_id;
pub use combined::MountPoints;
pub use default_file::default_file;
pub use directives::{Directive, Enforcer, Origin, Settings, TABLE};
pub use parse::{
    ConfigError, FILE_BYTES_MAX, LIST_ENTRIES_MAX, VALUE_BYTES_MAX, assignments, unknown_directives,
};
pub use values::{
    AbsolutePath, BindPath, EnableOverlay, EnableUnderlay, Kind, List, MemoryFsType, MountDev,
    RootCapabilities, Setting, SetuidMountSquashfs, bind_path_parts,
};
