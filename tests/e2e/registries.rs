//! Images out of registries: a real one on this machine, filled by other people's programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use tests::{Layout, Library, Registry, World};

/// Runs the product on a registry without encryption, with a cache and logins of the world's own.
pub(crate) fn over_http(world: &World, arguments: &[&str]) -> tests::Command {
    let command = world.lamina(arguments).env("SINGULARITY_NOHTTPS", "1");
    let command = command.env("SINGULARITY_CONFIGDIR", world.path("configuration"));
    command.env("SINGULARITY_CACHEDIR", world.path("cache"))
}

/// An image of three layers, whose program says what it was given.
fn layered(world: &World) -> Layout {
    let image = Layout::of_busybox();
    let tree = world.folder().join("tree");
    fs::create_dir_all(tree.join("gone")).unwrap();
    for name in ["kept", "replaced", "gone/inside"] {
        fs::write(tree.join(name), "lower").unwrap();
    }
    fs::write(tree.join("tool"), "set-id").unwrap();
    chown(tree.join("tool"), Some(70_002), Some(33)).unwrap();
    fs::set_permissions(tree.join("tool"), Permissions::from_mode(0o6755)).unwrap();
    symlink("kept", tree.join("link")).unwrap();
    fs::hard_link(tree.join("kept"), tree.join("same")).unwrap();
    fs::write(tree.join(format!("long{}", "g".repeat(200))), "long").unwrap();
    image.insert(&tree, "/data");
    fs::write(tree.join("replaced"), "upper").unwrap();
    image.insert(&tree.join("replaced"), "/data/replaced");
    image.delete("/data/gone");
    image.configure(&[
        "--config.entrypoint",
        "/bin/echo",
        "--config.entrypoint",
        "got",
        "--config.cmd",
        "its command",
    ]);
    image.configure(&["--config.env", "GREETING=a \"b\" $HOME `id`", "--config.label", "who=me"]);
    image
}

fn read(world: &World, sif: &str, script: &str) -> String {
    world.sh(&[], Path::new(sif), script).run().assert_ok().stdout
}

#[test]
fn pull_makes_a_sif_with_everything_that_the_layers_leave() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&layered(&world), "team/tool:v1");
    over_http(&world, &["pull", &registry.image("team/tool:v1")]).run().assert_ok();
    assert_eq!(world.files(), ["cache", "tool_v1.sif"]);
    let sif = "tool_v1.sif";
    assert_eq!(
        read(&world, sif, "cd /data && cat kept same link replaced && ls | wc -l"),
        "lowerlowerlowerupper6\n"
    );
    assert_eq!(
        read(&world, sif, "stat -c '%u %g %a' /data/tool; stat -c %h /data/same"),
        "70002 33 6755\n2\n"
    );
    assert_eq!(read(&world, sif, "cat /data/longg*; echo \"$GREETING\""), "longa \"b\" $HOME `id`\n");
    world.lamina(["run", sif]).run().assert_ok().assert_stdout("got its command");
    world.lamina(["run", sif, "my", "words"]).run().assert_ok().assert_stdout("got my words");
    let labels = read(&world, sif, "cat /.singularity.d/labels.json");
    assert!(
        labels.contains("\"who\": \"me\"") && labels.contains("deffile.bootstrap\": \"docker\""),
        "{labels}"
    );
}

#[test]
fn a_name_of_a_registry_is_an_image_to_run_and_to_build_from() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&Layout::of_busybox(), "box:latest");
    let name = registry.image("box");
    over_http(&world, &["exec", &name, "echo", "ran"]).run().assert_ok().assert_stdout("ran");
    // The second time it is in the cache, whether the registry has its layers or not.
    let cached =
        over_http(&world, &["exec", &name, "echo", "again"]).run().assert_ok().assert_stdout("again");
    assert!(!cached.stderr.contains("Extracting"), "{}", cached.stderr);
    over_http(&world, &["build", "built.sif", &name]).run().assert_ok();
    assert_eq!(read(&world, "built.sif", "echo built"), "built\n");
    over_http(&world, &["build", "--sandbox", "tree", &name]).run().assert_ok();
    assert_eq!(read(&world, "tree", "echo unpacked"), "unpacked\n");
}

