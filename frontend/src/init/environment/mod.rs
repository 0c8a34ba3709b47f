//! The variables the user's program starts with.

mod variables;

pub(super) use variables::Environment;

use crate::error::Outcome;
use crate::payload::{Action, Dialect, Payload, Text};

/// Where programs are looked for when nobody says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the host's libraries are bound for programs in the container.
const HOST_LIBRARIES: &str = "/.singularity.d/libs";
/// The variables about the container carry the names of both incumbents.
const PREFIXES: [&str; 2] = ["SINGULARITY_", "APPTAINER_"];

/// Works out the environment of the user's program.
pub(super) fn compute(payload: &Payload) -> Outcome<Environment> {
    let mut environment: Environment = payload.environment.iter().cloned().collect();
    if payload.clean && environment.get("LANG").is_none() {
        environment.set("LANG", "C");
    }
    environment.set("HOME", payload.home.clone());
    environment.set("PATH", DEFAULT_PATH);
    environment.set("LD_LIBRARY_PATH", HOST_LIBRARIES);
    for (name, value) in &payload.overrides {
        environment.set(name.clone(), value.clone());
    }
    finish(&mut environment, payload);
    Ok(environment)
}

/// Adds what is the same whatever the image and the user said.
fn finish(environment: &mut Environment, payload: &Payload) {
    let empty = |environment: &Environment, name: &str| environment.get(name).is_none_or(<[u8]>::is_empty);
    if empty(environment, "PS1") {
        environment.set(
            "PS1",
            match payload.dialect {
                Dialect::Singularity => "Singularity> ",
                Dialect::Apptainer => "Apptainer> ",
            },
        );
    }
    force_prompt(environment);
    for (name, value) in container_variables(payload) {
        set_for_both(environment, name, &value);
    }
    for prefix in PREFIXES {
        let name = format!("{prefix}ENVIRONMENT");
        if empty(environment, &name) {
            environment.set(name, "/.singularity.d/env/91-environment.sh");
        }
    }
}

/// Lets bash set the prompt once more after its own start-up files have.
fn force_prompt(environment: &mut Environment) {
    let prompt = environment.get("PS1").unwrap_or_default();
    let forced = match environment
        .get("PROMPT_COMMAND")
        .filter(|command| !command.is_empty())
    {
        None => [b"PS1=\"", prompt, b"\"; unset PROMPT_COMMAND"].concat(),
        Some(command) => {
            let restore = b"; PROMPT_COMMAND=\"${PROMPT_COMMAND%%; PROMPT_COMMAND=*}\"; PS1=\"";
            [command, restore, prompt, b"\""].concat()
        }
    };
    environment.set("PROMPT_COMMAND", forced);
}

/// What the container says of itself, by name without prefix.
fn container_variables(payload: &Payload) -> Vec<(&'static str, Text)> {
    let name = payload
        .image
        .rsplit(|byte| *byte == b'/')
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let command = match payload.action {
        Action::Exec(_) => "exec",
        Action::Run(_) => "run",
        Action::Shell(..) => "shell",
        Action::Test(_) => "test",
    };
    let mut variables = vec![
        ("CONTAINER", payload.image.clone()),
        ("NAME", name.to_vec()),
        ("COMMAND", command.into()),
        ("BIND", payload.binds.clone()),
    ];
    if let Action::Shell(Some(shell), _) = &payload.action {
        variables.push(("SHELL", shell.clone()));
    }
    if payload.no_eval {
        variables.push(("NO_EVAL", b"1".into()));
    }
    variables
}

fn set_for_both(environment: &mut Environment, name: &str, value: &[u8]) {
    for prefix in PREFIXES {
        environment.set(format!("{prefix}{name}"), value);
    }
}
