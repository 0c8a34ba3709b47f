//! The end of this program: everything that is left goes to `init`, which runs as the caller.

use crate::drop_root::Unprivileged;
use crate::policy::Permit;
use crate::refusal::{self, Refusal, Step};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, execveat};
use protocol::{ACCOUNT_FD_FIRST, AccountFile, INSTANCE_FD, PAYLOAD_FD};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::PidfdFlags;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

/// Where `make install PREFIX=` puts the helpers.
const PREFIX: &str = match option_env!("LAMINA_PREFIX") {
    Some(folder) => folder,
    None => "/usr/local",
};
/// Descriptors that are still needed live at this number or above, out of the way of the fixed ones.
const KEPT_FD_FIRST: i32 = 32;
const INIT_NAME: &CStr = c"lamina-init";

/// Our own `init`, opened before the container's root hides it.
pub struct Init(OwnedFd);

/// Opens `init` at its fixed path.
pub fn open_init() -> Result<Init, Refusal> {
    let path = format!("{PREFIX}/libexec/lamina/bin/init");
    let file = rustix::fs::openat(CWD, &*path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .step(format!("opening {path}"))?;
    Ok(Init(keep(&file)?))
}

/// A copy of a descriptor at [`KEPT_FD_FIRST`] or above.
pub fn keep(fd: &OwnedFd) -> Result<OwnedFd, Refusal> {
    rustix::io::fcntl_dupfd_cloexec(fd, KEPT_FD_FIRST).map_err(|error| match error {
        rustix::io::Errno::INVAL | rustix::io::Errno::MFILE => {
            Refusal::new("the limit on open files is too low for the starter")
                .hint("raise it: 'ulimit -n 1024'")
        }
        error => Refusal::failed("keeping a descriptor", refusal::errno(error)),
    })
}

/// Says what is not as asked for, if the caller wants to know. Only after everything was given up.
pub fn warn(_proof: &Unprivileged, permit: &Permit, warnings: &[String]) {
    for warning in warnings.iter().filter(|_| permit.plan.warnings) {
        refusal::say("WARNING: ", warning);
    }
}

/// The process that is going to wait outside a PID namespace, as its child can see it: in there its id means nothing.
pub struct Monitor {
    process: OwnedFd,
    /// Closed when the child becomes `init`, or ends.
    _under_way: OwnedFd,
}

/// What the process that is going to wait outside waits for first.
pub struct Arrival(OwnedFd);

impl Monitor {
    /// This process; call it before the fork.
    pub fn this() -> Result<(Self, Arrival), Refusal> {
        let doing = "watching the monitor";
        let process = watch(Some(rustix::process::getpid()), doing)?;
        let (arrival, under_way) = nix::unistd::pipe2(OFlag::O_CLOEXEC).step(doing)?;
        Ok((Self { process: keep(&process)?, _under_way: keep(&under_way)? }, Arrival(arrival)))
    }

    /// Ties process 1 of the namespace to the monitor: without that one nobody could end it. A monitor that was gone
    /// before the tie was made is seen by the second look.
    pub fn tie(&self, _proof: &Unprivileged) -> Result<(), Refusal> {
        let doing = "tying the container to its monitor";
        nix::sys::prctl::set_pdeathsig(Some(Signal::SIGKILL)).step(doing)?;
        let mut watched = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::ZERO).step(doing)? {
            0 => Ok(()),
            _ => Err(Refusal::new("the process that waits for the container is gone")),
        }
    }
}

/// Starts `init` in the container, with the payload, the image's account files, and an instance's record.
pub fn enter_container(
    _proof: Unprivileged,
    init: &Init,
    account_files: Vec<(AccountFile, OwnedFd)>,
    record: Option<OwnedFd>,
) -> Result<Infallible, Refusal> {
    let payload = keep(&sys::adopt(PAYLOAD_FD)?)?;
    sys::place(&payload, PAYLOAD_FD)?;
    // What has one of the fixed numbers must be out of their way before anything is placed.
    let record = record.map(|record| keep(&record)).transpose()?;
    for (file, fd) in &account_files {
        sys::place(fd, ACCOUNT_FD_FIRST + *file as i32)?;
    }
    if let Some(record) = &record {
        sys::place(record, INSTANCE_FD)?;
    }
    exec(init, &[INIT_NAME])
}

/// A descriptor of a process, which can be read from when the process has ended.
fn watch(process: Option<rustix::process::Pid>, doing: &str) -> Result<OwnedFd, Refusal> {
    let process = process.ok_or_else(|| Refusal::failed(doing, Errno::ESRCH))?;
    rustix::process::pidfd_open(process, PidfdFlags::empty()).step(doing)
}

/// Starts `init` outside, to wait for process 1 of the container's PID namespace. As `init` it is a process that the caller
/// may look into, and it is in the mount namespace: not before all there is to see is the container.
pub fn monitor(
    _proof: Unprivileged,
    init: &Init,
    container: Pid,
    Arrival(arrival): Arrival,
) -> Result<Infallible, Refusal> {
    let doing = "waiting for the container";
    let child = watch(rustix::process::Pid::from_raw(container.as_raw()), doing)?;
    let mut either = [&arrival, &child].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
    poll(&mut either, PollTimeout::NONE).step(doing)?;
    let pid = CString::new(container.to_string()).unwrap_or_default();
    exec(init, &[INIT_NAME, c"monitor", &pid])
}

fn exec(init: &Init, arguments: &[&CStr]) -> Result<Infallible, Refusal> {
    execveat(&init.0, c"", arguments, &[] as &[&CStr], AtFlags::AT_EMPTY_PATH).step("starting init")
}
