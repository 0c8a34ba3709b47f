//! OCI-SIF files out of registries and back into them, with other people's programs on the other side.

use crate::registries::over_http;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use tests::{Layout, Registry, World, skopeo, umoci};

/// Runs a program as root, which must succeed.
fn root(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().expect("it can be started");
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The media types of the layers of an image in a registry.
fn layer_types(registry: &Registry, name: &str) -> Vec<String> {
    let manifest = registry.manifest(name);
    let layers = manifest["layers"].as_array().expect("it has layers").clone();
    layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().replace("application/vnd.", "")).collect()
}

const SQUASHFS: &str = "sylabs.image.layer.v1.squashfs";
const EXT3: &str = "sylabs.image.layer.v1.ext3";
const TAR: &str = "oci.image.layer.v1.tar+gzip";

/// An image whose three layers have everything that is hard to carry.
fn difficult() -> Layout {
    let image = Layout::of_busybox();
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let make = |name: &str, text: &str| {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for name in ["kept", "replaced", "gone/inside", "emptied/old/deep", "emptied/old2", "file-to-folder"] {
        make(name, "lower");
    }
    let long = "l".repeat(255);
    make(&format!("{}/{long}", vec!["d".repeat(200); 5].join("/")), "long");
    fs::write(tree.join(std::ffi::OsString::from_vec(b"not \xff utf-8 \n \\".to_vec())), "odd").unwrap();
    fs::hard_link(tree.join("kept"), tree.join("same")).unwrap();
    symlink(format!("../{long}"), tree.join("link")).unwrap();
    let path = |name: &str| tree.join(name).display().to_string();
    root("mknod", &[&path("null"), "c", "1", "3"]);
    root("mknod", &[&path("disk"), "b", "259", "70000"]);
    root("mkfifo", &[&path("pipe")]);
    make("tool", "set-id");
    chown(tree.join("tool"), Some(70_002), Some(4_000_000_000)).unwrap();
    fs::set_permissions(tree.join("tool"), Permissions::from_mode(0o6751)).unwrap();
    root("setfattr", &["-n", "user.comment", "-v", "0x0aff003d", &path("kept")]);
    root(
        "setfattr",
        &["-n", "security.capability", "-v", "0x0100000200040000000000000000000000000000", &path("tool")],
    );
    fs::create_dir(tree.join("shared")).unwrap();
    fs::set_permissions(tree.join("shared"), Permissions::from_mode(0o3775)).unwrap();
    chown(tree.join("shared"), Some(5), Some(60)).unwrap();
    image.insert(&tree, "/data");
    image.delete("/data/gone");
    image.delete("/data/file-to-folder");
    let upper = folder.path().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("new"), "upper").unwrap();
    image.insert_opaque(&upper, "/data/emptied");
    image.insert(&upper, "/data/file-to-folder");
    image.insert(&upper.join("new"), "/data/replaced");
    image.configure(&["--config.entrypoint", "/bin/echo", "--config.env", "GREETING=<hello> & more"]);
    image
}

/// Everything that can be told of the files of an image, but for times of directories, which unpacking touches.
fn described(folder: &Path, image: &str) -> Vec<String> {
    let bundle = folder.join("bundle");
    umoci(&["unpack", "--image", image, &bundle.display().to_string()]);
    let rootfs = bundle.join("rootfs");
    let mut lines = Vec::new();
    let mut ahead = vec![rootfs.clone()];
    let mut inodes: Vec<(u64, String)> = Vec::new();
    while let Some(path) = ahead.pop() {
        let found = path.symlink_metadata().unwrap();
        let name = format!("{:?}", path.strip_prefix(&rootfs).unwrap());
        let kind = found.file_type();
        let content = if kind.is_file() {
            format!(
                "{:?} {}",
                fs::read(&path)
                    .unwrap()
                    .iter()
                    .fold(0u64, |hash, byte| hash.wrapping_mul(31) + u64::from(*byte)),
                found.mtime()
            )
        } else if kind.is_symlink() {
            format!("{:?} {}", fs::read_link(&path).unwrap(), found.mtime())
        } else {
            found.rdev().to_string()
        };
        let shown =
            Command::new("getfattr").args(["-h", "-d", "-m", "-", "-e", "hex", "--"]).arg(&path).output();
        let attributes = shown.expect("getfattr can be started").stdout;
        let attributes: Vec<String> = String::from_utf8_lossy(&attributes)
            .lines()
            .filter(|line| line.contains('=') && !line.starts_with('#'))
            .filter(|line| !line.starts_with("user.umoci") && !line.starts_with("security.selinux"))
            .map(str::to_owned)
            .collect();
        let links = if kind.is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            0
        } else {
            inodes.push((found.ino(), name.clone()));
            found.nlink()
        };
        lines.push(format!(
            "{name} {:o} {} {} {links} {content} {attributes:?}",
            found.mode(),
            found.uid(),
            found.gid()
        ));
    }
    lines.sort();
    fs::remove_dir_all(&bundle).unwrap();
    lines
}

