//! `inspect`: the same answer from every kind of image, whatever is in it.

mod support;

use frontend::confined::helper::Programs;
use frontend::inspect::{self, Attributes, Section};
use frontend::sif::{self, Arch, CreateOptions, Data, DataType, FsType, NewObject, PartitionType};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use support::{Place, as_somebody, run};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images/tiny.sif");

fn read(path: &Path) -> Attributes {
    inspect::read(path, &Programs::default()).unwrap()
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A root directory that says something in every way there is.
fn talkative(place: &Place) -> PathBuf {
    let root = place.join("root");
    for (name, text) in [
        ("labels.json", "{\"maker\": \"me\", \"year\": 2020}"),
        ("Singularity", "Bootstrap: scratch\n"),
        ("runscript", "echo run\n\n"),
        ("startscript", "echo start\n"),
        ("test", "echo test\n"),
        ("runscript.help", "Help!\n"),
        ("env/10-docker2singularity.sh", "export D=1\n"),
        ("env/90-environment.sh", "export A=1\n"),
        ("env/99-base.sh", "not of the image's maker\n"),
    ] {
        write(root.join(".singularity.d").join(name), text);
    }
    write(root.join("scif/apps/tool/scif/runscript"), "tool\n");
    write(root.join("scif/apps/tool/data"), "much");
    std::fs::create_dir(root.join("scif/apps/none")).unwrap();
    root
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
}

fn expected() -> Attributes {
    let tool = Attributes { runscript: "tool".into(), ..Attributes::default() };
    Attributes {
        apps: BTreeMap::from([("tool".into(), tool)]),
        environment: texts(&[
            ("/.singularity.d/env/10-docker2singularity.sh", "export D=1"),
            ("/.singularity.d/env/90-environment.sh", "export A=1"),
        ]),
        labels: texts(&[("maker", "me"), ("year", "2020")]),
        runscript: "echo run".into(),
        test: "echo test".into(),
        helpfile: "Help!".into(),
        deffile: "Bootstrap: scratch".into(),
        startscript: "echo start".into(),
    }
}

fn squashfs(place: &Place, root: &Path) -> PathBuf {
    let image = place.join("image.squashfs");
    run("mksquashfs", &[root.to_str().unwrap(), image.to_str().unwrap(), "-quiet", "-noappend"]);
    image
}

/// A SIF of a squashfs and an object that is to answer.
fn sif_with(place: &Place, answer: &str) -> PathBuf {
    let root = std::fs::read(squashfs(place, &talkative(place))).unwrap();
    let objects = [
        NewObject::new(DataType::Definition, Data::Bytes(b"from the SIF\n\n")),
        NewObject::new(DataType::Json, Data::Bytes(answer.as_bytes())).named("inspect-metadata.json"),
        NewObject::partition(
            FsType::Squashfs,
            PartitionType::PrimarySystem,
            Arch::host(),
            Data::Bytes(&root),
        ),
    ];
    let path = place.join("image.sif");
    sif::create(&path, &objects, &CreateOptions::native()).unwrap();
    path
}

#[test]
fn every_kind_of_image_gives_the_same_answer() {
    let place = Place::new();
    let root = talkative(&place);
    assert_eq!(read(&root), expected());
    assert_eq!(read(&squashfs(&place, &root)), expected());
    let ext3 = place.join("image.ext3");
    run("truncate", &["-s", "64M", ext3.to_str().unwrap()]);
    run("mkfs.ext3", &["-q", "-d", root.to_str().unwrap(), ext3.to_str().unwrap()]);
    assert_eq!(read(&ext3), expected());
}

#[test]
fn a_sif_answers_by_itself() {
    let place = Place::new();
    let answer =
        "{\"data\":{\"attributes\":{\"labels\":{\"a\":\"b\"},\"runscript\":\"r\"}},\"type\":\"container\"}";
    let image = read(&sif_with(&place, answer));
    let expected =
        Attributes { labels: texts(&[("a", "b")]), runscript: "r".into(), ..Attributes::default() };
    assert_eq!(image, expected);
    assert_eq!(image.in_words(), "r\na: b\n");
    assert_eq!(image.only(&[Section::Labels]).in_words(), "a: b\n");
    let sample = read(Path::new(SAMPLE));
    assert_eq!(sample.deffile, "bootstrap: localimage\nfrom: tiny/");
    assert_eq!(sample.labels["org.label-schema.usage.apptainer.version"], "1.4.5");
    assert!(sample.environment.contains_key("/.singularity.d/env/90-environment.sh"));
}

#[test]
fn a_sif_whose_answer_makes_no_sense_is_asked_in_its_files() {
    let place = Place::new();
    let image = read(&sif_with(&place, "{\"data\": 3}"));
    assert_eq!(image, Attributes { deffile: "from the SIF".into(), ..expected() });
}

#[test]
fn an_image_that_says_nothing_has_an_empty_answer() {
    let place = Place::new();
    let root = place.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    assert_eq!(read(&root), Attributes::default());
    assert_eq!(read(&squashfs(&place, &root)), Attributes::default());
    assert_eq!(read(&root).in_words(), "");
}

#[test]
fn a_link_in_an_image_shows_no_file_of_the_host() {
    let place = Place::new();
    let root = place.join("root");
    std::fs::create_dir_all(root.join(".singularity.d")).unwrap();
    symlink("/etc/passwd", root.join(".singularity.d/runscript")).unwrap();
    symlink("../../../../../../etc/passwd", root.join(".singularity.d/test")).unwrap();
    symlink("/etc", root.join(".singularity.d/env")).unwrap();
    assert_eq!(read(&root), Attributes::default());
    assert_eq!(read(&squashfs(&place, &root)), Attributes::default());
}

#[test]
fn nobody_needs_privilege_and_nothing_is_left_behind() {
    let place = Place::new();
    let image = squashfs(&place, &talkative(&place));
    let before = place.names();
    assert!(as_somebody(|| {
        let found = inspect::read(&image, &Programs::default())?;
        assert_eq!(found, expected());
        Ok(())
    }));
    assert_eq!(place.names(), before);
}
