//! What the choice of a flow is made from.

use super::host;
use crate::intent::Intent;
use crate::launch::setuid_starter;
use crate::user::Caller;
use config::Settings;
use protocol::{Content, Plan, Writable};
use std::fmt;
use std::path::Path;

/// Everything that decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The caller asked for a user namespace.
    pub asked: bool,
    /// This process is in a user namespace that somebody made.
    pub inside: bool,
    /// The caller is root, who needs the starter but not its setuid bit, and the starter is installed.
    pub root: bool,
    /// Why the setuid starter has no power here, if that is so.
    pub powerless: Option<String>,
    /// The line of `allow setuid = no`, where the site says that.
    pub disallowed: Option<Option<u32>>,
    /// What of the plan the setuid starter would refuse to a user, and a user namespace can do.
    pub needs: Vec<Need>,
}

/// Something that the setuid starter does not do for users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// A directory as overlay.
    DirectoryOverlay,
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::DirectoryOverlay => "only root user can use sandbox as overlay in setuid mode",
        })
    }
}

impl Facts {
    /// What can be said before anything is planned.
    #[must_use]
    pub fn gather(intent: &Intent, site: &Settings, caller: &Caller) -> Self {
        Self {
            asked: intent.userns,
            inside: host::in_user_namespace(),
            root: caller.is_root() && Path::new(&setuid_starter()).exists(),
            powerless: host::setuid_fault(),
            disallowed: (!site.allow_setuid.value).then_some(site.allow_setuid.line),
            needs: Vec::new(),
        }
    }

    /// The same, and what a plan needs.
    #[must_use]
    pub fn with_plan(self, plan: &Plan) -> Self {
        Self { needs: needs(plan), ..self }
    }
}

fn needs(plan: &Plan) -> Vec<Need> {
    let upper = match &plan.writable {
        Writable::Overlay(image) => Some(image),
        Writable::Nothing | Writable::Root | Writable::Tmpfs => None,
    };
    let mut overlays = plan.layers.iter().chain(upper);
    let directory = overlays.any(|image| image.content == Content::Directory);
    directory.then_some(Need::DirectoryOverlay).into_iter().collect()
}