#[test]
fn without_a_cache_nothing_of_an_image_stays() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&Layout::of_busybox(), "box:latest");
    let temporary = world.mkdir("tmp");
    let command = ["exec", "--disable-cache", &registry.image("box"), "echo", "ran"];
    over_http(&world, &command).env("TMPDIR", &temporary).run().assert_ok().assert_stdout("ran");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(world.files(), ["tmp"]);
    // Here as everywhere the program's own variable comes before everybody's.
    let elsewhere = || over_http(&world, &command).env("TMPDIR", "/nonexistent");
    elsewhere().run().assert_fatal("while creating a temporary directory in /nonexistent");
    elsewhere().env("SINGULARITY_TMPDIR", &temporary).run().assert_ok().assert_stdout("ran");
    let command = ["exec", "--tmpdir", "tmp", "--disable-cache", &registry.image("box"), "echo", "ran"];
    over_http(&world, &command).env("TMPDIR", "/nonexistent").run().assert_ok().assert_stdout("ran");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn what_is_no_registry_gets_no_image_and_the_sender_hears_what_does() {
    let world = World::new();
    let output = world.lamina(["push", "s.sif", "library://a/b/c"]).run();
    output
        .assert_fatal("images are pushed to registries only, and library://a/b/c names none")
        .assert_stderr_has("Push to oras://");
}

#[test]
fn an_existing_file_is_replaced_only_with_force() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&Layout::of_busybox(), "box:1");
    world.write("box_1.sif", "precious");
    let pull = over_http(&world, &["pull", &registry.image("box:1")]).run();
    pull.assert_fatal("Image file already exists: \"box_1.sif\" - will not overwrite");
    assert_eq!(fs::read(world.path("box_1.sif")).unwrap(), b"precious");
    over_http(&world, &["pull", "--force", &registry.image("box:1")]).run().assert_ok();
    assert_eq!(read(&world, "box_1.sif", "echo new"), "new\n");
    over_http(&world, &["pull", "--dir", ".", "named.sif", &registry.image("box:1")]).run().assert_ok();
    assert_eq!(read(&world, "named.sif", "echo named"), "named\n");
}

#[test]
fn content_that_is_not_what_its_digest_says_is_refused_and_not_kept() {
    let world = World::new();
    let registry = Registry::start();
    let image = Layout::of_busybox();
    registry.hold(&image, "box:1");
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(image.path().join("index.json")).unwrap()).unwrap();
    let manifest = fs::read(registry.blob(index["manifests"][0]["digest"].as_str().unwrap())).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let whole = fs::read(&layer).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&layer, damaged).unwrap();
    let refused = over_http(&world, &["pull", &registry.image("box:1")]).run().assert_status(255);
    assert!(refused.stderr.contains("is not what its digest says"), "{}", refused.stderr);
    assert_eq!(world.files(), ["cache"]);
    fs::write(&layer, whole).unwrap();
    over_http(&world, &["pull", &registry.image("box:1")]).run().assert_ok();
}

#[test]
fn what_is_not_there_or_cannot_be_reached_is_said() {
    let world = World::new();
    let registry = Registry::start();
    let missing = over_http(&world, &["pull", &registry.image("no/such:thing")]).run().assert_status(255);
    assert!(missing.stderr.contains("no/such"), "{}", missing.stderr);
    let encrypted = world.lamina(["pull", &registry.image("box:1")]).run().assert_status(255);
    assert!(encrypted.stderr.contains("--no-https"), "{}", encrypted.stderr);
    assert!(!world.path("thing.sif").exists());
}

#[test]
fn a_sif_comes_back_from_a_registry_as_it_went() {
    let world = World::new();
    let registry = Registry::start();
    let sif = world.busybox_sif();
    let name = registry.image("team/box:v1").replace("docker://", "oras://");
    let pushed = over_http(&world, &["push", "-U", "busybox.sif", &name]).run().assert_ok();
    pushed.assert_stderr_has("WARNING: Skipping container verification");
    over_http(&world, &["pull", &name]).run().assert_ok();
    assert!(fs::read(sif).unwrap() == fs::read(world.path("box_v1.sif")).unwrap());
    over_http(&world, &["exec", &name, "echo", "ran"]).run().assert_ok().assert_stdout("ran");
    let wrong =
        over_http(&world, &["pull", "--force", &registry.image("team/box:v1")]).run().assert_status(255);
    assert!(wrong.stderr.contains("oras://"), "{}", wrong.stderr);
}

