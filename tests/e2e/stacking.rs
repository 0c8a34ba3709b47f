//! Which layer is above which.

use std::fs;
use std::path::{Path, PathBuf};
use tests::World;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A squashfs layer with `/same` and `/NAME` saying `name`.
fn layer(world: &World, name: &str) -> String {
    let image = world.squashfs_of(name, |folder| {
        for file in ["same", name] {
            fs::write(folder.join(file), format!("{name}\n")).expect("it is our folder");
        }
    });
    text(&image)
}

/// A writable ext3 overlay with the same two files, written through a container.
fn overlay(world: &World, image: &Path, name: &str) -> String {
    let overlay = text(&world.ext3_overlay(8));
    let script = format!("set -e; rm -f /same; echo {name} > /same; echo {name} > /{name}");
    world.sh(&["--overlay", &overlay], image, &script).run().assert_ok();
    overlay
}

/// A SIF of a busybox with these file systems embedded as overlays, in this order.
fn sif_with_overlays(world: &World, overlays: &[(&str, &str)]) -> PathBuf {
    let sif = world.busybox_sif();
    for (kind, overlay) in overlays {
        let add = world.lamina(["sif", "add", "--datatype", "4", "--partfs", kind, "--parttype", "4"]);
        add.args(["--partarch", "2", "--groupid", "1"]).arg(&sif).arg(overlay).run().assert_ok();
    }
    sif
}

const SQUASHFS: &str = "1";
const EXT3: &str = "2";

#[test]
fn a_squashfs_is_a_layer_with_or_without_saying_that_it_is_read_only() {
    for world in World::in_each_flow() {
        let (image, layer) = (world.busybox_sqfs("gzip"), layer(&world, "one"));
        for option in [layer.clone(), format!("{layer}:ro")] {
            let run = world.sh(&["--overlay", &option], &image, "cat /one; touch /x").run();
            run.assert_status(1).assert_stdout("one").assert_stderr_has("Read-only file system");
        }
    }
}

#[test]
fn the_last_read_only_overlay_on_the_command_line_is_uppermost() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let names = ["one", "two", "three"];
        let layers = names.map(|name| layer(&world, name));
        let options = layers.iter().flat_map(|layer| ["--overlay", layer]);
        let options: Vec<&str> = options.collect();
        world
            .sh(&options, &image, "cat /same /one /two /three")
            .run()
            .assert_ok()
            .assert_stdout("three\none\ntwo\nthree");
        let joined = layers.join(",");
        world.sh(&["--overlay", &joined], &image, "cat /same").run().assert_ok().assert_stdout("three");
    }
}

#[test]
fn the_writable_overlay_is_on_top_wherever_it_is_named() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let (lower, upper) = (layer(&world, "lower"), overlay(&world, &image, "upper"));
        for options in
            [["--overlay", &upper, "--overlay", &lower], ["--overlay", &lower, "--overlay", &upper]]
        {
            world
                .sh(&options, &image, "cat /same /lower /upper; touch /x")
                .run()
                .assert_ok()
                .assert_stdout("upper\nlower\nupper");
        }
    }
}

#[test]
fn read_only_ext3_and_squashfs_layers_mix() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let (ext3, squashfs) = (overlay(&world, &image, "ext3"), layer(&world, "squashfs"));
        let ext3 = format!("{ext3}:ro");
        for (options, top) in [
            (["--overlay", &ext3, "--overlay", &squashfs], "squashfs"),
            (["--overlay", &squashfs, "--overlay", &ext3], "ext3"),
        ] {
            world
                .sh(&options, &image, "cat /same /ext3 /squashfs")
                .run()
                .assert_ok()
                .assert_stdout(&format!("{top}\next3\nsquashfs"));
        }
    }
}

#[test]
fn what_a_lower_overlay_deleted_an_upper_one_can_bring_back() {
    for world in World::in_each_flow() {
        let image = world.busybox_sandbox();
        let lower = text(&world.ext3_overlay(8));
        world.sh(&["--overlay", &lower], &image, "rm /bin/vi; rm -r /usr; mkdir /usr").run().assert_ok();
        let lower = format!("{lower}:ro");
        let upper = text(&world.ext3_overlay(8));
        let options = ["--overlay", &lower, "--overlay", &upper];
        world
            .sh(&options, &image, "ls -A /usr; ln -s busybox /bin/vi; mkdir /usr/new")
            .run()
            .assert_ok()
            .assert_stdout("");
        world
            .sh(&options, &image, "readlink /bin/vi; ls -A /usr")
            .run()
            .assert_ok()
            .assert_stdout("busybox\nnew");
        world.sh(&["--overlay", &lower], &image, "ls /bin/vi").run().assert_status(1);
    }
}

