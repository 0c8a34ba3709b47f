//! Images and overlays under every name that a file can have.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tests::{Output, World};

/// Names that are hard for shells, lists, options and messages.
const NAMES: &[&[u8]] = &[
    b"with blank",
    b" blank around ",
    b"line\nbreak",
    b"tab\tand \x1b[31mescape",
    b"not\xff\xfeutf-8",
    b"\xc3\xbcmlaut",
    b"$(reboot)`x`;&|",
    b"'single' \"double\"",
    b"back\\slash\\n",
    b"per%cent%s",
    b"equals=sign",
    b"-dash",
    b"...",
    b"#7",
];

fn renamed(world: &World, path: &Path, name: &[u8]) -> PathBuf {
    let new = world.home().join(OsStr::from_bytes(name));
    fs::rename(path, &new).expect("the home can be written");
    new
}

/// `exec` with these overlays, given as the user types them.
fn exec(world: &World, overlays: &[&OsStr], image: &Path, script: &str) -> Output {
    let command = overlays
        .iter()
        .fold(world.lamina(["exec"]), |command, overlay| command.arg("--overlay").arg(overlay));
    command.arg(image).args(["sh", "-c", script]).run()
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsString::from_vec(parts.concat())
}

/// As a value in a comma-separated list that must not be split.
fn quoted(path: &Path, option: &str) -> OsString {
    let path = path.as_os_str().as_bytes();
    let mut quoted = vec![b'"'];
    for byte in path {
        quoted.extend(if *byte == b'"' { &b"\"\""[..] } else { std::slice::from_ref(byte) });
    }
    joined(&[&quoted, option.as_bytes(), b"\""])
}

#[test]
fn an_image_may_have_any_name() {
    let world = World::new();
    let original = world.busybox_sqfs("gzip");
    let mut image = original;
    for name in NAMES.iter().chain(&[&b"com,ma"[..], b"col:on", b"col:ro"]) {
        image = renamed(&world, &image, name);
        exec(&world, &[], &image, "echo runs").assert_ok().assert_stdout("runs");
        let relative = joined(&[b"./", name]);
        exec(&world, &[], Path::new(&relative), "echo runs").assert_ok().assert_stdout("runs");
    }
}

#[test]
fn an_overlay_may_have_any_name() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut overlay = world.ext3_overlay(8);
    exec(&world, &[overlay.as_os_str()], &image, "echo kept > /note").assert_ok();
    for name in NAMES.iter().filter(|name| !name.contains(&b'"') && **name != b" blank around ") {
        overlay = renamed(&world, &overlay, name);
        let read_only = joined(&[overlay.as_os_str().as_bytes(), b":ro"]);
        for option in [overlay.as_os_str(), &read_only] {
            exec(&world, &[option], &image, "cat /note").assert_ok().assert_stdout("kept");
        }
    }
}

#[test]
fn an_overlay_with_a_comma_or_a_quote_in_its_name_is_quoted() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut overlay = world.ext3_overlay(8);
    exec(&world, &[overlay.as_os_str()], &image, "echo kept > /note").assert_ok();
    let names: &[&[u8]] = &[b"com,ma", b"two,com,mas", b"\"quoted\"", b"a \",\" b", b" blank around "];
    for name in names {
        overlay = renamed(&world, &overlay, name);
        for option in ["", ":ro"] {
            exec(&world, &[&quoted(&overlay, option)], &image, "cat /note").assert_ok().assert_stdout("kept");
        }
    }
    let overlay = renamed(&world, &overlay, b"com,ma");
    exec(&world, &[overlay.as_os_str()], &image, "true").assert_fatal("No such file or directory");
}

#[test]
fn an_overlay_with_a_colon_in_its_name_is_found() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(8);
    exec(&world, &[overlay.as_os_str()], &image, "echo kept > /note").assert_ok();
    let overlay = renamed(&world, &overlay, b"10:30.img");
    let (read_only, writable) = (
        joined(&[overlay.as_os_str().as_bytes(), b":ro"]),
        joined(&[overlay.as_os_str().as_bytes(), b":rw"]),
    );
    for option in [overlay.as_os_str(), &read_only, &writable] {
        exec(&world, &[option], &image, "cat /note").assert_ok().assert_stdout("kept");
    }
}

