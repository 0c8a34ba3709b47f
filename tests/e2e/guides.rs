//! What the users' guides of the incumbents show on persistent overlays, typed as it is printed there.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tests::{Command, Output, User, World};

/// A line for a shell on the host, in the user's home; `C` in it stands for the product.
fn line(world: &World, line: &str) -> Command {
    let program = world.installed().lamina().display().to_string();
    let words = line.split(' ').map(|word| if word == "C" { program.as_str() } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    world.program("/bin/sh").args(["-ec", &line])
}

fn typed(world: &World, words: &str) -> Output {
    line(world, words).run()
}

fn renamed(world: &World, image: &Path, name: &str) -> PathBuf {
    let new = world.path(name);
    std::fs::rename(image, &new).expect("the home can be written");
    new
}

fn mode_and_owner(path: &Path) -> (u32, u32) {
    let metadata = std::fs::metadata(path).expect("it is there");
    (metadata.permissions().mode() & 0o7777, metadata.uid())
}

#[test]
fn an_overlay_image_of_the_asked_size_is_made_and_is_its_owners_alone() {
    let world = World::new();
    typed(&world, "C overlay create --size 1024 ext3_overlay.img").assert_ok();
    let image = world.path("ext3_overlay.img");
    assert_eq!(std::fs::metadata(&image).expect("it was made").len(), 1 << 30);
    assert_eq!(mode_and_owner(&image), (0o600, world.user().uid.as_raw()));
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    let script = "C exec --overlay ext3_overlay.img ubuntu.sif sh -c 'stat -c %u / && df -m / | tail -n 1'";
    let seen = typed(&world, script).assert_ok().stdout;
    let numbers: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(numbers[0], world.user().uid.to_string());
    assert!((900..=1024).contains(&numbers[2].parse().expect("df prints numbers")), "{seen}");
    assert_eq!(world.files(), ["ext3_overlay.img", "ubuntu.sif"]);
}

#[test]
fn a_directory_made_with_the_overlay_takes_what_a_service_writes() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    let nginx = world.program("/bin/mkdir").args(["-p", "busybox/var/cache"]);
    nginx.run().assert_ok();
    line(&world, "C build nginx.sif busybox").run().assert_ok();
    std::fs::remove_dir_all(sandbox).expect("root may");
    typed(&world, "C overlay create --size 1024 --create-dir /var/cache/nginx nginx_overlay.img").assert_ok();
    typed(
        &world,
        "echo test | C exec --overlay nginx_overlay.img nginx.sif sh -c \"cat > /var/cache/nginx/test\"",
    )
    .assert_ok();
    typed(&world, "C exec --overlay nginx_overlay.img nginx.sif cat /var/cache/nginx/test")
        .assert_ok()
        .assert_stdout("test");
}

#[test]
fn a_sparse_overlay_is_large_to_ls_and_small_to_du() {
    let world = World::new();
    typed(&world, "C overlay create --sparse --size 1024 o.img").assert_ok();
    typed(&world, "ls -lah o.img | cut -d' ' -f5").assert_ok().assert_stdout("1.0G");
    let kibibytes = typed(&world, "du -k o.img | cut -f1").assert_ok().stdout;
    assert!(kibibytes.trim_end().parse::<u32>().expect("du prints numbers") < 50_000, "{kibibytes}");
}

#[test]
fn a_plain_ext3_made_by_hand_is_roots_to_write() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    typed(&world, "dd if=/dev/zero of=overlay.img bs=1M count=50 2>&1 && mkfs.ext3 -q overlay.img")
        .assert_ok();
    line(&world, "echo 'echo kept > /note' | C shell --overlay overlay.img ubuntu.sif")
        .as_root()
        .run()
        .assert_ok();
    line(&world, "C exec --overlay overlay.img ubuntu.sif cat /note")
        .as_root()
        .run()
        .assert_ok()
        .assert_stdout("kept");
}

#[test]
fn an_ext3_with_the_users_folders_made_by_hand_is_his() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    typed(&world, "mkdir -p overlay/upper overlay/work").assert_ok();
    typed(
        &world,
        "dd if=/dev/zero of=overlay.img bs=1M count=50 2>&1 && mkfs.ext3 -q -d overlay overlay.img",
    )
    .assert_ok();
    let session = "printf 'echo \"$PS1\"\necho $USER\necho Hello > /hello\n' | C shell --overlay overlay.img ubuntu.sif";
    line(&world, session)
        .env("USER", "laminatest1")
        .run()
        .assert_ok()
        .assert_stdout("Singularity> \nlaminatest1");
    typed(&world, "C exec --overlay overlay.img ubuntu.sif cat /hello").assert_ok().assert_stdout("Hello");
}

