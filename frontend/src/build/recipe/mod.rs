//! `build` from a definition file: stage by stage in a private directory, then as from any other directory.
//!
//! For each stage: what it begins with ([`bootstrap`]), `%setup` on this machine, `%files` ([`transfer`]), `%post` in a
//! container ([`scripts`]), and what is said of the image ([`content`], [`apps`]). The image of the last one is tested and
//! packed. Whatever fails, the private directory goes and the target is as it was.

mod apps;
mod bootstrap;
mod content;
mod scripts;
mod transfer;
mod tree;

use super::definition::{Bootstrap, Definition, FileSet, Stage};
use super::origin::Origin;
use super::source::{Root, Source};
use super::{Job, Options, Tools, sandbox, sif_file, target};
use crate::error::{Doing, Failure, Outcome};
use crate::file;
use crate::making::{Interrupts, Staging};
use crate::message::{self, shown};
use crate::sif::Arch;
use nix::sys::stat::{Mode, umask};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use transfer::Supply;
use tree::Tree;

/// Starts a container in the calling process and returns only why there is none.
pub type Start<'a> = &'a dyn Fn(Container) -> Option<Failure>;

/// The words of a command that starts a container.
#[derive(Debug)]
pub struct Container {
    /// `exec` or `test`
    pub command: &'static str,
    /// What follows it on a command line.
    pub words: Vec<OsString>,
}

/// What is to be done beside what `build` always does.
pub struct Recipe<'a> {
    /// The definition.
    pub definition: &'a Definition,
    /// The image of each stage that begins with a reference, in the order of the stages.
    pub fetched: Vec<Option<PathBuf>>,
    /// Which sections count.
    pub sections: Sections,
    /// Labels and help of what a stage begins with may be replaced.
    pub force: bool,
    /// `--update`: the last stage begins with the target.
    pub update: bool,
    /// Options of every container.
    pub container_words: Vec<OsString>,
    /// Files that containers mount on, which are in the image as long as these run.
    pub mount_points: &'a [&'a str],
    /// More options of the container that the tests run in.
    pub test_words: Vec<OsString>,
    /// Starts containers.
    pub start: Start<'a>,
}

/// `--section` and `--notest`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sections {
    /// Names of sections, `all` or `none`.
    pub named: Vec<String>,
    /// Tests are not run.
    pub no_test: bool,
}

impl Sections {
    /// Names that may be said.
    const NAMES: [&'static str; 8] =
        ["all", "none", "setup", "post", "files", "environment", "test", "labels"];

    /// The sections that these words name; without any, all.
    ///
    /// # Errors
    /// A word names none.
    pub fn of(words: &[OsString], no_test: bool) -> Outcome<Self> {
        let named: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        match named.iter().find(|name| !Self::NAMES.contains(&name.as_str())) {
            Some(name) => Err(Failure::new(format!("--section {}: there is no such section", shown(name)))
                .hint(format!("Sections are {}", Self::NAMES.join(", ")))),
            None if named.len() > 1 && named.iter().any(|name| name == "none" || name == "all") => {
                Err(Failure::new("--section: 'all' and 'none' stand alone"))
            }
            None => Ok(Self { named, no_test }),
        }
    }

    fn has(&self, section: &str) -> bool {
        self.named.is_empty() || self.named.iter().any(|name| name == "all" || name == section)
    }
}

/// The stages that are built already.
struct Stages<'a> {
    definition: &'a Definition,
    built: Vec<Tree>,
}

impl Stages<'_> {
    /// Where the files of a section come from.
    fn source_of(&self, set: &FileSet) -> Outcome<Supply<'_>> {
        let Some(name) = &set.stage else {
            return Ok(Supply::Host);
        };
        let number = self.definition.stages.iter().position(|stage| stage.name() == Some(name));
        let built = number.and_then(|number| self.built.get(number));
        built.map(Supply::Stage).ok_or_else(|| Failure::new(format!("there is no stage {}", shown(name))))
    }
}

