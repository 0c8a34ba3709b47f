//! Programs of other people (`mkfs.ext3`, `mksquashfs`, `unsquashfs`, …): where they are found and how they are run.
//!
//! A helper is found through a list of absolute directories, never through a name the user typed. It runs with an
//! empty environment but for the search path and the C locale, under a Landlock domain in which it can read what
//! programs need and write only what it is there to make, without network, and it dies with this process.

use super::domain::Domain;
use crate::error::{Doing, Failure, NotStarted, Outcome};
use crate::making::{Interrupts, temporary_directory};
use crate::message::{self, shown};
use crate::process;
use crate::sys::child;
use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, Pid, access};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Where helper programs come from, as the site configured it.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The value of `binary path` or `user search path`: absolute directories separated by `:`, where `$PATH`
    /// stands for the caller's own; `None` searches the standard directories.
    pub search_path: Option<OsString>,
    /// The value of `mksquashfs path`, when set: the program itself.
    pub mksquashfs: Option<PathBuf>,
    /// The value of `unsquashfs path`, when set: the program itself.
    pub unsquashfs: Option<PathBuf>,
    /// The value of `ldconfig path`, when set: the program itself.
    pub ldconfig: Option<PathBuf>,
    /// The value of `mksquashfs procs`: threads to pack with, 0 for one per usable processor.
    pub mksquashfs_threads: u32,
    /// The value of `mksquashfs mem`, when set, as `mksquashfs -mem` takes it (`1G`, `512M`).
    pub mksquashfs_memory: Option<String>,
}

/// A program that this one may start, and who brings it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Program {
    /// The name of its file.
    pub name: &'static str,
    /// The package that has it on Debian and its kin.
    pub debian: &'static str,
    /// The package that has it on RHEL and its kin.
    pub rhel: &'static str,
}

impl Program {
    const fn of(name: &'static str, package: &'static str) -> Self {
        Self { name, debian: package, rhel: package }
    }
}

/// Makes ext3 file systems.
pub const MKFS_EXT3: Program = Program::of("mkfs.ext3", "e2fsprogs");
/// Reads and changes ext3 file systems without mounting them.
pub const DEBUGFS: Program = Program::of("debugfs", "e2fsprogs");
/// Replays what a dead writer left in the journal of an ext3.
pub const E2FSCK: Program = Program::of("e2fsck", "e2fsprogs");
/// Packs squashfs file systems.
pub const MKSQUASHFS: Program = Program::of("mksquashfs", "squashfs-tools");
/// Unpacks squashfs file systems.
pub const UNSQUASHFS: Program = Program::of("unsquashfs", "squashfs-tools");
/// Writes what is in squashfs file systems as tar archives.
pub const SQFS2TAR: Program = Program::of("sqfs2tar", "squashfs-tools-ng");
/// Mounts squashfs file systems without privilege, with the quicker of the two interfaces of FUSE.
pub const SQUASHFUSE_LL: Program = Program::of("squashfuse_ll", "squashfuse");
/// Mounts squashfs file systems without privilege.
pub const SQUASHFUSE: Program = Program::of("squashfuse", "squashfuse");
/// Mounts ext3 file systems without privilege.
pub const FUSE2FS: Program = Program { name: "fuse2fs", debian: "fuse2fs", rhel: "e2fsprogs" };
/// Mounts overlays without privilege.
pub const FUSE_OVERLAYFS: Program = Program::of("fuse-overlayfs", "fuse-overlayfs");
/// Makes containers as the OCI runtime specification has them.
pub const CRUN: Program = Program::of("crun", "crun");
/// The same.
pub const RUNC: Program = Program::of("runc", "runc");
/// Unpacks what gzip packed.
pub const GZIP: Program = Program::of("gzip", "gzip");
/// Knows the host's libraries.
pub const LDCONFIG: Program = Program { name: "ldconfig", debian: "libc-bin", rhel: "glibc" };
/// Has the kernel map a user's subordinate user ids.
pub const NEWUIDMAP: Program = Program { name: "newuidmap", debian: "uidmap", rhel: "shadow-utils" };
/// Has the kernel map a user's subordinate group ids.
pub const NEWGIDMAP: Program = Program { name: "newgidmap", debian: "uidmap", rhel: "shadow-utils" };
/// Runs programs that believe to change owners.
pub const FAKEROOT: Program = Program::of("fakeroot", "fakeroot");
/// Copies directories.
pub const CP: Program = Program::of("cp", "coreutils");

