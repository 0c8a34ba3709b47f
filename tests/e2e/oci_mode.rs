//! `--oci`: containers that crun makes, as the image's configuration says.

use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use tests::{Command, Layout, Output, World};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A busybox in one layer and a file in another, pulled as an OCI-SIF with these options of `umoci config`.
fn image_with(world: &World, options: &[&str]) -> PathBuf {
    let layout = Layout::of_busybox();
    let note = world.write("note", "of the image\n");
    layout.insert(&note, "/srv/note");
    layout.configure(options);
    layout.copy_to("oci", &world.path("layout"), "v1");
    let pull =
        ["pull", "--oci", "--force", "--keep-layers", "--disable-cache", "box.oci.sif", "oci:layout:v1"];
    world.lamina(pull).run().assert_ok();
    world.path("box.oci.sif")
}

fn image(world: &World) -> PathBuf {
    image_with(world, &[])
}

/// `lamina exec --oci OPTIONS IMAGE sh -c SCRIPT`, run as the user.
fn inside(world: &World, options: &[&str], image: &Path, script: &str) -> Command {
    world.sh(&[&["--oci"], options].concat(), image, script)
}

/// The same as the user and as root.
fn as_both(world: &World, options: &[&str], image: &Path, script: &str) -> [Output; 2] {
    [inside(world, options, image, script).run(), inside(world, options, image, script).as_root().run()]
}

/// Makes the same assertions on both.
fn each(outputs: [Output; 2], check: impl Fn(Output) -> Output) {
    for output in outputs {
        check(output);
    }
}

/// What a terminal shows of a command, and its status. When it says `sign`, it is sent these keys, some time apart.
fn on_a_terminal(world: &World, command: &str, sign: &str, keys: &[&str]) -> Output {
    let types: String = keys.iter().map(|keys| format!("sleep 0.5; printf '{keys}'; ")).collect();
    let script = format!(
        "rm -f log; touch log; {{ until grep -q '{sign}' log; do sleep 0.05; done; {types} sleep 1; }} | \
         script --quiet --flush --return --command \"{command}\" log >/dev/null; status=$?; cat log; exit $status"
    );
    world.program("/bin/sh").args(["-c", &script]).run()
}

#[test]
fn run_is_the_entrypoint_and_the_command_or_the_users_words_in_its_place() {
    let world = World::new();
    let options = ["--config.entrypoint", "/bin/echo", "--config.cmd", "its", "--config.cmd", "command"];
    let image = text(&image_with(&world, &options));
    let run = |words: &[&str]| {
        let words = [&["run", "--oci", image.as_str()], words].concat();
        [world.lamina(&words).run(), world.lamina(&words).as_root().run()]
    };
    each(run(&[]), |output| output.assert_ok().assert_stdout("its command"));
    each(run(&["my", "words"]), |output| output.assert_ok().assert_stdout("my words"));
    world.lamina(["run", "--oci", "oci:layout:v1"]).run().assert_ok().assert_stdout("its command");
}

#[test]
fn an_image_without_anything_to_run_says_so() {
    let world = World::new();
    let image = text(&image_with(&world, &["--config.cmd", ""]));
    let output = world.lamina(["run", "--oci", &image]).run().assert_status(255);
    assert!(
        output.stderr.contains("neither an entrypoint nor a command")
            || output.stderr.contains("executable file not found"),
        "{output}"
    );
}

#[test]
fn variables_and_the_working_directory_are_the_images_unless_the_user_says_otherwise() {
    let world = World::new();
    let options =
        ["--config.env", "ONE=a $b", "--config.env", "PATH=/bin:/its", "--config.workingdir", "/srv"];
    let image = image_with(&world, &options);
    let script = "echo \"$ONE|$PATH|$TWO\"; pwd; cat note";
    let plain = inside(&world, &[], &image, script).env("TWO", "of the host").run();
    plain.assert_ok().assert_stdout("a $b|/bin:/its|\n/srv\nof the image");
    let options = ["--env", "ONE=mine", "--cwd", "/"];
    let wished = inside(&world, &options, &image, "echo \"$ONE|$PATH|$TWO\"; pwd")
        .env("SINGULARITYENV_TWO", "asked for")
        .env("SINGULARITYENV_APPEND_PATH", "/more")
        .run();
    wished.assert_ok().assert_stdout("mine|/bin:/its:/more|asked for\n/");
    let open =
        inside(&world, &["--no-compat"], &image, "echo \"$ONE|$TWO\"; pwd").env("TWO", "of the host").run();
    open.assert_ok().assert_stdout(&format!("a $b|of the host\n{}", text(&world.home())));
}

