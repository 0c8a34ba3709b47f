//! Directives as a container shows them: each with each of its values.

use crate::surroundings::{at, inside, mounts_of, mounts_with, places, world_and_image};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::{LoopDevice, Output, World};

/// The home directory by the account, which is not the world's.
fn home_of_first_user() -> String {
    let account = nix::unistd::User::from_name(&tests::User::first().name).expect("accounts can be read");
    account.expect("the user is there").dir.display().to_string()
}

/// Whether something is mounted at a place in a container under this configuration.
fn shows(world: &mut World, image: &Path, conf: &str, options: &[&str], place: &str) -> bool {
    world.conf(&format!("{conf}\n"));
    at(&mounts_with(world, options, image), place).is_some()
}

#[test]
fn mounts_of_the_site_are_made_unless_switched_off() {
    let (mut world, image) = world_and_image();
    let home = home_of_first_user();
    for (directive, place) in [
        ("mount proc", "/proc"),
        ("mount sys", "/sys"),
        ("mount dev", "/dev"),
        ("mount home", &home),
        ("mount tmp", "/tmp"),
        ("mount tmp", "/var/tmp"),
        ("config passwd", "/etc/passwd"),
        ("config group", "/etc/group"),
        ("config resolv_conf", "/etc/resolv.conf"),
    ] {
        for (value, expected) in [("yes", true), ("no", false)] {
            let conf = format!("{directive} = {value}");
            assert_eq!(shows(&mut world, &image, &conf, &[], place), expected, "{conf}");
        }
    }
}

#[test]
fn mount_dev_minimal_shows_the_few_nodes_every_program_expects() {
    let (mut world, image) = world_and_image();
    let nodes = "cd /dev; ls | grep -v -e console; ls pts; cat null; head -c 1 zero >full; echo x >null; exec 2>&1; tty";
    let minimal = "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\nptmx";
    for (conf, options) in
        [("mount dev = minimal\n", &[][..]), ("", &["--contain"]), ("mount dev = minimal\n", &["--contain"])]
    {
        world.conf(conf);
        let output = inside(&world, options, &image, nodes).run();
        assert!(output.stdout.starts_with(minimal), "{output}");
        assert!(output.stdout.contains("not a tty"), "{output}");
    }
    world.conf("mount dev = no\n");
    inside(&world, &["--contain"], &image, "ls /dev").run().assert_ok().assert_stdout("");
    world.conf("mount dev = yes\n");
    inside(&world, &[], &image, "ls -d /dev/loop-control").run().assert_ok();
}

#[test]
fn mount_devpts_no_leaves_a_minimal_dev_without_terminals() {
    let (mut world, image) = world_and_image();
    for (value, expected) in [("yes", true), ("no", false)] {
        let conf = format!("mount devpts = {value}");
        assert_eq!(shows(&mut world, &image, &conf, &["--contain"], "/dev/pts"), expected, "{conf}");
    }
}

#[test]
fn a_namespace_that_is_not_allowed_is_left_out_with_a_warning() {
    let (mut world, image) = world_and_image();
    for name in ["ipc", "uts"] {
        let (option, link) = (format!("--{name}"), format!("readlink /proc/self/ns/{name}"));
        let of_host = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("there is a /proc");
        let of_host = of_host.to_str().expect("it is text");
        let mut namespace = |conf: &str| {
            world.conf(conf);
            inside(&world, &[&option], &image, &link).run().assert_ok()
        };
        assert_ne!(namespace("").stdout.trim(), of_host);
        assert_ne!(namespace(&format!("allow {name} ns = yes\n")).stdout.trim(), of_host);
        namespace(&format!("allow {name} ns = no\n"))
            .assert_stdout(of_host)
            .assert_stderr_has(&format!("WARNING: Not virtualizing {name} namespace by configuration"));
    }
    world.conf("allow uts ns = no\n");
    let of_host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("there is one");
    inside(&world, &["--hostname", "inner"], &image, "hostname")
        .run()
        .assert_ok()
        .assert_stdout(of_host.trim());
    world.conf("allow pid ns = no\n");
    inside(&world, &["--pid"], &image, "test $$ != 1")
        .run()
        .assert_ok()
        .assert_stderr_has("WARNING: Not virtualizing pid namespace by configuration");
}