/// Makes the smallest system of a Debian release.
pub const DEBOOTSTRAP: Program = Program::of("debootstrap", "debootstrap");

pub(crate) const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Programs {
    /// Finds a program.
    ///
    /// # Errors
    /// It is not there; the hint names the packages that have it.
    pub fn find(&self, program: Program) -> Outcome<PathBuf> {
        let configured = match program {
            MKSQUASHFS => self.mksquashfs.as_ref(),
            UNSQUASHFS => self.unsquashfs.as_ref(),
            LDCONFIG => self.ldconfig.as_ref(),
            _ => None,
        };
        if let Some(path) = configured {
            return if is_program(path) {
                Ok(path.clone())
            } else {
                Err(Failure::new(format!("{}, which the site configured, is not a program", shown(path)))
                    .hint(format!("Ask the site administrator to correct `{} path`", program.name)))
            };
        }
        self.locate(program.name).ok_or_else(|| {
            let searched: Vec<String> = self.directories().iter().map(shown).collect();
            let packages = if program.debian == program.rhel {
                format!("package {} (Debian, Ubuntu, RHEL, Fedora)", program.debian)
            } else {
                format!("package {} (Debian, Ubuntu) or {} (RHEL, Fedora)", program.debian, program.rhel)
            };
            Failure::new(format!("{} was not found in {}", program.name, searched.join(":")))
                .hint(format!("Install {packages}"))
        })
    }

    /// Where a program is that the site names in one of its lists.
    #[must_use]
    pub fn locate(&self, name: &str) -> Option<PathBuf> {
        self.directories().into_iter().map(|directory| directory.join(name)).find(|path| is_program(path))
    }

    /// The absolute directories of the search path, each once, in order.
    fn directories(&self) -> Vec<PathBuf> {
        let configured = self.search_path.clone().unwrap_or_else(|| STANDARD_PATH.into());
        let mut directories: Vec<PathBuf> = Vec::new();
        for entry in std::env::split_paths(&configured) {
            let expanded = if entry == Path::new("$PATH") {
                std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
            } else {
                vec![entry]
            };
            for directory in expanded {
                if directory.is_absolute() && !directories.contains(&directory) {
                    directories.push(directory);
                }
            }
        }
        directories
    }
}

fn is_program(path: &Path) -> bool {
    path.is_absolute() && path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

/// The name by which a helper opens its subject: the file on its standard input, unless a pipe is there.
pub const SUBJECT: &str = "/proc/self/fd/0";
/// How long a wait lasts before [`Helper::run`] calls its `tick` again.
const TICK_MILLISECONDS: u8 = 100;
/// Most bytes kept of what a helper says: the last of its errors, the first of its output.
const WORDS_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a helper's errors in a message of ours.
const WORDS_BYTES_SHOWN: usize = 2 << 10;
/// One run of a helper program, to be described and carried out.
#[derive(Debug)]
pub struct Helper<'a> {
    program: Program,
    path: PathBuf,
    arguments: Vec<OsString>,
    subject: Option<(&'a File, bool)>,
    feed: Option<OwnedFd>,
    working_directory: PathBuf,
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    tolerated: Option<i32>,
}

/// What a helper said and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// The beginning of its standard output, at most 64 KiB.
    pub output: Vec<u8>,
    /// The end of its standard error, at most 64 KiB.
    pub errors: Vec<u8>,
    status: ExitStatus,
}

