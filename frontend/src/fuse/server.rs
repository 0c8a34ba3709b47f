//! One server: its start, its life and its end.

use super::answers::await_answer;
use super::connection;
use super::stand_in::{self, StandIn};
use super::users::{Device, Users};
use crate::confined::domain::Domain;
use crate::confined::helper::{Program, Programs, STANDARD_PATH, said};
use crate::error::{Doing, Failure, NotStarted, Outcome};
use crate::flow::host::in_user_namespace;
use crate::image::{self, Access, Ext3};
use crate::making::Interrupts;
use crate::message::{self, shown};
use crate::overlay::debugfs;
use crate::process::{self, Process};
use crate::sys::signal::{Disposition, set_blocked, set_disposition};
use crate::sys::{child, descriptors};
use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2, setsid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Most bytes kept of what a server says: the last ones.
const WORDS_BYTES_MAX: usize = 16 << 10;
/// How long the end of a mount is waited for before a word is said about it, and how long whoever was asked to end may take.
const SILENT_MILLISECONDS: u16 = 2000;
/// How long processes may outlive the program that was asked to end, before they are asked too.
const OUTLIVING_MILLISECONDS: u16 = 300;

/// How far the waiting for the end of a server has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiting {
    /// For processes that are likely to end with their program.
    Briefly,
    /// Nothing was said yet.
    Silently,
    /// It was said for whom.
    Told,
    /// Who uses the mount got SIGTERM.
    UsersAsked,
    /// Who uses the mount got SIGKILL.
    UsersKilled,
    /// The server was asked to end.
    ServerAsked,
}

impl Waiting {
    fn time(self) -> PollTimeout {
        match self {
            Self::Briefly => OUTLIVING_MILLISECONDS.into(),
            Self::Silently | Self::UsersAsked | Self::UsersKilled => SILENT_MILLISECONDS.into(),
            Self::Told | Self::ServerAsked => PollTimeout::NONE,
        }
    }
}

/// A server to be started.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) program: Program,
    /// What is served, for messages.
    pub(super) subject: &'a Path,
    path: PathBuf,
    arguments: Vec<OsString>,
    at: &'a Path,
    access: Access,
    image: Option<&'a File>,
    closing: Option<Ext3>,
    upper: Option<PathBuf>,
    reads: Vec<PathBuf>,
    changes: Vec<PathBuf>,
    inherited: Vec<OwnedFd>,
    keeps_capabilities: bool,
    stand_in: Option<StandIn>,
}

/// A server that answered.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    subject: PathBuf,
    /// Where it is mounted.
    pub(super) at: PathBuf,
    /// The upper directory of an overlay.
    pub(super) upper: Option<PathBuf>,
    /// The inodes of directories that are opaque and need root's mark of that, once the image is closed.
    pub(super) opaque: Vec<u64>,
    process: Child,
    words: Words,
    written: Option<(File, Ext3)>,
    mounted: bool,
    /// What was mounted, once it is out of sight.
    device: Option<Device>,
    /// How far the waiting for its end has come.
    waiting: Waiting,
    answered: bool,
}

impl<'a> Start<'a> {
    /// `path` is the program, `subject` what it serves at the directory `at`.
    pub(super) fn new(program: Program, path: PathBuf, subject: &'a Path, at: &'a Path) -> Self {
        Self {
            program,
            subject,
            path,
            arguments: Vec::new(),
            at,
            access: Access::ReadOnly,
            image: None,
            closing: None,
            upper: None,
            reads: Vec::new(),
            changes: Vec::new(),
            inherited: Vec::new(),
            keeps_capabilities: false,
            stand_in: None,
        }
    }

