//! What each way to stack a writable layer on a read-only one makes of ordinary file operations, compared with a plain
//! directory. The table of differences is the one in `src/fuse/README.md`.

mod support;

use frontend::fuse::{Overlay, Owners};
use frontend::image::Access;
use frontend::overlay::marks::{self, Reader};
use frontend::sys::attributes::{get_attribute, set_attribute};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};
use support::fuse::{Inside, OFFSET, ext3, in_namespaces};
use support::{Place, SOMEBODY, as_somebody, elsewhere, run};

const ATTRIBUTE: &std::ffi::CStr = c"user.test";

/// The layer below.
fn fill(tree: &Path) {
    for directory in ["kept", "removed", "replaced", "replaced/inner", "moved", "merged"] {
        fs::create_dir(tree.join(directory)).unwrap();
    }
    for file in [
        "changed",
        "removed/a",
        "removed/b",
        "replaced/old",
        "replaced/inner/old",
        "moved/inside",
        "kept/gone",
        "renamed",
        "target",
        "mode",
        "time",
        "attribute",
        "cut",
        "linked",
        "back",
        "merged/below",
    ] {
        fs::write(tree.join(file), format!("{file} below")).unwrap();
    }
    fs::hard_link(tree.join("linked"), tree.join("linked too")).unwrap();
    symlink("changed", tree.join("link")).unwrap();
    set_attribute(File::open(tree.join("attribute")).unwrap(), ATTRIBUTE, b"below").unwrap();
}

