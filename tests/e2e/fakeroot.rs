//! Root in a container who is an ordinary user outside: `--fakeroot`.

use nix::sys::signal::Signal;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tests::{Command, Output, World};

const NO_LENT_IDS: [&str; 2] = ["--fakeroot", "--ignore-subuid"];
const NOTHING_BUT_ROOT: [&str; 3] = ["--fakeroot", "--ignore-subuid", "--ignore-fakeroot-command"];

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `lamina exec --fakeroot OPTIONS IMAGE sh -c SCRIPT`, run as the user.
fn as_root(world: &World, options: &[&str], image: &Path, script: &str) -> Command {
    world.sh(&[&["--fakeroot"], options].concat(), image, script)
}

/// A new overlay of the user's, made for `--fakeroot`.
fn overlay(world: &World, name: &str, mebibytes: &str) -> String {
    let image = text(&world.path(name));
    world
        .lamina(["overlay", "create", "--fakeroot", "--sparse", "--size", mebibytes, &image])
        .run()
        .assert_ok();
    image
}

#[test]
fn the_caller_is_root_with_the_ids_that_the_host_lends_him() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let script = "id -u; id -g; cat /proc/self/uid_map; echo $HOME; touch /tmp/x; chown 33:44 /tmp/x; \
                  stat -c %u:%g /tmp/x; grep -E '^(CapEff|CapInh|CapAmb|NoNewPrivs)' /proc/self/status";
    let output = as_root(&world, &["--contain"], &image, script).run().assert_ok();
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    let own = world.user().uid.to_string();
    assert_eq!(words[..5], ["0", "0", "0", &own, "1"], "{output}");
    assert_eq!((words[5], words[7]), ("1", "65536"), "{output}");
    assert_eq!(words[8..10], ["/root", "33:44"], "{output}");
    for line in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(output.stdout.contains(line), "{line}: {output}");
    }
    assert!(!output.stdout.contains("CapEff:\t0000000000000000"), "{output}");
    assert_eq!(output.stderr, "");
}

#[test]
fn roots_home_is_the_callers_own_and_what_he_writes_there_is_his() {
    let world = World::new();
    let (image, home) = (world.busybox_sandbox(), world.home());
    let options = ["--home", &format!("{}:/root", text(&home))];
    as_root(&world, &options, &image, "cd; pwd; echo mine > note").run().assert_ok().assert_stdout("/root");
    let note = std::fs::metadata(home.join("note")).expect("it was written");
    assert_eq!(note.uid(), world.user().uid.as_raw());
}

#[test]
fn without_lent_ids_the_caller_is_root_and_nobody_else_is_there() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let script =
        "id -u; wc -l < /proc/self/uid_map; touch /tmp/x; chown 5 /tmp/x 2>/dev/null || echo refused";
    let output =
        world.sh(&[&NOTHING_BUT_ROOT[..], &["--contain"]].concat(), &image, script).run().assert_ok();
    assert_eq!(output.stdout, "0\n1\nrefused\n");
    assert_eq!(output.stderr, "INFO:    Using root-mapped namespace only\n");
    // A static shell of another C library cannot run the host's command.
    let output = world.sh(&NO_LENT_IDS, &image, "id -u").run().assert_ok().assert_stdout("0");
    let said = "Using fakeroot command combined with root-mapped namespace";
    output.assert_stderr_has(said).assert_stderr_has("does not work in this image");
}