    /// Sets the arguments; the mount point follows them.
    pub(super) fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        self
    }

    /// Gives it an image, as its standard input.
    pub(super) fn image(mut self, image: &'a File, access: Access) -> Self {
        (self.image, self.access) = (Some(image), access);
        self
    }

    /// Expects this ext3 in the image to be closed when the server ends.
    pub(super) fn closing(mut self, ext3: Ext3) -> Self {
        self.closing = Some(ext3);
        self
    }

    /// Names the directory whose marks it is going to change.
    pub(super) fn upper(mut self, upper: &Path) -> Self {
        self.upper = Some(upper.to_path_buf());
        self
    }

    /// Lets it read what is at and below these directories.
    pub(super) fn reading<'p>(mut self, directories: impl IntoIterator<Item = &'p Path>) -> Self {
        self.reads.extend(directories.into_iter().map(Path::to_path_buf));
        self
    }

    /// Lets it change what is at and below these directories, and makes the mount writable.
    pub(super) fn changing<'p>(mut self, directories: impl IntoIterator<Item = &'p Path>) -> Self {
        self.changes.extend(directories.into_iter().map(Path::to_path_buf));
        self.access = Access::ReadWrite;
        self
    }

    /// Descriptors that it shall have under the same numbers.
    pub(super) fn inheriting(mut self, descriptors: impl IntoIterator<Item = OwnedFd>) -> Self {
        self.inherited.extend(descriptors);
        self
    }

    /// Lets it keep what capabilities the exec leaves it: an overlay gives files to the users of the namespace.
    pub(super) fn keeping_capabilities(mut self) -> Self {
        self.keeps_capabilities = true;
        self
    }

    /// Has the connection handed to it by a stand-in for `fusermount`.
    pub(super) fn with_stand_in(mut self, program: Option<&Path>) -> Outcome<Self> {
        self.stand_in = Some(StandIn::below(self.at.parent().unwrap_or(self.at), program)?);
        Ok(self)
    }

    /// Mounts, starts the program and waits until it answers. Nothing is left when that fails.
    pub(super) fn start(self, interrupts: &Interrupts) -> Outcome<Server> {
        let starting = || format!("starting {} for {}", self.program.name, shown(self.subject));
        let domain = self.domain();
        if domain.is_none() && self.stand_in.is_some() {
            return Err(unconfined(self.program));
        }
        let written = match (self.closing, self.image) {
            (Some(ext3), Some(image)) => Some((image.try_clone().doing(starting)?, ext3)),
            _ => None,
        };
        let (words, server_words) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).doing(starting)?;
        let connection = connection::mount(self.program.name, self.subject, self.access, self.at)?;
        let mounted = Mounted(self.at);
        let mut command = self.command(&connection, server_words).doing(starting)?;
        let inherited = self.inherited.iter().map(AsRawFd::as_raw_fd).chain([connection.as_raw_fd()]);
        before_serving(&mut command, inherited.collect(), domain, self.keeps_capabilities);
        message::debug(format!("Running {command:?}"));
        let process = command.spawn().map_err(NotStarted::from).doing(starting)?;
        std::mem::forget(mounted);
        let mut server = Server {
            name: self.program.name,
            subject: self.subject.to_path_buf(),
            at: self.at.to_path_buf(),
            upper: self.upper.clone(),
            opaque: Vec::new(),
            process,
            words: Words { pipe: words.into(), heard: Vec::new() },
            written,
            mounted: true,
            device: None,
            waiting: Waiting::Silently,
            answered: false,
        };
        // From now on the mount fails as soon as the server has gone.
        drop((command, connection));
        let answer = await_answer(self.at, interrupts)?;
        server.answered = answer.is_ok();
        match answer {
            Ok(()) => Ok(server),
            Err(errno) => Err(server.failed_to_start(errno, interrupts)),
        }
    }

    /// What it may reach; `None` on a kernel without Landlock.
    fn domain(&self) -> Option<RulesetCreated> {
        let stand_in = self.stand_in.as_ref();
        let domain = Domain::of(&self.path)
            .reading(self.reads.iter().cloned())
            .reading(stand_in.map(|stand_in| stand_in.directory().to_path_buf()))
            .changing(self.changes.iter().cloned())
            .executing_only(
                [self.path.clone()].into_iter().chain(stand_in.map(|it| it.program().to_path_buf())),
            );
        domain.create(self.image.map(|image| (image, self.access == Access::ReadWrite))).ok()
    }

    fn command(&self, connection: &File, words: OwnedFd) -> io::Result<Command> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .current_dir("/")
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(match self.image {
                Some(image) => Stdio::from(image.try_clone()?),
                None => Stdio::null(),
            })
            .stdout(words.try_clone()?)
            .stderr(words);
        match &self.stand_in {
            Some(stand_in) => command
                .env("PATH", stand_in.directory())
                .env(stand_in::CONNECTION_VARIABLE, connection.as_raw_fd().to_string())
                .arg(stand_in::MOUNT_POINT),
            None => command.env("PATH", STANDARD_PATH).arg(format!("/dev/fd/{}", connection.as_raw_fd())),
        };
        Ok(command)
    }
}

