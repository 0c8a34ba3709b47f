//! Process 1 of a PID namespace, and whoever else has to stay: it starts the program, buries everybody's children, and passes
//! signals on.

use crate::envelope::Inherited;
use crate::error::Doing;
use crate::init::environment::Environment;
use crate::init::execute::Program;
use crate::init::fusemount::Served;
use crate::init::{Ending, become_program, restrictions, status_of};
use crate::payload::{Dialect, Payload};
use crate::sys::children;
use crate::sys::fork;
use crate::sys::signal::{self, Disposition};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// How long to sleep at most between two looks at what happened.
pub(super) const NAP: Duration = Duration::from_secs(3600);
/// Where in `/proc/self/stat` the arguments' address is, counted from the field after the name: `proc(5)` calls it
/// field 48, the name is field 2.
const ARGUMENTS_FIELD: usize = 45;

/// Starts the program and stays until it ends.
pub(super) fn run(
    payload: &Payload,
    program: Program,
    environment: &Environment,
    served: Option<Served>,
    inherited: Inherited,
) -> Ending {
    prepare(payload);
    let is_process_1 = nix::unistd::getpid().as_raw() == 1;
    let child = fork::fork_to(|| {
        if !is_process_1 {
            // Nothing else ends it when this process is killed.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        }
        status_of(&become_program(payload, program, environment, inherited).into())
    });
    match child.doing(|| "starting the program".into()) {
        Ok(child) => {
            let status = wait(child);
            served.into_iter().for_each(Served::end);
            Ending::Status(status)
        }
        Err(failure) => failure.into(),
    }
}

/// Makes this process one that buries children and hears of every signal.
pub(super) fn prepare(payload: &Payload) {
    rename(payload.dialect);
    // A signal that is blocked waits for us even where process 1 would not get it otherwise.
    let _ = signal::set_disposition(libc::SIGCHLD, Disposition::Default);
    let _ = signal::set_blocked(&signal::ALL);
    if restrictions::are_any(&payload.restrictions) {
        // The program could make this process do what it may not do itself.
        let _ = nix::sys::prctl::set_dumpable(false);
    }
}

/// Waits for the program and returns its status.
fn wait(child: Pid) -> i32 {
    loop {
        while let Ok(Some((process, fate))) = children::reap() {
            if process == child
                && let Some(status) = fate.status()
            {
                // Where the program died of a signal, too: process 1 cannot die of one itself.
                return status;
            }
        }
        if let Some(arrival) = signal::wait(&signal::ALL, NAP)
            && arrival.is_for_others()
        {
            // A program that is gone is found at the next look.
            let _ = signal::send(child, arrival.number);
        }
    }
}

/// Shows this process under the name that people know from the incumbents. A cosmetic matter: failures are ignored.
fn rename(dialect: Dialect) {
    let name = match dialect {
        Dialect::Singularity => c"sinit",
        Dialect::Apptainer => c"appinit",
    };
    let _ = nix::sys::prctl::set_name(name);
    let _ = rename_arguments(name);
}

/// Overwrites the arguments in this process's memory, which is what `ps` shows.
fn rename_arguments(name: &CStr) -> Option<()> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(") ")?.1;
    let address = fields.split(' ').nth(ARGUMENTS_FIELD)?.parse().ok()?;
    let length = std::fs::read("/proc/self/cmdline").ok()?.len();
    let mut text = CString::from(name).into_bytes_with_nul();
    if text.len() > length {
        return None;
    }
    text.resize(length, 0);
    File::options().write(true).open("/proc/self/mem").ok()?.write_all_at(&text, address).ok()
}
