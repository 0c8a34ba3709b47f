//! The variables the user's program starts with. From low to high: the host's, the image's scripts, the user's wishes.

mod evaluation;
mod image_shell;
mod scripts;
mod variables;

pub(super) use image_shell::{DUMP, dump};
pub(super) use variables::Environment;

use crate::error::Failure;
use crate::init::Ending;
use crate::message::{self, shown};
use crate::payload::{Action, Dialect, EnvironmentFile, Payload, Text};
use scripts::{Scripts, Wish};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Where programs are looked for when nobody says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the host's libraries are bound for programs in the container.
const HOST_LIBRARIES: &str = "/.singularity.d/libs";
/// The variables about the container carry the names of both incumbents.
const PREFIXES: [&str; 2] = ["SINGULARITY_", "APPTAINER_"];
/// The prompt of each [`Dialect`], in order.
const PROMPTS: [&str; 2] = ["Singularity> ", "Apptainer> "];
/// Variables that only options of the command line decide.
const FIXED: [&[u8]; 5] =
    [b"HOME", b"SINGULARITY_SHELL", b"APPTAINER_SHELL", b"SINGULARITY_APPNAME", b"APPTAINER_APPNAME"];

/// Works out the environment of the user's program, which starts in `directory`.
///
/// # Errors
/// When a script of the image exits, or its shell does not answer.
pub(super) fn compute(payload: &Payload, directory: &[u8]) -> Result<Environment, Ending> {
    let imported = imported(payload);
    let start = seen_by_scripts(payload, directory);
    let wishes = wishes(payload, &imported)?;
    let scripts = of_image(payload);
    let compose = |with_shell| scripts.compose(&wishes, with_shell);
    let mut environment = evaluation::evaluate(compose, &start, arguments(&payload.action))?;
    restore(&mut environment, &imported);
    finish(&mut environment, payload, directory);
    Ok(environment)
}

/// What servers of FUSE file systems start with, before anything of the image is evaluated.
pub(super) fn of_servers(payload: &Payload) -> Environment {
    let mut environment = imported(payload);
    environment.set("PATH", DEFAULT_PATH);
    environment.set("HOME", payload.home.clone());
    environment
}

/// The variables of the host, and those about the container that an image may know better.
fn imported(payload: &Payload) -> Environment {
    let mut imported: Environment = payload.environment.iter().cloned().collect();
    if payload.clean && imported.get("LANG").is_none() {
        imported.set("LANG", "C");
    }
    set_for_both(&mut imported, "COMMAND", command_name(&payload.action));
    set_for_both(&mut imported, "BIND", &payload.binds);
    if payload.no_eval {
        set_for_both(&mut imported, "NO_EVAL", b"1");
    }
    imported
}

/// The few variables that scripts of the image find: they cannot depend on whose host they run on.
fn seen_by_scripts(payload: &Payload, directory: &[u8]) -> Environment {
    let mut start = Environment::default();
    start.set("HOME", payload.home.clone());
    start.set("PWD", directory);
    for (name, value) in container_variables(payload) {
        set_for_both(&mut start, name, value);
    }
    start
}

/// What the user wants: prefixed variables of the host, then the environment files, then `--env`.
fn wishes(payload: &Payload, imported: &Environment) -> Result<Vec<Wish>, Ending> {
    let given = |variables: &[(Text, Text)]| -> Vec<Wish> {
        let wish = |(name, value): &(Text, Text)| Wish {
            name: name.clone(),
            value: value.clone(),
            evaluated: !payload.no_eval,
        };
        variables.iter().map(wish).collect()
    };
    let mut wishes = given(&payload.prefixed);
    for file in &payload.environment_files {
        for (name, value) in evaluate_file(file, payload, imported)? {
            wishes.push(Wish { name, value, evaluated: false });
        }
    }
    wishes.extend(given(&payload.typed));
    let prefix = match payload.dialect {
        Dialect::Singularity => "SINGULARITYENV_",
        Dialect::Apptainer => "APPTAINERENV_",
    };
    wishes.retain(|wish| {
        let fixed = FIXED.iter().find(|fixed| **fixed == wish.name);
        if let Some(name) = fixed {
            let name = String::from_utf8_lossy(name);
            message::warning(format!(
                "Overriding {name} environment variable with {prefix}{name} is not permitted"
            ));
        }
        fixed.is_none()
    });
    Ok(wishes)
}

/// What the image sets: its configuration says so in an OCI image, its scripts in any other.
fn of_image(payload: &Payload) -> Scripts {
    match payload.oci.as_ref().and_then(|oci| oci.environment.as_ref()) {
        Some(variables) => {
            let may_set = |(name, _): &&(Text, Text)| !FIXED.contains(&name.as_slice());
            Scripts::Configured(variables.iter().filter(may_set).cloned().collect())
        }
        None => Scripts::find(),
    }
}

