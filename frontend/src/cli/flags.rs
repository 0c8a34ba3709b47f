//! The one definition of the action commands' flags: names, environment variables, help, and what becomes of flags
//! that the incumbents have and this program does not.

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, Command, ValueHint};

/// How a flag takes its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// On or off; `--flag=false` turns it off.
    Switch,
    /// One value; the last one given counts.
    Text,
    /// Repeatable, and each value is split at commas (double quotes protect one).
    List,
    /// Repeatable, each value whole.
    Each,
}

/// What a shell offers as the value of a flag.
#[derive(Clone, Copy, Debug)]
enum Completes {
    Nothing,
    Paths,
    Folders,
    Words(&'static [&'static str]),
}

/// The heading of flags that need no other.
pub const OPTIONS: &str = "Options";
/// The heading of flags that are taken and change nothing.
pub const ACCEPTED: &str = "Accepted, without effect here";

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its long name, without dashes, by which the rest of the program knows it.
    pub name: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Other names that mean the same; one of a single character is a letter.
    aliases: &'static [&'static str],
    /// How it takes its value.
    pub kind: Kind,
    /// Environment variables that set it, without their `SINGULARITY_` or `APPTAINER_` prefix, first one first.
    pub variables: &'static [&'static str],
    /// Variables add to the command line instead of being overruled by it.
    pub variables_add: bool,
    /// What its value is called in the help.
    pub value: &'static str,
    completes: Completes,
    /// The heading it is listed under.
    pub topic: &'static str,
    /// What it does.
    pub help: &'static str,
    /// For a flag of the incumbents that this program does not have: what to do instead.
    pub instead: Option<&'static str>,
}

const fn flag(
    name: &'static str,
    kind: Kind,
    variables: &'static [&'static str],
    help: &'static str,
) -> Flag {
    Flag {
        name,
        short: None,
        aliases: &[],
        kind,
        variables,
        variables_add: false,
        value: "VALUE",
        completes: Completes::Nothing,
        topic: OPTIONS,
        help,
        instead: None,
    }
}

const fn absent(
    name: &'static str,
    kind: Kind,
    variables: &'static [&'static str],
    instead: &'static str,
) -> Flag {
    Flag { instead: Some(instead), ..flag(name, kind, variables, "") }
}

/// A flag that is taken and changes nothing, and why.
const fn accepted(
    name: &'static str,
    kind: Kind,
    variables: &'static [&'static str],
    why: &'static str,
) -> Flag {
    Flag { topic: ACCEPTED, ..flag(name, kind, variables, why) }
}

impl Flag {
    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn under(self, topic: &'static str) -> Self {
        Self { topic, ..self }
    }

    /// Names the value, and says what a shell offers for it.
    const fn takes(self, value: &'static str, completes: Completes) -> Self {
        Self { value, completes, ..self }
    }

    const fn adding(self) -> Self {
        Self { variables_add: true, ..self }
    }
}

const OCI: &str = "OCI containers are not part of this version; make a SIF with an OCI tool and build";
const DEVICES: &str = "bind the device's files and libraries with --bind";
const ENCRYPTION: &str = "encrypted images are not part of this version";
const DATA: &str = "make a squashfs with mksquashfs and show it with --mount type=bind,image-src=/";
const REPRODUCIBLE: &str =
    "an image names the time at which it was made; compare what is in two with 'sif dump'";
const LIBRARY: &str = "images are pushed to registries: docker:// or oras://";

// What the flags of a container are about.
const IMAGE: &str = "Image and overlays";
const FILES: &str = "Files of the host";
const ISOLATION: &str = "Isolation";
const ENVIRONMENT: &str = "Environment";
const LIMITS: &str = "Limits, through control groups";
const OTHER: &str = "Other";
/// The heading of flags about registries.
const REGISTRY: &str = "Registries";

use Completes::{Folders, Nothing, Paths, Words};
use Kind::{Each, List, Switch, Text};