#[test]
fn a_user_whom_the_host_lends_nothing_is_told_how_to_change_that() {
    let world = World::new();
    let image = text(&world.busybox_sandbox());
    let prepare = "for f in subuid subgid; do : > $W/$f; mount --bind $W/$f /etc/$f; done";
    let output = world
        .after(prepare, world.installed().lamina())
        .args(["exec", "--fakeroot", "--ignore-fakeroot-command", &image, "id", "-u"])
        .run()
        .assert_ok()
        .assert_stdout("0");
    let name = &world.user().name;
    output
        .assert_stderr_has("INFO:    User not listed in /etc/subuid, trying root-mapped namespace\n")
        .assert_stderr_has(&format!("config fakeroot --add {name}"));
    let without_program = "mount --bind /dev/null /usr/bin/newuidmap";
    world
        .after(without_program, world.installed().lamina())
        .args(["exec", "--fakeroot", "--ignore-fakeroot-command", &image, "id", "-u"])
        .run()
        .assert_ok()
        .assert_stdout("0")
        .assert_stderr_has("newuidmap was not found")
        .assert_stderr_has("package uidmap");
}

#[test]
fn what_newuidmap_refuses_ends_the_start_with_its_words() {
    let world = World::new();
    let image = text(&world.busybox_sandbox());
    // The frontend sees a line that the program does not.
    let prepare = "printf '#!/bin/sh\\necho no such luck >&2; exit 1\\n' > $W/newuidmap; chmod 755 $W/newuidmap; \
                   mount --bind $W/newuidmap /usr/bin/newuidmap";
    world
        .after(prepare, world.installed().lamina())
        .args(["exec", "--fakeroot", &image, "true"])
        .run()
        .assert_fatal("while mapping the ids that are lent to you: no such luck")
        .assert_stderr_has("--ignore-subuid");
}

#[test]
fn an_overlay_image_made_for_it_keeps_owners_and_what_is_written_as_root() {
    let world = World::new();
    let image = world.busybox_sif();
    let changes = overlay(&world, "changes.img", "64");
    let options = ["--overlay", changes.as_str()];
    let script = "echo kept > /etc/note; mkdir /var/own; chown 7:8 /var/own; rm -r /home";
    as_root(&world, &options, &image, script).run().assert_ok();
    let script = "cat /etc/note; stat -c %u:%g /etc/note /var/own; ls -d /home 2>/dev/null || echo gone";
    let seen = "kept\n0:0\n7:8\ngone";
    as_root(&world, &options, &image, script).run().assert_ok().assert_stdout(seen);
    // Owners mean the same to the setuid starter.
    world.sh(&options, &image, script).run().assert_ok().assert_stdout(seen);
    as_root(&world, &[], &image, "cat /etc/note").run().assert_status(1);
    let rooted = [&NOTHING_BUT_ROOT[..], &options].concat();
    world
        .sh(&rooted, &image, "echo again > /etc/note; cat /etc/note")
        .run()
        .assert_ok()
        .assert_stdout("again");
}

#[test]
fn an_overlay_image_written_as_root_is_open_to_every_other_way_afterwards() {
    let world = World::new();
    let (image, changes) = (world.busybox_sqfs("gzip"), text(&world.ext3_overlay(64)));
    let embedded = world.busybox_sif();
    world.lamina(["overlay", "create", "--size", "64"]).arg(&embedded).run().assert_ok();
    for (image, options) in [(&image, ["--overlay", &changes].as_slice()), (&embedded, &["--writable"])] {
        as_root(&world, options, image, "rm -r /home && touch /roots").run().assert_ok();
        for flow in [&["--userns"][..], &[], &["--fakeroot"], &["--userns"]] {
            let script = "ls /roots >> /log && ! ls -d /home && echo on > /new && rm /new";
            world.sh(&[flow, options].concat(), image, script).run().assert_ok();
        }
        let seen = world.sh(options, image, "cat /log").run().assert_ok();
        seen.assert_stdout("/roots\n/roots\n/roots\n/roots");
    }
}

