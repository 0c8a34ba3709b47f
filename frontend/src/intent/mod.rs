//! What the user wants, with every flag, variable and default settled and no image looked at yet.

mod binds;
mod fusemount;
mod limits;
mod oci;
mod security;
mod variables;

pub use binds::{BindRequest, InImage};
pub use oci::Oci;
pub use security::{
    CapabilityRequest, SecurityRequest, capability, every_capability, names as capability_names,
};

use crate::cgroup::Limits;
use crate::cli::given::{Environment, Given, items};
use crate::error::{Doing, Failure, Outcome};
use crate::flow::fakeroot;
use crate::message::{self, shown};
use crate::payload::{Action, Dialect, EnvironmentFile, FuseMount, Text};
use protocol::{ContainerPath, Hostname};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One container to start.
#[derive(Debug)]
pub struct Intent {
    /// Whose texts and variable names are used.
    pub dialect: Dialect,
    /// The name the program was called by, for commands that messages suggest.
    pub program: String,
    /// What runs in the container.
    pub action: Action,
    /// The image, as it was typed.
    pub image: PathBuf,
    /// `--overlay`, in order.
    pub overlays: Vec<OverlayRequest>,
    /// `--oci`
    pub oci: Option<Oci>,
    /// `--writable`
    pub writable: bool,
    /// `--writable-tmpfs`
    pub writable_tmpfs: bool,
    /// `--bind` and `--mount`, in order.
    pub binds: Vec<BindRequest>,
    /// `--bind` and its variables as text, for `SINGULARITY_BIND`.
    pub bind_text: Text,
    /// `--fusemount`, in order.
    pub file_systems: Vec<FuseMount>,
    /// Where the home directory comes from.
    pub home: HomeRequest,
    /// `--no-mount`
    pub no_mount: NoMount,
    /// `--contain`, or implied.
    pub contain: bool,
    /// `--workdir`, absolute.
    pub workdir: Option<PathBuf>,
    /// `--scratch`, in order.
    pub scratch: Vec<ContainerPath>,
    /// `--cwd`
    pub cwd: Option<Text>,
    /// `--tmp-sandbox` and `--no-tmp-sandbox`
    pub extraction: Extraction,
    /// `--userns`
    pub userns: bool,
    /// `--fakeroot`
    pub fakeroot: Option<fakeroot::Request>,
    /// `--pid`, or implied
    pub pid: bool,
    /// Whether the container is an instance, which more processes may join.
    pub instance: bool,
    /// `--ipc`
    pub ipc: bool,
    /// `--uts`, or implied.
    pub uts: bool,
    /// `--net`: a network of its own, without any device but loopback.
    pub net: bool,
    /// `--hostname`
    pub hostname: Option<Hostname>,
    /// `--dns`, in order.
    pub name_servers: Vec<IpAddr>,
    /// `--app`
    pub app: Option<Text>,
    /// `--nv`; nothing where the site decides.
    pub nv: Option<bool>,
    /// `--rocm`; nothing where the site decides.
    pub rocm: Option<bool>,
    /// `--containlibs`, absolute.
    pub libraries: Vec<PathBuf>,
    /// `--apply-cgroups` and its like.
    pub limits: Option<Limits>,
    /// `--security`
    pub security: SecurityRequest,
    /// `--keep-privs` and its like.
    pub capabilities: CapabilityRequest,
    /// `--cleanenv`
    pub clean: bool,
    /// `--no-eval`
    pub no_eval: bool,
    /// `--no-umask`
    pub no_umask: bool,
    /// `--no-init`
    pub no_init: bool,
    /// Variables taken over from the host.
    pub environment: Vec<(Text, Text)>,
    /// `--env-file`, read.
    pub environment_files: Vec<EnvironmentFile>,
    /// Variables asked for by prefixed variables of the host, in rising precedence.
    pub prefixed: Vec<(Text, Text)>,
    /// `--env`, in order.
    pub typed: Vec<(Text, Text)>,
    /// `--dry-run`
    pub dry_run: Option<DryRun>,
}

/// When the image is extracted to a temporary directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extraction {
    /// Never.
    Forbidden,
    /// Where it cannot be mounted.
    WhereNeeded,
    /// Whether or not it can be mounted.
    Demanded,
}

