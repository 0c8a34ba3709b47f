//! Definition files: what an image is made from, and what is done to it.
//!
//! Reading one is pure: text in, [`Definition`] or a [`Fault`] with its line out. [`lines`] takes the text apart and puts
//! build arguments in, [`stage`] says what the parts mean.

mod arguments;
mod files;
mod header;
mod lines;
mod stage;

pub use arguments::{Arguments, parse_file as parse_argument_file, parse_one as parse_argument};
pub use files::{FileSet, Transfer};
pub use header::{Bootstrap, Header};
pub(super) use stage::label;
pub use stage::{App, Script, Stage};

use crate::error::Failure;
use crate::message::shown;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// Most bytes of a definition file, before and after build arguments are put in.
pub const DEFINITION_BYTES_MAX: usize = 1 << 20;
/// Most stages of one.
const STAGES_MAX: usize = 64;

/// A whole definition file. There is at least one stage, and the last one becomes the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// In the order in which they are built.
    pub stages: Vec<Stage>,
    /// Build arguments that were given and are in no stage.
    pub unused: Vec<String>,
}

/// Why a text is no definition file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong there. It may quote what is there.
    pub what: String,
}

impl Fault {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }

    /// The same for somebody who knows the file by this path, as something of this kind.
    #[must_use]
    pub fn in_file(&self, path: &Path, kind: &str) -> Failure {
        Failure::new(format!("while parsing {kind}: {}:{}: {}", shown(path), self.line, shown(&self.what)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "line {}: {}", self.line, shown(&self.what))
    }
}

impl Definition {
    /// All of it, with build arguments put in.
    #[must_use]
    pub fn text(&self) -> String {
        self.stages.iter().map(|stage| stage.text.as_str()).collect()
    }

    /// Reads a definition, with values for its build arguments.
    ///
    /// # Errors
    /// The first fault that is found.
    pub fn parse(text: &str, given: &Arguments) -> Result<Self, Fault> {
        if text.len() > DEFINITION_BYTES_MAX {
            return Err(Fault::new(1, format!("this is longer than {DEFINITION_BYTES_MAX} bytes")));
        }
        let pieces = lines::stages(text);
        if pieces.len() > STAGES_MAX {
            return Err(Fault::new(1, format!("there are more than {STAGES_MAX} stages")));
        }
        let (mut used, mut room) = (BTreeSet::new(), DEFINITION_BYTES_MAX);
        let mut stages: Vec<Stage> = Vec::new();
        for piece in pieces {
            let stage = Stage::parse(&arguments::put_in(&piece, given, &mut used, &mut room)?)?;
            check_stage(&stage, &stages)?;
            stages.push(stage);
        }
        let unused = given.keys().filter(|name| !used.contains(*name)).cloned().collect();
        Ok(Self { stages, unused })
    }
}

/// What a stage says of others must be so.
fn check_stage(stage: &Stage, before: &[Stage]) -> Result<(), Fault> {
    let named = |name: &str| before.iter().any(|other| other.name() == Some(name));
    if let Some(name) = stage.name()
        && named(name)
    {
        return Err(Fault::new(stage.line, format!("there is a stage {name} already")));
    }
    let sets = stage.files.iter().chain(stage.apps.values().flat_map(|app| &app.files));
    for set in sets {
        if let Some(name) = &set.stage
            && !named(name)
        {
            return Err(Fault::new(set.line, format!("no stage before this one is called {name}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
