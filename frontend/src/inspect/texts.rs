//! Small text files below the root directory of an image, wherever its links lead.

use crate::error::{Doing, Outcome};
use crate::message::shown;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Most bytes of one file whose text is taken up.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Most names of one directory that are looked at.
const NAMES_MAX: usize = 10_000;

/// The root directory of an image. No link in it leads out of it.
#[derive(Debug)]
pub(crate) struct Texts {
    root: File,
}

impl Texts {
    /// Opens the directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn below(root: &Path) -> Outcome<Self> {
        Ok(Self { root: File::open(root).doing(|| format!("opening {}", shown(root)))? })
    }

    /// The text of a regular file, without the line ends behind it.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let file = self.open(path, OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut text = Vec::new();
        file.take(TEXT_BYTES_MAX).read_to_end(&mut text).ok()?;
        String::from_utf8(text).ok().map(|text| text.trim_end().to_owned())
    }

    /// The names in a directory, sorted; none where there is no directory.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let Some(directory) = self.open(path, OFlag::O_DIRECTORY) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else {
            return Vec::new();
        };
        let entries = entries.take(NAMES_MAX).filter_map(Result::ok);
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    fn open(&self, path: &str, flags: OFlag) -> Option<File> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how).ok().map(File::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_in_an_image_leads_to_nothing_outside_of_it() {
        let place = tempfile::tempdir().unwrap();
        let image = place.path().join("image");
        std::fs::create_dir(&image).unwrap();
        std::fs::write(place.path().join("secret"), "outside").unwrap();
        std::fs::write(image.join("secret"), "inside\n\n").unwrap();
        symlink("/secret", image.join("absolute")).unwrap();
        symlink("../../secret", image.join("relative")).unwrap();
        symlink("/nowhere", image.join("nowhere")).unwrap();
        symlink("../..", image.join("above")).unwrap();
        let texts = Texts::below(&image).unwrap();
        assert_eq!(texts.get("absolute").as_deref(), Some("inside"));
        assert_eq!(texts.get("relative").as_deref(), Some("inside"));
        assert_eq!(texts.get("nowhere"), None);
        assert_eq!(texts.get("."), None);
        assert_eq!(texts.names("above"), ["above", "absolute", "nowhere", "relative", "secret"]);
        assert_eq!(texts.names("secret"), [""; 0]);
    }
}
