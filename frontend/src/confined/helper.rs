//! Programs of other people (`mkfs.ext3`, `mksquashfs`, `unsquashfs`, …): where they are found and how they are run.
//!
//! A helper is found through a list of absolute directories, never through a name the user typed.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where helper programs come from, as the site configured it.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The value of `binary path` or `user search path`: absolute directories separated by `:`, where `$PATH`
    /// stands for the caller's own; `None` searches the standard directories.
    pub search_path: Option<OsString>,
    /// The value of `mksquashfs path`, when set: the program itself.
    pub mksquashfs: Option<PathBuf>,
    /// The value of `unsquashfs path`, when set: the program itself.
    pub unsquashfs: Option<PathBuf>,
    /// The value of `mksquashfs procs`: threads to pack with, 0 for one per usable processor.
    pub mksquashfs_threads: u32,
    /// The value of `mksquashfs mem`, when set, as `mksquashfs -mem` takes it (`1G`, `512M`).
    pub mksquashfs_memory: Option<String>,
}