#[test]
fn the_exit_status_is_the_programs_and_a_missing_program_is_named() {
    let world = World::new();
    let image = image(&world);
    each(as_both(&world, &[], &image, "exit 7"), |output| output.assert_status(7));
    each(as_both(&world, &[], &image, "kill -9 $$"), |output| output.assert_status(137));
    let exec = |program: &str| world.lamina(["exec", "--oci", &text(&image), program]).run();
    exec("nothing").assert_fatal("\"nothing\": executable file not found in $PATH");
    exec("/nothing").assert_fatal("stat /nothing: no such file or directory");
    let piped = world.lamina(["exec", "--oci", &text(&image), "cat"]).stdin("through it").run();
    assert_eq!(piped.assert_ok().stdout, "through it");
}

#[test]
fn a_user_is_himself_and_root_is_root_and_with_fakeroot_everybody_is() {
    let world = World::new();
    let image = image(&world);
    let script =
        "id -u; id -g; id -un; grep -c NoNewPrivs:.1 /proc/self/status; grep CapEff /proc/self/status";
    let [user, root] = as_both(&world, &[], &image, script);
    let (id, name) = (world.user().uid, &world.user().name);
    user.assert_ok().assert_stdout(&format!("{id}\n{id}\n{name}\n1\nCapEff:\t0000000000000000"));
    assert!(root.assert_ok().stdout.starts_with("0\n0\nroot\n1\n"));
    for options in [&["--fakeroot"][..], &["--fakeroot", "--ignore-subuid", "--ignore-fakeroot-command"]] {
        let output =
            inside(&world, options, &image, "id -u; id -un; touch /root-was-here; stat -c %u /bin").run();
        output.assert_ok().assert_stdout("0\nroot\n0");
    }
    inside(&world, &["--fakeroot"], &image, "touch /f; chown 33:34 /f; stat -c %u:%g /f")
        .run()
        .assert_ok()
        .assert_stdout("33:34");
}

#[test]
fn an_image_that_wants_to_run_as_somebody_does() {
    let world = World::new();
    let image = image_with(&world, &["--config.user", "1234:567"]);
    let script = "id -u; id -g; echo $HOME; touch /mine; stat -c %u:%g /mine; grep CapEff /proc/self/status";
    inside(&world, &[], &image, script)
        .run()
        .assert_ok()
        .assert_stdout("1234\n567\n/\n1234:567\nCapEff:\t0000000000000000");
    let [_, root] = as_both(&world, &[], &image, "id -u; id -g; grep CapEff /proc/self/status; touch /mine");
    root.assert_status(1).assert_stdout("1234\n567\nCapEff:\t0000000000000000");
    let nobody = image_with(&world, &["--config.user", "not-there"]);
    let output = inside(&world, &[], &nobody, "true").run();
    output.assert_fatal("the image is to run as user not-there, whom its account files do not have");
}

#[test]
fn a_container_is_isolated_and_writable_in_memory() {
    let world = World::new();
    let image = image(&world);
    world.write("mine", "at home");
    let script = "touch /new /srv/new ~/new /tmp/new && echo written; ls ~; cat /proc/1/comm; ls -A /dev/pts";
    let [user, root] = as_both(&world, &[], &image, script);
    for output in [user, root] {
        output.assert_ok().assert_stdout("written\nnew\nsinit\nptmx");
    }
    let gone = inside(&world, &[], &image, "ls /new /srv/new").run();
    gone.assert_status(1).assert_stdout("");
    assert!(!world.path("new").exists());
}

#[test]
fn no_compat_is_read_only_and_open_to_the_host() {
    let world = World::new();
    let image = image(&world);
    world.write("mine", "at home\n");
    let script = format!("touch /new; cat {}; pwd", text(&world.path("mine")));
    let output = inside(&world, &["--no-compat"], &image, &script).run().assert_ok();
    let output = output.assert_stdout(&format!("at home\n{}", text(&world.home())));
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    inside(&world, &["--no-compat", "--writable-tmpfs"], &image, "touch /new").run().assert_ok();
}

