//! The table: every directive of `singularity.conf` that either incumbent knows, once.
//!
//! A row is: field, type, default, name, whose it is, who acts on it here, help. A type in brackets is a list; its
//! default is written into the installed file only, because a file without a line for a list has an empty list.

use crate::parse::{self, ConfigError};
use crate::values::{
    AbsolutePath, BindPath, EnableOverlay, EnableUnderlay, Field, Kind, List, MemoryFsType, MountDev,
    RootCapabilities, Setting, SetuidMountSquashfs,
};

/// One directive, for whoever describes them: the default file, the man page, `config global`, `config check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive {
    /// What stands before the `=`.
    pub name: &'static str,
    /// What one value, or one entry of a list, can be.
    pub kind: Kind,
    /// Whether it may have many values.
    pub list: bool,
    /// Which of the incumbents has it.
    pub origin: Origin,
    /// Who acts on it.
    pub enforcer: Enforcer,
    /// What it does, in lines of the default file's width.
    pub help: &'static [&'static str],
    /// The subject it is filed under in the default file.
    pub subject: &'static str,
}

/// Which incumbent has a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// SingularityCE and Apptainer.
    Both,
    /// SingularityCE only.
    SingularityCe,
    /// Apptainer only.
    Apptainer,
    /// Neither of them.
    Lamina,
}

/// Who acts on a directive here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcer {
    /// The setuid starter; nothing the user runs can get around it.
    Starter,
    /// The frontend: users could do the same without it, so it is a wish and no limit.
    Frontend,
    /// Nobody: what it rules over does not exist here. It is read so that a file that has it still loads.
    Nobody,
}

macro_rules! directives {
    ($( subject $subject:literal { $(
        $field:ident: $type:tt = $default:expr, $name:literal, $origin:ident, $enforcer:ident, [$($help:literal)+];
    )+ } )+) => {
        /// What the site says: a field for every directive of [`TABLE`].
        ///
        /// `Settings::default()` is what holds where nothing is written.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings { $($(
            #[doc = concat!("`", $name, "`")]
            pub $field: directives!(@type $type),
        )+)+ }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($( $field: <directives!(@type $type) as Field>::unwritten($default), )+)+ }
            }
        }

        /// Every directive, in the order of the default file.
        pub const TABLE: &[Directive] = &[ $($( Directive {
            name: $name,
            kind: <directives!(@type $type) as Field>::KIND,
            list: <directives!(@type $type) as Field>::LIST,
            origin: Origin::$origin,
            enforcer: Enforcer::$enforcer,
            help: &[$($help),+],
            subject: $subject,
        }, )+)+ ];

        impl Settings {
            /// What the installed file says: the defaults, and the entries that its lists start with.
            #[must_use]
            pub fn as_installed() -> Self {
                Self { $($( $field: <directives!(@type $type) as Field>::installed($default), )+)+ }
            }

            /// The values of a directive as they would be written; `None` for a name that is not in the table.
            /// A directive without any value, such as an empty list, has no texts.
            #[must_use]
            pub fn texts(&self, name: &str) -> Option<Vec<String>> {
                match name {
                    $($( $name => Some(self.$field.texts()), )+)+
                    _ => None,
                }
            }

            /// Takes the value of one line. A name that is not in the table is passed over.
            pub(crate) fn set(&mut self, name: &str, value: &[u8], line: u32) -> Result<(), ConfigError> {
                match name {
                    $($( $name => parse::write(&mut self.$field, $name, value, line), )+)+
                    _ => Ok(()),
                }
            }
        }
    };
    (@type [$entry:ty]) => { List<$entry> };
    (@type $value:ty) => { Setting<$value> };
}

