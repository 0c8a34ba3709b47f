//! `overlay create` and `image.create`: what they make, what they refuse, what they leave when they fail.

mod support;

use frontend::confined::helper::Programs;
use frontend::image::{self, Access, Format, SifImage};
use frontend::lock;
use frontend::overlay::{self, CreateOptions, ImageCreateError, ImageCreateOptions};
use frontend::sif::{Extra, FsType, PartitionType};
use frontend::sys::signal::{Disposition, set_disposition};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Place, SOMEBODY, SmallDisk, as_somebody, doomed, elsewhere, run};

fn options(target: &Path) -> CreateOptions {
    CreateOptions {
        program: "singularity".into(),
        target: target.into(),
        size_mib: 64,
        sparse: true,
        create_dirs: vec![],
        fakeroot: false,
        programs: Programs::default(),
    }
}

fn refusal(options: &CreateOptions) -> String {
    overlay::create(options).unwrap_err().to_string()
}

/// Mode, owner and group of a path inside an ext3 image, as debugfs tells them.
fn owner_in(image: &Path, path: &str) -> (String, u32, u32) {
    let text = run("debugfs", &["-R", &format!("stat {path}"), image.to_str().unwrap()]);
    let word_after = |label: &str| {
        let rest = &text[text.find(label).unwrap() + label.len()..];
        rest.split_whitespace().next().unwrap().to_string()
    };
    (word_after("Mode:"), word_after("User:").parse().unwrap(), word_after("Group:").parse().unwrap())
}

#[test]
fn a_new_image_is_private_takes_its_whole_size_and_is_clean() {
    let place = Place::new();
    let target = place.join("overlay.img");
    overlay::create(&CreateOptions { sparse: false, ..options(&target) }).unwrap();
    let made = std::fs::metadata(&target).unwrap();
    assert_eq!((made.len(), made.permissions().mode() & 0o7777), (64 << 20, 0o600));
    assert!(made.blocks() * 512 >= 64 << 20, "{} blocks", made.blocks());
    run("e2fsck", &["-fn", target.to_str().unwrap()]);
    assert_eq!(place.names(), ["overlay.img"]);
    assert_eq!(owner_in(&target, "/upper"), ("0755".into(), 0, 0));
    assert_eq!(owner_in(&target, "/work"), ("0755".into(), 0, 0));
}

#[test]
fn a_sparse_image_takes_disk_space_only_as_it_is_used() {
    let place = Place::new();
    let target = place.join("overlay.img");
    overlay::create(&CreateOptions { size_mib: 1024, ..options(&target) }).unwrap();
    let made = std::fs::metadata(&target).unwrap();
    assert_eq!(made.len(), 1 << 30);
    assert!(made.blocks() * 512 < 64 << 20, "{} blocks", made.blocks());
}

#[test]
fn ids_above_65535_own_the_directories_that_their_user_asked_for() {
    let place = Place::new();
    let target = place.join("overlay.img");
    let wanted = CreateOptions {
        create_dirs: vec!["/var/cache/my \"own\" dir".into(), "srv".into()],
        ..options(&target)
    };
    assert!(as_somebody(|| overlay::create(&wanted)));
    let expected = ("0755".to_string(), SOMEBODY.0, SOMEBODY.1);
    for path in [
        "/upper",
        "/work",
        "/upper/var",
        "/upper/var/cache",
        "\"/upper/var/cache/my \"\"own\"\" dir\"",
        "/upper/srv",
    ] {
        assert_eq!(owner_in(&target, path), expected, "{path}");
    }
    assert_eq!(owner_in(&target, "/").1, 0);
    run("e2fsck", &["-fn", target.to_str().unwrap()]);
}