/// How a dry run prints the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DryRun {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// One `--overlay`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverlayRequest {
    /// The image or directory.
    pub path: PathBuf,
    /// `:ro`
    pub read_only: bool,
}

/// Where the home directory comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HomeRequest {
    /// `--no-home`
    None,
    /// The caller's own.
    Own,
    /// `--home SRC[:DEST]`
    Custom {
        /// On the host, absolute.
        source: PathBuf,
        /// In the container.
        destination: ContainerPath,
    },
}

/// What `--no-mount` leaves out.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NoMount {
    names: Vec<OsString>,
}

/// The names that `--no-mount` knows beside destinations of site binds.
const NO_MOUNT_NAMES: [&str; 9] =
    ["proc", "sys", "dev", "devpts", "home", "tmp", "hostfs", "cwd", "bind-paths"];

impl NoMount {
    fn new(names: &[OsString]) -> Self {
        let known = |name: &&OsString| {
            let known =
                name.as_bytes().starts_with(b"/") || NO_MOUNT_NAMES.iter().any(|known| *name == known);
            if !known {
                message::warning(format!("Ignoring unknown mount type '{}'", shown(name)));
            }
            known
        };
        Self { names: names.iter().filter(known).cloned().collect() }
    }

    /// Whether a kind of mount, or the site bind with this destination, is left out.
    #[must_use]
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        self.names.iter().any(|left_out| left_out == name.as_ref())
    }
}

impl Intent {
    /// Settles everything that was given for `action` on `image`.
    ///
    /// # Errors
    /// A value that cannot be, a combination that excludes itself, a file that cannot be read.
    pub fn settle(
        program: String,
        dialect: Dialect,
        action: Action,
        image: PathBuf,
        mut given: Given,
        host: &Environment,
    ) -> Outcome<Self> {
        let oci = oci::settle(&mut given)?;
        expand(&mut given);
        check_combinations(&given, oci, dialect)?;
        let environment_files = variables::read_files(given.all("env-file"))?;
        let hostname = given.last("hostname").map(hostname).transpose()?;
        Ok(Self {
            oci,
            overlays: given.all("overlay").iter().map(|text| overlay(text)).collect::<Outcome<_>>()?,
            writable: given.is_on("writable"),
            writable_tmpfs: given.is_on("writable-tmpfs") && !given.is_on("writable"),
            binds: binds::parse(given.all("bind"), given.all("mount"))?,
            bind_text: given.all("bind").join(OsStr::new(",")).into_vec(),
            file_systems: fusemount::parse(given.all("fusemount"))?,
            home: home(&given)?,
            no_mount: NoMount::new(given.all("no-mount")),
            contain: given.is_on("contain"),
            workdir: given.last("workdir").map(absolute).transpose()?,
            scratch: given
                .all("scratch")
                .iter()
                .map(|path| container_path(path, "--scratch"))
                .collect::<Outcome<_>>()?,
            cwd: given.last("cwd").map(|path| path.as_bytes().to_vec()),
            extraction: extraction(&given)?,
            userns: given.is_on("userns"),
            fakeroot: fakeroot(&given),
            pid: given.is_on("pid") && !given.is_on("no-pid"),
            instance: false,
            ipc: given.is_on("ipc"),
            uts: given.is_on("uts") || hostname.is_some(),
            net: own_network(&given, dialect)?,
            hostname,
            name_servers: name_servers(&given)?,
            app: given.last("app").map(app).transpose()?,
            nv: wish(&given, "nv", "no-nv"),
            rocm: wish(&given, "rocm", "no-rocm"),
            libraries: given.all("containlibs").iter().map(absolute).collect::<Outcome<_>>()?,
            limits: limits::of(&given)?,
            security: SecurityRequest::parse(given.all("security"))?,
            capabilities: CapabilityRequest::of(&given)?,
            clean: given.is_on("cleanenv"),
            no_eval: given.is_on("no-eval"),
            no_umask: given.is_on("no-umask"),
            no_init: given.is_on("no-init"),
            environment: variables::imported(host, given.is_on("cleanenv"), given.all("no-env")),
            prefixed: variables::prefixed(host),
            typed: variables::typed(given.all("env"), &environment_files)?,
            environment_files,
            dry_run: match (given.is_on("dry-run"), given.is_on("json")) {
                (false, _) => None,
                (true, false) => Some(DryRun::Text),
                (true, true) => Some(DryRun::Json),
            },
            program,
            dialect,
            action,
            image,
        })
    }
}

