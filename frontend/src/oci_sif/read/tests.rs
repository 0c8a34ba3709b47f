//! Images read back, and images with one thing wrong.

use super::*;
use crate::file::Existing;
use crate::oci_sif::{NewLayer, create, manifest, media_type};
use crate::sif::{self, CreateOptions, Data, NewObject};
use proptest::prelude::*;
use protocol::Window;
use serde_json::{Value, json};
use tempfile::tempdir;

const SQUASHFS: &[u8] = include_bytes!("../../../tests/images/tiny.sqfs");

fn layer() -> NewLayer<'static> {
    NewLayer { layer_type: LayerType::Squashfs, digest: Digest::of(SQUASHFS), data: Data::Bytes(SQUASHFS) }
}

fn config(diff_ids: &[Digest]) -> Vec<u8> {
    let diff_ids: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string().into_bytes()
}

/// A file of these objects, each under a digest that need not be its own.
fn file(objects: &[(DataType, Digest, &[u8])]) -> Vec<u8> {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.sif");
    let objects: Vec<NewObject<'_>> = objects
        .iter()
        .map(|(data_type, digest, bytes)| {
            NewObject::new(*data_type, Data::Bytes(bytes)).with(Extra::Digest(*digest))
        })
        .collect();
    sif::create(&path, &objects, &CreateOptions::oci()).unwrap();
    std::fs::read(path).unwrap()
}

/// The documents of an image with one squashfs layer, to be changed.
struct Parts {
    index: Value,
    manifest: Value,
    config: Value,
}

impl Parts {
    fn new() -> Self {
        let config = config(&[Digest::of(SQUASHFS)]);
        let manifest: Value =
            serde_json::from_slice(&manifest(media_type::CONFIG, &config, &[layer()])).unwrap();
        let entry = json!({ "mediaType": media_type::MANIFEST, "size": 0, "digest": "" });
        let index = json!({ "manifests": [entry] });
        Self { index, manifest, config: serde_json::from_slice(&config).unwrap() }
    }

    /// The file, the documents naming each other rightly.
    fn file(&mut self) -> Vec<u8> {
        let bind = |by: &mut Value, to: &Value| {
            let bytes = to.to_string().into_bytes();
            by["size"] = bytes.len().into();
            by["digest"] = Digest::of(&bytes).to_string().into();
        };
        bind(&mut self.manifest["config"], &self.config);
        if let Some(entry) = self.index.pointer_mut("/manifests/0") {
            bind(entry, &self.manifest);
        }
        self.file_as_it_is()
    }

    fn file_as_it_is(&self) -> Vec<u8> {
        let [index, manifest, config] =
            [&self.index, &self.manifest, &self.config].map(|document| document.to_string().into_bytes());
        file(&[
            (DataType::OciBlob, Digest::of(SQUASHFS), SQUASHFS),
            (DataType::OciBlob, Digest::of(&config), &config),
            (DataType::OciBlob, Digest::of(&manifest), &manifest),
            (DataType::OciRootIndex, Digest::of(&index), &index),
        ])
    }
}

fn read(bytes: &[u8]) -> Result<OciSif, Defect> {
    inspect(&bytes, Table::read(&bytes).unwrap())
}

#[track_caller]
fn refused(bytes: &[u8], fault: Fault) {
    assert_eq!(read(bytes), Err(Defect::OciSif(fault)));
}

#[test]
fn what_is_made_comes_back() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.oci.sif");
    let config = config(&[Digest::of(SQUASHFS); 2]);
    let manifest = manifest(media_type::CONFIG, &config, &[layer(), layer()]);
    create(&path, &manifest, &config, &[layer(), layer()], Existing::Keep).unwrap();
    let OciSifFile { image, .. } = open(&path, Access::ReadOnly).unwrap();
    assert_eq!((&image.manifest.bytes, &image.config.bytes), (&manifest, &config));
    let layers: Vec<_> = image.layers.iter().map(|layer| (layer.layer_type(), layer.digest)).collect();
    assert_eq!(layers, [(LayerType::Squashfs, Digest::of(SQUASHFS)); 2]);
    // The layer twice, stored once, the two documents, the index, and eight more.
    assert_eq!((image.table.header.slots, image.table.descriptors.len()), (12, 4));
    let blobs = image.blobs();
    assert_eq!(blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>(), [layers[0].1, Digest::of(&config)]);
    assert_eq!(blobs[0].window, image.layers[1].window);
    assert!(image.overlay().is_none());
}

