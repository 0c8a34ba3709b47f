//! `instance start`, `run`, `list`, `stop` and `stats`, and what is found at `instance://`.

mod stats;

pub(super) use stats::{NOTES as STATS_NOTES, stats};

use super::flags::{self, Flag, Kind};
use super::given::Given;
use super::{Invocation, Stop, actions, answer, dry_run, misuse};
use crate::cgroup::Limits;
use crate::error::{Doing, FAILURE_STATUS, Failure, Outcome};
use crate::file::{Existing, NewFile};
use crate::flow::Flow;
use crate::init::matches_pattern;
use crate::instance::{self, Folder, Logs, Processes, Record, Stopping};
use crate::intent::Extraction;
use crate::message::{self, shown};
use crate::payload::{Action, Dialect};
use crate::planning::{self, Container};
use crate::sys::signal::Inherited;
use crate::user::Caller;
use crate::{cgroup, launch, site};
use nix::unistd::{Pid, User};
use serde::Serialize;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The scheme of references to running instances.
const SCHEME: &str = "instance://";
/// How long an instance may take to end, in seconds.
const PATIENCE_SECONDS: u64 = 10;
/// The flags that say something to whoever joins an instance, or nothing anywhere else.
const WHEN_JOINING: [&str; 9] =
    ["app", "cleanenv", "cwd", "disable-cache", "env", "env-file", "no-env", "no-eval", "no-umask"];

/// The name in a reference to an instance; `None` for any other reference.
pub(super) fn name_in(reference: &OsStr) -> Option<&str> {
    reference.to_str()?.strip_prefix(SCHEME)
}

fn refuse_oci(given: &Given) -> Outcome<()> {
    if given.is_on("oci") {
        return Err(Failure::new("instances are not supported in OCI mode")
            .hint("leave --oci out: instances are of native images"));
    }
    Ok(())
}

/// `instance start` and `instance run`
pub(super) fn start(
    invocation: &Invocation,
    given: Given,
    mut words: Vec<OsString>,
    action: fn(Vec<Vec<u8>>) -> Action,
) -> Result<(), Stop> {
    let signals = Inherited::now();
    let (image, name) = (words.remove(0), words.remove(0));
    if name_in(&image).is_some() {
        return Err(Failure::new("starting an instance from another is not allowed")
            .hint("give the image that it is to be started from")
            .into());
    }
    // A name that is no text is no valid one either.
    let name = name.to_string_lossy().into_owned();
    instance::check_name(&name)?;
    let pid_file = given.last("pid-file").map(PathBuf::from);
    let action = action(words.into_iter().map(OsString::into_vec).collect());
    refuse_oci(&given)?;
    let (image, fetched) = actions::on_this_machine(invocation, image, &given)?;
    let mut intent = actions::settle(invocation, action, image, given)?;
    (intent.instance, intent.pid, intent.no_init) = (true, true, false);
    if intent.extraction == Extraction::Demanded {
        return Err(Failure::new(
            "an instance cannot run from a temporary sandbox: nobody stays to remove it",
        )
        .hint("make the directory with 'build --sandbox', and start the instance from it")
        .into());
    }
    let (site, caller) = (site::load()?, Caller::look_up()?);
    let folder = Folder::of(invocation.dialect, &caller.home, &caller.name)?;
    let planned = planning::plan(&intent, &site, &caller)?;
    // What the instance needs of it is open now.
    drop(fetched);
    if let Some(form) = intent.dry_run {
        return Ok(dry_run::print(&planned, form)?);
    }
    if !planned.plan.instance {
        return Err(Failure::new("an instance needs a PID namespace, which this site does not allow")
            .hint(format!("see 'allow pid ns' in {}", site::path()))
            .into());
    }
    let userns = planned.flow() == Flow::UserNamespace;
    let (image, home) = (shown(&planned.image), shown(OsString::from_vec(planned.home.clone())));
    let (restrictions, fakeroot) = (planned.restrictions.clone(), planned.has_fakeroot_command());
    let locked = planned.locked();
    let payload = planning::payload(&intent, planned.container(), signals);
    let describe = |processes: Processes, logs: &Logs| Record {
        pid: processes.first.as_raw(),
        ppid: processes.monitor.as_raw(),
        parent_started: processes.monitor_started,
        name: name.clone(),
        user: caller.name.clone(),
        image,
        userns,
        cgroup: cgroup::of(processes.first).is_some(),
        ip: String::new(),
        log_err_path: shown(&logs.err),
        log_out_path: shown(&logs.out),
        started: processes.started,
        home,
        restrictions,
        fakeroot,
        keeper: processes.keeper,
        locked,
    };
    enter_group(intent.limits.as_ref(), &caller)?;
    let become_container = |outlets: &instance::Outlets| {
        let started = outlets.take().and_then(|()| launch::start(planned, &payload, &site, false, None));
        let failure = match started {
            Err(failure) => failure,
            Ok(never) => match never {},
        };
        message::failure(&failure);
        FAILURE_STATUS.into()
    };
    let first = match instance::start(&folder, &name, become_container, describe)? {
        Ok(processes) => processes.first,
        Err(status) => return Err(Stop::Said(u8::try_from(status).unwrap_or(FAILURE_STATUS))),
    };
    message::info("instance started successfully");
    // The instance runs, with the file or without it.
    if let Some(Err(failure)) = pid_file.map(|path| write_pid(&path, first)) {
        message::warning(failure.to_string());
    }
    Ok(())
}

