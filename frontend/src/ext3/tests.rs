//! File systems that mkfs.ext3 made, whole and damaged.

use super::*;
use proptest::prelude::*;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use tempfile::tempdir;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An ext3 of some MiB with what `fill` puts into a directory.
fn made(mib: u64, options: &[&str], fill: impl FnOnce(&Path)) -> Vec<u8> {
    let directory = tempdir().unwrap();
    let (tree, image) = (directory.path().join("tree"), directory.path().join("image"));
    std::fs::create_dir(&tree).unwrap();
    fill(&tree);
    File::create_new(&image).unwrap().set_len(mib << 20).unwrap();
    let paths = ["-d", tree.to_str().unwrap(), image.to_str().unwrap()];
    run("mkfs.ext3", &[&["-q", "-F"], options, &paths].concat());
    std::fs::read(image).unwrap()
}

fn open<'a>(bytes: &'a &[u8]) -> FileSystem<'a, &'a [u8]> {
    FileSystem::open(bytes, Window { offset: 0, size: bytes.len() as u64 }).unwrap()
}

fn child(files: &FileSystem<'_, &[u8]>, directory: &Inode, name: &[u8]) -> Inode {
    files.inode(files.entry(directory, name).unwrap().unwrap().inode).unwrap()
}

fn content(files: &FileSystem<'_, &[u8]>, inode: &Inode) -> Vec<u8> {
    let mut content = Vec::new();
    files.content(inode).read_to_end(&mut content).unwrap();
    content
}

#[test]
fn a_directory_of_very_many_names_is_read_whole() {
    let bytes = made(16, &["-b", "1024", "-N", "6000"], |tree| {
        for number in 0..3000 {
            File::create_new(tree.join(format!("a name of some length {number:04}"))).unwrap();
        }
    });
    let bytes = bytes.as_slice();
    let files = open(&bytes);
    let names: Vec<String> = files
        .entries(&files.inode(ROOT).unwrap())
        .unwrap()
        .into_iter()
        .map(|entry| String::from_utf8(entry.name).unwrap())
        .filter(|name| name != "lost+found")
        .collect();
    assert!(names.iter().enumerate().all(|(n, name)| *name == format!("a name of some length {n:04}")));
    assert_eq!(names.len(), 3000);
}

#[test]
fn group_descriptors_are_found_in_whichever_way_they_are_spread() {
    for options in [
        ["-b", "1024", "-O", "^resize_inode"],
        ["-b", "1024", "-O", "meta_bg,^resize_inode"],
        ["-b", "1024", "-O", "meta_bg,^resize_inode,^sparse_super"],
        ["-b", "1024", "-I", "128"],
    ] {
        // Small groups, so that there are more of them than one block of descriptors holds.
        let bytes = made(40, &[&options[..], &["-g", "256", "-N", "2560"]].concat(), |tree| {
            for number in 0..200 {
                let directory = tree.join(number.to_string());
                std::fs::create_dir(&directory).unwrap();
                std::fs::write(directory.join("file"), number.to_string()).unwrap();
            }
        });
        let bytes = bytes.as_slice();
        let files = open(&bytes);
        let root = files.inode(ROOT).unwrap();
        for number in 0..200 {
            let directory = child(&files, &root, number.to_string().as_bytes());
            let file = child(&files, &directory, b"file");
            assert_eq!(content(&files, &file), number.to_string().into_bytes(), "{options:?}");
        }
    }
}

#[test]
fn times_beyond_2038_and_before_1970_are_read() {
    let bytes = made(4, &[], |tree| {
        for (name, date) in [("late", "@5000000000"), ("early", "@-1000")] {
            File::create_new(tree.join(name)).unwrap();
            run("touch", &["-d", date, tree.join(name).to_str().unwrap()]);
        }
    });
    // mkfs.ext3 stores 32 bits; what is behind them is written as Linux does it.
    let mut bytes = bytes;
    let late = {
        let bytes = bytes.as_slice();
        let files = open(&bytes);
        let root = files.inode(ROOT).unwrap();
        assert_eq!(child(&files, &root, b"early").modified, -1000);
        child(&files, &root, b"late").number
    };
    let at = {
        let bytes = bytes.as_slice();
        let files = open(&bytes);
        u64::from(files.inode_table(0).unwrap()) * u64::from(files.block_bytes)
            + u64::from(late - 1) * u64::from(files.inode_bytes)
    };
    let at = usize::try_from(at).unwrap();
    bytes[at + 16..at + 20].copy_from_slice(&((5_000_000_000_i64 & 0xFFFF_FFFF) as u32).to_le_bytes());
    bytes[at + 136] = 1;
    let bytes = bytes.as_slice();
    let files = open(&bytes);
    assert_eq!(files.inode(late).unwrap().modified, 5_000_000_000);
}

/// Reads everything that can be reached, as far as it makes sense.
fn read_all(bytes: &[u8]) {
    let bytes = &bytes;
    let Ok(files) = FileSystem::open(bytes, Window { offset: 0, size: bytes.len() as u64 }) else { return };
    let mut waiting = vec![ROOT];
    for _ in 0..50 {
        let Some(inode) = waiting.pop().and_then(|number| files.inode(number).ok()) else { continue };
        let _ = files.attributes(&inode);
        let _ = files.target(&inode);
        match files.entries(&inode) {
            Ok(entries) => waiting.extend(entries.into_iter().map(|entry| entry.inode)),
            Err(_) => {
                let _ = std::io::copy(&mut files.content(&inode).take(1 << 20), &mut std::io::sink());
            }
        }
    }
}

fn sample() -> &'static [u8] {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        made(2, &["-b", "1024", "-N", "16"], |tree| {
            std::fs::write(tree.join("file"), vec![7; 400_000]).unwrap();
            std::os::unix::fs::symlink("x".repeat(200), tree.join("link")).unwrap();
            run("setfattr", &["-n", "user.note", "-v", "hi", tree.join("file").to_str().unwrap()]);
        })
    })
}

proptest! {
    #[test]
    fn no_edit_of_a_file_system_makes_the_reader_fail_otherwise_than_by_an_error(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
    ) {
        let mut bytes = sample().to_vec();
        let metadata: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0 && bytes[*at] != 7).collect();
        for (at, byte) in edits {
            bytes[metadata[at.index(metadata.len())]] = byte;
        }
        read_all(&bytes);
    }
}
