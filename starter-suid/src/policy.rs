//! What the site allows: facts in, [`Permit`] or [`Refusal`] out. Nothing here touches the outside.
//!
//! Policy guards what root lends. When root itself is asking, only the directives that describe the container
//! (what is mounted, which types) apply; the limits on owners, groups, paths and directories do not.

use crate::audit_log::CUT;
use crate::caller::Caller;
use crate::evidence::Facts;
use crate::refusal::Refusal;
use crate::superblock::Superblock;
use config::{EnableOverlay, MemoryFsType, MountDev, MountPoints, Setting, Settings};
use protocol::{
    AccountFile, Bind, ContainerPath, Content, Dev, Image, Mount, Plan, Scratch, Window, Writable,
};
use rustix::fs::FileType;

/// A plan that may be carried out, and how the site wants it done. For what root lends, only [`judge`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    /// The plan that was judged; nothing decodes it again.
    pub plan: Plan,
    /// The site's orders.
    pub orders: Orders,
    /// What was permitted, in one line for the log.
    pub description: String,
}

/// How the site wants a permitted plan carried out.
#[derive(Debug, PartialEq, Eq)]
pub struct Orders {
    /// Mounts that the host makes later appear in the container.
    pub slave: bool,
    /// Size limit of the session's memory in bytes; `None` for root.
    pub session_bytes: Option<u64>,
    /// `ramfs` instead of `tmpfs`.
    pub ramfs: bool,
    /// Loop device numbers below this may be used.
    pub loop_devices_max: u32,
    /// Read-only loop devices of the same caller on the same window may be shared.
    pub loop_devices_shared: bool,
    /// Writable ext3 is mounted with `sync`.
    pub sync_ext3: bool,
    /// How mount points that the image lacks are made.
    pub mount_points: MountPoints,
    /// `devpts` in a minimal `/dev`.
    pub devpts: bool,
    /// Host sources of the plan's site binds, in the order of their appearance.
    pub site_binds: Vec<Vec<u8>>,
    /// The mounts are made in a user namespace, where the kernel allows less.
    pub in_user_namespace: bool,
}

/// The lists of `limit container …`, names already turned into numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Owners an image may have; empty for no limit.
    pub owners: Vec<u32>,
    /// Groups an image may have; empty for no limit.
    pub groups: Vec<u32>,
    /// Directories an image may be in, as opened from this mount namespace; empty for no limit.
    pub paths: Vec<Vec<u8>>,
}

/// Magic numbers of file systems whose files are interfaces, not storage (`linux/magic.h`).
const PSEUDO_FILE_SYSTEMS: &[u64] = &[
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x0027_e0eb,
    0x6367_7270,
    0x6e73_6673,
    0x7363_6673,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0xf97c_ff8c,
    0x6265_6570,
    0x4249_4e4d,
    0x9584_58f6,
    0x0904_1934,
    0x1980_0202,
    0x5049_4446,
];
/// `FUSE_SUPER_MAGIC`: a server of the caller's decides what the file holds, anew at each read.
const FUSE: u64 = 0x6573_5546;

/// What `mount hostfs` leaves to `mount proc`, `mount sys` and `mount dev`.
const NOT_HOSTFS: [&[u8]; 3] = [b"/proc", b"/sys", b"/dev"];

/// Bytes of an image's place that a line of the log has room for beside everything else. A longer one ends as a line does
/// that was cut; the numbers before it say which file it is.
const LOGGED_PLACE_BYTES_MAX: usize = 256;

/// Least size of the session's memory in bytes: to a tmpfs, 0 is no limit at all.
const SESSION_BYTES_MIN: u64 = 4096;

