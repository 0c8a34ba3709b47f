//! OCI images, made by a program of other people.

use crate::images::busybox_root;
use crate::registry::skopeo;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An OCI layout with one image, `latest`. Every change of its files is a layer of its own.
#[derive(Debug)]
pub struct Layout {
    folder: TempDir,
}

impl Layout {
    /// An image without layers.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let layout = Self { folder };
        umoci(&["init", "--layout", &layout.path().display().to_string()]);
        layout.umoci("new", &[]);
        layout
    }

    /// An image with a busybox in it.
    pub fn of_busybox() -> Self {
        let layout = Self::empty();
        layout.insert(&busybox_root(), "/");
        layout
    }

    /// Its folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    /// Its folder and the image in it.
    pub fn reference(&self) -> String {
        format!("{}:latest", self.path().display())
    }

    /// Copies the image to a layout or archive that everybody can read; `form` is skopeo's word for which.
    pub fn copy_to(&self, form: &str, target: &Path, name: &str) {
        let from = format!("oci:{}", self.reference());
        skopeo(&["copy", "--quiet", &from, &format!("{form}:{}:{name}", target.display())]);
    }

    /// Adds a file or folder.
    pub fn insert(&self, source: &Path, destination: &str) {
        self.umoci("insert", &[&source.display().to_string(), destination]);
    }

    /// Adds a folder that hides what the image had there.
    pub fn insert_opaque(&self, source: &Path, destination: &str) {
        self.umoci("insert", &["--opaque", &source.display().to_string(), destination]);
    }

    /// Deletes a file or folder.
    pub fn delete(&self, path: &str) {
        self.umoci("insert", &["--whiteout", path]);
    }

    /// Changes the configuration: options of `umoci config`.
    pub fn configure(&self, options: &[&str]) {
        self.umoci("config", options);
    }

    fn umoci(&self, command: &str, arguments: &[&str]) {
        umoci(&[&[command, "--image", &self.reference()], arguments].concat());
    }
}

/// Runs umoci, which must succeed.
pub fn umoci(arguments: &[&str]) {
    let done = Command::new("umoci").args(arguments).output().expect("umoci can be started");
    assert!(done.status.success(), "umoci {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
