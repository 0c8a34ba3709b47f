//! OCI mode: a container that an OCI runtime makes, of layers that are mounted here, as the image's configuration says.
//!
//! What is mounted and which namespaces there are is planned as for every container ([`crate::planning`]); image files are
//! shown by FUSE servers ([`crate::fuse`]); the layers become one root ([`rootfs`]); and what the starter would be told
//! is told to the runtime ([`spec`]). In the container `lamina-init` carries out the same payload as ever.

mod image_config;
mod rootfs;
mod runtime;
mod spec;
mod user;

pub use image_config::ImageConfig;

use crate::error::{Doing, Failure, Outcome};
use crate::flow::Reason;
use crate::flow::namespace::{self, Mapping, Outside};
use crate::flow::serving::{self, Directories, View};
use crate::fuse::{Owners, Servers};
use crate::intent::{HomeRequest, Intent};
use crate::launch;
use crate::making::Interrupts;
use crate::message::{self, shown};
use crate::payload::{self, OciProcess, Payload};
use crate::planning::Planned;
use crate::site;
use crate::sys::signal::{Disposition, set_blocked, set_disposition};
use crate::user::Caller;
use config::Settings;
use nix::fcntl::OFlag;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid, pipe2};
use protocol::{
    ACCOUNT_FD_FIRST, AccountFile, ContainerPath, Descriptor, Dev, Mount, PAYLOAD_FD, PLAN_FD, Plan, Scratch,
};
use rootfs::RootFs;
use runtime::Runtime;
use rustix::thread::CapabilitySet;
use spec::{Container, Terminal};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{IsTerminal, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use user::User;

/// Where `lamina-init` says that it is there. The number is that of the plan, which there is none of.
pub(crate) const STARTED_FD: i32 = PLAN_FD;
/// Where `lamina-init` itself is, above everything that it expects.
pub(crate) const INIT_FD: i32 = 9;
/// The descriptors of the container beside the standard ones: 3 up to [`INIT_FD`].
const DESCRIPTORS: usize = 7;
/// The name of that in the container.
const INIT_PATH: &str = "/proc/self/fd/9";
/// Account files are the largest thing in a bundle.
const BUNDLE_OPTIONS: &str = "mode=0755,size=64m";
/// The capabilities of root in a namespace of the caller's: those that runtimes give by default.
const DEFAULT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Starts the container, waits for it, and ends as it did.
///
/// # Errors
/// There is no runtime, the host forbids user namespaces, a server or the runtime failed, or the image's configuration
/// cannot be carried out.
pub fn start(planned: Planned, payload: Payload, intent: &Intent, site: &Settings) -> Outcome<Infallible> {
    let programs = site::programs(site);
    let runtime = Runtime::find(&programs)?;
    message::verbose(format!("Starting through {}: {}", runtime.name(), planned.reason));
    let mapping = planned.mapping();
    let Planned { plan, sources, config, resident, reason, .. } = planned;
    let lender = Lender::of(&reason);
    let init = open_init()?;
    let outside = Outside::of(sources)?;
    match lender {
        Lender::Root => namespace::enter_mounts()?,
        Lender::Fakeroot | Lender::Namespace { .. } => namespace::enter(&mapping, &reason)?,
    }
    runtime.prepare()?;
    let stage = PathBuf::from(launch::stage());
    let interrupts = Interrupts::hold()?;
    let mut servers = Servers::new(&programs, &interrupts);
    let view = View { outside, owners: lender.owners(&mapping), fuse_overlay: false };
    let mut served = serving::serve(&plan, site, &view, &mut servers, None, &stage)?;
    served.places.extend(served.plan.account_files.iter().filter_map(|file| place_of(*file)));
    let memory_mib = (lender != Lender::Root).then_some(site.sessiondir_max_size.value);
    let root = RootFs::assemble(&served, &stage, memory_mib)?;
    let mut process = Process { payload, user: User::from(&resident) };
    process.follow(config, &root, intent, &mut served.plan)?;
    runtime.require_able(lender.caller().map(|_| process.user.uid))?;
    let bundle = Bundle::make(&stage)?;
    let own_files = bundle.own_files(&served.plan.account_files)?;
    bundle.describe(&Container {
        plan: &served.plan,
        places: &places(&served)?,
        site_binds: &site_binds(site, &served.plan),
        gpu_nodes: &gpu_nodes(),
        own_files: &own_files,
        root: &root.path,
        user: &process.user,
        caller: lender.caller(),
        is_hosts_root: lender == Lender::Root,
        capabilities: lender.capabilities(&process.user)?,
        arguments: &[INIT_PATH],
        terminal: terminal(&served.plan, &runtime),
        memory_mib,
    })?;
    let (mut started, starting) = pipe()?;
    let descriptors =
        descriptors(starting, launch::sealed(&payload::encode(&process.payload)?)?, &root, init)?;
    interrupts.check()?;
    let container = || {
        become_like_the_caller(lender)?;
        launch::place(descriptors)?;
        runtime.become_it(&bundle.folder, &bundle.state, DESCRIPTORS)
    };
    launch::attend(container, |asked| {
        drop(served.sources);
        root.unmount();
        if asked {
            servers.end_users();
        }
        let finished = servers.finish();
        drop(view);
        require_started(&mut started, &runtime)?;
        finished
    })
}

/// Where the power to mount comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lender {
    /// Root is calling.
    Root,
    /// A user namespace in which the caller is root.
    Fakeroot,
    /// A user namespace in which only the caller exists.
    Namespace { uid: u32, gid: u32 },
}

