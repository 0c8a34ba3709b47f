//! Containers without the setuid starter: the caller's own user namespace.

use nix::sys::signal::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::{Command, World};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `lamina exec --userns OPTIONS IMAGE sh -c SCRIPT`, run as the user.
fn inside(world: &World, options: &[&str], image: &Path, script: &str) -> Command {
    let options = [&["--userns"], options].concat();
    world.sh(&options, image, script)
}

/// Root's preparation that takes the setuid bit away from the starter, for one command.
fn without_setuid_bit(world: &World) -> String {
    let starter = text(&world.installed().starter_suid());
    format!("cp {starter} $W/starter; chmod 755 $W/starter; mount --bind $W/starter {starter}")
}

#[test]
fn the_program_is_the_caller_and_has_nothing_of_the_namespace() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let script = "id -u; id -g; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /proc/self/uid_map";
    let output = inside(&world, &[], &image, script).run().assert_ok();
    let id = world.user().uid.to_string();
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(words[..2], [id.as_str(), id.as_str()], "{output}");
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let line = format!("{capabilities}\t0000000000000000");
        assert!(output.stdout.lines().any(|found| found == line), "{line}: {output}");
    }
    assert!(output.stdout.contains("NoNewPrivs:\t1"), "{output}");
    assert_eq!(words[words.len() - 3..], [id.as_str(), id.as_str(), "1"], "{output}");
}

#[test]
fn a_directory_overlay_keeps_what_an_ordinary_user_changes() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sandbox(), text(&world.mkdir("changes")));
    world.write("busybox/old", "of the image");
    let options = ["--overlay", overlay.as_str()];
    let script = "echo kept >/note; rm /old; rm -r /home; mkdir /home; touch /home/new";
    inside(&world, &options, &image, script).run().assert_ok();
    let script = "cat /note; ls /old 2>/dev/null || echo gone; ls -A /home";
    inside(&world, &options, &image, script).run().assert_ok().assert_stdout("kept\ngone\nnew");
    inside(&world, &[], &image, "cat /old; ls /note").run().assert_status(1).assert_stdout("of the image");
    world.program("/bin/rm").args(["-rf", &overlay]).run().assert_ok();
}

#[test]
fn a_directory_overlay_can_be_read_only_and_several_are_stacked() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let overlays = [text(&world.mkdir("lower")), text(&world.mkdir("upper"))];
    for (number, overlay) in overlays.iter().enumerate() {
        let script = format!("echo {number} >/both; echo {number} >/only-{number}");
        inside(&world, &["--overlay", overlay], &image, &script).run().assert_ok();
    }
    let read_only = overlays.map(|overlay| format!("{overlay}:ro"));
    let options = ["--overlay", read_only[0].as_str(), "--overlay", read_only[1].as_str()];
    inside(&world, &options, &image, "cat /both /only-0 /only-1; touch /new")
        .run()
        .assert_status(1)
        .assert_stdout("1\n0\n1")
        .assert_stderr_has("Read-only file system");
}

#[test]
fn a_sandbox_is_written_or_covered_with_memory() {
    let world = World::new();
    let image = world.busybox_sandbox();
    inside(&world, &["--writable"], &image, "echo in >/inside").run().assert_ok();
    assert_eq!(std::fs::read_to_string(image.join("inside")).expect("it was written"), "in\n");
    inside(&world, &["--writable-tmpfs"], &image, "echo out >/inside; cat /inside")
        .run()
        .assert_ok()
        .assert_stdout("out");
    inside(&world, &[], &image, "cat /inside; touch /inside").run().assert_status(1).assert_stdout("in");
}

#[test]
fn binds_homes_and_contained_runs_are_as_with_the_setuid_starter() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let folder = text(&world.mkdir("data"));
    world.write("data/file", "bound");
    let script = format!(
        "cat /data/file; touch /data/new; cat /ro/file; touch /ro/new 2>/dev/null || echo read-only; \
         ls {folder}; hostname; echo $$; ls /dev/pts | head -n 1; touch /dev/null /tmp/x /scratch/x && echo done"
    );
    let (writable, read_only) = (format!("{folder}:/data"), format!("{folder}:/ro:ro"));
    let options = [
        "--contain",
        "--pid",
        "--ipc",
        "--no-init",
        "--hostname",
        "inner",
        "--scratch",
        "/scratch",
        "--bind",
        writable.as_str(),
        "--bind",
        read_only.as_str(),
    ];
    let output = inside(&world, &options, &image, &script).run();
    output.assert_status(0).assert_stdout("boundboundread-only\ninner\n1\nptmx\ndone");
    assert_eq!(world.files(), ["busybox", "data"]);
    assert!(Path::new(&folder).join("new").exists());
}