/// Flags of `run`, `exec`, `shell` and `test`. [`SHELL_ONLY`] has one more.
pub const ACTION: &[Flag] = &[
    flag("overlay", List, &["OVERLAY", "OVERLAYIMAGE"], "Put an overlay on the image: an ext3 or squashfs image, a SIF with overlay partitions, or a directory; a writable one is uppermost, then the last one named, in OCI mode too").takes("PATH[:ro]", Paths).under(IMAGE).short('o'),
    flag("writable", Switch, &["WRITABLE"], "Write into the image itself: a sandbox, an ext3 image, or the overlay inside a SIF").under(IMAGE).short('w'),
    flag("writable-tmpfs", Switch, &["WRITABLE_TMPFS"], "Let the container write into memory; the changes are gone when it ends").under(IMAGE),
    flag("bind", List, &["BIND", "BINDPATH"], "Show a file or directory of the host in the container, there or at DEST; rw is the default, ro makes it read-only").takes("SRC[:DEST[:ro]]", Paths).under(FILES).short('B').adding(),
    flag("mount", Each, &["MOUNT"], "As --bind, in the form type=bind,source=/src,destination=/dst[,ro]").takes("SPEC", Nothing).under(FILES).adding(),
    flag("home", Text, &["HOME"], "Home directory to use, and where it is in the container").takes("SRC[:DEST]", Folders).under(FILES).short('H'),
    flag("no-home", Switch, &["NO_HOME"], "Do not mount the home directory").under(FILES),
    flag("no-mount", List, &["NO_MOUNT"], "Leave out mounts: proc, sys, dev, home, tmp, hostfs, cwd, bind-paths, or the destination of a site bind").takes("NAME", Words(&["proc", "sys", "dev", "devpts", "home", "tmp", "hostfs", "cwd", "bind-paths"])).under(FILES),
    flag("scratch", List, &["SCRATCH", "SCRATCHDIR"], "Writable directory at this place in the container, gone when it ends, or kept in --workdir").takes("DIR", Folders).under(FILES).short('S').aliases(&["scratchdir", "scratch-dir"]),
    flag("workdir", Text, &["WORKDIR"], "Host directory that holds /tmp, /var/tmp, home and scratch directories with --contain").takes("DIR", Folders).under(FILES).short('W').aliases(&["wdir", "workingdir"]),
    flag("fusemount", List, &["FUSESPEC"], "Mount what a FUSE program serves at DIR; the program runs in the container or on the host: container, host, or with -daemon if it goes into the background by itself; implies --pid").takes("WHERE:COMMAND DIR", Nothing).under(FILES),
    flag("cwd", Text, &["CWD", "TARGET_CWD", "PWD", "TARGET_PWD"], "Working directory in the container").takes("DIR", Nothing).under(FILES).aliases(&["pwd"]),
    flag("contain", Switch, &["CONTAIN"], "Minimal /dev, empty home and /tmp instead of the host's").under(ISOLATION).short('c'),
    flag("containall", Switch, &["CONTAINALL"], "As --contain, with own process ids, own IPC and a clean environment").under(ISOLATION).short('C').aliases(&["CONTAIN"]),
    flag("cleanenv", Switch, &["CLEANENV"], "Take over no variables of the host but TERM and proxies").under(ENVIRONMENT).short('e'),
    flag("env", Each, &[], "Set a variable in the container; commas separate several").takes("NAME=VALUE", Nothing).under(ENVIRONMENT),
    flag("env-file", List, &["ENV_FILE"], "Set variables in the container from a file of shell assignments").takes("FILE", Paths).under(ENVIRONMENT),
    flag("no-env", List, &["NOENV"], "Host variables not to take over").takes("NAME", Nothing).under(ENVIRONMENT),
    flag("no-eval", Switch, &["NO_EVAL"], "Take values of variables as they are, without shell evaluation").under(ENVIRONMENT),
    flag("no-umask", Switch, &["NO_UMASK"], "Set umask 0022 in the container instead of the caller's").under(ENVIRONMENT),
    flag("no-init", Switch, &["NOSHIMINIT"], "With --pid: the program itself is process 1").under(ISOLATION),
    flag("pid", Switch, &["PID", "UNSHARE_PID"], "Own process ids").under(ISOLATION).short('p'),
    flag("no-pid", Switch, &["NO_PID"], "No own process ids although another flag implies them").under(ISOLATION),
    flag("ipc", Switch, &["IPC", "UNSHARE_IPC"], "Own System V IPC and message queues").under(ISOLATION).short('i'),
    flag("userns", Switch, &["USERNS", "UNSHARE_USERNS"], "Start in a user namespace, without the setuid starter").under(ISOLATION).short('u'),
    flag("fakeroot", Switch, &["FAKEROOT"], "Be root in the container: in a user namespace, with the ids that /etc/subuid lends you").under(ISOLATION).short('f'),
    flag("ignore-subuid", Switch, &["IGNORE_SUBUID"], "With --fakeroot: have no ids but your own").under(ISOLATION),
    flag("ignore-fakeroot-command", Switch, &["IGNORE_FAKEROOT_COMMAND"], "With --fakeroot and no ids of others: do without the fakeroot command").under(ISOLATION),
    flag("no-setgroups", Switch, &["NO_SETGROUPS"], "With --fakeroot: stay in your groups; nobody in the container can leave them").under(ISOLATION),
    flag("tmp-sandbox", Switch, &["TMP_SANDBOX", "UNSQUASH"], "Run from a temporary directory that the image is extracted to").under(OTHER).aliases(&["unsquash"]),
    flag("no-tmp-sandbox", Switch, &["NO_TMP_SANDBOX"], "Never extract the image, even where it cannot be mounted").under(OTHER),
    flag("uts", Switch, &["UTS", "UNSHARE_UTS"], "Own host name").under(ISOLATION),
    flag("hostname", Text, &["HOSTNAME"], "Host name in the container; implies --uts").takes("NAME", Nothing).under(ISOLATION),
    flag("net", Switch, &["NET", "UNSHARE_NET"], "Own network; needs --network none").under(ISOLATION).short('n'),
    flag("network", Text, &["NETWORK"], "The own network's kind: none has nothing but loopback; implies --net").takes("NAME", Words(&["none"])).under(ISOLATION),
    flag("dns", Text, &["DNS"], "Name servers for the container's resolv.conf; commas separate several").takes("ADDRESS", Nothing).under(ISOLATION),
    flag("app", Text, &["APP", "APPNAME"], "The app of the image to run, with its environment").takes("NAME", Nothing).under(ENVIRONMENT),
    flag("nv", Switch, &["NV"], "Show the NVIDIA driver's programs and libraries of this machine, by the site's nvliblist.conf").under(FILES),
    flag("no-nv", Switch, &["NV_OFF", "NO_NV"], "No --nv although the site implies it").under(FILES),
    flag("rocm", Switch, &["ROCM"], "The same for AMD's, by rocmliblist.conf").under(FILES),
    flag("no-rocm", Switch, &["ROCM_OFF", "NO_ROCM"], "No --rocm although the site implies it").under(FILES),
    flag("containlibs", List, &["CONTAINLIBS"], "Libraries of the host to show in /.singularity.d/libs").takes("FILE", Paths).under(FILES),
    flag("security", List, &["SECURITY"], "seccomp:FILE, apparmor:PROFILE or selinux:LABEL for the program; root: uid:NUMBER, gid:NUMBER[:NUMBER...]").takes("FEATURE:VALUE", Nothing).under(ISOLATION),
    flag("add-caps", Text, &["ADD_CAPS"], "Root: capabilities to keep beside the site's default").takes("NAME", Nothing).under(ISOLATION),
    flag("drop-caps", Text, &["DROP_CAPS"], "Root: capabilities to give up").takes("NAME", Nothing).under(ISOLATION),
    flag("keep-privs", Switch, &["KEEP_PRIVS"], "Root: keep all capabilities").under(ISOLATION),
    flag("no-privs", Switch, &["NO_PRIVS"], "Root: give up all capabilities").under(ISOLATION),
    flag("apply-cgroups", Text, &["APPLY_CGROUPS"], "Limits from a file in TOML, named as in the OCI runtime specification").takes("FILE", Paths).under(LIMITS),
    flag("cpus", Text, &["CPUS"], "Processors to use, such as 1.5").takes("NUMBER", Nothing).under(LIMITS),
    flag("cpu-shares", Text, &["CPU_SHARES"], "Share of processor time, 1024 being everybody's").takes("NUMBER", Nothing).under(LIMITS),
    flag("cpuset-cpus", Text, &["CPUSET_CPUS"], "Processors to run on, such as 0-3,7").takes("LIST", Nothing).under(LIMITS),
    flag("cpuset-mems", Text, &["CPUSET_MEMS"], "Memory nodes to use").takes("LIST", Nothing).under(LIMITS),
    flag("memory", Text, &["MEMORY"], "Memory, such as 512m or 2g").takes("SIZE", Nothing).under(LIMITS),
    flag("memory-reservation", Text, &["MEMORY_RESERVATION"], "Memory that is not taken away while others have some to spare").takes("SIZE", Nothing).under(LIMITS),
    flag("memory-swap", Text, &["MEMORY_SWAP"], "Memory and swap together; -1 for no limit").takes("SIZE", Nothing).under(LIMITS),
    flag("pids-limit", Text, &["PIDS_LIMIT"], "Processes; -1 for no limit").takes("NUMBER", Nothing).under(LIMITS),
    flag("blkio-weight", Text, &["BLKIO_WEIGHT"], "Share of block device time, 10 to 1000").takes("NUMBER", Nothing).under(LIMITS),
    flag("blkio-weight-device", List, &["BLKIO_WEIGHT_DEVICE"], "The same for one device").takes("DEVICE:NUMBER", Nothing).under(LIMITS),
    absent("oom-kill-disable", Switch, &["OOM_KILL_DISABLE"], "control groups of version 2 always end what takes more memory than its limit"),
    flag("oci", Switch, &["OCI"], "OCI mode: as its image's configuration says, through crun or runc; isolated, and writable in memory").under(ISOLATION),
    flag("no-oci", Switch, &["NO_OCI"], "No --oci although the site implies it").under(ISOLATION),
    flag("no-compat", Switch, &["NO_COMPAT"], "With --oci: read-only, and as open to the host as without it").under(ISOLATION),
    flag("compat", Switch, &["COMPAT"], "--containall --no-init --no-umask --no-eval --writable-tmpfs").under(ISOLATION),
    flag("dry-run", Switch, &[], "Print what would be mounted, and start nothing").under(OTHER),
    flag("json", Switch, &[], "With --dry-run: print it for programs").under(OTHER),
    flag("disable-cache", Switch, &["DISABLE_CACHE"], "Keep nothing of a fetched image").under(OTHER),
    TMPDIR.under(OTHER),
    flag("keep-layers", Switch, &["KEEP_LAYERS"], "With --oci: do not squash the layers of an image that is fetched").under(OTHER),
    absent("data", List, &[], "use --bind with image-src= to show part of an image"),
    absent("underlay", Switch, &["UNDERLAY"], "mount points that an image lacks are made by an overlay"),
    absent("sif-fuse", Switch, &["SIF_FUSE"], "images are mounted by the kernel"),
    absent("network-args", List, &["NETWORK_ARGS"], "they are for CNI plugins, and no network is set up by these"),
    absent("netns-path", Text, &["NETNS_PATH"], "start the whole command in the namespace: 'nsenter --net=PATH' or 'ip netns exec NAME' does that"),
    absent("allow-setuid", Switch, &["ALLOW_SETUID"], "every mount of a container is nosuid: start as root what would become root, or use --fakeroot"),
    absent("nvccli", Switch, &["NVCCLI"], "--nv takes the driver's files by the site's nvliblist.conf"),
    absent("compat32", Switch, &["COMPAT32"], DEVICES),
    absent("intel-hpu", Switch, &["INTEL_HPU"], DEVICES),
    absent("device", List, &[], DEVICES),
    absent("cdi-dirs", List, &[], DEVICES),
    absent("sharens", Switch, &["SHARENS"], "start each process in a container of its own"),
    absent("ignore-userns", Switch, &["IGNORE_USERNS"], "there is no --fakeroot without a user namespace"),
    absent("proot", Text, &["PROOT"], "--fakeroot makes root of you in a user namespace"),
    absent("passphrase", Switch, &[], ENCRYPTION),
    absent("pem-path", Text, &[], ENCRYPTION),
    absent("runscript-timeout", Text, &["RUNSCRIPT_TIMEOUT"], "runscripts are not evaluated beforehand"),
    absent("dmtcp-launch", Text, &[], "checkpoints are not part of this version"),
    absent("dmtcp-restart", Text, &[], "checkpoints are not part of this version"),
];

