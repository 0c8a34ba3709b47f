//! What is mounted inside the container besides its root, in the order it is mounted.

use super::Sources;
use super::gpu::{self, Platform};
use crate::error::{Doing, Failure, Outcome};
use crate::flow::fakeroot::FakerootCommand;
use crate::image::{self, Access, EmbeddedContent, Format, Image};
use crate::intent::{BindRequest, HomeRequest, InImage, Intent, container_path};
use crate::lock;
use crate::message::{self, shown};
use crate::payload::{FAKEROOT_DAEMON, FAKEROOT_LIBRARY};
use crate::site;
use crate::user::Caller;
use config::{MountDev, Settings};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use protocol::{Bind, ContainerPath, Content, Dev, Mount, Scratch};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Working directories that are the container's own.
const OWN_DIRECTORIES: [&str; 10] =
    ["/", "/etc", "/bin", "/mnt", "/usr", "/var", "/opt", "/sbin", "/lib", "/lib64"];
/// Working directories below these are never bound.
const KERNEL_DIRECTORIES: [&str; 3] = ["/sys", "/proc", "/dev"];
/// Mounts of the host that `mount hostfs` leaves out, with everything below them.
const NOT_HOSTFS: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/boot", "/var"];
/// Most mounts that `mount hostfs` shows, each with everything below it: half of what a plan may hold.
const HOSTFS_MAX: usize = protocol::MOUNTS_MAX / 2;
/// Site binds that stay under `--contain`.
const KEPT_SITE_BINDS: [&str; 2] = ["/etc/hosts", "/etc/localtime"];

/// What [`choose`] found.
pub(super) struct Inside {
    /// The mounts, in order.
    pub(super) mounts: Vec<Mount>,
    /// The home directory in the container.
    pub(super) home: Vec<u8>,
}

/// Chooses what is mounted, and opens it.
///
/// # Errors
/// Something the user asked for by name cannot be opened.
pub(super) fn choose(
    intent: &Intent,
    site: &Settings,
    people: People<'_>,
    sources: &mut Sources,
) -> Outcome<Inside> {
    let mut chooser = Chooser { intent, site, people, sources, mounts: Vec::new() };
    chooser.dev();
    chooser.host_file_systems()?;
    chooser.site_binds()?;
    chooser.kernel();
    // A home below /tmp is not to be hidden by it.
    chooser.temporary()?;
    let home = chooser.home()?;
    chooser.scratch()?;
    chooser.working_directory()?;
    chooser.resolv_conf();
    chooser.fakeroot_command()?;
    chooser.libraries_of_the_host()?;
    chooser.user_binds()?;
    chooser.fuse_mount_points()?;
    Ok(Inside { mounts: chooser.mounts, home })
}

/// Whose container it is.
#[derive(Clone, Copy)]
pub(super) struct People<'a> {
    /// Who lives there, in the home directory of his account.
    pub(super) resident: &'a Caller,
    /// The host's directory that is shown as it.
    pub(super) home: &'a Path,
    /// What makes his programs believe that they change owners.
    pub(super) command: Option<&'a FakerootCommand>,
}

struct Chooser<'a> {
    intent: &'a Intent,
    site: &'a Settings,
    people: People<'a>,
    sources: &'a mut Sources,
    mounts: Vec<Mount>,
}

