//! The overlay of an OCI-SIF: made, brought up to date, and whole whatever is killed when.

mod support;

use frontend::confined::helper::Programs;
use frontend::file::Existing;
use frontend::image::Access;
use frontend::lock;
use frontend::oci_sif::{self, LayerType, NewLayer, OciSif, media_type};
use frontend::overlay::{self, CreateOptions, SealOptions};
use frontend::sif::{Data, Digest};
use nix::sys::signal::Signal;
use protocol::Window;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use support::killed::{calls_since, strace};
use support::{Place, run};

const SQUASHFS: &[u8] = include_bytes!("images/tiny.sqfs");
/// The calls after which a file is another one than before.
const CHANGING: [&str; 6] = ["pwrite64", "write", "ftruncate", "fallocate", "copy_file_range", "linkat"];

/// An OCI-SIF of a squashfs and, above it, what is given.
fn make(path: &Path, overlay: Option<&Path>) {
    let mut layers = vec![NewLayer {
        layer_type: LayerType::Squashfs,
        digest: Digest::of(SQUASHFS),
        data: Data::Bytes(SQUASHFS),
    }];
    let ext3 = overlay.map(|overlay| File::open(overlay).unwrap());
    if let Some(ext3) = &ext3 {
        let all = Window { offset: 0, size: ext3.metadata().unwrap().len() };
        let digest = Digest::of_part(ext3, all, || "reading".into()).unwrap();
        layers.push(NewLayer { layer_type: LayerType::Ext3, digest, data: Data::Part(ext3, all) });
    }
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", layer.digest)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[]}}"#,
        diff_ids.join(",")
    );
    let manifest = oci_sif::manifest(media_type::CONFIG, config.as_bytes(), &layers);
    oci_sif::create(path, &manifest, config.as_bytes(), &layers, Existing::Replace).unwrap();
}

/// An ext3 of 4 MiB with `upper` and `work`.
fn ext3(path: &Path) {
    let tree = Place::new();
    for directory in ["upper", "work"] {
        std::fs::create_dir(tree.join(directory)).unwrap();
    }
    File::create_new(path).unwrap().set_len(4 << 20).unwrap();
    run("mkfs.ext3", &["-q", "-F", "-d", tree.path().to_str().unwrap(), path.to_str().unwrap()]);
}

fn image(path: &Path) -> OciSif {
    oci_sif::open(path, Access::ReadOnly).unwrap().image
}

/// The digest that is recorded for the overlay, and that of its content.
fn digests(path: &Path) -> (Digest, Digest) {
    let opened = oci_sif::open(path, Access::ReadOnly).unwrap();
    let overlay = opened.image.overlay().unwrap().0;
    (overlay.digest, Digest::of_part(&opened.file, overlay.window, || "reading".into()).unwrap())
}

/// Writes a file into the overlay of an OCI-SIF.
fn write_into(path: &Path, content: &Path) {
    let offset = image(path).overlay().unwrap().0.window.offset;
    let image = format!("{}?offset={offset}", path.to_str().unwrap());
    run("debugfs", &["-w", "-R", &format!("write {} upper/new", content.to_str().unwrap()), &image]);
}

fn options(target: &Path) -> CreateOptions {
    CreateOptions {
        program: "singularity".into(),
        target: target.into(),
        size_mib: 64,
        sparse: true,
        create_dirs: vec!["/var/cache".into()],
        fakeroot: false,
        programs: Programs::default(),
    }
}

#[test]
fn an_overlay_is_added_above_the_layers_and_takes_its_space() {
    for sparse in [true, false] {
        let place = Place::new();
        let path = place.join("x.oci.sif");
        make(&path, None);
        let before = image(&path);
        overlay::create(&CreateOptions { sparse, ..options(&path) }).unwrap();
        let after = image(&path);
        assert_eq!(after.layers[..1], before.layers[..]);
        assert_eq!((after.layers.len(), after.layers[1].layer_type()), (2, LayerType::Ext3));
        let (recorded, found) = digests(&path);
        assert_eq!(recorded, found);
        assert_eq!(after.overlay().unwrap().0.window.size, 64 << 20);
        let used = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert_eq!(used >= 64 << 20, !sparse, "{used}");
        assert_eq!(place.names(), ["x.oci.sif"]);
        let offset = after.overlay().unwrap().0.window.offset;
        run("e2fsck", &["-fn", &format!("{}?offset={offset}", path.to_str().unwrap())]);
    }
}

#[test]
fn what_can_take_no_overlay_is_refused_and_stays_as_it_is() {
    let place = Place::new();
    let [has_one, data] = ["has_one.oci.sif", "data.oci.sif"].map(|name| place.join(name));
    ext3(&place.join("ext3"));
    make(&has_one, Some(&place.join("ext3")));
    let layer = NewLayer {
        layer_type: LayerType::Squashfs,
        digest: Digest::of(SQUASHFS),
        data: Data::Bytes(SQUASHFS),
    };
    let manifest = oci_sif::manifest(media_type::EMPTY, b"{}", &[layer]);
    oci_sif::create(&data, &manifest, b"{}", &[layer], Existing::Keep).unwrap();
    for (path, why) in [
        (&has_one, "writable overlay already exists in image"),
        (&data, "cannot add overlay to a data container"),
    ] {
        let before = std::fs::read(path).unwrap();
        assert_eq!(overlay::create(&options(path)).unwrap_err().to_string(), why);
        assert!(std::fs::read(path).unwrap() == before);
    }
}

