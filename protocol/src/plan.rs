//! The plan: what a container is made of, in words of purpose.
//!
//! The enums here are closed. A word the starter does not know is refused when the frame is decoded; nothing is
//! skipped. Lists have named maxima because the starter does work, and holds a descriptor, for each element.

use crate::path::ContainerPath;
use serde::{Deserialize, Serialize};

/// The plan pipe's read end in the starter.
pub const PLAN_FD: i32 = 3;
/// The sealed memfd with the payload, which the starter hands to `init` unread.
pub const PAYLOAD_FD: i32 = 4;
/// The first source descriptor; [`Descriptor`] `n` is this number plus `n`.
pub const SOURCE_FD_FIRST: i32 = 5;
/// The descriptor on which process 1 of an instance keeps the record that its container may be joined, and for as long as
/// it lives. The starter writes it and reads it again when somebody joins; to `init` it means nothing.
pub const INSTANCE_FD: i32 = 9;
/// The descriptors on which `init` finds the image's own account files, in the order of [`AccountFile`]:
/// present only when the plan asked for the file and the image has one.
pub const ACCOUNT_FD_FIRST: i32 = 5;

/// Most read-only overlay layers: the kernel itself stacks up to 500; each one costs a loop device and a mount.
pub const LAYERS_MAX: usize = 64;
/// Most entries in [`Plan::mounts`]: bounds the descriptors, mounts and memory of one run.
pub const MOUNTS_MAX: usize = 256;
/// Longest host name in bytes: `HOST_NAME_MAX` of Linux.
pub const HOSTNAME_BYTES_MAX: usize = 64;

/// What is asked of the starter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// A new container.
    Start(Box<Plan>),
    /// A process in a running instance of the caller's. The one source is a pidfd of the instance's process 1.
    /// Nothing more is said: what the container is, its record knows.
    Join,
}

impl From<Plan> for Request {
    fn from(plan: Plan) -> Self {
        Self::Start(Box::new(plan))
    }
}

/// Everything that is asked of the starter for one container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The container's root file system, the lowest layer the user chose.
    pub root: Image,
    /// Read-only overlay layers above the root, lowest first.
    pub layers: Vec<Image>,
    /// Where writes inside the container go.
    pub writable: Writable,
    /// What is mounted inside, in this order.
    pub mounts: Vec<Mount>,
    /// Namespaces beside the mount namespace, which every container has.
    pub namespaces: Namespaces,
    /// The host name of a new UTS namespace; meaningful only together with [`Namespaces::uts`].
    pub hostname: Option<Hostname>,
    /// Account files that `init` writes for the container; see [`AccountFile`].
    pub account_files: Vec<AccountFile>,
    /// Whether more processes of the caller may join the container later; it must have a PID namespace.
    pub instance: bool,
    /// Whether warnings of the starter are wanted on standard error.
    pub warnings: bool,
}

/// One source descriptor, counted from [`SOURCE_FD_FIRST`]. A plan uses each number once and leaves no gap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Descriptor(pub u16);

/// A file system that somebody handed in as a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Image {
    /// The open image file or directory.
    pub descriptor: Descriptor,
    /// What it is said to hold.
    pub content: Content,
}

/// What a descriptor is said to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Content {
    /// A squashfs in this part of the file.
    Squashfs(Window),
    /// An ext3 in this part of the file; as an overlay layer its `upper` directory is meant.
    Ext3(Window),
    /// A directory; as an overlay layer its `upper` directory if it has one, else the directory itself.
    Directory,
}

/// A part of a file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Where it starts; any byte.
    pub offset: u64,
    /// How long it is; not zero.
    pub size: u64,
}

/// Where writes inside the container go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Writable {
    /// Nowhere: the root is read-only.
    Nothing,
    /// Into the root file system itself: a directory, or a bare ext3.
    Root,
    /// Into memory, gone when the container ends, bounded by `sessiondir max size`.
    Tmpfs,
    /// Into this overlay: `upper` and `work` of an ext3 or of a directory.
    Overlay(Image),
}