/// Where temporary files go. For commands that do not have it the variable alone says so.
pub const TMPDIR: Flag =
    flag("tmpdir", Text, &["TMPDIR"], "Directory for temporary files [default: $TMPDIR, or /tmp]")
        .takes("DIR", Folders);

const AUTHFILE: Flag = flag(
    "authfile",
    Text,
    &["AUTHFILE", "AUTH_FILE"],
    "File with the credentials for registries, in Docker's form",
)
.takes("FILE", Paths)
.under(REGISTRY);
const NO_HTTPS: Flag =
    flag("no-https", Switch, &["NOHTTPS", "NO_HTTPS"], "Speak plain HTTP with the registry").under(REGISTRY);

const LIBRARY_ADDRESS: Flag = flag(
    "library",
    Text,
    &["LIBRARY"],
    "Address of the library that library:// without a host means [default: https://library.sylabs.io, as apptainer none]",
)
.takes("URL", Nothing);

/// Flags of every command that may fetch an image or send one.
pub const REGISTRY_ACCESS: &[Flag] = &[
    AUTHFILE,
    flag("docker-login", Switch, &["DOCKER_LOGIN"], "Ask for the registry's user name and password")
        .under(REGISTRY),
    flag("docker-username", Text, &["DOCKER_USERNAME"], "User name for the registry")
        .takes("NAME", Nothing)
        .under(REGISTRY),
    flag(
        "docker-password",
        Text,
        &["DOCKER_PASSWORD"],
        "Password for the registry; in a variable fewer people can see it",
    )
    .takes("PASSWORD", Nothing)
    .under(REGISTRY),
    NO_HTTPS.aliases(&["nohttps"]),
    absent("docker-host", Text, &[], "save the image with 'docker save' and use docker-archive:FILE"),
];

