//! The commands, flags and variables of SingularityCE 4.5 and Apptainer 1.6: each is known here, so that a script
//! that uses one either works or hears by name what is not there and what to do instead.

use super::*;
use crate::cli::flags::Kind;

/// Flags of a command as its help has them: a letter before the name where there is one, `=` behind it where it takes a
/// value, then the variables that set it.
type Flags = &'static [(&'static str, &'static [&'static str])];

const ACTION: Flags = &[
    ("o overlay=", &["OVERLAY", "OVERLAYIMAGE"]),
    ("w writable", &["WRITABLE"]),
    ("writable-tmpfs", &["WRITABLE_TMPFS"]),
    ("f fakeroot", &["FAKEROOT"]),
    ("u userns", &["USERNS", "UNSHARE_USERNS"]),
    ("oci", &["OCI"]),
    ("no-oci", &["NO_OCI"]),
    ("no-compat", &["NO_COMPAT"]),
    ("compat", &["COMPAT"]),
    ("keep-layers", &["KEEP_LAYERS"]),
    ("tmp-sandbox", &["TMP_SANDBOX"]),
    ("no-tmp-sandbox", &["NO_TMP_SANDBOX"]),
    ("unsquash", &["UNSQUASH"]),
    ("underlay", &["UNDERLAY"]),
    ("sif-fuse", &["SIF_FUSE"]),
    ("B bind=", &["BIND", "BINDPATH"]),
    ("mount=", &["MOUNT"]),
    ("data=", &[]),
    ("fusemount=", &["FUSESPEC"]),
    ("H home=", &["HOME"]),
    ("no-home", &["NO_HOME"]),
    ("no-mount=", &["NO_MOUNT"]),
    ("S scratch=", &["SCRATCH", "SCRATCHDIR"]),
    ("W workdir=", &["WORKDIR"]),
    ("cwd=", &["CWD", "TARGET_CWD"]),
    ("pwd=", &["PWD", "TARGET_PWD"]),
    ("c contain", &["CONTAIN"]),
    ("C containall", &["CONTAINALL"]),
    ("e cleanenv", &["CLEANENV"]),
    ("env=", &[]),
    ("env-file=", &["ENV_FILE"]),
    ("no-env=", &["NOENV"]),
    ("no-eval", &["NO_EVAL"]),
    ("no-umask", &["NO_UMASK"]),
    ("no-init", &["NOSHIMINIT"]),
    ("p pid", &["PID", "UNSHARE_PID"]),
    ("no-pid", &["NO_PID"]),
    ("i ipc", &["IPC", "UNSHARE_IPC"]),
    ("uts", &["UTS", "UNSHARE_UTS"]),
    ("hostname=", &["HOSTNAME"]),
    ("n net", &["NET", "UNSHARE_NET"]),
    ("network=", &["NETWORK"]),
    ("network-args=", &["NETWORK_ARGS"]),
    ("netns-path=", &["NETNS_PATH"]),
    ("dns=", &["DNS"]),
    ("security=", &["SECURITY"]),
    ("add-caps=", &["ADD_CAPS"]),
    ("drop-caps=", &["DROP_CAPS"]),
    ("keep-privs", &["KEEP_PRIVS"]),
    ("no-privs", &["NO_PRIVS"]),
    ("allow-setuid", &["ALLOW_SETUID"]),
    ("apply-cgroups=", &["APPLY_CGROUPS"]),
    ("cpus=", &["CPUS"]),
    ("cpu-shares=", &["CPU_SHARES"]),
    ("cpuset-cpus=", &["CPUSET_CPUS"]),
    ("cpuset-mems=", &["CPUSET_MEMS"]),
    ("memory=", &["MEMORY"]),
    ("memory-reservation=", &["MEMORY_RESERVATION"]),
    ("memory-swap=", &["MEMORY_SWAP"]),
    ("oom-kill-disable", &["OOM_KILL_DISABLE"]),
    ("pids-limit=", &["PIDS_LIMIT"]),
    ("blkio-weight=", &["BLKIO_WEIGHT"]),
    ("blkio-weight-device=", &["BLKIO_WEIGHT_DEVICE"]),
    ("nv", &["NV"]),
    ("no-nv", &["NV_OFF", "NO_NV"]),
    ("nvccli", &["NVCCLI"]),
    ("rocm", &["ROCM"]),
    ("no-rocm", &["ROCM_OFF", "NO_ROCM"]),
    ("compat32", &["COMPAT32"]),
    ("intel-hpu", &["INTEL_HPU"]),
    ("device=", &[]),
    ("cdi-dirs=", &[]),
    ("app=", &["APP", "APPNAME"]),
    ("sharens", &["SHARENS"]),
    ("no-setgroups", &["NO_SETGROUPS"]),
    ("ignore-subuid", &["IGNORE_SUBUID"]),
    ("ignore-fakeroot-command", &["IGNORE_FAKEROOT_COMMAND"]),
    ("ignore-userns", &["IGNORE_USERNS"]),
    ("passphrase", &[]),
    ("pem-path=", &[]),
    ("disable-cache", &["DISABLE_CACHE"]),
    ("tmpdir=", &["TMPDIR"]),
    ("containlibs=", &["CONTAINLIBS"]),
    ("proot=", &["PROOT"]),
    ("runscript-timeout=", &["RUNSCRIPT_TIMEOUT"]),
    ("dmtcp-launch=", &[]),
    ("dmtcp-restart=", &[]),
    ("wdir=", &[]),
    ("workingdir=", &[]),
    ("scratchdir=", &[]),
    ("scratch-dir=", &[]),
    ("CONTAIN", &[]),
];
/// Of every command that may speak with a registry.
const REGISTRY: Flags = &[
    ("docker-login", &["DOCKER_LOGIN"]),
    ("docker-host=", &[]),
    ("docker-username=", &["DOCKER_USERNAME"]),
    ("docker-password=", &["DOCKER_PASSWORD"]),
    ("authfile=", &["AUTHFILE", "AUTH_FILE"]),
    ("no-https", &["NOHTTPS", "NO_HTTPS"]),
    ("nohttps", &[]),
];
const INSTANCE: Flags = &[("boot", &["BOOT"]), ("pid-file=", &["PID_FILE"])];
const BUILD: Flags = &[
    ("s sandbox", &["SANDBOX"]),
    ("F force", &["FORCE"]),
    ("u update", &["UPDATE"]),
    ("f fakeroot", &["FAKEROOT"]),
    ("T notest", &["NOTEST"]),
    ("section=", &["SECTION"]),
    ("json", &["JSON"]),
    ("r remote", &["REMOTE"]),
    ("d detached", &["DETACHED"]),
    ("builder=", &["BUILDER"]),
    ("arch=", &["BUILD_ARCH"]),
    ("arch-variant=", &[]),
    ("library=", &["LIBRARY"]),
    ("disable-cache", &["DISABLE_CACHE"]),
    ("no-cleanup", &["NO_CLEANUP"]),
    ("e encrypt", &[]),
    ("passphrase", &[]),
    ("pem-path=", &[]),
    ("fix-perms", &["FIXPERMS"]),
    ("nv", &["NV"]),
    ("nvccli", &["NVCCLI"]),
    ("rocm", &["ROCM"]),
    ("B bind=", &[]),
    ("mount=", &[]),
    ("writable-tmpfs", &[]),
    ("build-arg=", &[]),
    ("build-arg-file=", &[]),
    ("mksquashfs-args=", &[]),
    ("compat32", &[]),
    ("warn-unused-build-args", &[]),
    ("data=", &[]),
    ("reproducible", &[]),
    ("userns", &[]),
    ("buildkit-host=", &[]),
    ("ignore-subuid", &[]),
    ("ignore-fakeroot-command", &[]),
    ("ignore-userns", &[]),
    ("no-setgroups", &[]),
    ("oci", &["OCI"]),
    ("no-oci", &["NO_OCI"]),
    ("keep-layers", &["KEEP_LAYERS"]),
    ("tmpdir=", &["TMPDIR"]),
];
const PULL: Flags = &[
    ("F force", &["FORCE"]),
    ("dir=", &["PULLDIR", "PULLFOLDER"]),
    ("name=", &["PULL_NAME"]),
    ("arch=", &["PULL_ARCH", "ARCH"]),
    ("arch-variant=", &[]),
    ("platform=", &["PLATFORM"]),
    ("library=", &[]),
    ("disable-cache", &["DISABLE_CACHE"]),
    ("no-cleanup", &[]),
    ("U allow-unsigned", &["ALLOW_UNSIGNED"]),
    ("allow-unauthenticated", &[]),
    ("oci", &["OCI"]),
    ("no-oci", &["NO_OCI"]),
    ("keep-layers", &["KEEP_LAYERS"]),
    ("with-cosign", &[]),
    ("reproducible", &[]),
    ("sandbox", &[]),
    ("tmpdir=", &["TMPDIR"]),
];
const PUSH: Flags = &[
    ("U allow-unsigned", &["ALLOW_UNSIGNED"]),
    ("library=", &[]),
    ("D description=", &[]),
    ("layer-format=", &["LAYER_FORMAT"]),
    ("annotation=", &[]),
    ("with-cosign", &[]),
];
const LOGIN: Flags =
    &[("u username=", &[]), ("p password=", &[]), ("password-stdin", &[]), ("authfile=", &[])];
