//! Plans that no frontend would make, handed to the starter as no frontend would.

use crate::{Command, World};
use protocol::{Bind, ContainerPath, Content, Mount, Plan, frame};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A plan of the frontend's, free to be changed, and the paths of its sources.
#[derive(Clone, Debug)]
pub struct HandMade {
    /// What the starter is going to be asked.
    pub plan: Plan,
    /// One for each descriptor of the plan.
    pub sources: Vec<PathBuf>,
    /// Open everything for reading, whatever the plan says.
    pub read_only: bool,
    /// Bytes to send instead of the plan.
    pub frame: Option<Vec<u8>>,
    /// What init is to do. Without one it ends with [`HandMade::ACCEPTED`].
    pub payload: Option<PathBuf>,
    starter: Option<PathBuf>,
    openings: BTreeMap<usize, OsString>,
    settings: Vec<OsString>,
}

impl HandMade {
    /// What is said after a plan without a payload was accepted and its container made.
    pub const ACCEPTED: &str = "while reading the payload";

    /// What the frontend would ask for under the world's present configuration.
    pub fn from(world: &World, options: &[&str], image: &Path) -> Self {
        let output = world
            .lamina(["exec", "--dry-run", "--json"])
            .args(options)
            .arg(image)
            .arg("true")
            .run()
            .assert_ok();
        let mut said: serde_json::Value = serde_json::from_str(&output.stdout).expect("it is JSON");
        Self {
            plan: serde_json::from_value(said["plan"].take()).expect("there is a plan in it"),
            sources: serde_json::from_value(said["sources"].take()).expect("and its sources"),
            read_only: false,
            frame: None,
            payload: None,
            starter: None,
            openings: BTreeMap::new(),
            settings: vec!["argument=starter-suid".into()],
        }
    }

    /// A plan of the image alone: nothing is mounted but the root.
    pub fn bare(world: &World, options: &[&str], image: &Path) -> Self {
        let mut bare = Self::from(world, options, image);
        let kept = bare.plan.images().count();
        bare.plan.mounts.clear();
        bare.plan.account_files.clear();
        bare.sources.truncate(kept);
        bare
    }

    /// The same, with a payload that runs a shell script in the container.
    pub fn running(mut self, world: &World, script: &str) -> Self {
        self.payload = Some(payload(world, script));
        self
    }

    /// One more source; its number in the plan.
    pub fn source(&mut self, path: &Path) -> protocol::Descriptor {
        self.sources.push(path.to_owned());
        protocol::Descriptor(u16::try_from(self.sources.len() - 1).expect("a plan is short"))
    }

    /// One more source, to be written to at a place in the container.
    pub fn bind(&mut self, source: &Path, destination: impl AsRef<OsStr>) {
        let descriptor = self.source(source);
        let destination = place(destination);
        self.plan.mounts.push(Mount::User(Bind {
            descriptor,
            destination,
            read_only: false,
            optional: false,
        }));
    }

    /// Opens a source in another way: a source of `ask-starter`, such as `p:/path`.
    pub fn open_as(mut self, number: usize, how: impl AsRef<OsStr>) -> Self {
        self.openings.insert(number, how.as_ref().to_owned());
        self
    }

    /// Hands the plan to another program than the installed starter.
    pub fn starter(mut self, program: impl Into<PathBuf>) -> Self {
        self.starter = Some(program.into());
        self
    }

    /// One more setting of `ask-starter`, such as `limit=nofile:3`.
    pub fn set(mut self, setting: impl AsRef<OsStr>) -> Self {
        self.settings.push(setting.as_ref().to_owned());
        self
    }

    /// Gives the starter no arguments at all, not even a name.
    pub fn without_arguments(mut self) -> Self {
        self.settings.retain(|setting| !setting.as_encoded_bytes().starts_with(b"argument="));
        self
    }

    /// The starter with this plan, run as the world's user.
    pub fn hand_over(&self, world: &World) -> Command {
        let (program, arguments) = self.prepare(world);
        world.program(program).args(arguments)
    }

