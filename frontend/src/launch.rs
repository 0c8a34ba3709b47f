//! The last thing the frontend does: become the starter, with the plan, the payload and the sources in place.

use crate::build::{TemporarySandbox, Tools};
use crate::envelope::{self, Inherited};
use crate::error::{Doing, FAILURE_STATUS, Failure, Outcome};
use crate::flow::namespace::{self, Mapping, Outside};
use crate::flow::proc;
use crate::flow::serving::{self, Directories, View};
use crate::flow::{Flow, Reason, ownership};
use crate::fuse::{Owners, Servers};
use crate::making::Interrupts;
use crate::message;
use crate::monitor;
use crate::payload::{self, Payload};
use crate::planning::{Extracted, Planned, Source};
use crate::sys::descriptors;
use crate::sys::fork::fork_to;
use config::Settings;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use protocol::{PAYLOAD_FD, PLAN_FD, Plan, Request, SOURCE_FD_FIRST, frame};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where `make install PREFIX=` puts the helpers.
pub const PREFIX: &str = match option_env!("LAMINA_PREFIX") {
    Some(folder) => folder,
    None => "/usr/local",
};

/// Where one of the programs is that only other programs start; fixed when this one was built.
#[must_use]
pub fn own_program(name: &str) -> String {
    format!("{PREFIX}/libexec/lamina/bin/{name}")
}

/// A directory of the installation that nothing is read from while a container starts: mounts of a user namespace are
/// made there, where only that namespace sees them.
pub(crate) fn stage() -> String {
    format!("{PREFIX}/share/lamina")
}

/// Where the setuid starter is.
#[must_use]
pub fn setuid_starter() -> String {
    own_program("starter-suid")
}

/// Becomes the starter, and so the container. Where servers must outlive the container, a child does, and this process
/// waits for both and ends as the container did.
///
/// # Errors
/// The starter is missing, the host forbids what the flow needs, a server failed, or the kernel gave no memory or
/// descriptors.
pub fn start(
    planned: Planned,
    payload: &Payload,
    site: &Settings,
    may_extract: bool,
    extracted: Option<Extracted>,
) -> Outcome<Infallible> {
    message::verbose(format!("Starting through {}: {}", planned.flow(), planned.reason));
    // An instance outlives the command that starts it, and whoever left something open for that.
    let inherited = if payload.instance { Inherited::default() } else { Inherited::take() };
    let payload = envelope::seal(sealed(&payload::encode(payload)?)?, &payload.file_systems, inherited)?;
    let mapping = planned.mapping();
    let Planned { plan, sources, reason, fuse_overlay, .. } = planned;
    match reason.flow() {
        Flow::Setuid => {
            let sources = sources.into_iter().map(|Source { file, .. }| file).collect();
            let container = || become_starter(&setuid_starter(), &plan.into(), payload, sources);
            in_place_or_attended(container, extracted)
        }
        Flow::UserNamespace => {
            let inner = ownership::inner(&plan, &sources, &mapping)?;
            let mapping = if inner.is_some() { Mapping::own() } else { mapping };
            let outside = Outside::of(sources)?;
            namespace::enter(&mapping, &reason)?;
            if fuse_overlay || serving::has_image_files(&plan) {
                let view = View { outside, owners: owners(&mapping), fuse_overlay };
                return with_servers(&plan, payload, site, (view, inner), may_extract, extracted);
            }
            let sources = outside.open_all_again()?;
            in_place_or_attended(|| start_unprivileged(plan, payload, sources), extracted)
        }
    }
}

/// Whose the files of images are.
pub(crate) fn owners(mapping: &Mapping) -> Owners {
    if mapping.has_everybody() { Owners::Recorded } else { Owners::Caller }
}

/// Becomes the container, or starts it and stays where there is something to remove when it has ended.
fn in_place_or_attended(
    container: impl FnOnce() -> Outcome<Infallible>,
    extracted: Option<Extracted>,
) -> Outcome<Infallible> {
    match extracted {
        None => container(),
        Some(extracted) => attend(container, |_| {
            extracted.remove();
            Ok(())
        }),
    }
}

/// Serves the plan's image files for as long as the container runs.
fn with_servers(
    plan: &Plan,
    payload: OwnedFd,
    site: &Settings,
    (view, inner): (View, Option<Mapping>),
    may_extract: bool,
    extracted: Option<Extracted>,
) -> Outcome<Infallible> {
    let programs = crate::site::programs(site);
    let interrupts = Interrupts::hold()?;
    let mut servers = Servers::new(&programs, &interrupts);
    let fallback = may_extract.then_some(Tools { programs: &programs, interrupts: &interrupts });
    let Directories { plan, sources, sandbox, .. } =
        serving::serve(plan, site, &view, &mut servers, fallback, Path::new(&stage()))?;
    interrupts.check()?;
    let container = || {
        let sources = match inner {
            Some(mapping) => enter_again(&mapping, sources)?,
            None => sources,
        };
        // What the container writes after its servers have gone would be lost.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).doing(|| "tying the container".into())?;
        start_unprivileged(plan, payload, sources)
    };
    attend(container, |asked| {
        if asked {
            servers.end_users();
        }
        let finished = servers.finish();
        drop(view);
        sandbox.into_iter().for_each(TemporarySandbox::remove);
        extracted.into_iter().for_each(Extracted::remove);
        finished
    })
}

