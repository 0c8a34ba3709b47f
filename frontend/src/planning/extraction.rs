//! An image that is extracted to a temporary directory before anything is planned.

use crate::build::{TemporarySandbox, Tools};
use crate::error::{Failure, Outcome};
use crate::intent::{Extraction, Intent};
use crate::making::Interrupts;
use crate::message;
use crate::site;
use config::Settings;

/// The directory, and the signals that are held back until it is removed.
#[derive(Debug)]
pub struct Extracted {
    // Dropped in this order.
    sandbox: TemporarySandbox,
    _interrupts: Interrupts,
}

impl Extracted {
    /// Removes the directory, and lets the signals come that were held back.
    pub fn remove(self) {
        self.sandbox.remove();
    }
}

/// Whether an image may be extracted where it cannot be mounted.
#[must_use]
pub fn is_permitted(intent: &Intent, site: &Settings) -> bool {
    site.tmp_sandbox.value && intent.extraction != Extraction::Forbidden
}

/// Extracts the image and has the container made of the directory, if that is demanded and it is no directory already.
///
/// # Errors
/// The site forbids it, or it cannot be extracted.
pub fn extract(intent: &mut Intent, site: &Settings) -> Outcome<Option<Extracted>> {
    if intent.extraction != Extraction::Demanded {
        return Ok(None);
    }
    if !site.tmp_sandbox.value {
        return Err(Failure::new(
            "unpacking image to temporary sandbox dir required, but is prohibited by 'tmp sandbox = no' in the \
             configuration",
        )
        .hint("leave --tmp-sandbox and --unsquash out: the image is mounted then"));
    }
    let interrupts = Interrupts::hold()?;
    let programs = site::programs(site);
    let tools = Tools { programs: &programs, interrupts: &interrupts };
    let Some(sandbox) = TemporarySandbox::of(&intent.image, tools)? else {
        return Ok(None);
    };
    if intent.writable {
        message::warning(
            "--writable applies to temporary sandbox only, changes will not be written to the original image.",
        );
    }
    intent.image = sandbox.root().to_path_buf();
    Ok(Some(Extracted { sandbox, _interrupts: interrupts }))
}
