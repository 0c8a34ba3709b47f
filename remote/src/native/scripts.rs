//! Scripts that say what the configuration of an OCI image says.

use crate::documents::Execution;

/// The script that sets the image's variables. What the caller has set stays, but for `PATH`.
pub(super) fn environment(execution: &Execution) -> String {
    let mut script = String::from("#!/bin/sh\n");
    for variable in execution.env.iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if !is_name(name) {
            continue;
        }
        let value = within_double_quotes(value);
        script += &match name {
            "PATH" => format!("export PATH=\"{value}\"\n"),
            _ => format!("export {name}=\"${{{name}:-\"{value}\"}}\"\n"),
        };
    }
    script
}

/// The script that runs the image's own program: its entrypoint, and after it the arguments given or else its command.
pub(super) fn runscript(execution: &Execution) -> String {
    let words = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|word| single_quoted(word)).collect::<Vec<_>>().join(" ")
    };
    let (entrypoint, command) = (words(&execution.entrypoint), words(&execution.cmd));
    let mut script = String::from("#!/bin/sh\n# What the OCI image runs.\n");
    if !command.is_empty() {
        script += &format!("if [ $# -eq 0 ]; then\n    set -- {command}\nfi\n");
    } else if entrypoint.is_empty() {
        script += "if [ $# -eq 0 ]; then\n    set -- /bin/sh\nfi\n";
    }
    let entrypoint = if entrypoint.is_empty() { String::new() } else { entrypoint + " " };
    script + &format!("exec {entrypoint}\"$@\"\n")
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// A value as it stands within double quotes, meaning nothing but itself.
fn within_double_quotes(value: &str) -> String {
    let mut quoted = String::new();
    for character in value.chars() {
        if matches!(character, '"' | '$' | '`' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

fn single_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const ODD: &str = "a \"b\" '$HOME' `id` \\ * }";

    fn sh(script: &str, arguments: &[&str]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(script.as_bytes()).unwrap();
        let output =
            Command::new("sh").arg(file.path()).args(arguments).stderr(Stdio::inherit()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn variables_have_the_very_values_of_the_configuration() {
        let env = list(&[&format!("A={ODD}"), "PATH=/opt/bin:/bin", "1X=no", "B-C=no", "EMPTY="]);
        let script = environment(&Execution { env, ..Execution::default() });
        assert_eq!(
            sh(&format!("{script}printf '%s|' \"$A\" \"$PATH\""), &[]),
            format!("{ODD}|/opt/bin:/bin|")
        );
        assert_eq!(
            sh(&format!("A=mine PATH=/mine\n{script}printf %s \"$A$PATH\""), &[]),
            "mine/opt/bin:/bin"
        );
    }

    #[test]
    fn the_program_is_entrypoint_then_arguments_or_command() {
        let run = |entrypoint, cmd, arguments: &[&str]| {
            sh(&runscript(&Execution { entrypoint, cmd, ..Execution::default() }), arguments)
        };
        let print = list(&["printf", "%s|"]);
        assert_eq!(run(print.clone(), list(&[ODD, "x"]), &[]), format!("{ODD}|x|"));
        assert_eq!(run(print.clone(), list(&["x"]), &["my args", "too"]), "my args|too|");
        assert_eq!(run(None, list(&["echo", "x"]), &[]), "x\n");
        assert_eq!(run(None, list(&["echo", "x"]), &["echo", "y"]), "y\n");
        assert_eq!(run(print, None, &["z"]), "z|");
        assert!(runscript(&Execution::default()).contains("/bin/sh\nfi\nexec \"$@\"\n"));
    }
}
