//! `build`: from every kind of local image to a SIF and to a sandbox.

mod support;

use frontend::build::{self, Options, TemporarySandbox, Tools};
use frontend::confined::helper::Programs;
use frontend::image::{self, Access, Format, SifImage};
use frontend::making::Interrupts;
use frontend::overlay::{self, CreateOptions};
use frontend::sif::{Arch, DataType};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::waitpid;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::{Place, SOMEBODY, SmallDisk, as_somebody, doomed, run};

fn options(target: &Path, source: impl AsRef<OsStr>) -> Options {
    Options {
        program: "singularity".into(),
        target: target.into(),
        source: source.as_ref().into(),
        origin: None,
        sandbox: false,
        force: false,
        programs: Programs::default(),
    }
}

fn refusal(options: &Options) -> String {
    build::build(options).unwrap_err().to_string()
}

/// A root file system with a little of everything, but nothing of a native image.
fn plain_tree(place: &Place) -> PathBuf {
    let tree = place.join("tree");
    for directory in ["", "bin", "dev", "etc"] {
        std::fs::create_dir(tree.join(directory)).unwrap();
    }
    std::fs::write(tree.join("bin/tool"), "#!/bin/sh\necho tool\n").unwrap();
    std::fs::set_permissions(tree.join("bin/tool"), Permissions::from_mode(0o4755)).unwrap();
    std::fs::hard_link(tree.join("bin/tool"), tree.join("bin/same")).unwrap();
    symlink("tool", tree.join("bin/link")).unwrap();
    std::fs::write(tree.join("environment"), "mine").unwrap();
    std::fs::set_permissions(&tree, Permissions::from_mode(0o711)).unwrap();
    tree
}

fn listing(directory: &Path) -> String {
    run("find", &[directory.to_str().unwrap(), "-printf", "%P %M %U:%G %s %l %n\n"])
}

fn sif(path: &Path) -> SifImage {
    match image::open(path, Access::ReadOnly).unwrap().format {
        Format::Sif(sif) => *sif,
        other => panic!("{other:?}"),
    }
}

/// The text of the first object of a type.
fn object(path: &Path, wanted: DataType) -> String {
    let sif = sif(path);
    let object = sif.table.descriptors.iter().find(|object| object.data_type == wanted).unwrap();
    let mut bytes = vec![0; usize::try_from(object.size).unwrap()];
    std::fs::File::open(path).unwrap().read_exact_at(&mut bytes, object.offset).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What is in the root file system of a SIF, as unsquashfs lists it.
fn contents(path: &Path) -> String {
    let offset = sif(path).primary.unwrap().window.offset.to_string();
    run("unsquashfs", &["-lln", "-o", &offset, path.to_str().unwrap()])
}

fn line_of<'a>(listing: &'a str, path: &str) -> &'a str {
    let end = format!(" squashfs-root/{path}");
    let arrow = format!("{end} -> ");
    listing
        .lines()
        .find(|line| line.ends_with(&end) || line.contains(&arrow))
        .unwrap_or_else(|| panic!("{path} in {listing}"))
}