/// Flags of `registry list` and `registry logout`.
pub const REGISTRY_LOGINS: &[Flag] = &[AUTHFILE.under(OPTIONS)];

/// Flags of `registry login`.
pub const REGISTRY_LOGIN: &[Flag] = &[
    flag("username", Text, &["LOGIN_USERNAME"], "User name; asked for if not given")
        .takes("NAME", Nothing)
        .short('u'),
    flag(
        "password",
        Text,
        &["LOGIN_PASSWORD"],
        "Password or token; asked for if not given, which keeps it out of the list of processes",
    )
    .takes("PASSWORD", Nothing)
    .short('p'),
    flag("password-stdin", Switch, &[], "Read the password from standard input"),
    AUTHFILE.under(OPTIONS),
    NO_HTTPS.under(OPTIONS).aliases(&["nohttps"]),
];

const CACHE_TYPE: Flag = flag("type", List, &[], "Kinds of what is kept [default: all]")
    .takes("KIND", Words(&["all", "library", "oci-tmp", "oci-sif", "shub", "blob", "net", "oras"]))
    .short('T');

/// Flags of `cache list`.
pub const CACHE_LIST: &[Flag] =
    &[CACHE_TYPE, flag("verbose", Switch, &[], "Say what there is, file by file").short('v')];

/// Flags of `cache clean`.
pub const CACHE_CLEAN: &[Flag] = &[
    CACHE_TYPE,
    flag("days", Text, &[], "Only what is older than this many days").takes("DAYS", Nothing).short('D'),
    flag("dry-run", Switch, &[], "Say what would be removed, and remove nothing").short('n'),
    flag("force", Switch, &[], "Ask nothing").short('f'),
];

/// Flags of `push`.
pub const PUSH: &[Flag] = &[
    flag(
        "allow-unsigned",
        Switch,
        &["ALLOW_UNSIGNED"],
        "Say that signatures are not looked at, which they are not",
    )
    .short('U'),
    flag(
        "layer-format",
        Text,
        &["LAYER_FORMAT"],
        "squashfs: the layers of an OCI-SIF as they are; tar: as other tools have them",
    )
    .takes("FORMAT", Words(&["squashfs", "tar"])),
    absent("library", Text, &["LIBRARY"], LIBRARY),
    absent("description", Text, &[], "libraries have descriptions, registries have not").short('D'),
    absent("with-cosign", Switch, &[], "cosign signatures are not part of this version"),
    absent("annotation", Each, &[], "annotate the image with the registry's own tools"),
];

/// Flags of `pull`.
pub const PULL: &[Flag] = &[
    flag("force", Switch, &["FORCE"], "Replace an existing file").short('F'),
    flag("dir", Text, &["PULLDIR", "PULLFOLDER"], "Directory to put the image in").takes("DIR", Folders),
    flag("name", Text, &["PULL_NAME"], "The name of the file, as the first of two arguments gives it")
        .takes("FILE", Paths),
    flag("platform", Text, &["PLATFORM"], "Which image to take of several")
        .takes("OS/ARCH[/VARIANT]", Nothing),
    flag("arch", Text, &["PULL_ARCH", "ARCH"], "Which image to take of several, by its architecture only")
        .takes("ARCH", Nothing),
    flag("arch-variant", Text, &["PULL_ARCH_VARIANT"], "Variant of the architecture")
        .takes("VARIANT", Nothing),
    flag("disable-cache", Switch, &["DISABLE_CACHE"], "Neither look into the cache nor leave anything there"),
    accepted("allow-unsigned", Switch, &["ALLOW_UNSIGNED"], "Signatures are checked by 'verify'").short('U'),
    accepted("allow-unauthenticated", Switch, &["ALLOW_UNAUTHENTICATED"], "As --allow-unsigned"),
    accepted(
        "no-cleanup",
        Switch,
        &["NO_CLEANUP"],
        "What was fetched by half stays in the cache, to go on from there",
    ),
    accepted("no-oci", Switch, &["NO_OCI"], "A native SIF is made"),
    TMPDIR,
    flag("oci", Switch, &["OCI"], "Make an OCI-SIF, which keeps the configuration of the image as it is"),
    flag(
        "keep-layers",
        Switch,
        &["KEEP_LAYERS"],
        "With --oci: every layer stays one; otherwise they become one",
    ),
    absent("with-cosign", Switch, &[], "cosign signatures are not part of this version"),
    LIBRARY_ADDRESS,
    absent("reproducible", Switch, &["REPRODUCIBLE"], REPRODUCIBLE),
    absent("sandbox", Switch, &["SANDBOX"], "'build --sandbox DIRECTORY REFERENCE' makes a directory"),
];