#[test]
fn everything_survives_from_archives_to_squashfs_and_back() {
    let world = World::new();
    let registry = Registry::start();
    let image = difficult();
    registry.hold(&image, "from:1");
    let folder = tempfile::tempdir().unwrap();
    let before = described(folder.path(), &image.reference());
    assert!(
        before.iter().any(|line| line.contains("6751")) && before.iter().any(|line| line.contains("\\xFF"))
    );
    let from = registry.image("from:1");
    for (options, layers) in [(&["--keep-layers"][..], 7), (&[], 1)] {
        let pull = [&["pull", "--oci", "--force"], options, &["x.oci.sif", &from]].concat();
        over_http(&world, &pull).run().assert_ok();
        let to = registry.image("to:1");
        over_http(&world, &["push", "--layer-format", "tar", "x.oci.sif", &to]).run().assert_ok();
        assert_eq!(layer_types(&registry, "to:1"), vec![TAR; layers], "{options:?}");
        let layout = folder.path().join(format!("back{layers}"));
        let back = format!("{}:1", layout.display());
        skopeo(&["copy", "--quiet", "--src-tls-verify=false", &to, &format!("oci:{back}")]);
        let after = described(folder.path(), &back);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "{options:?}");
        }
        assert_eq!(before.len(), after.len());
        let config = skopeo(&["inspect", "--config", "--tls-verify=false", &to]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["config"]["Env"][0], "GREETING=<hello> & more", "{config}");
    }
}

#[test]
fn an_oci_sif_has_one_layer_unless_they_are_kept() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&difficult(), "team/box:latest");
    let name = registry.image("team/box");
    over_http(&world, &["pull", "--oci", &name]).run().assert_ok();
    assert_eq!(world.files(), ["box_latest.oci.sif", "cache"]);
    over_http(&world, &["pull", "--oci", "--keep-layers", "kept.oci.sif", &name]).run().assert_ok();
    for (file, layers) in [("box_latest.oci.sif", 1), ("kept.oci.sif", 7)] {
        over_http(&world, &["push", file, &registry.image("copy:1")]).run().assert_ok();
        assert_eq!(layer_types(&registry, "copy:1"), vec![SQUASHFS; layers]);
    }
    let native = over_http(&world, &["pull", "--keep-layers", &name]).run().assert_status(255);
    assert!(native.stderr.contains("add --oci"), "{}", native.stderr);
}

#[test]
fn an_oci_sif_comes_back_from_a_registry_with_the_same_digests() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&difficult(), "from:1");
    over_http(&world, &["pull", "--oci", "kept.oci.sif", "--keep-layers", &registry.image("from:1")])
        .run()
        .assert_ok();
    let to = registry.image("to:1");
    over_http(&world, &["push", "--layer-format", "squashfs", "kept.oci.sif", &to]).run().assert_ok();
    over_http(&world, &["pull", "--oci", "--keep-layers", "again.oci.sif", &to]).run().assert_ok();
    assert!(fs::read(world.path("kept.oci.sif")).unwrap() == fs::read(world.path("again.oci.sif")).unwrap());
    // Made once more without what is in the cache it is the same.
    let pull = [
        "pull",
        "--oci",
        "--keep-layers",
        "--disable-cache",
        "--force",
        "again.oci.sif",
        &registry.image("from:1"),
    ];
    over_http(&world, &pull).run().assert_ok();
    assert!(fs::read(world.path("kept.oci.sif")).unwrap() == fs::read(world.path("again.oci.sif")).unwrap());
    // Squashed it has one layer, and is a native image for those who want that.
    over_http(&world, &["pull", "--oci", "one.oci.sif", &to]).run().assert_ok();
    over_http(&world, &["push", "one.oci.sif", &registry.image("one:1")]).run().assert_ok();
    assert_eq!(layer_types(&registry, "one:1"), [SQUASHFS]);
    over_http(&world, &["pull", "native.sif", &to]).run().assert_ok();
    let script = "cd /data && cat kept replaced file-to-folder/new && ls emptied && stat -c %a tool";
    let seen = world.sh(&[], Path::new("native.sif"), script).run().assert_ok();
    seen.assert_stdout("lowerupperuppernew\n6751");
}

