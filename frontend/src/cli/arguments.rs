//! Where a command's own options end.

use clap::Command;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Puts `--` before the first positional of `arguments`, so that everything behind it belongs to the container. An
/// option that `command` does not know is left for clap to complain about.
#[must_use]
pub(super) fn end_options_at_first_positional(
    command: &Command,
    mut arguments: Vec<OsString>,
) -> Vec<OsString> {
    let mut index = 0;
    while let Some(argument) = arguments.get(index) {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            return arguments;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            break;
        }
        index += if takes_next(command, argument) { 2 } else { 1 };
    }
    // Behind an option that lacks its value it would be that value.
    if index <= arguments.len() {
        arguments.insert(index, "--".into());
    }
    arguments
}

/// Whether an option's value is the argument that follows it.
fn takes_next(command: &Command, option: &OsStr) -> bool {
    let Some(text) = option.to_str() else { return false };
    if let Some(name) = text.strip_prefix("--") {
        return !name.contains('=') && long(command, name).is_some_and(needs_value);
    }
    let letters = text.strip_prefix('-').unwrap_or_default();
    for (place, letter) in letters.char_indices() {
        let argument = command.get_arguments().find(|argument| argument.get_short() == Some(letter));
        if argument.is_some_and(needs_value) {
            return place + letter.len_utf8() == letters.len();
        }
    }
    false
}

fn long<'a>(command: &'a Command, name: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|argument| {
        argument.get_long() == Some(name)
            || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    })
}

fn needs_value(argument: &clap::Arg) -> bool {
    argument.get_action().takes_values() && argument.get_num_args().is_none_or(|count| count.min_values() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags;

    fn ended(arguments: &[&str]) -> Vec<String> {
        let command = flags::add_to(Command::new("exec"), flags::ACTION);
        end_options_at_first_positional(&command, arguments.iter().map(OsString::from).collect())
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        assert_eq!(ended(&["-o", "a.img", "b.sif", "ls", "-l"]), ["-o", "a.img", "--", "b.sif", "ls", "-l"]);
        assert_eq!(ended(&["-oa.img", "b.sif", "-w"]), ["-oa.img", "--", "b.sif", "-w"]);
        assert_eq!(ended(&["-ceB", "/a", "b.sif"]), ["-ceB", "/a", "--", "b.sif"]);
        assert_eq!(ended(&["--overlay=a", "-w", "b.sif", "--"]), ["--overlay=a", "-w", "--", "b.sif", "--"]);
        assert_eq!(ended(&["--pwd", "/x", "b.sif"]), ["--pwd", "/x", "--", "b.sif"]);
        assert_eq!(ended(&["-w"]), ["-w", "--"]);
        assert_eq!(ended(&["-w", "--overlay"]), ["-w", "--overlay"]);
    }
}