#[test]
fn an_oci_sif_goes_to_a_registry_with_the_digest_of_its_overlay_up_to_date() {
    let world = World::new();
    let registry = Registry::start();
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/tests/images/stale-overlay.oci.sif.zst");
    let image = world.path("image.oci.sif");
    let unpacked = std::process::Command::new("zstd").args(["-q", "-d", packed, "-o"]).arg(&image).status();
    assert!(unpacked.unwrap().success());
    world.give(&image);
    let name = registry.image("team/box:v1");
    let refused = over_http(&world, &["push", "--layer-format", "tar", "image.oci.sif", &name]).run();
    refused.assert_fatal(
        "cannot push overlay with layer format \"tar\", use 'overlay seal' before pushing this image",
    );
    let pushed = over_http(&world, &["push", "image.oci.sif", &name]).run().assert_ok();
    pushed.assert_stderr_has("INFO:    Synchronizing overlay digest to OCI image.");
    let raw = registry.manifest("team/box:v1");
    let types: Vec<_> =
        raw["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].clone()).collect();
    assert_eq!(types.last().unwrap(), "application/vnd.sylabs.image.layer.v1.ext3");
    for layer in raw["layers"].as_array().unwrap() {
        let stored = registry.blob(layer["digest"].as_str().unwrap());
        assert_eq!(fs::metadata(stored).unwrap().len(), layer["size"].as_u64().unwrap());
    }
}

#[test]
fn a_library_says_in_which_registry_an_image_is() {
    let world = World::new();
    let registry = Registry::start();
    let sif = world.busybox_sif();
    let at = |name: &str| registry.image(name).replace("docker://", "oras://");
    over_http(&world, &["push", "busybox.sif", &at("library/default/box:v1")]).run().assert_ok();
    let library = Library::of(registry.address(), "box", "library/default/box");
    let address = format!("http://{}", library.address());
    over_http(&world, &["pull", "--library", &address, "library://box:v1"]).run().assert_ok();
    assert!(fs::read(&sif).unwrap() == fs::read(world.path("box_v1.sif")).unwrap());
    over_http(&world, &["pull", "--library", &address, "bare.sif", "box:v1"]).run().assert_ok();
    assert!(fs::read(&sif).unwrap() == fs::read(world.path("bare.sif")).unwrap());
    let named = format!("library://{}/box:v1", library.address());
    over_http(&world, &["exec", &named, "echo", "ran"]).run().assert_ok().assert_stdout("ran");
    let unknown =
        over_http(&world, &["pull", "--library", &address, "library://other"]).run().assert_status(255);
    assert!(unknown.stderr.contains("it has no such image"), "{}", unknown.stderr);
    let native = over_http(&world, &["pull", "--oci", &named]).run().assert_status(255);
    assert!(native.stderr.contains("without --oci"), "{}", native.stderr);
    // An image with layers is one here too.
    registry.hold(&layered(&world), "library/default/tool:v1");
    let library = Library::of(registry.address(), "tool", "library/default/tool");
    over_http(&world, &["pull", "--oci", &format!("library://{}/tool:v1", library.address())])
        .run()
        .assert_ok();
    assert!(world.path("tool_v1.oci.sif").exists());
}

#[test]
fn a_library_that_does_not_answer_says_what_to_use_instead() {
    let world = World::new();
    let gone =
        over_http(&world, &["pull", "--library", "http://127.0.0.1:9", "library://me/mine/box:1"]).run();
    gone.assert_status(255).assert_stderr_has("where a registry has the image, name it docker:// or oras://");
}

#[test]
fn what_cannot_be_pushed_says_where_it_can() {
    let world = World::new();
    world.busybox_sif();
    let native =
        over_http(&world, &["push", "busybox.sif", "docker://localhost:1/box:1"]).run().assert_status(255);
    assert!(native.stderr.contains("goes to oras://"), "{}", native.stderr);
    let library =
        over_http(&world, &["push", "busybox.sif", "library://me/mine/box:1"]).run().assert_status(255);
    assert!(library.stderr.contains("oras://"), "{}", library.stderr);
    let file = over_http(&world, &["pull", "busybox.sif"]).run().assert_status(255);
    assert!(file.stderr.contains("is a file of this machine"), "{}", file.stderr);
}
