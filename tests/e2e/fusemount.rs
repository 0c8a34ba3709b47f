//! `--fusemount`: file systems that programs of the user's choice serve.

use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Tool;
use tests::{Command, Instance, Output, World};

/// What is mounted in the container.
const PLACE: &str = "/served/here";
/// Says that the container runs, and goes on.
const STAYS: &str = "echo ready; exec sleep 1000";

/// A squashfs of the user's, and an image with it and a server for it.
struct Served {
    image: PathBuf,
    data: PathBuf,
}

impl Served {
    /// `image` is a directory; `squashfuse` of this machine with all its libraries goes into it.
    fn in_directory(world: &World) -> Self {
        let image = world.busybox_sandbox();
        let data = world.squashfs_of("data.sqfs", |folder| {
            std::fs::write(folder.join("note"), "from the server\n").expect("it is our folder");
        });
        let linked = Tool::new("ldd").arg("/usr/bin/squashfuse").output().expect("ldd is there").stdout;
        let linked = String::from_utf8(linked).expect("paths are text");
        let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain(["/usr/bin/squashfuse"]).map(Path::new) {
            copy(file, &image.join(file.strip_prefix("/").expect("it is absolute")));
        }
        copy(&data, &image.join("data.sqfs"));
        Self { image, data }
    }

    /// The same as an image file, which the kernel mounts in the setuid flow.
    fn in_squashfs(world: &World) -> Self {
        let Self { image: directory, data } = Self::in_directory(world);
        let image = world.path("image.sqfs");
        let made = Tool::new("mksquashfs")
            .args([&directory, &image])
            .args(["-quiet", "-no-progress", "-all-root"])
            .status();
        assert!(made.expect("mksquashfs is there").success());
        world.give(&image);
        Self { image, data }
    }

    /// What to give `--fusemount` for a server of this kind.
    fn by(&self, kind: &str) -> String {
        let data =
            if kind.starts_with("host") { self.data.display().to_string() } else { "/data.sqfs".into() };
        format!("{kind}:squashfuse {data} {PLACE}")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("it is in a folder")).expect("root can write");
    std::fs::copy(from, to).expect("root can copy");
}

const KINDS: [&str; 4] = ["container", "container-daemon", "host", "host-daemon"];

fn note(world: &World, served: &Served, kind: &str, options: &[&str], script: &str) -> Command {
    let request = served.by(kind);
    let options = [&["--fusemount", request.as_str()], options].concat();
    world.sh(&options, &served.image, script)
}

/// Fails while a server is left.
fn assert_ended(world: &World, output: Output) {
    world.assert_nothing_left();
    drop(output);
}

#[test]
fn each_kind_of_server_is_seen_in_each_flow_and_gone_with_the_command() {
    for world in World::in_each_flow() {
        let served = Served::in_squashfs(&world);
        for kind in KINDS {
            let script = format!("cat {PLACE}/note; exit 7");
            let output = note(&world, &served, kind, &[], &script).run();
            assert_ended(&world, output.assert_status(7).assert_stdout("from the server"));
        }
    }
}

#[test]
fn the_program_has_no_capability_and_is_the_caller() {
    for world in World::in_each_flow() {
        let served = Served::in_directory(&world);
        let script = "id -u; grep -cE '^Cap(Inh|Prm|Eff|Bnd|Amb):.0+$' /proc/self/status; \
                      grep -c 'NoNewPrivs:.1' /proc/self/status; ls /proc/self/fd | wc -l; \
                      readlink /proc/1/fd/0 >/dev/null && readlink /proc/1/fd/* | grep -c '^/dev$'";
        let output = note(&world, &served, "container", &[], script).run();
        // Four: the standard streams, and the one that ls reads the folder through. Nothing leads to the host's /dev.
        output.assert_stdout(&format!("{}\n5\n1\n4\n0", world.user().uid));
    }
}

#[test]
fn neither_a_minimal_dev_nor_a_missing_mount_point_is_in_the_way() {
    let world = World::new();
    let served = Served::in_squashfs(&world);
    for options in [&["--contain"][..], &["--containall"], &["--writable-tmpfs"], &["--no-init"]] {
        let script = format!("cat {PLACE}/note");
        let output = note(&world, &served, "container", options, &script).run();
        output.assert_ok().assert_stdout("from the server");
    }
    let directory = note(&world, &served, "host", &["--cwd", PLACE], "cat note").run();
    directory.assert_ok().assert_stdout("from the server");
}

#[test]
fn several_are_mounted_in_their_order_and_one_in_another() {
    let world = World::new();
    let served = Served::in_squashfs(&world);
    let (first, second) = (served.by("container"), "container:squashfuse /data.sqfs /second".to_owned());
    let options = ["--fusemount", first.as_str(), "--fusemount", second.as_str()];
    let script = format!("cat {PLACE}/note /second/note");
    world
        .sh(&options, &served.image, &script)
        .run()
        .assert_ok()
        .assert_stdout("from the server\nfrom the server");
}