#[test]
fn directories_and_images_as_overlays_keep_what_is_changed() {
    for root in [false, true] {
        let world = World::new();
        let image = image(&world);
        let run = |option: &str, script: &str| {
            let command = inside(&world, &["--overlay", option], &image, script);
            if root { command.as_root() } else { command }.run()
        };
        let directory = if root { world.folder().join("changes") } else { world.mkdir("changes") };
        std::fs::create_dir_all(&directory).expect("root may");
        for overlay in [directory, world.ext3_overlay(16)] {
            let option = text(&overlay);
            run(&option, "echo kept >/new; rm /srv/note; rm -r /home; mkdir /home; echo in >/home/file")
                .assert_ok();
            let script = "cat /new /home/file; ls /srv; ls /home";
            run(&option, script).assert_ok().assert_stdout("kept\nin\nfile");
            let read_only = format!("{option}:ro");
            run(&read_only, "cat /new; ls /srv; touch /more && ls /more")
                .assert_ok()
                .assert_stdout("kept\n/more");
            run(&option, "ls /more").assert_status(1);
            inside(&world, &[], &image, "cat /srv/note; ls /new")
                .run()
                .assert_status(1)
                .assert_stdout("of the image");
            if overlay.is_dir() {
                assert_eq!(
                    files(&overlay.join("upper")),
                    ["home", "new", "srv"],
                    "nothing but what was changed"
                );
            }
        }
        let _ = world.program("/bin/rm").as_root().args(["-rf", &text(&world.path("changes"))]).run();
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("it is a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn of_read_only_overlays_the_last_one_is_uppermost_and_a_writable_one_is_above_all() {
    let world = World::new();
    let image = image(&world);
    let overlays = ["one", "two", "three"].map(|name| text(&world.mkdir(name)));
    for (number, overlay) in overlays.iter().enumerate() {
        let script = format!("echo {number} >/all; echo {number} >/only-{number}");
        inside(&world, &["--overlay", overlay], &image, &script).run().assert_ok();
    }
    let [one, two, three] = &overlays;
    let (one, two) = (format!("{one}:ro"), format!("{two}:ro"));
    let stacked = ["--overlay", &one, "--overlay", &two];
    let script = "cat /all /only-0 /only-1 /srv/note";
    inside(&world, &stacked, &image, script).run().assert_ok().assert_stdout("1\n0\n1\nof the image");
    let with_writable = [&["--overlay", three.as_str()], &stacked[..]].concat();
    inside(&world, &with_writable, &image, "cat /all; echo new >/all").run().assert_ok().assert_stdout("2");
    inside(&world, &["--overlay", three], &image, "cat /all").run().assert_ok().assert_stdout("new");
    let two_writable = ["--overlay", three, "--overlay", &overlays[1]];
    let output = inside(&world, &two_writable, &image, "true").run().assert_status(255);
    assert!(output.stderr.contains("you can't specify more than one writable overlay"), "{output}");
    world.program("/bin/rm").args(["-rf"]).args(overlays).run().assert_ok();
}

#[test]
fn the_overlay_in_an_oci_sif_is_written_with_writable_and_read_without_until_it_is_sealed() {
    let world = World::new();
    let image = image(&world);
    let name = text(&image);
    let without = format!("image oci-sif:{name} does not contain a writable overlay");
    inside(&world, &["--writable"], &image, "true").run().assert_fatal(&without);
    let created = world.lamina(["overlay", "create", "--size", "64", &name]).run().assert_ok();
    created.assert_stderr_has(&format!("'lamina exec --oci --writable {name}' writes to the overlay"));
    world.lamina(["inspect", &name]).run().assert_fatal("is an OCI-SIF, and these are not inspected yet");
    inside(&world, &["--writable"], &image, "echo kept >/new; rm /srv/note").run().assert_ok();
    let (below, option) = (world.mkdir("below"), format!("{}:ro", text(&world.path("below"))));
    std::fs::write(below.join("under"), "it\n").expect("it is a directory");
    let both = ["--writable", "--overlay", &option];
    inside(&world, &both, &image, "cat /under && echo more >/more").run().assert_ok().assert_stdout("it");
    let not_both = ["--writable", "--overlay", option.trim_end_matches(":ro")];
    let refused = inside(&world, &not_both, &image, "true").run().assert_status(255);
    assert!(refused.stderr.contains("you can't specify more than one writable overlay"), "{refused}");
    let twice = inside(&world, &["--overlay", &option, "--overlay", &option], &image, "true").run();
    let twice = twice.assert_status(255);
    assert!(twice.stderr.contains(&format!("duplicate overlays detected: [{}]", text(&below))), "{twice}");
    let script = "cat /new; ls /srv; echo lost >/new";
    each(as_both(&world, &[], &image, script), |output| output.assert_ok().assert_stdout("kept"));
    let held = inside(&world, &["--writable"], &image, "echo ready; cat").spawn().wait_for("ready");
    let refused = inside(&world, &["--writable"], &image, "true").run().assert_status(255);
    assert!(refused.stderr.contains("currently in use"), "{refused}");
    held.finish().assert_ok();
    world.lamina(["overlay", "seal", &name]).run().assert_ok();
    inside(&world, &[], &image, "cat /new; ls /srv").run().assert_ok().assert_stdout("kept");
    inside(&world, &["--writable"], &image, "true").run().assert_fatal(&without);
}

#[test]
fn a_native_sif_runs_in_oci_mode_and_bare_images_do_not() {
    let world = World::new();
    let sif = world.busybox_sif();
    each(as_both(&world, &[], &sif, "touch /new && echo ran"), |output| {
        output.assert_ok().assert_stdout("ran")
    });
    for (image, kind) in [
        (world.busybox_sandbox(), "sandbox"),
        (world.busybox_sqfs("gzip"), "squashfs"),
        (world.busybox_ext3(), "ext3"),
    ] {
        let text = format!("OCI mode cannot run bare {kind} images");
        inside(&world, &[], &image, "true").run().assert_fatal(&text);
    }
    let oci = image(&world);
    world
        .sh(&[], &oci, "true")
        .run()
        .assert_fatal("native runtime does not support OCI-SIF images, use --oci mode");
}

#[test]
fn binds_scratch_directories_and_the_hosts_name_are_as_without_oci_mode() {
    let world = World::new();
    let image = image(&world);
    let folder = text(&world.mkdir("data"));
    world.write("data/file", "bound\n");
    let (writable, read_only) = (format!("{folder}:/data"), format!("{folder}:/not/there/yet:ro"));
    let options = [
        "--hostname",
        "inner",
        "--scratch",
        "/scratch",
        "--net",
        "--network",
        "none",
        "--bind",
        writable.as_str(),
        "--bind",
        read_only.as_str(),
    ];
    let script = "hostname; cat /etc/hostname /not/there/yet/file; touch /not/there/yet/new || touch /data/new; \
                  touch /scratch/x && echo done; grep -c : /proc/net/dev";
    for output in as_both(&world, &options, &image, script) {
        let output = output.assert_ok().assert_stdout("inner\ninner\nbound\ndone\n1");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
    }
    assert!(world.path("data/new").exists());
}

#[test]
fn signals_reach_the_program_and_its_end_is_told() {
    let world = World::new();
    let image = image(&world);
    for root in [false, true] {
        let start = |script: &str| {
            let command = inside(&world, &[], &image, script);
            if root { command.as_root() } else { command }.spawn().wait_for("ready")
        };
        let plain = start("echo ready; exec sleep 50");
        plain.signal(Signal::SIGTERM);
        plain.finish().assert_status(143);
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGUSR1, "USR1"), (Signal::SIGINT, "INT")]
        {
            let handles =
                format!("trap 'echo got it; exit 5' {name}; echo ready; while :; do sleep 0.1; done");
            let running = start(&handles);
            running.signal(signal);
            let output = running.finish().assert_status(5);
            assert!(output.stdout.ends_with("got it\n"), "{output}");
        }
    }
}

