//! What one side of Lamina may say to the other.
//!
//! The unprivileged frontend describes a container as a [`Plan`]: words of purpose ("this descriptor is the root
//! file system, a squashfs of that many bytes at that offset"), never of mechanism. No mount flag, option text,
//! uid, environment or host path has a place in it. [`frame`] turns a plan into one bounded run of bytes for the
//! pipe and back. Everything decoded is still a *claim*: the starter checks it against the descriptors and the
//! site's configuration before anything is done.
#![forbid(unsafe_code)]

pub mod frame;
pub mod path;
pub mod plan;

pub use path::ContainerPath;
pub use plan::*;
