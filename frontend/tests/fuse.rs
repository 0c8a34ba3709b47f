//! File systems through FUSE, in a user namespace of an ordinary user: what they serve, how they end, what they leave.

mod support;

use frontend::confined::helper::Programs;
use frontend::fuse::{Overlay, Owners};
use frontend::image::Access;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use support::fuse::{OFFSET, Opened, ext3, in_namespaces, in_namespaces_failing, serving, squashfs};
use support::{Place, SOMEBODY, as_somebody, children_of, elsewhere, run};

fn assert_clean(image: &Path, offset: u64) {
    let image = image.to_str().unwrap();
    run("e2fsck", &["-fn", &format!("{image}?offset={offset}")]);
    assert_eq!(state_of(image, offset), "clean");
}

fn state_of(image: &str, offset: u64) -> String {
    let header = run("dumpe2fs", &["-h", &format!("{image}?offset={offset}")]);
    assert!(!header.contains("needs_recovery"), "{header}");
    let line = header.lines().find_map(|line| line.strip_prefix("Filesystem state:")).unwrap();
    line.trim().to_owned()
}

/// The one server that this process has.
fn server() -> Pid {
    let all = children_of(Pid::this());
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

fn status_of(process: Pid, label: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn a_squashfs_is_served_wherever_it_begins_in_its_file() {
    for offset in [0, OFFSET] {
        let place = Place::new();
        let image = squashfs(&place, offset);
        in_namespaces(&place, |inside| {
            let at = inside.serve_squashfs(&image, offset, Owners::Caller).unwrap();
            assert_eq!(fs::read_to_string(at.join("private/file")).unwrap(), "from the squashfs");
            let owner = fs::metadata(at.join("private/file")).unwrap();
            assert_eq!((owner.uid(), owner.gid()), SOMEBODY);
            let refused = fs::write(at.join("new"), "").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(Errno::EROFS as i32));
        });
    }
}

#[test]
fn the_kernel_decides_who_may_read_what_in_a_squashfs_with_its_own_owners() {
    let place = Place::new();
    let image = squashfs(&place, OFFSET);
    in_namespaces(&place, |inside| {
        let at = inside.serve_squashfs(&image, OFFSET, Owners::Recorded).unwrap();
        assert_ne!(fs::metadata(&at).unwrap().uid(), SOMEBODY.0);
        let refused = fs::read_dir(at.join("private")).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EACCES as i32));
    });
}

#[test]
fn what_is_written_to_an_ext3_is_in_the_image_when_finish_returns_and_the_image_is_clean() {
    for offset in [0, OFFSET] {
        let place = Place::new();
        let image = ext3(&place, offset, 16);
        in_namespaces(&place, |inside| {
            let at = inside.serve_ext3(&image, offset, Access::ReadWrite).unwrap();
            fs::create_dir(at.join("directory")).unwrap();
            fs::write(at.join("directory/file"), "written").unwrap();
            fs::write(at.join("large"), vec![7; 5 << 20]).unwrap();
        });
        assert_clean(&image, offset);
        in_namespaces(&place, |inside| {
            let at = inside.serve_ext3(&image, offset, Access::ReadOnly).unwrap();
            assert_eq!(fs::read_to_string(at.join("directory/file")).unwrap(), "written");
            assert_eq!(fs::read(at.join("large")).unwrap(), vec![7; 5 << 20]);
            assert_eq!(fs::metadata(at.join("directory/file")).unwrap().uid(), SOMEBODY.0);
        });
    }
}