#[test]
fn killed_by_force_a_container_leaves_nothing() {
    let world = World::new();
    let (image, overlay) = (image(&world), text(&world.ext3_overlay(16)));
    for options in [&[][..], &["--overlay", &overlay], &["--no-init"]] {
        let running = inside(&world, options, &image, "echo ready; sleep 50; :").spawn().wait_for("ready");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.finish().signal, Some(Signal::SIGKILL as i32));
        world.assert_nothing_left();
    }
}

#[test]
fn a_terminal_has_keys_that_interrupt_and_jobs() {
    let world = World::new();
    let image = text(&image(&world));
    let lamina = text(&world.installed().lamina());
    let sleep = format!("{lamina} exec --oci {image} sh -c 'echo ready; exec sleep 50'");
    on_a_terminal(&world, &sleep, "ready", &["\\003"]).assert_status(130);
    let shell = format!("stty rows 40 columns 123; {lamina} shell --oci {image}");
    let keys = ["tty\\nstty size\\nsleep 50\\n", "\\003", "echo $((40+2)) after\\nexit 4\\n"];
    let output = on_a_terminal(&world, &shell, "Singularity>", &keys).assert_status(4);
    assert!(output.stdout.contains("\n40 123"), "{output}");
    assert!(output.stdout.contains("/dev/pts/0") && output.stdout.contains("42 after"), "{output}");
    assert!(!output.stdout.contains("can't access tty"), "{output}");
    let apart = format!("{lamina} exec --oci {image} sh -c 'echo ready; echo said >&2' 2>said | cat");
    on_a_terminal(&world, &apart, "ready", &[]).assert_ok();
    assert_eq!(std::fs::read_to_string(world.path("said")).expect("it was made"), "said\n");
}

