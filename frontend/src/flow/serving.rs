//! Image files in a user namespace: FUSE servers show them as directories, and the plan names those.
//!
//! The kernel's overlay does not write to a FUSE file system. Where changes go into an image, fuse-overlayfs makes
//! the whole root, with the mount points that the layers lack in a layer below all others. So it does where the kernel's
//! overlay cannot use a directory, or where the site wants none of it.

use super::host::in_user_namespace;
use super::namespace::Outside;
use super::ownership::{self, Standing};
use crate::build::{TemporarySandbox, Tools};
use crate::error::{Doing, Failure, Outcome};
use crate::fuse::{Overlay, Owners, Servers};
use crate::image::{self, Access};
use crate::message::{self, shown};
use crate::overlay::marks::{self, Reader};
use config::Settings;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::unistd::{AccessFlags, eaccess, geteuid};
use protocol::{AccountFile, Bind, ContainerPath, Content, Descriptor, Image, Mount, Plan, Writable};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Whether a plan names image files.
#[must_use]
pub fn has_image_files(plan: &Plan) -> bool {
    plan.images().any(|image| image.content != Content::Directory)
}

/// What the servers are told of the world outside.
pub struct View {
    /// The sources of the plan.
    pub outside: Outside,
    /// Whose the files of a squashfs are.
    pub owners: Owners,
    /// Whether fuse-overlayfs stacks what the kernel could.
    pub fuse_overlay: bool,
}

/// A plan of directories, and what its descriptors stand for.
pub struct Directories {
    /// The plan.
    pub plan: Plan,
    /// The open directories and files, in the order of their numbers.
    pub sources: Vec<OwnedFd>,
    /// The root, where it could not be served; to be removed after the container.
    pub sandbox: Option<TemporarySandbox>,
    /// Where something is mounted in the container, and whether it is a directory.
    pub places: Vec<(ContainerPath, bool)>,
}