impl Lender {
    /// Call it before a namespace is entered.
    fn of(reason: &Reason) -> Self {
        match reason {
            Reason::Root => Self::Root,
            Reason::Fakeroot => Self::Fakeroot,
            _ => Self::Namespace { uid: geteuid().as_raw(), gid: getegid().as_raw() },
        }
    }

    /// Whose ids become those of the container's user.
    fn caller(self) -> Option<(u32, u32)> {
        match self {
            Self::Root | Self::Fakeroot => None,
            Self::Namespace { uid, gid } => Some((uid, gid)),
        }
    }

    /// Whose the files of images are.
    fn owners(self, mapping: &Mapping) -> Owners {
        if self == Self::Root { Owners::Recorded } else { launch::owners(mapping) }
    }

    /// What the first process may do. Nobody but root may do anything.
    fn capabilities(self, user: &User) -> Outcome<CapabilitySet> {
        Ok(match self {
            _ if user.uid != 0 => CapabilitySet::empty(),
            // Root in somebody else's container may have less than all.
            Self::Root | Self::Fakeroot => {
                rustix::thread::capabilities(None).doing(|| "looking at capabilities".into())?.permitted
            }
            Self::Namespace { .. } => DEFAULT_CAPABILITIES,
        })
    }
}

/// The first process.
struct Process {
    payload: Payload,
    user: User,
}

impl Process {
    /// Does as the configuration of an OCI image says. An image without one says in scripts of its own what it does.
    fn follow(
        &mut self,
        config: Option<ImageConfig>,
        root: &RootFs,
        intent: &Intent,
        plan: &mut Plan,
    ) -> Outcome<()> {
        let payload = &mut self.payload;
        let environment = match config {
            None => None,
            Some(config) => {
                payload.action = config.carry_out(payload.action.clone())?;
                if intent.oci.is_some_and(|oci| oci.compat) {
                    payload.working_directory.candidates = config.working_directory.into_iter().collect();
                }
                if let Some(name) = config.user.as_ref().filter(|_| intent.fakeroot.is_none()) {
                    let user = User::named(name, &root.read("/etc/passwd"), &root.read("/etc/group"))?;
                    self.live_as(user, intent, plan);
                }
                Some(config.environment)
            }
        };
        self.payload.oci = Some(OciProcess { environment });
        Ok(())
    }

    /// Somebody of the image's has an account there, and a home.
    fn live_as(&mut self, user: User, intent: &Intent, plan: &mut Plan) {
        self.payload.account = None;
        plan.account_files.retain(|file| !file.extends_original());
        if !matches!(intent.home, HomeRequest::Custom { .. }) {
            self.payload.home = user.home.clone().unwrap_or_else(|| b"/".to_vec());
            plan.mounts.retain(|mount| {
                !matches!(mount, Mount::Home(_) | Mount::Scratch { purpose: Scratch::Home, .. })
            });
        }
        if user.uid != 0 {
            // There are none that could be given up.
            self.payload.restrictions.capabilities = None;
        }
        self.user = user;
    }
}

impl From<&Caller> for User {
    fn from(caller: &Caller) -> Self {
        Self { uid: caller.uid.as_raw(), gid: caller.gid.as_raw(), home: None }
    }
}

/// What the runtime is given, in memory.
struct Bundle {
    folder: PathBuf,
    /// Where the runtime keeps its own notes.
    state: PathBuf,
}

impl Bundle {
    fn make(stage: &Path) -> Outcome<Self> {
        let folder = rootfs::new_directory(stage, "bundle")?;
        rootfs::mount_memory(&folder, BUNDLE_OPTIONS)?;
        let state = rootfs::new_directory(&folder, "state")?;
        Ok(Self { folder, state })
    }

    /// Empty files, for `lamina-init` to fill in, and their places in the container.
    fn own_files(&self, wanted: &[AccountFile]) -> Outcome<Vec<(PathBuf, &'static str)>> {
        let make = |file: &AccountFile| {
            let place = file.path();
            let path = self.folder.join(place.trim_start_matches("/etc/"));
            File::create(&path).doing(|| format!("making {}", shown(&path)))?;
            Ok((path, place))
        };
        wanted.iter().map(make).collect()
    }

    fn describe(&self, container: &Container<'_>) -> Outcome<()> {
        let doing = || "describing the container to the OCI runtime".to_owned();
        let text = serde_json::to_vec(&spec::spec(container)).doing(doing)?;
        fs::write(self.folder.join("config.json"), text).doing(doing)
    }
}

