//! Options of everyday use, each for what it does to the container.

use crate::surroundings::{inside, world_and_image};
use std::path::{Path, PathBuf};
use tests::World;

#[test]
fn name_servers_of_ones_own_are_all_that_the_containers_resolv_conf_has() {
    let (mut world, image) = world_and_image();
    let read = "cat /etc/resolv.conf";
    let servers = "nameserver 192.0.2.1\nnameserver 2001:db8::1";
    inside(&world, &["--dns", "192.0.2.1, 2001:db8::1"], &image, read)
        .run()
        .assert_ok()
        .assert_stdout(servers);
    inside(&world, &[], &image, read)
        .env("SINGULARITY_DNS", "192.0.2.1")
        .run()
        .assert_stdout("nameserver 192.0.2.1");
    inside(&world, &["--dns", "localhost"], &image, read)
        .run()
        .assert_fatal("--dns: localhost is not a valid IP address");
    world.conf("config resolv_conf = no\n");
    inside(&world, &["--dns", "192.0.2.1"], &image, "! grep 192.0.2.1 /etc/resolv.conf")
        .run()
        .assert_ok()
        .assert_stderr_has("WARNING: Ignoring --dns");
}

#[test]
fn an_app_is_run_by_its_own_script_in_its_own_environment() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let script = |path: &str, text: &str| {
        let place = image.join(path);
        std::fs::create_dir_all(place.parent().expect("it is in a folder")).expect("the image is ours");
        std::fs::write(&place, text).expect("the image is ours");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&place, mode).expect("the image is ours");
    };
    script("scif/apps/hello/scif/runscript", "#!/bin/sh\necho run $SINGULARITY_APPNAME $1\n");
    script("scif/apps/hello/scif/test", "#!/bin/sh\necho test $APPTAINER_APPNAME\n");
    let act = |action: &str, app: &str| world.lamina([action, "--app", app]).arg(&image).arg("word");
    act("run", "hello").run().assert_ok().assert_stdout("run hello word");
    act("test", "hello").run().assert_ok().assert_stdout("test hello");
    act("run", "other").run().assert_status(1).assert_stderr_has("no runscript for contained app: other");
    act("run", "../hello").run().assert_fatal("is not the name of an app");
    let by_variable = world.lamina(["run"]).arg(&image).env("APPTAINER_APPNAME", "hello");
    by_variable.run().assert_ok().assert_stdout("run hello");
}

#[test]
fn a_network_of_its_own_has_loopback_and_nothing_else() {
    let (world, image) = world_and_image();
    let devices = "ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 >/dev/null || cat /sys/class/net/lo/flags";
    for options in [&["--net", "--network", "none"][..], &["--network=none"], &["-np", "--network=none"]] {
        inside(&world, options, &image, devices).as_root().run().assert_ok().assert_stdout("lo");
        let up = "ls /sys/class/net; cat /sys/class/net/lo/flags";
        inside(&world, options, &image, up).run().assert_ok().assert_stdout("lo\n0x9");
    }
    let program = world.installed().prefix().join("bin/apptainer");
    let apptainer = world.program(program).args(["exec", "--net"]).arg(&image).args(["ls", "/sys/class/net"]);
    apptainer.run().assert_ok().assert_stdout("lo");
    inside(&world, &["--net"], &image, "true").run().assert_fatal("network 'bridge' is not supported");
    inside(&world, &["--network=mine"], &image, "true").run().assert_fatal("network 'mine' is not supported");
}

/// A profile in Docker's form.
fn profile(world: &World, name: &str, text: &str) -> String {
    format!("seccomp:{}", world.write(name, text).display())
}

