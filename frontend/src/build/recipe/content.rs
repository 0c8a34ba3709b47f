//! What a definition says of its image, as files in `/.singularity.d`.

use super::scripts::LABELS_FILE;
use super::tree::Tree;
use super::{Recipe, apps};
use crate::build::definition::{Script, Stage, label};
use crate::build::metadata::{self, Labels};
use crate::build::origin::Origin;
use crate::error::Outcome;
use crate::inspect::Attributes;
use crate::message::{self, shown};
use crate::sif::Arch;

/// Permissions of scripts.
const SCRIPT_MODE: u32 = 0o755;
/// Permissions of texts.
pub(super) const TEXT_MODE: u32 = 0o644;
const DIRECTORY: &str = "/.singularity.d";

/// Writes everything.
///
/// # Errors
/// The disk is full, or something that is no directory is in the way.
pub(super) fn write(recipe: &Recipe<'_>, stage: &Stage, tree: &Tree, origin: &Origin) -> Outcome<()> {
    if let Some(environment) = stage.script("environment").filter(|_| recipe.sections.has("environment")) {
        extend_environment(&format!("{DIRECTORY}/env/90-environment.sh"), environment, tree)?;
    }
    for name in ["runscript", "startscript", "test"] {
        let wanted = name != "test" || recipe.sections.has("test");
        if let Some(script) = stage.script(name).filter(|_| wanted) {
            tree.write(&format!("{DIRECTORY}/{name}"), &program(script), SCRIPT_MODE)?;
        }
    }
    if let Some(help) = stage.script("help") {
        write_help(recipe, help, tree)?;
    }
    apps::write(recipe, stage, tree)?;
    write_labels(recipe, stage, tree, origin)?;
    write_definition(&recipe.definition.text(), tree)
}

/// Variables of the definition come after those of what it began with.
pub(super) fn extend_environment(path: &str, script: &Script, tree: &Tree) -> Outcome<()> {
    let before = tree.texts()?.get(path).unwrap_or_else(|| "#!/bin/sh".into());
    tree.write(path, &format!("{before}\n\n{}\n", script.text.trim_end()), SCRIPT_MODE)
}

/// A script as the kernel starts it: with the interpreter that it names, that its section names, or the shell.
pub(super) fn program(script: &Script) -> String {
    let text = script.text.trim_end();
    if text.trim_start().starts_with("#!") {
        return format!("{}\n", text.trim_start());
    }
    let named = script.options.split_once("-c ").map(|(_, interpreter)| interpreter.trim());
    format!("#!{}\n\n{text}\n", named.filter(|name| !name.is_empty()).unwrap_or("/bin/sh"))
}

fn write_help(recipe: &Recipe<'_>, help: &Script, tree: &Tree) -> Outcome<()> {
    let path = format!("{DIRECTORY}/runscript.help");
    if tree.texts()?.get(&path).is_some() && !recipe.force {
        message::warning("Help message already exists and force option is false, not overwriting");
        return Ok(());
    }
    tree.write(&path, &help.text, TEXT_MODE)
}

fn write_labels(recipe: &Recipe<'_>, stage: &Stage, tree: &Tree, origin: &Origin) -> Outcome<()> {
    let texts = tree.texts()?;
    let mut labels = Attributes::of(&texts).labels;
    if recipe.sections.has("labels") {
        add(&mut labels, stage.labels.iter().cloned(), recipe.force);
    }
    let written = texts.get(LABELS_FILE).unwrap_or_default();
    let lines = written.lines().map(str::trim).filter(|line| !line.is_empty());
    add(&mut labels, lines.map(label), recipe.force);
    tree.remove(LABELS_FILE);
    if texts.get(&format!("{DIRECTORY}/runscript.help")).is_some() {
        let help = format!("{DIRECTORY}/runscript.help");
        labels.insert("org.label-schema.usage".into(), help.clone());
        labels.insert("org.label-schema.usage.singularity.runscript.help".into(), help);
    }
    let json = metadata::labels_json(labels, origin, Arch::host());
    tree.write(&format!("{DIRECTORY}/labels.json"), &json, TEXT_MODE)
}

/// Adds labels; those that are there stay, unless they may be replaced.
pub(super) fn add(labels: &mut Labels, more: impl Iterator<Item = (String, String)>, force: bool) {
    for (name, value) in more {
        match labels.get(&name) {
            Some(there) if !force && *there != value => message::warning(format!(
                "Label: {} already exists and force option is false, not overwriting",
                shown(&name)
            )),
            _ => drop(labels.insert(name, value)),
        }
    }
}

/// The definition, and, under a number, that of the image it began with.
fn write_definition(text: &str, tree: &Tree) -> Outcome<()> {
    let path = format!("{DIRECTORY}/Singularity");
    let texts = tree.texts()?;
    if let Some(earlier) = texts.get(&path) {
        let history = format!("{DIRECTORY}/bootstrap_history");
        let number = texts.names(&history).len();
        tree.write(&format!("{history}/Singularity{number}"), &format!("{earlier}\n"), TEXT_MODE)?;
    }
    tree.write(&path, text, TEXT_MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gets_the_interpreter_that_is_named() {
        let program =
            |options: &str, text: &str| program(&Script { options: options.into(), text: text.into() });
        assert_eq!(program("", "  echo\n\n"), "#!/bin/sh\n\n  echo\n");
        assert_eq!(program("", "\n#!/bin/bash -e\necho\n"), "#!/bin/bash -e\necho\n");
        assert_eq!(program("-c /usr/bin/python3", "print(1)\n"), "#!/usr/bin/python3\n\nprint(1)\n");
    }

    #[test]
    fn labels_that_are_there_stay_unless_forced() {
        let mut labels = Labels::from([("a".into(), "old".into())]);
        let more = || [("a".to_owned(), "new".to_owned()), ("b".to_owned(), "new".to_owned())].into_iter();
        add(&mut labels, more(), false);
        assert_eq!((labels["a"].as_str(), labels["b"].as_str()), ("old", "new"));
        add(&mut labels, more(), true);
        assert_eq!(labels["a"], "new");
    }
}
