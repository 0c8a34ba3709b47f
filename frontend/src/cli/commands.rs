//! The table of commands, and the way from a name to its function.

use super::arguments::end_options_at_first_positional;
use super::flags::{self, Flag};
use super::given::Given;
use super::{
    Invocation, Stop, actions, admin, answer, delegate, explain, help, inspect, instance, makers, privileges,
    remote, sif, usage, usage_error,
};
use crate::error::Failure;
use crate::making::use_temporary_directory;
use crate::overlay;
use crate::payload::{Action, Dialect};
use crate::{launch, site};
use clap::{Arg, Command};
use std::ffi::OsString;
use std::path::Path;

/// The program's own version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The releases whose command lines this program follows: scripts compare the number with what they need.
const SINGULARITY_LEVEL: &str = "4.5.1";
const APPTAINER_LEVEL: &str = "1.6.0";

/// One command.
pub(super) struct Entry {
    /// Its name, words separated by spaces.
    pub(super) name: &'static str,
    /// What follows the name.
    pub(super) synopsis: &'static str,
    pub(super) about: &'static str,
    pub(super) flags: &'static [&'static [Flag]],
    /// Fewest and most positionals.
    positionals: (usize, usize),
    /// Options may follow positionals.
    interspersed: bool,
    /// What the help says before the examples; empty or ended by an empty line.
    pub(super) notes: &'static str,
    /// Command lines without the program's name, and remarks on those that follow, which begin with `#`.
    pub(super) examples: &'static str,
    run: fn(&Invocation, &Entry, Given, Vec<OsString>) -> Result<(), Stop>,
}

pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "exec",
        synopsis: "[options...] <container> <command> [args...]",
        about: "Run a command in a container",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS],
        positionals: (2, usize::MAX),
        interspersed: false,
        notes: "",
        examples: "\
            # a program of the image\n\
            exec image.sif cat /etc/passwd\n\
            # what it writes goes into the overlay, and is there the next time\n\
            exec --overlay changes.img image.sif touch /new-file\n\
            # a directory of this machine, elsewhere and read-only\n\
            exec --bind data:/mnt:ro image.sif ls /mnt\n\
            # what would be mounted; nothing is started\n\
            exec --dry-run --overlay changes.img image.sif true",
        run: act,
    },
    Entry {
        name: "run",
        synopsis: "[options...] <container> [args...]",
        about: "Run a container's own program",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS],
        positionals: (1, usize::MAX),
        interspersed: false,
        notes: "",
        examples: "\
            run image.sif\n\
            # what stands behind the image is the program's\n\
            run --containall image.sif --an-option-of-the-program",
        run: act,
    },
    Entry {
        name: "shell",
        synopsis: "[options...] <container>",
        about: "Run a shell in a container",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS, flags::SHELL_ONLY],
        positionals: (1, usize::MAX),
        interspersed: false,
        notes: "",
        examples: "\
            shell image.sif\n\
            # with changes in memory, that are gone afterwards\n\
            shell --writable-tmpfs image.sif",
        run: act,
    },
    Entry {
        name: "test",
        synopsis: "[options...] <container> [args...]",
        about: "Run a container's test script",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS],
        positionals: (1, usize::MAX),
        interspersed: false,
        notes: "",
        examples: "  test image.sif",
        run: act,
    },
    Entry {
        name: "overlay create",
        synopsis: "[options...] <image>",
        about: "Make an overlay image, or add an overlay to a SIF",
        flags: &[flags::OVERLAY_CREATE],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "\
            # 1 GiB that takes disk space only as it fills\n\
            overlay create --sparse --size 1024 changes.img\n\
            # inside an image, with a directory that you can write to\n\
            overlay create --create-dir /var/cache/nginx image.sif",
        run: |invocation, _, given, mut words| makers::overlay_create(invocation, &given, words.remove(0)),
    },
    Entry {
        name: "overlay sync",
        synopsis: "<oci-sif>",
        about: "Record the digest of the overlay in an OCI-SIF image",
        flags: &[],
        positionals: (1, 1),
        interspersed: true,
        notes: "The documents of the image then describe the overlay as it is. Running the image does not need that;\nsending it to a registry does.\n\n",
        examples: "  overlay sync image.oci.sif",
        run: |invocation, _, _, mut words| {
            Ok(overlay::sync(Path::new(&words.remove(0)), &invocation.program)?)
        },
    },
    Entry {
        name: "overlay seal",
        synopsis: "<image>",
        about: "Make the overlay in or of an image a read-only layer",
        flags: &[],
        positionals: (1, 1),
        interspersed: true,
        notes: "The ext3 overlay of an OCI-SIF or SIF, or an overlay image itself, becomes a squashfs that has what was changed,\nin as little space as that takes.\n\n",
        examples: "  overlay seal image.oci.sif\n  overlay seal changes.img",
        run: |invocation, _, _, mut words| makers::overlay_seal(invocation, words.remove(0)),
    },
    Entry {
        name: "image.create",
        synopsis: "[options...] <image>",
        about: "Make an overlay image, as version 2.4 did",
        flags: &[flags::IMAGE_CREATE],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "  image.create --size 1024 changes.img",
        run: |invocation, _, given, mut words| makers::image_create(invocation, &given, words.remove(0)),
    },
    Entry {
        name: "build",
        synopsis: "[options...] <target> <source>",
        about: "Make a SIF or a sandbox from an image, a directory or a definition file",
        flags: &[flags::BUILD, flags::REGISTRY_ACCESS],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "\
            build image.sif directory/\n\
            # a directory to change things in, and an image of it\n\
            build --sandbox writable/ image.sif\n\
            build changed.sif writable/\n\
            # what a definition file says, without being root\n\
            build tool.sif recipe.def",
        run: |invocation, _, given, mut words| {
            let source = words.remove(1);
            makers::build(invocation, &given, words.remove(0), source)
        },
    },
    Entry {
        name: "pull",
        synopsis: "[options...] [output] <reference>",
        about: "Fetch an image into a SIF",
        flags: &[flags::PULL, flags::REGISTRY_ACCESS],
        positionals: (1, 2),
        interspersed: true,
        notes: "",
        examples: "  pull docker://alpine:3.20\n  pull tools.sif docker://registry.example.org/tools:latest",
        run: over_network,
    },
    Entry {
        name: "push",
        synopsis: "[options...] <image> <reference>",
        about: "Send an image to a registry",
        flags: &[flags::PUSH, flags::REGISTRY_ACCESS],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "  push image.sif oras://registry.example.org/team/image:v1",
        run: over_network,
    },
    Entry {
        name: "registry login",
        synopsis: "[options...] <registry>",
        about: "Log in to a registry, and keep the login for later commands",
        flags: &[flags::REGISTRY_LOGIN],
        positionals: (1, 1),
        interspersed: true,
        notes: "The registry is asked whether it takes the password. The file that keeps it is ~/.singularity/docker-config.json,\nas apptainer ~/.apptainer/docker-config.json, in Docker's form and for your eyes only.\n\n",
        examples: "\
            registry login docker://registry.example.org\n\
            registry login --username robot --password-stdin oras://registry.example.org",
        run: over_network,
    },
    Entry {
        name: "registry logout",
        synopsis: "[options...] <registry>",
        about: "Forget the login for a registry",
        flags: &[flags::REGISTRY_LOGINS],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "  registry logout docker://registry.example.org",
        run: over_network,
    },
    Entry {
        name: "registry list",
        synopsis: "[options...]",
        about: "List the registries that you are logged in to",
        flags: &[flags::REGISTRY_LOGINS],
        positionals: (0, 0),
        interspersed: true,
        notes: "",
        examples: "  registry list",
        run: over_network,
    },
    Entry {
        name: "cache list",
        synopsis: "[options...]",
        about: "Say how much is kept of fetched images",
        flags: &[flags::CACHE_LIST],
        positionals: (0, 0),
        interspersed: true,
        notes: "",
        examples: "  cache list --verbose --type blob,oci-tmp",
        run: over_network,
    },
    Entry {
        name: "cache clean",
        synopsis: "[options...]",
        about: "Remove what is kept of fetched images",
        flags: &[flags::CACHE_CLEAN],
        positionals: (0, 0),
        interspersed: true,
        notes: "What is needed is fetched again. Containers that run go on.\n\n",
        examples: "  cache clean --dry-run\n  cache clean --days 30 --force",
        run: over_network,
    },
    Entry {
        name: "sif header",
        synopsis: "[--json] <sif>",
        about: "Show the global header of a SIF",
        flags: &[flags::SIF_SHOW],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "sif header image.sif",
        run: |invocation, entry, given, words| {
            let done = sif::header(&given, &words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif list",
        synopsis: "[--json] <sif>",
        about: "List the objects of a SIF",
        flags: &[flags::SIF_SHOW],
        positionals: (1, 1),
        interspersed: true,
        notes: sif::LIST_NOTES,
        examples: "  sif list image.sif\n  sif list --json image.sif",
        run: |invocation, entry, given, words| {
            let done = sif::list(&given, &words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif info",
        synopsis: "[--json] <id> <sif>",
        about: "Show all that a SIF says of one object",
        flags: &[flags::SIF_SHOW],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "  sif info 3 image.sif",
        run: |invocation, entry, given, words| {
            let done = sif::info(&given, &words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif dump",
        synopsis: "<id> <sif>",
        about: "Write the data of one object of a SIF to standard output",
        flags: &[],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "\
            sif dump 1 image.sif\n\
            # the root file system\n\
            sif dump 3 image.sif > root.squashfs",
        run: |invocation, entry, _, words| {
            let done = sif::dump(&words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif new",
        synopsis: "<sif>",
        about: "Make a SIF without objects",
        flags: &[],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "sif new new.sif",
        run: |invocation, entry, _, words| {
            let done = sif::new(&words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif add",
        synopsis: "<sif> <object> --datatype <number> [options...]",
        about: "Add a file to a SIF as a new object",
        flags: &[flags::SIF_ADD],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "\
            # an overlay for amd64, beside the root file system\n\
            sif add --datatype 4 --partfs 2 --parttype 4 --partarch 2 --groupid 1 image.sif changes.img\n\
            # a definition file\n\
            sif add image.sif recipe.def --datatype 1",
        run: |invocation, entry, given, words| {
            let done = sif::add(&given, &words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif del",
        synopsis: "[--compact] <id> <sif>",
        about: "Delete an object of a SIF",
        flags: &[flags::SIF_DEL],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "\
            # an overlay that is not wanted any more\n\
            overlay create image.sif\n\
            sif del 4 image.sif",
        run: |invocation, entry, given, words| {
            let done = sif::del(&given, &words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "sif setprim",
        synopsis: "<id> <sif>",
        about: "Make a system partition of a SIF the one to run",
        flags: &[],
        positionals: (2, 2),
        interspersed: true,
        notes: "",
        examples: "\
            # another root file system for the same image\n\
            sif add --datatype 4 --partfs 1 --parttype 1 --partarch 2 --groupid 1 image.sif other.squashfs\n\
            sif setprim 4 image.sif",
        run: |invocation, entry, _, words| {
            let done = sif::setprim(&words);
            in_sif_group(invocation, entry, done)
        },
    },
    Entry {
        name: "config check",
        synopsis: "[FILE]",
        about: "Say what is wrong with singularity.conf",
        flags: &[],
        positionals: (0, 1),
        interspersed: true,
        notes: admin::CHECK_NOTES,
        examples: "\
            config check\n\
            # before it becomes the site's\n\
            config check new.conf",
        run: |_, _, _, words| admin::config_check(&words),
    },
    Entry {
        name: "config global",
        synopsis: "--set|--unset|--get|--reset [--dry-run] <directive> [value,...]",
        about: "Show or change a directive of singularity.conf",
        flags: &[flags::CONFIG_GLOBAL],
        positionals: (1, 2),
        interspersed: true,
        notes: admin::GLOBAL_NOTES,
        examples: "\
            config global --get 'mount home'\n\
            config global --set 'mount hostfs' no\n\
            # the values of a list\n\
            config global --set 'bind path' /scratch,/data\n\
            config global --unset 'bind path' /etc/localtime\n\
            # what would change\n\
            config global --dry-run --reset 'bind path'",
        run: |invocation, _, given, words| admin::config_global(invocation, &given, &words),
    },
    Entry {
        name: "config fakeroot",
        synopsis: "--add|--remove|--enable|--disable <user>",
        about: "Give users ids for containers with --fakeroot, or take them away",
        flags: &[flags::CONFIG_FAKEROOT],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "config fakeroot --add ada\nconfig fakeroot --disable ada",
        run: |invocation, _, given, words| privileges::config_fakeroot(invocation, &given, &words),
    },
    Entry {
        name: "capability add",
        synopsis: "--user NAME|--group NAME <capability,...>",
        about: "Grant capabilities in capability.json",
        flags: &[flags::CAPABILITY],
        positionals: (1, 1),
        interspersed: true,
        notes: privileges::NOTES,
        examples: "capability add --user root CAP_NET_RAW,CAP_NET_BIND_SERVICE",
        run: |_, _, given, words| privileges::capability_add(&given, &words),
    },
    Entry {
        name: "capability drop",
        synopsis: "--user NAME|--group NAME <capability,...>",
        about: "Take capabilities back in capability.json",
        flags: &[flags::CAPABILITY],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "capability drop --user root all",
        run: |_, _, given, words| privileges::capability_drop(&given, &words),
    },
    Entry {
        name: "capability list",
        synopsis: "[user or group]",
        about: "List what capability.json grants",
        flags: &[],
        positionals: (0, 1),
        interspersed: true,
        notes: "",
        examples: "capability list\ncapability list root",
        run: |_, _, _, words| privileges::capability_list(&words),
    },
    Entry {
        name: "capability avail",
        synopsis: "[capability,...]",
        about: "Say what capabilities there are and what they permit",
        flags: &[],
        positionals: (0, 1),
        interspersed: true,
        notes: "",
        examples: "capability avail\ncapability avail CAP_NET_RAW",
        run: |_, _, _, words| privileges::capability_avail(&words),
    },
    Entry {
        name: "doctor",
        synopsis: "[--json]",
        about: "Say what this host can and cannot do",
        flags: &[flags::DOCTOR],
        positionals: (0, 0),
        interspersed: true,
        notes: admin::DOCTOR_NOTES,
        examples: "  doctor\n  doctor --json",
        run: |_, _, given, _| admin::doctor(&given),
    },
    Entry {
        name: "explain",
        synopsis: "[options...] <container> [command [args...]]",
        about: "Say what exec would mount, and which line allows it",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS],
        positionals: (1, usize::MAX),
        interspersed: false,
        notes: explain::NOTES,
        examples: "\
            explain image.sif\n\
            explain --overlay changes.img --bind data:/data image.sif true",
        run: act,
    },
    Entry {
        name: "inspect",
        synopsis: "[options...] <image>",
        about: "Show what an image says of itself",
        flags: &[flags::INSPECT],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "\
            # the labels\n\
            inspect image.sif\n\
            inspect --runscript --environment image.sif\n\
            inspect --all image.sif",
        run: |_, _, given, words| inspect::inspect(&given, &words),
    },
    Entry {
        name: "run-help",
        synopsis: "[--app NAME] <image>",
        about: "Print an image's help",
        flags: &[flags::RUN_HELP],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "run-help image.sif",
        run: |_, _, given, words| inspect::run_help(&given, &words),
    },
    Entry {
        name: "sign",
        synopsis: "[options...] <sif>",
        about: "Add signatures to a SIF",
        flags: &[flags::SIGN],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "\
            # with your only OpenPGP key, or the one you pick\n\
            sign image.sif\n\
            # with the first of those that 'key list --secret' shows\n\
            sign --keyidx 0 image.sif\n\
            # with a key that 'openssl genpkey' made\n\
            sign --key private.pem image.sif",
        run: by_keys,
    },
    Entry {
        name: "verify",
        synopsis: "[options...] <sif>",
        about: "Verify the signatures of a SIF",
        flags: &[flags::VERIFY],
        positionals: (1, 1),
        interspersed: true,
        notes: VERIFY_NOTES,
        examples: "\
            # with the OpenPGP keys that were imported\n\
            verify image.sif\n\
            verify --json image.sif\n\
            # with the public half of a key that 'openssl genpkey' made\n\
            verify --key public.pem image.sif",
        run: by_keys,
    },
    Entry {
        name: "key newpair",
        synopsis: "[options...]",
        about: "Make an OpenPGP key to sign with",
        flags: &[flags::KEY_NEWPAIR],
        positionals: (0, 0),
        interspersed: true,
        notes: "",
        examples: "\
            # without questions, for a machine that signs by itself; without options all is asked for\n\
            key newpair --name 'Build host' --email builds@example.org --comment '' --password ''",
        run: by_keys,
    },
    Entry {
        name: "key list",
        synopsis: "[options...]",
        about: "List the keys of a ring",
        flags: &[flags::KEY_LIST],
        positionals: (0, 0),
        interspersed: true,
        notes: "",
        examples: "key list\nkey list --secret",
        run: by_keys,
    },
    Entry {
        name: "key import",
        synopsis: "[options...] <file>",
        about: "Add the OpenPGP keys of a file to a ring",
        flags: &[flags::KEY_IMPORT],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "key import colleague.asc",
        run: by_keys,
    },
    Entry {
        name: "key export",
        synopsis: "[options...] <file>",
        about: "Write a key to a file",
        flags: &[flags::KEY_EXPORT],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "\
            # as text, to hand out\n\
            key export --armor mine.asc",
        run: by_keys,
    },
    Entry {
        name: "key remove",
        synopsis: "[options...] <fingerprint>",
        about: "Remove a key from a ring",
        flags: &[flags::KEY_REMOVE],
        positionals: (1, 1),
        interspersed: true,
        notes: "",
        examples: "\
            # by its fingerprint\n\
            key remove 4F84A98CEB896E98D5040619F8A6989D4BEFF3AC",
        run: by_keys,
    },
    Entry {
        name: "buildcfg",
        synopsis: "[name]",
        about: "Print what was fixed when the program was built",
        flags: &[],
        positionals: (0, 1),
        interspersed: true,
        notes: "",
        examples: "buildcfg\nbuildcfg SYSCONFDIR",
        run: |invocation, _, _, words| build_settings(invocation, words.first()),
    },
    Entry {
        name: "instance start",
        synopsis: "[options...] <image> <name> [args...]",
        about: "Start an instance: the image's start script, in the background",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS, flags::INSTANCE_START],
        positionals: (2, usize::MAX),
        interspersed: false,
        notes: "",
        examples: "\
            instance start image.sif web\n\
            # a program in it, and its end\n\
            exec instance://web true\n\
            instance stop web",
        run: |invocation, _, given, words| instance::start(invocation, given, words, Action::Start),
    },
    Entry {
        name: "instance run",
        synopsis: "[options...] <image> <name> [args...]",
        about: "Start an instance with the image's own program",
        flags: &[flags::ACTION, flags::REGISTRY_ACCESS, flags::INSTANCE_START],
        positionals: (2, usize::MAX),
        interspersed: false,
        notes: "",
        examples: "  instance run image.sif job\n  instance stop job",
        run: |invocation, _, given, words| instance::start(invocation, given, words, Action::Run),
    },
    Entry {
        name: "instance list",
        synopsis: "[options...] [pattern]",
        about: "List the running instances",
        flags: &[flags::INSTANCE_LIST],
        positionals: (0, 1),
        interspersed: true,
        notes: "A pattern with * and ? in it chooses instances by their names.\n\n",
        examples: "  instance list\n  instance list --json 'web*'",
        run: |invocation, _, given, words| instance::list(invocation, &given, &words),
    },
    Entry {
        name: "instance stop",
        synopsis: "[options...] [pattern]",
        about: "End instances",
        flags: &[flags::INSTANCE_STOP],
        positionals: (0, 1),
        interspersed: true,
        notes: "Every process in the instance gets the signal. When none is left, or after the time for it, the instance\nis gone.\n\n",
        examples: "\
            instance start image.sif web\n\
            instance stop --timeout 5 'web*'",
        run: |invocation, _, given, words| instance::stop(invocation, &given, &words),
    },
    Entry {
        name: "instance stats",
        synopsis: "[options...] <name>",
        about: "Show what an instance takes of the machine",
        flags: &[flags::INSTANCE_STATS],
        positionals: (1, 1),
        interspersed: true,
        notes: instance::STATS_NOTES,
        examples: "  instance stats web\n  instance stats --no-stream --json web",
        run: |invocation, _, given, words| instance::stats(invocation, &given, &words),
    },
    Entry {
        name: "version",
        synopsis: "",
        about: "Print the version",
        flags: &[],
        positionals: (0, 0),
        interspersed: true,
        notes: "",
        examples: "  version",
        run: |invocation, _, _, _| Ok(answer::print(version(invocation) + "\n")?),
    },
];

/// What `verify` means by verified.
const VERIFY_NOTES: &str = "\
Every group of objects must be signed, and every signature must hold: by a known key that is neither
revoked nor expired, over exactly the objects that the group has. --group-id and --sif-id ask for less;
a warning then names the objects that nothing was said about.

";

/// Commands of the incumbents that this program does not have, and what to do instead.
const ABSENT: &[(&[&str], &str)] = &[
    (&["search"], "search on the pages of the registry, and name what you find docker:// or oras://"),
    (
        &["delete"],
        "images are fetched from libraries, not deleted there; 'skopeo delete docker://NAME' deletes from a registry",
    ),
    (&["tag"], "'skopeo copy docker://NAME:OLD docker://NAME:NEW' gives an image in a registry another tag"),
    (
        &["remote"],
        "log in to a registry with 'registry login', name a library to fetch from with --library, and build on this machine",
    ),
    (&["keyserver"], "keys are not fetched: get them from whom you trust and add them with 'key import'"),
    (&["key search", "key pull"], "get the public key from whom you trust and add it with 'key import'"),
    (&["key push"], "write the public key with 'key export --armor' and hand it out"),
    (&["key generate-cosign-key-pair"], "use the cosign program"),
    (&["plugin"], "there are no plugins"),
    (&["oci"], "run OCI bundles with crun or runc"),
    (&["data"], "make a squashfs with mksquashfs and show it with --mount type=bind,image-src=/"),
    (&["checkpoint"], "run the program under a tool that makes checkpoints"),
    (&["image.expand"], "run truncate, e2fsck -f and resize2fs on the image"),
    (&["image.import", "image.export"], "use 'build --sandbox' and tar"),
    (&["create"], "use 'overlay create' or 'image.create'"),
    (&["bootstrap"], "use 'build'"),
    (&["confgen"], "use 'config global --reset' for each directive"),
];

/// What to do instead of a command that is not there.
fn instead_of(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(names, _)| names.contains(&name)).map(|(_, instead)| *instead)
}

/// Signatures and keys are the work of a program of their own.
fn by_keys(invocation: &Invocation, _: &Entry, _: Given, _: Vec<OsString>) -> Result<(), Stop> {
    delegate::become_program("lamina-keys", invocation)
}

fn over_network(invocation: &Invocation, _: &Entry, _: Given, _: Vec<OsString>) -> Result<(), Stop> {
    remote::hand_over(invocation)
}

fn act(invocation: &Invocation, entry: &Entry, given: Given, words: Vec<OsString>) -> Result<(), Stop> {
    actions::act(invocation, entry.name, given, words)
}

/// Commands of the `sif` group fail with exit status 1 and not with `FATAL:`.
fn in_sif_group(invocation: &Invocation, entry: &Entry, done: Result<(), sif::Wrong>) -> Result<(), Stop> {
    let program = &invocation.program;
    done.map_err(|wrong| match wrong {
        sif::Wrong::Usage(what) => usage(&what, program, Some(entry.name), &mut definition(entry, program)),
        sif::Wrong::Failed(failure) => Stop::Usage(format!(
            "Error for command \"{}\": {failure}\n{}",
            entry.name,
            failure.next_step().map_or_else(String::new, |step| format!("       {step}\n"))
        )),
    })
}

/// Finds the command and runs it.
pub(super) fn dispatch(
    invocation: &Invocation,
    name: &str,
    mut rest: Vec<OsString>,
    root: &mut Command,
) -> Result<(), Stop> {
    let name = if name == "help" {
        return help::help(invocation, &rest, root);
    } else {
        full_name(name, &mut rest)
    };
    let Some(entry) = COMMANDS.iter().find(|entry| entry.name == name) else {
        return match (rest.first().and_then(|word| word.to_str()), help::group(&name, &invocation.program)) {
            (Some("--help" | "-h"), Some(list)) => Ok(answer::print(list)?),
            _ => Err(unknown(&name, invocation, root)),
        };
    };
    let program = &invocation.program;
    let mut command = definition(entry, program);
    let arguments = if entry.interspersed { rest } else { end_options_at_first_positional(&command, rest) };
    let matches = match command.try_get_matches_from_mut(arguments) {
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            return Ok(answer::print(help::of_command(entry, program))?);
        }
        matches => matches.map_err(|error| usage_error(&error, program, Some(entry.name), &mut command))?,
    };
    let words: Vec<OsString> = matches.get_many::<OsString>("words").into_iter().flatten().cloned().collect();
    let (fewest, most) = entry.positionals;
    if words.len() < fewest || words.len() > most {
        let wanted = match (fewest, most) {
            (fewest, most) if fewest == most => format!("accepts {fewest} arg(s), received {}", words.len()),
            (fewest, most) if words.len() > most => {
                format!("accepts between {fewest} and {most} arg(s), received {}", words.len())
            }
            _ => format!("requires at least {fewest} arg(s), only received {}", words.len()),
        };
        return Err(usage(&wanted, program, Some(entry.name), &mut command));
    }
    let flags: Vec<&'static Flag> = entry.flags.iter().copied().flatten().collect();
    let given = Given::collect(&flags, &matches, &invocation.host)?;
    // Commands without the flag make temporary files too.
    if let Some(directory) = given.last("tmpdir").or_else(|| invocation.host.prefixed_quietly("TMPDIR")) {
        use_temporary_directory(Path::new(directory));
    }
    match invocation.handlers.iter().find(|(name, _)| *name == entry.name) {
        Some((_, carry_out)) => carry_out(invocation, &given, &words),
        None => (entry.run)(invocation, entry, given, words),
    }
}

/// `overlay` and what follows it make one name.
pub(super) fn full_name(name: &str, rest: &mut Vec<OsString>) -> String {
    // As version 2 wrote it.
    if let Some(command) = name.strip_prefix("instance.") {
        return format!("instance {command}");
    }
    let name = help::first_word(name);
    let is_group = COMMANDS.iter().any(|entry| entry.name.starts_with(&format!("{name} ")));
    match rest.first().and_then(|next| next.to_str()).filter(|next| is_group && !next.starts_with('-')) {
        Some(next) => {
            let full = format!("{name} {next}");
            rest.remove(0);
            full
        }
        None => name.to_owned(),
    }
}

pub(super) fn unknown(name: &str, invocation: &Invocation, root: &mut Command) -> Stop {
    let program = &invocation.program;
    if let Some(instead) = instead_of(name) {
        return Failure::new(format!("the command '{name}' is not part of this version"))
            .hint(instead)
            .into();
    }
    match help::group(name, program) {
        Some(list) => Stop::Usage(list),
        None => usage(
            &format!("unknown command \"{}\" for \"{program}\"", crate::message::shown(name)),
            program,
            None,
            root,
        ),
    }
}

/// A command as it is parsed. What it shows to people is in [`help`].
pub(super) fn definition(entry: &Entry, program: &str) -> Command {
    let full = format!("{program} {}", entry.name);
    let command = Command::new(entry.name)
        .no_binary_name(true)
        .bin_name(full.clone())
        .override_usage(format!("{full} {}", entry.synopsis).trim_end().to_owned())
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(Arg::new("words").num_args(0..).hide(true).value_parser(clap::value_parser!(OsString)));
    entry.flags.iter().fold(command, |command, flags| flags::add_to(command, flags))
}

/// What `version` prints: the followed release's number first, then whose this is.
fn version(invocation: &Invocation) -> String {
    match invocation.program.as_str() {
        "singularity" => format!("{SINGULARITY_LEVEL}-lamina{VERSION}"),
        "apptainer" => format!("{APPTAINER_LEVEL}-lamina{VERSION}"),
        _ => VERSION.to_owned(),
    }
}

/// What `--version` prints.
pub(super) fn full_version(invocation: &Invocation) -> String {
    let package = match (invocation.program.as_str(), invocation.dialect) {
        ("lamina", _) => "lamina",
        (_, Dialect::Singularity) => "singularity-ce",
        (_, Dialect::Apptainer) => "apptainer",
    };
    format!("{package} version {}", version(invocation))
}

/// What `buildcfg` prints, under the names that scripts look for.
fn build_settings(invocation: &Invocation, wanted: Option<&OsString>) -> Result<(), Stop> {
    let (prefix, package) = (launch::PREFIX, &invocation.program);
    let folder = site::file("");
    let folder = folder.trim_end_matches('/');
    let own = match invocation.dialect {
        Dialect::Singularity => "SINGULARITY",
        Dialect::Apptainer => "APPTAINER",
    };
    let settings = [
        ("PACKAGE_NAME".into(), package.clone()),
        ("PACKAGE_VERSION".into(), version(invocation)),
        ("PREFIX".into(), prefix.into()),
        ("EXECPREFIX".into(), prefix.into()),
        ("BINDIR".into(), format!("{prefix}/bin")),
        ("LIBEXECDIR".into(), format!("{prefix}/libexec")),
        ("DATAROOTDIR".into(), format!("{prefix}/share")),
        ("DATADIR".into(), format!("{prefix}/share")),
        ("MANDIR".into(), format!("{prefix}/share/man")),
        ("SYSCONFDIR".into(), site::SYSCONFDIR.into()),
        (format!("{own}_CONFDIR"), folder.to_owned()),
        (format!("{own}_CONF_FILE"), site::path()),
        (format!("{own}_SUID_INSTALL"), "1".into()),
    ];
    let Some(wanted) = wanted else {
        let lines: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        return Ok(answer::print(lines)?);
    };
    let found = settings.iter().find(|(name, _)| wanted == name.as_str());
    let (_, value) = found
        .ok_or_else(|| Failure::new(format!("no variable named \"{}\"", crate::message::shown(wanted))))?;
    Ok(answer::print(format!("{value}\n"))?)
}

#[cfg(test)]
mod tests;