#[test]
fn a_seccomp_profile_binds_the_program_and_nothing_of_ours() {
    let (world, image) = world_and_image();
    let denying = profile(
        &world,
        "denying.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    let allowing = profile(
        &world,
        "allowing.json",
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28, "syscalls": [
            {"names": ["arch_prctl", "brk", "close", "execve", "exit_group", "fstat", "getgid", "getrandom",
                "getuid", "ioctl", "mmap", "mprotect", "munmap", "newfstatat", "prctl", "prlimit64", "readlink",
                "readlinkat", "rseq", "set_robust_list", "set_tid_address", "setgid", "setuid", "umask", "uname",
                "write", "writev"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let exec = |options: &[&str], security: &str, words: &[&str]| {
        world.lamina(["exec", "--security", security]).args(options).arg(&image).args(words).run()
    };
    for options in [&[][..], &["--pid"], &["--pid", "--no-init"]] {
        let mode = exec(options, &denying, &["grep", "^Seccomp:", "/proc/self/status"]);
        mode.assert_ok().assert_stdout("Seccomp:\t2");
        exec(options, &denying, &["mkdir", "/tmp/never"]).assert_stderr_has("Function not implemented");
        let shell = exec(options, &denying, &["sh", "-c", "kill -USR1 $$; kill -0 $$ && echo lives"]);
        shell.assert_ok().assert_stderr_has("Operation not permitted").assert_stdout("lives");
        exec(options, &allowing, &["echo", "said"]).assert_ok().assert_stdout("said");
        exec(options, &allowing, &["mkdir", "/tmp/never"]).assert_stderr_has("No space left on device");
    }
    exec(&[], "seccomp:nowhere.json", &["true"]).assert_fatal("reading the seccomp profile");
    let broken = profile(&world, "broken.json", "{\"defaultAction\": \"SCMP_ACT_WISH\"}");
    exec(&[], &broken, &["true"]).assert_fatal("the action SCMP_ACT_WISH is not supported");
}

#[test]
fn root_keeps_the_capabilities_that_site_and_options_leave_it() {
    let (mut world, image) = world_and_image();
    let read = "sed -n 's/^Cap\\(Eff\\|Bnd\\):\\t0*//p' /proc/self/status | uniq";
    let capabilities = |world: &World, options: &[&str]| {
        inside(world, options, &image, read).as_root().run().assert_ok().stdout.trim().to_owned()
    };
    let all = capabilities(&world, &[]);
    let mask = u64::from_str_radix(&all, 16).expect("both sets are the same");
    assert_eq!(capabilities(&world, &["--drop-caps", "CAP_NET_RAW,chown"]), format!("{:x}", mask & !0x2001));
    assert_eq!(capabilities(&world, &["--no-privs"]), "");
    assert_eq!(capabilities(&world, &["--no-privs", "--add-caps", "CAP_CHOWN"]), "1");
    assert_eq!(capabilities(&world, &["--pid", "--drop-caps", "all", "--no-privs"]), "");
    world.conf("root default capabilities = no\n");
    assert_eq!(capabilities(&world, &[]), "");
    assert_eq!(capabilities(&world, &["--add-caps", "kill"]), "20");
    assert_eq!(capabilities(&world, &["--keep-privs"]), all);
}

#[test]
fn root_keeps_what_the_sites_grants_have_for_it_where_the_site_wants_that() {
    let (world, image) = world_and_image();
    let site = r#"mkdir "$W/etc"
        echo 'root default capabilities = file' > "$W/etc/singularity.conf"
        echo '{"users": {"root": ["CAP_KILL"], "other": ["CAP_CHOWN"]}}' > "$W/etc/capability.json"
        mount --bind "$W/etc" "$ETC""#;
    let command = world.after(site, world.installed().lamina()).env("U", "0").env("G", "0");
    let command =
        command.arg("exec").arg(&image).args(["sed", "-n", "s/^CapEff:\\t0*//p", "/proc/self/status"]);
    command.run().assert_ok().assert_stdout("20");
}

#[test]
fn root_can_be_somebody_else_in_the_container() {
    let (world, image) = world_and_image();
    let who = "id -u; id -G; whoami; echo $HOME; grep ^CapBnd: /proc/self/status";
    let as_root = |security: &str| inside(&world, &["--security", security], &image, who).as_root().run();
    let account = world.program("/usr/bin/getent").args(["passwd", &world.user().name]).run().assert_ok();
    let home = account.stdout.split(':').nth(5).expect("an account has a home").to_owned();
    let (uid, name) = (world.user().uid, &world.user().name);
    as_root(&format!("uid:{uid}"))
        .assert_ok()
        .assert_stdout(&format!("{uid}\n{uid}\n{name}\n{home}\nCapBnd:\t0000000000000000"));
    let numbers = as_root("uid:7654,gid:765:76").assert_ok();
    assert!(numbers.stdout.starts_with("7654\n765 76\n7654\n/\n"), "{numbers}");
}

#[test]
fn users_are_told_what_only_root_may_ask_for() {
    let (world, image) = world_and_image();
    let exec = |options: &[&str]| inside(&world, options, &image, "grep ^CapEff: /proc/self/status").run();
    let nothing = "CapEff:\t0000000000000000";
    exec(&["--add-caps", "CAP_CHOWN,CAP_WISH"])
        .assert_ok()
        .assert_stdout(nothing)
        .assert_stderr_has("WARNING: not authorized to add capability: CAP_CHOWN\n")
        .assert_stderr_has("WARNING: won't add unknown capability: CAP_WISH\n");
    exec(&["--drop-caps", "all"]).assert_ok().assert_stdout(nothing);
    exec(&["--keep-privs"]).assert_fatal("--keep-privs requires root privileges");
    exec(&["--no-privs"]).assert_fatal("--no-privs requires root privileges");
    exec(&["--security", "uid:0"]).assert_fatal("uid security feature requires root privileges");
    exec(&["--security", "gid:0"]).assert_fatal("gid security feature requires root privileges");
    exec(&["--security", "wish:1"]).assert_fatal("no such security feature");
}

#[test]
fn a_security_module_that_the_kernel_lacks_is_named() {
    let (world, image) = world_and_image();
    let without =
        "mount -t tmpfs none /sys/module; [ ! -d /sys/fs/selinux ] || mount -t tmpfs none /sys/fs/selinux";
    for (security, module) in [("apparmor:some", "apparmor"), ("selinux:a:b:c", "selinux")] {
        let command = world.after(without, world.installed().lamina());
        let output = command.args(["exec", "--security", security]).arg(&image).arg("true").run();
        let warning = format!("WARNING: {module} is not enabled or supported on this system");
        output.assert_ok().assert_stderr_has(&warning);
    }
}

/// A driver of a program and of a library that everybody has, and a cache in which no other library is.
const DRIVER: &str = r#"
mkdir -p "$W/driver/lib" "$W/driver/bin"
cp "$(ldconfig -p | sed -n 's/.*libc\.so\.6 (.*x86-64.*) => //p; s/.*libc\.so\.6 (.*AArch64.*) => //p' | head -n 1)" "$W/driver/lib/libc.so.6"
printf '#!/bin/sh\necho from the driver\n' > "$W/driver/bin/nvidia-smi"
chmod 755 "$W/driver/bin/nvidia-smi"
echo "$W/driver/lib" > "$W/driver/conf"
ldconfig -X -f "$W/driver/conf" -C "$W/driver/cache"
mount --bind "$W/driver/cache" /etc/ld.so.cache
export PATH="$W/driver/bin:$PATH"
"#;

#[test]
fn the_files_of_a_gpus_driver_are_shown_where_they_are_on_this_host() {
    let (world, image) = world_and_image();
    let exec = |prepare: &str, options: &[&str], script: &str| {
        let command = world.after(&format!("{DRIVER}{prepare}"), world.installed().lamina());
        command.arg("exec").args(options).arg(&image).args(["sh", "-c", script]).run()
    };
    let look = "nvidia-smi; cd /.singularity.d/libs; ls; echo $LD_LIBRARY_PATH; touch libc.so.6 2>/dev/null || echo kept";
    let list = "printf 'nvidia-smi\nlibc.so\nlibnone.so\n' > \"$W/list\"; mount --bind \"$W/list\" \"$ETC/nvliblist.conf\"";
    exec(list, &["--nv"], look)
        .assert_ok()
        .assert_stdout("from the driver\nlibc.so.6\n/.singularity.d/libs\nkept");
    let none = list.replace("nvidia-smi", "no-such-program").replace("libc.so", "libno.so");
    exec(&none, &["--nv"], "true")
        .assert_ok()
        .assert_stderr_has(
            "WARNING: Could not find any nv files on this host!
",
        )
        .assert_stderr_has(
            "WARNING: Could not find any nv libraries on this host!
",
        );
    exec(list, &["--nv", "--no-nv"], "test ! -e /usr/bin/nvidia-smi").assert_ok();
    let own = world.write("libown.so.1", "");
    let own = own.to_str().expect("a plain path");
    inside(&world, &["--containlibs", own], &image, "ls /.singularity.d/libs")
        .run()
        .assert_stdout("libown.so.1");
}

/// A host with the nodes of some graphics processors, which are `null` and `zero` by other names.
const GPUS: &str = r#"
mkdir -p "$W/dev"
mount -t tmpfs -o mode=755 none "$W/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$W/dev"
mkdir "$W/dev/dri"
for node in nvidiactl nvidia0 nvidia31 kfd dri/card0; do
    mknod -m 666 "$W/dev/$node" c 1 5
done
mount --rbind "$W/dev" /dev
"#;

#[test]
fn a_minimal_dev_has_the_graphics_processors_for_who_asks() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let exec = |options: &[&str], script: &str| {
        let command = world.after(GPUS, world.installed().lamina()).args(["exec", "--contain"]);
        command.args(options).arg(&image).args(["sh", "-c", script]).run()
    };
    let read = "for node in nvidia0 nvidia31 nvidiactl kfd dri/card0; do head -c 1 /dev/$node | wc -c; done";
    let all = "1\n1\n1\n1\n1";
    for options in [&["--nv"][..], &["--rocm"], &["--userns", "--nv"]] {
        exec(options, read).assert_ok().assert_stdout(all);
    }
    exec(&[], "ls /dev | grep -cE '^(nvidia|kfd|dri)'").assert_stdout("0");
    exec(&["--nv", "--no-nv"], "test ! -e /dev/nvidia0").assert_ok();
}

#[test]
fn a_site_can_want_the_drivers_files_in_every_container() {
    let (mut world, image) = world_and_image();
    world.conf("always use rocm = yes\n");
    inside(&world, &[], &image, "true").run().assert_ok().assert_stderr_has("Could not find any rocm ");
    let without = inside(&world, &["--no-rocm"], &image, "true").run().assert_ok();
    assert_eq!(without.stderr, "");
}

/// Shows the control groups of version 2 where a host has only them, and lets the caller's be delegated.
const GROUPS: &str = r#"
[ ! -d /sys/fs/cgroup/unified ] || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
"#;
/// Puts what follows into a group that belongs to the user, with one controller.
const DELEGATED: &str = r#"
G2=/sys/fs/cgroup/lamina-test-$$
mkdir $G2
chown "$U" $G2 $G2/cgroup.procs $G2/cgroup.subtree_control
echo +hugetlb > /sys/fs/cgroup/cgroup.subtree_control
echo $$ > $G2/cgroup.procs
echo $G2 > "$W/group"
"#;
/// Of the controllers, one that also a host has that gives the others to groups of version 1.
const LIMITS: &str = "[[hugepageLimits]]\npageSize = \"2MB\"\nlimit = 4194304\n";

/// The folder of a process's control group, seen from outside the namespace with [`GROUPS`].
fn group_of(running: &tests::Running) -> PathBuf {
    let table = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid)).expect("it runs");
    let own = table.lines().find_map(|line| line.strip_prefix("0::/")).expect("version 2 has number 0");
    let top = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let top = top.into_iter().find(|top| top.join("cgroup.procs").exists()).expect("there are such groups");
    top.join(own)
}

#[track_caller]
fn assert_limited(group: &Path) {
    let limit = std::fs::read_to_string(group.join("hugetlb.2MB.max")).expect("the group has the limit");
    assert_eq!(limit, "4194304\n");
}

#[test]
fn a_user_in_a_delegated_control_group_can_limit_containers() {
    let (world, image) = world_and_image();
    let file = world.write("limits.toml", LIMITS);
    let command = world.after(&format!("{GROUPS}{DELEGATED}"), world.installed().lamina());
    let command = command.args(["exec", "--apply-cgroups"]).arg(&file).arg(&image);
    let running = command.args(["sh", "-c", "echo ready; cat"]).spawn().wait_for("ready");
    let group = group_of(&running);
    assert_limited(&group);
    running.finish().assert_ok();
    std::fs::remove_dir(&group).expect("nobody is left in the group");
    std::fs::remove_dir(group.parent().expect("it was delegated")).expect("nobody is left in it");
}

#[test]
fn what_an_instance_takes_is_told_where_it_has_a_control_group() {
    let (world, image) = world_and_image();
    let group = world.folder().join("group");
    let instance = tests::Instance { world: &world, name: tests::Instance::unique("counted") };
    let start = world.after(&format!("{GROUPS}{DELEGATED}"), world.installed().lamina());
    start.args(["instance", "start"]).arg(&image).arg(&instance.name).run().assert_ok();
    let stats = |options: &[&str]| {
        let command = world.after(GROUPS, world.installed().lamina()).args(["instance", "stats"]);
        command.args(options).arg(&instance.name)
    };
    let table = stats(&["--no-stream"]).run().assert_ok();
    let header = "INSTANCE NAME    CPU USAGE    MEM USAGE / LIMIT    MEM %    BLOCK I/O    PIDS";
    let header: Vec<&str> = header.split_whitespace().collect();
    let rows: Vec<Vec<&str>> = table.stdout.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert_eq!(rows[0], header);
    assert_eq!(rows[1][0], instance.name);
    assert!(rows[1][1].ends_with('%'), "{table}");
    let all = stats(&["--json"]).run().assert_ok().assert_stderr_has("WARNING: JSON is printed once");
    let all: serde_json::Value = serde_json::from_str(&all.stdout).expect("it is JSON");
    assert!(all["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().is_some_and(|used| used > 0), "{all}");

    let watching = stats(&[]).spawn().wait_for("PIDS").wait_for("PIDS");
    let stop = world.after(GROUPS, world.installed().lamina()).args(["instance", "stop"]);
    stop.arg(&instance.name).run().assert_ok();
    watching.finish().assert_ok();
    stats(&["--no-stream"]).run().assert_fatal("no instance found");
    let group = std::fs::read_to_string(group).expect("it was written");
    let group = group.trim_end().strip_prefix("/sys/fs/cgroup/").expect("it is one");
    let top = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let top = top.into_iter().find(|top| top.join("cgroup.procs").exists()).expect("there are such groups");
    std::fs::remove_dir(top.join(group)).expect("the instance's own group is gone");
}

#[test]
fn an_instance_without_a_control_group_says_so() {
    let (world, image) = world_and_image();
    let instance = tests::Instance::start(&world, &[], &image, "uncounted");
    world
        .lamina(["instance", "stats", &instance.name])
        .run()
        .assert_fatal("has no control group of its own")
        .assert_stderr_has("systemd-run --user --scope");
}

#[test]
fn roots_control_groups_of_containers_that_ended_go_with_the_next_start() {
    let (world, image) = world_and_image();
    let file = world.write("limits.toml", LIMITS);
    let start = || {
        let command = world.after(GROUPS, world.installed().lamina()).env("U", "0").env("G", "0");
        let command = command.args(["exec", "--apply-cgroups"]).arg(&file).arg(&image);
        command.args(["sh", "-c", "echo ready; cat"]).spawn().wait_for("ready")
    };
    let first = start();
    let old = group_of(&first);
    assert_limited(&old);
    first.finish().assert_ok();
    assert!(old.exists());
    let second = start();
    assert!(!old.exists());
    let new = group_of(&second);
    second.finish().assert_ok();
    std::fs::remove_dir(&new).expect("nobody is left in the group");
    std::fs::remove_dir(new.parent().expect("root's groups are in one"))
        .expect("no other test makes such groups");
}

#[test]
fn limits_that_cannot_be_set_stop_the_start() {
    let (world, image) = world_and_image();
    let exec = |prepare: &str, options: &[&str]| {
        let command = world.after(prepare, world.installed().lamina());
        command.arg("exec").args(options).arg(&image).arg("true").run()
    };
    let without = "mount -t tmpfs none /sys/fs/cgroup";
    exec(without, &["--pids-limit", "10"]).assert_fatal("limits need control groups of version 2");
    let in_roots = "echo $$ > /sys/fs/cgroup/cgroup.procs";
    exec(&format!("{GROUPS}{in_roots}"), &["--memory", "1g"])
        .assert_fatal("while making the control group")
        .assert_stderr_has("systemd-run --user --scope -p Delegate=yes");
    exec("", &["--memory", "much"]).assert_fatal("--memory: much is no amount of memory");
    exec("", &["--cpus", "0"]).assert_fatal("is no number of processors");
    let file = world.write("limits.toml", "[network]\nclassID = 1\n");
    let file = file.to_str().expect("a plain path");
    exec("", &["--apply-cgroups", file]).assert_fatal("network");
    exec("", &["--apply-cgroups", file, "--cpus", "1"]).assert_fatal("exclude each other");
    exec("", &["--oom-kill-disable"]).assert_fatal("--oom-kill-disable is not supported");
}
