//! An instance that a test starts.

use crate::{Command, Output, World};
use nix::unistd::Pid;
use std::path::Path;

/// A running instance that ends with the test, however that ends.
#[derive(Debug)]
pub struct Instance<'a> {
    /// Whose user it belongs to.
    pub world: &'a World,
    /// What its user calls it.
    pub name: String,
}

impl<'a> Instance<'a> {
    /// Starts one.
    pub fn start(world: &'a World, options: &[&str], image: &Path, name: &str) -> Self {
        let instance = Self { world, name: Self::unique(name) };
        Self::starting(world, options, image, &instance.name).run().assert_ok();
        instance
    }

    /// A name for this test alone: the records are in the account's own home, which all worlds share.
    pub fn unique(name: &str) -> String {
        format!("test-{}-{name}", std::process::id())
    }

    /// The command that starts one.
    pub fn starting(world: &World, options: &[&str], image: &Path, name: &str) -> Command {
        world.lamina(["instance", "start"]).args(options).arg(image).arg(name)
    }

    /// What stands for it where an image is asked for.
    pub fn reference(&self) -> String {
        format!("instance://{}", self.name)
    }

    /// Runs a shell script in it.
    pub fn exec(&self, script: &str) -> Output {
        self.world.lamina(["exec", &self.reference(), "sh", "-c", script]).run()
    }

    /// Ends it.
    pub fn stop(&self, options: &[&str]) -> Output {
        self.world.lamina(["instance", "stop"]).args(options).arg(&self.name).run()
    }

    /// What is said of it in a list for programs.
    pub fn listed(&self) -> serde_json::Value {
        let listed = self.world.lamina(["instance", "list", "--json", &self.name]).run().assert_ok();
        let mut listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("it is JSON");
        listed["instances"][0].take()
    }

    /// Its process 1, as the host numbers it.
    pub fn first(&self) -> Pid {
        let pid = self.listed()["pid"].as_i64().expect("a number");
        Pid::from_raw(pid.try_into().expect("a process id"))
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        self.stop(&["--force"]);
    }
}
