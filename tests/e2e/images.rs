//! Every kind of image there is, as the root and as a layer.

use std::fs;
use std::path::{Path, PathBuf};
use tests::World;

const LAUNCH_LINE: &[u8] = b"#!/usr/bin/env run-singularity\n";

fn sample(world: &World, name: &str) -> PathBuf {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../frontend/tests/images");
    world.write(name, fs::read(samples.join(name)).expect("it is there"))
}

fn with_launch_line(world: &World, image: &Path, name: &str) -> PathBuf {
    let image = fs::read(image).expect("it was made");
    world.write(name, [LAUNCH_LINE, &image].concat())
}

#[test]
fn every_compression_that_the_kernel_has_runs_and_is_a_layer() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    for compression in ["gzip", "xz", "zstd", "lz4", "lzo"] {
        let image = world.busybox_sqfs(compression);
        world.sh(&[], &image, "md5sum /bin/busybox").run().assert_ok();
        world
            .sh(&["--overlay", &image.display().to_string()], &sandbox, "ls -ld /bin | cut -d' ' -f1")
            .run()
            .assert_ok()
            .assert_stdout("drwxr-xr-x");
    }
}

#[test]
fn images_of_2_x_with_a_launch_line_run_and_are_overlays() {
    let world = World::new();
    let squashfs = with_launch_line(&world, &world.busybox_sqfs("gzip"), "box.simg");
    let ext3 = with_launch_line(&world, &world.busybox_ext3(), "box.img");
    let overlay = with_launch_line(&world, &world.ext3_overlay(8), "overlay.img");
    let overlay = overlay.display().to_string();
    for (number, image) in [squashfs, ext3].iter().enumerate() {
        let script = format!("echo {number} >> /note");
        world.sh(&["--overlay", &overlay], image, &script).run().assert_ok();
        world
            .sh(&["--overlay", &format!("{overlay}:ro")], image, "tail -n 1 /note; ls /bin/sh")
            .run()
            .assert_ok()
            .assert_stdout(&format!("{number}\n/bin/sh"));
    }
}

#[test]
fn a_bare_ext3_is_read_only_until_it_is_asked_for_writable() {
    let world = World::new();
    let image = world.busybox_ext3();
    world.sh(&[], &image, "touch /new").run().assert_status(1).assert_stderr_has("Read-only file system");
    world.sh(&["-w"], &image, "echo kept > /note; rmdir /home").run().assert_ok();
    world.sh(&[], &image, "cat /note; ls -d /home").run().assert_status(1).assert_stdout("kept");
    world.program("e2fsck").arg("-fn").arg(&image).run().assert_ok();
}

#[test]
fn a_legacy_ext3_with_a_launch_line_can_be_written() {
    let world = World::new();
    let image = with_launch_line(&world, &world.busybox_ext3(), "box.img");
    world.sh(&["-w"], &image, "echo kept > /note").run().assert_ok();
    world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    assert!(fs::read(&image).expect("it is there").starts_with(LAUNCH_LINE));
}

#[test]
fn a_sandbox_is_read_only_until_it_is_asked_for_writable() {
    let world = World::new();
    let image = world.busybox_sandbox();
    world.sh(&[], &image, "touch /new").run().assert_status(1).assert_stderr_has("Read-only file system");
    world.sh(&["-w"], &image, "echo kept > /note; rm /bin/vi").run().assert_ok();
    assert_eq!(fs::read_to_string(image.join("note")).expect("it was written"), "kept\n");
    assert!(!image.join("bin/vi").is_symlink());
}

#[test]
fn a_sandbox_takes_an_overlay_and_stays_as_it_is() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sandbox(), world.ext3_overlay(8));
    let overlay = overlay.display().to_string();
    world.sh(&["--overlay", &overlay], &image, "echo kept > /note; rm /bin/vi").run().assert_ok();
    world
        .sh(&["--overlay", &overlay], &image, "cat /note; test ! -e /bin/vi")
        .run()
        .assert_ok()
        .assert_stdout("kept");
    assert!(!image.join("note").exists() && image.join("bin/vi").is_symlink());
}

#[test]
fn what_other_programs_made_runs() {
    let world = World::new();
    for name in ["tiny.sqfs", "legacy-2.4.simg", "tiny.sif", "tiny-signed-pgp.sif", "tiny-signed-dsse.sif"] {
        let image = sample(&world, name);
        // There is no program in these.
        let run = world.lamina(["exec", "--bind", "/bin/busybox:/busybox"]).arg(&image);
        run.args(["/busybox", "cat", "/data/hello.txt"]).run().assert_ok().assert_stdout("hello");
    }
}

