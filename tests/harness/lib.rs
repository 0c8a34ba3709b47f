//! The language of the end-to-end tests: a [`World`] with a user in it, images, the site's configuration, and the
//! installed binaries run as that user.
//!
//! ```
//! let world = World::new();
//! let overlay = world.ext3_overlay(64);
//! world.lamina(["exec", "--overlay"]).arg(&overlay).arg(world.busybox_sif()).args(["touch", "/x"]).run().assert_ok();
//! ```
//!
//! The tests run as root on a machine that `packaging/test up` made ready. Each world is its own folder, and a
//! configuration is shown to one command in a mount namespace of its own, so tests run side by side. A world that
//! goes away fails its test if anything stayed behind: a mount, a loop device, a process.
#![deny(unsafe_code)]

mod command;
mod faulty_line;
mod images;
mod instance;
mod leak;
mod library;
mod loop_device;
mod machine;
mod oci;
mod plan;
mod registry;
#[allow(unsafe_code)]
mod sys;
mod world;

pub use command::{Command, Output, Running};
pub use faulty_line::FaultyLine;
pub use instance::Instance;
pub use library::Library;
pub use loop_device::LoopDevice;
pub use machine::{Installed, User, installed};
pub use oci::{Layout, umoci};
pub use plan::{HandMade, place};
pub use registry::{LOGIN, Registry, skopeo};
pub use world::{Mounted, World};