#[test]
fn root_and_who_plays_root_need_no_further_namespace() {
    let world = World::new();
    let served = Served::in_squashfs(&world);
    let script = format!("cat {PLACE}/note; id -u");
    for kind in KINDS {
        let as_root = note(&world, &served, kind, &[], &script).as_root().run();
        as_root.assert_ok().assert_stdout("from the server\n0");
        let fake = note(&world, &served, kind, &["--fakeroot"], &script).run();
        assert_ended(&world, fake.assert_ok().assert_stdout("from the server\n0"));
    }
}

#[test]
fn a_server_that_does_not_start_is_one_error_and_no_container() {
    for world in World::in_each_flow() {
        let served = Served::in_squashfs(&world);
        for (request, said) in [
            (
                "container:squashfuse /missing /mnt",
                "squashfuse, which was to serve /mnt, ended before it could be used",
            ),
            (
                "container-daemon:squashfuse /missing /mnt",
                "squashfuse, which was to serve /mnt, ended before it could be used",
            ),
            (
                "host:squashfuse /missing /mnt",
                "squashfuse, which was to serve /mnt, ended before it could be used",
            ),
            (
                "host-daemon:squashfuse /missing /mnt",
                "while starting squashfuse on the host: squashfuse ended with",
            ),
            ("container:/missing /mnt", "/missing"),
            ("host:/missing /mnt", "while starting missing on the host"),
        ] {
            let output = world.sh(&["--fusemount", request], &served.image, "echo started").run();
            let output = output.assert_fatal(said);
            assert_eq!(output.stderr.matches("FATAL").count(), 1, "{output}");
            assert_ended(&world, output.assert_stdout(""));
        }
    }
}

#[test]
fn whatever_ends_the_command_ends_its_servers() {
    for world in World::in_each_flow() {
        let served = Served::in_squashfs(&world);
        for kind in KINDS {
            for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                let running = note(&world, &served, kind, &[], STAYS).spawn().wait_for("ready");
                running.signal(signal);
                let output = running.finish();
                assert!(output.status != Some(0), "{output}");
                assert_ended(&world, output);
            }
        }
    }
}

#[test]
fn a_server_that_never_answers_can_be_interrupted() {
    for world in World::in_each_flow() {
        let served = Served::in_directory(&world);
        let silent = served.image.join("bin/silent");
        std::fs::write(&silent, "#!/bin/sh\necho silent\nexec sleep 1000\n").expect("root can write");
        std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let silent = silent.display().to_string();
        for request in [format!("host:{silent} {PLACE}"), format!("container:/bin/silent {PLACE}")] {
            let command = world.sh(&["--fusemount", &request], &served.image, "echo started");
            let running = command.spawn().wait_for("silent");
            running.signal(Signal::SIGTERM);
            let output = running.finish();
            assert!(output.status != Some(0) && !output.stdout.contains("started"), "{output}");
            assert_ended(&world, output);
        }
    }
}

#[test]
fn who_joins_an_instance_sees_what_is_served_in_it() {
    for options in [&[][..], &["--userns"], &["--fakeroot"]] {
        let world = World::new();
        let served = Served::in_squashfs(&world);
        for kind in KINDS {
            let request = served.by(kind);
            let options = [options, &["--fusemount", request.as_str()]].concat();
            let instance = Instance::start(&world, &options, &served.image, "served");
            let script = format!("cat {PLACE}/note; readlink /proc/self/ns/mnt");
            let first = instance.exec(&script).assert_ok();
            assert!(first.stdout.starts_with("from the server\n"), "{first}");
            assert_eq!(instance.exec(&script).assert_ok().stdout, first.stdout);
            instance.stop(&[]).assert_ok();
            world.assert_nothing_left();
        }
        let options = [options, &["--fusemount", "container:squashfuse /missing /mnt"]].concat();
        let failed = Instance::starting(&world, &options, &served.image, "served").run();
        assert_ended(&world, failed.assert_fatal("ended before it could be used"));
    }
}

#[test]
fn the_site_and_dry_runs_and_variables_know_of_it() {
    let mut world = World::new();
    let served = Served::in_squashfs(&world);
    let request = served.by("host");
    let script = format!("cat {PLACE}/note");
    for variable in ["SINGULARITY_FUSESPEC", "APPTAINER_FUSESPEC"] {
        let output = world.sh(&[], &served.image, &script).env(variable, &request).run();
        output.assert_ok().assert_stdout("from the server");
    }
    let shown = note(&world, &served, "host", &["--dry-run"], "true").run().assert_ok();
    assert!(shown.stdout.contains("served by 'squashfuse "), "{shown}");
    assert!(shown.stdout.contains("on the host"), "{shown}");
    let image = served.image.display().to_string();
    let explained = world.lamina(["explain", "--fusemount", &request, &image]).run().assert_ok();
    assert!(explained.stdout.contains("allowed by 'enable fusemount = yes'"), "{explained}");
    world.conf("user bind control = no\n");
    let missing = note(&world, &served, "container", &[], &script).run();
    missing.assert_fatal("mounting /served/here through FUSE");
    world.conf("allow user ns = no\n");
    let refused = note(&world, &served, "container", &[], &script).run();
    refused.assert_fatal("User namespace required but not allowed by configuration: --fusemount");
    world.conf("enable fusemount = no\n");
    let refused = note(&world, &served, "container", &[], &script).run();
    refused.assert_fatal("fusemount disabled by configuration 'enable fusemount = no'");
}
