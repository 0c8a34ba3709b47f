//! Whether the starter would believe a file: the rules of its `site_config`, asked without privilege.

use crate::message::shown;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, lstat, stat};
use std::path::Path;

const ROOTS_OWN: &str = "must be owned by root and not be writable by group or others";
/// Permission bits that let somebody but the owner write.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why the starter would refuse the configuration at `path`, an absolute one: the file's own reasons first, then
/// those of the folders above it. Nothing when it would be believed.
#[must_use]
pub fn reasons_against(path: &Path) -> Vec<String> {
    let folders = path.ancestors().skip(1).filter_map(folder_reason);
    file_reason(path).into_iter().chain(folders).collect()
}

/// Why the starter would refuse this one file, whatever is above it.
#[must_use]
pub fn file_reason(path: &Path) -> Option<String> {
    let name = shown(path);
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = open(path, flags, Mode::empty()).and_then(fstat);
    let found = match found {
        Ok(found) => found,
        Err(errno) => return Some(format!("{name}: {}", errno.desc())),
    };
    match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFLNK => return Some(format!("{name} must not be a symbolic link")),
        SFlag::S_IFREG if found.st_nlink == 1 => {}
        _ => {
            return Some(format!("{name} must be a regular file with a single link"));
        }
    }
    (!roots_own(&found)).then(|| format!("{name} {ROOTS_OWN}: {}", ownership(&found)))
}

/// A folder with the sticky bit may be written by others: nobody can replace what is root's in it. A link is followed
/// only if root made it.
fn folder_reason(folder: &Path) -> Option<String> {
    let name = shown(folder);
    let (itself, target) = match lstat(folder).and_then(|itself| Ok((itself, stat(folder)?))) {
        Ok(both) => both,
        Err(errno) => return Some(format!("{name}: {}", errno.desc())),
    };
    let judged = if itself.st_uid == 0 { target } else { itself };
    let sticky = judged.st_uid == 0 && judged.st_mode & STICKY != 0;
    (!sticky && !roots_own(&judged)).then(|| format!("{name} {ROOTS_OWN}: {}", ownership(&judged)))
}

fn roots_own(found: &FileStat) -> bool {
    found.st_uid == 0 && found.st_mode & OTHERS_WRITE == 0
}

fn ownership(found: &FileStat) -> String {
    format!("its owner is {} and its mode {:04o}", found.st_uid, found.st_mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use tempfile::{TempDir, tempdir};

    fn site() -> (TempDir, std::path::PathBuf) {
        let folder = tempdir().unwrap();
        let file = folder.path().join("singularity.conf");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        (folder, file)
    }

    #[test]
    fn roots_own_file_below_roots_own_folders_is_believed() {
        let (_folder, file) = site();
        assert_eq!(reasons_against(&file), [""; 0]);
    }

    #[test]
    fn what_somebody_else_could_have_written_is_not_believed() {
        let (folder, file) = site();
        fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        let reasons = reasons_against(&file);
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].ends_with("its owner is 0 and its mode 0664"), "{reasons:?}");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        chown(&file, Some(12), None).unwrap();
        chown(folder.path(), Some(12), None).unwrap();
        assert_eq!(reasons_against(&file).len(), 2);
    }

    #[test]
    fn what_is_not_a_plain_file_is_not_believed() {
        let (folder, file) = site();
        let other = folder.path().join("other");
        symlink(&file, &other).unwrap();
        assert!(file_reason(&other).unwrap().contains("symbolic link"));
        fs::remove_file(&other).unwrap();
        fs::hard_link(&file, &other).unwrap();
        assert!(file_reason(&file).unwrap().contains("single link"));
        assert!(file_reason(folder.path()).unwrap().contains("regular file"));
        assert!(file_reason(&folder.path().join("none")).unwrap().contains("No such file"));
    }
}
