//! Images and commands that need the network: the program for that reads the same words and sees to them.

use super::delegate;
use super::flags;
use super::given::Given;
use super::{Invocation, Stop};
use crate::message;
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
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    // The site may have said so, which that program does not ask.
    let [prefix, _] = invocation.host.prefixes();
    let oci = given.is_on("oci").then(|| (format!("{prefix}_OCI"), "true".into()));
    let answer = delegate::ask_program(PROGRAM, invocation, &words, oci.into_iter().collect())?;
    Ok(fetched(answer, given))
}

/// Has an image fetched that a file names by a reference, with what was given for `build`.
pub(super) fn fetch_named(invocation: &Invocation, given: &Given, reference: &str) -> Result<Fetched, Stop> {
    let level = message::threshold();
    let global = [(-3, "--silent"), (-1, "--quiet"), (4, "--verbose"), (5, "--debug")];
    let mut words: Vec<OsString> =
        global.iter().filter(|(said, _)| *said == level).map(|(_, flag)| flag.into()).collect();
    words.push("build".into());
    let switches = ["disable-cache", "fix-perms"].into_iter().filter(|name| given.is_on(name));
    words.extend(switches.map(|name| OsString::from(format!("--{name}"))));
    words.extend(["--".into(), "target".into(), reference.into()]);
    // Other people can see arguments, and one of these is a password.
    let [prefix, _] = invocation.host.prefixes();
    let variables = flags::REGISTRY_ACCESS.iter().chain([&flags::TMPDIR]).filter_map(|flag| {
        let variable = flag.variables.first()?;
        Some((format!("{prefix}_{variable}"), given.last(flag.name)?.to_owned()))
    });
    let answer = delegate::ask_program(PROGRAM, invocation, &words, variables.collect())?;
    Ok(fetched(answer, given))
}

fn fetched(mut path: Vec<u8>, given: &Given) -> Fetched {
    if path.last() == Some(&b'\n') {
        path.pop();
    }
    Fetched { path: PathBuf::from(OsString::from_vec(path)), cached: !given.is_on("disable-cache") }
}
