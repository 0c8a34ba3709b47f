//! Signatures of images, and the keys that make and check them: what `lamina-keys` does for `lamina`.
//!
//! [`coverage`] is the text that is signed; [`clearsign`] and [`dsse`] are the two ways of signing it; [`verify`](mod@verify) and
//! [`sign`](mod@sign) bring both together in a SIF. [`ring`] is where OpenPGP keys are kept, and [`certificate`] what they say
//! of themselves.
#![forbid(unsafe_code)]

pub mod certificate;
pub mod clearsign;
mod commands;
pub mod coverage;
pub mod digest;
pub mod dsse;
pub mod image;
mod prompt;
pub mod raw_key;
pub mod ring;
pub mod sign;
pub mod verify;

use frontend::cli::delegate::Handler;

/// The commands that this program carries out.
pub const HANDLERS: &[Handler] = &[
    ("sign", commands::sign::sign),
    ("verify", commands::verify::verify),
    ("key newpair", commands::key::newpair),
    ("key list", commands::key::list),
    ("key import", commands::key::import),
    ("key export", commands::key::export),
    ("key remove", commands::key::remove),
];
