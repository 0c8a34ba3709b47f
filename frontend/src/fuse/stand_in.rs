//! What answers a server that was built with libfuse 2.
//!
//! Such a server takes a connection from nobody but a program called `fusermount`, which it starts, and which sends it the
//! connection over a socket. So it gets one: a link to this very program, which sends the connection that was made
//! before. The real `fusermount` cannot come first, because the server's domain lets it execute nothing else.

use crate::error::{Doing, Outcome};
use crate::message::shown;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::ffi::{OsStr, OsString};
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::TempDir;

/// The name it is asked by.
const NAME: &str = "fusermount";
/// Where libfuse says which of the descriptors is the socket.
const SOCKET_VARIABLE: &str = "_FUSE_COMMFD";
/// Where [`super::server`] says which one is the connection.
pub(super) const CONNECTION_VARIABLE: &str = "LAMINA_FUSE_CONNECTION";
/// With `auto_unmount`, libfuse asks `fusermount` without trying to mount by itself first.
pub(super) const OPTIONS: &str = ",auto_unmount,nonempty";
/// A directory for libfuse to look at before it asks, and to try to unmount in the end, which does nothing: it is
/// no mount point. The true one would have it wait for itself.
pub(super) const MOUNT_POINT: &str = "/proc/self/fd";

/// A directory with the stand-in, to be searched instead of `PATH`; gone with this value.
#[derive(Debug)]
pub(super) struct StandIn {
    directory: TempDir,
    program: PathBuf,
}

impl StandIn {
    /// Makes one in `parent`: a link to `program`, or to this one.
    pub(super) fn below(parent: &Path, program: Option<&Path>) -> Outcome<Self> {
        let making = || format!("making a stand-in for {NAME} in {}", shown(parent));
        let program = match program {
            Some(program) => program.to_path_buf(),
            None => std::env::current_exe().doing(making)?,
        };
        let directory = TempDir::with_prefix_in(".lamina-", parent).doing(making)?;
        std::os::unix::fs::symlink(&program, directory.path().join(NAME)).doing(making)?;
        Ok(Self { directory, program })
    }

    /// The directory that has it.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it is a link to.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

/// Answers for `fusermount` if this process was started by that name; returns how it ends then.
#[must_use]
pub fn stand_in(name: &OsStr) -> Option<ExitCode> {
    if Path::new(name).file_name() != Some(OsStr::new(NAME)) {
        return None;
    }
    let number = |variable: &str| -> Option<RawFd> {
        std::env::var_os(variable).as_ref().and_then(|value: &OsString| value.to_str()?.parse().ok())
    };
    let (socket, connection) = (number(SOCKET_VARIABLE)?, number(CONNECTION_VARIABLE)?);
    let sent = sendmsg::<()>(
        socket,
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&[connection])],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    Some(if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