fn open_init() -> Outcome<OwnedFd> {
    let path = launch::own_program("init");
    let opened = File::open(&path).doing(|| format!("opening {path}"));
    Ok(opened.map_err(|failure| failure.hint("ask the administrator to repair the installation"))?.into())
}

fn place_of(file: AccountFile) -> Option<(ContainerPath, bool)> {
    Some((ContainerPath::new(file.path().as_bytes().to_vec()).ok()?, false))
}

/// Where the plan's sources are. JSON has no words for a name that is no text.
fn places(served: &Directories) -> Outcome<Vec<PathBuf>> {
    let numbers = 0..served.sources.len() as u16;
    let paths: Vec<PathBuf> =
        numbers.map(|number| served.path_of(Descriptor(number))).collect::<Outcome<_>>()?;
    let inside = served.places.iter().map(|(place, _)| Path::new(OsStr::from_bytes(place.as_bytes())));
    match paths.iter().map(PathBuf::as_path).chain(inside).find(|path| path.to_str().is_none()) {
        Some(path) => {
            Err(Failure::new(format!("{} is no UTF-8 text, and OCI runtimes take no other", shown(path)))
                .hint("give it another name, or leave --oci out"))
        }
        None => Ok(paths),
    }
}

/// The site's binds that the plan has and the host too.
fn site_binds(site: &Settings, plan: &Plan) -> Vec<(PathBuf, ContainerPath)> {
    let lines = site.bind_path.iter().map(|entry| config::bind_path_parts(&entry.value));
    let binds = lines.filter_map(|(source, place)| {
        let place = ContainerPath::new(place.as_bytes().to_vec()).ok()?;
        plan.mounts.contains(&Mount::SiteBind(place.clone())).then(|| (PathBuf::from(source), place))
    });
    binds
        .filter(|(source, place)| {
            let there = source.exists();
            if !there {
                message::warning(format!("Skipping mount {place}: the host has no such file or directory"));
            }
            there
        })
        .collect()
}

fn gpu_nodes() -> Vec<String> {
    protocol::gpu_nodes().filter(|name| Path::new("/dev").join(name).exists()).collect()
}

/// A terminal of its own makes one stream of the program's output, so it is for people only.
fn terminal(plan: &Plan, runtime: &Runtime) -> Option<Terminal> {
    let has_terminals = |mount: &Mount| match mount {
        Mount::Dev(Dev::Host) => runtime.gives_terminals_in_hosts_dev(),
        Mount::Dev(Dev::Minimal { terminals, .. }) => *terminals,
        _ => false,
    };
    let wanted = plan.mounts.iter().any(has_terminals)
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal();
    let size = rustix::termios::tcgetwinsize(std::io::stdin()).ok().filter(|_| wanted)?;
    Some(Terminal { height: size.ws_row, width: size.ws_col })
}

fn pipe() -> Outcome<(File, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).doing(|| "making a pipe".into())?;
    Ok((reader.into(), writer))
}

/// Every descriptor of the container, with its number. There are no gaps, which runc does not take.
fn descriptors(
    starting: OwnedFd,
    payload: OwnedFd,
    root: &RootFs,
    init: OwnedFd,
) -> Outcome<Vec<(OwnedFd, i32)>> {
    let nothing =
        || -> Outcome<OwnedFd> { Ok(File::open("/dev/null").doing(|| "opening /dev/null".into())?.into()) };
    let mut all = vec![(starting, STARTED_FD), (payload, PAYLOAD_FD), (init, INIT_FD)];
    for number in ACCOUNT_FD_FIRST..INIT_FD {
        let files = [AccountFile::Passwd, AccountFile::Group].into_iter();
        let original = files
            .filter(|file| ACCOUNT_FD_FIRST + *file as i32 == number)
            .find_map(|file| root.open(file.path()));
        all.push((original.map_or_else(nothing, Ok)?, number));
    }
    Ok(all)
}

/// Undoes for the runtime what this process did to itself.
fn become_like_the_caller(lender: Lender) -> Outcome<()> {
    // What the container writes after its servers have gone would be lost.
    set_pdeathsig(Signal::SIGKILL).doing(|| "tying the container".into())?;
    for number in [libc::SIGXFSZ, libc::SIGPIPE] {
        set_disposition(number, Disposition::Default).doing(|| "resetting signals".into())?;
    }
    set_blocked(&[]).doing(|| "resetting signals".into())?;
    match lender {
        Lender::Root => Ok(()),
        Lender::Fakeroot | Lender::Namespace { .. } => namespace::keep_capabilities(),
    }
}

/// Tells a runtime that failed from a program that did: both end with some status.
fn require_started(started: &mut File, runtime: &Runtime) -> Outcome<()> {
    match started.read(&mut [0]) {
        Ok(1) => Ok(()),
        _ => Err(Failure::new(format!("{} did not start the container", runtime.name()))
            .hint("what it says is above")),
    }
}
