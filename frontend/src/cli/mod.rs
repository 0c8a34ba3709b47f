//! The command line: what is typed becomes a call of one function.

mod actions;
mod admin;
pub mod answer;
mod arguments;
mod commands;
pub mod delegate;
mod dry_run;
mod explain;
pub mod flags;
pub mod given;
pub mod help;
mod inspect;
mod instance;
mod makers;
mod privileges;
mod recipe;
pub mod reference;
mod remote;
mod sif;

use crate::error::{Doing, FAILURE_STATUS, Failure, Outcome};
use crate::message;
use crate::payload::Dialect;
use crate::site;
use crate::user::Caller;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use delegate::Handler;
use given::Environment;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit status of a command line that cannot be understood.
const USAGE_STATUS: u8 = 1;

/// What the program is called, and the environment it was called in.
#[derive(Debug)]
pub struct Invocation {
    /// The last part of the name it was called by.
    pub program: String,
    /// Whose texts and variables are used under that name.
    pub dialect: Dialect,
    /// The caller's environment.
    pub host: Environment,
    /// What this program carries out itself, when it is not `lamina` but one that `lamina` became.
    handlers: &'static [Handler],
}

impl Invocation {
    /// Where the caller keeps what belongs to this program: `*_CONFIGDIR`, or `~/.singularity` or `~/.apptainer`.
    ///
    /// # Errors
    /// The caller's home is not known.
    pub fn configuration_directory(&self) -> Outcome<PathBuf> {
        if let Some((_, directory)) = self.host.prefixed("CONFIGDIR") {
            return std::path::absolute(directory).doing(|| "looking for the configuration directory".into());
        }
        let name = match self.dialect {
            Dialect::Singularity => ".singularity",
            Dialect::Apptainer => ".apptainer",
        };
        Ok(Caller::look_up()?.home.join(name))
    }
}

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub enum Stop {
    /// The command line cannot be understood: the text for standard error.
    Usage(String),
    /// It failed.
    Failed(Failure),
    /// It failed, was said already, and has this exit status.
    Said(u8),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The whole program `lamina`.
#[must_use]
pub fn main() -> ExitCode {
    main_of(&[])
}

/// The whole of a program that carries out these commands for `lamina`; without any, of `lamina` itself.
#[must_use]
pub fn main_of(handlers: &'static [Handler]) -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if let Some(status) = crate::fuse::stand_in(&name) {
        return status;
    }
    // The first line of a SIF that is made executable names this interpreter.
    let implied = is_interpreter(&name).then(|| "run".into());
    match run(&invocation(&name, handlers), implied.into_iter().chain(arguments).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Usage(text)) => {
            // A standard error that cannot be written to changes nothing.
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(USAGE_STATUS)
        }
        Err(Stop::Failed(failure)) => {
            message::failure(&failure);
            ExitCode::from(FAILURE_STATUS)
        }
        Err(Stop::Said(status)) => ExitCode::from(status),
    }
}

fn is_interpreter(name: &OsString) -> bool {
    Path::new(name).file_name().is_some_and(|name| name == "run-singularity")
}

fn invocation(name: &OsString, handlers: &'static [Handler]) -> Invocation {
    let name = Path::new(name).file_name().unwrap_or_default();
    let (program, dialect) = match name.as_bytes() {
        b"apptainer" => ("apptainer", Dialect::Apptainer),
        b"singularity" | b"run-singularity" => ("singularity", Dialect::Singularity),
        _ => ("lamina", Dialect::Singularity),
    };
    let host = Environment::of_process(dialect);
    let host = if handlers.is_empty() { host } else { host.spoken_of() };
    Invocation { program: program.to_owned(), dialect, host, handlers }
}

fn run(invocation: &Invocation, arguments: Vec<OsString>) -> Result<(), Stop> {
    let mut root = root_command(&invocation.program);
    let matches = match typed(root.clone()).try_get_matches_from(arguments) {
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(answer::print(help::of_program(&root))?);
        }
        matches => matches.map_err(|error| usage_error(&error, &invocation.program, None, &mut root))?,
    };
    configure_messages(&matches, &invocation.host)?;
    if is_on(&matches, "version") == Some(true) {
        return Ok(answer::print(commands::full_version(invocation) + "\n")?);
    }
    let Some((name, rest)) = matches.subcommand() else {
        return Err(Stop::Usage(help::of_program(&root)));
    };
    refuse_other_configuration(&matches, &invocation.host)?;
    let rest = rest.get_many::<OsString>("").into_iter().flatten().cloned().collect();
    commands::dispatch(invocation, name, rest, &mut root)
}

/// A configuration other than the site's, chosen by the flag or its variable.
fn refuse_other_configuration(matches: &ArgMatches, host: &Environment) -> Outcome<()> {
    let typed = matches.get_one::<OsString>("config").map(|path| ("--config".to_owned(), path.as_os_str()));
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    let is_own = |path| {
        let chosen = identity(Path::new(path));
        chosen.is_some() && chosen == identity(Path::new(&site::path()))
    };
    match typed.or_else(|| host.prefixed("CONFIG_FILE")).filter(|(_, path)| !is_own(*path)) {
        None => Ok(()),
        Some((chooser, _)) => Err(Failure::new(format!(
            "--config is not supported: the path {} is fixed when the program is built",
            site::path()
        ))
        .hint(format!(
            "leave {chooser} out; root changes that file, and 'config check FILE' checks another one"
        ))),
    }
}

