//! Files that appear whole or not at all, and copies that keep their holes.

mod copy;
mod new;

pub use copy::copy;
pub use new::{Existing, NewFile};

use std::path::Path;

/// The directory that a path's last name is in; `.` for a bare name.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        for (path, directory) in [("x.sif", "."), ("a/x.sif", "a"), ("/x.sif", "/"), ("./x.sif", ".")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory), "{path}");
        }
    }
}