#[test]
fn an_overlay_made_for_root_names_its_owner_and_the_way_in_to_who_is_not() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let changes = overlay(&world, "changes.img", "64");
    let embedded = world.busybox_sif();
    world.lamina(["overlay", "create", "--fakeroot", "--size", "64"]).arg(&embedded).run().assert_ok();
    let whose = "Permission denied for its 'work' directory, which belongs to uid 0, gid 0, mode 0755";
    let hint = "it was made for root in a user namespace: add --fakeroot, or";
    for (image, options, path, reading) in [
        (&image, ["--overlay", &changes].as_slice(), &changes, "append ':ro'"),
        (&embedded, &["--writable"], &text(&embedded), "leave out --writable"),
    ] {
        let refused = world.sh(&[&["--userns"], options].concat(), image, "true").run();
        refused
            .assert_fatal(&format!("while using {path} as a writable overlay: {whose}\n"))
            .assert_stderr_has(&format!("{hint} {reading} to only read it"));
        as_root(&world, options, image, "echo kept > /note").run().assert_ok();
    }
    let read_only = format!("{changes}:ro");
    world
        .sh(&["--userns", "--overlay", &read_only], &image, "cat /note")
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

#[test]
fn an_overlay_image_that_is_closed_to_root_in_a_user_namespace_is_no_damaged_one() {
    let world = World::new();
    let (image, closed) = (world.busybox_sqfs("gzip"), overlay(&world, "closed.img", "64"));
    let output = as_root(&world, &["--overlay", &closed], &image, "true").as_root().run();
    let output =
        output.assert_fatal(&format!("which was to serve {closed}, may not open it: permission denied"));
    assert!(!output.stderr.contains("e2fsck"), "{output}");
}

#[test]
fn who_is_root_alone_writes_into_his_own_overlay_as_himself() {
    let world = World::new();
    let image = world.busybox_sif();
    let changes = text(&world.ext3_overlay(64));
    let options = ["--overlay", changes.as_str()];
    let script = "echo kept > /etc/note; rm -r /home; stat -c %u:%g / /etc/note; id -u";
    let rooted = [&NOTHING_BUT_ROOT[..], &options].concat();
    world.sh(&rooted, &image, script).run().assert_ok().assert_stdout("0:0\n0:0\n0");
    let script =
        "cat /etc/note; ls -d /home 2>/dev/null || echo gone; stat -c %u /etc/note; echo on >> /etc/note";
    let own = world.user().uid;
    for flow in [&[][..], &["--userns"]] {
        let seen = world.sh(&[flow, &options].concat(), &image, script).run().assert_ok().stdout;
        assert!(seen.starts_with("kept\n") && seen.ends_with(&format!("gone\n{own}\n")), "{seen}");
    }
    let embedded = world.debian_sif();
    world.lamina(["overlay", "create", "--size", "512"]).arg(&embedded).run().assert_ok();
    let options = [&NO_LENT_IDS[..], &["--contain", "--writable"]].concat();
    type_in(&world, &options, &embedded, INSTALL).assert_ok().assert_stdout("/usr/bin/hello");
}

#[test]
fn a_directory_overlay_is_seen_with_fakeroot_and_with_userns() {
    let world = World::new();
    let (image, folder) = (world.busybox_sif(), text(&world.mkdir("changes")));
    let options = ["--overlay", folder.as_str()];
    as_root(&world, &options, &image, "echo kept > /etc/note").run().assert_ok();
    as_root(&world, &options, &image, "cat /etc/note").run().assert_ok().assert_stdout("kept");
    let options = ["--userns", "--overlay", folder.as_str()];
    world.sh(&options, &image, "cat /etc/note").run().assert_ok().assert_stdout("kept");
    // The kernel's own working directory belongs to nobody else.
    as_root(&world, &["--bind", &world.home().display().to_string()], &image, &format!("rm -r {folder}"))
        .run()
        .assert_ok();
}

/// Types into a shell in the container, and returns what was seen there.
fn type_in(world: &World, options: &[&str], image: &Path, lines: &str) -> Output {
    world.lamina(["shell"]).args(options).arg(image).stdin(lines).run()
}

const INSTALL: &str = "apt-get -q install -y hello >/tmp/apt.log 2>&1 || cat /tmp/apt.log\nwhich hello\n";