/// Moves this command into a control group that the instance is started in. A group whose controllers are handed down
/// has no processes itself, so this one may not stay behind. Without limits the group only counts, where there can be one.
fn enter_group(limits: Option<&Limits>, caller: &Caller) -> Outcome<()> {
    if let Some(limits) = limits {
        return cgroup::enter_and_count(limits, caller);
    }
    if let Err(failure) = cgroup::enter_and_count(&Limits::default(), caller) {
        message::verbose(format!("No control group of its own: {failure}"));
    }
    Ok(())
}

/// `--pid-file`: process 1, as the host numbers it.
fn write_pid(path: &Path, first: Pid) -> Outcome<()> {
    let new = NewFile::beside(path, 0o644)?;
    writeln!(new.file(), "{first}").doing(|| format!("writing {}", shown(path)))?;
    new.publish(Existing::Replace).map(drop)
}

/// Runs something in an instance, as `exec` and its kin do in an image.
pub(super) fn join(
    invocation: &Invocation,
    name: &str,
    action: Action,
    given: Given,
    signals: Inherited,
) -> Result<(), Stop> {
    refuse_oci(&given)?;
    let caller = Caller::look_up()?;
    let folder = Folder::of(invocation.dialect, &caller.home, &caller.name)?;
    let (record, process) = folder
        .find(name)
        .ok_or_else(|| Failure::new(format!("no instance found with name {}", shown(name))))?;
    if given.is_on("dry-run") {
        return Err(Failure::new(
            "--dry-run shows what would be mounted, and this instance's mounts are made",
        )
        .hint("'instance list' shows what runs; give --dry-run to 'instance start'")
        .into());
    }
    warn_of_what_is_settled(&given);
    let intent = actions::settle(invocation, action, PathBuf::from(&record.image), given)?;
    let container = Container {
        image: Path::new(&record.image),
        home: record.home.as_bytes(),
        resident: &caller,
        restrictions: &record.restrictions,
        fakeroot: record.fakeroot,
        keeper: record.keeper,
        plan: None,
    };
    let payload = planning::payload(&intent, container, signals);
    let flow = if record.userns { Flow::UserNamespace } else { Flow::Setuid };
    match launch::join(process.into(), flow, &payload)? {}
}

/// What an instance is made of was settled when it was started.
fn warn_of_what_is_settled(given: &Given) {
    let settled = flags::ACTION.iter().filter(|flag| !WHEN_JOINING.contains(&flag.name));
    let without_effect = |flag: &&Flag| flag.topic != flags::ACCEPTED && is_given(given, flag);
    for flag in settled.filter(without_effect) {
        message::warning(format!("Ignoring --{}: the instance has what it was started with", flag.name));
    }
}

fn is_given(given: &Given, flag: &Flag) -> bool {
    match flag.kind {
        Kind::Switch => given.is_on(flag.name),
        Kind::Text | Kind::List | Kind::Each => !given.all(flag.name).is_empty(),
    }
}

