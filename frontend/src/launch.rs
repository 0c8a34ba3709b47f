//! The last thing the frontend does: become the starter, with the plan, the payload and the sources in place.

use crate::error::{Doing, Failure, Outcome};
use crate::flow::Flow;
use crate::flow::namespace::{self, Mapping, Outside};
use crate::message::{self, shown};
use crate::payload::{self, Payload};
use crate::planning::{Planned, Source};
use crate::sys::descriptors;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use protocol::{Content, PAYLOAD_FD, PLAN_FD, SOURCE_FD_FIRST, frame};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;

/// Where `make install PREFIX=` puts the helpers.
const PREFIX: &str = match option_env!("LAMINA_PREFIX") {
    Some(folder) => folder,
    None => "/usr/local",
};

/// Where one of the programs is that only other programs start; fixed when this one was built.
#[must_use]
pub fn own_program(name: &str) -> String {
    format!("{PREFIX}/libexec/lamina/bin/{name}")
}

/// Where the setuid starter is.
#[must_use]
pub fn setuid_starter() -> String {
    own_program("starter-suid")
}

/// Becomes the starter. Returns only when that did not work.
///
/// # Errors
/// The starter is missing, the host forbids what the flow needs, or the kernel gave no memory or descriptors.
pub fn start(planned: Planned, payload: &Payload) -> Outcome<Infallible> {
    message::verbose(format!("Starting through {}: {}", planned.flow(), planned.reason));
    let plan = plan_pipe(&planned)?;
    let payload = sealed(&payload::encode(payload)?)?;
    match planned.flow() {
        Flow::Setuid => {
            let sources = planned.sources.into_iter().map(|Source { file, .. }| file).collect();
            place(plan, payload, sources)?;
            become_starter(&setuid_starter())
        }
        Flow::UserNamespace => {
            require_directories(&planned)?;
            let sources = Outside::of(planned.sources)?;
            namespace::enter(&Mapping::own(), &planned.reason)?;
            place(plan, payload, sources.open_again()?)?;
            namespace::keep_capabilities()?;
            become_starter(&own_program("starter"))
        }
    }
}

fn become_starter(starter: &str) -> Outcome<Infallible> {
    let path = CString::new(starter).unwrap_or_default();
    let name = CString::new(starter.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
    nix::unistd::execve(&path, &[&name], &[] as &[&std::ffi::CStr])
        .doing(|| format!("starting {starter}"))
        .map_err(|failure| {
            failure.hint("ask the administrator to repair the installation with 'make install'")
        })
}

/// Image files need loop devices, which belong to the machine.
fn require_directories(planned: &Planned) -> Outcome<()> {
    let file = planned.plan.images().find(|image| image.content != Content::Directory);
    let source = file.and_then(|image| planned.sources.get(usize::from(image.descriptor.0)));
    match source {
        None => Ok(()),
        Some(source) => Err(Failure::new(format!(
            "{} is an image file, which cannot be mounted in a user namespace ({})",
            shown(&source.path),
            planned.reason
        ))
        .hint("'build --sandbox' makes a directory of an image")),
    }
}

/// A pipe that holds the whole plan already, so nobody has to stay to write it.
fn plan_pipe(planned: &Planned) -> Outcome<OwnedFd> {
    let bytes = frame::encode(&planned.plan).map_err(|error| Failure::new(error.to_string()))?;
    let (reader, writer) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).doing(|| "making a pipe".into())?;
    File::from(writer).write_all(&bytes).doing(|| "writing the plan".into())?;
    Ok(reader)
}

/// A memory file that nobody can change any more.
fn sealed(bytes: &[u8]) -> Outcome<OwnedFd> {
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

/// Moves everything out of the way of the fixed numbers first, then to them.
fn place(plan: OwnedFd, payload: OwnedFd, sources: Vec<OwnedFd>) -> Outcome<()> {
    let doing = || "arranging descriptors for the starter".to_owned();
    let fixed = [(plan, PLAN_FD), (payload, PAYLOAD_FD)];
    let numbered: Vec<(OwnedFd, i32)> =
        fixed.into_iter().chain(sources.into_iter().zip(SOURCE_FD_FIRST..)).collect();
    let first_free = numbered.iter().map(|(_, number)| number + 1).max().unwrap_or(SOURCE_FD_FIRST);
    let mut away = Vec::with_capacity(numbered.len());
    for (fd, number) in numbered {
        away.push((descriptors::copy_above(&fd, first_free).doing(doing)?, number));
    }
    for (fd, number) in &away {
        descriptors::place(fd, *number).doing(doing)?;
    }
    Ok(())
}
