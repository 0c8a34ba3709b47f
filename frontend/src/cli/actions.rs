//! `exec`, `run`, `shell` and `test`, and `explain`, which is `exec` up to the plan.

use super::given::Given;
use super::{Invocation, Stop};
use super::{dry_run, explain};
use crate::error::{Failure, Outcome};
use crate::intent::Intent;
use crate::message;
use crate::payload::{Action, Dialect};
use crate::sys::signal;
use crate::user::Caller;
use crate::{launch, planning, site};
use protocol::Writable;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The command that plans like `exec` and says why, instead of starting anything.
const EXPLAIN: &str = "explain";

/// Schemes that the incumbents fetch images from, and what to do instead.
const SCHEMES: [(&str, &str); 12] = [
    ("instance", "instances are not part of this version"),
    ("library", "fetch the image with a program that knows the library, and name the file"),
    ("shub", "Singularity Hub was closed in 2021; look for the image in another registry"),
    ("docker", OCI_TOOLS),
    ("docker-daemon", OCI_TOOLS),
    ("docker-archive", OCI_TOOLS),
    ("oci", OCI_TOOLS),
    ("oci-archive", OCI_TOOLS),
    ("oci-sif", OCI_TOOLS),
    ("oras", "fetch the image with an ORAS client, and name the file"),
    ("http", "fetch the image with curl or wget, and name the file"),
    ("https", "fetch the image with curl or wget, and name the file"),
];
const OCI_TOOLS: &str =
    "unpack the image with OCI tools (skopeo copy, umoci unpack), then build a SIF from the directory";

/// Starts a container. Returns only when there is none.
pub(super) fn act(
    invocation: &Invocation,
    name: &str,
    given: Given,
    mut words: Vec<OsString>,
) -> Result<(), Stop> {
    let image = words.remove(0);
    refuse_reference(&image)?;
    let words: Vec<Vec<u8>> = words.into_iter().map(OsString::into_vec).collect();
    let action = match name {
        "exec" | EXPLAIN => Action::Exec(words),
        "run" => Action::Run(words),
        "test" => Action::Test(words),
        _ => {
            if !words.is_empty() && invocation.dialect == Dialect::Apptainer {
                message::warning("Parameters to shell command are ignored");
            }
            Action::Shell(given.last("shell").map(|shell| shell.to_owned().into_vec()), Vec::new())
        }
    };
    let site = site::load()?;
    let intent = Intent::settle(
        invocation.program.clone(),
        invocation.dialect,
        action,
        PathBuf::from(image),
        given,
        &invocation.host,
    )?;
    let caller = Caller::look_up()?;
    let planned = planning::plan(&intent, &site, &caller)?;
    if name == EXPLAIN {
        return explain::print(&planned, &intent, &site, &caller);
    }
    if let Some(form) = intent.dry_run {
        return Ok(dry_run::print(&planned, form)?);
    }
    if planned.plan.writable == Writable::Tmpfs && !caller.is_root() {
        message::info(limit_of_memory(&site));
    }
    let payload = planning::payload(&intent, &planned, signal::ignored_signals());
    match launch::start(planned, &payload, &site)? {}
}

/// Said before, because nobody of ours is left to explain a "No space left on device" of the user's program.
fn limit_of_memory(site: &config::Settings) -> String {
    let mib = site.sessiondir_max_size.value;
    format!(
        "Changes are kept in memory, {mib} MiB at most ('sessiondir max size' in {}), and are gone at the end",
        site::path()
    )
}

/// A reference is a URI where it has `://`, or a known scheme before its first colon; everything else is a path.
fn refuse_reference(reference: &OsStr) -> Outcome<()> {
    let Some(text) = reference.to_str() else {
        return Ok(());
    };
    let Some((scheme, rest)) = text.split_once(':') else {
        return Ok(());
    };
    let known = SCHEMES.iter().find(|(name, _)| *name == scheme);
    let shown = message::shown(reference);
    match known {
        Some((_, instead)) => {
            Err(Failure::new(format!("Unable to handle {shown} uri: {scheme} images are not supported"))
                .hint(*instead))
        }
        None if rest.starts_with("//") => Err(Failure::new(format!(
            "Unable to handle {shown} uri: unsupported transport type: {}",
            message::shown(scheme)
        ))),
        None => Ok(()),
    }
}