const INSPECT: Flags = &[
    ("l labels", &[]),
    ("d deffile", &[]),
    ("r runscript", &[]),
    ("s startscript", &[]),
    ("t test", &[]),
    ("e environment", &[]),
    ("H helpfile", &[]),
    ("j json", &[]),
    ("app=", &[]),
    ("list-apps", &[]),
    ("all", &[]),
];
const SIF_ADD: Flags = &[
    ("datatype=", &[]),
    ("parttype=", &[]),
    ("partfs=", &[]),
    ("partarch=", &[]),
    ("signhash=", &[]),
    ("signentity=", &[]),
    ("sbomformat=", &[]),
    ("groupid=", &[]),
    ("link=", &[]),
    ("alignment=", &[]),
    ("filename=", &[]),
];
const CAPABILITY: Flags = &[("u user=", &["CAP_USER"]), ("g group=", &["CAP_GROUP"])];
const SIGN: Flags = &[
    ("g group-id=", &[]),
    ("i sif-id=", &[]),
    ("groupid=", &[]),
    ("id=", &[]),
    ("key=", &["SIGN_KEY"]),
    ("k keyidx=", &[]),
    ("a all", &[]),
    ("c cosign", &[]),
];
const VERIFY: Flags = &[
    ("g group-id=", &[]),
    ("i sif-id=", &[]),
    ("groupid=", &[]),
    ("id=", &[]),
    ("a all", &[]),
    ("l local", &["LOCAL_VERIFY"]),
    ("j json", &[]),
    ("u url=", &["URL"]),
    ("key=", &["VERIFY_KEY"]),
    ("certificate=", &["VERIFY_CERTIFICATE"]),
    ("certificate-intermediates=", &[]),
    ("certificate-roots=", &[]),
    ("ocsp-verify", &[]),
    ("legacy-insecure", &[]),
    ("c cosign", &[]),
];
const CONFIG_GLOBAL: Flags =
    &[("s set", &[]), ("u unset", &[]), ("g get", &[]), ("r reset", &[]), ("d dry-run", &[])];