/// What an environment file assigns, seen from the host's variables.
fn evaluate_file(
    file: &EnvironmentFile,
    payload: &Payload,
    imported: &Environment,
) -> Result<Vec<(Text, Text)>, Ending> {
    let mut start = imported.clone();
    start.set("HOME", payload.home.clone());
    start.set("PATH", DEFAULT_PATH);
    let script = [b"set -a\n", file.content.as_slice(), b"\n"].concat();
    let result =
        evaluation::evaluate(|_| script.clone(), &start, &[]).map_err(|ending| of_file(file, ending))?;
    let new = result.iter().filter(|(name, value)| start.get(name) != Some(*value));
    Ok(new.filter(|(name, _)| *name != b"PWD").map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
}

/// An environment file that ends the shell is broken: the program does not run, and its status would not be the file's.
fn of_file(file: &EnvironmentFile, ending: Ending) -> Ending {
    let reading = format!("while reading environment file {}", shown(OsStr::from_bytes(&file.name)));
    match ending {
        Ending::Status(status) => {
            Failure::new(format!("{reading}: the shell ended with status {status}")).into()
        }
        Ending::Failed(failure) => failure.context(reading).into(),
    }
}

/// The arguments of the user's program, which scripts see as theirs.
fn arguments(action: &Action) -> &[Text] {
    let (Action::Exec(arguments)
    | Action::Run(arguments)
    | Action::Command(arguments)
    | Action::Shell(_, arguments)
    | Action::Test(arguments)
    | Action::Start(arguments)) = action;
    arguments
}

/// Adds the host's variables that neither image nor user set; one that they set to nothing is gone.
fn restore(environment: &mut Environment, imported: &Environment) {
    for (name, value) in imported.iter() {
        match environment.get(name) {
            None => environment.set(name, value),
            Some([]) => environment.unset(name),
            Some(_) => {}
        }
    }
}

/// Adds what is the same whatever the image and the user said.
fn finish(environment: &mut Environment, payload: &Payload, directory: &[u8]) {
    let empty = |environment: &Environment, name: &str| environment.get(name).is_none_or(<[u8]>::is_empty);
    let prompt = environment.get("PS1").unwrap_or_default();
    // An image carries the prompt of the program that built it.
    if prompt.is_empty() || PROMPTS.iter().any(|stock| prompt == stock.as_bytes()) {
        environment.set("PS1", PROMPTS[payload.dialect as usize]);
    }
    force_prompt(environment);
    for (name, value) in container_variables(payload) {
        set_for_both(environment, name, value);
    }
    for prefix in PREFIXES {
        let name = format!("{prefix}ENVIRONMENT");
        if empty(environment, &name) {
            environment.set(name, "/.singularity.d/env/91-environment.sh");
        }
    }
    environment.set("PWD", directory);
}

/// Lets bash set the prompt once more after its own start-up files have.
fn force_prompt(environment: &mut Environment) {
    let prompt = environment.get("PS1").unwrap_or_default();
    let forced = match environment.get("PROMPT_COMMAND").filter(|command| !command.is_empty()) {
        None => [b"PS1=\"", prompt, b"\"; unset PROMPT_COMMAND"].concat(),
        Some(command) => {
            let restore = b"; PROMPT_COMMAND=\"${PROMPT_COMMAND%%; PROMPT_COMMAND=*}\"; PS1=\"";
            [command, restore, prompt, b"\""].concat()
        }
    };
    environment.set("PROMPT_COMMAND", forced);
}

/// What the container says of itself and nobody changes, by name without prefix.
fn container_variables(payload: &Payload) -> Vec<(&'static str, &[u8])> {
    let name = payload.image.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or_default();
    let mut variables = vec![("CONTAINER", payload.image.as_slice()), ("NAME", name)];
    if let Action::Shell(Some(shell), _) = &payload.action {
        variables.push(("SHELL", shell));
    }
    if let Some(app) = &payload.app {
        variables.push(("APPNAME", app));
    }
    variables
}

fn command_name(action: &Action) -> &'static [u8] {
    match action {
        Action::Exec(_) => b"exec",
        Action::Run(_) | Action::Command(_) => b"run",
        Action::Shell(..) => b"shell",
        Action::Test(_) => b"test",
        Action::Start(_) => b"start",
    }
}

fn set_for_both(environment: &mut Environment, name: &str, value: &[u8]) {
    for prefix in PREFIXES {
        environment.set(format!("{prefix}{name}"), value);
    }
}