#[test]
fn the_prompt_is_the_incumbents_under_their_names() {
    let world = World::new();
    let image = world.busybox_sif();
    for (name, prompt) in [("singularity", "Singularity>"), ("apptainer", "Apptainer>")] {
        let program = world.installed().prefix().join("bin").join(name);
        let shell = world.program(program).arg("shell").arg(&image).stdin("echo \"$PS1\"");
        shell.run().assert_ok().assert_stdout(prompt);
    }
}

#[test]
fn words_for_a_shell_are_not_dropped_in_silence() {
    let world = World::new();
    let image = world.busybox_sif();
    let shell = world.lamina(["shell"]).arg(&image).args(["-c", "true"]).run();
    shell.assert_ok().assert_stderr_has("WARNING: Parameters to shell command are ignored");
}

#[test]
fn folders_made_for_everybody_are_everybodys() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    typed(&world, "mkdir overlay && mkdir -m 777 overlay/upper overlay/work").assert_ok();
    typed(&world, "truncate -s 50M overlay.img && mkfs.ext3 -q -d overlay overlay.img").assert_ok();
    let script = "C exec --overlay overlay.img ubuntu.sif sh -c 'echo me > /second; cat /second'";
    typed(&world, "chmod 666 overlay.img").assert_ok();
    line(&world, script).as_user(User::second()).run().assert_ok().assert_stdout("me");
}

#[test]
fn a_directory_as_overlay_keeps_what_root_installs() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    typed(&world, "mkdir my_overlay").assert_ok();
    let install =
        "printf 'mkdir /data\nchown 58001 /data\necho vim > /bin/vim\nchmod +x /bin/vim\nwhich vim\n'";
    line(&world, &format!("{install} | C shell --overlay my_overlay/ ubuntu.sif"))
        .as_root()
        .run()
        .assert_ok()
        .assert_stdout("/usr/bin/vim");
    let look = "printf 'stat -c %%u /data\nwhich vim\n'";
    line(&world, &format!("{look} | C shell --overlay my_overlay/ ubuntu.sif"))
        .as_root()
        .run()
        .assert_ok()
        .assert_stdout("58001\n/usr/bin/vim");
    line(&world, "C exec ubuntu.sif sh -c 'ls -d /data; which vim'")
        .as_root()
        .run()
        .assert_status(1)
        .assert_stdout("");
    std::fs::remove_dir_all(world.path("my_overlay")).expect("root may");
}

#[test]
fn a_sif_takes_one_overlay_and_a_signed_one_takes_none() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../frontend/tests/images");
    for (sample, name) in [("tiny-signed-pgp.sif", "signed.sif"), ("tiny-gocryptfs.sif", "encrypted.sif")] {
        world.write(name, std::fs::read(samples.join(sample)).expect("it is there"));
    }
    let before = world.files();
    typed(&world, "C overlay create --size 64 ubuntu.sif").assert_ok();
    typed(&world, "C overlay create --size 64 ubuntu.sif")
        .assert_fatal("FATAL:   writable overlay already exists in image\n")
        .assert_stderr_has("INFO:    Existing overlay partition can be deleted with: lamina sif del ");
    typed(&world, "C overlay create --size 64 signed.sif")
        .assert_fatal("FATAL:   cannot add overlay to a signed image\n");
    typed(&world, "C overlay create --size 64 encrypted.sif")
        .assert_fatal("FATAL:   cannot add overlay to an encrypted image\n");
    assert_eq!(world.files(), before);
}

#[test]
fn an_overlay_in_the_sif_is_written_with_writable_and_only_then() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "nginx.sif");
    typed(&world, "C overlay create --size 64 --create-dir /var/cache/nginx nginx.sif").assert_ok();
    let write = "echo test | C exec nginx.sif sh -c \"cat > /var/cache/nginx/test\"";
    typed(&world, write).assert_status(1).assert_stderr_has("Read-only file system");
    typed(&world, &write.replace("exec", "exec --writable")).assert_ok();
    typed(&world, "C exec nginx.sif cat /var/cache/nginx/test").assert_ok().assert_stdout("test");
    typed(&world, "echo 'echo more > /more' | C shell --writable nginx.sif").assert_ok();
    typed(&world, "C exec nginx.sif cat /more").assert_ok().assert_stdout("more");
}