#[test]
fn an_ext3_that_is_only_read_keeps_every_byte() {
    let place = Place::new();
    let image = ext3(&place, OFFSET, 16);
    let before = fs::read(&image).unwrap();
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    in_namespaces(&place, |inside| {
        let at = inside.serve_ext3(&image, OFFSET, Access::ReadOnly).unwrap();
        assert!(at.join("lost+found").is_dir());
        assert_eq!(fs::write(at.join("new"), "").unwrap_err().raw_os_error(), Some(Errno::EROFS as i32));
    });
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn an_overlay_is_written_to_its_upper_directory() {
    let place = Place::new();
    for name in ["lower", "lower:second,one", "upper", "work"] {
        fs::create_dir(place.join(name)).unwrap();
        place.give(name);
    }
    fs::write(place.join("lower/file"), "below").unwrap();
    fs::write(place.join("lower:second,one/other"), "below").unwrap();
    place.give("lower/file");
    in_namespaces(&place, |inside| {
        let at = inside.at("merged");
        let (lower, second) = (inside.place.join("lower"), inside.place.join("lower:second,one"));
        let (upper, work) = (inside.place.join("upper"), inside.place.join("work"));
        let overlay = Overlay { lowers: vec![&lower, &second], upper: Some((&upper, &work)) };
        inside.servers.overlay(&overlay, Path::new("overlay"), &at).unwrap();
        assert_eq!(fs::read_to_string(at.join("file")).unwrap(), "below");
        assert_eq!(fs::read_to_string(at.join("other")).unwrap(), "below");
        fs::write(at.join("file"), "above").unwrap();
    });
    assert_eq!(fs::read_to_string(place.join("upper/file")).unwrap(), "above");
    assert_eq!(fs::read_to_string(place.join("lower/file")).unwrap(), "below");
}

#[test]
fn a_server_has_no_privilege_no_terminal_and_a_domain_of_its_own() {
    let place = Place::new();
    let image = ext3(&place, 0, 16);
    // As root of the namespace, who would get every capability back by exec.
    assert!(as_somebody(|| serving(&place, &Programs::default(), true, |inside| {
        inside.serve_ext3(&image, 0, Access::ReadWrite).unwrap();
        let server = server();
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(status_of(server, set), "0000000000000000", "{set}");
        }
        assert_eq!(status_of(server, "NoNewPrivs"), "1");
        assert_eq!(nix::unistd::getsid(Some(server)), Ok(server));
    })));
}