impl Chooser<'_> {
    fn left_out(&self, name: &str) -> bool {
        self.intent.no_mount.has(name)
    }

    fn dev(&mut self) {
        let minimal = self.intent.contain || self.site.mount_dev.value == MountDev::Minimal;
        match self.site.mount_dev.value {
            MountDev::No => {}
            _ if self.left_out("dev") => {}
            _ if minimal => self.mounts.push(Mount::Dev(Dev::Minimal {
                terminals: self.site.mount_devpts.value && !self.left_out("devpts"),
                gpus: self.gpus().next().is_some(),
            })),
            _ => self.mounts.push(Mount::Dev(Dev::Host)),
        }
    }

    fn host_file_systems(&mut self) -> Outcome<()> {
        if !self.site.mount_hostfs.value || self.intent.contain || self.left_out("hostfs") {
            return Ok(());
        }
        let table = fs::read("/proc/self/mountinfo").doing(|| "reading the host's mounts".into())?;
        let mut places = mount_points(&table);
        // What is above comes first, and is shown with everything that is mounted below it.
        places.sort_unstable();
        let mut shown: Vec<PathBuf> = Vec::new();
        let mut too_many = 0;
        for place in places {
            let path = Path::new(OsStr::from_bytes(&place));
            let not_here = path == Path::new("/") || NOT_HOSTFS.iter().any(|not| path.starts_with(not));
            if not_here || shown.iter().any(|above| path.starts_with(above)) {
                continue;
            }
            let Ok(source) = self.open(path) else { continue };
            if shown.len() == HOSTFS_MAX {
                too_many += 1;
                continue;
            }
            let destination = container_path(path.as_os_str(), "mount hostfs")?;
            let bind = self.bind(source, path, destination, false, true)?;
            self.mounts.push(Mount::Hostfs(bind));
            shown.push(path.to_owned());
        }
        if too_many > 0 {
            message::warning(format!(
                "Skipping {too_many} file systems of the host: 'mount hostfs' shows at most {HOSTFS_MAX}"
            ));
        }
        Ok(())
    }

    fn site_binds(&mut self) -> Outcome<()> {
        for entry in &self.site.bind_path {
            let (_, destination) = config::bind_path_parts(&entry.value);
            let kept = !self.intent.contain || KEPT_SITE_BINDS.contains(&destination);
            if kept && !self.left_out("bind-paths") && !self.left_out(destination) {
                // The starter finds the line by its destination as it is written.
                if let Ok(destination) = ContainerPath::new(destination.as_bytes().to_vec()) {
                    self.mounts.push(Mount::SiteBind(destination));
                } else {
                    message::warning(format!(
                        "Skipping 'bind path = {destination}': it is no plain absolute path"
                    ));
                }
            }
        }
        Ok(())
    }

    fn kernel(&mut self) {
        if self.site.mount_proc.value && !self.left_out("proc") {
            self.mounts.push(Mount::Proc);
        }
        if self.site.mount_sys.value && !self.left_out("sys") {
            self.mounts.push(Mount::Sys);
        }
    }

    /// Returns the home directory in the container, mounted or not.
    fn home(&mut self) -> Outcome<Vec<u8>> {
        let People { resident, home, .. } = self.people;
        let own = resident.home_bytes().to_vec();
        let (source, destination) = match &self.intent.home {
            HomeRequest::Custom { source, destination } if self.user_may_bind("custom home directory") => {
                (source.clone(), Some(destination.clone()))
            }
            _ => (home.to_owned(), container_path(resident.home.as_os_str(), "home").ok()),
        };
        let inside = destination.as_ref().map_or(own, |path| path.as_bytes().to_vec());
        if self.intent.home == HomeRequest::None || !self.site.mount_home.value || self.left_out("home") {
            return Ok(inside);
        }
        let Some(destination) = destination else {
            message::warning("Skipping impossible home directory mount to '/'");
            return Ok(inside);
        };
        let custom =
            matches!(self.intent.home, HomeRequest::Custom { .. }) && self.site.user_bind_control.value;
        let mount = if self.intent.contain && !custom {
            match self.workdir("home")? {
                Some(folder) => {
                    Mount::User(self.bind(self.open(&folder)?, &folder, destination, false, false)?)
                }
                None => Mount::Scratch { destination, purpose: Scratch::Home },
            }
        } else {
            let opened = match self.open(&source) {
                Ok(opened) if custom || self.may_show_home(&opened, &destination) => opened,
                Ok(_) => return Ok(inside),
                Err(failure) if custom => return Err(failure),
                Err(failure) => {
                    message::warning(format!("Skipping mount of the home directory: {failure}"));
                    return Ok(inside);
                }
            };
            Mount::Home(self.bind(opened, &source, destination, false, !custom)?)
        };
        self.mounts.push(mount);
        Ok(inside)
    }

    /// Without user bind control the starter shows a home only if it is the caller's, at its own path; any other is
    /// left out here, with a warning, so that the container runs.
    fn may_show_home(&self, home: &OwnedFd, destination: &ContainerPath) -> bool {
        if self.site.user_bind_control.value || self.intent.fakeroot.is_some() {
            return true;
        }
        let uid = self.people.resident.uid.as_raw();
        let owned = nix::sys::stat::fstat(home).is_ok_and(|stat| stat.st_uid == uid);
        let place = fs::read_link(format!("/proc/self/fd/{}", home.as_raw_fd()));
        let in_place = place.is_ok_and(|place| place.as_os_str().as_bytes() == destination.as_bytes());
        if !owned || !in_place {
            let why = if owned { "is reached through a link" } else { "is not yours" };
            message::warning(format!(
                "Skipping mount of the home directory: {destination} {why}, and user bind control is disabled by \
                 system administrator"
            ));
        }
        owned && in_place
    }

    fn temporary(&mut self) -> Outcome<()> {
        if !self.site.mount_tmp.value || self.left_out("tmp") {
            return Ok(());
        }
        let var_tmp_is_a_link = fs::symlink_metadata("/var/tmp").is_ok_and(|data| data.is_symlink());
        if !self.intent.contain {
            self.mounts.push(Mount::Tmp);
            if !var_tmp_is_a_link {
                self.mounts.push(Mount::VarTmp);
            }
            return Ok(());
        }
        for (name, place) in [("tmp", "/tmp"), ("var_tmp", "/var/tmp")] {
            let destination = container_path(OsStr::new(place), "tmp")?;
            let mount = match self.workdir(name)? {
                Some(folder) => {
                    Mount::User(self.bind(self.open(&folder)?, &folder, destination, false, true)?)
                }
                None => Mount::Scratch { destination, purpose: Scratch::Tmp },
            };
            self.mounts.push(mount);
        }
        Ok(())
    }

    fn scratch(&mut self) -> Outcome<()> {
        if self.intent.scratch.is_empty() || !self.user_may_bind("scratch directory") {
            return Ok(());
        }
        for destination in &self.intent.scratch {
            let inside = Path::new(OsStr::from_bytes(&destination.as_bytes()[1..]));
            let mount = match self.workdir(Path::new("scratch").join(inside))? {
                Some(folder) => {
                    Mount::User(self.bind(self.open(&folder)?, &folder, destination.clone(), false, false)?)
                }
                None => Mount::Scratch { destination: destination.clone(), purpose: Scratch::Work },
            };
            self.mounts.push(mount);
        }
        Ok(())
    }

    /// A directory in `--workdir`, made if it is not there; none without `--workdir`.
    fn workdir(&self, name: impl AsRef<Path>) -> Outcome<Option<PathBuf>> {
        let Some(workdir) = &self.intent.workdir else {
            return Ok(None);
        };
        if !self.user_may_bind("workdir") {
            return Ok(None);
        }
        let folder = workdir.join(name.as_ref());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder)
            .doing(|| format!("making {} for --workdir", shown(&folder)))?;
        if name.as_ref().ends_with("tmp") || name.as_ref().ends_with("var_tmp") {
            // Somebody else's directory keeps its mode.
            let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777));
        }
        Ok(Some(folder))
    }

    /// The directory the caller is in, where nothing else brings it along.
    fn working_directory(&mut self) -> Outcome<()> {
        if self.intent.contain || self.left_out("cwd") || !self.site.user_bind_control.value {
            return Ok(());
        }
        let Ok(current) = std::env::current_dir() else {
            return Ok(());
        };
        let own = OWN_DIRECTORIES.iter().any(|own| current == Path::new(own));
        let of_kernel = KERNEL_DIRECTORIES.iter().any(|folder| current.starts_with(folder));
        if own || of_kernel || self.is_brought_along(&current) {
            return Ok(());
        }
        // A directory that cannot be reached any more is nobody's working directory in the container either.
        let Ok(destination) = container_path(current.as_os_str(), "cwd") else {
            return Ok(());
        };
        match self.open(&current) {
            Ok(opened) => {
                let bind = self.bind(opened, &current, destination, false, true)?;
                self.mounts.push(Mount::User(bind));
            }
            Err(failure) => message::warning(format!("Skipping mount of the working directory: {failure}")),
        }
        Ok(())
    }

    /// Whether a mount that is planned already shows this directory of the host at its own path.
    fn is_brought_along(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| match mount {
            Mount::Tmp => path.starts_with("/tmp"),
            Mount::VarTmp => path.starts_with("/var/tmp"),
            Mount::Home(bind) | Mount::Hostfs(bind) => {
                let place = Path::new(OsStr::from_bytes(bind.destination.as_bytes()));
                let source = self.sources.all.get(usize::from(bind.descriptor.0));
                path.starts_with(place) && source.is_some_and(|source| source.path == place)
            }
            _ => false,
        })
    }

    /// `--nv` and `--rocm`, or that the site always wants them.
    fn gpus(&self) -> impl Iterator<Item = Platform> + use<> {
        let nv = self.intent.nv.unwrap_or(self.site.always_use_nv.value);
        let rocm = self.intent.rocm.unwrap_or(self.site.always_use_rocm.value);
        [nv.then_some(Platform::Nv), rocm.then_some(Platform::Rocm)].into_iter().flatten()
    }

    /// What the `fakeroot` command is made of.
    fn fakeroot_command(&mut self) -> Outcome<()> {
        let Some(FakerootCommand { daemon, library }) = self.people.command else {
            return Ok(());
        };
        let parts = [(daemon, FAKEROOT_DAEMON), (library, FAKEROOT_LIBRARY)];
        parts.into_iter().try_for_each(|(source, place)| self.show_file(source, Path::new(place)))
    }

    /// What `--nv`, `--rocm` and `--containlibs` show.
    fn libraries_of_the_host(&mut self) -> Outcome<()> {
        for platform in self.gpus() {
            if self.user_may_bind(platform.name()) {
                if self.intent.writable {
                    message::warning(format!("{} files may not be bound with --writable", platform.name()));
                }
                for file in gpu::files(platform, &site::programs(self.site))? {
                    if let Err(failure) = self.show_file(&file.source, &file.destination) {
                        message::warning(format!("Skipping a file of {}: {failure}", platform.name()));
                    }
                }
            }
        }
        if !self.intent.libraries.is_empty() && self.user_may_bind("containlibs") {
            for library in &self.intent.libraries {
                self.show_file(library, &gpu::in_libraries(library.file_name().unwrap_or_default()))?;
            }
        }
        Ok(())
    }

    /// A file that the container only reads, and runs without where it has no place for it.
    fn show_file(&mut self, source: &Path, destination: &Path) -> Outcome<()> {
        let place = container_path(destination.as_os_str(), "library")?;
        let bind = self.bind(self.open(source)?, source, place, true, true)?;
        self.mounts.push(Mount::User(bind));
        Ok(())
    }

    fn resolv_conf(&mut self) {
        if !self.site.config_resolv_conf.value {
            if !self.intent.name_servers.is_empty() {
                message::warning("Ignoring --dns: resolv.conf is not changed here, by configuration");
            }
        } else if self.intent.name_servers.is_empty() {
            self.mounts.push(Mount::ResolvConf);
        }
    }

    /// Something to mount FUSE file systems on, also where the image has no such directory. Where the site lets nobody
    /// choose places, it must have one.
    fn fuse_mount_points(&mut self) -> Outcome<()> {
        for file_system in &self.intent.file_systems {
            if self.site.user_bind_control.value {
                let destination = container_path(OsStr::from_bytes(&file_system.place), "--fusemount")?;
                self.mounts.push(Mount::Scratch { destination, purpose: Scratch::Work });
            }
        }
        Ok(())
    }

    fn user_binds(&mut self) -> Outcome<()> {
        if self.intent.binds.is_empty() || !self.user_may_bind("bind") {
            return Ok(());
        }
        for request in &self.intent.binds {
            let mount = match &request.in_image {
                Some(part) => self.data(request, part)?,
                None => {
                    let source = self.open(&request.source)?;
                    let destination = request.destination.clone();
                    Mount::User(self.bind(source, &request.source, destination, request.read_only, false)?)
                }
            };
            self.mounts.push(mount);
        }
        Ok(())
    }

    /// Part of an image at a place in the container.
    fn data(&mut self, request: &BindRequest, part: &InImage) -> Outcome<Mount> {
        let image = if request.read_only {
            image::open(&request.source, Access::ReadOnly)
        } else {
            image::open_writable_if_permitted(&request.source)
        }
        .map_err(|failure| failure.context("while binding an image"))?;
        let content = data_content(&image, part.id)?;
        let writable = matches!(content, Content::Ext3(_)) && image.access == Access::ReadWrite;
        if let Content::Ext3(window) = content {
            let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
            lock::take(&image.file, &image.path, window, access)?;
        }
        let descriptor = self.sources.add_image(&image)?;
        Ok(Mount::Data {
            image: protocol::Image { descriptor, content },
            within: part.path.clone(),
            destination: request.destination.clone(),
            writable,
        })
    }

    /// `user bind control = no` takes away what users choose, with a warning.
    fn user_may_bind(&self, what: &str) -> bool {
        let allowed = self.site.user_bind_control.value;
        if !allowed {
            message::warning(format!(
                "Ignoring {what} request: user bind control disabled by system administrator"
            ));
        }
        allowed
    }

    fn bind(
        &mut self,
        source: OwnedFd,
        path: &Path,
        destination: ContainerPath,
        read_only: bool,
        optional: bool,
    ) -> Outcome<Bind> {
        let descriptor = self.sources.add(source, path)?;
        Ok(Bind { descriptor, destination, read_only, optional })
    }

    /// Opens what is bound, by the user's own rights, without touching devices or pipes.
    fn open(&self, path: &Path) -> Outcome<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            nix::errno::Errno::ENOENT => Failure::new(format!("mount source {} doesn't exist", shown(path))),
            errno => Failure::new(format!("while opening mount source {}: {}", shown(path), errno.desc())),
        })?;
        self.sources.require_open(&opened, path)?;
        Ok(opened)
    }
}