#[test]
fn every_mount_is_nosuid_and_nodev_outside_dev() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let output = inside(&world, &[], &image, "cat /proc/self/mountinfo").run().assert_ok();
    for line in output.stdout.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (place, options) = (fields[4], fields[5]);
        assert!(options.contains("nosuid"), "{line}");
        assert!(place.starts_with("/dev") || options.contains("nodev"), "{line}");
    }
}

#[test]
fn what_the_caller_may_not_read_stays_closed() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let world = World::new();
    let (image, overlay) = (world.busybox_sandbox(), text(&world.mkdir("changes")));
    let secret = image.join("secret");
    std::fs::write(&secret, "hidden").expect("root may");
    chown(&secret, Some(0), Some(0)).expect("root may");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("root may");
    let output =
        inside(&world, &["--overlay", &overlay], &image, "mv /secret /mine; cat /secret /mine").run();
    assert!(output.status != Some(0), "{output}");
    let copied = world.program("/bin/grep").args(["-r", "hidden", &overlay]).as_root().run();
    copied.assert_status(1);
    world.program("/bin/rm").args(["-rf", &overlay]).run().assert_ok();
}

#[test]
fn without_a_setuid_bit_users_get_a_user_namespace() {
    let world = World::new();
    let image = world.busybox_sandbox();
    world
        .after(&without_setuid_bit(&world), world.installed().lamina())
        .args(["-v", "exec"])
        .arg(&image)
        .args(["id", "-u"])
        .run()
        .assert_ok()
        .assert_stdout(&world.user().uid.to_string())
        .assert_stderr_has("Starting through a user namespace: the starter")
        .assert_stderr_has("has no setuid bit");
}

#[test]
fn a_site_without_setuid_containers_has_those_of_user_namespaces() {
    let mut world = World::new();
    let image = world.busybox_sandbox();
    world.conf("# nothing\nallow setuid = no\nallow container dir = no\nmount proc = no\n");
    let output = world.lamina(["-v", "exec"]).arg(&image).args(["ls", "-A", "/proc"]).run();
    // What root lends is not needed, so the site's rules about it are not asked; its idea of a container is.
    output.assert_ok().assert_stdout("").assert_stderr_has("'allow setuid = no', line 2");
}

#[test]
fn dry_runs_and_explanations_name_the_way_a_container_starts() {
    let world = World::new();
    let image = world.busybox_sandbox();
    for (options, wanted) in [
        (&["--userns"][..], "through a user namespace: asked for with --userns"),
        (&[], "through the setuid starter: it is installed, and nothing speaks against it"),
    ] {
        for command in [&["exec", "--dry-run"][..], &["explain"]] {
            let output = world.lamina(command).args(options).arg(&image).arg("true").run().assert_ok();
            assert!(output.stdout.lines().any(|line| line == format!("started      {wanted}")), "{output}");
        }
    }
}

#[test]
fn the_starter_without_a_setuid_bit_refuses_everybody_outside_of_a_user_namespace() {
    let world = World::new();
    let starter = world.installed().prefix().join("libexec/lamina/bin/starter");
    let words = "this starter works only inside a user namespace";
    world.program(&starter).run().assert_fatal(words);
    world.program(&starter).as_root().run().assert_fatal(words);
}

#[test]
fn a_starter_that_got_a_setuid_bit_refuses_to_use_it() {
    let world = World::new();
    let starter = text(&world.installed().prefix().join("libexec/lamina/bin/starter"));
    let prepare = format!("cp {starter} $W/starter; chmod 4755 $W/starter");
    world.after(&prepare, world.folder().join("starter")).run().assert_fatal("which it must not have");
}

#[test]
fn a_host_that_forbids_user_namespaces_is_told_from_others() {
    let world = World::new();
    let image = world.busybox_sandbox();
    // The limit is one of the user namespace that the setting is written in: everything below it is without.
    let script = format!(
        "echo 0 >/proc/sys/user/max_user_namespaces; exec {} exec --userns {} true",
        world.installed().lamina().display(),
        image.display()
    );
    world
        .program("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-ec", &script])
        .run()
        .assert_fatal("user namespaces cannot be used here (user.max_user_namespaces = 0)")
        .assert_stderr_has("sysctl -w user.max_user_namespaces=");
}