/// Judges a plan.
pub fn judge(
    caller: &Caller,
    site: &Settings,
    limits: &Limits,
    plan: Plan,
    facts: &[&Facts],
) -> Result<Permit, Refusal> {
    let court = Court { caller, site, limits, facts };
    court.workflow(&plan)?;
    court.overlay(&plan)?;
    for (image, role) in roles(&plan) {
        court.image(image, role)?;
    }
    court.image_over_directory(&plan)?;
    let site_binds = court.mounts(&plan)?;
    court.account_files(&plan)?;
    let session_bytes = (!caller.is_root()).then(|| session_bytes(site));
    let orders = orders(site, session_bytes, site_binds);
    let description = describe(&plan, facts);
    Ok(Permit { plan, orders, description })
}

/// Permits what the caller makes with privileges of his own, in his own user namespace: the site's file says how a
/// container looks, and forbids nothing.
pub fn permit_own(site: &Settings, plan: Plan, facts: &[&Facts]) -> Result<Permit, Refusal> {
    let destinations = plan.mounts.iter().filter_map(|mount| match mount {
        Mount::SiteBind(destination) => Some(destination),
        _ => None,
    });
    let site_binds =
        destinations.map(|destination| site_bind(site, destination)).collect::<Result<_, _>>()?;
    let orders = Orders { in_user_namespace: true, ..orders(site, Some(session_bytes(site)), site_binds) };
    let description = describe(&plan, facts);
    Ok(Permit { plan, orders, description })
}

fn orders(site: &Settings, session_bytes: Option<u64>, site_binds: Vec<Vec<u8>>) -> Orders {
    Orders {
        slave: site.mount_slave.value,
        session_bytes,
        ramfs: site.memory_fs_type.value == MemoryFsType::Ramfs,
        loop_devices_max: site.max_loop_devices.value,
        loop_devices_shared: site.shared_loop_devices.value,
        sync_ext3: site.sync_writable_extfs.value,
        mount_points: site.mount_points(),
        devpts: site.mount_devpts.value,
        site_binds,
        in_user_namespace: false,
    }
}

/// What an image is for, which decides what must be true of its descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Root { writable: bool },
    Overlay { writable: bool },
    Data { writable: bool },
}

fn roles(plan: &Plan) -> impl Iterator<Item = (&Image, Role)> {
    let root = (&plan.root, Role::Root { writable: plan.writable == Writable::Root });
    let layers = plan.layers.iter().map(|image| (image, Role::Overlay { writable: false }));
    let upper = match &plan.writable {
        Writable::Overlay(image) => Some((image, Role::Overlay { writable: true })),
        _ => None,
    };
    let data = plan.mounts.iter().filter_map(|mount| match mount {
        Mount::Data { image, writable, .. } => Some((image, Role::Data { writable: *writable })),
        _ => None,
    });
    std::iter::once(root).chain(layers).chain(upper).chain(data)
}

/// `root=squashfs(8:1,131,"/images/a.sif") layers=1 writable=overlay(…) mounts=12`.
fn describe(plan: &Plan, facts: &[&Facts]) -> String {
    let image = |image: &Image| {
        let kind = match image.content {
            Content::Squashfs(_) => "squashfs",
            Content::Ext3(_) => "ext3",
            Content::Directory => "directory",
        };
        let facts = facts.get(usize::from(image.descriptor.0));
        let (device, inode) = facts.map_or((0, 0), |facts| facts.identity);
        let place = facts.and_then(|facts| facts.place.as_deref()).unwrap_or(b"?");
        let mut place = place.escape_ascii().to_string();
        if place.len() > LOGGED_PLACE_BYTES_MAX {
            place.truncate(LOGGED_PLACE_BYTES_MAX);
            place += CUT;
        }
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        format!("{kind}({major}:{minor},{inode},\"{place}\")")
    };
    let writable = match &plan.writable {
        Writable::Nothing => "no".to_owned(),
        Writable::Root => "root".to_owned(),
        Writable::Tmpfs => "tmpfs".to_owned(),
        Writable::Overlay(overlay) => format!("overlay={}", image(overlay)),
    };
    let (layers, mounts) = (plan.layers.len(), plan.mounts.len());
    format!("root={} writable={writable} layers={layers} mounts={mounts}", image(&plan.root))
}