#[test]
fn a_bind_path_is_shown_at_its_place() {
    let (mut world, image) = world_and_image();
    let (data, other) = (world.write("data", "of the site"), world.mkdir("folder"));
    world.write("folder/below", "below");
    let (data, other) = (data.display(), other.display());
    let conf = format!(
        "bind path = {data}:/etc/site-data\nbind path = {other}\nbind path = /no/such/file, /etc/hosts\n"
    );
    world.conf(&conf);
    let script = format!("cat /etc/site-data; echo; cat {other}/below; echo; readlink -f /etc/hosts");
    let output = inside(&world, &[], &image, &script).run().assert_ok();
    assert_eq!(output.stdout, "of the site\nbelow\n/etc/hosts\n");
    output.assert_stderr_has("WARNING: Skipping mount /no/such/file");
    let contained = mounts_with(&world, &["--contain"], &image);
    assert!(at(&contained, "/etc/site-data").is_none(), "{contained:?}");
    assert!(at(&contained, "/etc/hosts").is_some(), "{contained:?}");
    for left_out in [&["--no-mount", "bind-paths"][..], &["--no-mount", "/etc/site-data"]] {
        let mounts = mounts_with(&world, left_out, &image);
        assert!(at(&mounts, "/etc/site-data").is_none(), "{mounts:?}");
    }
    assert!(!shows(&mut world, &image, "# no line", &[], "/etc/hosts"));
}

#[test]
fn mount_hostfs_shows_the_hosts_mounts_at_their_own_places() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mounted = world.folder().join("mounted");
    for (value, options, expected) in [
        ("yes", &[][..], true),
        ("no", &[], false),
        ("yes", &["--contain"], false),
        ("yes", &["--no-mount", "hostfs"], false),
    ] {
        world.conf(&format!("mount hostfs = {value}\nmount tmp = no\n"));
        let prepare = "mkdir -p $W/mounted; mount -t tmpfs tmpfs $W/mounted; echo seen >$W/mounted/file";
        let output = world
            .after(prepare, world.installed().lamina())
            .arg("exec")
            .args(options)
            .arg(&image)
            .arg("cat")
            .arg(mounted.join("file"))
            .run();
        assert_eq!(output.stdout.contains("seen"), expected, "{output}");
    }
}

#[test]
fn mount_hostfs_on_a_host_with_very_many_mounts_shows_what_fits() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.conf("mount hostfs = yes\nmount tmp = no\n");
    let run = |folder: &str, script: &str| {
        let mount = "for n in $(seq 200); do mkdir $M/$n; mount -t tmpfs tmpfs $M/$n; touch $M/$n/file; done";
        let above = "mkdir $W/above; mount -t tmpfs tmpfs $W/above; mkdir $W/beside";
        let prepare = format!("{above}; M=$W/{folder}; {mount}");
        let command = world.after(&prepare, world.installed().lamina()).arg("exec").arg(&image);
        let script = format!("cd {}/{folder}; {script}", world.folder().display());
        command.args(["sh", "-c", &script]).run().assert_ok()
    };
    // One mount brings along everything below it.
    run("above", "ls */file | wc -l").assert_stdout("200");
    std::fs::remove_dir(world.folder().join("above")).expect("it is empty");
    std::fs::remove_dir_all(world.folder().join("beside")).expect("it is ours");
    let output = run("beside", "test $(ls */file | wc -l) -gt 100");
    output.assert_stderr_has("file systems of the host: 'mount hostfs' shows at most 128");
}

#[test]
fn without_user_bind_control_what_users_choose_is_left_out_with_a_warning() {
    let (mut world, image) = world_and_image();
    let folder = world.mkdir("folder");
    let bind = format!("{}:/mnt", folder.display());
    let mount = format!("type=bind,source={},destination=/mnt", folder.display());
    let folder_text = folder.display().to_string();
    for (options, place) in [
        (["--bind", bind.as_str()], "/mnt"),
        (["--mount", &mount], "/mnt"),
        (["--scratch", "/mnt"], "/mnt"),
        (["--home", &format!("{folder_text}:/mnt")], "/mnt"),
    ] {
        for (value, expected) in [("yes", true), ("no", false)] {
            world.conf(&format!("user bind control = {value}\n"));
            let running = inside(&world, &options, &image, "echo ready; cat").spawn().wait_for("ready");
            let mounts = mounts_of(&running);
            let output = running.finish().assert_ok();
            assert_eq!(at(&mounts, place).is_some(), expected, "{options:?} {value}");
            let text = "request: user bind control disabled by system administrator";
            assert_eq!(output.stderr.contains(text), !expected, "{output}");
        }
    }
    // Neither is the working directory brought along.
    world.conf("user bind control = no\nmount tmp = no\nmount home = no\n");
    inside(&world, &[], &image, "pwd").cwd(&folder).run().assert_ok().assert_stdout("/");
}

