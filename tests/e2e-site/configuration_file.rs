//! The file itself: whose it must be, what must be in it, and that the incumbents' files are understood.

use tests::{HandMade, Output, World};

/// What the starter says where `arrange` has arranged the configuration's folder, `$W/etc`, as root.
fn starter_says(arrange: &str) -> Output {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let plan = HandMade::bare(&world, &[], &image);
    let (program, arguments) = plan.prepare(&world);
    world.after(&arranged(arrange), program).args(arguments).run()
}

/// What the frontend says there.
fn frontend_says(arrange: &str) -> Output {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.after(&arranged(arrange), world.installed().lamina()).arg("exec").arg(image).arg("true").run()
}

fn arranged(arrange: &str) -> String {
    format!(
        "mkdir $W/etc; cd $W/etc; umask 022; echo 'allow setuid = yes' >singularity.conf\n{arrange}\nmount --bind $W/etc $ETC; cd $W/home"
    )
}

#[test]
fn a_file_of_roots_that_only_root_writes_is_taken() {
    for arrange in
        ["true", "chmod 600 singularity.conf", "chmod 444 singularity.conf", "chgrp 58001 singularity.conf"]
    {
        starter_says(arrange).assert_fatal("while reading the payload");
    }
    frontend_says("true").assert_ok();
}

#[test]
fn a_file_that_somebody_else_could_have_written_is_refused() {
    let text = "singularity.conf must be owned by root and not be writable by group or others";
    for arrange in
        ["chown 58001 singularity.conf", "chmod 664 singularity.conf", "chmod 646 singularity.conf"]
    {
        starter_says(arrange).assert_fatal(text);
        frontend_says(arrange).assert_fatal(text);
    }
}

#[test]
fn a_folder_that_somebody_else_could_have_written_is_refused() {
    let text = "etc/singularity must be owned by root and not be writable by group or others";
    for arrange in ["chown 58001 $W/etc", "chmod 775 $W/etc", "chmod 757 $W/etc"] {
        starter_says(arrange).assert_fatal(text);
    }
}

#[test]
fn what_is_not_a_plain_file_is_refused_at_once() {
    for (arrange, text) in [
        ("mv singularity.conf other; ln -s other singularity.conf", "while opening"),
        ("ln singularity.conf other", "must be a regular file with a single link"),
        ("rm singularity.conf; mkdir singularity.conf", "must be a regular file"),
        ("rm singularity.conf; mkfifo singularity.conf", "must be a regular file"),
        ("rm singularity.conf; mknod singularity.conf c 1 5", "must be a regular file"),
    ] {
        starter_says(arrange).assert_fatal(text);
    }
}

#[test]
fn a_missing_file_stops_everything() {
    let conf = World::new().installed().singularity_conf().display().to_string();
    starter_says("rm singularity.conf").assert_fatal("No such file").assert_stderr_has(&conf);
    frontend_says("rm singularity.conf")
        .assert_fatal("While initializing: couldn't parse configuration file")
        .assert_stderr_has(&conf)
        .assert_stderr_has("No such file");
}