#[test]
fn a_sandbox_becomes_an_executable_sif_with_what_a_native_image_needs_and_stays_as_it_was() {
    let place = Place::new();
    let tree = plain_tree(&place);
    let before = listing(&tree);
    let target = place.join("new.sif");
    build::build(&options(&target, &tree)).unwrap();
    assert_eq!(listing(&tree), before);
    assert_eq!(place.names(), ["new.sif", "tree"]);
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o700, 0o700);

    let made = sif(&target);
    assert_eq!(made.arch, Arch::host());
    let types: Vec<DataType> = made.table.descriptors.iter().map(|object| object.data_type).collect();
    assert_eq!(types, [DataType::Definition, DataType::Json, DataType::Partition]);
    assert_eq!(
        object(&target, DataType::Definition),
        format!("bootstrap: localimage\nfrom: {}\n\n", tree.display())
    );
    let json: serde_json::Value = serde_json::from_str(&object(&target, DataType::Json)).unwrap();
    assert_eq!(json["type"], "container");
    let labels = &json["data"]["attributes"]["labels"];
    assert_eq!(labels["org.label-schema.build-arch"], Arch::host().name());
    assert!(labels["org.label-schema.build-date"].as_str().unwrap().ends_with("_UTC"));
    assert!(json["data"]["attributes"]["runscript"].as_str().unwrap().starts_with("#!/bin/sh"));

    let contents = contents(&target);
    assert!(line_of(&contents, "singularity").ends_with("-> .singularity.d/runscript"));
    assert!(line_of(&contents, ".singularity.d/actions/exec").starts_with("-rwxr-xr-x 0/0"));
    assert!(line_of(&contents, "bin/tool").starts_with("-rwsr-xr-x 0/0"));
    assert!(line_of(&contents, "environment").contains(" 4 "), "what was there is kept: {contents}");
    assert!(
        contents.lines().any(|line| line.starts_with("drwx--x--x 0/0") && line.ends_with(" squashfs-root"))
    );
    assert!(!contents.contains("environment_1"), "{contents}");
}