#[test]
fn what_does_not_go_together_is_not_made() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.oci.sif");
    let other = Digest::of(b"other");
    let good = config(&[Digest::of(SQUASHFS)]);
    let bound = manifest(media_type::CONFIG, &good, &[layer()]);
    let wrong_config = config(&[other]);
    let cases: [(&[u8], &[u8], Vec<NewLayer<'_>>); 5] = [
        (&bound, &wrong_config, vec![layer()]),
        (&manifest(media_type::CONFIG, &wrong_config, &[layer()]), &wrong_config, vec![layer()]),
        (&bound, &good, vec![]),
        (&bound, &good, vec![NewLayer { digest: other, ..layer() }]),
        (&bound, &good, vec![NewLayer { layer_type: LayerType::Ext3, ..layer() }]),
    ];
    for (manifest, config, layers) in cases {
        create(&path, manifest, config, &layers, Existing::Keep).unwrap_err();
        assert!(!path.exists());
    }
}

#[test]
fn a_data_container_has_an_empty_configuration() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.oci.sif");
    let manifest = manifest(media_type::EMPTY, b"{}", &[layer()]);
    create(&path, &manifest, b"{}", &[layer()], Existing::Keep).unwrap();
    assert_eq!(open(&path, Access::ReadOnly).unwrap().image.layers.len(), 1);
}

#[test]
fn a_file_with_an_object_missing_is_refused() {
    let mut parts = Parts::new();
    let whole = parts.file();
    read(&whole).unwrap();
    let missing = [Part::Layer(1), Part::Config, Part::Manifest];
    for (slot, part) in missing.into_iter().enumerate() {
        let mut bytes = whole.clone();
        let digit = &mut bytes[4096 + 585 * slot + 201 + 10];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
        refused(&bytes, Fault::Missing(part));
    }
}

#[test]
fn a_document_that_was_changed_is_refused() {
    let mut parts = Parts::new();
    let whole = parts.file();
    let table = Table::read(&whole.as_slice()).unwrap();
    for (slot, part) in [(1, Part::Config), (2, Part::Manifest), (3, Part::Index)] {
        let mut bytes = whole.clone();
        bytes[table.descriptors[slot].offset as usize] ^= 1;
        refused(&bytes, Fault::Digest(part));
    }
}

#[test]
fn lengths_other_than_the_recorded_ones_are_refused() {
    let mut parts = Parts::new();
    parts.file();
    let mut wrong = Parts { index: parts.index.clone(), ..Parts::new() };
    wrong.manifest = parts.manifest.clone();
    wrong.index["manifests"][0]["size"] = 3.into();
    refused(&wrong.file_as_it_is(), Fault::Size(Part::Manifest));
    parts.manifest["layers"][0]["size"] = 4095.into();
    refused(&parts.file(), Fault::Size(Part::Layer(1)));
}

#[test]
fn an_index_must_name_one_image() {
    let mut parts = Parts::new();
    let cosign = json!({
        "mediaType": media_type::MANIFEST, "size": 1, "digest": "sha512:00",
        "annotations": { "org.opencontainers.image.ref.name": "_cosign:sha256-00.sig" }
    });
    let nested = json!({ "mediaType": media_type::INDEX, "size": 1, "digest": "sha512:00" });
    parts.index["manifests"].as_array_mut().unwrap().extend([cosign, nested]);
    assert_eq!(read(&parts.file()).unwrap().cosign_entries, 1);
    let second = parts.index["manifests"][0].clone();
    parts.index["manifests"].as_array_mut().unwrap().push(second);
    refused(&parts.file(), Fault::Images(2));
    for none in [json!([]), Value::Null] {
        parts.index["manifests"] = none;
        refused(&parts.file(), Fault::Images(0));
    }
}