/// The command as it is typed, not as it is shown: a switch may have a value.
fn typed(root: Command) -> Command {
    root.mut_args(|argument| match argument.get_action() {
        ArgAction::SetTrue => flags::with_value(argument),
        _ => argument,
    })
}

/// What was typed of a switch.
fn is_on(matches: &ArgMatches, name: &str) -> Option<bool> {
    matches.get_one::<bool>(name).copied()
}

/// The program as it is parsed: with what is known only to be refused.
fn root_command(program: &str) -> Command {
    let config = Arg::new("config").long("config").short('c');
    global_command(program).arg(config.value_parser(clap::value_parser!(OsString)).hide(true))
}

/// The program as it is shown.
fn global_command(program: &str) -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("lamina")
        .no_binary_name(true)
        .bin_name(program.to_owned())
        .about("Run containers with persistent overlays")
        .override_usage(format!("{program} [global options...] <command>"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .allow_external_subcommands(true)
        .external_subcommand_value_parser(clap::builder::ValueParser::os_string())
        .args_override_self(true)
        .arg(switch("debug", "Say everything (level 5)").short('d'))
        .arg(switch("verbose", "Say more (level 4)").short('v'))
        .arg(switch("quiet", "Say only warnings and errors").short('q'))
        .arg(switch("silent", "Say only errors").short('s'))
        .arg(switch("nocolor", "No colours"))
        .arg(switch("version", "Print the version"))
}

/// Of several switches the one that says most counts.
fn configure_messages(matches: &ArgMatches, host: &Environment) -> Outcome<()> {
    let on = |name: &str| -> Outcome<bool> {
        if let Some(on) = is_on(matches, name) {
            return Ok(on);
        }
        match host.prefixed(&name.to_uppercase()) {
            None => Ok(false),
            Some((variable, value)) => flags::parse_switch(&value.to_string_lossy()).map_err(|why| {
                Failure::new(format!("While parsing environment variables: {variable}: {why}"))
            }),
        }
    };
    let mut threshold = message::Level::Info as i8;
    for (name, level) in [("silent", -3), ("quiet", -1), ("verbose", 4), ("debug", 5)] {
        if on(name)? {
            threshold = level;
        }
    }
    message::configure(threshold, !on("nocolor")?);
    Ok(())
}

/// What clap has to say, in the incumbents' form.
fn usage_error(error: &clap::Error, program: &str, command: Option<&str>, definition: &mut Command) -> Stop {
    let what = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(argument)) => format!("unknown flag: {argument}"),
        (ErrorKind::InvalidValue, Some(argument)) if lacks_value(error) => {
            let argument = argument.to_string();
            format!("flag needs an argument: {}", argument.split(' ').next().unwrap_or_default())
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    usage(&what, program, command, definition)
}

fn lacks_value(error: &clap::Error) -> bool {
    matches!(error.get(ContextKind::InvalidValue), Some(clap::error::ContextValue::String(value)) if value.is_empty())
}

/// A usage error that only the command itself can see.
fn misuse(invocation: &Invocation, command: &str, what: &str) -> Stop {
    Stop::Usage(format!(
        "Error for command \"{command}\": {what}\n\n\
         Run '{} {command} --help' for more detailed usage information.\n",
        invocation.program
    ))
}

/// A usage error with the command's usage line.
fn usage(what: &str, program: &str, command: Option<&str>, definition: &mut Command) -> Stop {
    let subject = command.map_or_else(String::new, |name| format!(" for command \"{name}\""));
    let usage = definition.render_usage();
    Stop::Usage(format!(
        "Error{subject}: {what}\n\n{usage}\n\nRun '{program} --help' for more detailed usage information.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(words: &[&str]) -> Result<ArgMatches, clap::Error> {
        typed(root_command("lamina")).try_get_matches_from(words)
    }

    #[test]
    fn switches_before_the_command_take_a_value_as_those_behind_it_do() {
        for (word, on) in [("--debug", true), ("--debug=true", true), ("--debug=false", false), ("-d", true)]
        {
            let matches = matches(&[word, "exec", "--debug"]).unwrap();
            assert_eq!(is_on(&matches, "debug"), Some(on), "{word}");
            assert_eq!(matches.subcommand_name(), Some("exec"), "{word}");
        }
        assert_eq!(is_on(&matches(&["--quiet", "--quiet=false", "exec"]).unwrap(), "quiet"), Some(false));
        assert_eq!(is_on(&matches(&["exec"]).unwrap(), "quiet"), None);
        assert!(matches(&["--debug=perhaps", "exec"]).is_err());
    }

    #[test]
    fn another_configuration_is_refused_however_it_is_chosen() {
        let refused = |words: &[&str], variable: &str| {
            let host = vec![(variable.into(), "/no/such/file".into())];
            let host = Environment::new(host, Dialect::Singularity);
            refuse_other_configuration(&matches(words).unwrap(), &host).err()
        };
        let said = refused(&["--config", "/x", "exec"], "OTHER").unwrap().to_string();
        assert!(said.starts_with("--config "), "{said}");
        for variable in ["SINGULARITY_CONFIG_FILE", "APPTAINER_CONFIG_FILE"] {
            let failure = refused(&["exec"], variable).unwrap();
            assert_eq!(failure.to_string(), said);
            assert!(failure.next_step().unwrap().contains(variable));
        }
        assert!(refused(&["exec"], "OTHER").is_none());
    }
}