#[test]
fn embedded_overlays_are_below_those_of_the_command_line_and_later_ones_higher() {
    for world in World::in_each_flow() {
        let embedded = [layer(&world, "first"), layer(&world, "second")];
        let sif = sif_with_overlays(&world, &[(SQUASHFS, &embedded[0]), (SQUASHFS, &embedded[1])]);
        world
            .sh(&[], &sif, "cat /same /first /second")
            .run()
            .assert_ok()
            .assert_stdout("second\nfirst\nsecond");
        let named = layer(&world, "named");
        world
            .sh(&["--overlay", &named], &sif, "cat /same /first /second /named")
            .run()
            .assert_ok()
            .assert_stdout("named\nfirst\nsecond\nnamed");
        let written = overlay(&world, &sif, "written");
        let options = ["--overlay", &written, "--overlay", &named];
        world
            .sh(&options, &sif, "cat /same /first /named /written")
            .run()
            .assert_ok()
            .assert_stdout("written\nfirst\nnamed\nwritten");
    }
}

#[test]
fn the_first_embedded_ext3_is_written_and_the_others_stay_visible_below() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let embedded = ["first", "second"].map(|name| overlay(&world, &image, name));
        let sif = sif_with_overlays(&world, &[(EXT3, &embedded[0]), (EXT3, &embedded[1])]);
        let script = "cat /same /first /second";
        world.sh(&[], &sif, script).run().assert_ok().assert_stdout("second\nfirst\nsecond");
        world
            .sh(&["--writable"], &sif, &format!("{script}; echo new > /new"))
            .run()
            .assert_ok()
            .assert_stdout("first\nfirst\nsecond");
        world.sh(&[], &sif, "cat /new").run().assert_ok().assert_stdout("new");
    }
}

#[test]
fn a_sif_given_as_an_overlay_lends_its_overlay_and_not_its_root() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let inner = overlay(&world, &image, "inner");
        let sif = text(&sif_with_overlays(&world, &[(EXT3, &inner)]));
        let read_only = format!("{sif}:ro");
        let script = "cat /inner; ls -d /.singularity.d";
        world.sh(&["--overlay", &read_only], &image, script).run().assert_status(1).assert_stdout("inner");
        world.sh(&["--overlay", &sif], &image, "echo more > /more").run().assert_ok();
        world.sh(&["--overlay", &read_only], &image, "cat /more").run().assert_ok().assert_stdout("more");
    }
}

#[test]
fn a_directory_layer_is_its_upper_folder_if_it_has_one() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        for (folder, file) in [("plain", "plain/note"), ("with", "with/upper/note")] {
            world.mkdir(&format!("{folder}/work"));
            world.mkdir(Path::new(file).parent().and_then(Path::to_str).expect("it has one"));
            world.write(file, folder);
            let option = format!("{}:ro", world.path(folder).display());
            let run = world.sh(&["--overlay", &option], &image, "cat /note; touch /x");
            run.as_root()
                .run()
                .assert_status(1)
                .assert_stdout(folder)
                .assert_stderr_has("Read-only file system");
        }
    }
}

#[test]
fn a_read_only_ext3_overlay_without_an_upper_folder_says_so() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let overlay = world.path("plain.img");
        let mkfs = world.program("mkfs.ext3").args(["-q"]).arg(&overlay).arg("8M");
        mkfs.run().assert_ok();
        world
            .sh(&["--overlay", &format!("{}:ro", overlay.display())], &image, "true")
            .run()
            .assert_fatal("upper");
    }
}

#[test]
fn as_many_overlays_as_a_plan_can_name_are_stacked_and_one_more_is_refused() {
    for world in World::in_each_flow() {
        let image = world.busybox_sqfs("gzip");
        let layer = layer(&world, "one");
        let many = |number| vec![layer.as_str(); number].join(",");
        world
            .sh(&["--overlay", &many(protocol::LAYERS_MAX)], &image, "cat /one")
            .run()
            .assert_ok()
            .assert_stdout("one");
        world
            .sh(&["--overlay", &many(protocol::LAYERS_MAX + 1)], &image, "true")
            .run()
            .assert_fatal("more layers or mounts than one container can have")
            .assert_stderr_has(&format!("at most {} overlays", protocol::LAYERS_MAX));
    }
}