type Operation = (&'static str, fn(&Path) -> io::Result<()>);

/// What programs do to files, each with its own.
const OPERATIONS: &[Operation] = &[
    ("create a file", |at| fs::write(at.join("new"), "new")),
    ("append to a file from below", |at| {
        OpenOptions::new().append(true).open(at.join("changed"))?.write_all(b" and above")
    }),
    ("cut a file from below", |at| OpenOptions::new().write(true).open(at.join("cut"))?.set_len(3)),
    ("remove a file from below", |at| fs::remove_file(at.join("kept/gone"))),
    ("remove and create a file", |at| {
        fs::remove_file(at.join("back"))?;
        fs::write(at.join("back"), "again")
    }),
    ("remove a directory from below", |at| fs::remove_dir_all(at.join("removed"))),
    ("remove and create a directory", |at| {
        fs::remove_dir_all(at.join("replaced"))?;
        fs::create_dir(at.join("replaced"))?;
        fs::write(at.join("replaced/fresh"), "fresh")
    }),
    ("add to a directory from below", |at| fs::write(at.join("merged/above"), "above")),
    ("rename a file from below", |at| fs::rename(at.join("renamed"), at.join("kept/renamed"))),
    ("rename over a file from below", |at| {
        fs::write(at.join("fresh"), "fresh")?;
        fs::rename(at.join("fresh"), at.join("target"))
    }),
    ("rename a new directory", |at| {
        fs::create_dir_all(at.join("first/inner"))?;
        fs::rename(at.join("first"), at.join("kept/second"))
    }),
    ("rename a directory from below", |at| fs::rename(at.join("moved"), at.join("moved away"))),
    ("move it as mv does", |at| {
        if at.join("moved").exists() {
            succeed(Command::new("mv").arg(at.join("moved")).arg(at.join("moved away")))?;
        }
        Ok(())
    }),
    ("link a new file", |at| {
        fs::write(at.join("one"), "one")?;
        fs::hard_link(at.join("one"), at.join("two"))?;
        OpenOptions::new().append(true).open(at.join("two"))?.write_all(b" more")
    }),
    ("link a file from below", |at| fs::hard_link(at.join("changed"), at.join("changed too"))),
    ("change a linked file from below", |at| {
        OpenOptions::new().append(true).open(at.join("linked"))?.write_all(b" and above")
    }),
    ("make a symbolic link", |at| symlink("nowhere", at.join("dangling"))),
    ("remove a symbolic link from below", |at| fs::remove_file(at.join("link"))),
    ("set an attribute", |at| {
        fs::write(at.join("attributed"), "")?;
        Ok(set_attribute(File::open(at.join("attributed"))?, ATTRIBUTE, b"above")?)
    }),
    ("change an attribute from below", |at| {
        Ok(set_attribute(File::open(at.join("attribute"))?, ATTRIBUTE, b"above")?)
    }),
    ("change a mode", |at| fs::set_permissions(at.join("mode"), Permissions::from_mode(0o751))),
    ("set a time", |at| {
        let file = OpenOptions::new().write(true).open(at.join("time"))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
    }),
    ("keep an owner", |at| chown(at.join("mode"), Some(SOMEBODY.0), Some(SOMEBODY.1))),
    ("make a pipe", |at| Ok(nix::unistd::mkfifo(&at.join("pipe"), Mode::from_bits_retain(0o600))?)),
    ("make a whiteout by hand", |at| {
        fs::create_dir(at.join("holes"))?;
        fs::write(at.join("holes/beside"), "")?;
        Ok(mknod(&at.join("holes/hole"), SFlag::S_IFCHR, Mode::from_bits_retain(0o600), makedev(0, 0))?)
    }),
    ("make a file that is named like a mark", |at| fs::write(at.join(".wh.mark"), "")),
    ("make a file without a name", |at| {
        let flags = nix::fcntl::OFlag::O_TMPFILE.bits();
        OpenOptions::new().write(true).custom_flags(flags).open(at).map(drop)
    }),
];

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Does everything and tells what went wrong.
fn operate(at: &Path) -> Vec<String> {
    OPERATIONS
        .iter()
        .filter_map(|(name, operation)| match operation(at) {
            Ok(()) => None,
            Err(error) => Some(match error.raw_os_error() {
                Some(number) => format!("{name}: {}", Errno::from_raw(number)),
                None => format!("{name}: {error}"),
            }),
        })
        .collect()
}

/// Every file with what can be told of it.
fn snapshot(at: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut directories = vec![at.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(at).unwrap().display().to_string();
            let data = fs::symlink_metadata(&path).unwrap();
            assert_eq!((data.uid(), data.gid()), SOMEBODY, "{name}");
            let kind = data.file_type();
            lines.push(if kind.is_dir() {
                directories.push(path);
                format!("{name}/ {:o}", data.mode() & 0o7777)
            } else if kind.is_symlink() {
                format!("{name} -> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_file() {
                let mut attribute = [0; 16];
                let length =
                    get_attribute(File::open(&path).unwrap(), ATTRIBUTE, &mut attribute).unwrap_or(0);
                let set = name == "time" && data.mtime() == 1_000_000_000;
                format!(
                    "{name} {:o} {:?} links={} attribute={:?} time={set}",
                    data.mode() & 0o7777,
                    fs::read_to_string(&path).unwrap(),
                    data.nlink(),
                    std::str::from_utf8(&attribute[..length]).unwrap(),
                )
            } else {
                format!("{name} pipe={} device={}", kind.is_fifo(), kind.is_char_device())
            });
        }
    }
    lines.sort();
    lines
}

/// What a way to stack does otherwise than a plain directory.
#[derive(PartialEq, Debug)]
struct Differences {
    /// The operations that failed.
    failing: Vec<String>,
    /// Files that are otherwise (`-` in the directory, `+` here).
    seen: Vec<String>,
    /// The same once more, by another process that stacked the layers anew.
    seen_again: Vec<String>,
}

/// Does everything in a directory and in what `stack` mounts.
fn differences(place: &Place, stack: impl Fn(&mut Inside<'_>) -> PathBuf) -> Differences {
    in_namespaces(place, |inside| {
        let plain = inside.at("plain");
        fill(&plain);
        assert_eq!(operate(&plain), [""; 0]);
        fill(&inside.at("lower"));
        let at = stack(inside);
        note(place, "failing", &operate(&at));
        note(place, "seen", &compare(&snapshot(&plain), &snapshot(&at)));
        unstack(&at);
    });
    in_namespaces(place, |inside| {
        let at = stack(inside);
        note(place, "seen again", &compare(&snapshot(&inside.at("plain")), &snapshot(&at)));
        unstack(&at);
    });
    let noted =
        |name: &str| fs::read_to_string(place.join(name)).unwrap().lines().map(str::to_owned).collect();
    Differences { failing: noted("failing"), seen: noted("seen"), seen_again: noted("seen again") }
}

/// Tells the test what a process of its saw.
fn note(place: &Place, name: &str, lines: &[String]) {
    fs::write(place.join(name), lines.join("\n")).unwrap();
}

fn compare(plain: &[String], stacked: &[String]) -> Vec<String> {
    let missing = plain.iter().filter(|line| !stacked.contains(line)).map(|line| format!("- {line}"));
    let more = stacked.iter().filter(|line| !plain.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(more).collect()
}

fn kernel_overlay(lower: &Path, upper: &Path, work: &Path, at: &Path) -> Result<(), Errno> {
    let options = format!(
        "userxattr,lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
}

/// The servers end by themselves.
fn unstack(at: &Path) {
    if statfs(at).unwrap().filesystem_type() == OVERLAYFS_SUPER_MAGIC {
        umount2(at, MntFlags::empty()).unwrap();
    }
}

fn fuse_overlay(inside: &mut Inside<'_>, lower: &Path, upper: &Path, work: &Path, at: &Path) {
    inside.servers.overlay(&Overlay { lowers: vec![lower], upper: Some((upper, work)) }, upper, at).unwrap();
}

/// A squashfs of the layer below, as `inside` sees it.
fn squashfs_of_lower(inside: &mut Inside<'_>) -> PathBuf {
    let (tree, image) = (inside.place.join("lower"), inside.place.join("lower.sqfs"));
    if !image.exists() {
        run(
            "mksquashfs",
            &[tree.to_str().unwrap(), image.to_str().unwrap(), "-all-root", "-quiet", "-no-progress"],
        );
    }
    inside.serve_squashfs(&image, 0, Owners::Caller).unwrap()
}

/// The upper and work directories of an ext3, as `inside` sees them.
fn ext3_upper(inside: &mut Inside<'_>, image: &Path) -> (PathBuf, PathBuf) {
    let ext3 = inside.serve_ext3(image, 0, Access::ReadWrite).unwrap();
    let (upper, work) = (ext3.join("upper"), ext3.join("work"));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&work).unwrap();
    (upper, work)
}

/// The kernel copies a file up alone: another link to it from below stays below.
const LINKED: [&str; 4] = [
    "- linked 644 \"linked below and above\" links=2 attribute=\"\" time=false",
    "- linked too 644 \"linked below and above\" links=2 attribute=\"\" time=false",
    "+ linked 644 \"linked below and above\" links=1 attribute=\"\" time=false",
    "+ linked too 644 \"linked below\" links=2 attribute=\"\" time=false",
];

/// fuse-overlayfs does the same between two file systems, and counts the links it shows.
const LINKED_ON_SQUASHFS: [&str; 4] =
    [LINKED[0], LINKED[1], LINKED[2], "+ linked too 644 \"linked below\" links=1 attribute=\"\" time=false"];

/// Within one file system it takes both links for one file and loses the change; as long as the kernel remembers the
/// size from before, zeroes follow.
const LINKED_ON_DIRECTORIES: [&str; 4] = [
    LINKED[0],
    LINKED[1],
    "+ linked 644 \"linked below\" links=2 attribute=\"\" time=false",
    "+ linked too 644 \"linked below\" links=2 attribute=\"\" time=false",
];

fn assert_kernel_differences(found: &Differences) {
    assert_eq!(
        found.failing,
        [
            "rename a directory from below: EXDEV: Cross-device link",
            "make a whiteout by hand: EPERM: Operation not permitted",
        ]
    );
    let seen = [&["- holes/hole pipe=false device=true"], &LINKED[..]].concat();
    assert_eq!(found.seen, seen);
    assert_eq!(found.seen_again, seen);
}

#[test]
fn the_kernel_on_directories_differs_in_four_ways() {
    let place = Place::new();
    assert_kernel_differences(&differences(&place, |inside| {
        let [lower, upper, work, at] = ["lower", "upper", "work", "merged"].map(|name| inside.at(name));
        kernel_overlay(&lower, &upper, &work, &at).unwrap();
        at
    }));
}

#[test]
fn the_kernel_on_a_squashfs_through_fuse_is_no_different() {
    let place = Place::new();
    assert_kernel_differences(&differences(&place, |inside| {
        let lower = squashfs_of_lower(inside);
        let [upper, work, at] = ["upper", "work", "merged"].map(|name| inside.at(name));
        kernel_overlay(&lower, &upper, &work, &at).unwrap();
        at
    }));
}

#[test]
fn the_kernel_writes_to_no_layer_that_comes_through_fuse() {
    let place = Place::new();
    let image = ext3(&place, 0, 16);
    in_namespaces(&place, |inside| {
        let (upper, work) = ext3_upper(inside, &image);
        let [lower, at] = ["lower", "merged"].map(|name| inside.at(name));
        assert_eq!(kernel_overlay(&lower, &upper, &work, &at), Err(Errno::EINVAL));
    });
}

fn assert_fuse_differences(found: &Differences, linked: &[&'static str]) {
    assert_eq!(
        found.failing,
        [
            "rename a directory from below: EXDEV: Cross-device link",
            "make a whiteout by hand: ENOENT: No such file or directory",
            "make a file that is named like a mark: EINVAL: Invalid argument",
            "make a file without a name: EOPNOTSUPP: Operation not supported on transport endpoint",
        ]
    );
    let always =
        ["- .wh.mark 644 \"\" links=1 attribute=\"\" time=false", "- holes/hole pipe=false device=true"];
    let seen_again: Vec<String> = found.seen_again.iter().map(|line| line.replace("\\0", "")).collect();
    assert_eq!(sorted(&seen_again), sorted_too([&always[..], linked].concat()));
    // Until the servers are started anew, nothing in the directory of a whiteout made by hand is listed.
    let unlisted = "- holes/beside 644 \"\" links=1 attribute=\"\" time=false";
    assert!(found.seen.iter().any(|line| line == unlisted), "{found:#?}");
}

fn sorted(lines: &[String]) -> Vec<&str> {
    sorted_too(lines.iter().map(String::as_str).collect())
}

fn sorted_too(mut lines: Vec<&str>) -> Vec<&str> {
    lines.sort();
    lines
}

#[test]
fn fuse_overlayfs_on_directories_differs_in_some_more() {
    let place = Place::new();
    let found = differences(&place, |inside| {
        let [lower, upper, work, at] = ["lower", "upper", "work", "merged"].map(|name| inside.at(name));
        fuse_overlay(inside, &lower, &upper, &work, &at);
        at
    });
    assert_fuse_differences(&found, &LINKED_ON_DIRECTORIES);
}

#[test]
fn fuse_overlayfs_on_a_squashfs_and_an_ext3_is_no_different() {
    let place = Place::new();
    let image = ext3(&place, 0, 16);
    let found = differences(&place, |inside| {
        let lower = squashfs_of_lower(inside);
        let (upper, work) = ext3_upper(inside, &image);
        let at = inside.at("merged");
        fuse_overlay(inside, &lower, &upper, &work, &at);
        at
    });
    assert_fuse_differences(&found, &LINKED_ON_SQUASHFS);
}

/// What root's kernel makes of an ext3 and the layer below, in a mount namespace that ends with this process.
fn roots_overlay(place: &Place, image: &Path) -> PathBuf {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let [lower, disk, at] = ["lower", "disk", "merged"].map(|name| place.join(name));
    for directory in [&disk, &at] {
        fs::create_dir_all(directory).unwrap();
    }
    run("mount", &["-o", "loop", image.to_str().unwrap(), disk.to_str().unwrap()]);
    for directory in ["upper", "work"].map(|name| disk.join(name)) {
        fs::create_dir_all(&directory).unwrap();
        chown(&directory, Some(SOMEBODY.0), Some(SOMEBODY.1)).unwrap();
    }
    let [upper, work] = ["upper", "work"].map(|name| disk.join(name));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    mount(Some("overlay"), &at, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
    at
}

fn at_last_as_root(work: impl FnOnce()) {
    let child = elsewhere(|| {
        work();
        Ok(())
    });
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

/// The layer below, and a plain directory in which everything was done.
fn fill_two(place: &Place) {
    assert!(as_somebody(|| {
        let [lower, plain] = ["lower", "plain"].map(|name| place.join(name));
        for directory in [&lower, &plain] {
            fs::create_dir(directory).unwrap();
            fill(directory);
        }
        operate(&plain);
        Ok(())
    }));
}

#[test]
fn what_fuse_overlayfs_wrote_to_an_ext3_means_the_same_to_roots_kernel() {
    for offset in [0, OFFSET] {
        let place = Place::new();
        let image = ext3(&place, offset, 16);
        fill_two(&place);
        in_namespaces(&place, |inside| {
            let ext3 = inside.serve_ext3(&image, offset, Access::ReadWrite).unwrap();
            let [upper, work] = ["upper", "work"].map(|name| ext3.join(name));
            fs::create_dir(&upper).unwrap();
            fs::create_dir(&work).unwrap();
            let [lower, at] = ["lower", "merged"].map(|name| inside.at(name));
            fuse_overlay(inside, &lower, &upper, &work, &at);
            operate(&at);
        });
        run("e2fsck", &["-fn", &format!("{}?offset={offset}", image.display())]);
        at_last_as_root(|| {
            let bare = place.join("bare.img");
            let mut from = File::open(&image).unwrap();
            io::Seek::seek(&mut from, io::SeekFrom::Start(offset)).unwrap();
            io::copy(&mut from, &mut File::create(&bare).unwrap()).unwrap();
            let at = roots_overlay(&place, &bare);
            let found = compare(&snapshot(&place.join("plain")), &snapshot(&at));
            let unwritten = [
                "- .wh.mark 644 \"\" links=1 attribute=\"\" time=false",
                "- holes/hole pipe=false device=true",
            ];
            assert_eq!(sorted(&found), sorted_too([&unwritten[..], &LINKED[..]].concat()));
        });
    }
}

#[test]
fn what_roots_kernel_wrote_to_an_ext3_means_the_same_to_fuse_overlayfs() {
    let place = Place::new();
    let image = ext3(&place, 0, 16);
    fill_two(&place);
    at_last_as_root(|| {
        let at = roots_overlay(&place, &image);
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(SOMEBODY.1)).unwrap();
        setuid(Uid::from_raw(SOMEBODY.0)).unwrap();
        operate(&at);
    });
    in_namespaces(&place, |inside| {
        let (upper, work) = ext3_upper(inside, &image);
        let [lower, at] = ["lower", "stacked"].map(|name| inside.at(name));
        fuse_overlay(inside, &lower, &upper, &work, &at);
        let found = compare(&snapshot(&inside.at("plain")), &snapshot(&at));
        let unwritten =
            ["- .wh.mark 644 \"\" links=1 attribute=\"\" time=false", "- holes/hole pipe=false device=true"];
        assert_eq!(sorted(&found), sorted_too([&unwritten[..], &LINKED_ON_SQUASHFS[..]].concat()));
        fs::write(at.join("after"), "after").unwrap();
    });
}

#[test]
fn marks_that_a_flow_would_misread_are_found() {
    let place = Place::new();
    let marked = |name: &str, attribute: &std::ffi::CStr| {
        fs::create_dir_all(place.join(name).join("directory")).unwrap();
        set_attribute(File::open(place.join(name).join("directory")).unwrap(), attribute, b"y").unwrap();
    };
    marked("root", c"trusted.overlay.opaque");
    marked("user", c"user.overlay.opaque");
    marked("fuse", c"user.fuseoverlayfs.opaque");
    fs::create_dir(place.join("file")).unwrap();
    fs::write(place.join("file/.wh.gone"), "").unwrap();
    let found = |layer: &str, reader: Reader| marks::misread(&place.join(layer), reader).unwrap().is_some();
    use Reader::{FuseOverlayfs, RootsKernel, UsersKernel};
    for (layer, misreaders) in [
        ("root", [false, true, true]),
        ("user", [true, false, false]),
        ("fuse", [true, true, false]),
        ("file", [true, true, false]),
    ] {
        assert_eq!(
            [RootsKernel, UsersKernel, FuseOverlayfs].map(|reader| found(layer, reader)),
            misreaders,
            "{layer}"
        );
        assert_eq!(marks::settle(&place.join(layer)).unwrap(), [0; 0]);
        assert_eq!(
            [RootsKernel, UsersKernel, FuseOverlayfs].map(|reader| found(layer, reader)),
            [false; 3],
            "{layer}"
        );
    }
    assert!(fs::symlink_metadata(place.join("file/gone")).unwrap().file_type().is_char_device());
}