/// Starts a server for every image file of the plan; a root that cannot be served is extracted, if that may be and there
/// are tools for it. `stage` is a directory that may be covered: mounts are made there.
///
/// # Errors
/// A server cannot be started; a source is not there any more.
pub fn serve(
    plan: &Plan,
    site: &Settings,
    view: &View,
    servers: &mut Servers,
    fallback: Option<Tools<'_>>,
    stage: &Path,
) -> Outcome<Directories> {
    let options = "mode=0755,size=1m";
    mount(Some("tmpfs"), stage, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
        .doing(|| format!("making room for mounts at {}", shown(stage)))?;
    let mut stagehand =
        Stagehand { site, view, servers, stage, made: 0, sources: Vec::new(), places: Vec::new() };
    let root_access = if plan.writable == Writable::Root { Access::ReadWrite } else { Access::ReadOnly };
    let (root, sandbox) = stagehand.show_root(&plan.root, root_access, fallback)?;
    let mut layers = Vec::new();
    for layer in &plan.layers {
        let at = stagehand.show(layer, Access::ReadOnly)?;
        if matches!(layer.content, Content::Ext3(_)) {
            warn_of_marks(&layer_of(&at, layer.content)?, &view.outside.source(number(layer))?.path);
        }
        layers.push((at, layer.content));
    }
    let mut directories = match plan.writable {
        Writable::Overlay(upper) if view.fuse_overlay || upper.content != Content::Directory => {
            let shown = stagehand.show(&upper, Access::ReadWrite)?;
            let name = &view.outside.source(number(&upper))?.path;
            stagehand.written(plan, (&root, &layers), (&shown, name))?
        }
        Writable::Tmpfs if view.fuse_overlay => {
            let memory = stagehand.memory()?;
            let name = &view.outside.source(number(&plan.root))?.path;
            stagehand.written(plan, (&root, &layers), (&memory, name))?
        }
        _ => {
            let (root, layers) = stagehand.lowers(plan, &root, &layers)?;
            let writable = match plan.writable {
                Writable::Overlay(upper) => {
                    let upper = stagehand.show(&upper, Access::ReadWrite)?;
                    Writable::Overlay(stagehand.directory(&upper)?)
                }
                other => other,
            };
            let mounts = stagehand.mounts(plan)?;
            Plan { root, layers, writable, mounts, ..plan.clone() }
        }
    };
    directories.warnings = plan.warnings;
    Ok(Directories { plan: directories, sources: stagehand.sources, sandbox, places: stagehand.places })
}

fn number(image: &Image) -> usize {
    usize::from(image.descriptor.0)
}

struct Stagehand<'a, 's> {
    site: &'a Settings,
    view: &'a View,
    servers: &'a mut Servers<'s>,
    stage: &'a Path,
    made: u32,
    /// Of the new plan, in the order of their numbers.
    sources: Vec<OwnedFd>,
    /// Where something is mounted in the container, and whether it is a directory.
    places: Vec<(ContainerPath, bool)>,
}

impl Stagehand<'_, '_> {
    /// The directory that shows the root, and the one to remove afterwards.
    fn show_root(
        &mut self,
        root: &Image,
        access: Access,
        fallback: Option<Tools<'_>>,
    ) -> Outcome<(PathBuf, Option<TemporarySandbox>)> {
        let (failure, window, tools) = match (self.show(root, access), root.content, fallback) {
            (Err(failure), Content::Squashfs(window), Some(tools)) => (failure, window, tools),
            (shown, ..) => return Ok((shown?, None)),
        };
        tools.interrupts.check()?;
        message::warning(format!("squashfuse mount failed, falling back to extraction: {failure}"));
        let source = self.view.outside.source(number(root))?;
        let file = File::from(source.file.try_clone().doing(|| format!("using {}", shown(&source.path)))?);
        let sandbox = TemporarySandbox::unpack(&file, window, &source.path, tools)?;
        Ok((sandbox.root().to_path_buf(), Some(sandbox)))
    }

    /// The directory that shows an image.
    fn show(&mut self, image: &Image, access: Access) -> Outcome<PathBuf> {
        let number = number(image);
        let source = self.view.outside.source(number)?;
        let file = || -> Outcome<File> {
            let copy = source.file.try_clone().doing(|| format!("using {}", shown(&source.path)))?;
            Ok(File::from(copy))
        };
        match image.content {
            Content::Directory => {
                drop(self.view.outside.open_again(number)?);
                Ok(self.view.outside.place(number)?.to_owned())
            }
            Content::Squashfs(window) => {
                let at = self.new_directory()?;
                self.servers.squashfs(&file()?, &source.path, window, self.view.owners, &at)?;
                Ok(at)
            }
            Content::Ext3(window) => {
                let file = file()?;
                let ext3 = image::inspect_ext3(&file, &source.path, window)?;
                let at = self.new_directory()?;
                self.servers.ext3(&file, &source.path, ext3, access, &at)?;
                Ok(at)
            }
        }
    }

    fn new_directory(&mut self) -> Outcome<PathBuf> {
        self.made += 1;
        let at = self.stage.join(self.made.to_string());
        fs::create_dir(&at).doing(|| format!("making {}", shown(&at)))?;
        Ok(at)
    }

    /// The mounts of the plan, with the numbers that their sources have now.
    fn mounts(&mut self, plan: &Plan) -> Outcome<Vec<Mount>> {
        plan.mounts.iter().map(|mount| self.mount(mount)).collect()
    }

    fn mount(&mut self, mount: &Mount) -> Outcome<Mount> {
        let fixed = |path: &str| ContainerPath::new(path.as_bytes().to_vec());
        let (place, is_directory) = match mount {
            Mount::Dev(_) => (fixed("/dev"), true),
            Mount::Proc => (fixed("/proc"), true),
            Mount::Sys => (fixed("/sys"), true),
            Mount::Tmp => (fixed("/tmp"), true),
            Mount::VarTmp => (fixed("/var/tmp"), true),
            Mount::ResolvConf => (fixed("/etc/resolv.conf"), false),
            Mount::SiteBind(destination) => (Ok(destination.clone()), self.is_site_directory(destination)),
            Mount::Scratch { destination, .. } => (Ok(destination.clone()), true),
            Mount::Home(bind) => return self.bind(bind).map(Mount::Home),
            Mount::Hostfs(bind) => return self.bind(bind).map(Mount::Hostfs),
            Mount::User(bind) => return self.bind(bind).map(Mount::User),
            Mount::Data { image, within, destination, writable } => {
                let access = if *writable { Access::ReadWrite } else { Access::ReadOnly };
                let shown = self.show(image, access)?;
                let is_directory = within.as_ref().is_none_or(|within| below(&shown, within).is_dir());
                self.places.push((destination.clone(), is_directory));
                return Ok(Mount::Data {
                    image: self.directory(&shown)?,
                    within: within.clone(),
                    destination: destination.clone(),
                    writable: *writable,
                });
            }
        };
        let place = place.map_err(|error| Failure::new(format!("a place in the container {error}")))?;
        self.places.push((place, is_directory));
        Ok(mount.clone())
    }

    fn bind(&mut self, bind: &Bind) -> Outcome<Bind> {
        let source = self.view.outside.open_again(usize::from(bind.descriptor.0))?;
        let is_directory = File::from(source.try_clone().doing(|| "copying a descriptor".into())?)
            .metadata()
            .is_ok_and(|data| data.is_dir());
        self.places.push((bind.destination.clone(), is_directory));
        Ok(Bind { descriptor: self.add(source)?, ..bind.clone() })
    }

    fn is_site_directory(&self, destination: &ContainerPath) -> bool {
        let mut binds = self.site.bind_path.iter().map(|entry| config::bind_path_parts(&entry.value));
        let found = binds.find(|(_, place)| place.as_bytes() == destination.as_bytes());
        found.is_some_and(|(source, _)| Path::new(source).is_dir())
    }

    fn add(&mut self, source: OwnedFd) -> Outcome<Descriptor> {
        let number = u16::try_from(self.sources.len())
            .map_err(|_| Failure::new("more sources than a plan can name"))?;
        self.sources.push(source);
        Ok(Descriptor(number))
    }

    fn directory(&mut self, path: &Path) -> Outcome<Image> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
        let opened = opened.doing(|| format!("opening {}", shown(path)))?;
        Ok(Image { descriptor: self.add(opened.into())?, content: Content::Directory })
    }

    /// A directory for changes that are gone at the end.
    fn memory(&mut self) -> Outcome<PathBuf> {
        let at = self.new_directory()?;
        let options = format!("mode=0755,size={}m", self.site.sessiondir_max_size.value);
        mount(
            Some("tmpfs"),
            &at,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )
        .doing(|| format!("mounting memory at {}", shown(&at)))?;
        Ok(at)
    }

    /// The root and the layers on it, for the kernel to stack; merged into one where it would misread one of them, or
    /// may not.
    fn lowers(
        &mut self,
        plan: &Plan,
        root: &Path,
        layers: &[(PathBuf, Content)],
    ) -> Outcome<(Image, Vec<Image>)> {
        let for_kernel = layers.iter().map(|(layer, content)| kernel_reads(layer, *content));
        let for_kernel = for_kernel.collect::<Outcome<Vec<bool>>>()?.into_iter().all(|reads| reads);
        if for_kernel && (layers.is_empty() || !self.view.fuse_overlay) {
            let root = self.directory(root)?;
            let layers = layers.iter().map(|(layer, _)| self.directory(layer)).collect::<Outcome<_>>()?;
            return Ok((root, layers));
        }
        let layers = directories_of(layers)?;
        let lowers = layers.iter().rev().map(PathBuf::as_path).chain([root]).collect();
        let name = &self.view.outside.source(number(&plan.root))?.path;
        let at = self.new_directory()?;
        self.servers.overlay(&Overlay { lowers, upper: None }, name, &at)?;
        Ok((self.directory(&at)?, Vec::new()))
    }

    /// The plan of a root that is stacked and written to already.
    fn written(
        &mut self,
        plan: &Plan,
        lowers: (&Path, &[(PathBuf, Content)]),
        changes: (&Path, &Path),
    ) -> Outcome<Plan> {
        let mounts = self.mounts(plan)?;
        let root = self.overlay(plan, lowers, changes)?;
        let root = self.directory(&root)?;
        Ok(Plan { root, layers: Vec::new(), writable: Writable::Root, mounts, ..plan.clone() })
    }

    /// A root and the layers on it, lowest first; changes go into `upper` of a directory, which has a name.
    fn overlay(
        &mut self,
        plan: &Plan,
        (root, layers): (&Path, &[(PathBuf, Content)]),
        (changes, name): (&Path, &Path),
    ) -> Outcome<PathBuf> {
        let skeleton = self.skeleton(plan)?;
        let layers = directories_of(layers)?;
        let lowers = layers.iter().rev().map(PathBuf::as_path).chain([root, skeleton.as_path()]).collect();
        let (upper, work) = (writable_part(changes, "upper")?, writable_part(changes, "work")?);
        if eaccess(&work, AccessFlags::W_OK | AccessFlags::X_OK) == Err(Errno::EACCES) {
            return Err(self.closed_to_caller(plan, name));
        }
        let at = self.new_directory()?;
        self.servers.overlay(&Overlay { lowers, upper: Some((&upper, &work)) }, name, &at)?;
        Ok(at)
    }

    /// Says whose the writable image is that this process may not write, and who may.
    fn closed_to_caller(&self, plan: &Plan, name: &Path) -> Failure {
        let standing = self.standing_of_work(plan);
        let whose = standing.map_or_else(String::new, |standing| format!(", which belongs to {standing}"));
        let failure = Failure::new(format!(
            "while using {} as a writable overlay: Permission denied for its 'work' directory{whose}",
            shown(name)
        ));
        let is_roots = standing.is_some_and(|standing| standing.uid == 0) && !geteuid().is_root();
        let is_embedded = self.view.outside.source(number(&plan.root)).is_ok_and(|root| root.path == name);
        let reading = if is_embedded { "leave out --writable" } else { "append ':ro'" };
        failure.hint(if is_roots {
            format!("it was made for root in a user namespace: add --fakeroot, or {reading} to only read it")
        } else {
            format!("{reading} to only read it, or make your own with 'overlay create'")
        })
    }

    /// In the image's own ids, of which this user namespace may have no name for the one that matters.
    fn standing_of_work(&self, plan: &Plan) -> Option<Standing> {
        let Writable::Overlay(upper) = &plan.writable else { return None };
        let Content::Ext3(window) = upper.content else { return None };
        ownership::standing(self.view.outside.source(number(upper)).ok()?, window, "work").ok()
    }

    /// A directory with every place of the container that something is mounted at.
    fn skeleton(&mut self, plan: &Plan) -> Outcome<PathBuf> {
        let skeleton = self.new_directory()?;
        let hostname = AccountFile::Hostname;
        if plan.account_files.contains(&hostname)
            && let Ok(place) = ContainerPath::new(hostname.path().as_bytes().to_vec())
        {
            self.places.push((place, false));
        }
        fill_skeleton(&skeleton, &self.places)?;
        Ok(skeleton)
    }
}