#[test]
fn a_bad_value_stops_everything_and_its_line_is_named() {
    for (line, text) in [
        (
            "allow pid ns = perhaps",
            r#"line 3: value authorized for directive "allow pid ns" are [yes no], but it says "perhaps""#,
        ),
        ("allow setuid = YES", r#"are [yes no], but it says "YES""#),
        ("mount dev = some", r#"are [yes no minimal]"#),
        ("enable overlay = maybe", r#"are [yes no try driver]"#),
        ("enable underlay = maybe", r#"are [yes no preferred]"#),
        ("memory fs type = ext4", r#"are [tmpfs ramfs]"#),
        ("max loop devices = many", r#""max loop devices""#),
        ("max loop devices = -1", r#""max loop devices""#),
        ("sessiondir max size = 99999999999", r#""sessiondir max size""#),
        ("allow setuid-mount squashfs = maybe", r#"are [yes no iflimited]"#),
        ("limit container paths = relative/path", r#""limit container paths""#),
        ("allow kernel extfs = no # for now", r#""allow kernel extfs""#),
    ] {
        let arrange = format!("printf '%s\\n' '# one' '# two' '{line}' >singularity.conf");
        for output in [starter_says(&arrange), frontend_says(&arrange)] {
            output
                .assert_fatal("couldn't parse configuration file")
                .assert_stderr_has("line 3: ")
                .assert_stderr_has(text);
        }
    }
}

#[test]
fn a_file_that_is_no_text_or_too_long_stops_everything() {
    let nul = r"printf 'allow\0 setuid = yes\n' >singularity.conf";
    let long = "head -c 1048577 /dev/zero | tr '\\0' '#' >singularity.conf";
    for (arrange, text) in [(nul, "NUL byte"), (long, "longer than 1048576 bytes")] {
        starter_says(arrange).assert_fatal(text);
        frontend_says(arrange).assert_fatal(text);
    }
}

#[test]
fn the_first_of_two_lines_counts_and_unknown_directives_stop_nothing() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut said = |conf: &str| {
        world.conf(conf);
        world.lamina(["exec"]).arg(&image).arg("true").run()
    };
    said("allow container squashfs = yes\nallow container squashfs = no\n").assert_ok();
    said("allow container squashfs = no\nallow container squashfs = yes\n")
        .assert_fatal("configuration disallows users")
        .assert_stderr_has("line 1)");
    said("allow container squashfs =\nallow container squashfs = no\n").assert_stderr_has("line 2)");
    said("allow time travel = no\n; ini style\n[section]\n  allow setuid  =  yes  \n").assert_ok();
    said("").assert_ok();
}

/// Every directive of SingularityCE 4.5, as its installed file writes them.
const SINGULARITY_CE: &str = "\
# SINGULARITY.CONF
allow setuid = yes
max loop devices = 256
allow pid ns = yes
config passwd = yes
config group = yes
config resolv_conf = yes
mount proc = yes
mount sys = yes
mount dev = yes
mount devpts = yes
mount home = yes
mount tmp = yes
mount hostfs = no
bind path = /etc/localtime
bind path = /etc/hosts
user bind control = yes
enable fusemount = yes
enable overlay = try
enable underlay = yes
mount slave = yes
sessiondir max size = 64
#limit container owners = gmk, singularity, nobody
#limit container groups = group1, singularity, nobody
#limit container paths = /scratch, /tmp, /global
allow container sif = yes
allow container encrypted = yes
allow container squashfs = yes
allow container extfs = yes
allow container dir = yes
allow kernel squashfs = yes
allow kernel extfs = yes
#allow net users = gmk, singularity
#allow net groups = group1, singularity
#allow net networks = bridge
#allow netns paths = /var/run/netns/my_network
always use nv = no
use nvidia-container-cli = no
always use rocm = no
root default capabilities = full
memory fs type = tmpfs
# cni configuration path =
# cni plugin path =
# go path =
# ldconfig path =
# mksquashfs path =
mksquashfs procs = 0
# mksquashfs mem = 1G
# nvidia-container-cli path =
# unsquashfs path =
# cryptsetup path =
shared loop devices = no
image driver =
download concurrency = 3
download part size = 5242880
download buffer size = 32768
systemd cgroups = yes
sif fuse = no
oci mode = no
tmp sandbox = yes
allow ipc ns = yes
allow uts ns = yes
allow user ns = yes
root search path = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
user search path = $PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
";

/// What Apptainer 1.4's file has beside those.
const APPTAINER: &str = "\
allow setuid-mount encrypted = yes
allow setuid-mount squashfs = iflimited
allow setuid-mount extfs = no
enable overlay = yes
enable underlay = preferred
sync writable extfs = no
binary path = $PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
image driver =
allow monitoring = no
apptheus communication socket path = /run/apptheus/gateway.sock
limit container paths = /
";

#[test]
fn the_incumbents_files_load() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    for (conf, grants_memory) in
        [(SINGULARITY_CE.to_owned(), true), (format!("{APPTAINER}{SINGULARITY_CE}"), true)]
    {
        world.conf(&conf);
        world.lamina(["exec"]).arg(&image).arg("true").run().assert_ok();
        let output = world.lamina(["exec", "--writable-tmpfs"]).arg(&image).args(["touch", "/x"]).run();
        assert_eq!(output.status == Some(0), grants_memory, "{output}");
    }
    let overlay = world.ext3_overlay(64);
    let output = world.lamina(["-v", "exec", "--overlay"]).arg(&overlay).arg(&image).arg("true").run();
    output.assert_ok().assert_stderr_has(
        "a user namespace: ext3 image mounts are not authorized ('allow setuid-mount extfs'",
    );
}
