//! The commands that make writable overlays.

use crate::confined::helper::Programs;
use crate::error::{Failure, Outcome};
use std::path::PathBuf;

/// What `overlay create` was asked for.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The name this program was called by, for the commands that hints name.
    pub program: String,
    /// The image to create, or the SIF file that gets an overlay partition.
    pub target: PathBuf,
    /// `--size`, in MiB.
    pub size_mib: u64,
    /// `--sparse`: take disk space only as it is used.
    pub sparse: bool,
    /// `--create-dir`, in order.
    pub create_dirs: Vec<PathBuf>,
    /// `--fakeroot`: owned by the root that a root-mapped run has.
    pub fakeroot: bool,
    /// Where helper programs come from.
    pub programs: Programs,
}

/// What `image.create` of the 2.4 command line was asked for.
#[derive(Clone, Debug)]
pub struct ImageCreateOptions {
    /// The image to create.
    pub target: PathBuf,
    /// `--size`, in MiB.
    pub size_mib: u64,
    /// `--force`: replace an existing file.
    pub force: bool,
    /// Where helper programs come from.
    pub programs: Programs,
}

/// Why [`image_create`] made nothing.
#[derive(Debug)]
pub enum ImageCreateError {
    /// The target exists and `--force` was not given: an `ERROR:` line and exit code 1 on the 2.4 command line.
    Exists,
    /// Anything else.
    Failed(Failure),
}

/// Default of `overlay create --size`, in MiB.
pub const SIZE_MIB_DEFAULT: u64 = 64;
/// Default of `image.create --size`, in MiB.
pub const IMAGE_CREATE_SIZE_MIB_DEFAULT: u64 = 768;

/// Carries out `overlay create`.
///
/// # Errors
/// Says why nothing was created; an existing target is then as it was.
pub fn create(options: &CreateOptions) -> Outcome<()> {
    let _ = options;
    Err(Failure::new("overlay create is being written"))
}

/// Carries out `image.create`.
///
/// # Errors
/// Says why nothing was created; an existing target is then as it was.
pub fn image_create(options: &ImageCreateOptions) -> Result<(), ImageCreateError> {
    let _ = options;
    Err(ImageCreateError::Failed(Failure::new(
        "image.create is being written",
    )))
}