#[test]
fn a_package_is_installed_in_an_overlay_and_stays_there() {
    let world = World::new();
    let image = world.debian_sif();
    for fakeroot in [&NO_LENT_IDS[..1], &NO_LENT_IDS[..]] {
        let changes = overlay(&world, &format!("changes-{}.img", fakeroot.len()), "1024");
        let options = [fakeroot, &["--contain", "--overlay", &changes]].concat();
        for lines in [INSTALL, "which hello\n"] {
            type_in(&world, &options, &image, lines).assert_ok().assert_stdout("/usr/bin/hello");
        }
        let hello = world.lamina(["exec", "--overlay", &changes]).arg(&image).arg("hello");
        hello.run().assert_ok().assert_stdout("Hello, world!");
    }
    world.lamina(["exec"]).arg(&image).arg("hello").run().assert_status(255);
}

#[test]
fn a_package_is_installed_in_a_directory_and_found_without_being_root() {
    let world = World::new();
    let (image, changes) = (world.debian_sif(), text(&world.mkdir("changes")));
    let options = ["--contain", "--fakeroot", "--overlay", &changes];
    type_in(&world, &options, &image, INSTALL).assert_ok().assert_stdout("/usr/bin/hello");
    let options = ["--userns", "--overlay", &changes];
    type_in(&world, &options, &image, "hello\n").assert_ok().assert_stdout("Hello, world!");
    as_root(&world, &["--bind", &text(&world.home())], &image, &format!("rm -r {changes}")).run().assert_ok();
}

#[test]
fn a_package_is_installed_in_the_overlay_of_a_sif() {
    let world = World::new();
    let image = world.debian_sif();
    world.lamina(["overlay", "create", "--size", "512"]).arg(&image).run().assert_ok();
    let options = ["--contain", "--writable", "--fakeroot"];
    type_in(&world, &options, &image, INSTALL).assert_ok().assert_stdout("/usr/bin/hello");
    world.lamina(["exec"]).arg(&image).arg("hello").run().assert_ok().assert_stdout("Hello, world!");
}

#[test]
fn the_overlay_in_a_sif_is_written_as_root() {
    let world = World::new();
    for options in [&[][..], &["--fakeroot"]] {
        let image = world.busybox_sif();
        let create = [&["overlay", "create", "--size", "64"], options].concat();
        world.lamina(create).arg(&image).run().assert_ok();
        as_root(&world, &["--writable"], &image, "echo in > /etc/inside").run().assert_ok();
        for options in [&[][..], &["--fakeroot"]] {
            world.sh(options, &image, "cat /etc/inside").run().assert_ok().assert_stdout("in");
        }
    }
}

#[test]
fn accounts_are_roots_to_change_where_anything_is() {
    let world = World::new();
    let image = world.busybox_sif();
    let changes = overlay(&world, "changes.img", "64");
    let add =
        "cat /etc/passwd; echo new:x:9:9::/:/bin/sh > /etc/passwd.new && mv /etc/passwd.new /etc/passwd";
    as_root(&world, &["--overlay", &changes], &image, add).run().assert_ok();
    as_root(&world, &["--overlay", &changes], &image, "cat /etc/passwd")
        .run()
        .assert_ok()
        .assert_stdout("new:x:9:9::/:/bin/sh");
    let output = as_root(&world, &[], &image, "cat /etc/passwd").run().assert_ok();
    let line = output.stdout.lines().find(|line| line.starts_with("root:x:0:0:"));
    assert!(line.is_some_and(|line| line.contains(":/root:")), "{output}");
}

#[test]
fn capabilities_can_be_left_out_and_groups_kept() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let effective = "grep ^CapEff /proc/self/status";
    as_root(&world, &["--no-privs"], &image, effective)
        .run()
        .assert_ok()
        .assert_stdout("CapEff:\t0000000000000000");
    let all = as_root(&world, &["--keep-privs"], &image, effective).run().assert_ok().stdout;
    let less = as_root(&world, &["--drop-caps", "CAP_CHOWN"], &image, effective).run().assert_ok().stdout;
    assert_ne!(all, less);
    let groups = "cat /proc/self/setgroups";
    as_root(&world, &["--no-setgroups"], &image, groups).run().assert_ok().assert_stdout("deny");
    as_root(&world, &[], &image, groups).run().assert_ok().assert_stdout("allow");
}

