//! Images and commands that need the network: the program for that reads the same words and sees to them.

use super::delegate;
use super::given::Given;
use super::{Invocation, Stop};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The name of the program.
const PROGRAM: &str = "lamina-remote";

/// Becomes the program.
pub(super) fn hand_over(invocation: &Invocation) -> Result<(), Stop> {
    delegate::become_program(PROGRAM, invocation)
}

/// An image that was fetched. Unless it is kept in the cache it goes when this value is dropped.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Where it is.
    pub(super) path: PathBuf,
    cached: bool,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if !self.cached {
            let _ = std::fs::remove_file(&self.path);
            let _ = self.path.parent().map(std::fs::remove_dir);
        }
    }
}

/// Has the image that the words name fetched.
pub(super) fn fetch(invocation: &Invocation, given: &Given) -> Result<Fetched, Stop> {
    let mut path = delegate::ask_program(PROGRAM, invocation)?;
    if path.last() == Some(&b'\n') {
        path.pop();
    }
    Ok(Fetched { path: PathBuf::from(OsString::from_vec(path)), cached: !given.is_on("disable-cache") })
}
