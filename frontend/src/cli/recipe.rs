//! `build` from a definition file: options in, one call out.

use super::given::{Environment, Given};
use super::remote::{self, Fetched};
use super::{Invocation, Stop, commands, root_command};
use crate::build::Options;
use crate::build::definition::{
    self, Arguments, Bootstrap, DEFINITION_BYTES_MAX, Definition, parse_argument, parse_argument_file,
};
use crate::build::recipe::{self, Container, Recipe, Sections};
use crate::error::{Doing, Failure, Outcome};
use crate::flow::Reason;
use crate::flow::fakeroot::{self, Fakeroot};
use crate::flow::namespace;
use crate::message::{self, shown};
use crate::payload::{FAKEROOT_DAEMON, FAKEROOT_LIBRARY};
use crate::user::Caller;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// `build`, from the definition that is the source in `options`.
pub(super) fn build(invocation: &Invocation, given: &Given, options: &Options) -> Result<(), Stop> {
    let definition = parse(given, &options.source)?;
    let update = given.is_on("update");
    let sections = Sections::of(given.all("section"), given.is_on("notest"))?;
    let fetched = fetch(invocation, given, &definition, update)?;
    let mut container_words = container_words(given);
    let mut mount_points: &[&str] = &[];
    // Where nobody else exists, the command at least makes programs believe in others.
    if (given.is_on("fakeroot") || !nix::unistd::geteuid().is_root())
        && become_root(invocation, given, options)?
    {
        container_words.extend(["--fakeroot", "--ignore-subuid"].map(OsString::from));
        mount_points = &[FAKEROOT_DAEMON, FAKEROOT_LIBRARY];
    }
    let recipe = Recipe {
        definition: &definition,
        fetched: fetched.iter().map(|image| image.as_ref().map(|image| image.path.clone())).collect(),
        sections,
        force: given.is_on("force"),
        update,
        container_words,
        mount_points,
        test_words: given.is_on("writable-tmpfs").then(|| "--writable-tmpfs".into()).into_iter().collect(),
        start: &|container| start(invocation, container),
    };
    Ok(recipe::build(options, &recipe)?)
}

/// Makes this process root of a user namespace, and says whether containers need the `fakeroot` command for it.
fn become_root(invocation: &Invocation, given: &Given, options: &Options) -> Outcome<bool> {
    let request = fakeroot::Request {
        ignore_lent_ids: given.is_on("ignore-subuid"),
        ignore_command: given.is_on("ignore-fakeroot-command"),
        keeps_groups: given.is_on("no-setgroups"),
    };
    let caller = Caller::look_up()?;
    let Fakeroot { mapping, command } =
        fakeroot::choose(request, &caller, &options.programs, &invocation.program);
    namespace::enter(&mapping, &Reason::Fakeroot)?;
    Ok(command.is_some())
}

fn parse(given: &Given, path: &Path) -> Outcome<Definition> {
    let text = text_of(path)?;
    let definition =
        Definition::parse(&text, &arguments(given)?).map_err(|fault| fault.in_file(path, "definition"))?;
    if !definition.unused.is_empty() {
        let unused = format!("unused build args: {}", shown(definition.unused.join(", ")));
        if !given.is_on("warn-unused-build-args") {
            return Err(Failure::new(format!(
                "{unused}. Use option --warn-unused-build-args to show a warning instead of a fatal message"
            )));
        }
        message::warning(unused);
    }
    Ok(definition)
}

/// `--build-arg` and, where it says nothing, `--build-arg-file`.
fn arguments(given: &Given) -> Outcome<Arguments> {
    let mut arguments = match given.last("build-arg-file").map(Path::new) {
        Some(path) => {
            parse_argument_file(&text_of(path)?).map_err(|fault| fault.in_file(path, "build arguments"))?
        }
        None => Arguments::new(),
    };
    for word in given.all("build-arg") {
        let argument = word.to_str().and_then(parse_argument);
        let (name, value) = argument.ok_or_else(|| {
            Failure::new(format!("--build-arg {} is not of the form NAME=VALUE", shown(word)))
        })?;
        arguments.insert(name, value);
    }
    Ok(arguments)
}

/// A text that is no longer than a definition may be.
fn text_of(path: &Path) -> Outcome<String> {
    let reading = || format!("reading {}", shown(path));
    let file = File::open(path).doing(reading)?;
    let (mut text, limit) = (Vec::new(), u64::try_from(DEFINITION_BYTES_MAX).doing(reading)?);
    file.take(limit + 1).read_to_end(&mut text).doing(reading)?;
    String::from_utf8(text).doing(reading)
}

/// Has the images fetched that stages begin with.
fn fetch(
    invocation: &Invocation,
    given: &Given,
    definition: &Definition,
    update: bool,
) -> Result<Vec<Option<Fetched>>, Stop> {
    let count = definition.stages.len();
    let image = |(number, stage): (usize, &definition::Stage)| match &stage.bootstrap {
        Bootstrap::Reference(reference) if !update || number + 1 < count => {
            remote::fetch_named(invocation, given, reference).map(Some)
        }
        _ => Ok(None),
    };
    definition.stages.iter().enumerate().map(image).collect()
}

/// What was said of the containers of `%post` and `%test`.
fn container_words(given: &Given) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    for bind in given.all("bind") {
        words.extend(["--bind".into(), one_item(bind)]);
    }
    for mount in given.all("mount") {
        words.extend(["--mount".into(), mount.clone()]);
    }
    words.extend(
        ["nv", "rocm"].iter().filter(|name| given.is_on(name)).map(|name| format!("--{name}").into()),
    );
    words
}

/// An item of a list as a list of its own.
fn one_item(item: &OsStr) -> OsString {
    let escaped = item.as_bytes().iter().flat_map(|byte| match byte {
        b',' => vec![b'\\', b','],
        other => vec![*other],
    });
    OsString::from_vec(escaped.collect())
}

/// Becomes the container that these words mean, as they would on a command line in an environment that says nothing to
/// this program. Returns only why there is none.
fn start(invocation: &Invocation, container: Container) -> Option<Failure> {
    let Invocation { program, dialect, host, .. } = invocation;
    let prefixes = host.prefixes();
    let variables = host
        .variables()
        .iter()
        .filter(|(name, _)| !prefixes.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes())));
    let host = Environment::new(variables.cloned().collect(), *dialect);
    let inner = Invocation { program: program.clone(), dialect: *dialect, host, handlers: &[] };
    let Container { command, words } = container;
    match commands::dispatch(&inner, command, words, &mut root_command(program)) {
        Err(Stop::Failed(failure)) => Some(failure),
        Err(Stop::Usage(text)) => Some(Failure::new(text.trim())),
        Err(Stop::Said(_)) => None,
        Ok(()) => Some(Failure::new(format!("{command} did not start a container"))),
    }
}