#[test]
fn an_overlay_goes_to_a_registry_up_to_date_and_comes_back_beside_one_squashed_layer() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&difficult(), "from:1");
    let pull = ["pull", "--oci", "--keep-layers", "x.oci.sif", &registry.image("from:1")];
    over_http(&world, &pull).run().assert_ok();
    world.lamina(["overlay", "create", "x.oci.sif"]).run().assert_ok();
    let to = registry.image("to:1");
    let pushed = over_http(&world, &["push", "-U", "x.oci.sif", &to]).run().assert_ok();
    pushed
        .assert_stderr_has("WARNING: Skipping container verification")
        .assert_stderr_has("INFO:    Synchronizing overlay digest to OCI image.");
    assert_eq!(layer_types(&registry, "to:1"), [vec![SQUASHFS; 7], vec![EXT3]].concat());
    for format in ["tar", "squashfs"] {
        let refused = over_http(&world, &["push", "--layer-format", format, "x.oci.sif", &to]).run();
        refused.assert_fatal(&format!(
            "cannot push overlay with layer format \"{format}\", use 'overlay seal' before pushing this image"
        ));
    }
    over_http(&world, &["pull", "--oci", "--force", "x.oci.sif", &to]).run().assert_ok();
    world.lamina(["overlay", "sync", "x.oci.sif"]).run().assert_ok();
    over_http(&world, &["push", "x.oci.sif", &registry.image("two:1")]).run().assert_ok();
    assert_eq!(layer_types(&registry, "two:1"), [SQUASHFS, EXT3]);
    world.lamina(["overlay", "seal", "x.oci.sif"]).run().assert_ok();
    over_http(&world, &["push", "--layer-format", "tar", "x.oci.sif", &to]).run().assert_ok();
    assert_eq!(layer_types(&registry, "to:1"), [TAR, TAR]);
    let native =
        over_http(&world, &["pull", "native.sif", &registry.image("two:1")]).run().assert_status(255);
    assert!(native.stderr.contains("--oci"), "{}", native.stderr);
}

/// What the users' guide of the incumbent shows on overlays in OCI-SIF files, in its order.
#[test]
fn an_oci_sif_with_an_overlay_is_pulled_written_synchronized_pushed_and_sealed() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&Layout::of_busybox(), "ubuntu:latest");
    let (from, to) = (registry.image("ubuntu:latest"), registry.image("user/ubuntu_overlay:latest"));
    let typed = |words: &[&str]| over_http(&world, words).run();
    let image = "ubuntu_latest.oci.sif";
    typed(&["pull", "--oci", &from]).assert_ok();
    typed(&["overlay", "create", "ext3_overlay.img"]).assert_ok();
    let with = |words: &[&str]| typed(&[&["exec", "--oci"], words].concat());
    with(&["--overlay", "ext3_overlay.img", image, "touch", "/my-new-file"]).assert_ok();
    with(&["--overlay", "ext3_overlay.img", image, "ls", "/my-new-file"]).assert_ok();
    with(&[image, "ls", "/my-new-file"]).assert_status(1);
    typed(&["overlay", "create", "--size", "1024", image]).assert_ok();
    with(&["--writable", image, "touch", "/my-new-file"]).assert_ok();
    with(&[image, "ls", "-lah", "/my-new-file"]).assert_ok();
    typed(&["overlay", "sync", image]).assert_ok();
    let again = typed(&["overlay", "sync", image]).assert_ok();
    again.assert_stderr_has("INFO:    OCI digest matches overlay, no update required.");
    with(&["--writable", image, "touch", "/newer-file"]).assert_ok();
    let pushed = typed(&["push", "-U", image, &to]).assert_ok();
    pushed
        .assert_stderr_has("WARNING: Skipping container verification")
        .assert_stderr_has("INFO:    Synchronizing overlay digest to OCI image.");
    typed(&["pull", "--oci", "pulled.oci.sif", &to]).assert_ok();
    with(&["--writable", "pulled.oci.sif", "sh", "-c", "ls /newer-file && touch /newest-file"]).assert_ok();
    with(&["pulled.oci.sif", "ls", "/newest-file"]).assert_ok();
    typed(&["overlay", "seal", image]).assert_ok();
    with(&[image, "ls", "/newer-file"]).assert_ok();
    with(&["--writable", image, "touch", "/my-new-file2"])
        .assert_fatal(&format!("image oci-sif:{image} does not contain a writable overlay"));
    // What a registry has is run as it is fetched.
    with(&[&from, "echo", "ran"]).assert_ok().assert_stdout("ran");
    with(&["--keep-layers", &to, "ls", "/newer-file"]).assert_ok();
}