/// Carries out `build` from a definition.
///
/// # Errors
/// Says why nothing was built; an existing target is then as it was.
pub fn build(options: &Options, recipe: &Recipe<'_>) -> Outcome<()> {
    let existing =
        if recipe.update { target::to_be_updated(&options.target)? } else { target::settle(options, None)? };
    message::info("Starting build...");
    let tools = Tools { programs: &options.programs, interrupts: &Interrupts::hold()? };
    // A sandbox is made where it can be put in its place in one step.
    let staging = if options.sandbox {
        Staging::below(file::directory_of(&options.target))?
    } else {
        Staging::in_temporary_directory()?
    };
    let mut stages = Stages { definition: recipe.definition, built: Vec::new() };
    for (number, stage) in recipe.definition.stages.iter().enumerate() {
        let root = staging.path().join(format!("root-{number}"));
        let tree = build_stage(options, recipe, number, &stages, &root, tools)
            .map_err(|failure| of_stage(failure, stage, recipe.definition))?;
        stages.built.push(tree);
    }
    let (Some(tree), Some(stage)) = (stages.built.last(), recipe.definition.stages.last()) else {
        return Err(Failure::new("the definition has no stage"));
    };
    let opening = || format!("opening {}", shown(tree.path()));
    let source = Source {
        origin: origin_of(stage, recipe.definition),
        path: tree.path().to_path_buf(),
        file: File::open(tree.path()).doing(opening)?,
        root: Root::Directory,
        arch: Arch::host(),
    };
    let job = Job { options, source: &source, existing, tools };
    if options.sandbox {
        message::info("Creating sandbox directory...");
        let path = tree.path().to_path_buf();
        sandbox::put(&path, staging, &job)?;
    } else {
        message::info("Creating SIF file...");
        sif_file::make(&job)?;
    }
    message::info(format!("Build complete: {}", shown(&options.target)));
    Ok(())
}

/// Says in which of several stages something failed.
fn of_stage(failure: Failure, stage: &Stage, definition: &Definition) -> Failure {
    match stage.name() {
        Some(name) if definition.stages.len() > 1 => {
            failure.context(format!("while building stage {}", shown(name)))
        }
        _ => failure,
    }
}

fn origin_of(stage: &Stage, definition: &Definition) -> Origin {
    let header = stage.header.values().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let bootstrap = stage.header.get("bootstrap").unwrap_or_default();
    Origin::of_definition(bootstrap, header.collect(), definition.text())
}

fn build_stage(
    options: &Options,
    recipe: &Recipe<'_>,
    number: usize,
    stages: &Stages<'_>,
    root: &Path,
    tools: Tools<'_>,
) -> Outcome<Tree> {
    let Some(stage) = recipe.definition.stages.get(number) else {
        return Err(Failure::new("there is no such stage"));
    };
    let _open = Umask::set();
    let room = root.parent().unwrap_or(root);
    let is_last = number + 1 == recipe.definition.stages.len();
    let begins = if recipe.update && is_last {
        Bootstrap::Local(options.target.to_string_lossy().into_owned())
    } else {
        stage.bootstrap.clone()
    };
    let fetched = recipe.fetched.get(number).and_then(Option::as_deref);
    let on_host = |section: &'static str| match stage.script(section) {
        Some(script) if recipe.sections.has("setup") => scripts::on_host(section, script, root, room, tools),
        _ => Ok(()),
    };
    on_host("pre")?;
    bootstrap::make(&begins, fetched, room, root, tools)?;
    let tree = Tree::below(root)?;
    on_host("setup")?;
    if recipe.sections.has("files") {
        apps::prepare(stage, stages, &tree, tools)?;
        for set in &stage.files {
            transfer::copy(set, stages.source_of(set)?, &tree, "", tools)?;
        }
    }
    recipe.mount_points.iter().try_for_each(|path| tree.make_sure_of(path))?;
    if let Some(post) = apps::with_installation(stage).filter(|_| recipe.sections.has("post")) {
        scripts::post(recipe, &post, &tree, tools)?;
    }
    content::write(recipe, stage, &tree, &origin_of(stage, recipe.definition))?;
    let tested = stage.script("test").is_some() && recipe.sections.has("test") && !recipe.sections.no_test;
    if tested {
        scripts::test(recipe, &tree, tools)?;
    }
    recipe.mount_points.iter().for_each(|path| tree.remove(path));
    Ok(tree)
}

/// While this lives, what is made can be read by everybody, whatever the caller's umask.
struct Umask(Mode);

impl Umask {
    fn set() -> Self {
        Self(umask(Mode::S_IWGRP | Mode::S_IWOTH))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

#[cfg(test)]
mod tests;