directives! {
    subject "Privilege" {
        allow_setuid: bool = true, "allow setuid", Both, Starter,
            ["Whether the setuid starter works at all. With 'no' containers run only where the kernel"
             "lets users make user namespaces."];
        allow_user_ns: bool = true, "allow user ns", Both, Frontend,
            ["Whether containers may be run in a user namespace. The kernel decides in the end: where it"
             "allows them to users, this does not stop anybody."];
        max_loop_devices: u32 = 256, "max loop devices", Both, Starter,
            ["Loop devices with this number or a higher one are left alone."];
        shared_loop_devices: bool = false, "shared loop devices", Both, Starter,
            ["Whether containers that read the same image share one loop device."];
    }
    subject "Namespaces" {
        allow_pid_ns: bool = true, "allow pid ns", Both, Starter,
            ["Whether a container may have process ids of its own."];
        allow_ipc_ns: bool = true, "allow ipc ns", Both, Starter,
            ["Whether a container may have System V IPC and message queues of its own."];
        allow_uts_ns: bool = true, "allow uts ns", Both, Starter,
            ["Whether a container may have a host name of its own."];
    }
    subject "Files written for the container" {
        config_passwd: bool = true, "config passwd", Both, Starter,
            ["Whether the caller is entered into the container's /etc/passwd."];
        config_group: bool = true, "config group", Both, Starter,
            ["Whether the caller's groups are entered into the container's /etc/group."];
        config_resolv_conf: bool = true, "config resolv_conf", Both, Starter,
            ["Whether the container sees the host's /etc/resolv.conf."];
    }
    subject "Mounts of the site" {
        mount_proc: bool = true, "mount proc", Both, Starter,
            ["Whether /proc is mounted."];
        mount_sys: bool = true, "mount sys", Both, Starter,
            ["Whether /sys is mounted."];
        mount_dev: MountDev = MountDev::Yes, "mount dev", Both, Starter,
            ["'yes' shows the host's /dev, 'minimal' a new one with null, zero, random, terminals and shared"
             "memory, 'no' leaves the image's own directory."];
        mount_devpts: bool = true, "mount devpts", Both, Starter,
            ["Whether a minimal /dev gets terminals of its own."];
        mount_home: bool = true, "mount home", Both, Starter,
            ["Whether the caller's home directory is mounted."];
        mount_tmp: bool = true, "mount tmp", Both, Starter,
            ["Whether the host's /tmp and /var/tmp are mounted."];
        mount_hostfs: bool = false, "mount hostfs", Both, Starter,
            ["Whether every file system mounted on the host is mounted in the container at its own place."];
        bind_path: [BindPath] = &["/etc/localtime", "/etc/hosts"], "bind path", Both, Starter,
            ["Files and directories that every container sees: 'source' or 'source:destination'. Write one"
             "line for each. Without a line there are none."];
        mount_slave: bool = true, "mount slave", Both, Starter,
            ["Whether file systems that the host mounts later appear in containers that already run, with the"
             "host's flags."];
        user_bind_control: bool = true, "user bind control", Both, Starter,
            ["Whether users may bind files and directories of their choice."];
        enable_fusemount: bool = true, "enable fusemount", Both, Frontend,
            ["Whether users may have FUSE file systems mounted for them."];
    }
    subject "Overlays" {
        enable_overlay: EnableOverlay = EnableOverlay::Try, "enable overlay", Both, Starter,
            ["Whether overlays are mounted by the kernel. 'try' means 'yes', 'driver' through FUSE only,"
             "'no' not at all."];
        enable_underlay: EnableUnderlay = EnableUnderlay::Yes, "enable underlay", Both, Starter,
            ["Whether mount points that an image lacks may be made by binding what is around them, where no"
             "overlay can. 'preferred' does that even where an overlay could."];
        sessiondir_max_size: u32 = 64, "sessiondir max size", Both, Starter,
            ["Memory in MiB for what a container writes into '--writable-tmpfs', scratch and contained"
             "directories, all together. Root is not limited."];
        memory_fs_type: MemoryFsType = MemoryFsType::Tmpfs, "memory fs type", Both, Starter,
            ["File system of that memory. A ramfs has no limit: users could fill the host's memory."];
        sync_writable_extfs: bool = false, "sync writable extfs", Apptainer, Starter,
            ["Whether every write to an ext3 overlay waits for the disk. Slow; protects against a host that"
             "fails, no more."];
        tmp_sandbox: bool = true, "tmp sandbox", SingularityCe, Frontend,
            ["Whether an image that cannot be mounted may be unpacked into a temporary directory."];
    }
    subject "Which images may run" {
        limit_container_owners: [String] = &[], "limit container owners", Both, Starter,
            ["Only images that these users own, by name or number. Limits do not bind root, nor users who"
             "can make user namespaces. They hold for overlays and data images too."];
        limit_container_groups: [String] = &[], "limit container groups", Both, Starter,
            ["Only images that these groups own, by name or number."];
        limit_container_paths: [AbsolutePath] = &[], "limit container paths", Both, Starter,
            ["Only images in these directories or below."];
        allow_container_sif: bool = true, "allow container sif", Both, Starter,
            ["Whether SIF images may be used."];
        allow_container_encrypted: bool = true, "allow container encrypted", Both, Nobody,
            ["Whether encrypted SIF images may be used. There is no support for them."];
        allow_container_squashfs: bool = true, "allow container squashfs", Both, Starter,
            ["Whether bare squashfs images may be used."];
        allow_container_extfs: bool = true, "allow container extfs", Both, Starter,
            ["Whether bare ext3 images may be used."];
        allow_container_dir: bool = true, "allow container dir", Both, Starter,
            ["Whether directories may be used as containers."];
    }
    subject "What the kernel may mount for users" {
        allow_kernel_squashfs: bool = true, "allow kernel squashfs", SingularityCe, Starter,
            ["Whether the kernel may read squashfs images that users could have written. With 'no' here or"
             "in 'allow setuid-mount squashfs' they are mounted through FUSE."];
        allow_kernel_extfs: bool = true, "allow kernel extfs", SingularityCe, Starter,
            ["Whether the kernel may read and write ext3 images that users could have written. A kernel"
             "driver trusts what is on the disk, down to the block device of the journal; with 'no' here or in"
             "'allow setuid-mount extfs' such images are mounted through FUSE."];
        allow_image_overlay_on_dir: bool = false, "allow image overlay on dir", Lamina, Starter,
            ["Whether users may put a writable overlay image on a directory through the kernel. When its user"
             "renames a file, the kernel copies it into the image, unreadable ones of the directory too, and"
             "whoever owns the image can read it there. With 'no' such overlays are made through FUSE."];
        allow_setuid_mount_squashfs: SetuidMountSquashfs = SetuidMountSquashfs::Yes,
            "allow setuid-mount squashfs", Apptainer, Starter,
            ["The other name of 'allow kernel squashfs'. 'iflimited' means 'yes' where there is a"
             "'limit container' directive and 'no' where there is none."];
        allow_setuid_mount_extfs: bool = true, "allow setuid-mount extfs", Apptainer, Starter,
            ["The other name of 'allow kernel extfs'."];
        allow_setuid_mount_encrypted: bool = true, "allow setuid-mount encrypted", Apptainer, Nobody,
            ["Whether the kernel may decrypt images of users. There is no support for them."];
    }
    subject "Programs" {
        binary_path: String = "$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "binary path", Apptainer, Frontend,
            ["Where helper programs are looked for; '$PATH' stands for the caller's. They run as the caller,"
             "never as root."];
        root_search_path: String = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "root search path", SingularityCe, Nobody,
            ["Where helper programs that run as root would be looked for. None does."];
        user_search_path: String = "$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "user search path", SingularityCe, Frontend,
            ["The other name of 'binary path', which wins where both are written."];
        mksquashfs_path: String = String::new(), "mksquashfs path", SingularityCe, Frontend,
            ["The mksquashfs program; empty to look for it."];
        unsquashfs_path: String = String::new(), "unsquashfs path", SingularityCe, Frontend,
            ["The unsquashfs program; empty to look for it."];
        mksquashfs_procs: u32 = 0, "mksquashfs procs", Both, Frontend,
            ["Processors that mksquashfs may use; 0 for all."];
        mksquashfs_mem: String = String::new(), "mksquashfs mem", Both, Frontend,
            ["Memory that mksquashfs may use, such as 512M or 1G; empty for its own choice."];
        cryptsetup_path: String = String::new(), "cryptsetup path", SingularityCe, Nobody,
            ["The cryptsetup program. Encrypted images are not supported."];
        ldconfig_path: String = String::new(), "ldconfig path", SingularityCe, Frontend,
            ["The ldconfig program, for finding the libraries of a GPU; empty to look for it."];
        nvidia_container_cli_path: String = String::new(), "nvidia-container-cli path", SingularityCe, Nobody,
            ["The nvidia-container-cli program."];
        go_path: String = String::new(), "go path", SingularityCe, Nobody,
            ["The go program, for compiling plugins. There are no plugins."];
    }
    subject "Downloads" {
        download_concurrency: u32 = 3, "download concurrency", Both, Nobody,
            ["Parts of an image that are downloaded at the same time."];
        download_part_size: u32 = 5_242_880, "download part size", Both, Nobody,
            ["Bytes of one such part."];
        download_buffer_size: u32 = 32_768, "download buffer size", Both, Nobody,
            ["Bytes of the buffer of each."];
    }
    subject "GPUs" {
        always_use_nv: bool = false, "always use nv", Both, Frontend,
            ["Whether every container gets '--nv'."];
        always_use_rocm: bool = false, "always use rocm", Both, Frontend,
            ["Whether every container gets '--rocm'."];
        use_nvidia_container_cli: bool = false, "use nvidia-container-cli", Both, Nobody,
            ["Whether '--nv' asks nvidia-container-cli what to bind."];
    }
    subject "Networks" {
        allow_net_users: [String] = &[], "allow net users", Both, Nobody,
            ["Users who may join the networks of 'allow net networks'."];
        allow_net_groups: [String] = &[], "allow net groups", Both, Nobody,
            ["Groups whose members may."];
        allow_net_networks: [String] = &[], "allow net networks", Both, Nobody,
            ["CNI networks that users may join."];
        allow_netns_paths: [AbsolutePath] = &[], "allow netns paths", Both, Nobody,
            ["Network namespaces that users may join."];
        cni_configuration_path: String = String::new(), "cni configuration path", Both, Nobody,
            ["Where CNI networks are described."];
        cni_plugin_path: String = String::new(), "cni plugin path", Both, Nobody,
            ["Where CNI plugins are."];
    }
    subject "Others" {
        root_default_capabilities: RootCapabilities = RootCapabilities::Full, "root default capabilities", Both, Frontend,
            ["Capabilities that root keeps in a container: all of them, those that capability.json grants to"
             "root, or none. Users have none."];
        systemd_cgroups: bool = true, "systemd cgroups", Both, Nobody,
            ["Whether systemd makes the control groups of containers with limits. They are made without it."];
        image_driver: String = String::new(), "image driver", Apptainer, Nobody,
            ["The plugin that mounts images. There are no plugins."];
        sif_fuse: bool = false, "sif fuse", SingularityCe, Nobody,
            ["Whether SIF images are mounted through FUSE. That happens wherever the kernel may not."];
        oci_mode: bool = false, "oci mode", SingularityCe, Frontend,
            ["Whether '--oci' is implied."];
        allow_monitoring: bool = false, "allow monitoring", Apptainer, Nobody,
            ["Whether containers report to a monitoring service."];
        apptheus_communication_socket_path: AbsolutePath = AbsolutePath::from_static("/run/apptheus/gateway.sock"),
            "apptheus communication socket path", Apptainer, Nobody,
            ["The socket of that service."];
    }
}