const CONFIG_FAKEROOT: Flags = &[("a add", &[]), ("r remove", &[]), ("e enable", &[]), ("d disable", &[])];
const KEY_NEWPAIR: Flags = &[
    ("N name=", &[]),
    ("E email=", &[]),
    ("C comment=", &[]),
    ("P password=", &[]),
    ("U push", &[]),
    ("b bit-length=", &[]),
    ("d keysdir=", &[]),
];
const RING: Flags = &[("g global", &[]), ("d keysdir=", &[])];

/// Every command that has flags, with them.
const KNOWN: &[(&[&str], &[Flags])] = &[
    (&["run", "exec", "test"], &[ACTION, REGISTRY]),
    (&["shell"], &[ACTION, REGISTRY, &[("s shell=", &["SHELL"])]]),
    (&["instance start", "instance run"], &[ACTION, REGISTRY, INSTANCE]),
    (
        &["instance list"],
        &[&[("u user=", &["USER"]), ("j json", &["JSON"]), ("l logs", &["LOGS"]), ("a all", &["ALL"])]],
    ),
    (
        &["instance stop"],
        &[&[
            ("u user=", &["USER"]),
            ("a all", &["ALL"]),
            ("F force", &["FORCE"]),
            ("f force", &[]),
            ("s signal=", &["SIGNAL"]),
            ("t timeout=", &[]),
        ]],
    ),
    (&["instance stats"], &[&[("u user=", &["USER"]), ("j json", &["JSON"]), ("no-stream", &[])]]),
    (
        &["overlay create"],
        &[&[
            ("s size=", &[]),
            ("S sparse", &["SPARSE"]),
            ("create-dir=", &[]),
            ("f fakeroot", &["FAKEROOT"]),
            ("tmpdir=", &["TMPDIR"]),
        ]],
    ),
    (&["image.create"], &[&[("s size=", &[]), ("F force", &[])]]),
    (&["sif add"], &[SIF_ADD]),
    (&["build"], &[BUILD, REGISTRY]),
    (&["pull"], &[PULL, REGISTRY]),
    (&["push"], &[PUSH, REGISTRY]),
    (&["cache list"], &[&[("T type=", &[]), ("v verbose", &[])]]),
    (&["cache clean"], &[&[("T type=", &[]), ("D days=", &[]), ("n dry-run", &[]), ("f force", &[])]]),
    (&["registry login"], &[LOGIN]),
    (&["inspect"], &[INSPECT]),
    (&["run-help"], &[&[("app=", &[])]]),
    (&["config global"], &[CONFIG_GLOBAL]),
    (&["config fakeroot"], &[CONFIG_FAKEROOT]),
    (&["capability add", "capability drop"], &[CAPABILITY]),
    (&["sign"], &[SIGN]),
    (&["verify"], &[VERIFY]),
    (&["key newpair"], &[KEY_NEWPAIR]),
    (&["key list"], &[&[("s secret", &["SECRET"]), ("private", &[])], RING]),
    (&["key import"], &[&[("new-password", &[])], RING]),
    (&["key export"], &[&[("s secret", &[]), ("a armor", &[])], RING]),
];