impl<'a> Helper<'a> {
    /// Finds the program.
    ///
    /// # Errors
    /// As [`Programs::find`].
    pub fn new(programs: &Programs, program: Program) -> Outcome<Self> {
        Ok(Self {
            program,
            path: programs.find(program)?,
            arguments: Vec::new(),
            subject: None,
            feed: None,
            working_directory: PathBuf::from("/"),
            reads: Vec::new(),
            writes: Vec::new(),
            tolerated: None,
        })
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Gives the program a file to read, under the name [`SUBJECT`].
    #[must_use]
    pub fn reads_file(mut self, file: &'a File) -> Self {
        self.subject = Some((file, false));
        self
    }

    /// Gives the program a file to change, under the name [`SUBJECT`].
    #[must_use]
    pub fn changes_file(mut self, file: &'a File) -> Self {
        self.subject = Some((file, true));
        self
    }

    /// Gives the program a pipe on its standard input. The argument [`SUBJECT`] still stands for its file.
    #[must_use]
    pub fn fed_by(mut self, pipe: OwnedFd) -> Self {
        self.feed = Some(pipe);
        self
    }

    /// Lets the program read what is at and below a path.
    #[must_use]
    pub fn reads(mut self, path: &Path) -> Self {
        self.reads.push(path.to_path_buf());
        self
    }

    /// Lets the program change what is at and below a path.
    #[must_use]
    pub fn changes(mut self, path: &Path) -> Self {
        self.writes.push(path.to_path_buf());
        self
    }

    /// Starts the program in a directory.
    #[must_use]
    pub fn working_in(mut self, path: &Path) -> Self {
        self.working_directory = path.to_path_buf();
        self
    }

    /// Takes one more exit status for success.
    #[must_use]
    pub fn tolerating(mut self, status: i32) -> Self {
        self.tolerated = Some(status);
        self
    }

    /// Runs the program to its end, calling `tick` some ten times a second.
    ///
    /// # Errors
    /// It could not be started, said no (its last words are in the message), is too old, or was interrupted.
    pub fn run(mut self, interrupts: &Interrupts, tick: impl FnMut()) -> Outcome<Ended> {
        let name = self.program.name;
        let ended = self.run_to_any_end(interrupts, tick)?;
        if ended.status.success() || (ended.status.code().is_some() && ended.status.code() == self.tolerated)
        {
            Ok(ended)
        } else {
            Err(ended.failure(name))
        }
    }

    /// Runs the program to its end and leaves it to the caller what its exit status means.
    ///
    /// # Errors
    /// It could not be started, or was interrupted.
    pub(crate) fn run_to_any_end(&mut self, interrupts: &Interrupts, tick: impl FnMut()) -> Outcome<Ended> {
        let path = self.path.clone();
        let starting = || format!("starting {}", shown(&path));
        let mut command = self.command().doing(starting)?;
        message::verbose(format!("Running {command:?}"));
        let mut child = Reaped(command.spawn().map_err(NotStarted::from).doing(starting)?);
        // What feeds it is closed here, so that the feeder notices when it ends.
        drop(command);
        let heard = listen(&mut child.0, interrupts, tick);
        if heard.is_err() {
            // Only asked to end or unable to listen: what it makes is thrown away, so it may be stopped hard.
            let _ = child.0.kill();
        }
        let status = child.0.wait().doing(|| format!("waiting for {}", self.program.name))?;
        let (output, errors) = heard?;
        Ok(Ended { output, errors, status })
    }

    /// Starts the program and gives what it writes to its standard output. Its end is the end of that, and an error when
    /// it fails.
    ///
    /// # Errors
    /// It could not be started.
    pub fn output(mut self) -> Outcome<HelperOutput> {
        let starting = format!("starting {}", shown(&self.path));
        let doing = || starting.clone();
        let errors = tempfile::tempfile_in(temporary_directory()).doing(doing)?;
        let mut command = self.command().doing(doing)?;
        command.stderr(errors.try_clone().doing(doing)?);
        message::verbose(format!("Running {command:?}"));
        Ok(HelperOutput {
            child: Reaped(command.spawn().map_err(NotStarted::from).doing(doing)?),
            errors,
            name: self.program.name,
        })
    }

    fn command(&mut self) -> io::Result<Command> {
        let mut command = Command::new(&self.path);
        let feed = self.feed.take();
        let beside = match self.subject.filter(|_| feed.is_some()) {
            Some((file, _)) => Some(file.try_clone()?),
            None => None,
        };
        let name = beside.as_ref().map(|file| OsString::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
        let named = |argument| if argument == SUBJECT { name.clone() } else { None };
        command
            .args(self.arguments.iter().map(|argument| named(argument).unwrap_or_else(|| argument.clone())))
            .current_dir(&self.working_directory)
            .env_clear()
            .env("PATH", STANDARD_PATH)
            .env("LC_ALL", "C")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(match (feed, self.subject) {
                (Some(pipe), _) => Stdio::from(pipe),
                (None, Some((file, _))) => Stdio::from(file.try_clone()?),
                (None, None) => Stdio::null(),
            });
        // A kernel without Landlock takes nothing away; the helper then runs with the user's own rights, as it
        // would from the user's shell.
        let domain = Domain::of(&self.path).reading(self.reads.clone()).changing(self.writes.clone());
        let mut domain = domain.create(self.subject).ok();
        let parent = Pid::this();
        child::before_exec(&mut command, move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if Pid::parent() != parent {
                return Err(Errno::ESRCH.into());
            }
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            if let Some(file) = &beside {
                fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            let _ = domain.take().map(RulesetCreated::restrict_self);
            Ok(())
        });
        Ok(command)
    }
}

/// What a helper writes to its standard output. It is stopped when this value is dropped.
#[derive(Debug)]
pub struct HelperOutput {
    child: Reaped,
    errors: File,
    name: &'static str,
}

impl HelperOutput {
    fn end(&mut self) -> io::Result<()> {
        let status = self.child.0.wait()?;
        if status.success() {
            return Ok(());
        }
        let mut errors = vec![0; WORDS_BYTES_MAX];
        let length = self.errors.read_at(&mut errors, 0)?;
        errors.truncate(length);
        let ended = Ended { output: Vec::new(), errors, status };
        Err(io::Error::other(ended.failure(self.name).to_string()))
    }
}

impl Read for HelperOutput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(output) = &mut self.child.0.stdout else { return Ok(0) };
        let read = output.read(into)?;
        if read == 0 && !into.is_empty() {
            self.child.0.stdout = None;
            self.end()?;
        }
        Ok(read)
    }
}

