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
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) mod ext3;
mod metadata;
mod sandbox;
mod sif_file;
mod skeleton;
mod source;
pub(crate) mod squashfs;
mod target;
mod temporary;

use source::Source;
pub use temporary::TemporarySandbox;

/// What `build` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name this program was called by, for the commands that hints name.
    pub program: String,
    /// The SIF file or directory to make.
    pub target: PathBuf,
    /// The build spec as it was typed: a path, or a reference that is refused with the reason.
    pub source: OsString,
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
#[derive(Clone, Copy)]
pub(crate) struct Tools<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) interrupts: &'a Interrupts,
}

/// Carries out `build`.
///
/// # Errors
/// Says why nothing was built; an existing target is then as it was.
pub fn build(options: &Options) -> Outcome<()> {
    let source = Source::open(&options.source)?;
    let existing = target::settle(options, &source)?;
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