/// Every command without flags, and those that this program may lack if it says what to do instead.
const MORE: &[&str] = &[
    "overlay sync",
    "overlay seal",
    "sif header",
    "sif list",
    "sif info",
    "sif dump",
    "sif new",
    "sif del",
    "sif setprim",
    "capability list",
    "capability avail",
    "buildcfg",
    "version",
    "key remove",
    "key search",
    "key pull",
    "key push",
    "delete",
    "search",
    "tag",
    "cache",
    "remote",
    "registry",
    "keyserver",
    "plugin",
    "oci",
    "data",
    "checkpoint",
    "confgen",
    "image.expand",
    "image.import",
    "image.export",
    "create",
    "bootstrap",
];

fn entry(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| entry.name == name)
}

/// What is not as the incumbents have it about a flag of a command.
fn missing(entry: &Entry, spelled: &str, variables: &[&str]) -> Option<String> {
    let (letter, name) =
        spelled.split_once(' ').map_or((None, spelled), |(letter, name)| (letter.chars().next(), name));
    let (name, valued) = name.strip_suffix('=').map_or((name, false), |name| (name, true));
    let typed = if valued { vec![format!("--{name}=1")] } else { vec![format!("--{name}")] };
    let short =
        letter.map(
            |letter| if valued { vec![format!("-{letter}"), "1".into()] } else { vec![format!("-{letter}")] },
        );
    for typed in std::iter::once(typed).chain(short) {
        if let Err(error) = definition(entry, "lamina").try_get_matches_from(&typed) {
            return Some(format!("{} {}: {}", entry.name, typed.join(" "), error.kind()));
        }
    }
    let known: Vec<&str> =
        entry.flags.iter().copied().flatten().flat_map(|flag| flag.variables).copied().collect();
    let unknown: Vec<&&str> = variables.iter().filter(|variable| !known.contains(variable)).collect();
    (!unknown.is_empty()).then(|| format!("{} --{name}: no variable {unknown:?}", entry.name))
}

#[test]
fn every_flag_and_variable_of_the_incumbents_is_known() {
    let mut lacks = Vec::new();
    for (names, flags) in KNOWN {
        for name in *names {
            let Some(entry) = entry(name) else {
                lacks.push((*name).to_owned());
                continue;
            };
            let flags = flags.iter().copied().flatten();
            lacks.extend(flags.filter_map(|(flag, variables)| missing(entry, flag, variables)));
        }
    }
    assert!(lacks.is_empty(), "{}", lacks.join("\n"));
}

#[test]
fn every_command_of_the_incumbents_is_there_or_has_a_remedy() {
    let group = |name: &str| COMMANDS.iter().any(|entry| entry.name.starts_with(&format!("{name} ")));
    let lacks: Vec<&&str> = MORE
        .iter()
        .filter(|name| entry(name).is_none() && instead_of(name).is_none() && !group(name))
        .collect();
    assert!(lacks.is_empty(), "{lacks:?}");
}

#[test]
fn what_is_refused_is_refused_with_a_remedy_and_by_its_variables_too() {
    use crate::cli::given::Environment;
    for entry in COMMANDS {
        for flag in entry.flags.iter().copied().flatten() {
            let Some(instead) = flag.instead else { continue };
            assert!(!instead.is_empty(), "{}", flag.name);
            let typed = definition(entry, "lamina").try_get_matches_from([""; 0]).expect("nothing was typed");
            for variable in flag.variables {
                let value = if flag.kind == Kind::Switch { "1" } else { "word" };
                let host = vec![(format!("SINGULARITY_{variable}").into(), value.into())];
                let host = Environment::new(host, Dialect::Singularity);
                let refused = Given::collect(&[flag], &typed, &host).expect_err(variable);
                assert_eq!(refused.to_string(), format!("--{} is not supported", flag.name));
                assert_eq!(refused.next_step(), Some(instead));
            }
        }
    }
}

#[test]
fn what_is_known_only_to_be_refused_is_not_offered() {
    let offered = help::tree("lamina");
    assert!(offered.get_arguments().any(|argument| argument.get_id() == "quiet"));
    assert!(offered.get_arguments().all(|argument| argument.get_id() != "config"));
}

#[test]
fn every_command_has_a_sound_definition() {
    for entry in COMMANDS {
        definition(entry, "lamina").debug_assert();
        assert!(instead_of(entry.name).is_none());
    }
}