/// The flags that `instance start` and `instance run` have beside [`ACTION`].
pub const INSTANCE_START: &[Flag] = &[
    flag("pid-file", Text, &["PID_FILE"], "File to write the number of the instance's first process to")
        .takes("FILE", Paths)
        .under(OTHER),
    absent(
        "boot",
        Switch,
        &["BOOT"],
        "start the programs of the image with a start script; systemd-nspawn boots a directory",
    ),
];

/// The flag that `shell` has beside [`ACTION`].
pub const SHELL_ONLY: &[Flag] =
    &[flag("shell", Text, &["SHELL"], "Program to start as the shell").takes("PATH", Nothing).short('s')];

/// Flags of `overlay create`.
pub const OVERLAY_CREATE: &[Flag] = &[
    flag("size", Text, &[], "Size in MiB, 64 or more [default: 64]").takes("MIB", Nothing).short('s'),
    flag("sparse", Switch, &["SPARSE"], "Take disk space only as it is used").short('S'),
    flag("create-dir", List, &[], "Directory that the caller can write to in the overlay")
        .takes("DIR", Nothing),
    flag("fakeroot", Switch, &["FAKEROOT"], "For containers run with --fakeroot").short('f'),
    TMPDIR,
];

/// Flags of `image.create`.
pub const IMAGE_CREATE: &[Flag] = &[
    flag("size", Text, &[], "Size in MiB, 64 or more [default: 768]").takes("MIB", Nothing).short('s'),
    flag("force", Switch, &[], "Replace an existing image").short('F'),
];

// What only builds from definition files have.
const DEFINITIONS: &str = "Definition files";

/// Flags of `build`.
pub const BUILD: &[Flag] = &[
    flag("sandbox", Switch, &["SANDBOX"], "Make a directory instead of a SIF").short('s'),
    flag("force", Switch, &["FORCE"], "Replace an existing target without asking").short('F'),
    flag("fix-perms", Switch, &["FIXPERMS"], "Let the owner read and write all that comes from an OCI image"),
    flag("disable-cache", Switch, &["DISABLE_CACHE"], "Keep nothing of a fetched image but what is built"),
    accepted("no-cleanup", Switch, &["NO_CLEANUP"], "A failed build leaves nothing"),
    flag("notest", Switch, &["NOTEST"], "Do not run the test section").under(DEFINITIONS).short('T'),
    TMPDIR,
    flag("update", Switch, &["UPDATE"], "Change an existing sandbox; the header's source is not used")
        .under(DEFINITIONS)
        .short('u'),
    flag("fakeroot", Switch, &["FAKEROOT"], "Be root in a user namespace with the ids that /etc/subuid lends you, as everybody but root is anyway")
        .under(DEFINITIONS)
        .short('f'),
    flag("ignore-subuid", Switch, &["IGNORE_SUBUID"], "Be root without the ids that /etc/subuid lends you").under(DEFINITIONS),
    flag("ignore-fakeroot-command", Switch, &["IGNORE_FAKEROOT_COMMAND"], "Without these ids: do without the fakeroot command too").under(DEFINITIONS),
    flag("no-setgroups", Switch, &["NO_SETGROUPS"], "Stay in your groups; nobody in the build can leave them").under(DEFINITIONS),
    flag(
        "section",
        List,
        &["SECTION"],
        "Sections to carry out: all, none, setup, post, files, environment, test, labels",
    )
    .takes("NAME", Words(&["all", "none", "setup", "post", "files", "environment", "test", "labels"]))
    .under(DEFINITIONS),
    flag("build-arg", List, &[], "Value of a build argument: what {{ NAME }} stands for")
        .takes("NAME=VALUE", Nothing)
        .under(DEFINITIONS),
    flag("build-arg-file", Text, &[], "File with such lines").takes("FILE", Paths).under(DEFINITIONS),
    flag(
        "warn-unused-build-args",
        Switch,
        &["WARN_UNUSED_BUILD_ARGS"],
        "Only warn of build arguments that the definition does not have",
    )
    .under(DEFINITIONS),
    flag(
        "bind",
        List,
        &["BIND", "BINDPATH"],
        "Show a file or directory of the host to the post and test sections",
    )
    .takes("SRC[:DEST[:ro]]", Paths)
    .under(DEFINITIONS)
    .short('B')
    .adding(),
    flag("mount", Each, &["MOUNT"], "The same as type=bind,source=/src,destination=/dst[,ro]")
        .takes("SPEC", Nothing)
        .under(DEFINITIONS)
        .adding(),
    flag("writable-tmpfs", Switch, &["WRITABLE_TMPFS"], "Let the test section write into memory")
        .under(DEFINITIONS),
    flag(
        "nv",
        Switch,
        &["NV"],
        "Show the NVIDIA driver's programs and libraries to the post and test sections",
    )
    .under(DEFINITIONS),
    flag("rocm", Switch, &["ROCM"], "The same for AMD's").under(DEFINITIONS),
    absent("json", Switch, &["JSON"], "definitions are text; write one as 'Bootstrap: …' and sections"),
    absent("remote", Switch, &["REMOTE"], "build on this machine").short('r'),
    absent("detached", Switch, &["DETACHED"], "build on this machine").short('d'),
    absent("builder", Text, &["BUILDER"], "build on this machine"),
    absent("arch", Text, &["BUILD_ARCH"], "the image gets the architecture of this machine or of its source"),
    LIBRARY_ADDRESS,
    absent("encrypt", Switch, &[], ENCRYPTION).short('e'),
    absent("passphrase", Switch, &[], ENCRYPTION),
    absent("pem-path", Text, &[], ENCRYPTION),
    absent("nvccli", Switch, &["NVCCLI"], "--nv takes the driver's files by the site's nvliblist.conf"),
    absent("mksquashfs-args", Text, &[], "set 'mksquashfs procs' and 'mksquashfs mem' in singularity.conf"),
    absent("oci", Switch, &["OCI"], OCI),
    accepted("no-oci", Switch, &["NO_OCI"], "Images are never built in OCI mode"),
    absent("keep-layers", Switch, &["KEEP_LAYERS"], OCI),
    absent(
        "arch-variant",
        Text,
        &["BUILD_ARCH_VARIANT"],
        "the image gets the architecture of this machine or of its source",
    ),
    absent("userns", Switch, &["USERNS"], "everybody but root builds in a user namespace anyway"),
    absent("ignore-userns", Switch, &["IGNORE_USERNS"], "everybody but root builds in a user namespace"),
    absent("data", Switch, &[], DATA),
    absent("compat32", Switch, &["COMPAT32"], DEVICES),
    absent("reproducible", Switch, &["REPRODUCIBLE"], REPRODUCIBLE),
    absent("buildkit-host", Text, &["BUILDKIT_HOST"], "build the image with that tool and push it to a registry"),
];

