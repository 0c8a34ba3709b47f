use super::*;
use crate::sys::fork::fork_to;
use nix::fcntl::FcntlArg::F_SETLK;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::NamedTempFile;

const EARLY: Window = Window { offset: 4096, size: 8192 };
const LATE: Window = Window { offset: 12288, size: 4096 };

/// Tests that need to be the only user of their image. A process that another test forks meanwhile would have copies of
/// its open files, and with them its locks.
static FORKING: Mutex<()> = Mutex::new(());

fn image() -> (NamedTempFile, MutexGuard<'static, ()>) {
    let alone = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
    let image = NamedTempFile::new().unwrap();
    image.as_file().set_len(65536).unwrap();
    (image, alone)
}

/// Takes a lock that nobody but a short-lived child of an unrelated test can stand in the way of.
fn take_once_free(image: &NamedTempFile, window: Window, access: Access) {
    let file = opened(image);
    let free = (0..60).any(|_| {
        take(&file, image.path(), window, access).is_ok() || {
            std::thread::sleep(WAIT_STEP);
            false
        }
    });
    assert!(free);
}

fn opened(image: &NamedTempFile) -> File {
    OpenOptions::new().read(true).write(true).open(image.path()).unwrap()
}

/// Another process that did something to the image and stays until this is dropped.
struct Neighbour(Pid);

impl Neighbour {
    fn that(act: impl FnOnce() -> bool) -> Self {
        let (mut told, mut teller) = std::io::pipe().unwrap();
        let pid = fork_to(|| {
            if act() && teller.write_all(b"!").is_ok() {
                std::thread::sleep(Duration::from_secs(60));
            }
            1
        })
        .unwrap();
        drop(teller);
        told.read_exact(&mut [0]).expect("the neighbour did what it was asked to");
        Self(pid)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGKILL).unwrap();
        waitpid(self.0, None).unwrap();
    }
}

fn take_posix(file: &File, window: Window, access: Access) -> Result<(), Errno> {
    let request = Range::of(window).unwrap().request(access);
    nix::fcntl::fcntl(file, F_SETLK(&request)).map(drop)
}

#[test]
fn readers_share_and_a_writer_excludes_everybody() {
    let (image, _alone) = image();
    let (path, one, two) = (image.path(), opened(&image), opened(&image));
    take(&one, path, EARLY, Access::ReadOnly).unwrap();
    take(&two, path, EARLY, Access::ReadOnly).unwrap();
    let refused = take(&two, path, EARLY, Access::ReadWrite).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("can't open {} for writing, already used for reading by this process", path.display())
    );
    assert_eq!(refused.next_step(), Some(USED_TWICE));
    drop((one, two));
    let writer = opened(&image);
    exclusive_whole(&writer, path).unwrap();
    let refused = take(&opened(&image), path, EARLY, Access::ReadOnly).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("can't open {} for reading, already used for writing by this process", path.display())
    );
}

#[test]
fn parts_of_one_file_are_locked_apart() {
    let (image, _alone) = image();
    let (one, two) = (opened(&image), opened(&image));
    take(&one, image.path(), EARLY, Access::ReadWrite).unwrap();
    take(&two, image.path(), LATE, Access::ReadWrite).unwrap();
    take(&two, image.path(), EARLY, Access::ReadOnly).unwrap_err();
}

#[test]
fn a_lock_outlives_its_descriptor_as_long_as_a_copy_of_the_open_file_is_there() {
    let (image, _alone) = image();
    let first = opened(&image);
    take(&first, image.path(), EARLY, Access::ReadWrite).unwrap();
    let copy = first.try_clone().unwrap();
    drop(first);
    take(&opened(&image), image.path(), EARLY, Access::ReadOnly).unwrap_err();
    drop(copy);
    take_once_free(&image, EARLY, Access::ReadOnly);
}

#[test]
fn nobody_waits_for_a_lock_of_this_process() {
    let (image, _alone) = image();
    let (first, second) = (opened(&image), opened(&image));
    take(&first, image.path(), EARLY, Access::ReadWrite).unwrap();
    let begun = Instant::now();
    take(&second, image.path(), EARLY, Access::ReadOnly).unwrap_err();
    take(&second, image.path(), EARLY, Access::ReadWrite).unwrap_err();
    assert!(begun.elapsed() < RELEASE_MAX, "{:?}", begun.elapsed());
}

