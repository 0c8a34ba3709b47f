//! The command line as it is told to people and to shells. `--help` is made from it here; the man pages and
//! completions are made from it by `examples/describe.rs`, outside the installed program.

use super::commands::{COMMANDS, Entry};
use super::{Invocation, Stop, answer, flags, global_command};
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;

/// First words of commands that have two, what they are about, and another name.
const GROUPS: &[(&str, &str, Option<&str>)] = &[
    ("instance", "Containers that go on in the background", None),
    ("overlay", "Make overlays", None),
    ("cache", "Keep house in what is kept of fetched images", None),
    ("registry", "Log in to registries", None),
    ("sif", "Look into SIF files and change them", Some("siftool")),
    ("config", "Check and change singularity.conf", None),
    ("capability", "Grant capabilities to root's containers", Some("caps")),
    ("key", "Keep the keys that sign and verify", Some("keys")),
];

/// The first word of a command under the name that the table has it.
pub(super) fn first_word(typed: &str) -> &str {
    GROUPS.iter().find(|(_, _, alias)| *alias == Some(typed)).map_or(typed, |(name, ..)| name)
}

/// Everything that is said of one command.
#[derive(Debug)]
pub struct Page {
    /// Its name, words separated by spaces.
    pub name: &'static str,
    /// What follows the name.
    pub synopsis: &'static str,
    /// One line.
    pub about: &'static str,
    /// What there is to say beyond that; lines that begin with a space keep their form.
    pub notes: &'static str,
    /// Command lines as they are typed, and remarks that begin with `#`.
    pub examples: Vec<String>,
    /// Its options in their order; those that this program does not have are left out.
    pub options: Vec<&'static flags::Flag>,
}

/// A page for every command.
#[must_use]
pub fn pages(program: &str) -> Vec<Page> {
    COMMANDS.iter().map(|entry| page(entry, program)).collect()
}

fn page(entry: &Entry, program: &str) -> Page {
    Page {
        name: entry.name,
        synopsis: entry.synopsis,
        about: entry.about,
        notes: entry.notes,
        examples: examples(entry, program),
        options: entry.flags.iter().copied().flatten().filter(|flag| flag.instead.is_none()).collect(),
    }
}

fn examples(entry: &Entry, program: &str) -> Vec<String> {
    let typed =
        |line: &str| if line.starts_with('#') { line.to_owned() } else { format!("{program} {line}") };
    entry.examples.lines().map(str::trim_start).map(typed).collect()
}

/// The options that stand before the command: letter, name, what they do.
#[must_use]
pub fn global_options() -> Vec<(Option<char>, String, String)> {
    let root = global_command("");
    root.get_arguments()
        .filter_map(|argument| {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            Some((argument.get_short(), argument.get_long()?.to_owned(), help))
        })
        .collect()
}

/// All commands below one, as shells complete them.
#[must_use]
pub fn tree(program: &str) -> Command {
    let mut root = global_command(program).allow_external_subcommands(false);
    for (name, about, alias) in GROUPS {
        root = root.subcommand(Command::new(*name).about(*about).visible_aliases(alias.iter().copied()));
    }
    let topics = Command::new("help").about("Describe a command").disable_help_flag(true);
    COMMANDS
        .iter()
        .fold(root, |root, entry| match entry.name.split_once(' ') {
            Some((group, last)) => root
                .mut_subcommand(group, |command| command.subcommand(definition(entry, program).name(last))),
            None => root.subcommand(completed(entry, program)),
        })
        .subcommand(topics)
}

/// A command as shells complete it: to zsh, a colon in the name of a value would end it.
fn completed(entry: &Entry, program: &str) -> Command {
    let options = page(entry, program).options;
    definition(entry, program).mut_args(|argument| {
        let flag = options
            .iter()
            .find(|flag| argument.get_id() == flag.name && argument.get_value_names().is_some());
        let word = flag.and_then(|flag| flag.value.split(|c: char| !c.is_alphanumeric()).next());
        word.into_iter().fold(argument, |argument, word| argument.value_name(word))
    })
}

