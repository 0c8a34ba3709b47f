//! What is said of real files.
#![allow(clippy::disallowed_methods)]

use super::*;
use protocol::Window;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const WINDOW: Window = Window { offset: 0, size: 4096 };

fn opened(path: &Path, flags: OFlags) -> OwnedFd {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
}

fn facts(path: &Path, flags: OFlags, content: Option<Content>) -> Facts {
    look(&opened(path, flags), content).expect("the kernel tells")
}

/// A folder with a file in it, by the kernel's own names.
fn folder_and_file(content: &[u8]) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = fs::canonicalize(folder.path()).expect("it is there").join("file");
    fs::write(&file, content).expect("a file");
    (folder, file)
}

/// A squashfs 4.0 of 4321 bytes behind so many others, and the start of a SIF where that has room.
fn squashfs_behind(bytes: usize) -> Vec<u8> {
    let mut image = vec![0; bytes + 8192];
    for (at, part) in [(0, &b"hsqs"[..]), (20, &[1, 0]), (28, &[4, 0, 0, 0]), (40, &4321_u64.to_le_bytes())] {
        image[bytes + at..bytes + at + part.len()].copy_from_slice(part);
    }
    if bytes > 0 {
        image[32..42].copy_from_slice(b"SIF_MAGIC\0");
    }
    image
}

#[test]
fn how_a_descriptor_was_opened_says_what_may_be_done_through_it() {
    let (_folder, file) = folder_and_file(b"some bytes");
    for (flags, readable, writable) in [
        (OFlags::RDONLY, true, false),
        (OFlags::WRONLY, false, true),
        (OFlags::RDWR, true, true),
        (OFlags::PATH, false, false),
    ] {
        let facts = facts(&file, flags, None);
        assert_eq!((facts.readable, facts.writable), (readable, writable), "{flags:?}");
    }
}

#[test]
fn kind_size_owner_names_and_identity_are_the_files() {
    let (folder, file) = folder_and_file(b"some bytes");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001)).expect("root runs the tests");
    fs::hard_link(&file, file.with_file_name("second")).expect("a second name");
    let (facts, stat) = (facts(&file, OFlags::RDONLY, None), fs::metadata(&file).expect("it is there"));
    assert_eq!((facts.kind, facts.size, facts.links), (FileType::RegularFile, 10, 2));
    assert_eq!((facts.uid, facts.gid), (1000, 1001));
    assert_eq!(facts.identity, (stat.dev(), stat.ino()));
    let folder = look(&opened(folder.path(), OFlags::PATH), None).expect("the kernel tells");
    assert_eq!((folder.kind, folder.mount_root), (FileType::Directory, false));
    let proc = look(&opened(Path::new("/proc"), OFlags::PATH), None).expect("the kernel tells");
    assert!(proc.mount_root);
    assert_eq!(proc.file_system, u64::try_from(rustix::fs::PROC_SUPER_MAGIC).expect("a small number"));
}

#[test]
fn the_place_of_a_file_is_where_it_can_be_found_and_nowhere_else() {
    let (folder, file) = folder_and_file(b"");
    let place = |path: &Path| facts(path, OFlags::PATH, None).place;
    let name = |path: &Path| Some(path.as_os_str().as_encoded_bytes().to_vec());
    assert_eq!(place(&file), name(&file));
    // Through a link it is where the link leads.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    assert_eq!(place(&link), name(&file));
    // A file that has another one's name now, or none, has no place.
    let held = opened(&file, OFlags::PATH);
    fs::remove_file(&file).expect("it is there");
    assert_eq!(look(&held, None).expect("the kernel tells").place, None);
    fs::write(&file, "").expect("another file");
    assert_eq!(look(&held, None).expect("the kernel tells").place, None);
    // The same name in another mount, or for another file, is not the same place.
    let other = opened(&file, OFlags::PATH);
    let stat = rustix::fs::statx(&other, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | StatxFlags::INO)
        .expect("it is held");
    assert_eq!(super::place(&other, stat.stx_mnt_id, stat.stx_ino), name(&file));
    assert_eq!(super::place(&other, stat.stx_mnt_id + 1, stat.stx_ino), None);
    assert_eq!(super::place(&other, stat.stx_mnt_id, stat.stx_ino + 1), None);
}

#[test]
fn an_image_is_looked_into_where_its_window_is() {
    let (_folder, file) = folder_and_file(&squashfs_behind(4096));
    let within = Content::Squashfs(Window { offset: 4096, ..WINDOW });
    let inside = facts(&file, OFlags::RDONLY, Some(within));
    assert_eq!((inside.in_sif, inside.superblock), (true, Some(Superblock::Squashfs { bytes: 4321 })));
    let before = facts(&file, OFlags::RDONLY, Some(Content::Ext3(WINDOW)));
    assert_eq!((before.in_sif, before.superblock), (true, None));
    let (_folder, bare) = folder_and_file(&squashfs_behind(0));
    let bare = facts(&bare, OFlags::RDONLY, Some(Content::Squashfs(WINDOW)));
    assert_eq!((bare.in_sif, bare.superblock), (false, Some(Superblock::Squashfs { bytes: 4321 })));
}

#[test]
fn a_pipe_is_looked_at_without_waiting_for_who_writes_into_it() {
    let (_folder, file) = folder_and_file(b"");
    let pipe = file.with_file_name("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    let facts = facts(&pipe, OFlags::PATH, None);
    assert_eq!((facts.kind, facts.place), (FileType::Fifo, Some(pipe.into_os_string().into_encoded_bytes())));
}

/// A block device with the content of a file.
struct Loop(String);

impl Loop {
    fn of(file: &Path) -> Self {
        let made = Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(file).output();
        let made = made.expect("losetup is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(String::from_utf8_lossy(&made.stdout).trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_device_is_not_looked_into_whatever_it_holds() {
    let (_folder, file) = folder_and_file(&squashfs_behind(4096));
    let device = Loop::of(&file);
    let image = Content::Squashfs(Window { offset: 4096, ..WINDOW });
    let facts = facts(Path::new(&device.0), OFlags::RDONLY, Some(image));
    assert_eq!((facts.kind, facts.readable), (FileType::BlockDevice, true));
    assert_eq!((facts.in_sif, facts.superblock), (false, None));
}

#[test]
fn what_is_no_image_or_cannot_be_read_is_not_looked_into() {
    let (_folder, file) = folder_and_file(&squashfs_behind(4096));
    let image = Some(Content::Squashfs(Window { offset: 4096, ..WINDOW }));
    for (flags, content) in [
        (OFlags::RDONLY, None),
        (OFlags::RDONLY, Some(Content::Directory)),
        (OFlags::WRONLY, image),
        (OFlags::PATH, image),
    ] {
        let facts = facts(&file, flags, content);
        assert_eq!((facts.in_sif, facts.superblock), (false, None), "{flags:?} {content:?}");
    }
}