#[test]
fn what_has_no_meaning_in_oci_mode_is_refused_by_name() {
    let world = World::new();
    let image = text(&world.busybox_sif());
    for (options, text) in [
        (&["--oci", "--no-oci"][..], "--oci and --no-oci contradict each other"),
        (&["--no-compat"], "--no-compat is for OCI mode"),
        (&["--oci", "--compat", "--no-compat"], "--compat and --no-compat contradict each other"),
        (&["--oci", "--app", "x"], "--app is not supported in OCI mode"),
        (&["--oci", "--tmp-sandbox"], "--tmp-sandbox is not supported in OCI mode"),
        (&["--oci", "--no-mount", "proc"], "--no-mount proc is not supported in OCI mode"),
    ] {
        world.sh(options, Path::new(&image), "true").run().assert_fatal(text);
    }
    let start = world.lamina(["instance", "start", "--oci", &image, "name"]).run();
    start.assert_fatal("instances are not supported in OCI mode");
}

#[test]
fn a_site_can_imply_oci_mode_and_one_without_a_runtime_says_what_is_missing() {
    let mut world = World::new();
    let image = image(&world);
    world.conf("oci mode = yes\n");
    world.sh(&[], &image, "touch /new && echo ran").run().assert_ok().assert_stdout("ran");
    let script = "ls /.singularity.d 2>/dev/null || echo no native SIF";
    let fetched = ["exec", "--disable-cache", "oci:layout:v1", "sh", "-c", script];
    world.lamina(fetched).run().assert_ok().assert_stdout("no native SIF");
    let native = world.sh(&["--no-oci"], &image, "true").run();
    native.assert_fatal("native runtime does not support OCI-SIF images, use --oci mode");
    world.conf("binary path = /nowhere\n");
    let output = inside(&world, &[], &image, "true").run();
    output
        .assert_fatal("OCI mode needs crun or runc, and neither was found")
        .assert_stderr_has("Install package crun (Debian, Ubuntu, RHEL, Fedora)");
}

#[test]
fn runc_does_where_there_is_no_crun_and_somebody_is_root() {
    let mut world = World::new();
    let image = image(&world);
    let programs = world.mkdir("programs");
    for program in ["runc", "squashfuse", "newuidmap", "newgidmap"] {
        let found =
            ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|folder| Path::new(folder).join(program));
        let found = found.into_iter().find(|path| path.exists()).expect("packaging/prepare installed it");
        std::os::unix::fs::symlink(found, programs.join(program)).expect("the home can be written");
    }
    world.conf(&format!("binary path = {}\n", text(&programs)));
    let script = "id -u; cat /srv/note; touch /new && exit 9";
    let as_root = inside(&world, &[], &image, script).as_root().run();
    as_root.assert_status(9).assert_stdout("0\nof the image");
    let fakeroot = inside(&world, &["--fakeroot"], &image, script).run();
    fakeroot.assert_status(9).assert_stdout("0\nof the image");
    let user = inside(&world, &[], &image, script).run();
    user.assert_fatal("runc makes no container without a root, and an ordinary user's has none");
}

#[test]
fn a_runtime_that_fails_is_told_from_a_program_that_does() {
    let world = World::new();
    let image = image(&world);
    let folder = text(&world.mkdir("data"));
    let bind = format!("{folder}:/bin/busybox/below-a-file");
    let output = inside(&world, &["--bind", &bind], &image, "true").run().assert_status(255);
    assert!(output.stderr.contains("crun did not start the container"), "{output}");
    world.assert_nothing_left();
}
