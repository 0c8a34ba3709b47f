//! Interferes with one system call of a starter: `at-call REPORT [PROCESS:CALL:ACTION] -- PROGRAM...`.
//!
//! PROGRAM is run as root and may become somebody else; from where it starts a `starter-suid` until that one starts
//! `init`, every system call is counted. PROCESS 0 is the starter, the others are its children in the order of their
//! birth; CALL counts from 0 in each. Without a rule REPORT gets a line `PROCESS CALL NAME` for each call; with one,
//! it gets the name of that call when it is reached.
//!
//! | Action | At the entry of the call |
//! |---|---|
//! | `kill` | the process is killed |
//! | `fail=ERRNO` | the call is not made, and answered with this error |
//! | `call=NAME` or `call=NUMBER` | another call is made, with the same arguments |
//! | `argument=INDEX,VALUE` | the call is made with another argument |
//! | `i386` | after the call, one more through the entry for 32-bit programs |
//! | `stop` | the process is let go, and stops behind the call; the report says `stopped PID` |
//! | `exchange=PATH,PATH` | two names are exchanged, and the call is made |
//!
//! All runs in a mount namespace whose mounts are shared with a copy of itself, as the host's usually are. When the last
//! process is gone nothing of its mounts may have come or gone. The exit status is the program's, 128 and the signal that
//! ended it, or [`MOUNTS_LEFT`].

mod registers;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use syscalls::Sysno;

/// Exit status when the mounts outside a container are others than before.
const MOUNTS_LEFT: i32 = 99;

/// What is done to a call.
enum Action {
    Kill,
    Fail(i32),
    Call(u64),
    Argument(usize, u64),
    I386,
    Stop,
    Exchange(String, String),
}

/// Which call, and what is done to it.
struct Rule {
    process: usize,
    call: usize,
    action: Action,
}

/// A counted process.
struct Process {
    number: usize,
    calls: usize,
    /// How the present call is answered instead of being made, and the registers to go on with.
    answer: Option<(i32, registers::Registers)>,
    /// After the present call there is one more through the other entry.
    other_entry: bool,
}

struct Tracer {
    report: File,
    rule: Option<Rule>,
    counted: BTreeMap<Pid, Process>,
    /// New processes that stopped before their parent was heard of.
    early: BTreeSet<Pid>,
    born: usize,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let report = File::create(arguments.next().expect("a report")).expect("a report can be written");
    let rule = arguments.next().filter(|text| text != "--").map(|text| {
        assert_eq!(arguments.next().as_deref(), Some("--"), "-- after the rule");
        parse(&text)
    });
    let before = own_mounts();
    let mut command = Command::new(arguments.next().expect("a program"));
    command.args(arguments);
    // SAFETY: between fork and exec of a process with one thread anything is allowed.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    nix::sys::prctl::set_child_subreaper(true).expect("a process can adopt orphans");
    let child = command.spawn().expect("the program can be started");
    let child = Pid::from_raw(child.id().try_into().expect("a process id is an i32"));
    let tracer = Tracer { report, rule, counted: BTreeMap::new(), early: BTreeSet::new(), born: 0 };
    let status = tracer.watch(child);
    let changes = changes(&before, &mount_table());
    if !changes.is_empty() {
        eprintln!("mounts that came or went: {changes:#?}");
        std::process::exit(MOUNTS_LEFT);
    }
    std::process::exit(status);
}

/// Lines that are in one mount table only. A mount point that somebody removes takes its mounts along in every
/// namespace, so what is gone outside too went there.
fn changes(before: &str, after: &str) -> Vec<String> {
    let outside = format!("/proc/{}/mountinfo", nix::unistd::getppid());
    let outside = std::fs::read_to_string(outside).unwrap_or_default();
    let place = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    let is_outside = |line: &&str| outside.lines().any(|other| place(other) == place(line));
    let came = after.lines().filter(|line| !before.lines().any(|known| known == *line));
    let went = before.lines().filter(|line| !after.lines().any(|known| known == *line)).filter(is_outside);
    came.chain(went).map(str::to_owned).collect()
}

fn parse(text: &str) -> Rule {
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().expect("PROCESS:CALL:ACTION");
    let (process, call, action) = (next(), next(), next());
    let (name, value) = action.split_once('=').unwrap_or((action, ""));
    let pair = || value.split_once(',').expect("two values");
    let number = |text: &str| text.parse().expect("a number");
    let action = match name {
        "kill" => Action::Kill,
        "fail" => Action::Fail(value.parse().expect("a number")),
        "call" => Action::Call(call_number(value)),
        "argument" => Action::Argument(pair().0.parse().expect("a number"), number(pair().1)),
        "i386" => Action::I386,
        "stop" => Action::Stop,
        "exchange" => Action::Exchange(pair().0.to_owned(), pair().1.to_owned()),
        other => panic!("no action {other}"),
    };
    Rule { process: process.parse().expect("a number"), call: call.parse().expect("a number"), action }
}

/// A call by its name, or a number that no call has.
fn call_number(name: &str) -> u64 {
    if let Ok(number) = name.parse() {
        return number;
    }
    let call: Sysno = name.parse().expect("a call that there is");
    call.id().try_into().expect("a call's number is small")
}

fn name(number: u64) -> String {
    usize::try_from(number)
        .ok()
        .and_then(Sysno::new)
        .map_or_else(|| number.to_string(), |call| call.to_string())
}