#[test]
fn a_home_that_the_site_does_not_let_users_bind_is_left_out_with_a_warning() {
    let (mut world, image) = world_and_image();
    let (home, other) = (home_of_first_user(), world.mkdir("other"));
    world.conf("user bind control = no\n");
    for (arrange, why) in [
        ("mount -t tmpfs tmpfs $HOME_OF_FIRST", "is not yours"),
        (
            "mount -t tmpfs tmpfs $(dirname $HOME_OF_FIRST); ln -s $W/home/other $HOME_OF_FIRST",
            "is reached through a link",
        ),
    ] {
        let output = world
            .after(arrange, world.installed().lamina())
            .env("HOME_OF_FIRST", &home)
            .arg("exec")
            .arg(&image)
            .args(["echo", "ran"])
            .run();
        let text = format!("WARNING: Skipping mount of the home directory: {home} {why}");
        output.assert_ok().assert_stdout("ran").assert_stderr_has(&text);
    }
    drop(other);
    let mounts = mounts_with(&world, &[], &image);
    assert!(at(&mounts, &home).is_some(), "{mounts:?}");
}

#[test]
fn without_overlay_missing_mount_points_are_made_by_underlay_or_not_at_all() {
    let (mut world, image) = world_and_image();
    let folder = world.mkdir("folder");
    world.write("folder/file", "bound");
    let bind = format!("{}:/new/place", folder.display());
    let mut run = |conf: &str| {
        world.conf(conf);
        let root = r"sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \/ .* - \([^ ]*\) .*/\1/p' /proc/self/mountinfo";
        let script = format!("cat /new/place/file; echo; {root}; ls /bin/sh; touch /new/other");
        inside(&world, &["--bind", &bind], &image, &script).run()
    };
    let made = |output: Output, root: &str| {
        assert_eq!(output.stdout, format!("bound\n{root}\n/bin/sh\n"), "{output}");
        output.assert_stderr_has("Read-only file system");
    };
    made(run(""), "overlay");
    made(run("enable overlay = yes\nenable underlay = no\n"), "overlay");
    made(run("enable overlay = no\nenable underlay = yes\n"), "tmpfs");
    made(run("enable overlay = driver\n"), "tmpfs");
    made(run("enable overlay = yes\nenable underlay = preferred\n"), "tmpfs");
    run("enable overlay = no\nenable underlay = no\n")
        .assert_fatal("destination /new/place doesn't exist in container");
}

#[test]
fn enable_overlay_decides_over_overlays_in_the_frontend_too() {
    let (mut world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    for options in [&["--writable-tmpfs"][..], &["--overlay", &overlay]] {
        for value in ["yes", "try"] {
            world.conf(&format!("enable overlay = {value}\n"));
            inside(&world, options, &image, "touch /new").run().assert_ok();
        }
        world.conf("enable overlay = no\n");
        inside(&world, options, &image, "touch /new").run().assert_fatal("enable overlay");
        world.conf("enable overlay = driver\n");
        inside(&world, options, &image, "touch /new").as_root().run().assert_fatal("enable overlay");
    }
}

#[test]
fn a_mount_that_the_host_makes_later_appears_where_mount_slave_says_so() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let shared = world.mkdir("shared/sub");
    let shared = shared.parent().expect("it is below").display().to_string();
    // The container waits for a file that its starter's namespace makes after it mounted something.
    let script = "echo up >$H/up; while [ ! -e $H/mounted ]; do sleep 0.02; done; ls /mnt/sub";
    let host = "S=$W/home/shared; mount --bind $S $S; mount --make-shared $S; H=$W/home; export H; rm -f $H/up $H/mounted; \
        (while [ ! -e $H/up ]; do sleep 0.02; done; mount -t tmpfs tmpfs $S/sub; touch $S/sub/late $H/mounted) &";
    for (value, expected) in [("yes", "late"), ("no", "")] {
        world.conf(&format!("mount slave = {value}\n"));
        let output = world
            .after(host, world.installed().lamina())
            .args(["exec", "--bind", &format!("{shared}:/mnt")])
            .arg("--bind")
            .arg(world.home())
            .arg(&image)
            .args(["sh", "-c", script])
            .run();
        output.assert_ok().assert_stdout(expected);
    }
}