/// A command as its help shows it.
fn definition(entry: &Entry, program: &str) -> Command {
    let options = page(entry, program).options;
    let full = format!("{program} {}", entry.name);
    // Help stands beside the last options that have an effect.
    let topic = options.iter().map(|flag| flag.topic).rfind(|topic| *topic != flags::ACCEPTED);
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help");
    let words = Arg::new("words").num_args(0..).hide(true).value_hint(clap::ValueHint::AnyPath);
    let command = Command::new(entry.name)
        .no_binary_name(true)
        .bin_name(full.clone())
        .about(entry.about)
        .override_usage(format!("{full} {}", entry.synopsis).trim_end().to_owned())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(words)
        .after_help(entry.notes.trim_end());
    let (effective, accepted): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|flag| flag.topic != flags::ACCEPTED);
    let command = command.args(effective.into_iter().map(flags::shown));
    command
        .arg(help.help_heading(topic.unwrap_or(flags::OPTIONS)))
        .args(accepted.into_iter().map(flags::shown))
}

/// What `--help` prints for the program itself.
pub(super) fn of_program(root: &Command) -> String {
    root.clone().after_help(overview()).render_help().to_string()
}

/// What `--help` prints for a command.
pub(super) fn of_command(entry: &Entry, program: &str) -> String {
    let help = definition(entry, program).render_help().to_string();
    // Not clap's to lay out: a line that it broke could not be pasted.
    format!("{}\n\nExamples:\n  {}\n", help.trim_end(), examples(entry, program).join("\n  "))
}

fn line(entry: &Entry) -> String {
    format!("  {:<16} {}\n", entry.name, entry.about)
}

/// The list of commands for the program's own help.
fn overview() -> String {
    let list: String = COMMANDS.iter().map(line).collect();
    format!("Commands:\n{list}  {:<16} {}", "help", "Describe a command")
}

/// The commands whose names begin with this one.
pub(super) fn group(name: &str, program: &str) -> Option<String> {
    let prefix = format!("{name} ");
    let list: String = COMMANDS.iter().filter(|entry| entry.name.starts_with(&prefix)).map(line).collect();
    (!list.is_empty()).then(|| format!("Usage: {program} {name} <subcommand>\n\nSubcommands:\n{list}"))
}

/// `help`
pub(super) fn help(invocation: &Invocation, words: &[OsString], root: &mut Command) -> Result<(), Stop> {
    let Some((first, rest)) = words.split_first() else {
        return Ok(answer::print(of_program(root))?);
    };
    let mut rest = rest.to_vec();
    let mut name = super::commands::full_name(&first.to_string_lossy(), &mut rest);
    for word in rest {
        name = format!("{name} {}", word.to_string_lossy());
    }
    let program = &invocation.program;
    let text = match COMMANDS.iter().find(|entry| entry.name == name) {
        Some(entry) => of_command(entry, program),
        None => group(&name, program).ok_or_else(|| super::commands::unknown(&name, invocation, root))?,
    };
    Ok(answer::print(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_tree_is_sound() {
        tree("lamina").debug_assert();
    }

    #[test]
    fn every_command_of_two_words_is_in_a_group() {
        for entry in COMMANDS {
            let group = entry.name.split_once(' ').map(|(group, _)| group);
            assert!(
                group.is_none_or(|name| GROUPS.iter().any(|(known, ..)| *known == name)),
                "{}",
                entry.name
            );
        }
    }

    #[test]
    fn what_a_shell_completes_is_what_the_command_line_takes() {
        for entry in COMMANDS {
            let parsed = super::super::commands::definition(entry, "lamina");
            for shown in definition(entry, "lamina").get_arguments().filter(|shown| shown.get_id() != "help")
            {
                let id = shown.get_id();
                let taken = parsed.get_arguments().find(|taken| taken.get_id() == id).expect("it is parsed");
                assert_eq!(shown.get_long_and_visible_aliases(), taken.get_long_and_visible_aliases());
                assert_eq!(shown.get_short(), taken.get_short(), "{} {id}", entry.name);
            }
        }
    }
}