#[test]
fn a_directory_overlay_on_an_image_file_is_what_an_ordinary_user_gets() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.mkdir("my_overlay")));
    let script = "touch /usr/bin/myfile; echo kept >/note";
    world.sh(&["--overlay", &overlay], &image, script).run().assert_ok();
    world.sh(&["--overlay", &overlay], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    let read_only = format!("{overlay}:ro");
    inside(&world, &["--overlay", &read_only], &image, "ls /usr/bin/myfile; touch /usr/bin/other")
        .run()
        .assert_status(1)
        .assert_stdout("/usr/bin/myfile")
        .assert_stderr_has("Read-only file system");
    world.program("/bin/rm").args(["-rf", &overlay]).run().assert_ok();
}

#[test]
fn image_files_of_every_kind_run_and_end_with_the_programs_status() {
    let world = World::new();
    for image in [world.busybox_sif(), world.busybox_sqfs("xz"), world.busybox_ext3()] {
        inside(&world, &[], &image, "echo in; exit 7").run().assert_status(7).assert_stdout("in");
        let killed = inside(&world, &[], &image, "kill -9 $$").run();
        assert_eq!(killed.signal, Some(9), "{killed}");
        inside(&world, &["--pid"], &image, "echo $PPID; exit 3").run().assert_status(3).assert_stdout("1");
    }
}

#[test]
fn an_overlay_image_keeps_changes_and_is_closed_when_the_command_returns() {
    let world = World::new();
    let overlay = text(&world.ext3_overlay(16));
    for image in [world.busybox_sif(), world.busybox_sandbox()] {
        let script = "echo kept >/note; rm -f /bin/vi; rm -rf /home; mkdir /home; touch /home/new";
        inside(&world, &["--overlay", &overlay], &image, script).run().assert_ok();
        let read_only = format!("{overlay}:ro");
        for options in [
            &["--overlay", overlay.as_str()][..],
            &["--overlay", &read_only],
            &["--overlay", &read_only, "--writable-tmpfs"],
        ] {
            let script = "cat /note; ls /bin/vi 2>/dev/null || echo gone; ls -A /home";
            inside(&world, options, &image, script).run().assert_ok().assert_stdout("kept\ngone\nnew");
        }
        world.program("e2fsck").args(["-fn", &overlay]).run().assert_ok();
    }
}

#[test]
fn what_a_program_leaves_behind_is_named_and_a_signal_ends_it() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(16)));
    let options = ["--overlay", overlay.as_str()];
    let script = "touch /kept; trap '' TERM; sleep 100 >/dev/null 2>&1 & echo ready";
    let begun = Instant::now();
    let left = inside(&world, &options, &image, script).spawn().wait_for("ready");
    // It is told after two seconds.
    std::thread::sleep(Duration::from_secs(4));
    left.signal(Signal::SIGTERM);
    let output = left
        .finish()
        .assert_stderr_has(&format!("{overlay} is still used by what the container left behind: "));
    output.assert_stderr_has(" (sleep)").assert_stderr_has("Ctrl-C or a signal to this process ends it");
    assert!(begun.elapsed() < Duration::from_secs(30));
    world.program("e2fsck").args(["-fn", &overlay]).run().assert_ok();
    inside(&world, &options, &image, "ls /kept").run().assert_ok();
}

#[test]
fn who_outlives_a_program_that_was_asked_to_end_is_ended_too() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(16)));
    let options = ["--overlay", overlay.as_str()];
    let begun = Instant::now();
    let running =
        inside(&world, &options, &image, "touch /kept; echo ready; sleep 100").spawn().wait_for("ready");
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    assert_eq!(output.signal, Some(Signal::SIGTERM as i32), "{output}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{output}");
    world.program("e2fsck").args(["-fn", &overlay]).run().assert_ok();
    inside(&world, &options, &image, "ls /kept").run().assert_ok();
}

#[test]
fn binds_find_their_places_under_an_overlay_image() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(16)));
    let (folder, file) = (text(&world.mkdir("data")), text(&world.write("file", "a file")));
    let binds = [format!("{folder}:/deep/inside/data"), format!("{file}:/deep/file")];
    let options = ["--overlay", &overlay, "--bind", &binds[0], "--bind", &binds[1], "--scratch", "/scratch"];
    let script = "touch /deep/inside/data/new /scratch/x; cat /deep/file";
    inside(&world, &options, &image, script).run().assert_ok().assert_stdout("a file");
    assert!(Path::new(&folder).join("new").exists());
    inside(&world, &["--overlay", &overlay], &image, "ls -d /deep").run().assert_status(1);
}

