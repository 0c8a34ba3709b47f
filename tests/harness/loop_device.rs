//! Loop devices of root's, as others on the machine have them.

use std::path::Path;
use std::process::Command;

/// A loop device of root's on a file, detached at the end whatever comes.
#[derive(Debug)]
pub struct LoopDevice(String);

impl LoopDevice {
    /// Attaches one. Panics if that cannot be done.
    pub fn on(file: &Path) -> Self {
        let losetup = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let output = losetup.expect("there is losetup");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The name of the file it is on, as the kernel tells it; nothing if it is on none any more.
    pub fn file(&self) -> Option<String> {
        let name = self.0.trim_start_matches("/dev/");
        let file = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        Some(file.trim_end().to_owned())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}