    /// The plan as a frame.
    pub fn encoded(&self) -> Vec<u8> {
        frame::encode(&self.plan.clone().into()).expect("it is a plan")
    }

    /// The program that hands this plan to the starter, and its arguments.
    pub fn prepare(&self, world: &World) -> (PathBuf, Vec<OsString>) {
        let frame = world.folder().join("frame");
        fs::write(&frame, self.frame.clone().unwrap_or_else(|| self.encoded())).expect("it is our folder");
        let payload = self.payload.as_deref().unwrap_or(Path::new("/dev/null"));
        let mut arguments = self.settings.clone();
        let starter = self.starter.clone().unwrap_or_else(|| world.installed().starter_suid());
        arguments.extend([starter.into(), frame.into()]);
        arguments.push(opening("r:", payload));
        let sources = self.sources.iter().enumerate();
        arguments.extend(sources.map(|(number, path)| self.opened(number, path)));
        (ask_starter(world), arguments)
    }

    /// How a source is opened: images as they are used, everything else as a mere place.
    fn opened(&self, number: usize, path: &Path) -> OsString {
        if let Some(how) = self.openings.get(&number) {
            return how.clone();
        }
        let image = self.plan.images().find(|image| usize::from(image.descriptor.0) == number);
        let file = image.is_some_and(|image| image.content != Content::Directory);
        let how = match file {
            false => "p:",
            true if self.is_written(number) && !self.read_only => "w:",
            true => "r:",
        };
        opening(how, path)
    }

    fn is_written(&self, number: usize) -> bool {
        match &self.plan.writable {
            protocol::Writable::Root => usize::from(self.plan.root.descriptor.0) == number,
            protocol::Writable::Overlay(image) => usize::from(image.descriptor.0) == number,
            _ => false,
        }
    }
}

fn opening(how: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(how);
    argument.push(path);
    argument
}

/// A copy of the helper where the world's user can reach it.
fn ask_starter(world: &World) -> PathBuf {
    let program = world.folder().join("ask-starter");
    if !program.exists() {
        let test = std::env::current_exe().expect("a test is a file");
        let folder = test.ancestors().nth(2).expect("a test is in target/debug/deps");
        // Not by our own hand: another test that forks while we have the file open for writing would keep everybody
        // from executing it.
        let copied = std::process::Command::new("cp").args([&folder.join("ask-starter"), &program]).status();
        assert!(copied.is_ok_and(|status| status.success()), "the helper can be copied");
    }
    program
}

/// What the frontend tells init to run a shell script. It is caught on its way: the frontend starts a program of ours
/// in the starter's place.
fn payload(world: &World, script: &str) -> PathBuf {
    let caught = world.folder().join("caught");
    fs::create_dir_all(&caught).expect("it is our folder");
    fs::set_permissions(&caught, Permissions::from_mode(0o1777)).expect("it is our folder");
    let number = fs::read_dir(&caught).expect("it is our folder").count();
    let payload = caught.join(format!("payload-{number}"));
    let catcher = world.folder().join("catcher");
    let text = format!("#!/bin/sh\nexec cat /proc/self/fd/4 >{}\n", payload.display());
    fs::write(&catcher, text).expect("it is our folder");
    // The frontend starts nothing that is not setuid; the kernel ignores that of a script.
    fs::set_permissions(&catcher, Permissions::from_mode(0o4755)).expect("it is our file");
    let starter = world.installed().starter_suid();
    let prepare = format!("mount --bind {} {}", catcher.display(), starter.display());
    let image = caught.join("image");
    fs::create_dir_all(&image).expect("it is our folder");
    world
        .after(&prepare, world.installed().lamina())
        .args(["exec", "--cwd", "/"])
        .arg(image)
        .args(["/bin/sh", "-c", script])
        .run()
        .assert_ok();
    payload
}

/// A place in the container.
pub fn place(path: impl AsRef<OsStr>) -> ContainerPath {
    ContainerPath::new(path.as_ref().as_encoded_bytes().to_vec()).expect("a plain absolute path")
}
