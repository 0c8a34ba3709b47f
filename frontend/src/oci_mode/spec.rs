//! From a planned container to what an OCI runtime is told: `config.json` of the OCI runtime specification 1.0.2. Nothing
//! here looks at the host.

use super::user::User;
use crate::intent::capability_names;
use protocol::{Bind, ContainerPath, Descriptor, Dev, Mount, Plan, Scratch, Writable};
use rustix::thread::CapabilitySet;
use serde::Serialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The version of the specification, which crun 1.0 and runc 1.0 know.
const VERSION: &str = "1.0.2";
/// What of the kernel's own files no container reads: the list of every runtime.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// What of them no container writes.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Everything that decides what the runtime is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    /// What is mounted, and which namespaces there are.
    pub(super) plan: &'a Plan,
    /// Where the plan's descriptors are, in order.
    pub(super) places: &'a [PathBuf],
    /// The `bind path` lines of the site: sources and destinations.
    pub(super) site_binds: &'a [(PathBuf, ContainerPath)],
    /// The names below `/dev` of the host's graphics processors.
    pub(super) gpu_nodes: &'a [String],
    /// Files of this container's own, and their places in it.
    pub(super) own_files: &'a [(PathBuf, &'static str)],
    /// The assembled root.
    pub(super) root: &'a Path,
    /// Who its processes are.
    pub(super) user: &'a User,
    /// The caller's ids, which become the user's in a namespace of its own; none where the ids are the host's.
    pub(super) caller: Option<(u32, u32)>,
    /// Whether this is no user namespace at all.
    pub(super) is_hosts_root: bool,
    /// What the first process may do.
    pub(super) capabilities: CapabilitySet,
    /// The first process's program and its arguments.
    pub(super) arguments: &'a [&'a str],
    /// The terminal of its own that it gets, if any.
    pub(super) terminal: Option<Terminal>,
    /// What a file system in memory holds at most, in MiB; no bound for none.
    pub(super) memory_mib: Option<u32>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Serialize, PartialEq, Eq, Debug)]
pub(super) struct Terminal {
    pub(super) height: u16,
    pub(super) width: u16,
}

/// `config.json`
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    oci_version: &'static str,
    process: Process,
    root: Root,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    mounts: Vec<SpecMount>,
    linux: Linux,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<Terminal>,
    user: Ids,
    args: Vec<String>,
    env: [&'static str; 0],
    cwd: &'static str,
    capabilities: Capabilities,
    no_new_privileges: bool,
}

#[derive(Serialize, Debug)]
struct Ids {
    uid: u32,
    gid: u32,
}

#[derive(Serialize, Debug)]
struct Capabilities {
    bounding: Vec<String>,
    effective: Vec<String>,
    permitted: Vec<String>,
    inheritable: [String; 0],
    ambient: [String; 0],
}

#[derive(Serialize, Debug)]
struct Root {
    path: String,
    readonly: bool,
}

#[derive(Serialize, PartialEq, Eq, Debug)]
struct SpecMount {
    destination: String,
    #[serde(rename = "type")]
    kind: &'static str,
    source: String,
    options: Vec<String>,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<Namespace>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uid_mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gid_mappings: Vec<Mapping>,
    masked_paths: Vec<&'static str>,
    readonly_paths: Vec<&'static str>,
}

#[derive(Serialize, Debug)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize, Debug)]
struct Mapping {
    #[serde(rename = "containerID")]
    inside: u32,
    #[serde(rename = "hostID")]
    outside: u32,
    size: u32,
}

