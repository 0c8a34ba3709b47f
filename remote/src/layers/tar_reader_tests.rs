//! What is read of entries, and what is refused.

use super::*;
use tar::Builder;

fn read(archive: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut entries = Entries::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = entries.next()? {
        let mut content = Vec::new();
        if found.len() % 2 == 0 {
            entries.read_to_end(&mut content)?;
        }
        found.push((entry, content));
    }
    Ok(found)
}

fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_uid(5);
    header.set_gid(6);
    header.set_mtime(7);
    header.set_size(size);
    header.set_cksum();
    header
}

fn archive(members: &[(Header, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (header, content) in members {
        builder.append(header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn records_before_an_entry_replace_what_its_header_says() {
    let mut records = Vec::new();
    for (key, value) in [
        (&b"path"[..], &b"a/\xff name that is long"[..]),
        (b"size", b"3"),
        (b"uid", b"3000000"),
        (b"mtime", b"12.75"),
        (b"SCHILY.xattr.user.x", b"line 1\nline 2"),
    ] {
        super::super::write::record(&mut records, key, value);
    }
    let records = records.as_slice();
    let tar = archive(&[
        (header(EntryType::XHeader, b"x", records.len() as u64), records),
        (header(EntryType::Regular, b"short", 3), b"abc"),
        (header(EntryType::Regular, b"next", 2), b"no"),
        (header(EntryType::Regular, b"last", 2), b"de"),
    ]);
    let found = read(&tar).unwrap();
    let (first, content) = &found[0];
    assert_eq!(first.path, b"a/\xff name that is long");
    assert_eq!((first.uid, first.gid, first.mtime, first.mode), (3_000_000, 6, 12, 0o4755));
    assert_eq!(first.xattrs, [(b"user.x".to_vec(), b"line 1\nline 2".to_vec())]);
    assert_eq!(content, b"abc");
    // One whose content nobody read is passed over.
    assert_eq!((found[2].0.path.as_slice(), found[2].1.as_slice()), (&b"last"[..], &b"de"[..]));
}

#[test]
fn long_names_in_the_form_of_gnu_are_read() {
    let long = [b"n".repeat(300), vec![0]].concat();
    let tar = archive(&[
        (header(EntryType::GNULongName, b"././@LongLink", 301), &long),
        (header(EntryType::GNULongLink, b"././@LongLink", 301), &long),
        (header(EntryType::Symlink, b"short", 0), b""),
    ]);
    let found = read(&tar).unwrap();
    assert_eq!(found[0].0.path, b"n".repeat(300));
    assert_eq!(found[0].0.kind, Kind::Symlink(b"n".repeat(300)));
}

#[test]
fn what_is_cut_off_malformed_or_without_bounds_is_refused() {
    let sound = archive(&[(header(EntryType::Regular, b"file", 600), &[b'x'; 600])]);
    for cut in [1, 511, 513, 1000, 1111] {
        read(&sound[..cut]).unwrap_err();
    }
    for cut in [1112, 1400, 1536] {
        assert_eq!(read(&sound[..cut]).unwrap().len(), 1);
    }
    let mut damaged = sound;
    damaged[0] = b'F';
    read(&damaged).unwrap_err();
    for records in
        [&b"5 a=b\n"[..], b"x a=b\n", b"99 a=b\n", b"6 a=b", b"6 aab\n", b"10 size=-1\n", b"0 a=b\n"]
    {
        let tar = archive(&[
            (header(EntryType::XHeader, b"x", records.len() as u64), records),
            (header(EntryType::Regular, b"file", 0), b""),
        ]);
        read(&tar).unwrap_err();
    }
    let huge = header(EntryType::GNULongName, b"x", u64::from(u32::MAX));
    assert!(read(huge.as_bytes()).unwrap_err().to_string().contains("longer than 1 MiB"));
    read(header(EntryType::GNUSparse, b"x", 0).as_bytes()).unwrap_err();
}