impl Ended {
    fn failure(&self, name: &str) -> Failure {
        let words = said(&self.errors, &self.output);
        if ["invalid option", "unrecognized option", "unknown option"].iter().any(|hint| words.contains(hint))
        {
            return Failure::new(format!(
                "{name} seems too old, it does not know an option that is needed: {words}"
            ));
        }
        let end = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("stopped by signal {signal}"),
            (None, None) => "ended strangely".into(),
        };
        if words.is_empty() {
            Failure::new(format!("{name} failed ({end}) and did not say why"))
        } else {
            Failure::new(format!("{name} failed ({end}): {words}"))
        }
    }

    /// The lines it wrote to its standard error, as they may be shown.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.errors.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).map(|line| shown(OsStr::from_bytes(line))).collect()
    }
}

/// The last words of a program, on one line, from its errors or, if it has none, its output.
pub(crate) fn said(errors: &[u8], output: &[u8]) -> String {
    let words = if errors.trim_ascii().is_empty() { output } else { errors };
    let last = &words[words.len().saturating_sub(WORDS_BYTES_SHOWN)..];
    let text = String::from_utf8_lossy(last);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    shown(lines.join("; "))
}

/// A child that is not left behind.
#[derive(Debug)]
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Takes in what the child says until it closed both its outputs.
fn listen(child: &mut Child, interrupts: &Interrupts, mut tick: impl FnMut()) -> Outcome<(Vec<u8>, Vec<u8>)> {
    let listening = || "listening to a helper program".to_string();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    for pipe in [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing(listening)?;
    }
    while stdout.is_some() || stderr.is_some() {
        let pipes = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        let mut waiting: Vec<PollFd<'_>> = [Some(interrupts.as_fd())]
            .into_iter()
            .chain(pipes)
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match nix::poll::poll(&mut waiting, PollTimeout::from(TICK_MILLISECONDS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(listening),
        }
        drop(waiting);
        interrupts.check()?;
        tick();
        take_in(&mut stdout, |chunk| {
            output.extend_from_slice(&chunk[..chunk.len().min(WORDS_BYTES_MAX - output.len())]);
        });
        take_in(&mut stderr, |chunk| {
            errors.extend_from_slice(chunk);
            errors.drain(..errors.len().saturating_sub(WORDS_BYTES_MAX));
        });
    }
    // Closing its outputs, a program is about to end, but one that does not must not hold up an interruption.
    let process = process::hold(Pid::from_raw(child.id().cast_signed())).doing(listening)?;
    while matches!(child.try_wait(), Ok(None)) {
        wait_for_either(&process, interrupts).doing(listening)?;
        interrupts.check()?;
    }
    Ok((output, errors))
}

/// Waits until a process has ended or an interruption is pending.
fn wait_for_either(process: &OwnedFd, interrupts: &Interrupts) -> Result<(), Errno> {
    let mut waiting = [process.as_fd(), interrupts.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match nix::poll::poll(&mut waiting, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Reads what is there; the pipe becomes `None` at its end.
fn take_in(pipe: &mut Option<impl Read>, mut keep: impl FnMut(&[u8])) {
    let mut chunk = [0; 4096];
    while let Some(open) = pipe {
        match open.read(&mut chunk) {
            Ok(0) => *pipe = None,
            Ok(read) => keep(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
    }
}