/// Enters a user namespace inside of the one this process is in, with what was opened there.
fn enter_again(mapping: &Mapping, sources: Vec<OwnedFd>) -> Outcome<Vec<OwnedFd>> {
    let named = |file| Source { file, path: "a part of the container".into() };
    let outside = Outside::of(sources.into_iter().map(named).collect())?;
    namespace::enter(mapping, &Reason::Fakeroot)?;
    outside.open_all_again()
}

/// Starts a container, waits for it, tidies up, and ends as it did, or with a failure to tidy up. `tidy_up` is told whether
/// somebody asked for the end.
///
/// # Errors
/// As `tidy_up`; there can be no further process.
pub(crate) fn attend(
    container: impl FnOnce() -> Outcome<Infallible>,
    tidy_up: impl FnOnce(bool) -> Outcome<()>,
) -> Outcome<Infallible> {
    let container = fork_to(|| {
        let Err(failure) = container();
        message::failure(&failure);
        FAILURE_STATUS.into()
    })
    .doing(|| "starting the container".into())?;
    let end = monitor::follow(container);
    tidy_up(end.as_ref().is_ok_and(|end| end.asked))?;
    std::process::exit(monitor::end_like(end?.fate))
}

/// Becomes the starter, for a process in the instance whose process 1 this descriptor holds. Returns only when that did
/// not work.
///
/// # Errors
/// As [`start`]; the instance has ended.
pub fn join(process: OwnedFd, flow: Flow, payload: &Payload) -> Outcome<Infallible> {
    let payload = envelope::seal(sealed(&payload::encode(payload)?)?, &[], Inherited::take())?;
    match flow {
        Flow::Setuid => become_starter(&setuid_starter(), &Request::Join, payload, vec![process]),
        Flow::UserNamespace => {
            setns(&process, CloneFlags::CLONE_NEWUSER).doing(|| "joining the instance".into())?;
            become_unprivileged_starter(&Request::Join, payload, vec![process])
        }
    }
}

fn start_unprivileged(plan: Plan, payload: OwnedFd, mut sources: Vec<OwnedFd>) -> Outcome<Infallible> {
    let plan = proc::settle(plan, &mut sources)?;
    become_unprivileged_starter(&plan.into(), payload, sources)
}

fn become_unprivileged_starter(
    request: &Request,
    payload: OwnedFd,
    sources: Vec<OwnedFd>,
) -> Outcome<Infallible> {
    namespace::keep_capabilities()?;
    become_starter(&own_program("starter"), request, payload, sources)
}

fn become_starter(
    starter: &str,
    request: &Request,
    payload: OwnedFd,
    sources: Vec<OwnedFd>,
) -> Outcome<Infallible> {
    let fixed = [(request_pipe(request)?, PLAN_FD), (payload, PAYLOAD_FD)];
    place(fixed.into_iter().chain(sources.into_iter().zip(SOURCE_FD_FIRST..)).collect())?;
    let path = CString::new(starter).unwrap_or_default();
    let name = CString::new(starter.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
    nix::unistd::execve(&path, &[&name], &[] as &[&std::ffi::CStr])
        .doing(|| format!("starting {starter}"))
        .map_err(|failure| {
            failure.hint("ask the administrator to repair the installation with 'make install'")
        })
}

/// A pipe that holds the whole request already, so nobody has to stay to write it.
fn request_pipe(request: &Request) -> Outcome<OwnedFd> {
    let bytes = frame::encode(request).map_err(|error| Failure::new(error.to_string()))?;
    let (reader, writer) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).doing(|| "making a pipe".into())?;
    File::from(writer).write_all(&bytes).doing(|| "writing the plan".into())?;
    Ok(reader)
}

/// A memory file that nobody can change any more.
///
/// # Errors
/// The kernel has no memory or descriptors left.
pub(crate) fn sealed(bytes: &[u8]) -> Outcome<OwnedFd> {
    let doing = || "storing the payload in memory".to_owned();
    let memory =
        memfd_create(c"payload", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).doing(doing)?;
    let mut memory = File::from(memory);
    memory.write_all(bytes).doing(doing)?;
    memory.rewind().doing(doing)?;
    let seals =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).doing(doing)?;
    Ok(memory.into())
}

/// Gives descriptors these numbers for the next program.
///
/// # Errors
/// There are more than this process may have.
pub(crate) fn place(numbered: Vec<(OwnedFd, i32)>) -> Outcome<()> {
    descriptors::place_all(numbered).doing(|| "arranging descriptors for the container".into())
}