#[test]
fn changes_in_memory_end_where_the_site_says_and_with_the_container() {
    let mut world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    world.conf("sessiondir max size = 8\n");
    typed(&world, "C exec --writable-tmpfs ubuntu.sif sh -c 'echo x > /small; dd if=/dev/zero of=/large bs=1M count=20'")
        .assert_status(1)
        .assert_stderr_has("in memory, 8 MiB at most ('sessiondir max size' in ")
        .assert_stderr_has("No space left on device");
    typed(&world, "C exec --writable-tmpfs ubuntu.sif ls /small").assert_status(1);
}

#[test]
fn a_grown_overlay_keeps_what_it_had_and_has_more_room() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    typed(&world, "C overlay create --size 64 overlay.img").assert_ok();
    typed(&world, "C exec --overlay overlay.img ubuntu.sif sh -c 'echo kept > /note'").assert_ok();
    typed(&world, "e2fsck -f -y overlay.img && resize2fs overlay.img 200M").assert_ok();
    let script = "C exec --overlay overlay.img ubuntu.sif sh -c 'cat /note; dd if=/dev/zero of=/large bs=1M count=120'";
    typed(&world, script).assert_ok().assert_stdout("kept");
}

#[test]
fn the_commands_of_2_4_still_work() {
    let world = World::new();
    let squashfs = std::fs::read(world.busybox_sqfs("gzip")).expect("it was made");
    world.write("ubuntu.simg", [b"#!/usr/bin/env run-singularity\n", &squashfs[..]].concat());
    typed(&world, "C image.create --size 64 my-overlay.img").assert_ok();
    for user in [User::first(), User::root()] {
        let run = |words: &str| line(&world, words).as_user(user.clone()).run();
        run("echo 'touch /foo' | C shell --overlay my-overlay.img ubuntu.simg").assert_ok();
        run("C exec --overlay my-overlay.img ubuntu.simg ls /foo").assert_ok().assert_stdout("/foo");
        run("C exec ubuntu.simg ls /foo").assert_status(1);
    }
    typed(&world, "C image.create my-overlay.img")
        .assert_status(1)
        .assert_stderr_has("ERROR:   Image file exists, not overwriting.\n");
    typed(&world, "C image.create --force --size 64 my-overlay.img").assert_ok();
    typed(&world, "C exec --overlay my-overlay.img ubuntu.simg ls /foo").assert_status(1);
}

#[test]
fn run_exec_and_shell_all_take_an_overlay() {
    let world = World::new();
    world.busybox_sandbox();
    world.mkdir("busybox/.singularity.d");
    let runscript = world.write("busybox/.singularity.d/runscript", "#!/bin/sh\necho run \"$@\" >> /log\n");
    std::fs::set_permissions(runscript, PermissionsExt::from_mode(0o755)).expect("root may");
    typed(&world, "C build ubuntu.sif busybox").assert_ok();
    typed(&world, "C overlay create overlay.img").assert_ok();
    typed(&world, "C run --overlay overlay.img ubuntu.sif 1 2").assert_ok();
    typed(&world, "C exec --overlay overlay.img ubuntu.sif sh -c 'echo exec >> /log'").assert_ok();
    typed(&world, "echo 'echo shell >> /log' | C shell --overlay overlay.img ubuntu.sif").assert_ok();
    typed(&world, "C exec --overlay overlay.img ubuntu.sif cat /log")
        .assert_ok()
        .assert_stdout("run 1 2\nexec\nshell");
}

#[test]
fn a_read_only_overlay_serves_everybody_who_can_read_it() {
    let world = World::new();
    renamed(&world, &world.busybox_sif(), "ubuntu.sif");
    typed(&world, "C overlay create overlay.img && chmod 644 overlay.img").assert_ok();
    typed(&world, "C exec --overlay overlay.img ubuntu.sif sh -c 'echo kept > /note'").assert_ok();
    for user in [User::first(), User::second(), User::root()] {
        line(&world, "C exec --overlay overlay.img:ro ubuntu.sif sh -c 'cat /note; touch /new'")
            .as_user(user)
            .run()
            .assert_status(1)
            .assert_stdout("kept")
            .assert_stderr_has("Read-only file system");
    }
}