/// Something mounted inside the container. Flags are the starter's: every mount is `nosuid`, and `nodev` too
/// except for the device nodes of [`Mount::Dev`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mount {
    /// The site's `/dev`.
    Dev(Dev),
    /// `/proc`: the host's, or a new one in a new PID namespace.
    Proc,
    /// `/sys`.
    Sys,
    /// The host's `/tmp`.
    Tmp,
    /// The host's `/var/tmp`.
    VarTmp,
    /// The host's `/etc/resolv.conf`.
    ResolvConf,
    /// The `bind path` line of `singularity.conf` with this destination.
    SiteBind(ContainerPath),
    /// The caller's home directory.
    Home(Bind),
    /// A mount point of the host at its own path, for `mount hostfs`.
    Hostfs(Bind),
    /// Something the user asked to bind.
    User(Bind),
    /// A directory in the session's memory.
    Scratch {
        /// Where it appears.
        destination: ContainerPath,
        /// What it is for, which decides its mode.
        purpose: Scratch,
    },
    /// A directory or file inside an image of its own.
    Data {
        /// The image.
        image: Image,
        /// What of it to mount; the whole image where absent.
        within: Option<ContainerPath>,
        /// Where it appears.
        destination: ContainerPath,
        /// Whether it may be written.
        writable: bool,
    },
}

/// A file or directory of the host at a place in the container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// What is bound, opened by the user.
    pub descriptor: Descriptor,
    /// Where it appears.
    pub destination: ContainerPath,
    /// Whether the container may not write to it.
    pub read_only: bool,
    /// Whether the container runs without it, with a warning, where its place does not exist and cannot be made.
    pub optional: bool,
}

/// How much of `/dev` the container sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Dev {
    /// The host's `/dev` with everything below it.
    Host,
    /// The few nodes that every program expects, and shared memory of its own.
    Minimal {
        /// Terminals of its own, too.
        terminals: bool,
        /// The host's graphics processors, too.
        gpus: bool,
    },
}

/// Nodes and folders of nodes of graphics processors, beside `nvidia0` and its like.
const GPU_NODES: [&str; 7] =
    ["dri", "kfd", "nvidia-caps", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidiactl"];
/// How many graphics processors NVIDIA's driver numbers at most.
const NVIDIA_MAX: u32 = 32;

/// The names below `/dev` of what belongs to graphics processors, where a host has them.
pub fn gpu_nodes() -> impl Iterator<Item = String> {
    let numbered = (0..NVIDIA_MAX).map(|number| format!("nvidia{number}"));
    GPU_NODES.into_iter().map(String::from).chain(numbered)
}

/// What a directory in the session's memory is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Scratch {
    /// Like `/tmp`: mode 1777.
    Tmp,
    /// An empty home: owned by the caller, mode 0700.
    Home,
    /// A scratch directory: owned by the caller, mode 0755.
    Work,
}

/// Namespaces beside the mount namespace.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Namespaces {
    /// Own process ids, with `init` as process 1 and a waiting process outside.
    pub pid: bool,
    /// Own System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Own host name.
    pub uts: bool,
    /// Own network, with nothing but a loopback device that is up.
    pub net: bool,
}

/// A file of the container that names the caller or the machine. The starter opens the image's own one for `init`
/// to read, and mounts an empty file that the caller owns over it for `init` to fill in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum AccountFile {
    /// `/etc/passwd`
    Passwd,
    /// `/etc/group`
    Group,
    /// `/etc/hostname`
    Hostname,
    /// `/etc/resolv.conf`, with name servers of the caller's choice.
    ResolvConf,
}

impl AccountFile {
    /// Where the file is in the container.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Passwd => "/etc/passwd",
            Self::Group => "/etc/group",
            Self::Hostname => "/etc/hostname",
            Self::ResolvConf => "/etc/resolv.conf",
        }
    }

    /// Whether the container's file is the image's own with something added, so that there is none without it.
    #[must_use]
    pub fn extends_original(self) -> bool {
        matches!(self, Self::Passwd | Self::Group)
    }
}

