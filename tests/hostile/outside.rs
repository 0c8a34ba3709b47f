//! A folder of the host's that nothing of a container may be made in.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::World;

/// A folder outside the container that everybody may write to, and that must stay empty.
pub(crate) fn outside(world: &World) -> PathBuf {
    let outside = world.folder().join("outside");
    fs::create_dir_all(&outside).expect("it is our folder");
    fs::set_permissions(&outside, Permissions::from_mode(0o777)).expect("it is our folder");
    outside
}

#[track_caller]
pub(crate) fn assert_empty(folder: &Path) {
    let found: Vec<_> = fs::read_dir(folder).expect("it is our folder").filter_map(Result::ok).collect();
    assert!(found.is_empty(), "something was made outside: {found:?}");
}
