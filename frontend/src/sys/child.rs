//! What a child does between its fork and its exec.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the child run `work` right before its exec; an error stops the exec and is what `spawn` returns.
///
/// `work` may make system calls and little else: it must neither start threads nor wait for any.
pub fn before_exec(command: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the frontend has one thread when it starts helpers, so no lock of another thread can be held forever
    // in the child; test binaries have more, and then the allocator, the only lock `work` may meet, is put in
    // order around fork by the C library itself.
    unsafe { command.pre_exec(work) };
}