/// A host name: 1 to [`HOSTNAME_BYTES_MAX`] of `a-z A-Z 0-9 - .`, not starting with `-` or `.`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// Checks the name.
    ///
    /// # Errors
    /// The rule, as text, when the name breaks it.
    pub fn new(name: String) -> Result<Self, &'static str> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if name.is_empty()
            || name.len() > HOSTNAME_BYTES_MAX
            || name.starts_with(['-', '.'])
            || !name.bytes().all(allowed)
        {
            return Err(
                "a host name is 1 to 64 letters, digits, '-' and '.', and starts with a letter or digit",
            );
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Hostname {
    type Error = &'static str;
    fn try_from(name: String) -> Result<Self, &'static str> {
        Self::new(name)
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0
    }
}

/// Which rule of the plan's shape is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShapeError {
    /// More than [`LAYERS_MAX`] layers or [`MOUNTS_MAX`] mounts, or an account file named twice.
    TooMany,
    /// A descriptor is used twice or a number is left out.
    Descriptors,
    /// An image window is empty or its end is not a file offset.
    Window,
    /// Two things that exclude each other: a writable root under layers, a writable squashfs, a host name
    /// without a UTS namespace, an instance without a PID namespace.
    Contradiction,
}

impl Plan {
    /// Every image the plan names: root, layers lowest first, the writable overlay, then data images.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let writable = match &self.writable {
            Writable::Overlay(image) => Some(image),
            Writable::Nothing | Writable::Root | Writable::Tmpfs => None,
        };
        let data = self.mounts.iter().filter_map(|mount| match mount {
            Mount::Data { image, .. } => Some(image),
            _ => None,
        });
        std::iter::once(&self.root).chain(&self.layers).chain(writable).chain(data)
    }

    /// Every bind of a descriptor: home, hostfs and user binds, in order.
    pub fn binds(&self) -> impl Iterator<Item = &Bind> {
        self.mounts.iter().filter_map(|mount| match mount {
            Mount::Home(bind) | Mount::Hostfs(bind) | Mount::User(bind) => Some(bind),
            _ => None,
        })
    }

    /// Checks what can be said of a plan without looking at a descriptor. Decoding does it, and so does encoding:
    /// a frontend that makes a plan out of shape learns it at once.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_shape(&self) -> Result<(), ShapeError> {
        let distinct =
            self.account_files.iter().enumerate().all(|(n, f)| !self.account_files[..n].contains(f));
        if self.layers.len() > LAYERS_MAX || self.mounts.len() > MOUNTS_MAX || !distinct {
            return Err(ShapeError::TooMany);
        }
        self.check_descriptors()?;
        for image in self.images() {
            let (Content::Squashfs(window) | Content::Ext3(window)) = image.content else {
                continue;
            };
            let end = window.offset.checked_add(window.size).and_then(|end| i64::try_from(end).ok());
            if window.size == 0 || end.is_none() {
                return Err(ShapeError::Window);
            }
        }
        let squashfs = |image: &Image| matches!(image.content, Content::Squashfs(_));
        let contradiction = match &self.writable {
            Writable::Root => squashfs(&self.root) || !self.layers.is_empty(),
            Writable::Overlay(image) => squashfs(image),
            Writable::Nothing | Writable::Tmpfs => false,
        };
        let written_squashfs = self
            .mounts
            .iter()
            .any(|mount| matches!(mount, Mount::Data { image, writable: true, .. } if squashfs(image)));
        let nameless = self.hostname.is_some() && !self.namespaces.uts;
        let unended = self.instance && !self.namespaces.pid;
        if contradiction || written_squashfs || nameless || unended {
            return Err(ShapeError::Contradiction);
        }
        Ok(())
    }

    fn check_descriptors(&self) -> Result<(), ShapeError> {
        let images = self.images().map(|image| image.descriptor.0);
        let mut numbers: Vec<u16> = images.chain(self.binds().map(|bind| bind.descriptor.0)).collect();
        numbers.sort_unstable();
        if numbers.iter().enumerate().all(|(n, number)| n == usize::from(*number)) {
            Ok(())
        } else {
            Err(ShapeError::Descriptors)
        }
    }

    /// How many source descriptors the plan uses.
    #[must_use]
    pub fn descriptor_count(&self) -> usize {
        self.images().count() + self.binds().count()
    }
}
