//! The machine has what the layout table says, as it says.

use std::fs;
use std::os::unix::fs::MetadataExt;
use tests::installed;

const LAYOUT: &str = include_str!("../../packaging/layout");

#[test]
fn every_line_of_the_layout_is_true() {
    let prefix = installed().prefix().display().to_string();
    let lines = LAYOUT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let [kind, source, destination, mode, owner] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not five columns: {line}");
        };
        let path =
            destination.replacen("PREFIX", &prefix, 1).replacen("SYSCONFDIR", &format!("{prefix}/etc"), 1);
        for path in matches(source, &path) {
            let metadata = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!((owner, metadata.uid(), metadata.gid()), ("root:root", 0, 0), "{path}");
            if kind == "link" {
                assert_eq!(fs::read_link(&path).expect("it is a link").as_os_str(), source);
                assert!(fs::metadata(&path).is_ok(), "{path} leads nowhere");
            } else {
                assert_eq!(format!("{:04o}", metadata.mode() & 0o7777), mode, "{path}");
            }
        }
    }
}

/// The files that a line is about: one, or for a pattern at least one in the folder that it names.
fn matches(source: &str, destination: &str) -> Vec<String> {
    let pattern = source.rsplit('/').next().expect("split yields at least one");
    let Some((begin, end)) = pattern.split_once('*') else { return vec![destination.to_owned()] };
    let files: Vec<String> = fs::read_dir(destination)
        .unwrap_or_else(|error| panic!("{destination}: {error}"))
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("it is text"))
        .filter(|name| name.starts_with(begin) && name.ends_with(end))
        .map(|name| format!("{destination}{name}"))
        .collect();
    assert!(!files.is_empty(), "nothing in {destination} is called {pattern}");
    files
}

#[test]
fn only_the_starter_is_setuid() {
    let setuid = LAYOUT.lines().filter(|line| line.contains(" 4711 ")).count();
    assert_eq!(setuid, 1);
    let mode = fs::metadata(installed().starter_suid()).expect("it is installed").mode();
    assert_eq!(mode & 0o7777, 0o4711);
}

#[test]
fn the_starter_and_init_load_no_libraries() {
    let init = installed().prefix().join("libexec/lamina/bin/init");
    for program in [installed().starter_suid(), init] {
        let bytes = fs::read(&program).expect("root can read it");
        assert!(!interpreted(&bytes), "{} is not static", program.display());
    }
}

/// Whether an ELF file of 64 bits and this machine's byte order has a `PT_INTERP` segment.
fn interpreted(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| usize::from(u16::from_ne_bytes([elf[at], elf[at + 1]]));
    let table = u64::from_ne_bytes(elf[32..40].try_into().expect("eight bytes")) as usize;
    let (entry_bytes, entries) = (half(54), half(56));
    let types = elf[table..].chunks(entry_bytes).take(entries).map(|entry| &entry[..4]);
    types.into_iter().any(|kind| kind == PT_INTERP.to_ne_bytes())
}