fn session_bytes(site: &Settings) -> u64 {
    (u64::from(site.sessiondir_max_size.value) << 20).max(SESSION_BYTES_MIN)
}

/// Whether root lends anything at all, and be it the way into a container that is there already.
pub fn lends(caller: &Caller, site: &Settings) -> Result<(), Refusal> {
    if caller.is_root() {
        return Ok(());
    }
    require(&site.allow_setuid, "allow setuid", "suid workflow disabled by administrator")
}

struct Court<'a> {
    caller: &'a Caller,
    site: &'a Settings,
    limits: &'a Limits,
    facts: &'a [&'a Facts],
}

impl Court<'_> {
    fn workflow(&self, plan: &Plan) -> Result<(), Refusal> {
        lends(self.caller, self.site)?;
        let namespaces = plan.namespaces;
        if namespaces.pid {
            require(&self.site.allow_pid_ns, "allow pid ns", "a PID namespace is not allowed")?;
        }
        if namespaces.ipc {
            require(&self.site.allow_ipc_ns, "allow ipc ns", "an IPC namespace is not allowed")?;
        }
        if namespaces.uts {
            require(&self.site.allow_uts_ns, "allow uts ns", "a UTS namespace is not allowed")?;
        }
        Ok(())
    }

    fn overlay(&self, plan: &Plan) -> Result<(), Refusal> {
        let setting = &self.site.enable_overlay;
        let asked = match plan.writable {
            Writable::Tmpfs => "--writable-tmpfs",
            Writable::Overlay(_) => "overlay images",
            Writable::Nothing | Writable::Root if plan.layers.is_empty() => return Ok(()),
            Writable::Nothing | Writable::Root => "overlay images",
        };
        if self.site.kernel_overlay() {
            return Ok(());
        }
        let text = match setting.value {
            EnableOverlay::Driver => format!("{asked} through the kernel are disabled by administrator"),
            _ => format!("{asked} requires 'enable overlay = yes': set to 'no' by administrator"),
        };
        Err(Refusal::by_site(&text, "enable overlay", setting.line))
    }

    fn image(&self, image: &Image, role: Role) -> Result<(), Refusal> {
        let facts = self.facts_of(image.descriptor)?;
        if PSEUDO_FILE_SYSTEMS.contains(&facts.file_system) {
            return Err(Refusal::new("an image cannot be a file of the kernel's own file systems"));
        }
        match image.content {
            Content::Directory => self.directory(facts, role)?,
            Content::Squashfs(window) => self.squashfs(facts, window)?,
            Content::Ext3(window) => self.ext3(facts, window, role)?,
        }
        if self.caller.is_root() { Ok(()) } else { self.limits(facts) }
    }

    fn directory(&self, facts: &Facts, role: Role) -> Result<(), Refusal> {
        if facts.kind != FileType::Directory {
            return Err(Refusal::new("the plan says directory of something that is none"));
        }
        let text = "configuration disallows users from running sandbox based containers";
        require(&self.site.allow_container_dir, "allow container dir", text)?;
        if facts.mounted_over && !self.caller.is_root() {
            return Err(hidden_beneath());
        }
        match role {
            Role::Root { .. } => Ok(()),
            Role::Overlay { .. } if self.caller.is_root() => Ok(()),
            Role::Overlay { .. } => {
                Err(Refusal::new("only root user can use sandbox as overlay in setuid mode")
                    .hint("use an overlay image instead: 'overlay create' makes one"))
            }
            Role::Data { .. } => Err(Refusal::new("a data image must be a file; bind a directory instead")),
        }
    }

    /// Copying up acts with the overlay's rights and not with the caller's. What he may not read in a directory he could
    /// read in an image that is his own; in images, root, layers and copies are his alike.
    fn image_over_directory(&self, plan: &Plan) -> Result<(), Refusal> {
        let Writable::Overlay(upper) = &plan.writable else {
            return Ok(());
        };
        let is_directory = |image: &Image| image.content == Content::Directory;
        let beneath = is_directory(&plan.root) || plan.layers.iter().any(is_directory);
        if self.caller.is_root() || is_directory(upper) || !beneath {
            return Ok(());
        }
        let text = "a writable overlay image on a directory would show its user what he may not read in it";
        require(&self.site.allow_image_overlay_on_dir, "allow image overlay on dir", text)
    }

    fn squashfs(&self, facts: &Facts, window: Window) -> Result<(), Refusal> {
        self.container_type(
            facts,
            &self.site.allow_container_squashfs,
            "allow container squashfs",
            "squashFS",
        )?;
        let (allowed, directive, line) = self.site.kernel_squashfs();
        if !allowed && !self.caller.is_root() {
            return Err(Refusal::by_site("squashfs image mounts are not authorized", directive, line));
        }
        match facts.superblock {
            Some(Superblock::Squashfs { bytes }) if bytes <= window.size => window_inside(facts, window),
            _ => Err(Refusal::new("there is no squashfs where the plan says that one is")),
        }
    }

    fn ext3(&self, facts: &Facts, window: Window, role: Role) -> Result<(), Refusal> {
        self.container_type(facts, &self.site.allow_container_extfs, "allow container extfs", "extFS")?;
        let (allowed, directive, line) = self.site.kernel_extfs();
        if !allowed && !self.caller.is_root() {
            return Err(Refusal::by_site("ext3 image mounts are not authorized", directive, line));
        }
        let (Role::Root { writable } | Role::Overlay { writable } | Role::Data { writable }) = role;
        if writable && !facts.writable {
            return Err(Refusal::new("an image to be written was not opened for writing"));
        }
        match facts.superblock {
            Some(Superblock::Ext3 { unclean: true, .. }) if !writable => Err(Refusal::new(
                "an ext3 that is only read was not closed properly, and would be shown as it was",
            )
            .hint("use it once for writing, or run 'e2fsck -fy' on it")),
            Some(Superblock::Ext3 { bytes, .. }) if bytes <= window.size => window_inside(facts, window),
            _ => Err(Refusal::new("there is no ext3 where the plan says that one is")),
        }
    }

    /// The directive for the container's type: a SIF is one whatever its partitions hold.
    fn container_type(
        &self,
        facts: &Facts,
        bare: &Setting<bool>,
        directive: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        if facts.kind != FileType::RegularFile || !facts.readable {
            return Err(Refusal::new("an image must be a regular file, opened for reading"));
        }
        let (setting, directive, name) = if facts.in_sif {
            (&self.site.allow_container_sif, "allow container sif", "SIF")
        } else {
            (bare, directive, name)
        };
        require(
            setting,
            directive,
            &format!("configuration disallows users from running {name} based containers"),
        )
    }

    fn limits(&self, facts: &Facts) -> Result<(), Refusal> {
        let Limits { owners, groups, paths } = self.limits;
        let Some((directive, line)) = self.first_limit() else {
            return Ok(());
        };
        if facts.links == 0 || facts.file_system == FUSE {
            let text = "where images are limited, one without a name or on FUSE is not allowed";
            return Err(Refusal::by_site(text, directive, line));
        }
        let refuse = |text, directive, line| Err(Refusal::by_site(text, directive, line));
        if !owners.is_empty() && !owners.contains(&facts.uid) {
            let text = "singularity image is not owned by required user(s)";
            return refuse(text, "limit container owners", line_of(&self.site.limit_container_owners));
        }
        if !groups.is_empty() && !groups.contains(&facts.gid) {
            let text = "singularity image is not owned by required group(s)";
            return refuse(text, "limit container groups", line_of(&self.site.limit_container_groups));
        }
        let inside = |limit: &Vec<u8>| facts.place.as_ref().is_some_and(|place| is_below(place, limit));
        if !paths.is_empty() && !paths.iter().any(inside) {
            let text = "singularity image is not in an allowed configured path";
            return refuse(text, "limit container paths", line_of(&self.site.limit_container_paths));
        }
        Ok(())
    }

    /// The first limit that there is: its directive and line.
    fn first_limit(&self) -> Option<(&'static str, Option<u32>)> {
        let site = self.site;
        let owners = (!self.limits.owners.is_empty())
            .then(|| ("limit container owners", line_of(&site.limit_container_owners)));
        let groups = (!self.limits.groups.is_empty())
            .then(|| ("limit container groups", line_of(&site.limit_container_groups)));
        let paths = (!self.limits.paths.is_empty())
            .then(|| ("limit container paths", line_of(&site.limit_container_paths)));
        owners.or(groups).or(paths)
    }

    /// Judges each mount; returns the host sources of the site binds.
    fn mounts(&self, plan: &Plan) -> Result<Vec<Vec<u8>>, Refusal> {
        let site = self.site;
        let mut site_binds = Vec::new();
        let homes = plan.mounts.iter().filter(|mount| is_home(mount)).count();
        if homes > 1 {
            return Err(Refusal::new(format!(
                "the plan has {homes} home directories, and a container has one"
            )));
        }
        for mount in &plan.mounts {
            match mount {
                Mount::Dev(dev) => self.dev(*dev)?,
                Mount::Proc => require(&site.mount_proc, "mount proc", "/proc is not mounted here")?,
                Mount::Sys => require(&site.mount_sys, "mount sys", "/sys is not mounted here")?,
                Mount::Tmp | Mount::VarTmp => self.temporary()?,
                Mount::ResolvConf => {
                    require(
                        &site.config_resolv_conf,
                        "config resolv_conf",
                        "resolv.conf is not mounted here",
                    )?;
                }
                Mount::SiteBind(destination) => site_binds.push(site_bind(site, destination)?),
                Mount::Home(bind) => self.home(bind)?,
                Mount::Hostfs(bind) => self.hostfs(bind)?,
                Mount::User(_) | Mount::Data { .. } => self.user_bind()?,
                Mount::Scratch { destination, purpose } => self.scratch(destination, *purpose)?,
            }
        }
        Ok(site_binds)
    }

    fn dev(&self, dev: Dev) -> Result<(), Refusal> {
        let setting = &self.site.mount_dev;
        match (setting.value, dev) {
            (MountDev::Yes, _) | (MountDev::Minimal, Dev::Minimal { .. }) => Ok(()),
            (MountDev::Minimal, Dev::Host) => {
                Err(Refusal::by_site("only a minimal /dev is mounted here", "mount dev", setting.line))
            }
            (MountDev::No, _) => Err(Refusal::by_site("/dev is not mounted here", "mount dev", setting.line)),
        }
    }

    /// Without user bind control, a home is only what belongs to the caller, at its own path.
    fn home(&self, bind: &Bind) -> Result<(), Refusal> {
        self.any_home()?;
        let facts = self.facts_of(bind.descriptor)?;
        let own = facts.uid == self.caller.uid.as_raw() && is_at_destination(facts, bind);
        if own { Ok(()) } else { self.user_bind() }
    }

    /// What directives of their own speak of is no part of it.
    fn hostfs(&self, bind: &Bind) -> Result<(), Refusal> {
        require(&self.site.mount_hostfs, "mount hostfs", "the host's file systems are not mounted here")?;
        let facts = self.facts_of(bind.descriptor)?;
        let own = NOT_HOSTFS.iter().any(|folder| is_below(bind.destination.as_bytes(), folder));
        if facts.mount_root && is_at_destination(facts, bind) && !own {
            return Ok(());
        }
        Err(Refusal::new(format!("{} is not a mount point of the host", bind.destination)))
    }

    /// The empty directories of a contained run follow the directives of what they stand in for; any other place is
    /// one that the user chose.
    fn scratch(&self, destination: &ContainerPath, purpose: Scratch) -> Result<(), Refusal> {
        let temporary = [&b"/tmp"[..], b"/var/tmp"].contains(&destination.as_bytes());
        match purpose {
            Scratch::Tmp if temporary => self.temporary(),
            Scratch::Home => self.any_home(),
            Scratch::Tmp | Scratch::Work => self.user_bind(),
        }
    }

    fn temporary(&self) -> Result<(), Refusal> {
        let text = "temporary directories are not mounted here";
        require(&self.site.mount_tmp, "mount tmp", text)
    }

    fn any_home(&self) -> Result<(), Refusal> {
        let text = "home directories are not mounted here";
        require(&self.site.mount_home, "mount home", text)
    }

    fn user_bind(&self) -> Result<(), Refusal> {
        let text = "binds chosen by the user are not allowed";
        require(&self.site.user_bind_control, "user bind control", text)
    }

    fn account_files(&self, plan: &Plan) -> Result<(), Refusal> {
        for file in &plan.account_files {
            match file {
                AccountFile::Passwd => {
                    require(&self.site.config_passwd, "config passwd", "passwd is not changed here")?
                }
                AccountFile::Group => {
                    require(&self.site.config_group, "config group", "group is not changed here")?
                }
                AccountFile::ResolvConf => require(
                    &self.site.config_resolv_conf,
                    "config resolv_conf",
                    "resolv.conf is not changed here",
                )?,
                AccountFile::Hostname => {}
            }
        }
        Ok(())
    }

    fn facts_of(&self, descriptor: protocol::Descriptor) -> Result<&Facts, Refusal> {
        let facts = self.facts.get(usize::from(descriptor.0)).copied();
        facts.ok_or_else(|| Refusal::new("the plan names a descriptor that does not exist"))
    }
}