#[test]
fn an_overlay_image_has_one_writer_in_whatever_way_it_is_started() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(16)));
    let options = ["--overlay", overlay.as_str()];
    let first = inside(&world, &options, &image, "echo ready; cat").spawn().wait_for("ready");
    inside(&world, &options, &image, "true").run().assert_fatal(&world.user().name);
    world.sh(&options, &image, "true").run().assert_fatal(&world.user().name);
    first.finish().assert_ok();
    let first = world.sh(&options, &image, "echo ready; cat").spawn().wait_for("ready");
    inside(&world, &options, &image, "true").run().assert_fatal(&world.user().name);
    first.finish().assert_ok();
    inside(&world, &options, &image, "true").run().assert_ok();
}

#[test]
fn a_start_that_fails_leaves_an_overlay_image_closed() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(16)));
    let hidden = "mount --bind /dev/null /usr/bin/fuse-overlayfs";
    for _ in 0..10 {
        world
            .after(hidden, world.installed().lamina())
            .args(["exec", "--userns", "--overlay", &overlay])
            .arg(&image)
            .arg("true")
            .run()
            .assert_fatal("fuse-overlayfs was not found in ");
    }
    inside(&world, &["--overlay", &overlay], &image, "echo kept >/note").run().assert_ok();
}

/// The low half of the first block group's `bg_inode_table`, in bytes of an ext3 with blocks of 1 KiB (`ext4.h`).
const EXT_INODE_TABLE: std::ops::Range<usize> = 2048 + 8..2048 + 10;

#[test]
fn an_overlay_image_whose_top_directory_cannot_be_read_is_named_in_every_flow() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    let mut bytes = std::fs::read(&overlay).expect("it was made");
    bytes[EXT_INODE_TABLE].fill(0xff);
    std::fs::write(&overlay, bytes).expect("it is ours");
    let option = format!("{}:ro", text(&overlay));
    for (flow, said) in
        [(&["--userns"][..], "cannot read the top directory of"), (&[], "while mounting ext3")]
    {
        let run = world.lamina(["exec"]).args(flow).args(["--overlay", &option]).arg(&image).arg("true");
        let output = run.run().assert_fatal(said).assert_stderr_has("e2fsck -f");
        output.assert_stderr_has(&text(&overlay));
    }
}

#[test]
fn an_overlay_in_a_sif_is_seen_and_written_on_demand() {
    let world = World::new();
    let image = world.busybox_sif();
    world.lamina(["overlay", "create", "--size", "64"]).arg(&image).run().assert_ok();
    inside(&world, &["--writable"], &image, "echo kept >/note").run().assert_ok();
    inside(&world, &[], &image, "cat /note; touch /new").run().assert_status(1).assert_stdout("kept");
}

#[test]
fn signals_reach_the_program_and_a_killed_command_leaves_nothing() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(16)));
    let options = ["--overlay", overlay.as_str()];
    let script = "trap 'echo asked >/note; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let running = inside(&world, &options, &image, script).spawn().wait_for("ready");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.finish().assert_status(5);
    inside(&world, &options, &image, "cat /note").run().assert_ok().assert_stdout("asked");
    let running = inside(&world, &options, &image, "echo ready; exec cat").spawn().wait_for("ready");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(running.finish().signal, Some(9));
    world.assert_nothing_left();
    inside(&world, &options, &image, "cat /note").run().assert_ok().assert_stdout("asked");
}

#[test]
fn what_the_kernel_may_not_mount_for_users_goes_through_fuse() {
    let mut world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(16));
    for (line, why) in [
        ("allow kernel squashfs = no", "squashfs image mounts are not authorized"),
        ("allow kernel extfs = no", "ext3 image mounts are not authorized"),
        ("allow setuid = no", "suid workflow disabled by administrator"),
    ] {
        world.conf(&format!("{line}\n"));
        let run = world.lamina(["-v", "exec", "--overlay"]).arg(&overlay).arg(&image).arg("true").run();
        run.assert_ok().assert_stderr_has(why).assert_stderr_has("Using fuse2fs for");
    }
}

