//! Images in OCI layouts and archives of this machine, written by other people's programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tests::{Layout, World};

fn here(world: &World, arguments: &[&str]) -> tests::Command {
    world.lamina(arguments).env("SINGULARITY_CACHEDIR", world.path("cache"))
}

fn image() -> Layout {
    let image = Layout::of_busybox();
    image.configure(&["--config.entrypoint", "/bin/echo", "--config.cmd", "its command"]);
    image.configure(&["--config.env", "GREETING=hello", "--config.label", "who=me"]);
    image
}

#[test]
fn every_form_of_an_image_is_pulled_built_from_and_run() {
    let world = World::new();
    let image = image();
    image.copy_to("oci", &world.path("layout"), "v1");
    image.copy_to("oci-archive", &world.path("layout.tar"), "v1");
    image.copy_to("docker-archive", &world.path("saved.tar"), "box:v1");
    for (name, file) in [
        ("oci:layout:v1", "layout_v1.sif"),
        ("oci-archive:layout.tar", "layout.tar_latest.sif"),
        ("docker-archive:saved.tar:box:v1", "saved.tar_box_v1.sif"),
    ] {
        here(&world, &["pull", name]).run().assert_ok();
        world.lamina(["run", file]).run().assert_ok().assert_stdout("its command");
        here(&world, &["run", name, "my", "words"]).run().assert_ok().assert_stdout("my words");
        let greeting = here(&world, &["exec", "--disable-cache", name, "sh", "-c", "echo $GREETING"]).run();
        greeting.assert_ok().assert_stdout("hello");
        here(&world, &["build", "--force", "built.sif", name]).run().assert_ok();
        let labels = world.lamina(["inspect", "--labels", "built.sif"]).run().assert_ok().stdout;
        let scheme = name.split(':').next().unwrap();
        assert!(labels.contains("who: me") && labels.contains(&format!("bootstrap: {scheme}")), "{labels}");
    }
}

#[test]
fn owners_may_use_all_that_comes_from_an_image_if_that_is_asked_for() {
    let world = World::new();
    let image = Layout::of_busybox();
    let tree = world.folder().join("tree");
    fs::create_dir_all(tree.join("folder")).unwrap();
    let modes = [("folder/closed", 0o000), ("folder/program", 0o055), ("folder", 0o500)];
    for (name, mode) in modes {
        if name != "folder" {
            fs::write(tree.join(name), "").unwrap();
        }
        fs::set_permissions(tree.join(name), Permissions::from_mode(mode)).unwrap();
    }
    image.insert(&tree, "/tree");
    image.copy_to("oci", &world.path("layout"), "v1");
    let modes_of = |options: &[&str], source: &str| {
        let words = [&["build", "--force", "--sandbox"][..], options, &["box", source]].concat();
        here(&world, &words).run().assert_ok();
        modes.map(|(name, _)| world.path("box/tree").join(name).metadata().unwrap().mode() & 0o777)
    };
    assert_eq!(modes_of(&[], "oci:layout:v1"), modes.map(|(_, mode)| mode));
    assert_eq!(modes_of(&["--fix-perms"], "oci:layout:v1"), [0o600, 0o755, 0o700]);
    assert_eq!(modes_of(&[], "oci:layout:v1"), modes.map(|(_, mode)| mode));
    world.write("box.def", "Bootstrap: oci\nFrom: layout:v1\n");
    assert_eq!(modes_of(&["--fix-perms"], "box.def"), [0o600, 0o755, 0o700]);
    here(&world, &["build", "--fix-perms", "box.sif", "oci:layout:v1"]).run().assert_ok();
    let script = "cd /tree && stat -c %a folder/closed folder/program folder";
    let output = world.sh(&[], &world.path("box.sif"), script).as_root().run();
    output.assert_ok().assert_stdout("600\n755\n700");
}

#[test]
fn an_image_is_named_where_there_are_several() {
    let world = World::new();
    let (one, two) = (image(), Layout::of_busybox());
    one.copy_to("oci", &world.path("layout"), "one");
    two.copy_to("oci", &world.path("layout"), "two");
    let which = here(&world, &["pull", "oci:layout"]).run();
    which.assert_fatal("while looking into layout: there is more than one image: one, two");
    let which = here(&world, &["pull", "oci:layout:three"]).run();
    which.assert_fatal("while looking into layout: there is no image three, only: one, two");
    here(&world, &["exec", "oci:layout:two", "echo", "ran"]).run().assert_ok().assert_stdout("ran");
}

#[test]
fn a_layout_whose_content_is_not_what_its_digest_says_is_refused() {
    let world = World::new();
    image().copy_to("oci", &world.path("layout"), "v1");
    let blobs = fs::read_dir(world.path("layout/blobs/sha256")).unwrap();
    let blobs = blobs.map(|entry| entry.unwrap().path());
    let layer = blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut damaged = fs::read(&layer).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&layer, damaged).unwrap();
    let refused = here(&world, &["pull", "oci:layout:v1"]).run().assert_status(255);
    assert!(refused.stderr.contains("is not what its digest says"), "{}", refused.stderr);
    assert!(!world.path("layout_v1.sif").exists());
}

#[test]
fn what_is_not_of_its_form_is_refused_with_the_form_it_has() {
    let world = World::new();
    image().copy_to("oci", &world.path("layout"), "v1");
    world.write("text", "no archive");
    let folder = here(&world, &["pull", "oci-archive:layout"]).run().assert_status(255);
    assert!(folder.stderr.contains("oci:DIRECTORY"), "{}", folder.stderr);
    let file = here(&world, &["pull", "oci:text"]).run().assert_status(255);
    assert!(file.stderr.contains("oci-archive:FILE"), "{}", file.stderr);
    here(&world, &["pull", "docker-archive:text"]).run().assert_status(255);
    let missing = here(&world, &["pull", "oci:nowhere"]).run().assert_status(255);
    assert!(missing.stderr.contains("nowhere"), "{}", missing.stderr);
    let daemon = here(&world, &["pull", "docker-daemon:box:1"]).run().assert_status(255);
    assert!(daemon.stderr.contains("docker-archive:FILE"), "{}", daemon.stderr);
}