#[test]
fn an_image_without_the_program_says_so() {
    let world = World::new();
    let image = sample(&world, "tiny.sif");
    world.lamina(["exec"]).arg(&image).arg("/bin/ls").run().assert_fatal("/bin/ls");
}

#[test]
fn a_bare_image_that_another_program_made_is_a_layer() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    for name in ["tiny.sqfs", "legacy-2.4.simg"] {
        let layer = sample(&world, name).display().to_string();
        world
            .sh(&["--overlay", &layer], &image, "cat /data/hello.txt")
            .run()
            .assert_ok()
            .assert_stdout("hello");
    }
}

#[test]
fn the_marks_of_the_kernel_in_an_overlay_made_elsewhere_are_understood() {
    let mut world = World::new();
    world.conf("allow image overlay on dir = yes\n");
    let image = world.busybox_sandbox();
    world.mkdir("busybox/data");
    world.mkdir("busybox/opq");
    for file in ["data/base.txt", "data/gone.txt", "opq/lower.txt"] {
        world.write(&format!("busybox/{file}"), "lower\n");
    }
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/images/overlay-kernel-marks.ext3.zst");
    let overlay = world.path("marks.ext3");
    world.program("zstd").args(["-qd", packed, "-o"]).arg(&overlay).run().assert_ok();
    for option in ["", ":ro"] {
        let option = format!("{}{option}", overlay.display());
        world
            .sh(&["--overlay", &option], &image, "cd /; ls data opq; cat data/new.txt data/soft.txt")
            .run()
            .assert_ok()
            .assert_stdout("data:\nhard.txt\nmoved.txt\nnew.txt\nsoft.txt\n\nopq:\nupper.txt\nchanged\nhello from the base");
    }
}

#[test]
fn everything_that_was_built_runs_and_holds_the_same() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    let (squashfs, ext3) = (world.busybox_sqfs("gzip"), world.busybox_ext3());
    let launched = with_launch_line(&world, &squashfs, "box.simg");
    let script = "cd /; md5sum bin/busybox; ls -l bin | wc -l; ls etc";
    let expected = world.sh(&[], &sandbox, script).run().assert_ok().stdout;
    let mut sources = vec![sandbox, squashfs, ext3, launched];
    // What is built first is built from in turn.
    for number in 0..6 {
        let (sif, folder) = (world.path(&format!("{number}.sif")), world.path(&format!("{number}")));
        let source = sources[number].clone();
        world.lamina(["build"]).args([&sif, &source]).run().assert_ok();
        let build = world.lamina(["build", "--sandbox"]).args([&folder, &source]);
        build.run().assert_ok();
        for built in [&sif, &folder] {
            let seen = world.sh(&[], built, script).run().assert_ok().stdout;
            assert_eq!(seen, expected, "{} from {}", built.display(), source.display());
        }
        if number == 0 {
            sources.extend([sif, folder]);
        }
    }
}

#[test]
fn a_built_sif_is_a_program_itself() {
    let world = World::new();
    world.busybox_sandbox();
    world.mkdir("busybox/.singularity.d");
    let runscript = world.write("busybox/.singularity.d/runscript", "#!/bin/sh\necho \"ran $*\"\n");
    fs::set_permissions(runscript, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("root may");
    world.lamina(["build", "box.sif", "busybox"]).run().assert_ok();
    let bin = world.installed().prefix().join("bin").display().to_string();
    world
        .program(world.path("box.sif"))
        .args(["with", "words"])
        .env("PATH", format!("{bin}:/usr/bin:/bin"))
        .run()
        .assert_ok()
        .assert_stdout("ran with words");
}

#[test]
fn one_image_runs_many_times_at_once() {
    let world = World::new();
    let image = world.busybox_sif();
    let overlays: Vec<String> = (0..4).map(|_| world.ext3_overlay(8).display().to_string()).collect();
    let running: Vec<_> = overlays
        .iter()
        .map(|overlay| {
            let run = world.sh(&["--overlay", overlay], &image, "echo ready; cat; echo kept > /note");
            run.spawn().wait_for("ready")
        })
        .collect();
    for run in running {
        run.finish().assert_ok();
    }
    for overlay in &overlays {
        world.sh(&["--overlay", overlay], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    }
}

#[test]
fn the_same_image_may_be_the_root_and_a_layer() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    world
        .sh(&["--overlay", &image.display().to_string()], &image, "echo runs")
        .run()
        .assert_ok()
        .assert_stdout("runs");
}
