//! The root of a container in OCI mode: an overlay of the kernel's over the directories that show the layers.

use crate::error::{Doing, Outcome};
use crate::flow::host::in_user_namespace;
use crate::flow::serving::{Directories, fill_skeleton, layer_of, writable_part};
use crate::message::shown;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use protocol::{Content, Descriptor, Writable};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Flags of every mount made here.
pub(super) const NOSUID_NODEV: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
/// Longest account file of an image that is read, in bytes.
const ACCOUNT_FILE_BYTES_MAX: u64 = 16 << 20;

/// The assembled root.
pub(super) struct RootFs {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it was mounted here, to be unmounted.
    mounted: bool,
}

impl RootFs {
    /// Assembles it in the directory `stage`. Changes go where the plan says; `memory_mib` bounds what goes into memory.
    pub(super) fn assemble(served: &Directories, stage: &Path, memory_mib: Option<u32>) -> Outcome<Self> {
        let at = |descriptor| served.path_of(descriptor);
        let root = at(served.plan.root.descriptor)?;
        let upper = match served.plan.writable {
            Writable::Root => return Ok(Self { path: root, mounted: false }),
            Writable::Nothing => None,
            Writable::Tmpfs => Some(memory(stage, memory_mib)?),
            Writable::Overlay(image) => Some(at(image.descriptor)?),
        };
        let skeleton = new_directory(stage, "skeleton")?;
        fill_skeleton(&skeleton, &served.places)?;
        let layers = served.plan.layers.iter().rev();
        let layers: Vec<PathBuf> = layers
            .map(|layer| layer_of(&at(layer.descriptor)?, Content::Directory))
            .collect::<Outcome<_>>()?;
        let lowers = layers.into_iter().chain([root, skeleton]).collect::<Vec<_>>();
        let path = new_directory(stage, "root")?;
        overlay(&lowers, upper.as_deref(), &path)?;
        Ok(Self { path, mounted: true })
    }

    /// Opens a file of the image, which cannot lead out of it.
    pub(super) fn open(&self, path: &str) -> Option<OwnedFd> {
        let directory = File::open(&self.path).ok()?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        openat2(&directory, path, how).ok()
    }

    /// The beginning of a file of the image; nothing where there is none.
    pub(super) fn read(&self, path: &str) -> Vec<u8> {
        let mut content = Vec::new();
        if let Some(file) = self.open(path) {
            // What cannot be read is as if it were not there.
            let _ = File::from(file).take(ACCOUNT_FILE_BYTES_MAX).read_to_end(&mut content);
        }
        content
    }

    /// Lets go of the layers below it.
    pub(super) fn unmount(self) {
        if self.mounted {
            // It ends with this process at the latest.
            let _ = nix::mount::umount2(&self.path, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

impl Directories {
    /// The kernel's name for where a source is.
    ///
    /// # Errors
    /// There is no such source.
    pub(super) fn path_of(&self, descriptor: Descriptor) -> Outcome<PathBuf> {
        let number = usize::from(descriptor.0);
        let fd = self.sources.get(number).map_or(-1, AsRawFd::as_raw_fd);
        fs::read_link(format!("/proc/self/fd/{fd}")).doing(|| format!("looking at source {number}"))
    }
}

/// A directory for changes that are gone at the end.
fn memory(stage: &Path, memory_mib: Option<u32>) -> Outcome<PathBuf> {
    let at = new_directory(stage, "memory")?;
    let size = memory_mib.map_or_else(String::new, |mib| format!(",size={mib}m"));
    mount_memory(&at, &format!("mode=0755{size}"))?;
    Ok(at)
}

/// Mounts a new file system in memory.
pub(super) fn mount_memory(at: &Path, options: &str) -> Outcome<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), NOSUID_NODEV, Some(options))
        .doing(|| format!("mounting memory at {}", shown(at)))
}

pub(super) fn new_directory(stage: &Path, name: &str) -> Outcome<PathBuf> {
    let at = stage.join(name);
    fs::create_dir(&at).doing(|| format!("making {}", shown(&at)))?;
    Ok(at)
}

/// Stacks directories, the topmost first; changes go into `upper` of the last one, if there is one.
fn overlay(lowers: &[PathBuf], changes: Option<&Path>, at: &Path) -> Outcome<()> {
    let lowers: Vec<OwnedFd> = lowers.iter().map(|lower| open(lower)).collect::<Outcome<_>>()?;
    // A descriptor's name has no character that the option text gives a meaning to.
    let name = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
    let below: Vec<String> = lowers.iter().map(name).collect();
    let mut options =
        format!("redirect_dir=nofollow,metacopy=off,index=off,xino=on,lowerdir={}", below.join(":"));
    let uppers = match changes {
        None => None,
        Some(changes) => {
            Some((open(&writable_part(changes, "upper")?)?, open(&writable_part(changes, "work")?)?))
        }
    };
    if let Some((upper, work)) = &uppers {
        options.push_str(&format!(",upperdir={},workdir={}", name(upper), name(work)));
    }
    if in_user_namespace() {
        // Marks in `trusted.overlay.*` are for the machine's own root.
        options.push_str(",userxattr");
    }
    mount(Some("overlay"), at, Some("overlay"), NOSUID_NODEV, Some(options.as_str()))
        .doing(|| "stacking the layers".into())
}

fn open(path: &Path) -> Outcome<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    Ok(opened.doing(|| format!("opening overlay layer {}", shown(path)))?.into())
}
