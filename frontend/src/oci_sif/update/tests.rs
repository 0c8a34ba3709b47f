//! Documents edited, and the sample brought up to date.

use super::*;
use crate::file::Existing;
use crate::image::Access;
use crate::oci_sif::{OciSifFile, create, manifest, media_type, open};
use crate::sif::Data;
use protocol::Window;
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

const SQUASHFS: &[u8] = include_bytes!("../../../tests/images/tiny.sqfs");

fn digest(hexadecimal: &str) -> Digest {
    Digest::parse(&format!("sha256:{hexadecimal}")).unwrap()
}

fn sample() -> (TempDir, PathBuf) {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.oci.sif");
    crate::oci_sif::tests::unpack_sample(&path);
    (directory, path)
}

fn whole(path: &Path) -> Digest {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    Digest::of_part(&file, Window { offset: 0, size }, || "reading".into()).unwrap()
}

fn tiny() -> NewLayer<'static> {
    NewLayer {
        layer_type: crate::oci_sif::LayerType::Squashfs,
        digest: Digest::of(SQUASHFS),
        data: Data::Bytes(SQUASHFS),
    }
}

#[test]
fn the_digest_recorded_for_an_overlay_makes_the_file_that_another_tool_makes() {
    let (_directory, path) = sample();
    let OciSifFile { file, image, .. } = open(&path, Access::ReadWrite).unwrap();
    let now = digest("62dc1aad9e09981c909607a0de985e6ca9cab6ec7a19d120d006bceea7e03c8c");
    change(&file, &path, &image, Change::Record(now)).unwrap();
    let read = open(&path, Access::ReadOnly).unwrap().image;
    assert_eq!(read.overlay().unwrap().0.digest, now);
    assert_eq!(
        (read.config.digest, read.manifest.digest, read.index.digest),
        (
            digest("4a1e240367588d218945f33d10c0adaabfc8e53152290d168385bce100b82f1b"),
            digest("0f531743123992c596bdfccb135f56585e4549ddb9e4dcdfe673f7f04dac7082"),
            digest("7b902c84836d748a86cb256136d8e6cc2d3f9ad432c3927d1203a871e43bb045"),
        )
    );
    assert_eq!(whole(&path), digest("765251198e776f19fbc0478792c7d5acb6d80cce19a2e0ae119fd4f2e0fe3533"));
}

#[test]
fn a_layer_that_takes_the_place_of_the_overlay_gives_its_room_back() {
    let (_directory, path) = sample();
    let OciSifFile { file, image, .. } = open(&path, Access::ReadWrite).unwrap();
    change(&file, &path, &image, Change::Seal(tiny())).unwrap();
    let read = open(&path, Access::ReadOnly).unwrap().image;
    assert!(read.overlay().is_none());
    assert_eq!(read.layers.iter().map(|layer| layer.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(read.layers[..2], image.layers[..2]);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < image.layers[2].window.offset + 4096 + 4096 + 2000, "{length}");
}

#[test]
fn what_this_build_does_not_know_stays_in_the_documents_in_its_place() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.oci.sif");
    let config = json!({
        "architecture": "amd64", "zebra": { "b": 1, "a": [1.5, null] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(SQUASHFS).to_string()] },
        "config": { "Cmd": ["a<b>&c"] }, "history": [], "os": "linux",
    });
    let config = text(&config);
    create(&path, &manifest(media_type::CONFIG, &config, &[tiny()]), &config, &[tiny()], Existing::Keep)
        .unwrap();
    let OciSifFile { file, image, .. } = open(&path, Access::ReadWrite).unwrap();
    change(&file, &path, &image, Change::Add(tiny())).unwrap();
    let read = open(&path, Access::ReadOnly).unwrap().image;
    let layer = Digest::of(SQUASHFS);
    let expected = format!(
        "{{\"architecture\":\"amd64\",\"zebra\":{{\"b\":1,\"a\":[1.5,null]}},\"rootfs\":{{\"type\":\"layers\",\
         \"diff_ids\":[\"{layer}\",\"{layer}\"]}},\"config\":{{\"Cmd\":[\"a\\u003cb\\u003e\\u0026c\"]}},\"history\":\
         [{{\"created\":\"0001-01-01T00:00:00Z\",\"created_by\":\"overlay create\"}}],\"os\":\"linux\"}}"
    );
    assert_eq!(String::from_utf8(read.config.bytes).unwrap(), expected);
    assert_eq!(read.layers.len(), 2);
}

#[test]
fn without_an_overlay_there_is_none_to_change() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.oci.sif");
    let manifest = manifest(media_type::EMPTY, b"{}", &[tiny()]);
    create(&path, &manifest, b"{}", &[tiny()], Existing::Keep).unwrap();
    let before = whole(&path);
    let OciSifFile { file, image, .. } = open(&path, Access::ReadWrite).unwrap();
    for wanted in [Change::Record(Digest::of(b"x")), Change::Seal(tiny()), Change::Add(tiny())] {
        change(&file, &path, &image, wanted).unwrap_err();
        assert_eq!(whole(&path), before);
    }
}
