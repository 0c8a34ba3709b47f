//! `exec`, `run`, `shell` and `test`, and `explain`, which is `exec` up to the plan.

use super::given::Given;
use super::remote::Fetched;
use super::{Invocation, Stop};
use super::{dry_run, explain, instance, reference, remote};
use crate::error::Outcome;
use crate::intent::{Extraction, Intent};
use crate::message;
use crate::payload::Action;
use crate::sys::signal::Inherited;
use crate::user::Caller;
use crate::{cgroup, launch, oci_mode, planning, site};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The command that plans like `exec` and says why, instead of starting anything.
const EXPLAIN: &str = "explain";

/// Starts a container. Returns only when there is none.
pub(super) fn act(
    invocation: &Invocation,
    name: &str,
    mut given: Given,
    mut words: Vec<OsString>,
) -> Result<(), Stop> {
    let signals = Inherited::now();
    let image = words.remove(0);
    let words: Vec<Vec<u8>> = words.into_iter().map(OsString::into_vec).collect();
    let action = match name {
        "exec" | EXPLAIN => Action::Exec(words),
        "run" => Action::Run(words),
        "test" => Action::Test(words),
        _ => {
            if !words.is_empty() {
                message::warning("Parameters to shell command are ignored");
            }
            Action::Shell(given.last("shell").map(|shell| shell.to_owned().into_vec()), Vec::new())
        }
    };
    if let Some(name) = instance::name_in(&image).filter(|_| name != EXPLAIN) {
        return instance::join(invocation, name, action, given, signals);
    }
    let (site, caller) = (site::load()?, Caller::look_up()?);
    imply_oci(&mut given, &site);
    let (image, fetched) = on_this_machine(invocation, image, &given)?;
    let mut intent = settle(invocation, action, image, given)?;
    let only_asked = name == EXPLAIN || intent.dry_run.is_some();
    if only_asked && intent.extraction == Extraction::Demanded {
        message::info(
            "The image would be extracted to a temporary directory first; this is about the image itself",
        );
    }
    let extracted = if only_asked { None } else { planning::extract(&mut intent, &site)? };
    let planned = planning::plan(&intent, &site, &caller)?;
    // What the container needs of it is open now.
    drop(fetched);
    if name == EXPLAIN {
        return explain::print(&planned, &intent, &site, &caller);
    }
    if let Some(form) = intent.dry_run {
        return Ok(dry_run::print(&planned, form)?);
    }
    if intent.writable_tmpfs && !caller.is_root() {
        message::info(limit_of_memory(&site));
    }
    if let Some(limits) = &intent.limits {
        cgroup::enter(limits, &caller)?;
    }
    let payload = planning::payload(&intent, planned.container(), signals);
    if intent.oci.is_some() {
        match oci_mode::start(planned, payload, &intent, &site)? {}
    }
    match launch::start(planned, &payload, &site, planning::may_extract(&intent, &site), extracted)? {}
}

/// The path of an image; one that is elsewhere is fetched, and may be gone when that value is dropped.
pub(super) fn on_this_machine(
    invocation: &Invocation,
    image: OsString,
    given: &Given,
) -> Result<(PathBuf, Option<Fetched>), Stop> {
    if reference::split(&image)?.is_none() {
        return Ok((PathBuf::from(image), None));
    }
    let fetched = remote::fetch(invocation, given)?;
    Ok((fetched.path.clone(), Some(fetched)))
}

/// `oci mode = yes` is as if `--oci` had been given.
fn imply_oci(given: &mut Given, site: &config::Settings) {
    if site.oci_mode.value && !given.is_on("no-oci") {
        given.imply("oci");
    }
}

/// What is wanted of this image.
pub(super) fn settle(
    invocation: &Invocation,
    action: Action,
    image: PathBuf,
    given: Given,
) -> Outcome<Intent> {
    let program = invocation.program.clone();
    Intent::settle(program, invocation.dialect, action, image, given, &invocation.host)
}

/// Said before, because nobody of ours is left to explain a "No space left on device" of the user's program.
fn limit_of_memory(site: &config::Settings) -> String {
    let mib = site.sessiondir_max_size.value;
    format!(
        "Changes are kept in memory, {mib} MiB at most ('sessiondir max size' in {}), and are gone at the end",
        site::path()
    )
}
