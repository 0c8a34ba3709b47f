//! From an action to a command line.

use crate::error::Failure;
use crate::init::Ending;
use crate::init::environment::Environment;
use crate::init::execute::{SHELL, command, is_executable};
use crate::init::machine;
use crate::init::shell::{Shell, Stop};
use crate::message::{self, Level};
use crate::payload::{Action, Payload, Text};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The command line of the payload's action, and `SHELL` for an interactive shell. An instance may have none.
///
/// # Errors
/// When the image has nothing to run; a missing test script is a success.
pub(super) fn choose(payload: &Payload, environment: &mut Environment) -> Result<Vec<Text>, Ending> {
    match &payload.action {
        Action::Exec(arguments) if arguments.is_empty() => Err(Failure::new("no command to execute").into()),
        Action::Exec(arguments) | Action::Command(arguments) => Ok(arguments.clone()),
        Action::Run(arguments) => run(arguments, environment),
        Action::Shell(wanted, arguments) => shell(wanted.as_ref(), arguments, environment),
        Action::Test(arguments) => test(arguments, environment),
        Action::Start(arguments) => start(arguments, environment),
    }
}

fn run(arguments: &[Text], environment: &mut Environment) -> Result<Vec<Text>, Ending> {
    if let Some(script) = app_script(environment, "runscript") {
        return script
            .map(|script| with(script, arguments))
            .map_err(|app| no("no runscript for contained app", &app));
    }
    for script in ["/.singularity.d/runscript", "/singularity"] {
        if is_executable(script) {
            return match without_shell(script, arguments, environment)? {
                Some(program) => Ok(program),
                None => Ok(command(&[script], arguments)),
            };
        }
    }
    if is_executable(SHELL) {
        message::info("No runscript found in container, executing /bin/sh");
        return Ok(command(&[SHELL], arguments));
    }
    message::say(Level::Error, "No runscript and no /bin/sh executable found in container, aborting");
    Err(Ending::Status(1))
}

/// Evaluates a runscript up to the program it becomes, in an image that has no shell for it: images made from registries
/// have a runscript whether or not they have a shell. Nothing where that does not help.
fn without_shell(
    script: &str,
    arguments: &[Text],
    environment: &mut Environment,
) -> Result<Option<Vec<Text>>, Ending> {
    if is_executable(SHELL) || machine::interpreter(Path::new(script)) != Some(SHELL.into()) {
        return Ok(None);
    }
    let mut shell = Shell::new(environment.iter(), arguments.to_vec()).let_exec();
    let program = match shell.run_file(script.as_bytes()) {
        Err(Stop::Exec(program)) => program,
        Err(Stop::Foreign(_)) => return Ok(None),
        result => {
            shell.print_all();
            let status = if let Err(Stop::Exit(status)) = result { status } else { shell.status() };
            return Err(Ending::Status(status));
        }
    };
    shell.print_all();
    *environment = shell.exported().collect();
    Ok(Some(program))
}

fn shell(
    wanted: Option<&Text>,
    arguments: &[Text],
    environment: &mut Environment,
) -> Result<Vec<Text>, Ending> {
    if let Some(wanted) = wanted.filter(|wanted| std::str::from_utf8(wanted).is_ok_and(is_executable)) {
        return Ok(with(wanted.clone(), arguments));
    }
    for words in [&["/bin/bash", "--norc"][..], &[SHELL]] {
        if is_executable(words[0]) {
            if let Some(wanted) = wanted {
                let wanted = message::shown(OsStr::from_bytes(wanted));
                message::warning(format!(
                    "{wanted} is no program in the container: starting {} instead",
                    words[0]
                ));
            }
            environment.set("SHELL", words[0]);
            return Ok(command(words, arguments));
        }
    }
    message::say(Level::Error, "/bin/sh does not exist in container");
    Err(Ending::Status(1))
}

fn test(arguments: &[Text], environment: &Environment) -> Result<Vec<Text>, Ending> {
    if let Some(script) = app_script(environment, "test") {
        return script
            .map(|script| with(script, arguments))
            .map_err(|app| no("No tests for contained app", &app));
    }
    let script = "/.singularity.d/test";
    if is_executable(script) {
        return Ok(command(&[script], arguments));
    }
    message::info("No test script found in container, exiting");
    Err(Ending::Status(0))
}

/// An image without a start script makes an instance in which nothing runs yet.
fn start(arguments: &[Text], environment: &Environment) -> Result<Vec<Text>, Ending> {
    if let Some(script) = app_script(environment, "startscript") {
        return script
            .map(|script| with(script, arguments))
            .map_err(|app| no("no startscript for contained app", &app));
    }
    let script = "/.singularity.d/startscript";
    Ok(if is_executable(script) { command(&[script], arguments) } else { Vec::new() })
}

/// The script of the app the user chose, or the app's name when it has none; nothing when no app was chosen.
fn app_script(environment: &Environment, script: &str) -> Option<Result<Text, Text>> {
    let app = environment.get("SINGULARITY_APPNAME").filter(|app| !app.is_empty())?;
    let path = [b"/scif/apps/", app, b"/scif/", script.as_bytes()].concat();
    let executable = std::str::from_utf8(&path).is_ok_and(is_executable);
    Some(if executable { Ok(path) } else { Err(app.to_vec()) })
}

fn no(what: &str, app: &[u8]) -> Ending {
    message::say(Level::Error, &format!("{what}: {}", message::shown(OsStr::from_bytes(app))));
    Ending::Status(1)
}

fn with(program: Text, arguments: &[Text]) -> Vec<Text> {
    std::iter::once(program).chain(arguments.iter().cloned()).collect()
}