/// A mount namespace of our own that hands on whatever is mounted in it; its mount table.
fn own_mounts() -> String {
    unshare(CloneFlags::CLONE_NEWNS).expect("root may");
    for kind in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | kind, None::<&str>).expect("root may");
    }
    mount_table()
}

fn mount_table() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").expect("there is a /proc")
}

impl Tracer {
    /// Follows every process to its end; the exit status of the first.
    fn watch(mut self, first: Pid) -> i32 {
        let mut exit_status = 0;
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE;
        let mut fresh = true;
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => return exit_status,
                Err(error) => panic!("cannot wait: {error}"),
            };
            match status {
                WaitStatus::Exited(pid, code) if pid == first => exit_status = code,
                WaitStatus::Signaled(pid, signal, _) if pid == first => exit_status = 128 + signal as i32,
                WaitStatus::Stopped(pid, Signal::SIGTRAP) if fresh && pid == first => {
                    fresh = false;
                    ptrace::setoptions(pid, options).expect("it is ours");
                    go_on(ptrace::cont(pid, None));
                }
                WaitStatus::Stopped(pid, signal) => self.signalled(pid, signal),
                WaitStatus::PtraceSyscall(pid) => self.at_call(pid),
                WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => self.executed(pid),
                WaitStatus::PtraceEvent(pid, ..) => self.forked(pid),
                _ => {}
            }
        }
    }

    /// A counted process goes on to its next call, any other to its next event.
    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        let counted = self.counted.contains_key(&pid);
        go_on(if counted { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) });
    }

    fn signalled(&mut self, pid: Pid, signal: Signal) {
        let expected = self.counted.get(&pid).is_none_or(|process| process.calls == 0);
        if signal != Signal::SIGSTOP || !expected {
            return self.resume(pid, Some(signal));
        }
        // Every process that is born under a tracer stops first.
        if self.counted.contains_key(&pid) {
            self.resume(pid, None);
        } else {
            self.early.insert(pid);
        }
    }

    fn forked(&mut self, parent: Pid) {
        // The parent may have been killed meanwhile.
        let Ok(child) = ptrace::getevent(parent) else { return };
        let child = Pid::from_raw(child.try_into().expect("a process id is an i32"));
        if self.counted.contains_key(&parent) {
            self.count(child);
        }
        if self.early.remove(&child) || !self.counted.contains_key(&child) {
            self.resume(child, None);
        }
        self.resume(parent, None);
    }

    fn count(&mut self, pid: Pid) {
        let process = Process { number: self.born, calls: 0, answer: None, other_entry: false };
        self.counted.insert(pid, process);
        self.born += 1;
    }

    fn executed(&mut self, pid: Pid) {
        if self.counted.remove(&pid).is_some() {
            return go_on(ptrace::detach(pid, None));
        }
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        if self.born == 0 && program.ends_with("starter-suid") {
            self.count(pid);
        }
        self.resume(pid, None);
    }

    /// At the entry or the exit of a call.
    fn at_call(&mut self, pid: Pid) {
        let Ok(Some(call)) = registers::entered(pid) else {
            self.leave(pid);
            return self.resume(pid, None);
        };
        let Some(process) = self.counted.get_mut(&pid) else { return };
        let here = (process.number, process.calls);
        process.calls += 1;
        match &self.rule {
            None => writeln!(self.report, "{} {} {}", here.0, here.1, name(call))
                .expect("a report can be written"),
            Some(rule) if (rule.process, rule.call) == here => return self.interfere(pid, call),
            Some(_) => {}
        }
        self.resume(pid, None);
    }

    fn interfere(&mut self, pid: Pid, call: u64) {
        let (Some(rule), Some(process)) = (&self.rule, self.counted.get_mut(&pid)) else { return };
        writeln!(self.report, "{}", name(call)).expect("a report can be written");
        match &rule.action {
            Action::Kill => return kill(pid, Signal::SIGKILL).expect("it is ours"),
            Action::Fail(error) => {
                let before = registers::read(pid).expect("it is stopped");
                registers::call(pid, &before, libc::SYS_close.cast_unsigned(), Some((0, u64::MAX)));
                process.answer = Some((*error, before));
            }
            Action::Call(number) => {
                let before = registers::read(pid).expect("it is stopped");
                registers::call(pid, &before, *number, None);
            }
            Action::Argument(index, value) => {
                let before = registers::read(pid).expect("it is stopped");
                registers::call(pid, &before, call, Some((*index, *value)));
            }
            Action::I386 => process.other_entry = true,
            Action::Stop => {
                go_on(ptrace::detach(pid, Signal::SIGSTOP));
                self.counted.remove(&pid);
                return writeln!(self.report, "stopped {pid}").expect("a report can be written");
            }
            Action::Exchange(one, other) => {
                renameat2(AT_FDCWD, one.as_str(), AT_FDCWD, other.as_str(), RenameFlags::RENAME_EXCHANGE)
                    .expect("two names can be exchanged");
            }
        }
        self.resume(pid, None);
    }

    /// At the exit of a call.
    fn leave(&mut self, pid: Pid) {
        let Some(process) = self.counted.get_mut(&pid) else { return };
        if let Some((error, before)) = process.answer.take() {
            registers::answer(pid, &before, error);
        }
        if std::mem::take(&mut process.other_entry) {
            registers::use_other_entry(pid);
        }
    }
}

/// A process that was killed a moment ago cannot go on, and need not.
fn go_on(done: nix::Result<()>) {
    assert!(matches!(done, Ok(()) | Err(Errno::ESRCH)), "a traced process goes on: {done:?}");
}
