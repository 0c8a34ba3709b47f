//! The sections that are run: `%pre` and `%setup` on this machine, `%post` and `%test` in the image.

use super::tree::Tree;
use super::{Container, Recipe};
use crate::build::Tools;
use crate::build::definition::Script;
use crate::error::{Doing, FAILURE_STATUS, Failure, NotStarted, Outcome};
use crate::message;
use crate::sys::children::{self, Fate};
use crate::sys::fork::fork_to;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a script is in the image while it runs there.
const POST_SCRIPT: &str = "/.post.script";
/// Where `%post` may write labels, one in a line.
pub(super) const LABELS_FILE: &str = "/.build.labels";
/// Where it may write variables of the image.
const ENVIRONMENT_FILE: &str = "/.singularity.d/env/91-environment.sh";
/// How long a script that is asked to end may take for it.
const GRACE_MILLISECONDS: u16 = 5000;

/// Runs a script on this machine, as the builder, who is root here or in the build's namespace.
///
/// # Errors
/// It failed.
pub(super) fn on_host(
    section: &str,
    script: &Script,
    root: &Path,
    room: &Path,
    tools: Tools<'_>,
) -> Outcome<()> {
    message::info(format!("Running {section} scriptlet"));
    let file = room.join(format!("{section}.script"));
    std::fs::write(&file, &script.text).doing(|| format!("storing the %{section} script"))?;
    let [shell, options @ ..] = &command(section, script, &file.to_string_lossy())?[..] else {
        return Err(Failure::new("there is no shell to run"));
    };
    let mut command = Command::new(shell);
    command.args(options).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_ours(name)) {
        command.env_remove(name);
    }
    for prefix in ["SINGULARITY", "APPTAINER"] {
        command.env(format!("{prefix}_ROOTFS"), root);
        command.env(format!("{prefix}_ENVIRONMENT"), below(root, ENVIRONMENT_FILE));
        command.env(format!("{prefix}_LABELS"), below(root, LABELS_FILE));
    }
    run(&format!("%{section}"), command, tools)
}

/// Where something in an image is that is made at `root`.
fn below(root: &Path, inner: &str) -> PathBuf {
    root.join(inner.trim_start_matches('/'))
}

/// Runs a program of this machine to its end.
///
/// # Errors
/// It cannot be started, failed, or was interrupted.
pub(super) fn run(what: &str, mut command: Command, tools: Tools<'_>) -> Outcome<()> {
    let child = command.spawn().map_err(NotStarted::from).doing(|| format!("starting {what}"))?;
    let child = i32::try_from(child.id()).doing(|| format!("starting {what}"))?;
    wait(Pid::from_raw(child), what, tools)
}

/// Runs `%post` in a container that may write to the image.
///
/// # Errors
/// It failed, or there is no container.
pub(super) fn post(recipe: &Recipe<'_>, script: &Script, tree: &Tree, tools: Tools<'_>) -> Outcome<()> {
    message::info("Running post scriptlet");
    tree.write(POST_SCRIPT, &script.text, 0o755)?;
    let mut words: Vec<OsString> =
        ["--writable", "--pid", "--cleanenv", "--no-home", "--cwd", "/"].map(OsString::from).into();
    for prefix in ["SINGULARITY", "APPTAINER"] {
        words.extend(["--env".into(), format!("{prefix}_ENVIRONMENT={ENVIRONMENT_FILE}").into()]);
        words.extend(["--env".into(), format!("{prefix}_LABELS={LABELS_FILE}").into()]);
    }
    words.extend(recipe.container_words.iter().cloned());
    words.push(tree.path().into());
    words.extend(command("post", script, POST_SCRIPT)?.into_iter().map(OsString::from));
    let ended = in_container("post", Container { command: "exec", words }, recipe, tools);
    tree.remove(POST_SCRIPT);
    ended
}

/// Runs the image's tests as `test` does.
///
/// # Errors
/// They failed, or there is no container.
pub(super) fn test(recipe: &Recipe<'_>, tree: &Tree, tools: Tools<'_>) -> Outcome<()> {
    message::info("Running testscript");
    let mut words: Vec<OsString> = ["--pid", "--no-home", "--cwd", "/"].map(OsString::from).into();
    words.extend(recipe.test_words.iter().chain(&recipe.container_words).cloned());
    words.push(tree.path().into());
    in_container("test", Container { command: "test", words }, recipe, tools)
}