#[test]
fn a_changed_overlay_gets_its_digest_and_one_that_has_it_is_left_alone() {
    let place = Place::new();
    let path = place.join("x.oci.sif");
    ext3(&place.join("ext3"));
    make(&path, Some(&place.join("ext3")));
    let fresh = std::fs::read(&path).unwrap();
    overlay::sync(&path, "lamina").unwrap();
    assert!(std::fs::read(&path).unwrap() == fresh);
    write_into(&path, Path::new("/etc/hostname"));
    let (recorded, found) = digests(&path);
    assert!(recorded != found);
    let length = std::fs::metadata(&path).unwrap().len();
    overlay::sync(&path, "lamina").unwrap();
    assert_eq!(digests(&path), (found, found));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
}

#[test]
fn only_an_oci_sif_with_an_overlay_that_nobody_uses_is_synchronised() {
    let place = Place::new();
    let path = place.join("x.oci.sif");
    make(&path, None);
    let refusal = |path: &Path| overlay::sync(path, "lamina").unwrap_err().to_string();
    assert_eq!(refusal(&path), "image does not contain a writable overlay");
    std::fs::write(place.join("x.sqfs"), SQUASHFS).unwrap();
    let bare = place.join("x.sqfs");
    assert_eq!(refusal(&bare), format!("{} is not an OCI-SIF image", bare.display()));
    ext3(&place.join("ext3"));
    make(&path, Some(&place.join("ext3")));
    let used = oci_sif::open(&path, Access::ReadWrite).unwrap();
    let window = used.image.overlay().unwrap().0.window;
    lock::take(&used.file, &path, window, Access::ReadWrite).unwrap();
    let refused = refusal(&path);
    assert!(refused.contains("in use") || refused.contains("already used"), "{refused}");
}

#[test]
fn overlays_are_added_and_sealed_one_on_top_of_the_other_without_end() {
    let place = Place::new();
    let path = place.join("x.oci.sif");
    make(&path, None);
    for layers in 2..13 {
        overlay::create(&options(&path)).unwrap();
        let sealing =
            SealOptions { program: "lamina".into(), target: path.clone(), programs: Programs::default() };
        overlay::seal(&sealing).unwrap();
        let state = state(&path);
        assert_eq!((state.len(), state[0]), (layers, (LayerType::Squashfs, Digest::of(SQUASHFS))));
    }
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 18);
}

/// What matters of an image: its layers, with the digests that are recorded and those of squashfs content.
fn state(path: &Path) -> Vec<(LayerType, Digest)> {
    let opened = oci_sif::open(path, Access::ReadOnly).unwrap();
    let layers = opened.image.layers.iter();
    layers
        .map(|layer| {
            let content = Digest::of_part(&opened.file, layer.window, || "reading".into()).unwrap();
            assert!(layer.layer_type() == LayerType::Ext3 || layer.digest == content);
            (layer.layer_type(), layer.digest)
        })
        .collect()
}

/// Kills `command` on entering each call that may change `x.sif`, which is a copy of `old`.
fn killed_on_every_change(place: &Place, old: &Path, command: &[&str]) {
    let path = place.join("x.sif");
    let restore = || run("cp", &["--sparse=always", old.to_str().unwrap(), path.to_str().unwrap()]);
    restore();
    let before = state(&path);
    assert!(strace(place, &[], command).success());
    let after: Vec<LayerType> = state(&path).iter().map(|(layer_type, _)| *layer_type).collect();
    let calls = calls_since(place, "x.sif").into_iter().filter(|(name, _)| CHANGING.contains(&name.as_str()));
    let mut found = [0, 0];
    for (name, count) in calls {
        restore();
        let ended = strace(place, &["-e", &format!("inject={name}:signal=KILL:when={count}")], command);
        let left = state(&path);
        let types: Vec<LayerType> = left.iter().map(|(layer_type, _)| *layer_type).collect();
        assert!(left == before || types == after, "{name} {count}: {left:?}");
        if ended.signal() == Some(Signal::SIGKILL as i32) {
            found[usize::from(left != before)] += 1;
        }
        // What was left half-done does not keep the next command from its work.
        if left == before {
            assert!(strace(place, &[], command).success(), "{name} {count}");
            assert!(state(&path).iter().map(|(layer_type, _)| *layer_type).eq(after.iter().copied()));
        }
    }
    assert!(found[0] > 2 && found[1] > 2, "{found:?}");
}

#[test]
fn synchronising_killed_at_any_moment_leaves_the_old_digest_or_the_new_one() {
    let place = Place::new();
    let old = place.join("old");
    ext3(&place.join("ext3"));
    make(&old, Some(&place.join("ext3")));
    write_into(&old, Path::new("/etc/hostname"));
    killed_on_every_change(&place, &old, &["overlay", "sync", "x.sif"]);
}
