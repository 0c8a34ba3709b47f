//! What a new overlay holds before anybody wrote to it: `upper`, `work` and the directories asked for.

use crate::error::{Doing, Failure, Outcome};
use crate::making::Staging;
use crate::message::shown;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// The directories of a new overlay, as paths from its root, parents first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    directories: Vec<PathBuf>,
}

impl Layout {
    /// `upper`, `work`, and below `upper` each of `create_dirs` with its parents.
    ///
    /// # Errors
    /// One of them leaves `upper`, or has a line break in its name.
    pub(super) fn new(create_dirs: &[PathBuf]) -> Outcome<Self> {
        let mut directories = vec![PathBuf::from("upper"), PathBuf::from("work")];
        for wanted in create_dirs {
            if wanted.as_os_str().as_bytes().contains(&b'\n') {
                return Err(Failure::new(format!(
                    "overlay directory with a line break in its name: {}",
                    shown(wanted)
                )));
            }
            let mut path = PathBuf::from("upper");
            for component in wanted.components() {
                match component {
                    Component::Normal(name) => path.push(name),
                    Component::RootDir | Component::CurDir => continue,
                    Component::ParentDir | Component::Prefix(_) => {
                        let text =
                            format!("overlay directory created outside of overlay layout {}", shown(wanted));
                        return Err(Failure::new(text));
                    }
                }
                if !directories.contains(&path) {
                    directories.push(path.clone());
                }
            }
        }
        Ok(Self { directories })
    }

    /// Makes the directories, each 0755 whatever the umask.
    ///
    /// # Errors
    /// The disk is full, or a name is too long.
    pub(super) fn stage(&self) -> Outcome<Staging> {
        let staging = Staging::in_temporary_directory()?;
        for directory in &self.directories {
            let path = staging.path().join(directory);
            std::fs::create_dir(&path)
                .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o755)))
                .doing(|| format!("creating overlay directory {}", shown(directory)))?;
        }
        // What is given to mkfs as the root of the file system.
        std::fs::set_permissions(staging.path(), Permissions::from_mode(0o755))
            .doing(|| "preparing the overlay".into())?;
        Ok(staging)
    }

    /// The directories, as paths from the root of the overlay.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_with_its_parents_below_upper() {
        let layout = Layout::new(&["/var/cache/nginx".into(), "var//./lib".into()]).unwrap();
        let shown: Vec<_> = layout.directories().map(|path| path.to_str().unwrap()).collect();
        let expected =
            ["upper", "work", "upper/var", "upper/var/cache", "upper/var/cache/nginx", "upper/var/lib"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_directory_cannot_leave_the_overlay() {
        for outside in ["../work/x", "/a/../../b", "a/.."] {
            let refused = Layout::new(&[outside.into()]).unwrap_err().to_string();
            assert_eq!(refused, format!("overlay directory created outside of overlay layout {outside}"));
        }
    }
}