/// Flags that stand for others.
fn expand(given: &mut Given) {
    if given.is_on("compat") {
        for name in ["containall", "no-init", "no-umask", "no-eval", "writable-tmpfs"] {
            given.imply(name);
        }
    }
    if given.is_on("containall") {
        for name in ["contain", "pid", "ipc", "cleanenv"] {
            given.imply(name);
        }
    }
    if !given.all("fusemount").is_empty() {
        // Its servers end with the container.
        given.imply("pid");
    }
}

fn check_combinations(given: &Given, oci: Option<Oci>, dialect: Dialect) -> Outcome<()> {
    // In OCI mode the overlay in the image goes on top of others, as long as those are read-only.
    if given.is_on("writable") && !given.all("overlay").is_empty() && oci.is_none() {
        let subject = match dialect {
            Dialect::Singularity => "you could not use",
            Dialect::Apptainer => "cannot use",
        };
        return Err(Failure::new(format!("{subject} --overlay in conjunction with --writable"))
            .hint("--writable writes into the image itself; leave it out to write into the overlay"));
    }
    if given.is_on("writable") && given.is_on("writable-tmpfs") {
        message::warning("Disabling --writable-tmpfs flag, mutually exclusive with --writable");
    }
    if given.is_on("json") && !given.is_on("dry-run") {
        return Err(Failure::new("--json needs --dry-run"));
    }
    Ok(())
}

fn extraction(given: &Given) -> Outcome<Extraction> {
    match (given.is_on("tmp-sandbox"), given.is_on("no-tmp-sandbox")) {
        (true, true) => Err(Failure::new("--tmp-sandbox and --no-tmp-sandbox contradict each other")),
        (true, false) => Ok(Extraction::Demanded),
        (false, true) => Ok(Extraction::Forbidden),
        (false, false) => Ok(Extraction::WhereNeeded),
    }
}

/// `--fakeroot`, and what says more about it.
fn fakeroot(given: &Given) -> Option<fakeroot::Request> {
    let [ignore_lent_ids, ignore_command, keeps_groups] =
        ["ignore-subuid", "ignore-fakeroot-command", "no-setgroups"].map(|flag| {
            if given.is_on(flag) && !given.is_on("fakeroot") {
                message::warning(format!("--{flag} changes nothing without --fakeroot"));
            }
            given.is_on(flag)
        });
    let request = fakeroot::Request { ignore_lent_ids, ignore_command, keeps_groups };
    given.is_on("fakeroot").then_some(request)
}

/// `PATH[:ro]`. A path may hold a colon itself where what follows it is part of a name that exists.
fn overlay(text: &OsStr) -> Outcome<OverlayRequest> {
    let bytes = text.as_bytes();
    let Some(colon) = bytes.iter().rposition(|byte| *byte == b':') else {
        return Ok(OverlayRequest { path: absolute(text)?, read_only: false });
    };
    let (path, option) = (OsStr::from_bytes(&bytes[..colon]), &bytes[colon + 1..]);
    match option {
        b"ro" | b"rw" | b"" if path.is_empty() => {
            Err(Failure::new(format!("the overlay {} has no path", shown(text)))
                .hint("write PATH to use it writable, or PATH:ro to use it read-only"))
        }
        b"ro" => Ok(OverlayRequest { path: absolute(path)?, read_only: true }),
        b"rw" | b"" => Ok(OverlayRequest { path: absolute(path)?, read_only: false }),
        _ if Path::new(text).exists() => Ok(OverlayRequest { path: absolute(text)?, read_only: false }),
        unknown => Err(Failure::new(format!(
            "unknown option '{}' for overlay {}",
            shown(OsStr::from_bytes(unknown)),
            shown(path)
        ))
        .hint("write PATH to use it writable, or PATH:ro to use it read-only")),
    }
}