#[test]
fn the_variables_of_both_incumbents_ask_for_it() {
    let world = World::new();
    let image = world.busybox_sandbox();
    for name in ["SINGULARITY_FAKEROOT", "APPTAINER_FAKEROOT"] {
        world.sh(&[], &image, "id -u").env(name, "1").run().assert_ok().assert_stdout("0");
    }
    world
        .sh(&["--no-setgroups"], &image, "id -u")
        .run()
        .assert_ok()
        .assert_stderr_has("--no-setgroups changes nothing without --fakeroot");
}

#[test]
fn who_joins_an_instance_of_roots_is_root() {
    let world = World::new();
    let image = world.busybox_sif();
    let changes = overlay(&world, "changes.img", "64");
    let name = format!("test-{}-fakeroot", std::process::id());
    let start = ["instance", "start", "--fakeroot", "--overlay", &changes];
    world.lamina(start).arg(&image).arg(&name).run().assert_ok();
    let script =
        "id -u; touch /etc/x && chown 3:4 /etc/x && stat -c %u /etc/x; grep ^NoNewPrivs /proc/self/status";
    let joined = world.lamina(["exec", &format!("instance://{name}"), "sh", "-c", script]).run();
    world.lamina(["instance", "stop", &name]).run().assert_ok();
    joined.assert_ok().assert_stdout("0\n3\nNoNewPrivs:\t1");
}

#[test]
fn the_starter_without_setuid_bit_is_enough() {
    let world = World::new();
    let image = text(&world.busybox_sif());
    let starter = text(&world.installed().starter_suid());
    let prepare = format!("cp {starter} $W/starter; chmod 755 $W/starter; mount --bind $W/starter {starter}");
    let mode = std::fs::metadata(&starter).expect("it is installed").permissions().mode();
    assert_ne!(mode & 0o4000, 0);
    world
        .after(&prepare, world.installed().lamina())
        .args(["exec", "--fakeroot", &image, "id", "-u"])
        .run()
        .assert_ok()
        .assert_stdout("0");
}

#[test]
fn signals_reach_a_program_that_the_fakeroot_command_runs_and_nothing_stays() {
    let world = World::new();
    let image = world.debian_sif();
    let script = "touch /tmp/x && chown 5:6 /tmp/x && stat -c %u:%g /tmp/x; trap 'echo told; exit 3' TERM; \
                  echo ready; while :; do sleep 0.1; done";
    let options = [&NO_LENT_IDS[..], &["--contain"]].concat();
    let running = world.sh(&options, &image, script).spawn().wait_for("ready");
    running.signal(Signal::SIGTERM);
    running.finish().assert_status(3).assert_stdout("5:6\nready\ntold");
    world.assert_nothing_left();
    let running = world.sh(&options, &image, "echo ready; sleep 1000").spawn().wait_for("ready");
    running.signal(Signal::SIGKILL);
    running.finish();
}

#[test]
fn an_overlay_image_is_closed_even_if_the_command_is_killed_while_it_is_written_to() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), overlay(&world, "kept.img", "64"));
    let script = "echo kept >/kept; echo x >/growing; echo ready; while :; do echo x >>/growing; done";
    for options in [&["--overlay", &overlay][..], &["--overlay", &overlay, "--pid"]] {
        let running = as_root(&world, options, &image, script).spawn().wait_for("ready");
        running.signal(Signal::SIGKILL);
        running.finish();
        world.assert_nothing_left();
        as_root(&world, options, &image, "cat /kept; rm /growing").run().assert_ok().assert_stdout("kept");
    }
}