/// Makes these places in an empty directory, to be the lowest layer of an overlay.
///
/// # Errors
/// One of them cannot be made.
pub fn fill_skeleton(skeleton: &Path, places: &[(ContainerPath, bool)]) -> Outcome<()> {
    for (place, is_directory) in places {
        let path = below(skeleton, place);
        let making = || format!("making a mount point for {place}");
        let parent = if *is_directory { Some(path.as_path()) } else { path.parent() };
        let parent = parent.unwrap_or(skeleton);
        match DirBuilder::new().recursive(true).mode(0o755).create(parent) {
            // A file is wanted where a directory is, or the other way round: whoever mounts there says so.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) if error.kind() == ErrorKind::NotADirectory => continue,
            made => made.doing(making)?,
        }
        if !is_directory && !path.exists() {
            File::create(&path).map(drop).doing(making)?;
        }
    }
    Ok(())
}

fn below(directory: &Path, place: &ContainerPath) -> PathBuf {
    let relative = place.as_bytes().strip_prefix(b"/").unwrap_or_default();
    directory.join(OsStr::from_bytes(relative))
}

/// Whether the kernel, given this directory, reads the layer that is meant as it is meant.
fn kernel_reads(shown: &Path, content: Content) -> Outcome<bool> {
    match content {
        Content::Directory => Ok(true),
        // Of a directory `upper` is taken where there is one.
        Content::Squashfs(_) => Ok(!shown.join("upper").exists()),
        Content::Ext3(_) => {
            let layer = layer_of(shown, content)?;
            let reader = if in_user_namespace() { Reader::UsersKernel } else { Reader::RootsKernel };
            Ok(marks::misread(&layer, reader)?.is_none())
        }
    }
}

