//! What [`crate::init`] does once the mounts are made: everything about the user's program that the starter has no
//! business knowing. It travels in a sealed memory file as descriptor [`protocol::PAYLOAD_FD`].

use crate::error::{Doing, Failure, Outcome};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use seccompiler::sock_filter;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Bytes of a whole payload, more than a kernel accepts as arguments and environment of one program (a quarter of
/// the default stack limit, 2 MiB).
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// Where the parts of the host's `fakeroot` command are in a container: the program that remembers what was changed, …
pub const FAKEROOT_DAEMON: &str = "/.singularity.d/libs/faked";
/// … and the library that is loaded into every program.
pub const FAKEROOT_LIBRARY: &str = "/.singularity.d/libs/libfakeroot.so";

/// Bytes of somebody's choosing that need not be text.
pub type Text = Vec<u8>;

/// The whole payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// What to run.
    pub action: Action,
    /// Whose names and prompt the user is used to.
    pub dialect: Dialect,
    /// The image's absolute path, for `SINGULARITY_CONTAINER`; its last part becomes `SINGULARITY_NAME`.
    pub image: Text,
    /// The variables every program in the container starts from, filtered by the frontend: imported host variables,
    /// or only the few that `--cleanenv` keeps.
    pub environment: Vec<(Text, Text)>,
    /// Variables asked for by `SINGULARITYENV_*` and `APPTAINERENV_*`, by their name in the container, in rising
    /// precedence.
    pub prefixed: Vec<(Text, Text)>,
    /// The contents of the `--env-file` files, in order: shell assignments, the later one wins. They overrule
    /// [`Payload::prefixed`].
    pub environment_files: Vec<EnvironmentFile>,
    /// Variables asked for by `--env`, in order. They overrule everything else.
    pub typed: Vec<(Text, Text)>,
    /// `--no-eval`: values are taken as they are, not evaluated in double quotes.
    pub no_eval: bool,
    /// `--cleanenv`: `LANG` becomes `C`.
    pub clean: bool,
    /// The user's bind specification as given, for `SINGULARITY_BIND`.
    pub binds: Text,
    /// The home directory in the container, for `HOME`.
    pub home: Text,
    /// Where the program starts.
    pub working_directory: WorkingDirectory,
    /// The umask of the program: the caller's, or 0022 with `--no-umask`.
    pub umask: u32,
    /// Signals, by number, that the caller had blocked.
    pub blocked_signals: Vec<i32>,
    /// Signals, by number, that the caller ignored (`nohup`).
    pub ignored_signals: Vec<i32>,
    /// The caller as the container's `/etc/passwd` and `/etc/group` should show it; none when the plan has no
    /// account files.
    pub account: Option<Account>,
    /// The container's host name, for `/etc/hostname`, where `--hostname` asked for one.
    pub hostname: Option<Text>,
    /// `--dns`: the name servers of the container's `/etc/resolv.conf`; none to leave it alone.
    pub name_servers: Vec<IpAddr>,
    /// `--app`: the app of the image whose environment and scripts are meant, for `SINGULARITY_APPNAME`.
    pub app: Option<Text>,
    /// What the program may not do, or who it is.
    pub restrictions: Restrictions,
    /// The program is run with the `fakeroot` command of the host.
    pub fakeroot: bool,
    /// `--fusemount`, in order.
    pub file_systems: Vec<FuseMount>,
    /// In an instance whose file systems are in namespaces of their own: the process that keeps these, as the instance
    /// numbers it.
    pub keeper: Option<i32>,
    /// With a PID namespace: stay as process 1, reap, and forward signals. False with `--no-init`, where the
    /// program itself is process 1.
    pub shim: bool,
    /// In OCI mode: what an OCI runtime was not told.
    pub oci: Option<OciProcess>,
    /// Process 1 of an instance: tell whoever waits on standard input that it is there, and stay after the program.
    pub instance: bool,
    /// The threshold of messages, as [`crate::message::configure`] takes it.
    pub message_level: i8,
    /// Whether messages may be coloured.
    pub colour: bool,
}

/// A FUSE file system that a program of the user's choice serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuseMount {
    /// Where the program runs.
    pub side: Side,
    /// The program goes into the background by itself once it serves.
    pub daemon: bool,
    /// The program and its arguments, without the mount point; never empty.
    pub command: Vec<Text>,
    /// Where the file system is in the container.
    pub place: Text,
}

/// Where a FUSE file system's server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// In the container, as one of its programs.
    Container,
    /// On the host.
    Host,
}