#[test]
fn what_a_container_mounts_is_never_seen_by_the_host() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let host = "mount --make-shared /; B=$(wc -l </proc/self/mountinfo); export B";
    let script = "\"$0\" exec \"$1\" true; test \"$B\" = \"$(wc -l </proc/self/mountinfo)\"";
    world
        .after(host, "/bin/sh")
        .args(["-c", script])
        .arg(world.installed().lamina())
        .arg(image)
        .run()
        .assert_ok();
}

/// Writes `mebibytes` into a file and says whether there was room.
fn fill(world: &World, options: &[&str], image: &Path, file: &str, mebibytes: u32, root: bool) -> Output {
    let script = format!("dd if=/dev/zero of={file} bs=1M count={mebibytes}");
    let command = inside(world, options, image, &script);
    if root { command.as_root().run() } else { command.run() }
}

#[test]
fn the_sessions_memory_is_bounded_for_everybody_but_root() {
    let (mut world, image) = world_and_image();
    let everything = ["--writable-tmpfs", "--contain", "--scratch", "/scratch"];
    world.conf("sessiondir max size = 8\n");
    for file in ["/new", "/tmp/new", "/scratch/new", "/dev/shm/new"] {
        fill(&world, &everything, &image, file, 4, false).assert_ok();
        fill(&world, &everything, &image, file, 12, false).assert_stderr_has("No space left on device");
        fill(&world, &everything, &image, file, 12, true).assert_ok();
    }
    // One bound for all of it together.
    let script = "dd if=/dev/zero of=/tmp/a bs=1M count=5 && dd if=/dev/zero of=/scratch/b bs=1M count=5";
    inside(&world, &everything, &image, script).run().assert_stderr_has("No space left on device");
    world.conf("sessiondir max size = 32\n");
    fill(&world, &everything, &image, "/new", 20, false).assert_ok();
    world.conf("");
    fill(&world, &everything, &image, "/new", 60, false).assert_ok();
    fill(&world, &everything, &image, "/new", 70, false).assert_stderr_has("No space left on device");
}

#[test]
fn the_sessions_memory_is_of_the_kind_the_site_wants() {
    let (mut world, image) = world_and_image();
    for (conf, kind) in
        [("", "tmpfs"), ("memory fs type = tmpfs\n", "tmpfs"), ("memory fs type = ramfs\n", "ramfs")]
    {
        world.conf(conf);
        let mounts = mounts_with(&world, &["--scratch", "/scratch"], &image);
        assert_eq!(at(&mounts, "/scratch").map(|mount| mount.kind.as_str()), Some(kind));
        inside(&world, &["--writable-tmpfs"], &image, "echo x >/new; cat /new")
            .run()
            .assert_ok()
            .assert_stdout("x");
    }
}

#[test]
fn a_loop_device_beyond_the_sites_number_is_left_alone() {
    let (mut world, image) = world_and_image();
    world.conf("max loop devices = 0\n");
    inside(&world, &[], &image, "true").run().assert_fatal("no loop devices available");
    world.conf("max loop devices = 256\n");
    inside(&world, &[], &image, "true").run().assert_ok();
    // A directory needs none.
    world.conf("max loop devices = 0\n");
    inside(&world, &[], &world.busybox_sandbox(), "true").run().assert_ok();
}

#[test]
fn a_loop_device_is_shared_where_the_site_says_so_and_only_by_one_user() {
    let (mut world, image) = world_and_image();
    let attached = || {
        let devices = std::fs::read_dir("/sys/block").expect("there is a /sys").filter_map(Result::ok);
        let of_image = devices.filter(|device| {
            let file = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            file.trim_end() == image.to_str().expect("a plain path")
        });
        of_image.count()
    };
    for (value, devices) in [("no", 3), ("yes", 2)] {
        world.conf(&format!("shared loop devices = {value}\n"));
        let container = |user| {
            let command = inside(&world, &[], &image, "echo ready; cat").as_user(user).cwd("/");
            command.spawn().wait_for("ready")
        };
        let users = [tests::User::first(), tests::User::first(), tests::User::second()];
        let running = users.map(container);
        assert_eq!(attached(), devices, "shared loop devices = {value}");
        for container in running {
            container.finish().assert_ok();
        }
    }
}