fn in_container(section: &str, container: Container, recipe: &Recipe<'_>, tools: Tools<'_>) -> Outcome<()> {
    let mut container = Some(container);
    let child = fork_to(|| {
        tools.interrupts.let_go();
        if let Some(failure) = container.take().and_then(|container| (recipe.start)(container)) {
            message::failure(&failure);
        }
        i32::from(FAILURE_STATUS)
    });
    wait(child.doing(|| format!("starting %{section}"))?, &format!("%{section}"), tools)
}

/// The shell's command line for a script, the incumbents' way: everything behind `-c` is one command that gets the
/// script's name.
fn command(section: &str, script: &Script, file: &str) -> Outcome<Vec<String>> {
    let mut words = vec!["/bin/sh".to_owned(), "-ex".to_owned()];
    let options: Vec<&str> = script.options.split_whitespace().collect();
    match options.iter().position(|option| *option == "-c") {
        None => words.extend(options.into_iter().chain([file]).map(str::to_owned)),
        Some(at) => {
            let (before, shell) =
                (options.get(..=at).unwrap_or_default(), options.get(at + 1..).unwrap_or_default());
            if shell.is_empty() {
                return Err(Failure::new(format!(
                    "bad %{section} section '-c' parameter: missing arguments"
                )));
            }
            words.extend(before.iter().map(|option| (*option).to_owned()));
            words.push(format!("{} {file}", shell.join(" ")));
        }
    }
    Ok(words)
}

/// Whether a variable speaks to this program or its containers.
fn is_of_ours(name: &std::ffi::OsStr) -> bool {
    ["SINGULARITY", "APPTAINER"].iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

/// Waits for a script, and ends it when this command is asked to end.
fn wait(child: Pid, what: &str, tools: Tools<'_>) -> Outcome<()> {
    let waiting = || format!("waiting for {what}");
    let raw = rustix::process::Pid::from_raw(child.as_raw()).ok_or_else(|| Failure::new(waiting()))?;
    let ended = pidfd_open(raw, PidfdFlags::empty()).doing(waiting)?;
    let has_ended = |milliseconds: PollTimeout| {
        let mut fds = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(tools.interrupts.as_fd(), PollFlags::POLLIN),
        ];
        let watched = if tools.interrupts.pending() { &mut fds[..1] } else { &mut fds[..] };
        let _ = nix::poll::poll(watched, milliseconds);
        fds[0].any().unwrap_or(false)
    };
    while !has_ended(PollTimeout::NONE) {
        if !tools.interrupts.pending() {
            continue;
        }
        let _ = kill(child, Signal::SIGTERM);
        if !has_ended(PollTimeout::from(GRACE_MILLISECONDS)) {
            let _ = kill(child, Signal::SIGKILL);
        }
    }
    let fate = loop {
        if let Some(fate) = children::look_at(child).doing(waiting)?.filter(|fate| *fate != Fate::Stopped) {
            break fate;
        }
        has_ended(PollTimeout::from(10_u8));
    };
    tools.interrupts.check()?;
    match fate {
        Fate::Exited(0) => Ok(()),
        Fate::Exited(status) => Err(Failure::new(format!("{what} failed: exit status {status}"))),
        Fate::Killed(signal) => Err(Failure::new(format!("{what} failed: stopped by signal {signal}"))),
        Fate::Stopped => Err(Failure::new(waiting())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_section_reach_the_shell() {
        let command = |options: &str| {
            let script = Script { options: options.into(), text: String::new() };
            command("post", &script, "/s").map(|words| words.join("|")).map_err(|failure| failure.to_string())
        };
        assert_eq!(command("").unwrap(), "/bin/sh|-ex|/s");
        assert_eq!(command("-u").unwrap(), "/bin/sh|-ex|-u|/s");
        assert_eq!(command("-c /bin/bash -x").unwrap(), "/bin/sh|-ex|-c|/bin/bash -x /s");
        assert_eq!(command("-c").unwrap_err(), "bad %post section '-c' parameter: missing arguments");
    }
}