/// What the runtime is told of a container.
pub(super) fn spec(container: &Container<'_>) -> Spec {
    let Container { plan, user, .. } = container;
    let namespaces = plan.namespaces;
    let names = || -> Vec<String> {
        let names = capability_names(container.capabilities);
        names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let mapped = |inside, outside: Option<u32>| {
        outside.map(|outside| Mapping { inside, outside, size: 1 }).into_iter().collect()
    };
    Spec {
        oci_version: VERSION,
        process: Process {
            terminal: container.terminal.is_some(),
            console_size: container.terminal,
            user: Ids { uid: user.uid, gid: user.gid },
            args: container.arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            env: [],
            cwd: "/",
            capabilities: Capabilities {
                bounding: names(),
                effective: names(),
                permitted: names(),
                inheritable: [],
                ambient: [],
            },
            no_new_privileges: true,
        },
        root: Root { path: text(container.root), readonly: plan.writable == Writable::Nothing },
        hostname: plan.hostname.as_ref().map(|name| name.as_str().to_owned()),
        mounts: mounts(container),
        linux: Linux {
            namespaces: [
                (true, "mount"),
                (namespaces.pid, "pid"),
                (namespaces.ipc, "ipc"),
                (namespaces.uts, "uts"),
                (namespaces.net, "network"),
                (container.caller.is_some(), "user"),
            ]
            .into_iter()
            .filter_map(|(wanted, kind)| wanted.then_some(Namespace { kind }))
            .collect(),
            uid_mappings: mapped(user.uid, container.caller.map(|(uid, _)| uid)),
            gid_mappings: mapped(user.gid, container.caller.map(|(_, gid)| gid)),
            masked_paths: if namespaces.pid { MASKED.into() } else { Vec::new() },
            readonly_paths: if namespaces.pid { READ_ONLY.into() } else { Vec::new() },
        },
    }
}

fn mounts(container: &Container<'_>) -> Vec<SpecMount> {
    let planned = container.plan.mounts.iter().flat_map(|mount| mounts_of(mount, container));
    let own = container.own_files.iter().map(|(source, place)| bound(source, place, true));
    planned.chain(own).collect()
}

fn mounts_of(mount: &Mount, container: &Container<'_>) -> Vec<SpecMount> {
    let namespaces = container.plan.namespaces;
    let one = |mount| vec![mount];
    match mount {
        Mount::Dev(Dev::Host) => one(host_devices("/dev")),
        Mount::Dev(Dev::Minimal { terminals, gpus }) => {
            let nodes = container.gpu_nodes.iter().filter(|_| *gpus);
            let nodes = nodes.map(|node| host_devices(&format!("/dev/{node}")));
            own_devices(*terminals, namespaces.ipc).into_iter().chain(nodes).collect()
        }
        Mount::Proc if namespaces.pid => one(made("/proc", "proc", &["nosuid", "noexec", "nodev"])),
        Mount::Proc => one(bound(Path::new("/proc"), "/proc", true)),
        // The kernel makes one for whoever owns the network namespace, or for nobody but root.
        Mount::Sys if namespaces.net || container.is_hosts_root => {
            one(made("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]))
        }
        Mount::Sys => one(bound(Path::new("/sys"), "/sys", false)),
        Mount::Tmp => one(bound(Path::new("/tmp"), "/tmp", true)),
        Mount::VarTmp => one(bound(Path::new("/var/tmp"), "/var/tmp", true)),
        Mount::ResolvConf => one(bound(Path::new("/etc/resolv.conf"), "/etc/resolv.conf", false)),
        Mount::SiteBind(destination) => container
            .site_binds
            .iter()
            .filter(|(_, place)| place == destination)
            .map(|(source, place)| bound_at(source, place, true))
            .collect(),
        Mount::Home(bind) | Mount::Hostfs(bind) | Mount::User(bind) => {
            planned_bind(bind, container).into_iter().collect()
        }
        Mount::Scratch { destination, purpose } => one(scratch(destination, *purpose, container.memory_mib)),
        Mount::Data { image, within, destination, writable } => container
            .place(image.descriptor)
            .map(|place| {
                let source = match within {
                    Some(within) => place.join(relative(within)),
                    None => place.to_path_buf(),
                };
                bound_at(&source, destination, *writable)
            })
            .into_iter()
            .collect(),
    }
}

impl Container<'_> {
    fn place(&self, descriptor: Descriptor) -> Option<&Path> {
        self.places.get(usize::from(descriptor.0)).map(PathBuf::as_path)
    }
}

fn planned_bind(bind: &Bind, container: &Container<'_>) -> Option<SpecMount> {
    Some(bound_at(container.place(bind.descriptor)?, &bind.destination, !bind.read_only))
}

fn own_devices(terminals: bool, own_ipc: bool) -> Vec<SpecMount> {
    let mut mounts = vec![made("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])];
    if terminals {
        let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
        mounts.push(made("/dev/pts", "devpts", &options));
    }
    mounts.push(made("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]));
    if own_ipc {
        mounts.push(made("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    mounts
}

/// Devices of the host, at their own place.
fn host_devices(path: &str) -> SpecMount {
    let options = ["rbind", "nosuid", "noexec"].map(str::to_owned).into();
    SpecMount { destination: path.into(), kind: "bind", source: path.into(), options }
}

fn scratch(destination: &ContainerPath, purpose: Scratch, memory_mib: Option<u32>) -> SpecMount {
    let mode = match purpose {
        Scratch::Tmp => "mode=1777",
        Scratch::Home => "mode=700",
        Scratch::Work => "mode=755",
    };
    let size = memory_mib.map(|mib| format!("size={mib}m"));
    let options = ["nosuid", "nodev", mode].map(str::to_owned).into_iter().chain(size).collect();
    SpecMount { destination: inside(destination), kind: "tmpfs", source: "tmpfs".into(), options }
}

fn made(destination: &str, kind: &'static str, options: &[&str]) -> SpecMount {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    SpecMount { destination: destination.into(), kind, source: kind.into(), options }
}

/// Something of the host, with what is mounted below it.
fn bound(source: &Path, destination: &str, writable: bool) -> SpecMount {
    let access = if writable { "rw" } else { "ro" };
    let options = ["rbind", "nosuid", "nodev", access].map(str::to_owned).into();
    SpecMount { destination: destination.into(), kind: "bind", source: text(source), options }
}

fn bound_at(source: &Path, destination: &ContainerPath, writable: bool) -> SpecMount {
    bound(source, &inside(destination), writable)
}

fn inside(place: &ContainerPath) -> String {
    String::from_utf8_lossy(place.as_bytes()).into_owned()
}

fn relative(place: &ContainerPath) -> &Path {
    Path::new(OsStr::from_bytes(place.as_bytes().strip_prefix(b"/").unwrap_or_default()))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Content, Image, Namespaces};
    use serde_json::{Value, json};

    fn path(text: &str) -> ContainerPath {
        ContainerPath::new(text.as_bytes().to_vec()).unwrap()
    }

    fn image(number: u16) -> Image {
        Image { descriptor: Descriptor(number), content: Content::Directory }
    }

    fn plan(mounts: Vec<Mount>) -> Plan {
        Plan {
            root: image(0),
            layers: Vec::new(),
            writable: Writable::Tmpfs,
            mounts,
            hostname: None,
            account_files: Vec::new(),
            namespaces: Namespaces { pid: true, ..Default::default() },
            instance: false,
            warnings: true,
        }
    }

    fn container<'a>(plan: &'a Plan, user: &'a User, places: &'a [PathBuf]) -> Container<'a> {
        Container {
            plan,
            places,
            site_binds: &[],
            gpu_nodes: &[],
            own_files: &[],
            root: Path::new("/stage/root"),
            user,
            caller: Some((1000, 100)),
            is_hosts_root: false,
            capabilities: CapabilitySet::empty(),
            arguments: &["/proc/self/fd/9"],
            terminal: None,
            memory_mib: Some(64),
        }
    }

    fn user(uid: u32, gid: u32) -> User {
        User { uid, gid, home: None }
    }

    fn json_of(container: &Container<'_>) -> Value {
        serde_json::to_value(spec(container)).unwrap()
    }

    /// What is mounted at a place.
    fn at<'a>(spec: &'a Value, place: &str) -> Vec<&'a Value> {
        spec["mounts"].as_array().unwrap().iter().filter(|mount| mount["destination"] == place).collect()
    }

    #[test]
    fn the_images_user_is_the_caller_and_has_no_capability() {
        let (plan, www) = (plan(Vec::new()), user(33, 34));
        let spec = json_of(&container(&plan, &www, &[]));
        assert_eq!(spec["process"]["user"], json!({ "uid": 33, "gid": 34 }));
        assert_eq!(spec["linux"]["uidMappings"], json!([{ "containerID": 33, "hostID": 1000, "size": 1 }]));
        assert_eq!(spec["linux"]["gidMappings"], json!([{ "containerID": 34, "hostID": 100, "size": 1 }]));
        assert_eq!(spec["process"]["capabilities"]["bounding"], json!([]));
        assert_eq!(spec["process"]["noNewPrivileges"], true);
        assert_eq!(spec["linux"]["namespaces"], json!([{"type":"mount"},{"type":"pid"},{"type":"user"}]));
    }

    #[test]
    fn root_needs_no_namespace_of_users_and_keeps_what_it_is_given() {
        let (plan, root) = (plan(Vec::new()), user(0, 0));
        let whole = Container {
            caller: None,
            is_hosts_root: true,
            capabilities: CapabilitySet::CHOWN | CapabilitySet::KILL,
            ..container(&plan, &root, &[])
        };
        let spec = json_of(&whole);
        assert_eq!(spec["linux"]["namespaces"], json!([{"type":"mount"},{"type":"pid"}]));
        assert_eq!(spec["linux"].get("uidMappings"), None);
        assert_eq!(spec["process"]["capabilities"]["effective"], json!(["CAP_CHOWN", "CAP_KILL"]));
        assert_eq!(spec["process"]["capabilities"]["ambient"], json!([]));
    }

    #[test]
    fn a_root_is_read_only_where_changes_go_nowhere() {
        let somebody = user(1000, 100);
        for (writable, readonly) in [
            (Writable::Nothing, true),
            (Writable::Root, false),
            (Writable::Tmpfs, false),
            (Writable::Overlay(image(1)), false),
        ] {
            let plan = Plan { writable, ..plan(Vec::new()) };
            assert_eq!(
                json_of(&container(&plan, &somebody, &[]))["root"]["readonly"],
                readonly,
                "{writable:?}"
            );
        }
    }

    #[test]
    fn mounts_keep_their_order_and_their_access() {
        let bind = |number, place, read_only| {
            let descriptor = Descriptor(number);
            Mount::User(Bind { descriptor, destination: path(place), read_only, optional: false })
        };
        let plan = plan(vec![bind(1, "/b", true), bind(0, "/a", false)]);
        let places = ["/host/a", "/host/b"].map(PathBuf::from);
        let spec = json_of(&container(&plan, &user(1, 1), &places));
        let expected = json!([
            { "destination": "/b", "type": "bind", "source": "/host/b", "options": ["rbind", "nosuid", "nodev", "ro"] },
            { "destination": "/a", "type": "bind", "source": "/host/a", "options": ["rbind", "nosuid", "nodev", "rw"] },
        ]);
        assert_eq!(spec["mounts"], expected);
    }

    #[test]
    fn the_kernels_file_systems_are_new_only_where_the_namespaces_are() {
        let everything =
            || vec![Mount::Proc, Mount::Sys, Mount::Dev(Dev::Minimal { terminals: true, gpus: false })];
        let own = Namespaces { pid: true, ipc: true, uts: true, net: true };
        let somebody = user(1000, 100);
        let isolated = Plan { namespaces: own, ..plan(everything()) };
        let spec = json_of(&container(&isolated, &somebody, &[]));
        let kinds = ["/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue"]
            .map(|place| at(&spec, place)[0]["type"].clone());
        assert_eq!(kinds, ["proc", "sysfs", "tmpfs", "devpts", "mqueue"]);
        let shared = Plan { namespaces: Namespaces::default(), ..plan(everything()) };
        let spec = json_of(&container(&shared, &somebody, &[]));
        assert_eq!(["/proc", "/sys"].map(|place| at(&spec, place)[0]["type"].clone()), ["bind", "bind"]);
        assert!(at(&spec, "/dev/mqueue").is_empty());
        assert_eq!(spec["linux"]["maskedPaths"], json!([]));
    }

    #[test]
    fn a_new_dev_has_the_nodes_of_graphics_processors_where_they_are_asked_for() {
        let nodes = ["dri".to_owned()];
        for gpus in [true, false] {
            let (plan, somebody) =
                (plan(vec![Mount::Dev(Dev::Minimal { terminals: false, gpus })]), user(1, 1));
            let spec = json_of(&Container { gpu_nodes: &nodes, ..container(&plan, &somebody, &[]) });
            assert_eq!(at(&spec, "/dev/dri").len(), usize::from(gpus));
            assert!(at(&spec, "/dev/pts").is_empty());
        }
    }

    #[test]
    fn directories_in_memory_have_a_mode_and_a_bound_but_for_root() {
        let scratch = |purpose| Mount::Scratch { destination: path("/s"), purpose };
        for (purpose, mode) in
            [(Scratch::Tmp, "mode=1777"), (Scratch::Home, "mode=700"), (Scratch::Work, "mode=755")]
        {
            let (plan, somebody) = (plan(vec![scratch(purpose)]), user(1000, 100));
            let bounded = container(&plan, &somebody, &[]);
            let options = |container| json_of(container)["mounts"][0]["options"].clone();
            assert_eq!(options(&bounded), json!(["nosuid", "nodev", mode, "size=64m"]));
            let boundless = Container { memory_mib: None, ..bounded };
            assert_eq!(options(&boundless), json!(["nosuid", "nodev", mode]));
        }
    }

    #[test]
    fn a_terminal_of_its_own_has_the_size_of_the_callers() {
        let (plan, somebody) = (plan(vec![]), user(1000, 100));
        let without = container(&plan, &somebody, &[]);
        let process = json_of(&without)["process"].clone();
        assert!(process["terminal"] == false && process.get("consoleSize").is_none(), "{process}");
        let with = Container { terminal: Some(Terminal { height: 40, width: 123 }), ..without };
        let process = json_of(&with)["process"].clone();
        assert_eq!(process["terminal"], true);
        assert_eq!(process["consoleSize"], json!({ "height": 40, "width": 123 }));
    }

    #[test]
    fn part_of_an_image_is_a_path_below_where_it_is_shown() {
        let data = Mount::Data {
            image: image(0),
            within: Some(path("/in/it")),
            destination: path("/data"),
            writable: false,
        };
        let (plan, places) = (plan(vec![data]), [PathBuf::from("/stage/3")]);
        let spec = json_of(&container(&plan, &user(1, 1), &places));
        assert_eq!(at(&spec, "/data")[0]["source"], "/stage/3/in/it");
    }

    #[test]
    fn binds_of_the_site_and_own_files_are_found_by_their_places() {
        let plan = plan(vec![Mount::SiteBind(path("/etc/hosts")), Mount::SiteBind(path("/gone"))]);
        let somebody = user(1000, 100);
        let whole = Container {
            site_binds: &[(PathBuf::from("/etc/hosts.site"), path("/etc/hosts"))],
            own_files: &[(PathBuf::from("/stage/bundle/passwd"), "/etc/passwd")],
            ..container(&plan, &somebody, &[])
        };
        let spec = json_of(&whole);
        assert_eq!(at(&spec, "/etc/hosts")[0]["source"], "/etc/hosts.site");
        assert_eq!(at(&spec, "/etc/passwd")[0]["source"], "/stage/bundle/passwd");
        assert!(at(&spec, "/gone").is_empty());
    }
}
