//! FUSE file systems in the container, mounted and served as the caller. Where this process may not mount, it goes into
//! namespaces of its own in which it may, and gives that up again before anything of the user's runs.

use crate::error::{Doing, FAILURE_STATUS, Failure, Outcome};
use crate::flow::Reason;
use crate::flow::namespace::{self, Mapping};
use crate::fuse::attach;
use crate::fusemount::{Devices, Door, Line, PATIENCE, arguments, before_serving};
use crate::image::Access;
use crate::init::execute::Program;
use crate::init::signals::{ENDING, EVERYBODY};
use crate::init::{Ending, environment, restrictions, status_of};
use crate::message::shown;
use crate::payload::{FuseMount, Payload, Side};
use crate::process::{self, Process};
use crate::sys::children::{self, Fate};
use crate::sys::descriptors;
use crate::sys::fork::fork_to;
use crate::sys::signal::{self, Disposition};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Pid, getpid};
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// File systems that answer.
pub(super) struct Served {
    line: Line,
    servers: Vec<Process>,
    /// There may be servers that are not known by their process.
    daemons: bool,
}

/// Whether this process may mount as it is.
pub(super) fn may_mount() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Mounts the payload's file systems and waits until each of them answers. Afterwards this process is where they can be seen,
/// and has no capability that it did not have before.
///
/// # Errors
/// One of them cannot be mounted or is not served, or somebody asked this process to end meanwhile.
pub(super) fn mount(payload: &Payload, door: Door) -> Result<Served, Ending> {
    let nested = !may_mount();
    if nested {
        leave_for_namespaces()?;
    }
    let _ = signal::set_disposition(libc::SIGCHLD, Disposition::Default);
    let _ = signal::set_blocked(&signal::ALL);
    let Door { line, devices } = door;
    // A server that runs already could take the devices from this process, which lead out of the container.
    let _ = nix::sys::prctl::set_dumpable(false);
    let mut served = Served { line, servers: Vec::new(), daemons: false };
    for (number, file_system) in payload.file_systems.iter().enumerate() {
        let connection = connect(file_system, &devices, nested)?;
        served.serve(payload, number, file_system, connection, nested)?;
    }
    drop(devices);
    // Who joins an instance has to get at its keeper.
    let _ = nix::sys::prctl::set_dumpable(true);
    let _ = signal::set_blocked(&[]);
    if nested {
        restrictions::give_up_everything()?;
    }
    Ok(served)
}

/// Into namespaces in which this process may mount. The image's root stays what it is.
fn leave_for_namespaces() -> Outcome<()> {
    if !Path::new("/proc/self/uid_map").exists() {
        return Err(Failure::new("--fusemount needs a /proc in the container")
            .hint("leave out --no-mount proc; a site's 'mount proc = no' leaves no way"));
    }
    namespace::enter(&Mapping::own(), &Reason::Asked).map_err(|failure| failure.context("--fusemount"))
}

/// Goes to where the file systems of an instance are.
///
/// # Errors
/// The process that keeps them is gone, or may not be looked at.
pub(super) fn join(keeper: i32) -> Outcome<()> {
    let joining = || "joining the instance's FUSE file systems".to_owned();
    let keeper = process::hold(Pid::from_raw(keeper)).doing(joining)?;
    setns(&keeper, CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).doing(joining)?;
    restrictions::give_up_everything()
}

/// Mounts one file system and returns the connection for its server. Nobody answers there yet.
fn connect(file_system: &FuseMount, devices: &Devices, nested: bool) -> Outcome<OwnedFd> {
    let place = place(file_system);
    let mounting = || format!("mounting {} through FUSE", shown(place));
    let connection = devices.connection().doing(|| "opening /dev/fuse".into())?;
    let program = name(file_system);
    // Nobody else is in a namespace of this process's own.
    let others = !nested;
    match attach(
        &connection,
        &program.to_string_lossy(),
        Path::new(program),
        Access::ReadWrite,
        others,
        place,
    ) {
        Ok(()) => Ok(connection),
        Err(error @ (Errno::ENOENT | Errno::ENOTDIR)) => Err(error)
            .doing(mounting)
            .map_err(|failure: Failure| failure.hint("the image has no such directory")),
        Err(error) => Err(error).doing(mounting),
    }
}

fn place(file_system: &FuseMount) -> &Path {
    Path::new(OsStr::from_bytes(&file_system.place))
}

/// The server's name without the folders it is in.
fn name(file_system: &FuseMount) -> &OsStr {
    let program = file_system.command.first().map(|program| OsStr::from_bytes(program)).unwrap_or_default();
    Path::new(program).file_name().unwrap_or(program)
}