/// An ext3 that root serves to everybody from a process that can be stopped, which is how it looks to everybody when a file
/// server is gone.
struct Served<'a> {
    server: std::process::Child,
    place: &'a Path,
}

impl<'a> Served<'a> {
    fn at(place: &'a Path, image: &Path) -> Self {
        let mut fuse2fs = std::process::Command::new("fuse2fs");
        fuse2fs.args(["-f", "-o", "allow_other,attr_timeout=0"]).arg(image).arg(place);
        let served = Self { server: fuse2fs.spawn().expect("there is fuse2fs"), place };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !place.join("lost+found").exists() {
            assert!(Instant::now() < deadline, "fuse2fs serves nothing");
            std::thread::sleep(Duration::from_millis(10));
        }
        served
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.server.id().try_into().expect("a process id is an i32"));
        kill(pid, signal).expect("it is ours");
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        let _ = nix::mount::umount2(self.place, nix::mount::MntFlags::MNT_DETACH);
        let _ = self.server.wait();
    }
}

#[test]
fn a_loop_device_on_a_file_that_never_answers_keeps_nobody_waiting() {
    let (mut world, image) = world_and_image();
    let (place, served_image) = (world.mkdir("served"), world.ext3_overlay(8));
    world.conf("shared loop devices = yes\n");
    let served = Served::at(&place, &served_image);
    std::fs::write(place.join("file"), vec![0; 1 << 20]).expect("root may write");
    let device = LoopDevice::on(&place.join("file"));
    served.signal(Signal::SIGSTOP);
    let output = inside(&world, &[], &image, "echo in").run();
    served.signal(Signal::SIGCONT);
    drop(device);
    output.assert_ok().assert_stdout("in");
}

#[test]
fn sync_writable_extfs_makes_every_write_of_an_ext3_wait() {
    let (mut world, image) = world_and_image();
    let data = world.ext3_overlay(64);
    let bind = format!("{}:/mnt:image-src=/", data.display());
    for (conf, expected) in
        [("", false), ("sync writable extfs = no\n", false), ("sync writable extfs = yes\n", true)]
    {
        world.conf(conf);
        let mounts = mounts_with(&world, &["--bind", &bind], &image);
        let mnt = at(&mounts, "/mnt").expect("it is bound");
        let options = &mnt.file_system_options;
        assert_eq!(options.contains(&"sync".to_owned()), expected, "{conf}: {mnt:?}");
    }
}

#[test]
fn the_account_files_hold_the_caller_where_the_site_wants_it() {
    let (mut world, image) = world_and_image();
    let count = "grep -c laminatest1 /etc/passwd; grep -c laminatest1 /etc/group";
    for (conf, expected) in [
        ("", "1\n1"),
        ("config passwd = no\n", "0\n1"),
        ("config group = no\n", "1\n0"),
        ("config passwd = no\nconfig group = no\n", "0\n0"),
    ] {
        world.conf(conf);
        inside(&world, &[], &image, count).run().assert_stdout(expected);
    }
}

#[test]
fn a_container_has_the_mounts_of_the_installed_file_and_no_others() {
    let (world, image) = world_and_image();
    let mounts = mounts_with(&world, &["--no-home", "--contain"], &image);
    let expected = [
        "/",
        "/dev",
        "/dev/full",
        "/dev/null",
        "/dev/pts",
        "/dev/random",
        "/dev/shm",
        "/dev/tty",
        "/dev/urandom",
        "/dev/zero",
        "/etc/group",
        "/etc/hosts",
        "/etc/localtime",
        "/etc/passwd",
        "/etc/resolv.conf",
        "/proc",
        "/sys",
        "/tmp",
        "/var/tmp",
    ];
    let places: Vec<&str> =
        places(&mounts).into_iter().filter(|place| !place.starts_with("/proc/")).collect();
    assert_eq!(places, expected);
    for mount in &mounts {
        let has = |option: &str| mount.options.iter().any(|found| found == option);
        assert!(has("nosuid"), "{mount:?}");
        assert!(has("nodev") || mount.place.starts_with("/dev"), "{mount:?}");
    }
}