fn home(given: &Given) -> Outcome<HomeRequest> {
    if given.is_on("no-home") {
        return Ok(HomeRequest::None);
    }
    let Some(text) = given.last("home") else {
        return Ok(HomeRequest::Own);
    };
    let parts: Vec<&[u8]> = text.as_bytes().split(|byte| *byte == b':').collect();
    let (source, destination) = match parts[..] {
        [source] if !source.is_empty() => (source, source),
        [source, destination] if !source.is_empty() => (source, destination),
        _ => {
            return Err(Failure::new(format!(
                "home argument has incorrect number of elements: {}",
                shown(text)
            ))
            .hint("write --home SRC or --home SRC:DEST"));
        }
    };
    let source = absolute(OsStr::from_bytes(source))?;
    let destination = if parts.len() == 1 {
        source.as_os_str().to_owned()
    } else {
        OsStr::from_bytes(destination).to_owned()
    };
    Ok(HomeRequest::Custom { destination: container_path(&destination, "--home")?, source })
}

fn hostname(name: &OsStr) -> Outcome<Hostname> {
    Hostname::new(name.to_string_lossy().into_owned())
        .map_err(|rule| Failure::new(format!("invalid --hostname {}: {rule}", shown(name))))
}

/// A switch that another one takes back.
fn wish(given: &Given, on: &str, off: &str) -> Option<bool> {
    (given.is_on(on) || given.is_on(off)).then(|| !given.is_on(off))
}

/// Whether the container has a network of its own. SingularityCE means a bridge by `--net` alone, Apptainer nothing
/// but loopback.
fn own_network(given: &Given, dialect: Dialect) -> Outcome<bool> {
    let name = match (given.last("network").and_then(OsStr::to_str), given.is_on("net"), dialect) {
        (None, false, _) if given.last("network").is_none() => return Ok(false),
        (Some("none"), ..) | (None, true, Dialect::Apptainer) => return Ok(true),
        (None, true, Dialect::Singularity) => "bridge".into(),
        _ => given.last("network").map(shown).unwrap_or_default(),
    };
    Err(Failure::new(format!("network '{name}' is not supported: there is no set-up of networks by CNI plugins"))
        .hint("leave --net and --network out to use the host's network, or write --net --network none to have only loopback"))
}

/// `ADDRESS[,ADDRESS...]`
fn name_servers(given: &Given) -> Outcome<Vec<IpAddr>> {
    let Some(list) = given.last("dns") else {
        return Ok(Vec::new());
    };
    let address = |item: OsString| {
        let text = item.to_str().map(str::trim);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::new(format!("--dns: {} is not a valid IP address", shown(&item))))
    };
    items(list).into_iter().map(address).collect()
}

/// The name of an app becomes part of paths in the container.
fn app(name: &OsStr) -> Outcome<Text> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes.starts_with(b".") {
        return Err(Failure::new(format!("--app: {} is not the name of an app", shown(name)))
            .hint("the apps of an image are the directories in its /scif/apps"));
    }
    Ok(bytes.to_vec())
}

/// The path seen from the root of the host; its last part need not exist.
pub(crate) fn absolute(path: impl AsRef<Path>) -> Outcome<PathBuf> {
    let path = path.as_ref();
    std::path::absolute(path).doing(|| format!("making {} absolute", shown(path)))
}

/// A place in the container as the plan spells it: redundant slashes and dots are taken out.
pub(crate) fn container_path(path: &OsStr, flag: &str) -> Outcome<ContainerPath> {
    let bytes = path.as_bytes();
    if !bytes.starts_with(b"/") {
        return Err(Failure::new(format!("{flag}: destination {} must be an absolute path", shown(path))));
    }
    let mut canonical: Vec<u8> = Vec::with_capacity(bytes.len());
    for part in bytes.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => canonical.truncate(canonical.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                canonical.push(b'/');
                canonical.extend_from_slice(name);
            }
        }
    }
    ContainerPath::new(canonical)
        .map_err(|error| Failure::new(format!("{flag}: destination {} {error}", shown(path))))
}