#[test]
fn a_site_that_wants_no_overlay_of_the_kernels_has_those_of_fuse_overlayfs() {
    let mut world = World::new();
    let image = world.busybox_sif();
    let (file, directory) = (text(&world.ext3_overlay(16)), text(&world.mkdir("changes")));
    world.conf("enable overlay = driver\n");
    let script = "echo kept >/note; rm /bin/true; grep -c ' / / .*fuse-overlayfs' /proc/self/mountinfo";
    for options in [&["--overlay", file.as_str()][..], &["--overlay", &directory], &["--writable-tmpfs"]] {
        world.sh(options, &image, script).run().assert_ok().assert_stdout("1");
    }
    let script = "cat /note; ls /bin/true 2>/dev/null || echo gone";
    for overlay in [&file, &directory] {
        for option in [overlay.clone(), format!("{overlay}:ro")] {
            let again =
                world.lamina(["-v", "exec", "--overlay", &option]).arg(&image).args(["sh", "-c", script]);
            again
                .run()
                .assert_ok()
                .assert_stdout("kept\ngone")
                .assert_stderr_has("Using fuse-overlayfs for ");
        }
    }
    let memory = world.lamina(["-v", "exec", "--writable-tmpfs"]).arg(&image).args(["ls", "/note"]);
    memory.run().assert_status(1).assert_stderr_has("disabled by administrator ('enable overlay', line 1)");
    world.program("/bin/rm").args(["-rf", &directory]).run().assert_ok();
}

#[test]
fn a_site_can_forbid_user_namespaces_whatever_asks_for_one() {
    let mut world = World::new();
    let (image, overlay) = (world.busybox_sandbox(), text(&world.mkdir("changes")));
    world.conf("allow user ns = no\n");
    for options in [&["--userns"][..], &["--fakeroot"], &["--overlay", &overlay]] {
        world
            .sh(options, &image, "true")
            .run()
            .assert_fatal("User namespace required but not allowed by configuration: ")
            .assert_stderr_has("singularity.conf line 1");
    }
    world.sh(&[], &image, "true").run().assert_ok();
}

#[test]
fn a_writable_image_on_a_directory_does_not_show_what_its_user_may_not_read() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let mut world = World::new();
    let (image, overlay) = (world.busybox_sandbox(), text(&world.ext3_overlay(16)));
    let secret = image.join("secret");
    std::fs::write(&secret, "hidden").expect("root may");
    chown(&secret, Some(0), Some(0)).expect("root may");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("root may");
    let output = world.sh(&["--overlay", &overlay], &image, "mv /secret /mine && echo moved").run();
    assert!(output.status != Some(0), "{output}");
    assert!(!world.program("/bin/grep").args(["-c", "hidden", &overlay]).run().stdout.starts_with('1'));
    world.conf("allow image overlay on dir = yes\n");
    let output = world.sh(&["--overlay", &overlay], &image, "mv /secret /mine && echo moved").run();
    output.assert_ok().assert_stdout("moved");
}

#[test]
fn a_full_overlay_image_says_so_and_keeps_what_it_has() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(8)));
    let options = ["--overlay", overlay.as_str()];
    let script = "echo kept >/note; dd if=/dev/zero of=/zeroes bs=64k; cat /note";
    let output = inside(&world, &options, &image, script).run();
    output.assert_ok().assert_stdout("kept").assert_stderr_has("No space left on device");
    inside(&world, &options, &image, "rm /zeroes; echo more >/note").run().assert_ok();
    inside(&world, &options, &image, "cat /note").run().assert_ok().assert_stdout("more");
}

#[test]
fn where_a_new_proc_cannot_be_made_the_hosts_is_shown() {
    let world = World::new();
    // A process outside that the container's own /proc would not show.
    let script = "test -d /proc/self && test -d /proc/$HOST && echo shown";
    for image in [world.busybox_sandbox(), world.busybox_sif()] {
        let covered = "mount --bind /dev/null /proc/version";
        let start = |prepare: &str| {
            let command = world.after(prepare, world.installed().lamina());
            let command = command.args(["exec", "--userns", "--pid", "--env"]);
            command.arg(format!("HOST={}", std::process::id())).arg(&image).args(["sh", "-c", script]).run()
        };
        start(covered).assert_ok().assert_stdout("shown").assert_stderr_has("the container sees the host's");
        assert_eq!(start("true").assert_status(1).stderr, "");
    }
}
