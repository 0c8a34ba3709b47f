//! `build`: from what is on this machine (a sandbox, a SIF, a bare image) to a SIF or a sandbox.
//!
//! [`source`] says what there is to build from, [`target`] what may become of what is in the way; [`sif_file`] and
//! [`sandbox`] make the two kinds of result. A source is never changed: what a native image has beside a distribution
//! ([`skeleton`]) and the source lacks goes into the result only.

use crate::confined::helper::Programs;
use crate::error::Outcome;
use crate::file::Existing;
use crate::making::Interrupts;
use crate::message::{self, shown};
use std::path::PathBuf;

pub mod definition;
pub(crate) mod ext3;
mod metadata;
mod origin;
pub mod recipe;
mod sandbox;
mod sif_file;
mod skeleton;
mod source;
pub(crate) mod squashfs;
mod target;
mod temporary;

pub use metadata::{Labels, Metadata};
pub use origin::Origin;
pub use sif_file::NativeSif;
pub use skeleton::Part;
pub use squashfs::{as_archive, describe_root, pack_archive};

use source::Source;
pub use source::is_definition;
pub use target::check_place;
pub use temporary::TemporarySandbox;

/// What `build` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name this program was called by, for the commands that hints name.
    pub program: String,
    /// The SIF file or directory to make.
    pub target: PathBuf,
    /// The image or directory to build from.
    pub source: PathBuf,
    /// Where the source came from, if it was fetched to be built from.
    pub origin: Option<Origin>,
    /// `--sandbox`: make a directory.
    pub sandbox: bool,
    /// `--force`: replace an existing target without asking.
    pub force: bool,
    /// Where helper programs come from.
    pub programs: Programs,
}

/// What every step of a build needs.
struct Job<'a> {
    options: &'a Options,
    source: &'a Source,
    /// What may become of a target that is there already.
    existing: Existing,
    tools: Tools<'a>,
}

/// Where helper programs come from, and what ends them early.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'a> {
    /// Where they come from.
    pub programs: &'a Programs,
    /// What ends them early.
    pub interrupts: &'a Interrupts,
}

/// Carries out `build`.
///
/// # Errors
/// Says why nothing was built; an existing target is then as it was.
pub fn build(options: &Options) -> Outcome<()> {
    let source = Source::open(&options.source, options.origin.as_ref())?;
    let existing = target::settle(options, Some(&source))?;
    message::info("Starting build...");
    let tools = Tools { programs: &options.programs, interrupts: &Interrupts::hold()? };
    let job = Job { options, source: &source, existing, tools };
    if options.sandbox {
        message::info("Creating sandbox directory...");
        sandbox::make(&job)?;
    } else {
        message::info("Creating SIF file...");
        sif_file::make(&job)?;
    }
    message::info(format!("Build complete: {}", shown(&options.target)));
    Ok(())
}
