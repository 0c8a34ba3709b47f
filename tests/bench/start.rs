//! One kind of start, and how long it takes.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::User;

/// A program with arguments, and who starts it.
#[derive(Clone)]
pub(crate) struct Start {
    program: PathBuf,
    arguments: Vec<OsString>,
    user: Option<User>,
    home: PathBuf,
}

impl Start {
    /// A start by `user`, or by root, in `home`.
    pub(crate) fn new(program: impl Into<PathBuf>, user: Option<&User>, home: &Path) -> Self {
        Self { program: program.into(), arguments: Vec::new(), user: user.cloned(), home: home.to_owned() }
    }

    /// More arguments.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The same with another program.
    pub(crate) fn with_program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Where it is started.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The program and its arguments.
    pub(crate) fn words(&self) -> Vec<OsString> {
        std::iter::once(self.program.clone().into()).chain(self.arguments.clone()).collect()
    }

    /// Wall time from before the fork until the process was waited for.
    pub(crate) fn time(&self) -> Duration {
        let begun = Instant::now();
        self.spawn().finish();
        begun.elapsed()
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&self) -> Running {
        let child = self.command().stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {self}: {error}"));
        Running { child, line: self.to_string() }
    }

    /// What it prints.
    pub(crate) fn output(&self) -> String {
        let output = self.command().output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {self}: {error}"));
        assert!(output.status.success(), "{self}: {}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The bare command: nothing of this program's environment, no terminal.
    fn command(&self) -> Command {
        let (uid, gid) = self.user.as_ref().map_or((0, 0), |user| (user.uid.as_raw(), user.gid.as_raw()));
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).uid(uid).gid(gid).current_dir(&self.home);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &self.home);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        command
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// A start that has not been waited for.
pub(crate) struct Running {
    child: Child,
    line: String,
}

impl Running {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it. Panics if it failed: a start that fails early is a fast one.
    pub(crate) fn finish(mut self) {
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "{}: {status}", self.line);
    }

    /// Ends it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

/// What many starts took.
pub(crate) struct Times {
    /// The one in the middle.
    pub(crate) median: Duration,
    /// The shortest.
    pub(crate) least: Duration,
}

impl Times {
    /// Of at least one start.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self { median: times[times.len() / 2], least: times[0] }
    }

    /// How many of this median another time is.
    pub(crate) fn median_in(&self, other: Duration) -> f64 {
        other.as_secs_f64() / self.median.as_secs_f64()
    }
}

/// Milliseconds: median (least).
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:.2} ({:.2})", milliseconds(self.median), milliseconds(self.least))
    }
}