#[test]
fn nothing_is_written_or_read_through_links_that_a_source_brings() {
    let place = Place::new();
    let tree = plain_tree(&place);
    let outside = place.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("labels.json"), "{\"stolen\": \"yes\"}").unwrap();
    symlink(&outside, tree.join(".singularity.d")).unwrap();
    let (target, box_) = (place.join("new.sif"), place.join("box"));
    build::build(&options(&target, &tree)).unwrap();
    assert!(!object(&target, DataType::Json).contains("stolen"));
    for source in [&tree, &target] {
        build::build(&Options { sandbox: true, force: true, ..options(&box_, source) }).unwrap();
        assert_eq!(std::fs::read_link(box_.join(".singularity.d")).unwrap(), outside);
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn what_an_ordinary_user_builds_belongs_to_root_inside() {
    let place = Place::new();
    let tree = plain_tree(&place);
    std::fs::set_permissions(&tree, Permissions::from_mode(0o755)).unwrap();
    let target = place.join("new.sif");
    assert!(as_somebody(|| build::build(&options(&target, &tree))));
    assert_eq!(std::fs::metadata(&target).unwrap().uid(), SOMEBODY.0);
    let contents = contents(&target);
    assert!(contents.contains("squashfs-root/.singularity.d/env/99-base.sh"));
    assert!(!contents.contains(&SOMEBODY.0.to_string()), "{contents}");
}

#[test]
fn a_sif_is_built_again_from_itself_with_the_same_root_and_its_labels() {
    let place = Place::new();
    let (first, second) = (place.join("first.sif"), place.join("second.sif"));
    let tree = plain_tree(&place);
    std::fs::remove_file(tree.join("environment")).unwrap();
    build::build(&options(&first, &tree)).unwrap();
    build::build(&options(&second, &first)).unwrap();
    assert_eq!(contents(&first), contents(&second));
    let partition = |path: &Path| {
        let window = sif(path).primary.unwrap().window;
        let bytes = std::fs::read(path).unwrap();
        bytes[usize::try_from(window.offset).unwrap()..][..usize::try_from(window.size).unwrap()].to_vec()
    };
    assert!(partition(&first) == partition(&second));
    let json: serde_json::Value = serde_json::from_str(&object(&second, DataType::Json)).unwrap();
    let from = &json["data"]["attributes"]["labels"]["org.label-schema.usage.singularity.deffile.from"];
    assert_eq!(from.as_str(), first.to_str());

    let box_ = place.join("box");
    build::build(&Options { sandbox: true, ..options(&box_, &second) }).unwrap();
    assert_eq!(std::fs::read_to_string(box_.join("bin/tool")).unwrap(), "#!/bin/sh\necho tool\n");
    let labels = std::fs::read_to_string(box_.join(".singularity.d/labels.json")).unwrap();
    assert!(labels.contains("org.label-schema.build-date"), "{labels}");
}

#[test]
fn bare_images_with_and_without_a_launch_line_are_sources() {
    let place = Place::new();
    for name in ["tiny.sqfs", "legacy-2.4.simg", "tiny.sif"] {
        let source = Path::new("tests/images").join(name);
        let (target, box_) = (place.join(&format!("{name}.sif")), place.join(&format!("{name}.box")));
        build::build(&options(&target, &source)).unwrap();
        let contents = contents(&target);
        line_of(&contents, "data/hello.txt");
        line_of(&contents, ".singularity.d/runscript");
        build::build(&Options { sandbox: true, ..options(&box_, &source) }).unwrap();
        assert_eq!(std::fs::read_to_string(box_.join("data/hello.txt")).unwrap(), "hello\n");
        assert!(box_.join(".singularity.d/env/99-base.sh").is_file());
        assert!(box_.join("singularity").is_file());
    }
}

#[test]
fn an_ext3_image_is_a_source_for_root_and_for_an_ordinary_user() {
    let place = Place::new();
    let tree = plain_tree(&place);
    std::fs::write(tree.join("file with \"blanks\""), "odd").unwrap();
    std::fs::set_permissions(tree.join("etc"), Permissions::from_mode(0o555)).unwrap();
    let bare = place.join("bare.img");
    run("mkfs.ext3", &["-q", "-F", "-d", tree.to_str().unwrap(), bare.to_str().unwrap(), "8M"]);
    let legacy = place.join("legacy.img");
    let mut bytes = b"#!/usr/bin/env run-singularity\n".to_vec();
    bytes.extend(std::fs::read(&bare).unwrap());
    std::fs::write(&legacy, bytes).unwrap();
    for (n, source) in [&bare, &legacy].into_iter().enumerate() {
        let (target, box_) = (place.join(&format!("{n}.sif")), place.join(&format!("{n}.box")));
        assert!(as_somebody(|| build::build(&options(&target, source))));
        let contents = contents(&target);
        assert!(line_of(&contents, "bin/tool").contains("0/0"));
        line_of(&contents, "file with \"blanks\"");
        line_of(&contents, ".singularity.d/runscript");
        assert!(!contents.contains("lost+found"));
        build::build(&Options { sandbox: true, ..options(&box_, source) }).unwrap();
        assert_eq!(std::fs::read_to_string(box_.join("file with \"blanks\"")).unwrap(), "odd");
    }
}

#[test]
fn a_sandbox_is_copied_with_everything_in_it() {
    let place = Place::new();
    let tree = plain_tree(&place);
    mknod(&tree.join("dev/null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    let box_ = place.join("box");
    build::build(&Options { sandbox: true, ..options(&box_, &tree) }).unwrap();
    for path in ["bin/tool", "bin/same", "bin/link", "dev/null", "environment"] {
        let (old, new) =
            (tree.join(path).symlink_metadata().unwrap(), box_.join(path).symlink_metadata().unwrap());
        assert_eq!((old.mode(), old.nlink(), old.rdev()), (new.mode(), new.nlink(), new.rdev()), "{path}");
    }
    assert!(!tree.join(".singularity.d").exists());
}

#[test]
fn an_unprivileged_sandbox_can_be_written_to_by_its_owner() {
    let place = Place::new();
    let tree = plain_tree(&place);
    mknod(&tree.join("dev/null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    std::fs::set_permissions(&tree, Permissions::from_mode(0o555)).unwrap();
    let (packed, box_) = (place.join("packed.sif"), place.join("box"));
    build::build(&options(&packed, &tree)).unwrap();
    assert!(as_somebody(|| build::build(&Options { sandbox: true, ..options(&box_, &packed) })));
    let made = std::fs::metadata(&box_).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o700), (SOMEBODY.0, 0o700));
    assert!(box_.join("bin/tool").is_file());
    // Forced, it is replaced, read-only directories and all.
    assert!(as_somebody(|| build::build(&Options { sandbox: true, force: true, ..options(&box_, &packed) })));
    assert_eq!(place.names(), ["box", "packed.sif", "tree"]);
}

#[test]
fn an_existing_target_is_replaced_only_when_forced() {
    // Whoever runs the tests at a terminal is not asked.
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null").unwrap()).unwrap();
    let place = Place::new();
    let tree = plain_tree(&place);
    for sandbox in [false, true] {
        let target = place.join("target");
        std::fs::write(&target, "old").unwrap();
        let wanted = Options { sandbox, ..options(&target, &tree) };
        assert_eq!(refusal(&wanted), format!("build target {} already exists", target.display()));
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        build::build(&Options { force: true, ..wanted }).unwrap();
        image::open(&target, Access::ReadOnly).unwrap();
        assert_eq!(target.is_dir(), sandbox);
        let _ = std::fs::remove_file(&target);
    }
    let directory = place.join("target");
    let refused = refusal(&Options { force: true, ..options(&directory, &tree) });
    assert_eq!(refused, format!("build target {} is a directory", directory.display()));
    assert_eq!(place.names(), ["target", "tree"]);
}

#[test]
fn a_target_is_not_replaced_when_more_would_go_with_it() {
    let place = Place::new();
    let tree = plain_tree(&place);
    let forced =
        |target: &Path, source: &Path| Options { sandbox: true, force: true, ..options(target, source) };
    for (target, source) in [
        (tree.clone(), tree.clone()),
        (tree.join("box"), tree.clone()),
        (place.path().to_path_buf(), tree.clone()),
    ] {
        let refused = refusal(&forced(&target, &source));
        assert!(refused.ends_with("are one within the other"), "{refused}");
    }
    let here = std::env::current_dir().unwrap();
    let refused = refusal(&forced(here.parent().unwrap(), &tree));
    assert!(refused.ends_with(&format!("{} is in it", here.display())), "{refused}");
}

#[test]
fn what_cannot_be_built_from_is_refused_by_name() {
    let place = Place::new();
    let target = place.join("new.sif");
    let text = place.join("text");
    std::fs::write(&text, "%post\nbootstrap: no\n".repeat(20)).unwrap();
    for (source, expected) in [
        (text.to_str().unwrap(), "image format not recognized"),
        ("tests/images/tiny-gocryptfs.sif", "its root file system is encrypted"),
        ("/nonexistent/x", "No such file or directory"),
    ] {
        let refused = refusal(&options(&target, source));
        assert!(refused.ends_with(expected), "{refused}");
    }
    assert!(!target.exists());
}

#[test]
fn a_file_that_the_user_cannot_read_is_not_a_source() {
    let place = Place::new();
    let source = place.join("private.sif");
    std::fs::copy("tests/images/tiny.sif", &source).unwrap();
    std::fs::set_permissions(&source, Permissions::from_mode(0o600)).unwrap();
    assert!(!as_somebody(|| build::build(&options(&place.join("new.sif"), &source))));
    assert_eq!(place.names(), ["private.sif"]);
}

#[test]
fn a_full_disk_leaves_the_old_target() {
    let disk = SmallDisk::of_mib(4);
    let place = Place::new();
    let tree = plain_tree(&place);
    let random = run("head", &["-c", "6000000", "/dev/zero"]).into_bytes();
    std::fs::write(tree.join("bin/zero"), random).unwrap();
    run(
        "dd",
        &[
            "if=/dev/urandom",
            &format!("of={}", tree.join("bin/noise").display()),
            "bs=1M",
            "count=6",
            "status=none",
        ],
    );
    for sandbox in [false, true] {
        let target = disk.0.join("target");
        std::fs::write(&target, "old").unwrap();
        let refused = refusal(&Options { sandbox, force: true, ..options(&target, &tree) });
        assert!(refused.contains("No space left on device"), "{refused}");
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(disk.0.names(), ["target"]);
    }
}

#[test]
fn a_missing_mksquashfs_is_named_with_its_package() {
    let place = Place::new();
    let tree = plain_tree(&place);
    let programs = Programs { search_path: Some(place.path().into()), ..Programs::default() };
    let failure = build::build(&Options { programs, ..options(&place.join("new.sif"), &tree) }).unwrap_err();
    assert!(failure.to_string().starts_with("mksquashfs was not found in"), "{failure}");
    assert!(failure.next_step().unwrap().contains("squashfs-tools"));
    let programs = Programs { mksquashfs: Some("/nonexistent/mksquashfs".into()), ..Programs::default() };
    let failure = build::build(&Options { programs, ..options(&place.join("new.sif"), &tree) }).unwrap_err();
    assert_eq!(failure.to_string(), "/nonexistent/mksquashfs, which the site configured, is not a program");
    assert_eq!(place.names(), ["tree"]);
}

#[test]
fn killed_midway_a_build_leaves_the_old_target() {
    let (place, temporary) = (Place::new(), Place::new());
    let tree = plain_tree(&place);
    let slow = place.join("mksquashfs");
    std::fs::write(&slow, "#!/bin/sh\nexec sleep 100\n").unwrap();
    std::fs::set_permissions(&slow, Permissions::from_mode(0o755)).unwrap();
    let target = place.join("new.sif");
    std::fs::write(&target, "old").unwrap();
    let programs = Programs { mksquashfs: Some(slow), ..Programs::default() };
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let wanted = Options { programs: programs.clone(), force: true, ..options(&target, &tree) };
        let child = doomed(&temporary, || build::build(&wanted));
        while support::children_of(child).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kill(child, signal).unwrap();
        waitpid(child, None).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(place.names(), ["mksquashfs", "new.sif", "tree"]);
    }
}

#[test]
fn an_image_with_an_overlay_is_a_source_without_it() {
    let place = Place::new();
    let (source, target) = (place.join("source.sif"), place.join("new.sif"));
    std::fs::copy("tests/images/tiny.sif", &source).unwrap();
    std::fs::set_permissions(&source, Permissions::from_mode(0o644)).unwrap();
    overlay::create(&CreateOptions {
        program: "singularity".into(),
        target: source.clone(),
        size_mib: 64,
        sparse: true,
        create_dirs: vec![],
        fakeroot: false,
        programs: Programs::default(),
    })
    .unwrap();
    build::build(&options(&target, &source)).unwrap();
    assert!(sif(&target).overlays.is_empty());
}

#[test]
fn a_temporary_sandbox_has_the_files_of_the_image_and_is_gone_afterwards() {
    let place = Place::new();
    let tree = plain_tree(&place);
    std::fs::create_dir(tree.join("closed")).unwrap();
    std::fs::write(tree.join("closed/file"), "").unwrap();
    std::fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o500)).unwrap();
    let image = place.join("box.sqfs");
    run("mksquashfs", &[tree.to_str().unwrap(), image.to_str().unwrap(), "-quiet", "-no-progress"]);
    let unpack = |path: &Path| {
        let interrupts = Interrupts::hold().unwrap();
        TemporarySandbox::of(path, Tools { programs: &Programs::default(), interrupts: &interrupts })
    };
    assert!(as_somebody(|| {
        let sandbox = unpack(&image)?.unwrap();
        let root = sandbox.root().to_path_buf();
        assert_eq!(root.file_name(), image.file_name());
        assert!(std::fs::read_to_string(root.join("bin/tool")).unwrap().contains("echo tool"));
        assert_eq!(std::fs::metadata(root.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        sandbox.remove();
        assert!(!root.parent().unwrap().exists());
        assert!(unpack(place.path())?.is_none(), "a directory is used as it is");
        Ok(())
    }));
}
