//! The apps of an image, in `/scif`, by the rules of the Scientific Filesystem.

use super::content::{self, TEXT_MODE};
use super::transfer;
use super::tree::Tree;
use super::{Recipe, Stages};
use crate::build::Tools;
use crate::build::definition::{App, Script, Stage};
use crate::build::metadata::Labels;
use crate::error::{Doing, Outcome};
use serde_json::json;
use std::path::Path;

/// What every app has, from its own folder, and its data.
const DIRECTORIES: [&str; 5] =
    ["apps/{}/bin", "apps/{}/lib", "apps/{}/scif/env", "data/{}/input", "data/{}/output"];
/// Makes the environment of the app that is asked for.
const APPS_ENVIRONMENT: &str = include_str!("95-apps.sh");

/// Makes the folders of the apps and copies their files.
///
/// # Errors
/// As [`transfer::copy`].
pub(super) fn prepare(stage: &Stage, stages: &Stages<'_>, tree: &Tree, tools: Tools<'_>) -> Outcome<()> {
    for (name, app) in &stage.apps {
        for directory in DIRECTORIES {
            let path = format!("/scif/{}", directory.replace("{}", name));
            tree.directory(Path::new(&path)).doing(|| format!("making {path} in the image"))?;
        }
        for set in &app.files {
            transfer::copy(set, stages.source_of(set)?, tree, &format!("/scif/apps/{name}"), tools)?;
        }
    }
    Ok(())
}

/// `%post`, and behind it what installs the apps.
pub(super) fn with_installation(stage: &Stage) -> Option<Script> {
    let post = stage.script("post").cloned();
    let parts = stage.apps.iter().filter_map(|(name, app)| Some((name, app.script("appinstall")?)));
    let parts: Vec<String> = parts.map(|(name, script)| installation(name, script)).collect();
    if post.is_none() && parts.is_empty() {
        return None;
    }
    let mut whole = post.unwrap_or_default();
    whole.text += &parts.concat();
    Some(whole)
}

fn installation(name: &str, script: &Script) -> String {
    let quoted = format!("'{}'", name.replace('\'', "'\\''"));
    format!(
        "\n(\nSCIF_APPNAME={quoted}\nSCIF_APPROOT=/scif/apps/{quoted}\nSCIF_APPDATA=/scif/data/{quoted}\n\
         export SCIF_APPNAME SCIF_APPROOT SCIF_APPDATA\ncd \"$SCIF_APPROOT\"\n{}\n)\n",
        script.text
    )
}

/// Writes what is said of the apps.
///
/// # Errors
/// As [`content::write`].
pub(super) fn write(recipe: &Recipe<'_>, stage: &Stage, tree: &Tree) -> Outcome<()> {
    if stage.apps.is_empty() {
        return Ok(());
    }
    tree.write("/.singularity.d/env/95-apps.sh", APPS_ENVIRONMENT, 0o755)?;
    stage.apps.iter().try_for_each(|(name, app)| write_one(recipe, name, app, tree))
}

fn write_one(recipe: &Recipe<'_>, name: &str, app: &App, tree: &Tree) -> Outcome<()> {
    let path = |file: &str| format!("/scif/apps/{name}/scif/{file}");
    if let Some(environment) = app.script("appenv") {
        content::extend_environment(&path("env/90-environment.sh"), environment, tree)?;
    }
    for (section, file) in [("apprun", "runscript"), ("appstart", "startscript"), ("apptest", "test")] {
        if let Some(script) = app.script(section) {
            tree.write(&path(file), &content::program(script), 0o755)?;
        }
    }
    if let Some(help) = app.script("apphelp") {
        tree.write(&path("runscript.help"), &help.text, TEXT_MODE)?;
    }
    if !app.labels.is_empty() {
        let mut labels = Labels::new();
        content::add(&mut labels, app.labels.iter().cloned(), recipe.force);
        tree.write(&path("labels.json"), &format!("{:#}\n", json!(labels)), TEXT_MODE)?;
    }
    Ok(())
}