/// What the child does last before it becomes the server.
fn before_serving(
    command: &mut Command,
    inherited: Vec<RawFd>,
    mut domain: Option<RulesetCreated>,
    keeps_capabilities: bool,
) {
    let parent = Pid::this();
    // A server opens its image once more. Root's may be of an image that is closed to root without this.
    let is_hosts_root = nix::unistd::geteuid().is_root() && !in_user_namespace();
    let kept = if is_hosts_root { CapabilitySet::DAC_OVERRIDE } else { CapabilitySet::empty() };
    child::before_exec(command, move || {
        // Ctrl-C is for the container; what it wrote is still to be written back.
        setsid()?;
        set_disposition(libc::SIGTERM, Disposition::Default)?;
        // Whoever reads its words may be gone before it has closed the file system. libfuse lets the signal through again
        // when it ends, so that ignoring it is not enough.
        set_blocked(&[libc::SIGPIPE])?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        for descriptor in &inherited {
            descriptors::keep_across_exec(*descriptor)?;
        }
        prctl::set_no_new_privs()?;
        let _ = domain.take().map(RulesetCreated::restrict_self);
        if !keeps_capabilities {
            let inheritable = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
        }
        // A change of credentials would clear it. At this signal a server writes back and ends.
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        if Pid::parent() != parent {
            return Err(Errno::ESRCH.into());
        }
        Ok(())
    });
}

fn unconfined(program: Program) -> Failure {
    Failure::new(format!(
        "{} was built with libfuse 2, and this kernel has no Landlock to confine it with",
        program.name
    ))
    .hint(
        "Install a version of it that was built with libfuse 3, or ask the administrator to turn on Landlock",
    )
}

/// A mount that goes when what follows it fails.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = connection::unmount(self.0);
    }
}

/// What a server says when the kernel does not let it open its image.
const REFUSED: &[u8] = b"permission denied";

/// What a server says on both its outputs. It is never kept from saying it: what finds no room is lost.
#[derive(Debug)]
struct Words {
    pipe: File,
    heard: Vec<u8>,
}