fn data_content(image: &Image, id: Option<u32>) -> Outcome<Content> {
    let path = shown(&image.path);
    match &image.format {
        Format::Squashfs(squashfs) => Ok(Content::Squashfs(squashfs.window)),
        Format::Ext3(ext3) => Ok(Content::Ext3(ext3.window)),
        Format::Sif(sif) => {
            let partition = sif
                .data
                .iter()
                .find(|partition| id.is_none_or(|id| partition.id == id))
                .ok_or_else(|| Failure::new(format!("no data partition to bind found in {path}")))?;
            Ok(match partition.content {
                EmbeddedContent::Squashfs(squashfs) => Content::Squashfs(squashfs.window),
                EmbeddedContent::Ext3(ext3) => Content::Ext3(ext3.window),
            })
        }
        Format::Sandbox => {
            Err(Failure::new(format!("{path} is a directory: bind it without image-src= and id=")))
        }
        Format::OciSif(_) => Err(Failure::new(format!("{path} is an OCI-SIF, which cannot be bound"))),
    }
}

/// The fifth field of every line of a mountinfo table, its octal escapes undone.
fn mount_points(table: &[u8]) -> Vec<Vec<u8>> {
    let place = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape);
    table.split(|byte| *byte == b'\n').filter_map(place).collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let table = b"22 1 0:21 / /proc rw - proc proc rw\n30 1 8:1 / /mnt/a\\040b rw - ext4 /dev/sda1 rw\n";
        assert_eq!(mount_points(table), [b"/proc".to_vec(), b"/mnt/a b".to_vec()]);
    }
}
