//! The site's configuration, read for early words and for defaults. The starter reads it again and decides.

use crate::confined::helper::Programs;
use crate::error::{Failure, Outcome, reason_of};
use config::Settings;
use std::io::Read;

/// Where `make install SYSCONFDIR=` puts the configuration.
pub const SYSCONFDIR: &str = match option_env!("LAMINA_SYSCONFDIR") {
    Some(folder) => folder,
    None => "/usr/local/etc",
};

/// The path of `singularity.conf`, fixed when the program was built.
#[must_use]
pub fn path() -> String {
    file("singularity.conf")
}

/// The path of a file beside it.
#[must_use]
pub fn file(name: &str) -> String {
    format!("{SYSCONFDIR}/singularity/{name}")
}

/// Reads it.
///
/// # Errors
/// It is missing, unreadable, or a line of it is wrong.
pub fn load() -> Outcome<Settings> {
    let path = path();
    let failure = |why: String| {
        Failure::new(format!("While initializing: couldn't parse configuration file {path}: {why}"))
            .hint("only the administrator of this site can change that")
    };
    let mut text = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(config::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text))
        .map_err(|error| failure(reason_of(&error)))?;
    Settings::parse(&text).map_err(|error| failure(error.to_string()))
}

/// How the site wants helper programs to be found and used.
#[must_use]
pub fn programs(site: &Settings) -> Programs {
    let set = |text: &String| (!text.is_empty()).then(|| text.clone());
    Programs {
        search_path: set(&site.search_path().to_owned()).map(Into::into),
        mksquashfs: set(&site.mksquashfs_path.value).map(Into::into),
        unsquashfs: set(&site.unsquashfs_path.value).map(Into::into),
        ldconfig: set(&site.ldconfig_path.value).map(Into::into),
        mksquashfs_threads: site.mksquashfs_procs.value,
        mksquashfs_memory: set(&site.mksquashfs_mem.value),
    }
}