impl Words {
    /// Takes in what is there; `false` at the end.
    fn listen(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.pipe.read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => {
                    self.heard.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    self.heard.drain(..self.heard.len().saturating_sub(WORDS_BYTES_MAX));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

impl Server {
    /// Unmounts and waits for the end; for an image that was written to, until it is on disk.
    /// `users_end` has whoever still uses the mount be ended.
    pub(super) fn finish(
        mut self,
        interrupts: &Interrupts,
        programs: &Programs,
        users_end: bool,
    ) -> Outcome<()> {
        let waiting = || format!("waiting for {} to close {}", self.name, shown(&self.subject));
        if let Some(status) = self.process.try_wait().doing(waiting)? {
            self.unmount();
            return Err(self.died(status, "while the container ran"));
        }
        self.unmount();
        if users_end {
            self.waiting = Waiting::Briefly;
        }
        let status = self.wait(interrupts).doing(|| format!("waiting for {}", self.name))?;
        if !status.success() {
            return Err(self.died(status, "while it closed the file system"));
        }
        let Some((image, ext3)) = self.written.take() else {
            return Ok(());
        };
        if let Err(failure) = self.mark_for_root(programs, &image, ext3.window.offset) {
            message::warning(format!(
                "{failure}; without --userns and --fakeroot, deleted files can be seen again"
            ));
        }
        image.sync_all().doing(|| format!("writing {} to disk", shown(&self.subject)))?;
        let ext3 = image::inspect_ext3(&image, &self.subject, ext3.window)?;
        if ext3.is_closed() {
            return Ok(());
        }
        Err(Failure::new(format!("{} did not close {}", self.name, shown(&self.subject)))
            .hint(format!("{} repairs it", ext3.repair_command(&self.subject))))
    }

    /// Gives opaque directories the attribute that only root can set in a mounted file system.
    fn mark_for_root(&self, programs: &Programs, image: &File, offset: u64) -> Outcome<()> {
        if self.opaque.is_empty() {
            return Ok(());
        }
        let lines = self.opaque.iter().map(|inode| format!("ea_set <{inode}> trusted.overlay.opaque y\n"));
        // What is held back already is not held by this one: the command's end waits for these few changes.
        let undisturbed = Interrupts::hold()?;
        debugfs::change(programs, image, offset, &lines.collect::<String>(), &undisturbed).map_err(
            |failure| {
                failure.context(format!("while marking replaced directories in {}", shown(&self.subject)))
            },
        )
    }

    fn unmount(&mut self) {
        if !std::mem::take(&mut self.mounted) {
            return;
        }
        self.device = Device::at(&self.at);
        if let Err(errno) = connection::unmount(&self.at) {
            message::debug(format!("{} is not mounted any more: {errno}", shown(&self.at)));
        }
    }

    /// Waits for the end of the process. When the command is asked to end, so is whoever keeps the server from it.
    fn wait(&mut self, interrupts: &Interrupts) -> Result<ExitStatus, io::Error> {
        let process = process::hold(self.pid())?;
        let mut speaks = true;
        loop {
            let pipe = speaks.then(|| self.words.pipe.as_fd());
            let asking = (self.waiting == Waiting::Told).then(|| interrupts.as_fd());
            let mut events: Vec<PollFd<'_>> = [Some(process.as_fd()), pipe, asking]
                .into_iter()
                .flatten()
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            let in_time = match nix::poll::poll(&mut events, self.waiting.time()) {
                Ok(ready) => ready > 0,
                Err(Errno::EINTR) => true,
                Err(errno) => return Err(errno.into()),
            };
            drop(events);
            speaks = speaks && self.words.listen();
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if !in_time || self.waiting == Waiting::Told && interrupts.pending() {
                self.waiting = self.lose_patience();
            }
        }
    }

    /// Does what comes next, and returns what is waited for then.
    fn lose_patience(&self) -> Waiting {
        match self.waiting {
            Waiting::Briefly if self.end_users(libc::SIGTERM) => Waiting::UsersAsked,
            Waiting::Briefly => Waiting::Silently,
            Waiting::Silently => {
                self.tell_of_users();
                Waiting::Told
            }
            Waiting::Told if self.end_users(libc::SIGTERM) => Waiting::UsersAsked,
            Waiting::UsersAsked if self.end_users(libc::SIGKILL) => Waiting::UsersKilled,
            Waiting::Told | Waiting::UsersAsked | Waiting::UsersKilled | Waiting::ServerAsked => {
                self.ask_to_end();
                Waiting::ServerAsked
            }
        }
    }

    fn users(&self) -> Option<Users> {
        self.device.as_ref().map(Device::users).filter(|users| !users.is_empty())
    }

    fn tell_of_users(&self) {
        let subject = shown(&self.subject);
        match self.users() {
            Some(users) => message::warning(format!(
                "{subject} is still used by what the container left behind: {users}. Waiting until that ends; Ctrl-C or a \
                 signal to this process ends it"
            )),
            None => message::info(format!("Waiting until nobody uses {subject} any more")),
        }
    }

    /// Sends a signal to whoever still uses the mount; whether there is somebody.
    fn end_users(&self, signal: i32) -> bool {
        let Some(users) = self.users() else {
            return false;
        };
        message::info(format!("Ending what still uses {}: {users}", shown(&self.subject)));
        users.send(signal);
        true
    }

    fn pid(&self) -> Pid {
        // Linux has no process ids that would not fit.
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// Asks for the end of what has not ended long after it was unmounted: libfuse gives up its handler before the file
    /// system is closed, and from then on the signal would leave an image half written.
    fn ask_to_end(&self) {
        let is_closing =
            self.answered && self.written.is_some() && !process::catches(self.pid(), Signal::SIGTERM);
        if !is_closing {
            let _ = kill(self.pid(), Signal::SIGTERM);
        }
    }

    /// Whether it ends by itself, as one does that nobody uses.
    fn ends(&self) -> bool {
        let deadline = Instant::now() + Duration::from_millis(SILENT_MILLISECONDS.into());
        Process::of_child(self.pid()).map_or(true, |server| server.ended_by(deadline).unwrap_or(false))
    }

    /// Why the server did not show what it serves: it ended, or answered with an error and goes on.
    fn failed_to_start(&mut self, answer: Errno, interrupts: &Interrupts) -> Failure {
        self.unmount();
        match self.wait(interrupts).doing(|| format!("waiting for {}", self.name)) {
            Ok(status) if status.success() => Failure::new(format!(
                "{} cannot read the top directory of {}: {}",
                self.name,
                shown(&self.subject),
                answer.desc()
            ))
            .hint("It may be damaged; 'e2fsck -f' tells that of an ext3, and repairs it"),
            Ok(_) if self.was_refused() => self.refused(),
            Ok(status) => self.died(status, "before it could be used"),
            Err(failure) => failure,
        }
    }

    /// Whether it says that it may not open its image. It then speaks of repairs, too, which is nothing to repeat.
    fn was_refused(&mut self) -> bool {
        self.words.listen();
        self.words.heard.windows(REFUSED.len()).any(|words| words.eq_ignore_ascii_case(REFUSED))
    }

    fn refused(&self) -> Failure {
        let (name, image) = (self.name, shown(&self.subject));
        Failure::new(format!("{name}, which was to serve {image}, may not open it: permission denied")).hint(
            "in a user namespace root may no more than anybody else: have the owner give access to the image, or \
             leave --fakeroot and --userns out",
        )
    }

    fn died(&mut self, status: ExitStatus, when: &str) -> Failure {
        self.words.listen();
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "for no known reason".into(),
        };
        let words = said(&self.words.heard, &[]);
        let colon = if words.is_empty() { "" } else { ": " };
        let failure = Failure::new(format!(
            "{}, which serves {}, ended {when} ({end}){colon}{words}",
            self.name,
            shown(&self.subject)
        ));
        match &self.written {
            Some((_, ext3)) => failure.hint(format!(
                "{} tells what state the image is in, and repairs it",
                ext3.repair_command(&self.subject)
            )),
            None => failure,
        }
    }
}

impl Drop for Server {
    /// Leaves neither mount nor process, and an image that is closed.
    fn drop(&mut self) {
        self.unmount();
        if matches!(self.process.try_wait(), Ok(None)) {
            if !(self.answered && self.ends()) {
                self.ask_to_end();
            }
            let _ = self.process.wait();
        }
    }
}