impl Served {
    /// Starts a server and waits until it answers.
    fn serve(
        &mut self,
        payload: &Payload,
        number: usize,
        file_system: &FuseMount,
        connection: OwnedFd,
        nested: bool,
    ) -> Result<(), Ending> {
        let starting = || format!("starting {}", shown(name(file_system)));
        let mut server = None;
        match file_system.side {
            Side::Host => self.line.hand_out(number, connection).doing(starting)?,
            Side::Container => {
                let process = start(payload, file_system, &connection, nested)?;
                // From now on the mount fails as soon as the server has gone.
                drop(connection);
                if file_system.daemon {
                    self.daemons = true;
                    match await_end(process, None)?.0 {
                        Fate::Exited(0) => {}
                        fate => return Err(died(file_system, Some(fate)).into()),
                    }
                } else {
                    server = Some(process);
                    self.servers.push(Process::of_child(process).doing(starting)?);
                }
            }
        }
        let asker = fork_to(|| ask(file_system, &self.line)).doing(starting)?;
        match await_end(asker, server)? {
            (Fate::Exited(0), _) => Ok(()),
            (Fate::Exited(status), _) if status == i32::from(FAILURE_STATUS) => Err(Ending::Status(status)),
            (_, fate) => Err(died(file_system, fate).into()),
        }
    }

    /// Has the servers ended after the container's program, so that what they hold back is written, and waits for that. One
    /// that does not end within its time ends with the container.
    pub(super) fn end(self) {
        let deadline = Instant::now() + PATIENCE;
        for server in &self.servers {
            let _ = server.send(libc::SIGTERM);
        }
        if self.daemons && getpid().as_raw() == 1 {
            let _ = signal::send(EVERYBODY, libc::SIGTERM);
            await_everybody(deadline);
        }
        for server in &self.servers {
            let _ = server.ended_by(deadline);
        }
        self.line.close();
    }
}

/// Starts a server in the container.
fn start(payload: &Payload, file_system: &FuseMount, connection: &OwnedFd, nested: bool) -> Outcome<Pid> {
    let number = connection.as_raw_fd();
    let environment = environment::of_servers(payload);
    let program = Program::find(arguments(file_system, number), &environment)?;
    let prepare = || -> Outcome<()> {
        let preparing = || "preparing a FUSE server".to_owned();
        descriptors::place(&File::open("/dev/null").doing(preparing)?.into(), 0).doing(preparing)?;
        before_serving(number).doing(preparing)?;
        if nested {
            restrictions::give_up_everything()?;
        }
        restrictions::apply(&payload.restrictions)
    };
    let become_server = || match prepare() {
        Ok(()) => program.execute(&environment),
        Err(failure) => failure,
    };
    fork_to(|| status_of(&become_server().into())).doing(|| format!("starting {}", shown(name(file_system))))
}

/// Asks for the root of a file system, which takes for as long as its server is at work; the exit status of the process
/// that does.
fn ask(file_system: &FuseMount, line: &Line) -> i32 {
    if file_system.side == Side::Host
        && let Err(why) = line.answer()
    {
        let failure = Failure::new(format!("while starting {} on the host: {why}", shown(name(file_system))));
        return status_of(&failure.into());
    }
    match nix::sys::stat::stat(place(file_system)) {
        // This is what the kernel says when there is no server; anything else is an answer.
        Err(Errno::ENOTCONN | Errno::ECONNABORTED) => 1,
        _ => 0,
    }
}

/// What became of a child of this process, and of its server if that ended meanwhile. Everything is blocked, so a signal
/// that would end the container is seen here and ends the wait.
fn await_end(child: Pid, server: Option<Pid>) -> Result<(Fate, Option<Fate>), Ending> {
    let mut of_server = None;
    loop {
        match children::reap().doing(|| "waiting for a FUSE server".to_owned())? {
            Some((process, fate)) if process == child => {
                // A server that closed its connection is about to end.
                if fate != Fate::Exited(0)
                    && of_server.is_none()
                    && let Some(server) = server
                {
                    of_server = Some(await_end(server, None)?.0);
                }
                return Ok((fate, of_server));
            }
            Some((process, fate)) if Some(process) == server => of_server = Some(fate),
            Some(_) => {}
            None => {
                if let Some(arrival) = signal::wait(&signal::ALL, super::shim::NAP)
                    && ENDING.contains(&arrival.number)
                {
                    let _ = signal::send(child, libc::SIGKILL);
                    return Err(Ending::Status(Fate::Killed(arrival.number).status().unwrap_or_default()));
                }
            }
        }
    }
}

fn await_everybody(deadline: Instant) {
    loop {
        match children::reap() {
            Ok(Some(_)) => {}
            Err(_) => return,
            Ok(None) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                let _ = signal::wait(&[libc::SIGCHLD], left);
            }
        }
    }
}

fn died(file_system: &FuseMount, fate: Option<Fate>) -> Failure {
    let end = match fate {
        Some(Fate::Exited(status)) => format!(" (exit status {status})"),
        Some(Fate::Killed(signal)) => format!(" (signal {signal})"),
        Some(Fate::Stopped) | None => String::new(),
    };
    let (program, place) = (shown(name(file_system)), shown(place(file_system)));
    Failure::new(format!("{program}, which was to serve {place}, ended before it could be used{end}"))
        .hint("what it said, if anything, is above; it must be built with libfuse 3.3 or later, to take /dev/fd/N as its mount point")
}
