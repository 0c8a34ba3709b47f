//! The commands that make writable overlays.

use crate::confined::helper::Programs;
use crate::error::{Failure, Outcome};
use crate::file::{Existing, NewFile};
use crate::making::Interrupts;
use crate::message;
use std::path::{Path, PathBuf};

pub(crate) mod debugfs;
mod embed;
mod ext3;
mod layout;
pub mod marks;
mod seal;
mod sync;

use ext3::{Owner, Recipe};
use layout::Layout;
pub use seal::{SealOptions, seal};
pub use sync::{bring_up_to_date, sync};

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

/// Smallest `overlay create --size`, in MiB: what a journal and the inode tables leave useful.
pub const SIZE_MIB_MIN: u64 = 64;

/// Permission bits of a new image: it holds whatever its owner writes, so it is his alone until he says otherwise.
const IMAGE_MODE: u32 = 0o600;

/// Carries out `overlay create`.
///
/// # Errors
/// Says why nothing was created; an existing target is then as it was.
pub fn create(options: &CreateOptions) -> Outcome<()> {
    if options.size_mib < SIZE_MIB_MIN {
        return Err(Failure::new(format!("image size must be equal or greater than {SIZE_MIB_MIN} MiB")));
    }
    let recipe = Recipe {
        size_mib: options.size_mib,
        sparse: options.sparse,
        layout: Layout::new(&options.create_dirs)?,
        owner: if options.fakeroot { Owner::Root } else { Owner::Caller },
        programs: &options.programs,
    };
    // A link that leads nowhere is something too: it is for its owner to say what should become of it.
    match std::fs::symlink_metadata(&options.target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            create_standalone(&recipe, &options.target)
        }
        // Whatever else is wrong with the path is told by opening it.
        _ => embed::add_to_existing(&recipe, options),
    }
}

fn create_standalone(recipe: &Recipe<'_>, target: &Path) -> Outcome<()> {
    let interrupts = Interrupts::hold()?;
    let new = NewFile::beside(target, IMAGE_MODE)?;
    recipe.make_in(new.file(), target, &interrupts)?;
    interrupts.check()?;
    new.publish(Existing::Keep).map(drop)
}

/// Carries out `image.create`.
///
/// # Errors
/// Says why nothing was created; an existing target is then as it was.
pub fn image_create(options: &ImageCreateOptions) -> Result<(), ImageCreateError> {
    let exists = std::fs::symlink_metadata(&options.target).is_ok();
    if exists && !options.force {
        return Err(ImageCreateError::Exists);
    }
    create_image(options).map_err(ImageCreateError::Failed)
}

fn create_image(options: &ImageCreateOptions) -> Outcome<()> {
    let recipe = Recipe {
        size_mib: options.size_mib,
        sparse: false,
        layout: Layout::new(&[])?,
        owner: Owner::Caller,
        programs: &options.programs,
    };
    let target = message::shown(&options.target);
    let interrupts = Interrupts::hold()?;
    let new = NewFile::beside(&options.target, IMAGE_MODE)?;
    message::info(format!("Creating empty {}MiB image file: {target}", options.size_mib));
    message::info("Formatting image with ext3 file system");
    recipe.make_in(new.file(), &options.target, &interrupts)?;
    interrupts.check()?;
    new.publish(if options.force { Existing::Replace } else { Existing::Keep })?;
    message::info(format!("Image is done: {target}"));
    Ok(())
}
