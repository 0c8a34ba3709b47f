//! The most memory each program of a start ever held, seen by a tracer that stops it where it ends.

use crate::start::Start;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use tests::User;

/// Prints one line for each program and each fork of it, in the order of their ends.
pub(crate) fn show(start: &Start, user: &User) {
    println!(
        "\nmost resident memory of each process of a start, KiB (file pages that others share are counted)"
    );
    for (program, kibibytes) in peaks(start, user) {
        println!("  {program:28}{kibibytes:>7}");
    }
}

/// Traces a start. A shell waits until it is traced, then becomes the program.
fn peaks(start: &Start, user: &User) -> Vec<(String, u64)> {
    let waiting = Start::new("/bin/sh", Some(user), start.home())
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .args(start.words());
    let running = waiting.spawn();
    let first = Pid::from_raw(running.pid().cast_signed());
    waitpid(first, Some(WaitPidFlag::WUNTRACED)).expect("the shell stops itself");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, options).expect("root can trace");
    nix::sys::signal::kill(first, Signal::SIGCONT).expect("our child can be woken");
    let mut peaks = Vec::new();
    let mut forked = BTreeSet::new();
    let mut renewed = BTreeSet::new();
    loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL)).expect("there is a child");
        let Some(pid) = status.pid() else { continue };
        let mut deliver = None;
        match status {
            WaitStatus::Exited(ended, _) | WaitStatus::Signaled(ended, _, _) => {
                if ended == first {
                    return peaks;
                }
                continue;
            }
            // Before an exec takes its memory away, and before it goes at the end.
            WaitStatus::PtraceSyscall(_) if is_exec(pid) && !renewed.remove(&pid) => {
                peaks.extend(peak(pid, forked.contains(&pid)))
            }
            WaitStatus::PtraceEvent(_, _, event) if event == ptrace::Event::PTRACE_EVENT_EXIT as i32 => {
                peaks.extend(peak(pid, forked.contains(&pid)));
            }
            WaitStatus::PtraceEvent(_, _, event) if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 => {
                forked.remove(&pid);
                renewed.insert(pid);
            }
            WaitStatus::PtraceEvent(_, Signal::SIGTRAP, _) => {
                let child = ptrace::getevent(pid).ok().and_then(|pid| i32::try_from(pid).ok());
                forked.extend(child.map(Pid::from_raw));
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            _ => {}
        }
        let _ = ptrace::syscall(pid, deliver);
    }
}

/// Whether a process that was stopped on its way into or out of the kernel is there for an exec.
fn is_exec(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    [libc::SYS_execve, libc::SYS_execveat].map(Some).contains(&number)
}

/// Name and high-water mark of a process; nothing for the shell that only waits.
fn peak(pid: Pid, forked: bool) -> Option<(String, u64)> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = program.file_name()?.to_string_lossy().into_owned();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes = mark.trim().trim_end_matches(" kB").parse().ok()?;
    let waiting_shell = matches!(name.as_str(), "dash" | "bash" | "sh");
    let name = if forked { format!("{name}, its fork") } else { name };
    (!waiting_shell).then_some((name, kibibytes))
}