#[test]
fn with_fakeroot_the_layout_belongs_to_root() {
    let place = Place::new();
    let target = place.join("overlay.img");
    let wanted = CreateOptions { fakeroot: true, create_dirs: vec!["opt".into()], ..options(&target) };
    assert!(as_somebody(|| overlay::create(&wanted)));
    for path in ["/upper", "/work", "/upper/opt"] {
        assert_eq!(owner_in(&target, path), ("0755".into(), 0, 0), "{path}");
    }
}

#[test]
fn less_than_64_mib_is_refused() {
    let place = Place::new();
    let target = place.join("overlay.img");
    assert_eq!(
        refusal(&CreateOptions { size_mib: 63, ..options(&target) }),
        "image size must be equal or greater than 64 MiB"
    );
    assert!(place.names().is_empty());
}

#[test]
fn a_size_beyond_any_file_is_refused_without_a_trace() {
    let place = Place::new();
    for size_mib in [u64::MAX, u64::MAX >> 20, 1 << 42] {
        overlay::create(&CreateOptions { size_mib, ..options(&place.join("overlay.img")) }).unwrap_err();
    }
    assert!(place.names().is_empty());
}

#[test]
fn what_exists_is_left_as_it_is_and_named_for_what_it_is() {
    let place = Place::new();
    let text = place.join("notes.txt");
    std::fs::write(&text, "x".repeat(4000)).unwrap();
    let unrecognised = format!("while opening image file {}: image format not recognized", text.display());
    assert_eq!(refusal(&options(&text)), unrecognised);
    assert_eq!(std::fs::read(&text).unwrap(), "x".repeat(4000).as_bytes());

    let directory = place.join("directory");
    std::fs::create_dir(&directory).unwrap();
    assert_eq!(refusal(&options(&directory)), "cannot add an overlay to a non-SIF image");

    let image = place.join("overlay.img");
    overlay::create(&options(&image)).unwrap();
    let ext3 = "image is an EXT3 filesystem that can be used as an overlay directly";
    assert_eq!(refusal(&options(&image)), ext3);

    symlink(place.join("nowhere"), place.join("link")).unwrap();
    refusal(&options(&place.join("link")));
    assert_eq!(place.names(), ["directory", "link", "notes.txt", "overlay.img"]);
}

#[test]
fn a_file_that_the_caller_may_not_write_is_not_replaced() {
    let place = Place::new();
    let kept = place.join("kept.img");
    std::fs::write(&kept, "x".repeat(4000)).unwrap();
    assert!(!as_somebody(|| overlay::create(&options(&kept))));
    assert!(!as_somebody(|| overlay::create(&options(&place.join("kept.img")))));
    assert_eq!(std::fs::read(&kept).unwrap().len(), 4000);
    assert_eq!(std::fs::metadata(&kept).unwrap().uid(), 0);
}

#[test]
fn a_full_disk_is_one_clear_error_and_leaves_nothing() {
    let disk = SmallDisk::of_mib(32);
    let failure = overlay::create(&CreateOptions { sparse: false, ..options(&disk.0.join("overlay.img")) })
        .unwrap_err();
    let expected = format!("no space left for an image of 64 MiB in {}", disk.0.path().display());
    assert_eq!(failure.to_string(), expected);
    assert!(failure.next_step().unwrap().contains("--sparse"));
    assert!(disk.0.names().is_empty());
}

#[test]
fn a_missing_mkfs_is_named_with_the_package_that_has_it() {
    let place = Place::new();
    let programs = Programs { search_path: Some(place.path().into()), ..Programs::default() };
    let failure =
        overlay::create(&CreateOptions { programs, ..options(&place.join("overlay.img")) }).unwrap_err();
    assert_eq!(failure.to_string(), format!("mkfs.ext3 was not found in {}", place.path().display()));
    assert!(failure.next_step().unwrap().contains("package e2fsprogs"));
    assert!(place.names().is_empty());
}

/// A copy of a sample image, readable and writable by its owner.
fn sample(place: &Place, name: &str) -> PathBuf {
    let copy = place.join(name);
    std::fs::write(&copy, std::fs::read(Path::new("tests/images").join(name)).unwrap()).unwrap();
    copy
}

