//! Plans that no frontend would make, and what the starter says to them.

use protocol::{ContainerPath, Content, Plan, frame};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use tests::{Command, World};

const ASK_STARTER: &str = env!("CARGO_BIN_EXE_ask-starter");

/// A plan of the frontend's, free to be changed, and the paths of its sources.
#[derive(Clone)]
pub(crate) struct HandMade {
    /// What the starter is going to be asked.
    pub(crate) plan: Plan,
    /// One for each descriptor of the plan.
    pub(crate) sources: Vec<PathBuf>,
    /// Open everything for reading, whatever the plan says.
    pub(crate) read_only: bool,
}

impl HandMade {
    /// What the frontend would ask for under the world's present configuration.
    pub(crate) fn from(world: &World, options: &[&str], image: &Path) -> Self {
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
        }
    }

    /// A plan of the image alone: nothing is mounted but the root.
    pub(crate) fn bare(world: &World, options: &[&str], image: &Path) -> Self {
        let mut bare = Self::from(world, options, image);
        let kept = bare.plan.images().count();
        bare.plan.mounts.clear();
        bare.plan.account_files.clear();
        bare.sources.truncate(kept);
        bare
    }

    /// One more source; its number in the plan.
    pub(crate) fn source(&mut self, path: &Path) -> protocol::Descriptor {
        self.sources.push(path.to_owned());
        protocol::Descriptor(u16::try_from(self.sources.len() - 1).expect("a plan is short"))
    }

    /// The starter with this plan, run as the world's user.
    pub(crate) fn hand_over(&self, world: &World) -> Command {
        let (program, arguments) = self.prepare(world);
        world.program(program).args(arguments)
    }

    /// The program that hands this plan to the starter, and its arguments.
    pub(crate) fn prepare(&self, world: &World) -> (PathBuf, Vec<OsString>) {
        let folder = world.folder();
        let (program, frame) = (folder.join("ask-starter"), folder.join("frame"));
        if !program.exists() {
            // The user may not reach the target folder. And not by our own hand: another test that forks while we
            // have the file open for writing would keep everybody from executing it.
            let copied = std::process::Command::new("cp")
                .args([Path::new(ASK_STARTER), &program])
                .status();
            assert!(
                copied.is_ok_and(|status| status.success()),
                "the helper can be copied"
            );
        }
        fs::write(&frame, frame::encode(&self.plan).expect("it is a plan")).expect("it is our folder");
        let mut arguments = vec![world.installed().starter_suid().into(), frame.into()];
        arguments.extend(
            self.sources
                .iter()
                .enumerate()
                .map(|(n, path)| self.opened(n, path)),
        );
        (program, arguments)
    }

    /// How a source is opened: images as they are used, everything else as a mere place.
    fn opened(&self, number: usize, path: &Path) -> OsString {
        let image = self
            .plan
            .images()
            .find(|image| usize::from(image.descriptor.0) == number);
        let file = image.is_some_and(|image| image.content != Content::Directory);
        let mut argument = OsString::from(match file {
            false => "p:",
            true if self.is_written(number) && !self.read_only => "w:",
            true => "r:",
        });
        argument.push(path);
        argument
    }

    fn is_written(&self, number: usize) -> bool {
        match &self.plan.writable {
            protocol::Writable::Root => usize::from(self.plan.root.descriptor.0) == number,
            protocol::Writable::Overlay(image) => usize::from(image.descriptor.0) == number,
            _ => false,
        }
    }
}

/// A place in the container.
pub(crate) fn place(path: impl AsRef<OsStr>) -> ContainerPath {
    ContainerPath::new(path.as_ref().as_encoded_bytes().to_vec()).expect("a plain absolute path")
}