#[test]
fn a_writer_in_another_process_is_named() {
    let (image, _alone) = image();
    let (path, theirs) = (image.path(), opened(&image));
    let neighbour = Neighbour::that(|| take(&theirs, path, EARLY, Access::ReadWrite).is_ok());
    drop(theirs);
    let refused = take(&opened(&image), path, EARLY, Access::ReadOnly).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("can't open {} for reading, currently in use for writing by another process", path.display())
    );
    let hint = refused.next_step().unwrap();
    assert!(hint.starts_with(&format!("It is in use by process {} (", neighbour.0)), "{hint}");
    assert!(hint.contains(") of user ") && hint.contains(", since 20"), "{hint}");
    drop(neighbour);
    take_once_free(&image, EARLY, Access::ReadWrite);
}

#[test]
fn a_reader_in_another_process_is_named_by_its_open_file() {
    let (image, _alone) = image();
    let (path, theirs) = (image.path(), opened(&image));
    let neighbour = Neighbour::that(|| take(&theirs, path, EARLY, Access::ReadOnly).is_ok());
    drop(theirs);
    let refused = take(&opened(&image), path, EARLY, Access::ReadWrite).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("can't open {} for writing, currently in use by another process", path.display())
    );
    let hint = refused.next_step().unwrap();
    assert!(hint.starts_with(&format!("It is in use by process {} (", neighbour.0)), "{hint}");
    assert!(hint.ends_with(ONLY_READ), "{hint}");
    let refused = exclusive_whole(&opened(&image), path).unwrap_err();
    let hint = refused.next_step().unwrap();
    assert!(hint.ends_with(")."), "who changes the file has no use for reading it: {hint}");
}

#[test]
fn the_posix_lock_of_an_incumbent_is_respected_and_its_holder_named() {
    let (image, _alone) = image();
    let (path, theirs) = (image.path(), opened(&image));
    let neighbour = Neighbour::that(|| take_posix(&theirs, EARLY, Access::ReadWrite).is_ok());
    drop(theirs);
    take(&opened(&image), path, LATE, Access::ReadWrite).unwrap();
    let refused = take(&opened(&image), path, EARLY, Access::ReadOnly).unwrap_err();
    let hint = refused.next_step().unwrap();
    assert!(hint.starts_with(&format!("It is in use by process {} (", neighbour.0)), "{hint}");
}

#[test]
fn an_incumbent_finds_our_locks_in_its_way() {
    let (image, _alone) = image();
    let (ours, theirs) = (opened(&image), opened(&image));
    take(&ours, image.path(), EARLY, Access::ReadOnly).unwrap();
    take_posix(&theirs, EARLY, Access::ReadWrite).unwrap_err();
    take_posix(&theirs, EARLY, Access::ReadOnly).unwrap();
    take_posix(&theirs, LATE, Access::ReadWrite).unwrap();
}

#[test]
fn changing_a_file_waits_for_a_short_use_and_is_refused_during_a_long_one() {
    let (image, _alone) = image();
    let (path, reader) = (image.path(), opened(&image));
    let neighbour = Neighbour::that(|| take(&reader, path, LATE, Access::ReadOnly).is_ok());
    drop(reader);
    exclusive_whole(&opened(&image), path).unwrap_err();
    shared_whole(&opened(&image), path).unwrap();
    let soon_done = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(neighbour);
    });
    exclusive_whole(&opened(&image), path).unwrap();
    soon_done.join().unwrap();
}

#[test]
fn a_whole_lock_covers_what_the_file_will_grow_to() {
    let (image, _alone) = image();
    let writer = opened(&image);
    exclusive_whole(&writer, image.path()).unwrap();
    let beyond = Window { offset: 1 << 40, size: 1 };
    take(&opened(&image), image.path(), beyond, Access::ReadOnly).unwrap_err();
}

#[test]
fn a_range_that_no_file_has_is_refused() {
    let (image, _alone) = image();
    for window in [
        Window { offset: 0, size: 0 },
        Window { offset: u64::MAX, size: 1 },
        Window { offset: 1, size: u64::MAX },
    ] {
        take(&opened(&image), image.path(), window, Access::ReadOnly).unwrap_err();
    }
    take(&opened(&image), image.path(), Window { offset: i64::MAX as u64, size: 2 }, Access::ReadOnly)
        .unwrap_err();
}