fn sif(path: &Path) -> SifImage {
    match image::open(path, Access::ReadOnly).unwrap().format {
        Format::Sif(sif) => *sif,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sif_gets_an_overlay_partition_of_the_architecture_and_group_of_its_root() {
    let place = Place::new();
    let target = sample(&place, "tiny.sif");
    let arch = sif(&target).arch;
    overlay::create(&CreateOptions { sparse: false, create_dirs: vec!["srv".into()], ..options(&target) })
        .unwrap();
    let added = sif(&target);
    let (id, ext3) = added.ext3_overlays().next().unwrap();
    assert_eq!((id, ext3.window.size), (4, 64 << 20));
    let object = added.table.object(4).unwrap();
    assert_eq!(object.group, Some(1));
    let expected = Extra::Partition { fs: FsType::Ext3, partition_type: PartitionType::Overlay, arch };
    assert_eq!(object.extra, expected);
    assert!(std::fs::metadata(&target).unwrap().blocks() * 512 > 64 << 20, "not sparse unless asked for");
    let in_place = PathBuf::from(format!("{}?offset={}", target.display(), ext3.window.offset));
    assert_eq!(owner_in(&in_place, "/upper/srv"), ("0755".into(), 0, 0));
    assert_eq!(place.names(), ["tiny.sif"]);

    let before = std::fs::read(&target).unwrap();
    assert_eq!(refusal(&options(&target)), "writable overlay already exists in image");
    assert!(std::fs::read(&target).unwrap() == before);
}

#[test]
fn a_sparse_overlay_stays_sparse_in_a_sif() {
    let place = Place::new();
    let target = sample(&place, "tiny.sif");
    overlay::create(&CreateOptions { size_mib: 512, ..options(&target) }).unwrap();
    assert!(std::fs::metadata(&target).unwrap().blocks() * 512 < 64 << 20);
}

#[test]
fn signed_encrypted_and_bare_images_take_no_overlay() {
    let place = Place::new();
    for (name, why) in [
        ("tiny-signed-pgp.sif", "cannot add overlay to a signed image"),
        ("tiny-gocryptfs.sif", "cannot add overlay to an encrypted image"),
        ("tiny.sqfs", "cannot add an overlay to a non-SIF image"),
    ] {
        let target = sample(&place, name);
        let before = std::fs::read(&target).unwrap();
        assert_eq!(refusal(&options(&target)), why);
        assert!(std::fs::read(&target).unwrap() == before, "{name}");
    }
}

#[test]
fn a_sif_that_is_being_written_to_or_may_not_be_is_left_alone() {
    let place = Place::new();
    let target = sample(&place, "tiny.sif");
    let before = std::fs::read(&target).unwrap();
    assert!(!as_somebody(|| overlay::create(&options(&target))));
    let held = image::open(&target, Access::ReadWrite).unwrap();
    lock::exclusive_whole(&held.file, &target).unwrap();
    overlay::create(&options(&target)).unwrap_err();
    assert!(std::fs::read(&target).unwrap() == before);
}

/// A program that runs `script` under the name mkfs.ext3, in a directory of its own.
fn mkfs_that(place: &Place, script: &str) -> Programs {
    let directory = place.join("bin");
    std::fs::create_dir(&directory).unwrap();
    let program: PathBuf = directory.join("mkfs.ext3");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Programs { search_path: Some(directory.into()), ..Programs::default() }
}

#[test]
fn an_mkfs_that_does_not_know_its_options_is_called_too_old() {
    let place = Place::new();
    let programs = mkfs_that(&place, "echo \"mkfs.ext3: invalid option -- 'd'\" >&2; exit 1");
    let refused = refusal(&CreateOptions { programs, ..options(&place.join("overlay.img")) });
    assert!(refused.starts_with("mkfs.ext3 seems too old"), "{refused}");
    assert_eq!(place.names(), ["bin"]);
}

#[test]
fn an_mkfs_can_reach_nothing_but_the_image() {
    let place = Place::new();
    let script = format!(
        "cd {0}; echo a > a; cat secret; echo b > /tmp/b-$$; env >&2; exit 1",
        place.path().display()
    );
    let programs = mkfs_that(&place, &script);
    std::fs::write(place.join("secret"), "hush").unwrap();
    let refused = refusal(&CreateOptions { programs, ..options(&place.join("overlay.img")) });
    assert!(!refused.contains("hush"), "{refused}");
    assert!(!refused.contains("HOME="), "{refused}");
    assert_eq!(place.names(), ["bin", "secret"]);
}

#[test]
fn an_mkfs_that_floods_its_error_output_does_not_flood_the_message() {
    let place = Place::new();
    let programs =
        mkfs_that(&place, "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo; echo last words >&2; exit 3");
    let refused = refusal(&CreateOptions { programs, ..options(&place.join("overlay.img")) });
    assert!(refused.len() < 4096 && refused.ends_with("last words"), "{refused}");
}

/// Waits until `child` runs its mkfs.
fn await_mkfs(child: nix::unistd::Pid) -> Vec<nix::unistd::Pid> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let helpers = support::children_of(child);
        if !helpers.is_empty() {
            return helpers;
        }
        assert!(Instant::now() < deadline, "mkfs was never started");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(process: nix::unistd::Pid) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while kill(process, None).is_ok() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn killed_midway_it_leaves_neither_a_target_nor_a_running_mkfs() {
    let (place, temporary) = (Place::new(), Place::new());
    let wanted = CreateOptions {
        programs: mkfs_that(&place, "exec sleep 100"),
        ..options(&place.join("overlay.img"))
    };
    let child = doomed(&temporary, || overlay::create(&wanted));
    let helpers = await_mkfs(child);
    kill(child, Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
    assert_eq!(place.names(), ["bin"]);
    assert!(helpers.into_iter().all(is_gone));
}

#[test]
fn interrupted_it_tidies_up_and_then_dies_by_the_signal() {
    let (place, temporary) = (Place::new(), Place::new());
    let wanted = CreateOptions {
        programs: mkfs_that(&place, "exec sleep 100"),
        ..options(&place.join("overlay.img"))
    };
    let child = doomed(&temporary, || overlay::create(&wanted));
    let helpers = await_mkfs(child);
    std::thread::sleep(Duration::from_millis(50));
    kill(child, Signal::SIGINT).unwrap();
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Signaled(child, Signal::SIGINT, false));
    assert_eq!(place.names(), ["bin"]);
    assert!(helpers.into_iter().all(is_gone));
    assert!(temporary.names().is_empty());
}

#[test]
fn a_caller_that_ignores_its_children_and_hangups_gets_its_image() {
    let place = Place::new();
    let target = place.join("overlay.img");
    let child = elsewhere(|| {
        for signal in [Signal::SIGCHLD, Signal::SIGHUP] {
            set_disposition(signal as i32, Disposition::Ignore).unwrap();
        }
        kill(nix::unistd::Pid::this(), Signal::SIGHUP).unwrap();
        overlay::create(&options(&target))
    });
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    assert!(target.exists());
}

#[test]
fn image_create_refuses_what_exists_and_replaces_it_when_forced() {
    let place = Place::new();
    let target = place.join("my-overlay.img");
    std::fs::write(&target, "old").unwrap();
    let mut wanted = ImageCreateOptions {
        target: target.clone(),
        size_mib: 64,
        force: false,
        programs: Programs::default(),
    };
    assert!(matches!(overlay::image_create(&wanted), Err(ImageCreateError::Exists)));
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
    wanted.force = true;
    overlay::image_create(&wanted).unwrap();
    assert_eq!(owner_in(&target, "/upper"), ("0755".into(), 0, 0));
    assert_eq!(place.names(), ["my-overlay.img"]);
}
