//! One run of a program: how it is started, and what came of it.

use crate::machine::User;
use crate::sys::{self, Stand};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one run may take. Nothing here takes a second; a loaded machine may take a while.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program about to be run.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: User,
    directory: PathBuf,
    input: Vec<u8>,
    stand: Option<Stand>,
    sessions: Arc<Mutex<Vec<Pid>>>,
}

impl Command {
    pub(crate) fn new(
        program: &Path,
        user: User,
        home: &Path,
        stand: Option<Stand>,
        sessions: Arc<Mutex<Vec<Pid>>>,
    ) -> Self {
        let environment = [("PATH", OsStr::new("/usr/sbin:/usr/bin:/sbin:/bin")), ("HOME", home.as_os_str())];
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
            user,
            directory: home.to_owned(),
            input: Vec::new(),
            stand,
            sessions,
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// A variable. Apart from these there are `PATH` and `HOME`.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The working directory; the user's home otherwise.
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// What it reads from standard input; nothing otherwise.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it as root.
    pub fn as_root(self) -> Self {
        self.as_user(User::root())
    }

    /// Runs it as somebody else than the world's user.
    pub fn as_user(mut self, user: User) -> Self {
        self.user = user;
        self
    }

    /// Runs it to its end. Panics if that does not come within a minute.
    pub fn run(mut self) -> Output {
        let input = std::mem::take(&mut self.input);
        let mut running = self.spawn();
        let mut pipe = running.stdin.take().expect("a new process has its standard input");
        // A program that does not read may end before it was given everything.
        let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
        let output = running.finish();
        let _ = writer.join();
        output
    }

    /// Starts it. Standard input stays open until [`Running::finish`].
    pub fn spawn(self) -> Running {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        command.current_dir(&self.directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::start_as(&mut command, &self.user, self.stand.clone());
        let line = self.line();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let pid = Pid::from_raw(child.id().try_into().expect("a process id is an i32"));
        self.sessions.lock().expect("no test panics while it holds this").push(pid);
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut stderr = child.stderr.take().expect("it is a pipe");
        Running {
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout),
            seen: Vec::new(),
            stderr: std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stderr.read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
            }),
            watchdog: Watchdog::watch(pid),
            child,
            pid,
            line,
        }
    }

    /// The command as a person would type it.
    fn line(&self) -> String {
        let mut line = format!("{}$ {}", self.user.name, self.program.to_string_lossy());
        for argument in &self.arguments {
            let _ = write!(line, " {}", argument.to_string_lossy());
        }
        line
    }
}

/// Kills a session that does not end in time.
#[derive(Debug)]
struct Watchdog {
    ended: mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn watch(session: Pid) -> Self {
        let (ended, end) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let late = end.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                let _ = kill(Pid::from_raw(-session.as_raw()), Signal::SIGKILL);
            }
            late
        });
        Self { ended, thread }
    }

    /// Ends the watch; says whether it had to bite.
    fn call_off(self) -> bool {
        drop(self.ended);
        self.thread.join().expect("the watchdog does not panic")
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
    seen: Vec<u8>,
    stderr: JoinHandle<Vec<u8>>,
    watchdog: Watchdog,
    child: Child,
    /// Its process id.
    pub pid: Pid,
    line: String,
}

impl Running {
    /// Waits until it has written a line with `text` to standard output. Panics if it ends without.
    pub fn wait_for(mut self, text: &str) -> Self {
        loop {
            let before = self.seen.len();
            let read = self.stdout.read_until(b'\n', &mut self.seen).expect("a pipe can be read");
            if String::from_utf8_lossy(&self.seen[before..]).contains(text) {
                return self;
            }
            if read == 0 {
                panic!("it ended without saying {text:?}: {}", self.finish());
            }
        }
    }

    /// Writes to its standard input.
    pub fn say(mut self, input: &[u8]) -> Self {
        let pipe = self.stdin.as_mut().expect("it is open until the end");
        pipe.write_all(input).expect("it reads, or has not ended");
        self
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.line));
    }

    /// Closes its standard input and waits for its end.
    pub fn finish(mut self) -> Output {
        drop(self.stdin.take());
        self.stdout.read_to_end(&mut self.seen).expect("a pipe can be read");
        let stderr = self.stderr.join().expect("the reader does not panic");
        let status = self.child.wait().expect("a child can be waited for");
        let output = Output {
            line: self.line,
            status: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8_lossy(&self.seen).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        };
        assert!(!self.watchdog.call_off(), "not done after {} s: {output}", DEADLINE.as_secs());
        output
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Output {
    line: String,
    /// Exit status, if it was not ended by a signal.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// It ended with 0.
    #[track_caller]
    pub fn assert_ok(self) -> Self {
        self.assert_status(0)
    }

    /// It ended with `status`.
    #[track_caller]
    pub fn assert_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self}");
        self
    }

    /// It ended with a `FATAL:` line, status 255 and, somewhere on standard error, `text`.
    #[track_caller]
    pub fn assert_fatal(self, text: &str) -> Self {
        assert!(self.stderr.contains("FATAL:"), "no FATAL line: {self}");
        self.assert_stderr_has(text).assert_status(255)
    }

    /// Standard output is `text`, but for space at its end.
    #[track_caller]
    pub fn assert_stdout(self, text: &str) -> Self {
        assert_eq!(self.stdout.trim_end(), text, "{self}");
        self
    }

    /// Standard error contains `text`.
    #[track_caller]
    pub fn assert_stderr_has(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "standard error does not say {text:?}: {self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, status, signal, stdout, stderr } = self;
        writeln!(f, "{line}")?;
        writeln!(f, "status {status:?}, signal {signal:?}")?;
        writeln!(f, "--- standard output\n{stdout}--- standard error\n{stderr}---")
    }
}
