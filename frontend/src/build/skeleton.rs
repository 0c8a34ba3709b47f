//! What a native image has beside a distribution: `/.singularity.d` and the links to it in the root directory.

use super::metadata::{self, Labels};
use super::origin::Origin;
use crate::error::{Doing, Outcome};
use crate::sif::Arch;
use crate::user::may_give_files_away;
use nix::unistd::chown;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

const DIRECTORY: &str = ".singularity.d";

/// The names in the root directory that a skeleton may take.
pub(super) const NAMES: [&str; 7] =
    [DIRECTORY, "singularity", "environment", ".run", ".exec", ".shell", ".test"];

/// Links in the root directory, for runtimes that look there first.
const LINKS: [(&str, &str); 6] = [
    ("singularity", ".singularity.d/runscript"),
    ("environment", ".singularity.d/env/90-environment.sh"),
    (".run", ".singularity.d/actions/run"),
    (".exec", ".singularity.d/actions/exec"),
    (".shell", ".singularity.d/actions/shell"),
    (".test", ".singularity.d/actions/test"),
];

const DIRECTORIES: [&str; 3] = ["actions", "env", "libs"];

/// Scripts in `/.singularity.d`. The actions are for old runtimes; newer ones do the same by themselves.
const SCRIPTS: [(&str, &str); 10] = [
    ("actions/exec", include_str!("skeleton/exec")),
    ("actions/run", include_str!("skeleton/run")),
    ("actions/shell", include_str!("skeleton/shell")),
    ("actions/start", include_str!("skeleton/start")),
    ("actions/test", include_str!("skeleton/test")),
    ("env/01-base.sh", include_str!("skeleton/01-base.sh")),
    ("env/90-environment.sh", include_str!("skeleton/90-environment.sh")),
    ("env/99-base.sh", include_str!("skeleton/99-base.sh")),
    ("runscript", include_str!("skeleton/runscript")),
    ("startscript", include_str!("skeleton/startscript")),
];

/// What a root directory lacks of a native image.
#[derive(Debug)]
pub(super) struct Skeleton {
    directory: bool,
    links: Vec<(&'static str, &'static str)>,
}

impl Skeleton {
    /// What is not under `root`. Whatever has the name of a part, even a link that leads nowhere, is left alone.
    pub(super) fn missing_in(root: &Path) -> Self {
        let missing = |name: &str| matches!(root.join(name).symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
        Self {
            directory: missing(DIRECTORY),
            links: LINKS.into_iter().filter(|(name, _)| missing(name)).collect(),
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_empty(&self) -> bool {
        !self.directory && self.links.is_empty()
    }

    /// Whether `/.singularity.d` is missing.
    pub(super) fn has_directory(&self) -> bool {
        self.directory
    }

    /// Writes the missing parts, with the labels of an image built now. Names are only ever made, never followed or
    /// replaced.
    ///
    /// # Errors
    /// The disk is full, or the directory may not be written.
    pub(super) fn write_into(&self, root: &Path, origin: &Origin, arch: Arch) -> Outcome<()> {
        let labels = metadata::labels_json(Labels::new(), origin, arch);
        self.write(root, &labels).doing(|| "adding the files of a native image".into())
    }

    fn write(&self, root: &Path, labels: &str) -> io::Result<()> {
        if self.directory {
            directory_parts(labels).into_iter().try_for_each(|part| part.make_in(root))?;
        }
        self.links.iter().try_for_each(|(name, leads_to)| symlink(leads_to, root.join(name)))
    }
}

/// A directory, file or link that a native image has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// A directory that everybody may read.
    Directory {
        /// Where it is, from the root directory.
        path: String,
    },
    /// A file.
    File {
        /// Where it is, from the root directory.
        path: String,
        /// What is in it.
        text: String,
        /// Its permissions.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it is, from the root directory.
        path: String,
        /// Where it leads to.
        leads_to: &'static str,
    },
}

impl Part {
    /// All that a native image has beside a distribution, directories before what is in them. `labels` are the image's
    /// own; those of a build are added.
    #[must_use]
    pub fn all(labels: Labels, origin: &Origin, arch: Arch) -> Vec<Self> {
        let links = LINKS.map(|(path, leads_to)| Self::Link { path: path.into(), leads_to });
        directory_parts(&metadata::labels_json(labels, origin, arch)).into_iter().chain(links).collect()
    }

    /// Where it is, from the root directory.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Directory { path } | Self::File { path, .. } | Self::Link { path, .. } => path,
        }
    }

    /// Makes it below a directory; what it is in is there.
    ///
    /// # Errors
    /// What making it said.
    pub fn make_in(&self, root: &Path) -> io::Result<()> {
        match self {
            Self::Directory { path } => make_directory(&root.join(path)),
            Self::File { path, text, mode } => make_file(&root.join(path), text, *mode),
            Self::Link { path, leads_to } => symlink(leads_to, root.join(path)),
        }
    }
}

/// `/.singularity.d` and what is in it.
fn directory_parts(labels: &str) -> Vec<Part> {
    let below = |name: &str| format!("{DIRECTORY}/{name}");
    let own = Part::Directory { path: DIRECTORY.into() };
    let directories = DIRECTORIES.map(|name| Part::Directory { path: below(name) });
    let scripts =
        SCRIPTS.map(|(name, text)| Part::File { path: below(name), text: text.into(), mode: 0o755 });
    let labels = Part::File { path: below("labels.json"), text: labels.into(), mode: 0o644 };
    [own].into_iter().chain(directories).chain(scripts).chain([labels]).collect()
}

/// Makes a directory that everybody may read.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Makes a file with exactly these permissions; nothing of its name may be there.
pub(super) fn make_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // Not left to the umask.
    file.set_permissions(Permissions::from_mode(mode))
}

/// Gives one root directory the permissions of another and, where the caller may give files away, its owner.
///
/// # Errors
/// One of them cannot be reached.
pub(super) fn take_root_attributes(from: &Path, to: &Path) -> Outcome<()> {
    let taking = || "preparing the root directory of the image".to_string();
    let root = from.metadata().doing(taking)?;
    if may_give_files_away() {
        chown(to, Some(root.uid().into()), Some(root.gid().into())).doing(taking)?;
    }
    std::fs::set_permissions(to, Permissions::from_mode(root.mode() & 0o7777)).doing(taking)
}
