//! A native SIF out of an OCI image: its layers in one squashfs, its configuration in scripts and labels.

mod scripts;

use crate::documents::{Config, Execution};
use crate::image::Image;
use crate::layers::{Attributes, Put, Tree};
use crate::pack::pack;
use frontend::build::{Metadata, NativeSif, Origin, Part, Tools};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::Existing;
use frontend::making::Staging;
use frontend::message;
use frontend::sif::Arch;
use std::path::Path;

/// Directories that containers mount something on, and their permissions.
const MOUNT_POINTS: [(&str, u32); 9] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];
/// Files that containers mount something on.
const MOUNT_FILES: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];

/// Makes the SIF. With `fix_permissions` owners may use all of their files.
///
/// # Errors
/// Says why there is none; an existing target is then as it was.
pub(crate) fn make(
    image: &Image<'_>,
    origin: &Origin,
    (target, existing): (&Path, Existing),
    fix_permissions: bool,
    tools: Tools,
) -> Outcome<()> {
    if image.read_only().len() < image.layers.len() {
        return Err(Failure::new("the image has an overlay, which only an OCI-SIF can hold")
            .hint("Fetch it with --oci"));
    }
    message::info("Extracting OCI image...");
    let mut tree = image.merged()?;
    if fix_permissions {
        tree.let_owners_in();
    }
    let arch = Arch::from_name(&image.config.architecture).unwrap_or(Arch::host());
    let described = Staging::in_temporary_directory()?;
    complete(&mut tree, &image.config, origin, arch, described.path())?;
    message::info("Creating SIF file...");
    let packed = pack(&tree, image, target, tools)?;
    let metadata = Metadata::of(described.path(), origin, arch)?;
    tools.interrupts.check()?;
    NativeSif { packed: packed.file(), part: packed.part()?, arch, metadata: &metadata }
        .write(target, existing)
}

/// Adds what a native image has beside a distribution. The same files are left in `described`, to be looked at.
fn complete(tree: &mut Tree, config: &Config, origin: &Origin, arch: Arch, described: &Path) -> Outcome<()> {
    for (path, mode) in MOUNT_POINTS {
        tree.put(path, Attributes::of_root(mode), Put::Directory)?;
    }
    for path in MOUNT_FILES {
        tree.put(path, Attributes::of_root(0o644), Put::IfMissing(""))?;
    }
    let execution = config.config.clone().unwrap_or_default();
    let labels = execution.labels.clone().unwrap_or_default();
    let own = own_parts(&execution);
    let theirs = Part::all(labels, origin, arch)
        .into_iter()
        .filter(|part| own.iter().all(|own| own.path() != part.path()));
    for part in theirs.chain(own.clone()) {
        part.make_in(described).doing(|| "describing the image".into())?;
        match part {
            Part::Directory { path } => tree.put(&path, Attributes::of_root(0o755), Put::Directory)?,
            Part::Link { path, leads_to } => {
                tree.put(&path, Attributes::of_root(0o777), Put::Link(leads_to))?
            }
            Part::File { path, text, mode } => {
                tree.put(&path, Attributes::of_root(mode), Put::Text(&text))?
            }
        }
    }
    Ok(())
}

/// The files that say in a native image what the configuration says in an OCI image.
fn own_parts(execution: &Execution) -> [Part; 2] {
    let script = |path: &str, text| Part::File { path: format!(".singularity.d/{path}"), text, mode: 0o755 };
    [
        script("env/10-docker2singularity.sh", scripts::environment(execution)),
        script("runscript", scripts::runscript(execution)),
    ]
}