/// The flag of `sif header`, `sif list` and `sif info`.
pub const SIF_SHOW: &[Flag] = &[flag("json", Switch, &[], "Print JSON")];

/// Flags of `sif add`: what the numbers mean is the incumbents' and stays.
pub const SIF_ADD: &[Flag] = &[
    flag(
        "datatype",
        Text,
        &[],
        "What the object is (needed):\n 1 Deffile         a definition file\n 2 EnvVar          environment variables\n \
         3 Labels          labels in JSON\n 4 Partition       a file system\n 5 Signature       a signature\n \
         6 GenericJSON     any JSON\n 7 Generic         anything\n 8 CryptoMessage   the key of an encrypted \
         partition\n 9 SBOM            a bill of materials\n10 OCI.RootIndex   the index of an OCI image\n11 OCI.Blob        a part of an OCI image",
    ).takes("NUMBER", Words(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"])),
    flag(
        "partfs",
        Text,
        &[],
        "File system of a partition (needed with --datatype 4):\n 1 Squash    2 Ext3      3 ImmuObj   4 Raw",
    ).takes("NUMBER", Words(&["1", "2", "3", "4"])),
    flag(
        "parttype",
        Text,
        &[],
        "Use of a partition (needed with --datatype 4):\n 1 System    a root file system that is not run\n 2 PrimSys   \
         the root file system that is run\n 3 Data      data for --bind\n 4 Overlay   a layer over the root file system",
    ).takes("NUMBER", Words(&["1", "2", "3", "4"])),
    flag(
        "partarch",
        Text,
        &[],
        "Architecture of a partition (needed with --datatype 4):\n 1 386       2 amd64     3 arm       4 arm64\n \
         5 ppc64     6 ppc64le   7 mips      8 mipsle\n 9 mips64   10 mips64le 11 s390x    12 riscv64\n13 loong64",
    ).takes("NUMBER", Words(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"])),
    flag(
        "signhash",
        Text,
        &[],
        "Hash of a signature (needed with --datatype 5):\n 1 SHA256        2 SHA384        3 SHA512\n \
         4 BLAKE2s_256   5 BLAKE2b_256",
    ).takes("NUMBER", Words(&["1", "2", "3", "4", "5"])),
    flag(
        "signentity",
        Text,
        &[],
        "Who signed: the 40 digits of a key's fingerprint (needed with --datatype 5)",
    ).takes("FINGERPRINT", Nothing),
    flag(
        "sbomformat",
        Text,
        &[],
        "Format of a bill of materials (needed with --datatype 9): cyclonedx-json, cyclonedx-xml, github-json, \
         spdx-json, spdx-rdf, spdx-tag-value, spdx-yaml, syft-json",
    ).takes("FORMAT", Words(&[
        "cyclonedx-json",
        "cyclonedx-xml",
        "github-json",
        "spdx-json",
        "spdx-rdf",
        "spdx-tag-value",
        "spdx-yaml",
        "syft-json",
    ])),
    flag(
        "groupid",
        Text,
        &[],
        "Group to put it in; 0, the default, is none. A native image has all it runs in group 1",
    ).takes("NUMBER", Nothing),
    flag("link", Text, &[], "Id of the object that it is about; 0, the default, is none").takes("ID", Nothing),
    flag(
        "alignment",
        Text,
        &[],
        "Start the data at a multiple of so many bytes [default: 4096 for a partition, else 0, which is anywhere]",
    ).takes("BYTES", Nothing),
    flag("filename", Text, &[], "Name of the object, at most 128 bytes [default: that of the file]").takes("NAME", Nothing),
];

/// The flag of `sif del`.
pub const SIF_DEL: &[Flag] =
    &[flag("compact", Switch, &[], "Give back the disk space even where other objects lie behind it")];

/// The flag of `doctor`.
pub const DOCTOR: &[Flag] = &[flag("json", Switch, &[], "Print JSON")];

/// Flags of `instance list`.
pub const INSTANCE_LIST: &[Flag] = &[
    flag("json", Switch, &["JSON"], "Print JSON").short('j'),
    flag("logs", Switch, &["LOGS"], "Print where the logs are").short('l'),
    accepted("all", Switch, &["ALL"], "Every instance is listed").short('a'),
    OF_USER,
];

/// Flags of `instance stop`.
pub const INSTANCE_STOP: &[Flag] = &[
    flag("all", Switch, &["ALL"], "End all of them").short('a'),
    // Version 2 had the small letter.
    flag("force", Switch, &["FORCE"], "Kill them: no process is asked").short('F').aliases(&["f"]),
    flag("signal", Text, &["SIGNAL"], "Ask with this signal instead of SIGINT")
        .short('s')
        .takes("NAME", Completes::Nothing),
    flag("timeout", Text, &[], "Seconds until they are killed (10)")
        .short('t')
        .takes("SECONDS", Completes::Nothing),
    OF_USER,
];

/// Flags of `instance stats`.
pub const INSTANCE_STATS: &[Flag] = &[
    flag("json", Switch, &["JSON"], "Print all that is counted, once, as JSON").short('j'),
    flag("no-stream", Switch, &[], "Print it once instead of every second"),
    OF_USER,
];

const OF_USER: Flag = flag("user", Text, &["USER"], "Another user's instances; root only")
    .short('u')
    .takes("NAME", Completes::Nothing);

/// Flags of `config global`.
pub const CONFIG_GLOBAL: &[Flag] = &[
    flag(
        "set",
        Switch,
        &[],
        "Give the directive this value; a list gets the values in front of those it has",
    )
    .short('s'),
    flag("unset", Switch, &[], "Take the value away; of a list, each of the values").short('u'),
    flag("get", Switch, &[], "Print the value that holds, or the values of a list").short('g'),
    flag("reset", Switch, &[], "Give the directive the value that it has in the file as installed")
        .short('r'),
    flag("dry-run", Switch, &[], "Print what the file would become, and change nothing").short('d'),
];

/// Flags of `config fakeroot`.
pub const CONFIG_FAKEROOT: &[Flag] = &[
    flag("add", Switch, &[], "Give the user 65536 ids beside his own, unless he has them").short('a'),
    flag("remove", Switch, &[], "Take them away").short('r'),
    flag("enable", Switch, &[], "Let him use them again").short('e'),
    flag("disable", Switch, &[], "Let him keep them and not use them").short('d'),
];

/// Flags of `capability add` and `capability drop`.
pub const CAPABILITY: &[Flag] = &[
    flag("user", Text, &["CAP_USER"], "Whom to grant it to").takes("NAME", Nothing).short('u'),
    flag("group", Text, &["CAP_GROUP"], "Which group to grant it to").takes("NAME", Nothing).short('g'),
];

/// Flags of `inspect`.
pub const INSPECT: &[Flag] = &[
    flag("labels", Switch, &[], "Labels, which are shown if nothing else is asked for").short('l'),
    flag("deffile", Switch, &[], "The definition that it was built from").short('d'),
    flag("runscript", Switch, &[], "What run runs").short('r'),
    flag("startscript", Switch, &[], "What an instance runs").short('s'),
    flag("test", Switch, &[], "What test runs").short('t'),
    flag("environment", Switch, &[], "The scripts that set variables").short('e'),
    flag("helpfile", Switch, &[], "What run-help prints").short('H'),
    flag("list-apps", Switch, &[], "The names of its apps"),
    flag("all", Switch, &[], "Everything, as JSON"),
    flag("json", Switch, &[], "Print JSON").short('j'),
    flag("app", Text, &[], "The same of an app of the image").takes("NAME", Nothing),
];

/// The flag of `run-help`.
pub const RUN_HELP: &[Flag] =
    &[flag("app", Text, &[], "The help of an app of the image").takes("NAME", Nothing)];

const KEYSERVERS: &str =
    "keys are not fetched: get the public key from whom you trust and add it with 'key import'";
const CERTIFICATES: &str =
    "take the public key out of the certificate with 'openssl x509 -pubkey' and give it to --key";
const COSIGN: &str = "use the cosign program on the image in its registry";
const GROUP_ID: Flag = flag("group-id", Text, &[], "Objects of this group only")
    .short('g')
    .aliases(&["groupid"])
    .takes("ID", Nothing);
const SIF_ID: Flag =
    flag("sif-id", Text, &[], "This object only").short('i').aliases(&["id"]).takes("ID", Nothing);
const KEYSDIR: Flag = flag(
    "keysdir",
    Text,
    &[],
    "Folder of the key rings [default: ~/.singularity/sypgp, as apptainer ~/.apptainer/keys]",
)
.takes("FOLDER", Folders)
.short('d');
const GLOBAL_RING: Flag =
    flag("global", Switch, &[], "The site's ring of public keys, which root keeps, instead of your own")
        .short('g');
const SECRET_KEY: Flag =
    flag("secret", Switch, &[], "The private key instead of the public one").short('s').aliases(&["private"]);

/// Flags of `sign`.
pub const SIGN: &[Flag] = &[
    GROUP_ID,
    SIF_ID,
    flag("key", Text, &["SIGN_KEY"], "Sign with the private key in this PEM file, not with an OpenPGP key")
        .takes("FILE", Paths),
    flag("keyidx", Text, &[], "Number of the OpenPGP key, as 'key list --secret' shows it")
        .takes("NUMBER", Nothing)
        .short('k'),
    accepted("all", Switch, &[], "Every group is signed unless one is named").short('a'),
    absent("cosign", Switch, &[], COSIGN).short('c'),
];

/// Flags of `verify`.
pub const VERIFY: &[Flag] = &[
    GROUP_ID,
    SIF_ID,
    flag("key", Text, &["VERIFY_KEY"], "Verify with the public key in this PEM file, not with OpenPGP keys")
        .takes("FILE", Paths),
    flag("all", Switch, &[], "With --legacy-insecure: every object; else every group is verified anyway")
        .short('a'),
    flag("json", Switch, &[], "Print JSON").short('j'),
    flag(
        "legacy-insecure",
        Switch,
        &[],
        "Accept the signatures of tools before 2020, which cover data only, and no others",
    ),
    accepted("local", Switch, &["LOCAL_VERIFY"], "Only keys on this machine are ever used").short('l'),
    absent("url", Text, &["URL"], KEYSERVERS).short('u'),
    absent("certificate", Text, &["VERIFY_CERTIFICATE"], CERTIFICATES),
    absent("certificate-intermediates", Text, &["VERIFY_INTERMEDIATES"], CERTIFICATES),
    absent("certificate-roots", Text, &["VERIFY_ROOTS"], CERTIFICATES),
    absent("ocsp-verify", Switch, &["VERIFY_OCSP"], CERTIFICATES),
    absent("cosign", Switch, &[], COSIGN).short('c'),
];

/// Flags of `key newpair`.
pub const KEY_NEWPAIR: &[Flag] = &[
    flag("name", Text, &[], "Owner's name; asked for if not given").short('N'),
    flag("email", Text, &[], "Owner's address; asked for if not given").short('E'),
    flag("comment", Text, &[], "Comment; asked for if not given").short('C'),
    flag(
        "password",
        Text,
        &[],
        "Passphrase; asked for if not given, which keeps it out of the list of processes",
    )
    .short('P'),
    flag("bit-length", Text, &[], "Length of the RSA key [default: 4096]").takes("BITS", Nothing).short('b'),
    KEYSDIR,
    absent("push", Switch, &[], "export the public key with 'key export --armor' and hand it out").short('U'),
];

/// Flags of `key list`.
pub const KEY_LIST: &[Flag] = &[
    flag("secret", Switch, &["SECRET"], "Private keys instead of public ones")
        .short('s')
        .aliases(&["private"]),
    GLOBAL_RING,
    KEYSDIR,
];

/// Flags of `key import`.
pub const KEY_IMPORT: &[Flag] =
    &[flag("new-password", Switch, &[], "Ask for a new passphrase for a private key"), GLOBAL_RING, KEYSDIR];

/// Flags of `key export`.
pub const KEY_EXPORT: &[Flag] =
    &[SECRET_KEY, flag("armor", Switch, &[], "As text").short('a'), GLOBAL_RING, KEYSDIR];

/// Flags of `key remove`.
pub const KEY_REMOVE: &[Flag] = &[
    SECRET_KEY,
    flag("both", Switch, &[], "The private key and the public one").short('b'),
    accepted("public", Switch, &[], "The public key is removed unless another is named").short('p'),
    GLOBAL_RING,
    KEYSDIR,
];

/// Adds `flags` to a clap command, to be parsed.
pub fn add_to(command: Command, flags: &'static [Flag]) -> Command {
    flags.iter().fold(command, |command, flag| command.arg(parsed(flag)))
}

fn named(flag: &'static Flag) -> Arg {
    let named = Arg::new(flag.name).long(flag.name).short(flag.short);
    flag.aliases.iter().fold(named, |named, alias| {
        let mut letters = alias.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => named.short_alias(letter),
            _ => named.alias(*alias),
        }
    })
}

fn parsed(flag: &'static Flag) -> Arg {
    // As with the incumbents, what follows a flag that needs a value is its value, whatever it begins with.
    let valued = |argument: Arg| argument.value_parser(ValueParser::os_string()).allow_hyphen_values(true);
    match flag.kind {
        Kind::Switch => with_value(named(flag)),
        Kind::Text => valued(named(flag)),
        Kind::List | Kind::Each => valued(named(flag)).action(ArgAction::Append),
    }
}

/// A switch as it is typed: it may have a value behind an equals sign.
pub(super) fn with_value(switch: Arg) -> Arg {
    switch
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(ValueParser::new(parse_switch))
}

/// A flag as help and shells show it: without the value that a switch may have, with what a shell can offer.
pub(super) fn shown(flag: &'static Flag) -> Arg {
    let argument = named(flag).help(flag.help).help_heading(flag.topic);
    if flag.kind == Kind::Switch {
        return argument.action(ArgAction::SetTrue);
    }
    let argument = argument.value_name(flag.value).hide_possible_values(true);
    match flag.completes {
        Completes::Nothing => argument.value_hint(ValueHint::Other),
        Completes::Paths => argument.value_hint(ValueHint::AnyPath),
        Completes::Folders => argument.value_hint(ValueHint::DirPath),
        Completes::Words(words) => argument.value_parser(PossibleValuesParser::new(words)),
    }
}

/// A switch's value, in the spellings that the incumbents take.
///
/// # Errors
/// Which spellings there are.
pub fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_name_letter_and_alias_means_one_thing() {
        let command = add_to(add_to(Command::new("shell"), ACTION), SHELL_ONLY);
        command.debug_assert();
    }
}
