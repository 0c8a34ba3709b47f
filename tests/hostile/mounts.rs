//! What a user can put into images, folders and places, and what becomes of it when it is mounted.

use crate::outside::{assert_empty, outside};
use protocol::{Content, Image, Mount, Window, Writable};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tests::{HandMade, LoopDevice, World, place};

/// Runs a program of the machine's, as root.
#[track_caller]
fn host(program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn bare(world: &World, script: &str) -> HandMade {
    let image = world.busybox_sqfs("gzip");
    let mut plan = HandMade::bare(world, &[], &image).running(world, script);
    plan.plan.mounts.push(Mount::Proc);
    plan
}

/// An image of a busybox under an ext3 made of what `fill` puts into an empty folder, as writable overlay.
fn with_overlay(world: &World, script: &str, fill: impl FnOnce(&Path)) -> HandMade {
    let folder = world.folder().join("content");
    fs::create_dir(&folder).expect("it is our folder");
    fill(&folder);
    let image = world.path("overlay.img");
    host("mkfs.ext3", &["-q", "-d", text(&folder), text(&image), "16M"]);
    world.give(&image);
    with_overlay_image(bare(world, script), &image)
}

fn with_overlay_image(mut plan: HandMade, image: &Path) -> HandMade {
    let descriptor = plan.source(image);
    let size = fs::metadata(image).expect("it is there").len();
    let content = Content::Ext3(Window { offset: 0, size });
    plan.plan.writable = Writable::Overlay(Image { descriptor, content });
    plan
}

/// A busybox that is root's and setuid.
fn setuid_busybox(world: &World, at: &Path) {
    fs::copy(world.busybox_sandbox().join("bin/busybox"), at).expect("it is our folder");
    fs::remove_dir_all(world.path("busybox")).expect("it is our folder");
    fs::set_permissions(at, Permissions::from_mode(0o6755)).expect("it is our file");
}

fn make_node(at: &Path) {
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::sys::stat::mknod(at, kind, mode, nix::sys::stat::makedev(1, 5)).expect("root makes nodes");
    fs::set_permissions(at, Permissions::from_mode(0o666)).expect("it is our file");
}

#[test]
fn setuid_files_and_device_nodes_are_inert_wherever_they_come_from() {
    let world = World::new();
    let folder = world.folder().join("tools");
    fs::create_dir(&folder).expect("it is our folder");
    setuid_busybox(&world, &folder.join("id"));
    fs::copy(folder.join("id"), folder.join("grep")).expect("it is our folder");
    host("setcap", &["cap_setuid,cap_dac_override+ep", text(&folder.join("grep"))]);
    make_node(&folder.join("zero"));
    let look = |at: &str| {
        format!(
            "{at}/id -u; {at}/id -g; {at}/grep CapEff /proc/self/status; head -c 1 {at}/zero 2>&1 | tail -c 18"
        )
    };
    let user = world.user();
    let nothing = format!("{}\n{}\nCapEff:\t0000000000000000\nPermission denied\n", user.uid, user.gid);
    let mut bound = bare(&world, &look("/mnt"));
    bound.bind(&folder, "/mnt");
    assert_eq!(bound.hand_over(&world).run().stdout, nothing);

    let overlaid = with_overlay(&world, &look("/tools"), |content| {
        fs::create_dir(content.join("upper")).expect("it is our folder");
        fs::create_dir(content.join("work")).expect("it is our folder");
        host("cp", &["-a", text(&folder), text(&content.join("upper/tools"))]);
    });
    assert_eq!(overlaid.hand_over(&world).run().stdout, nothing);
}

#[test]
fn copying_up_a_setuid_file_gives_nothing() {
    let world = World::new();
    let folder = world.folder().join("lower");
    fs::create_dir(&folder).expect("it is our folder");
    host("cp", &["-a", text(&world.busybox_sandbox()), text(&folder.join("root"))]);
    let id = folder.join("root/bin/id");
    setuid_busybox(&world, &id);
    fs::set_permissions(&id, Permissions::from_mode(0o6777)).expect("it is our file");
    let image = world.squashfs_of("setuid", |to| {
        host("cp", &["-aT", text(&folder.join("root")), text(to)]);
    });
    let script = "echo >>/bin/id; stat -c %A /bin/id; /bin/id -u";
    let mut plan = HandMade::bare(&world, &[], &image).running(&world, script);
    plan.plan.writable = Writable::Tmpfs;
    let uid = world.user().uid;
    let output = plan.hand_over(&world).run();
    assert!(output.stdout.ends_with(&format!("\n{uid}\n")), "{output}");
}

#[test]
fn every_mount_below_a_bind_gets_the_flags_too_and_keeps_its_own() {
    let world = World::new();
    let folder = world.mkdir("folder");
    for name in ["plain", "closed"] {
        world.mkdir(&format!("folder/{name}"));
    }
    let mut plan = bare(&world, "grep ' /mnt' /proc/self/mountinfo | cut -d' ' -f5,6");
    plan.bind(&folder, "/mnt");
    let (program, arguments) = plan.prepare(&world);
    let prepare = "mount -t tmpfs -o suid,dev t $W/home/folder/plain; \
        mount -t tmpfs -o ro,noexec,suid,dev t $W/home/folder/closed";
    let output = world.after(prepare, program).args(arguments).run().assert_ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    assert!(lines.iter().all(|line| line.contains("nosuid,nodev")), "{output}");
    let closed = lines.iter().find(|line| line.contains("/mnt/closed")).expect("it is one of them");
    assert!(closed.contains("ro,") && closed.contains("noexec"), "{output}");
}

#[test]
fn upper_and_work_are_directories_and_no_links() {
    for (name, other) in [("upper", "work"), ("work", "upper")] {
        for target in ["/etc", "../..", "work", "upper", "/proc/self/root", "nowhere"] {
            let world = World::new();
            let plan = with_overlay(&world, "echo in", |content| {
                fs::create_dir(content.join(other)).expect("it is our folder");
                symlink(target, content.join(name)).expect("it is our folder");
            });
            let text = format!("'{name}' of the overlay is not a directory");
            plan.hand_over(&world).run().assert_fatal(&text);
        }
    }
}

#[test]
fn marks_in_an_overlay_lead_nowhere_outside() {
    let world = World::new();
    fs::write(world.folder().join("secret"), "hidden").expect("it is our folder");
    let out = text(world.folder()).to_owned();
    let script = "for d in /a /b /c /d; do echo $d/*; cat $d/secret; done 2>/dev/null; echo done";
    let plan = with_overlay(&world, script, |content| {
        fs::create_dir(content.join("work")).expect("it is our folder");
        for name in ["a", "b", "c", "d"] {
            fs::create_dir_all(content.join("upper").join(name)).expect("it is our folder");
        }
    });
    let image = world.path("overlay.img");
    for (name, mark) in [
        ("a", format!("/../../../../..{out}")),
        ("b", out.clone()),
        ("c", "..".to_owned()),
        ("d", "/proc/self/root".to_owned()),
    ] {
        let request = format!("ea_set /upper/{name} trusted.overlay.redirect {mark}");
        host("debugfs", &["-w", "-R", &request, text(&image)]);
    }
    let output = plan.hand_over(&world).run();
    assert!(!output.stdout.contains("hidden") && !output.stdout.contains("secret\n/"), "{output}");
}

#[test]
fn an_ext3_is_an_ext3_with_a_journal_inside() {
    let world = World::new();
    let plan = bare(&world, "echo in");
    let image = world.path("overlay.img");
    for (kind, options) in [
        ("ext4", &[][..]),
        ("ext2", &[]),
        ("ext3", &["-O", "encrypt"]),
        ("ext3", &["-O", "quota"]),
        ("ext3", &["-E", "quotatype=usrquota", "-O", "project,quota,extra_isize", "-I", "256"]),
    ] {
        let _ = fs::remove_file(&image);
        let mkfs = format!("mkfs.{kind}");
        host(&mkfs, &[options, &["-q", text(&image), "16M"]].concat());
        world.give(&image);
        with_overlay_image(plan.clone(), &image)
            .hand_over(&world)
            .run()
            .assert_fatal("there is no ext3 where the plan says that one is");
    }
    for request in ["ssv mount_opts errors=panic", "ssv journal_inum 0", "ssv journal_dev 0x0700"] {
        let _ = fs::remove_file(&image);
        host("mkfs.ext3", &["-q", text(&image), "16M"]);
        host("debugfs", &["-w", "-R", request, text(&image)]);
        world.give(&image);
        with_overlay_image(plan.clone(), &image)
            .hand_over(&world)
            .run()
            .assert_fatal("there is no ext3 where the plan says that one is");
    }
}

#[test]
fn an_image_that_changes_under_a_container_hurts_only_the_container() {
    let world = World::new();
    let mut plan =
        bare(&world, "echo ready; read line; ls -lR /bin /etc; cat /bin/* | head -c 9000000 | wc -c");
    let overlay = world.ext3_overlay(16);
    plan = with_overlay_image(plan, &overlay);
    for damage in [true, false] {
        let running = plan.hand_over(&world).spawn().wait_for("ready");
        let image = world.path("busybox-gzip.sqfs");
        if damage {
            let length = fs::metadata(&image).expect("it is there").len();
            fs::write(&image, vec![0xa5; usize::try_from(length).expect("it is small")]).expect("it is ours");
        } else {
            fs::write(&overlay, "").expect("it is ours");
        }
        running.finish();
        world.assert_nothing_left();
        world.busybox_sqfs("gzip");
    }
}

#[test]
fn loop_devices_go_with_their_container_and_those_of_others_stay() {
    let world = World::new();
    let foreign = world.folder().join("foreign");
    fs::write(&foreign, vec![0; 1 << 20]).expect("it is our folder");
    let device = LoopDevice::on(&foreign);
    let plan = bare(&world, "echo ready; read line; true");
    let plan = with_overlay_image(plan, &world.ext3_overlay(16));
    let running = plan.hand_over(&world).spawn().wait_for("ready");
    let mut attached = 0;
    for entry in fs::read_dir("/sys/block").expect("there is a /sys").filter_map(Result::ok) {
        let state = |name: &str| fs::read_to_string(entry.path().join("loop").join(name)).unwrap_or_default();
        let file = state("backing_file");
        if file.starts_with(text(&world.home())) {
            attached += 1;
            assert_eq!((state("autoclear").trim(), state("partscan").trim()), ("1", "0"), "{file}");
            let read_only =
                fs::read_to_string(entry.path().join("ro")).expect("a device is one or the other");
            assert_eq!(read_only.trim() == "1", file.trim().ends_with(".sqfs"), "{file}");
        }
    }
    running.finish().assert_ok();
    assert_eq!(attached, 2);
    assert_eq!(device.file().as_deref(), Some(text(&foreign)));
}

#[test]
fn links_on_the_way_to_a_place_lead_nowhere_outside() {
    let mut world = World::new();
    let outside = outside(&world);
    let sandbox = world.busybox_sandbox();
    let marked = world.mkdir("marked");
    let bare = HandMade::bare(&world, &[], &sandbox);
    let bare = bare.running(&world, "grep -c '/marked ' /proc/self/mountinfo; true");
    let deep = format!("../../../../../../..{}", text(&outside));
    for (number, target) in [
        text(&outside),
        &deep,
        "/",
        "..",
        "/proc/self/root",
        "/proc/self/cwd",
        "/proc/1/root",
        "/proc/self/fd/5",
        "link",
        "/link/link",
        "/dev/null",
        "/nowhere/at/all",
    ]
    .iter()
    .enumerate()
    {
        let _ = fs::remove_file(sandbox.join("link"));
        symlink(target, sandbox.join("link")).expect("it is our folder");
        for writable in [Writable::Nothing, Writable::Root, Writable::Tmpfs] {
            for conf in ["", "enable underlay = preferred\n"] {
                world.conf(conf);
                let mut plan = bare.clone();
                plan.plan.writable = writable;
                plan.plan.mounts.push(Mount::Proc);
                plan.bind(&marked, format!("/link/new-{number}"));
                plan.bind(&marked, "/link");
                let output = plan.hand_over(&world).run();
                // What was attached is in the container, or nothing is run.
                let attached: u32 = output.stdout.trim_end().parse().unwrap_or(0);
                assert!(output.status == Some(255) || attached > 0, "{target}: {output}");
                assert_empty(&outside);
            }
        }
    }
}

/// Names, owners, modes and sizes below a folder, and what links say.
fn listing(folder: &Path) -> String {
    let format = ["-printf", "%P %y %U:%G %m %l\n"];
    let output = std::process::Command::new("find").arg(folder).args(format).output().expect("there is find");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_start_makes_nothing_in_what_its_user_brought() {
    let mut world = World::new();
    let sandbox = world.busybox_sandbox();
    let folder = world.mkdir("folder");
    let before = (listing(&sandbox), listing(&folder));
    for conf in ["", "enable underlay = preferred\n", "enable overlay = no\nenable underlay = no\n"] {
        for writable in [Writable::Nothing, Writable::Root, Writable::Tmpfs] {
            world.conf(conf);
            let mut plan = HandMade::from(&world, &["--contain"], &sandbox);
            plan.plan.writable = writable;
            for destination in ["/mnt", "/new/place", "/mnt/below"] {
                plan.bind(&folder, destination);
            }
            let output = plan.hand_over(&world).run();
            assert_eq!(output.status, Some(255), "{output}");
            assert_eq!((listing(&sandbox), listing(&folder)), before, "{conf} {output}");
        }
    }
}

#[test]
fn a_false_proc_deceives_nobody_but_its_owner() {
    let world = World::new();
    let mut plan = bare(&world, "id -u; cat /proc/self/mountinfo");
    let proc = world.mkdir("proc");
    world.mkdir("proc/self/attr");
    world.mkdir("proc/self/ns");
    world.write("proc/self/mountinfo", "false");
    world.write("proc/self/attr/exec", "");
    plan.plan.mounts.clear();
    plan.bind(&proc, "/proc");
    let uid = world.user().uid;
    let output = plan.hand_over(&world).run().assert_ok();
    assert_eq!(output.stdout, format!("{uid}\nfalse"), "{output}");
    let written = fs::read(proc.join("self/attr/exec")).expect("it is ours");
    assert!(written.is_empty(), "something was written into a false /proc");
}

#[test]
fn the_most_and_the_deepest_that_a_plan_can_hold_is_made_or_refused() {
    let world = World::new();
    let mut plan = bare(&world, "grep -c scratch /proc/self/mountinfo");
    let deepest = "/s".repeat(protocol::path::COMPONENTS_MAX);
    let longest = format!("/{}", "x".repeat(protocol::path::COMPONENT_BYTES_MAX));
    for destination in [deepest, longest].into_iter().chain((0..253).map(|n| format!("/scratch-{n}"))) {
        plan.plan
            .mounts
            .push(Mount::Scratch { destination: place(destination), purpose: protocol::Scratch::Work });
    }
    assert_eq!(plan.plan.mounts.len(), protocol::MOUNTS_MAX);
    plan.hand_over(&world).run().assert_ok().assert_stdout("253");
}