#[test]
fn a_configuration_must_have_the_digest_of_each_layer() {
    let mut parts = Parts::new();
    parts.config["rootfs"]["diff_ids"][0] = Digest::of(b"other").to_string().into();
    refused(&parts.file(), Fault::DiffId(1));
    parts.config["rootfs"]["diff_ids"] = Value::Null;
    refused(&parts.file(), Fault::LayerCount);
}

#[test]
fn layers_are_squashfs_and_only_the_topmost_an_ext3() {
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let mut parts = Parts::new();
    parts.manifest["layers"][0]["mediaType"] = tar.into();
    refused(&parts.file(), Fault::Type(Part::Layer(1)));
    parts.manifest["layers"][0]["mediaType"] = media_type::EXT3.into();
    assert_eq!(read(&parts.file()), Err(Defect::PartitionContent(1)));
    let above =
        json!({ "mediaType": media_type::SQUASHFS, "size": 1, "digest": Digest::of(b"").to_string() });
    parts.manifest["layers"].as_array_mut().unwrap().push(above);
    refused(&parts.file(), Fault::Type(Part::Layer(1)));
}

#[test]
fn documents_that_are_none_are_refused() {
    for (part, wrong) in [
        (Part::Index, json!({ "manifests": 3 })),
        (Part::Manifest, json!({ "config": {} })),
        (Part::Config, json!([])),
    ] {
        let mut parts = Parts::new();
        match part {
            Part::Index => parts.index = wrong,
            Part::Manifest => {
                parts.manifest = wrong;
                // What binds the documents must find something to bind.
                let bytes = parts.manifest.to_string().into_bytes();
                parts.index["manifests"][0]["size"] = bytes.len().into();
                parts.index["manifests"][0]["digest"] = Digest::of(&bytes).to_string().into();
                refused(&parts.file_as_it_is(), Fault::Json(part));
                continue;
            }
            _ => parts.config = wrong,
        }
        refused(&parts.file(), Fault::Json(part));
    }
    let mut parts = Parts::new();
    parts.config["padding"] = "x".repeat(4 << 20).into();
    refused(&parts.file(), Fault::TooLong(Part::Config));
}

#[test]
fn a_second_root_index_is_refused() {
    let index = b"{}";
    let object = (DataType::OciRootIndex, Digest::of(index), index.as_slice());
    refused(&file(&[object, object]), Fault::Indexes);
}

#[test]
fn the_image_of_another_tool_is_read_with_its_stale_overlay() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("stale.oci.sif");
    crate::oci_sif::tests::unpack_sample(&path);
    let OciSifFile { image, .. } = open(&path, Access::ReadOnly).unwrap();
    let ids: Vec<u32> = image.layers.iter().map(|layer| layer.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    let overlay = image.overlay().unwrap().0;
    assert_eq!(
        overlay.digest.to_string(),
        "sha256:31c99083df4f573a6fde1cb62d92cde6a18bef91a11f1e160fb0dfad98a1a8c0"
    );
    assert_eq!(overlay.window, Window { offset: 1_109_429, size: 64 << 20 });
    assert_eq!((image.config.id, image.manifest.id, image.index.id), (4, 5, 6));
}

proptest! {
    #[test]
    fn no_edit_makes_the_reader_fail_otherwise_than_by_an_error(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = Parts::new().file();
        let behind_layer = bytes.len() - 1200;
        for (at, byte) in edits {
            let place = [at.index(4096 + 3000), behind_layer + at.index(1200)][usize::from(byte & 1)];
            bytes[place] = byte;
        }
        if let Ok(table) = Table::read(&bytes.as_slice()) {
            let _ = inspect(&bytes.as_slice(), table);
        }
    }
}