/// The host's side of the `bind path` line with this destination.
fn site_bind(site: &Settings, destination: &ContainerPath) -> Result<Vec<u8>, Refusal> {
    let lines = site.bind_path.iter().map(|entry| config::bind_path_parts(&entry.value));
    lines
        .into_iter()
        .find(|(_, there)| there.as_bytes() == destination.as_bytes())
        .map(|(source, _)| source.as_bytes().to_vec())
        .ok_or_else(|| {
            Refusal::new(format!("no 'bind path' line of the site has the destination {destination}"))
        })
}

fn require(setting: &Setting<bool>, directive: &str, text: &str) -> Result<(), Refusal> {
    if setting.value { Ok(()) } else { Err(Refusal::by_site(text, directive, setting.line)) }
}

fn line_of<T>(entries: &[Setting<T>]) -> Option<u32> {
    entries.first().and_then(|entry| entry.line)
}

fn window_inside(facts: &Facts, window: Window) -> Result<(), Refusal> {
    match window.offset.checked_add(window.size) {
        Some(end) if end <= facts.size => Ok(()),
        _ => Err(Refusal::new("the plan names a part of an image that lies outside its file")),
    }
}

/// Why a directory is no image.
pub fn hidden_beneath() -> Refusal {
    Refusal::new("a file system is mounted in the directory, and a container would show what that hides")
        .hint("unmount it, or copy the directory")
}

fn is_home(mount: &Mount) -> bool {
    matches!(mount, Mount::Home(_) | Mount::Scratch { purpose: Scratch::Home, .. })
}

fn is_at_destination(facts: &Facts, bind: &Bind) -> bool {
    facts.place.as_deref() == Some(bind.destination.as_bytes())
}

/// Whether `path` is `folder` or below it, component by component. Both come from the kernel: absolute, canonical.
pub fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder == b"/" || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
pub mod tests;
