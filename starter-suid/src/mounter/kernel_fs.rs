//! File systems that the kernel makes by itself. Their kinds, options and flags are a closed list: each call of
//! [`fresh`] in this crate is one entry.

use crate::refusal::{Refusal, Step, errno};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::OwnedFd;

/// Longest explanation of the kernel's that is passed on, in bytes.
const EXPLANATION_BYTES_MAX: usize = 200;

/// A new file system, as a detached mount.
pub fn fresh(kind: &str, options: &[(&str, &str)], attributes: u64) -> Result<OwnedFd, Refusal> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step(format!("making a {kind}"))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).step(format!("choosing {key} of a {kind}"))?;
    }
    create(&context, kind)?;
    mount(&context, kind, attributes)
}

/// Creates the superblock that a context describes; on failure the kernel's own explanation is passed on.
pub fn create(context: &OwnedFd, kind: &str) -> Result<(), Refusal> {
    fsconfig_create(context).map_err(|error| {
        let failure = Refusal::failed(format!("mounting {kind}"), errno(error));
        match explanation(context) {
            Some(words) => failure.because(&words),
            None => failure,
        }
    })
}

/// Makes a detached mount of a created superblock.
pub fn mount(context: &OwnedFd, kind: &str, attributes: u64) -> Result<OwnedFd, Refusal> {
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(u32::MAX));
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(format!("mounting {kind}"))
}

fn explanation(context: &OwnedFd) -> Option<String> {
    let mut buffer = [0; EXPLANATION_BYTES_MAX];
    let length = rustix::io::read(context, &mut buffer).ok()?;
    // Each begins with a letter that says how bad it is, and a space.
    let words = buffer.get(2..length)?.trim_ascii();
    (!words.is_empty()).then(|| words.escape_ascii().to_string())
}
