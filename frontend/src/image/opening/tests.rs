use super::*;
use crate::image::Compression;
use crate::sys::fork::fork_to;
use nix::sys::stat::mode_t;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid, mkfifo, setgid, setgroups, setuid};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use tempfile::{TempDir, tempdir};

const SQUASHFS: &[u8] = include_bytes!("../../../tests/images/tiny.sqfs");
const TINY: &[u8] = include_bytes!("../../../tests/images/tiny.sif");
const NOBODY: u32 = 65534;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8], mode: mode_t) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }
}

fn refusal(path: &Path) -> String {
    open(path, Access::ReadOnly).unwrap_err().to_string()
}

/// What `act` says when an ordinary user does it.
fn as_nobody(act: impl FnOnce() -> String) -> String {
    let (mut receiver, mut sender) = std::io::pipe().unwrap();
    let child = fork_to(|| {
        let dropped = setgroups(&[])
            .and_then(|()| setgid(Gid::from_raw(NOBODY)))
            .and_then(|()| setuid(Uid::from_raw(NOBODY)));
        i32::from(dropped.is_err() || sender.write_all(act().as_bytes()).is_err())
    })
    .unwrap();
    drop(sender);
    let mut said = String::new();
    receiver.read_to_string(&mut said).unwrap();
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    said
}

#[test]
fn images_are_told_by_their_content_in_a_confined_reader() {
    let place = Place::new();
    let image = open(&place.file("no suffix", SQUASHFS, 0o644), Access::ReadOnly).unwrap();
    assert!(matches!(image.format, Format::Squashfs(found) if found.compression == Compression::Gzip));
    let image = open(&place.file("x.sqfs", TINY, 0o644), Access::ReadWrite).unwrap();
    assert!(matches!(image.format, Format::Sif(_)));
    assert_eq!(image.access, Access::ReadWrite);
    let image = open(place.0.path(), Access::ReadOnly).unwrap();
    assert_eq!(image.format, Format::Sandbox);
}

#[test]
fn a_squashfs_is_never_open_for_writing() {
    let place = Place::new();
    let path = place.file("x", SQUASHFS, 0o644);
    for image in [open(&path, Access::ReadWrite).unwrap(), open_writable_if_permitted(&path).unwrap()] {
        assert_eq!(image.access, Access::ReadOnly);
        (&image.file).write_all(b"x").unwrap_err();
    }
}

#[test]
fn symbolic_links_are_followed_once_and_the_real_path_is_told() {
    let place = Place::new();
    let path = place.file("x", SQUASHFS, 0o644);
    symlink("x", place.path("link")).unwrap();
    let image = open(&place.path("link"), Access::ReadOnly).unwrap();
    assert_eq!(image.path, std::fs::canonicalize(&path).unwrap());
    symlink("nowhere", place.path("dangling")).unwrap();
    assert!(refusal(&place.path("dangling")).ends_with("/dangling: No such file or directory"));
    symlink("loop", place.path("loop")).unwrap();
    assert!(refusal(&place.path("loop")).contains("/loop: "));
}

#[test]
fn what_is_no_file_or_directory_is_refused_without_being_opened() {
    let place = Place::new();
    mkfifo(&place.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(place.path("socket")).unwrap();
    for (path, kind) in [
        (place.path("fifo"), "named pipe"),
        (place.path("socket"), "socket"),
        (PathBuf::from("/dev/null"), "device"),
        (PathBuf::from("/dev/zero"), "device"),
    ] {
        let expected = format!(
            "while opening image file {}: image format not recognized: it is a {kind}, not a regular file or directory",
            path.display()
        );
        assert_eq!(refusal(&path), expected);
    }
}

#[test]
fn the_root_directory_is_no_sandbox() {
    assert_eq!(refusal(Path::new("/")), "/ as sandbox is not authorized");
    assert_eq!(refusal(Path::new("/usr/..")), "/ as sandbox is not authorized");
}

#[test]
fn missing_empty_and_short_files_are_refused_in_words() {
    let place = Place::new();
    let missing = place.path("missing");
    let expected = format!("could not open image {}: No such file or directory", missing.display());
    assert_eq!(refusal(&missing), expected);
    assert!(refusal(&place.file("empty", b"", 0o644)).ends_with("format not recognized: the file is empty"));
    assert!(refusal(&place.file("short", b"hsqs", 0o644)).ends_with("recognized: the file has only 4 bytes"));
    let cut = refusal(&place.file("cut", &TINY[..38000], 0o644));
    assert!(cut.contains("/cut: corrupted SIF: the object in slot 2 lies outside"), "{cut}");
    assert!(refusal(&place.file("text", &[b'x'; 5000], 0o644)).ends_with(": image format not recognized"));
}

#[test]
fn a_name_cannot_forge_a_line_of_the_message() {
    let place = Place::new();
    let said = refusal(&place.path("x\nFATAL: \x1b[31mforged"));
    assert!(!said.contains(char::is_control), "{said}");
}

#[test]
fn an_ordinary_user_is_told_what_he_may_not_do() {
    let place = Place::new();
    let (unreadable, read_only) = (place.file("secret", TINY, 0o600), place.file("shared", TINY, 0o644));
    let said = as_nobody(|| refusal(&unreadable));
    assert!(said.ends_with("/secret is not readable by the current user, check permissions"), "{said}");
    let said = as_nobody(|| open(&read_only, Access::ReadWrite).unwrap_err().to_string());
    assert!(
        said.starts_with("could not use ") && said.ends_with("you don't have write permissions"),
        "{said}"
    );
    let said = as_nobody(|| format!("{:?}", open_writable_if_permitted(&read_only).unwrap().access));
    assert_eq!(said, "ReadOnly");
    let said = as_nobody(|| open(place.0.path(), Access::ReadWrite).unwrap_err().to_string());
    assert!(said.ends_with("you don't have write permissions"), "{said}");
    let closed = place.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::write(closed.join("x"), TINY).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let said = as_nobody(|| refusal(&closed.join("x")));
    assert!(said.ends_with("/closed/x is not readable by the current user, check permissions"), "{said}");
}

#[test]
fn a_program_that_is_running_is_not_opened_for_writing() {
    let place = Place::new();
    let path = place.file("sleep", &std::fs::read("/usr/bin/sleep").unwrap(), 0o755);
    let mut running = std::process::Command::new(&path).arg("60").spawn().unwrap();
    let said = open(&path, Access::ReadWrite).unwrap_err().to_string();
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(said.ends_with("you don't have write permissions"), "{said}");
}

#[test]
fn the_largest_table_passes_the_confined_reader_in_time() {
    let place = Place::new();
    let (slots, slot_bytes) = (65536_u64, 585);
    let end = 4096 + slots * slot_bytes;
    let mut bytes = TINY[..4096].to_vec();
    bytes.resize(usize::try_from(end).unwrap(), 0);
    for (at, field) in [(80, 0), (88, slots), (104, slots * slot_bytes), (112, end), (120, 0)] {
        bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    let (used, _) = bytes[4096..].as_chunks_mut::<585>();
    for (id, slot) in (1_u32..).zip(used) {
        slot[4] = 1;
        slot[5..9].copy_from_slice(&id.to_le_bytes());
        slot[17..25].copy_from_slice(&end.to_le_bytes());
        slot[73..201].fill(b'x');
    }
    let image = open(&place.file("big.sif", &bytes, 0o644), Access::ReadOnly).unwrap();
    let Format::Sif(sif) = image.format else { panic!() };
    assert_eq!(sif.table.descriptors.len(), 65536);
}
