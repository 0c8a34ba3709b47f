//! Everything of Lamina the user touches. Nothing here is ever privileged.
//!
//! Data flows one way: what was typed ([`cli`]) becomes what is wanted ([`intent`]); the images it names are
//! opened and inspected ([`image`], [`sif`], [`oci_sif`]); both become a plan ([`planning`]), a payload ([`payload`]) and, at
//! last, the exec of the starter ([`launch`]). On the other side of the mounts the payload is carried out by
//! [`init`]. The commands that write files live in [`overlay`] and [`build`], those of administrators in
//! [`admin`].
#![deny(unsafe_code)]

pub mod message;
pub mod error;
pub mod spelling;
#[allow(unsafe_code)]
pub mod sys;
pub mod confined;
pub mod image;
pub mod sif;
pub mod oci_sif;
pub mod oci_mode;
pub mod ext3;
pub mod lock;
pub mod file;
pub mod making;
pub mod fuse;
pub mod fusemount;
pub mod overlay;
pub mod build;
pub mod inspect;
pub mod cli;
pub mod user;
pub mod site;
pub mod cgroup;
pub mod intent;
pub mod flow;
pub mod monitor;
pub mod planning;
pub mod payload;
pub mod envelope;
pub mod instance;
pub mod launch;
pub mod process;
pub mod init;
pub mod admin;