#[test]
fn relative_paths_start_at_the_working_directory() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    let folder = world.mkdir("folder/deeper");
    for (number, (directory, prefix)) in
        [(world.home(), ""), (world.home(), "./"), (world.path("folder"), "../"), (folder, "..//./../")]
            .into_iter()
            .enumerate()
    {
        let name = |path: &Path| {
            let name = path.file_name().and_then(OsStr::to_str).expect("it has a plain one");
            format!("{prefix}{name}")
        };
        let script = format!("echo {number} >> /note; wc -l < /note");
        let run = world.lamina(["exec", "--overlay", &name(&overlay), &name(&image), "sh", "-c", &script]);
        run.cwd(directory).run().assert_ok().assert_stdout(&(number + 1).to_string());
    }
}

#[test]
fn links_are_followed_and_messages_name_what_they_lead_to() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    let folder = world.mkdir("folder");
    let (image_link, overlay_link) = (folder.join("image"), world.path("chain"));
    symlink("../busybox-gzip.sqfs", &image_link).expect("the home can be written");
    symlink("folder/overlay", &overlay_link).expect("the home can be written");
    symlink(&overlay, folder.join("overlay")).expect("the home can be written");
    assert!(image.exists());
    exec(&world, &[overlay_link.as_os_str()], &image_link, "echo kept > /note").assert_ok();
    exec(&world, &[overlay.as_os_str()], &image, "cat /note").assert_ok().assert_stdout("kept");
    fs::write(&overlay, "").expect("root may");
    exec(&world, &[overlay_link.as_os_str()], &image, "true").assert_fatal(&overlay.display().to_string());
}

#[test]
fn a_slash_after_a_file_is_an_error_and_after_a_folder_is_none() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    let sandbox = joined(&[world.busybox_sandbox().as_os_str().as_bytes(), b"/"]);
    exec(&world, &[], Path::new(&sandbox), "echo runs").assert_ok().assert_stdout("runs");
    let option = joined(&[overlay.as_os_str().as_bytes(), b"/"]);
    exec(&world, &[&option], &image, "true").assert_fatal("Not a directory");
}

#[test]
fn a_name_that_is_shown_cannot_forge_a_line_or_reach_the_terminal() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    for (overlay, image) in [
        (Some("no\nFATAL   such \x1b[31mfile"), image.as_path()),
        (None, Path::new("no\nFATAL   such \x1b[31mfile")),
        (Some("any:no\nFATAL   such \x1b[31mfile"), &image),
    ] {
        let overlay = overlay.map(OsStr::new);
        let output = exec(&world, overlay.as_slice(), image, "true");
        let output = output.assert_fatal("no\\nFATAL   such \\u{1b}[31mfile");
        assert!(!output.stderr.contains('\x1b'), "{output}");
        assert!(!output.stderr.contains("\nFATAL   such"), "{output}");
    }
}

#[test]
fn the_longest_paths_work_and_longer_ones_are_refused() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8));
    let folder = world.mkdir(&vec!["f".repeat(250); 12].join("/"));
    let (deep_image, deep_overlay) = (folder.join("i".repeat(255)), folder.join("o".repeat(255)));
    fs::rename(&image, &deep_image).expect("it is one file system");
    fs::rename(&overlay, &deep_overlay).expect("it is one file system");
    exec(&world, &[deep_overlay.as_os_str()], &deep_image, "echo runs").assert_ok().assert_stdout("runs");
    let longer = format!("/{}", "x".repeat(256));
    exec(&world, &[], Path::new(&longer), "true").assert_fatal("File name too long");
    exec(&world, &[OsStr::new(&longer)], &deep_image, "true").assert_fatal("File name too long");
}