#[test]
fn a_server_that_dies_meanwhile_is_reported_and_its_image_is_refused_until_it_is_repaired() {
    let place = Place::new();
    let image = ext3(&place, 0, 16);
    in_namespaces_failing(&place, "fuse2fs, which serves", |inside| {
        let at = inside.serve_ext3(&image, 0, Access::ReadWrite).unwrap();
        fs::write(at.join("file"), "written").unwrap();
        kill(server(), Signal::SIGKILL).unwrap();
        while fs::metadata(at.join("file")).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    in_namespaces(&place, |inside| {
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let refused = inside.serve_ext3(&image, 0, access).unwrap_err();
            assert!(refused.to_string().contains("was not closed properly"), "{refused}");
            assert!(refused.next_step().unwrap().contains("e2fsck -f"), "{refused:?}");
        }
    });
    let repaired = std::process::Command::new("e2fsck").arg("-fy").arg(&image).output().unwrap();
    assert!(repaired.status.code().is_some_and(|code| code <= 1), "{repaired:?}");
    in_namespaces(&place, |inside| {
        inside.serve_ext3(&image, 0, Access::ReadWrite).unwrap();
    });
}

#[test]
fn an_ext3_with_a_journal_to_replay_is_refused_with_the_command_that_does_it() {
    let place = Place::new();
    for (offset, remedy) in [(0, "e2fsck -f"), (OFFSET, "without --userns")] {
        let image = ext3(&place, offset, 16);
        let named = format!("{}?offset={offset}", image.to_str().unwrap());
        run("debugfs", &["-w", "-R", "feature needs_recovery", &named]);
        let before = fs::read(&image).unwrap();
        in_namespaces(&place, |inside| {
            for access in [Access::ReadWrite, Access::ReadOnly] {
                let refused = inside.serve_ext3(&image, offset, access).unwrap_err();
                assert!(refused.to_string().contains("was not closed properly"), "{refused}");
                assert!(refused.next_step().unwrap().contains(remedy), "{refused:?}");
            }
        });
        assert!(fs::read(&image).unwrap() == before);
    }
}

#[test]
fn a_full_image_says_so_to_the_writer_and_is_closed_all_the_same() {
    let place = Place::new();
    let image = ext3(&place, 0, 4);
    in_namespaces(&place, |inside| {
        let at = inside.serve_ext3(&image, 0, Access::ReadWrite).unwrap();
        let mut file = File::create(at.join("large")).unwrap();
        let full = std::iter::repeat_with(|| file.write_all(&[1; 1 << 16])).take(100).find_map(Result::err);
        assert_eq!(full.unwrap().raw_os_error(), Some(Errno::ENOSPC as i32));
    });
    assert_clean(&image, 0);
}

#[test]
fn a_server_that_cannot_read_its_image_is_quoted_and_leaves_nothing() {
    let place = Place::new();
    let image = squashfs(&place, OFFSET);
    in_namespaces(&place, |inside| {
        let at = inside.at("squashfs");
        let mut opened = Opened::new(&image, OFFSET, Access::ReadOnly);
        let mut squashfs = opened.squashfs();
        squashfs.window.offset = 0;
        let refused =
            inside.servers.squashfs(&opened.file, &image, squashfs.window, Owners::Caller, &at).unwrap_err();
        assert!(refused.to_string().contains("ended before it could be used"), "{refused}");
        assert!(refused.to_string().contains("squashfs image"), "{refused}");
    });
}

#[test]
fn a_missing_server_is_named_with_the_package_that_has_it() {
    let place = Place::new();
    let (squashfs, ext3) = (squashfs(&place, 0), ext3(&place, 0, 16));
    let empty = Programs { search_path: Some(place.path().as_os_str().into()), ..Programs::default() };
    assert!(as_somebody(|| serving(&place, &empty, false, |inside| {
        let overlay = Overlay { lowers: vec![Path::new("/usr")], upper: None };
        let refusals = [
            (inside.serve_squashfs(&squashfs, 0, Owners::Caller).unwrap_err(), "squashfuse", "squashfuse"),
            (inside.serve_ext3(&ext3, 0, Access::ReadWrite).unwrap_err(), "fuse2fs", "e2fsprogs"),
            (
                inside.servers.overlay(&overlay, Path::new("overlay"), Path::new("/mnt")).unwrap_err(),
                "fuse-overlayfs",
                "fuse-overlayfs",
            ),
        ];
        for (refused, name, package) in refusals {
            assert!(refused.to_string().contains(&format!("{name} was not found in")), "{refused}");
            assert!(refused.next_step().unwrap().contains(package), "{refused:?}");
        }
    })));
}

#[test]
fn the_image_is_closed_even_when_the_command_is_killed() {
    let place = Place::new();
    let image = ext3(&place, 0, 16);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        assert!(as_somebody(|| {
            let (path, pid) = (
                place.join("server"),
                elsewhere(|| {
                    serving(&place, &Programs::default(), false, |inside| {
                        let at = inside.serve_ext3(&image, 0, Access::ReadWrite).unwrap();
                        fs::write(at.join("file"), signal.as_str()).unwrap();
                        fs::write(inside.place.join("server"), server().to_string()).unwrap();
                        raise(signal).unwrap();
                        // Only an open file keeps finish from ending by itself; the signal ends it.
                        std::mem::forget(File::open(at.join("file")).unwrap());
                    })
                }),
            );
            waitpid(pid, None).unwrap();
            let server = Pid::from_raw(fs::read_to_string(&path).unwrap().parse().unwrap());
            while kill(server, None).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            fs::remove_file(path).unwrap();
            Ok(())
        }));
        assert_clean(&image, 0);
        let text = run("debugfs", &["-R", "cat /file", image.to_str().unwrap()]);
        assert_eq!(text, signal.as_str());
    }
}