/// Says which deleted files would be seen again: root's marks can be read by nobody else.
fn warn_of_marks(layer: &Path, name: &Path) {
    if in_user_namespace()
        && let Ok(Some(_)) = marks::misread(layer, Reader::FuseOverlayfs)
    {
        message::warning(format!(
            "{} was changed with root's privilege: deleted files may be seen again in a user namespace",
            shown(name)
        ));
    }
}

fn directories_of(layers: &[(PathBuf, Content)]) -> Outcome<Vec<PathBuf>> {
    layers.iter().map(|(layer, content)| layer_of(layer, *content)).collect()
}

/// What a read-only overlay adds: `upper` of an ext3, which must be there; `upper` of a directory, if it is there.
///
/// # Errors
/// The ext3 has none.
pub fn layer_of(shown: &Path, content: Content) -> Outcome<PathBuf> {
    let upper = shown.join("upper");
    let has_upper = fs::symlink_metadata(&upper).is_ok_and(|data| data.is_dir());
    match content {
        Content::Squashfs(_) => Ok(shown.to_owned()),
        Content::Directory if !has_upper => Ok(shown.to_owned()),
        Content::Ext3(_) if !has_upper => Err(Failure::new("the overlay has no 'upper' directory")
            .hint("use it once for writing, or make a new one with 'overlay create'")),
        Content::Ext3(_) | Content::Directory => Ok(upper),
    }
}

/// `upper` or `work` of a writable overlay, made where it is missing.
///
/// # Errors
/// Something else is there, or it cannot be made.
pub fn writable_part(shown: &Path, name: &str) -> Outcome<PathBuf> {
    let part = shown.join(name);
    let made = match fs::symlink_metadata(&part) {
        Ok(data) if data.is_dir() => return Ok(part),
        Ok(_) => return Err(Failure::new(format!("'{name}' of the overlay is not a directory"))),
        Err(error) if error.kind() == ErrorKind::NotFound => DirBuilder::new().mode(0o755).create(&part),
        Err(error) => Err(error),
    };
    made.doing(|| format!("creating '{name}' directory of the overlay")).map_err(|failure| {
        failure.hint("make the image with 'overlay create', or with 'mkfs.ext3 -d DIR' where DIR holds your own 'upper' and 'work'")
    })?;
    Ok(part)
}