/// `instance list`
pub(super) fn list(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    if given.is_on("json") && given.is_on("logs") {
        return Err(Failure::new("more than one flags have been set").into());
    }
    let folder = folder_of(invocation.dialect, given)?;
    let pattern = words.first().map_or("*".into(), |pattern| pattern.to_string_lossy());
    let running = folder.running().into_iter().map(|(record, _)| record);
    let running: Vec<Record> = running.filter(|record| matches_pattern(&pattern, &record.name)).collect();
    if given.is_on("json") {
        return Ok(answer::print(as_json(&running)?)?);
    }
    let rows: Vec<Vec<String>> = if given.is_on("logs") {
        let header = vec!["INSTANCE NAME".into(), "PID".into(), "LOGS".into()];
        let row = |record: Record| {
            let second = vec![String::new(), String::new(), record.log_out_path];
            [vec![record.name, record.pid.to_string(), record.log_err_path], second]
        };
        std::iter::once(header).chain(running.into_iter().flat_map(row)).collect()
    } else {
        let header = vec!["INSTANCE NAME".into(), "PID".into(), "IP".into(), "IMAGE".into()];
        let row = |record: Record| vec![record.name, record.pid.to_string(), record.ip, record.image];
        std::iter::once(header).chain(running.into_iter().map(row)).collect()
    };
    Ok(answer::print(answer::in_columns(&rows))?)
}

fn as_json(running: &[Record]) -> Outcome<Vec<u8>> {
    let instance = |record: &Record| {
        json!({
            "instance": record.name, "pid": record.pid, "img": record.image, "ip": record.ip,
            "logErrPath": record.log_err_path, "logOutPath": record.log_out_path,
        })
    };
    let whole = json!({ "instances": running.iter().map(instance).collect::<Vec<_>>() });
    let mut text = Vec::new();
    // Indented as the incumbents do it.
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    whole
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))
        .doing(|| "writing JSON".into())?;
    text.push(b'\n');
    Ok(text)
}

/// `instance stop`
pub(super) fn stop(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let pattern = match words.first() {
        Some(pattern) => pattern.to_string_lossy().into_owned(),
        None if given.is_on("all") => "*".to_owned(),
        None => {
            return Err(misuse(invocation, "instance stop", "an instance's name or --all is needed"));
        }
    };
    let signal = match given.last("signal") {
        _ if given.is_on("force") => libc::SIGKILL,
        Some(name) => signal_of(&name.to_string_lossy())?,
        None => libc::SIGINT,
    };
    let patience = match given.last("timeout") {
        Some(seconds) => seconds
            .to_string_lossy()
            .parse()
            .map_err(|_| Failure::new(format!("{} is no number of seconds for --timeout", shown(seconds))))?,
        None => PATIENCE_SECONDS,
    };
    let folder = folder_of(invocation.dialect, given)?;
    let mut chosen = folder.running();
    chosen.retain(|(record, _)| matches_pattern(&pattern, &record.name));
    if chosen.is_empty() {
        return Err(Failure::new("no instance found").into());
    }
    Ok(instance::stop(&folder, chosen, Stopping { signal, patience: Duration::from_secs(patience) })?)
}

/// A signal by its number, or its name with or without `SIG`.
fn signal_of(text: &str) -> Outcome<i32> {
    let unknown = || Failure::new(format!("{} is no signal", shown(text)));
    if let Ok(number) = text.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number).ok_or_else(unknown);
    }
    let name = text.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    nix::sys::signal::Signal::from_str(&name).map(|signal| signal as i32).map_err(|_| unknown())
}

/// The caller's own instances, or for root those of the user that `--user` names.
fn folder_of(dialect: Dialect, given: &Given) -> Outcome<Folder> {
    let Some(name) = given.last("user") else {
        let caller = Caller::look_up()?;
        return Folder::of(dialect, &caller.home, &caller.name);
    };
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new("only root may ask for another user's instances"));
    }
    let name = name.to_string_lossy();
    let user = User::from_name(&name).doing(|| format!("looking up user {}", shown(&*name)))?;
    let user = user.ok_or_else(|| Failure::new(format!("there is no user {}", shown(&*name))))?;
    Folder::of(dialect, &user.dir, &user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("INT", 2), ("sigkill", 9), ("SIGTERM", 15), ("10", 10), ("64", 64)] {
            assert_eq!(signal_of(text).unwrap(), number, "{text}");
        }
        for bad in ["", "0", "65", "NOSUCH", "-9"] {
            assert!(signal_of(bad).is_err(), "{bad:?}");
        }
    }
}