/// The process in a container that an OCI runtime makes. It tells whoever waits on descriptor
/// [`protocol::PLAN_FD`] that it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciProcess {
    /// The variables of the image's configuration, for an image that has one instead of scripts.
    pub environment: Option<Vec<(Text, Text)>>,
}

/// What the program may not do that init may, or who it is where that is not the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restrictions {
    /// Of the capabilities that root has, those that it keeps: bit n for number n. All of them where absent.
    pub capabilities: Option<u64>,
    /// Whom root becomes.
    pub identity: Option<Identity>,
    /// What a security module of the kernel is told at the exec.
    pub label: Option<Label>,
    /// Seccomp programs, to be installed in this order.
    pub filters: Vec<Vec<Instruction>>,
}

/// Somebody by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group ids, the primary one first; never empty.
    pub gids: Vec<u32>,
}

/// What a security module of the kernel is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Label {
    /// A profile of AppArmor.
    Apparmor(String),
    /// A context of SELinux.
    Selinux(String),
}

/// One instruction of a seccomp program, as `struct sock_filter` of the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    code: u16,
    jump_if_true: u8,
    jump_if_false: u8,
    operand: u32,
}

impl From<sock_filter> for Instruction {
    fn from(filter: sock_filter) -> Self {
        Self { code: filter.code, jump_if_true: filter.jt, jump_if_false: filter.jf, operand: filter.k }
    }
}

impl From<Instruction> for sock_filter {
    fn from(instruction: Instruction) -> Self {
        let Instruction { code, jump_if_true: jt, jump_if_false: jf, operand: k } = instruction;
        Self { code, jt, jf, k }
    }
}

/// What to run in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// `exec`: this command with its arguments; never empty.
    Exec(Vec<Text>),
    /// `run`: the image's runscript with these arguments.
    Run(Vec<Text>),
    /// `run` of an OCI image: its entrypoint and command; never empty.
    Command(Vec<Text>),
    /// `shell`: an interactive shell, this one or the image's, with these arguments.
    Shell(Option<Text>, Vec<Text>),
    /// `test`: the image's test script with these arguments.
    Test(Vec<Text>),
    /// `instance start`: the image's start script with these arguments, if it has one.
    Start(Vec<Text>),
}

/// One `--env-file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentFile {
    /// Its name as the user gave it, for messages.
    pub name: Text,
    /// What is in it.
    pub content: Text,
}

/// Which incumbent the program was called as. Both prefixes of every variable are set whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// `lamina` or `singularity`: the prompt is `Singularity> `, the shim is called `sinit`.
    Singularity,
    /// `apptainer`: the prompt is `Apptainer> `, the shim is called `appinit`.
    Apptainer,
}

/// Where the program starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingDirectory {
    /// `--cwd`: it must exist in the container.
    pub required: Option<Text>,
    /// Otherwise the first of these that exists, and `/` when none does.
    pub candidates: Vec<Text>,
}

/// The caller, for the account files of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Login name.
    pub name: Text,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// The comment field.
    pub gecos: Text,
    /// The home directory in the container.
    pub home: Text,
    /// The login shell on the host; an existing line of the image keeps its own.
    pub shell: Text,
    /// Name and id of the caller's groups that have a name on the host.
    pub groups: Vec<(Text, u32)>,
}

/// Little-endian fixed-width integers, bounded: the same choice as for the plan.
fn codec() -> Configuration<LittleEndian, Fixint, Limit<PAYLOAD_BYTES_MAX>> {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<PAYLOAD_BYTES_MAX>()
}

/// The payload as bytes.
///
/// # Errors
/// When it is longer than [`PAYLOAD_BYTES_MAX`].
pub fn encode(payload: &Payload) -> Outcome<Vec<u8>> {
    let bytes = bincode::serde::encode_to_vec(payload, codec()).doing(|| "writing the payload".into())?;
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(Failure::new("the environment and arguments together are longer than 8 MiB"));
    }
    Ok(bytes)
}

/// The payload that [`encode`] wrote.
///
/// # Errors
/// When the bytes are no payload or more follows it.
pub fn decode(bytes: &[u8]) -> Outcome<Payload> {
    let (payload, used) =
        bincode::serde::decode_from_slice(bytes, codec()).doing(|| "reading the payload".into())?;
    if used != bytes.len() {
        return Err(Failure::new("while reading the payload: more follows its end"));
    }
    Ok(payload)
}
