//! The caller in the container's `/etc/passwd` and `/etc/group`, the container's host name and name servers.
//!
//! The starter mounted empty files of the caller's over the image's own and left the originals open. Only an empty
//! file is ever filled in, so that no file of the image is changed whatever went wrong before.

use crate::error::reason_of;
use crate::message::{self, shown};
use crate::payload::{Account, Payload};
use crate::sys::descriptors;
use protocol::{ACCOUNT_FD_FIRST, AccountFile};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Longest account file of an image that is read, in bytes: far above a site's whole directory in files.
const ACCOUNT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Fields of a line of `/etc/passwd`.
const PASSWD_FIELDS: usize = 7;

/// The image's own account files.
pub(super) struct Originals {
    passwd: Option<File>,
    group: Option<File>,
}

impl Originals {
    /// Takes over the descriptors the starter left; call it once.
    pub(super) fn adopt() -> Self {
        let adopt =
            |file: AccountFile| descriptors::adopt(ACCOUNT_FD_FIRST + file as i32).ok().map(File::from);
        // These of the image are of no interest, their descriptors must still not reach the program.
        drop([adopt(AccountFile::Hostname), adopt(AccountFile::ResolvConf)]);
        Self { passwd: adopt(AccountFile::Passwd), group: adopt(AccountFile::Group) }
    }
}

/// Fills in the account files. A container runs without them, with a warning.
pub(super) fn write(payload: &Payload, originals: &Originals) {
    if let Some(account) = &payload.account {
        let passwd = |original: &[u8]| merged_passwd(original, account);
        write_merged(AccountFile::Passwd, originals.passwd.as_ref(), passwd);
        let group = |original: &[u8]| merged_group(original, account);
        write_merged(AccountFile::Group, originals.group.as_ref(), group);
    }
    if let Some(hostname) = &payload.hostname {
        let place = AccountFile::Hostname.path();
        warn(place, fill_in(place, &[hostname, b"\n".as_slice()].concat()));
    }
    if !payload.name_servers.is_empty() {
        let place = AccountFile::ResolvConf.path();
        let lines = payload.name_servers.iter().map(|address| format!("nameserver {address}\n"));
        warn(place, fill_in(place, lines.collect::<String>().as_bytes()));
    }
}

fn write_merged(file: AccountFile, original: Option<&File>, merge: impl FnOnce(&[u8]) -> Vec<u8>) {
    let place = file.path();
    let Some(original) = original else {
        if !Path::new(place).exists() {
            let name = place.trim_start_matches("/etc/");
            message::warning(format!("{name} file doesn't exist in container, not updating"));
        }
        return;
    };
    let mut text = Vec::new();
    let read = original.take(ACCOUNT_FILE_BYTES_MAX).read_to_end(&mut text);
    warn(place, read.and_then(|_| fill_in(place, &merge(&text))));
}

/// Writes an empty file; one that holds something is left as it is.
fn fill_in(place: &str, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(place)?;
    if file.metadata()?.len() == 0 { file.write_all(text) } else { Ok(()) }
}

fn warn(place: &str, result: io::Result<()>) {
    if let Err(error) = result {
        message::warning(format!("{} could not be filled in: {}", shown(place), reason_of(&error)));
    }
}

/// The image's `/etc/passwd` with the caller in it: a line of the same uid is replaced and keeps its shell, because
/// the image knows which shells it has; otherwise a line is added.
fn merged_passwd(original: &[u8], account: &Account) -> Vec<u8> {
    let mut merged = Vec::with_capacity(original.len() + 256);
    let mut present = false;
    for line in lines(original) {
        match shell_of(line, account.uid) {
            Some(shell) if !present => {
                present = true;
                merged.extend(passwd_line(account, shell));
            }
            _ => merged.extend(line),
        }
        merged.push(b'\n');
    }
    if !present {
        merged.extend(passwd_line(account, &account.shell));
        merged.push(b'\n');
    }
    merged
}

/// The shell field of a whole line for this uid.
fn shell_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
    let [_, _, id, _, _, _, shell] = <[&[u8]; PASSWD_FIELDS]>::try_from(fields).ok()?;
    (number(id) == Some(uid)).then_some(shell)
}

fn passwd_line(account: &Account, shell: &[u8]) -> Vec<u8> {
    let (uid, gid) = (account.uid.to_string(), account.gid.to_string());
    let name = field(&account.name);
    [
        &name,
        b"x".as_slice(),
        uid.as_bytes(),
        gid.as_bytes(),
        &field(&account.gecos),
        &field(&account.home),
        &field(shell),
    ]
    .join(&b':')
}

/// The image's `/etc/group` with the caller's groups added, each with the caller as its member. A line that is there
/// already is not repeated.
fn merged_group(original: &[u8], account: &Account) -> Vec<u8> {
    let mut merged = Vec::with_capacity(original.len() + 64 * account.groups.len());
    for line in lines(original) {
        merged.extend(line);
        merged.push(b'\n');
    }
    for (name, gid) in &account.groups {
        let line =
            [&field(name), b"x".as_slice(), gid.to_string().as_bytes(), &field(&account.name)].join(&b':');
        if !lines(original).any(|present| present == line) {
            merged.extend(line);
            merged.push(b'\n');
        }
    }
    merged
}

/// Lines without their ends; the last one may lack it.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// A field cannot hold what separates fields and lines.
fn field(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !matches!(byte, b':' | b'\n' | 0)).collect()
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            name: b"ann".into(),
            uid: 1000,
            gid: 100,
            gecos: b"Ann Example".into(),
            home: b"/home/ann".into(),
            shell: b"/bin/zsh".into(),
            groups: vec![(b"users".into(), 100), (b"lab".into(), 2000)],
        }
    }

    fn passwd(original: &str) -> String {
        String::from_utf8(merged_passwd(original.as_bytes(), &account())).expect("text stays text")
    }

    fn group(original: &str) -> String {
        String::from_utf8(merged_group(original.as_bytes(), &account())).expect("text stays text")
    }

    #[test]
    fn the_caller_is_added_after_the_lines_of_the_image() {
        assert_eq!(
            passwd("root:x:0:0:root:/root:/bin/sh\n"),
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann Example:/home/ann:/bin/zsh\n"
        );
    }

    #[test]
    fn a_missing_newline_at_the_end_does_not_join_two_lines() {
        assert_eq!(
            passwd("root:x:0:0:root:/root:/bin/sh"),
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann Example:/home/ann:/bin/zsh\n"
        );
        assert_eq!(group("root:x:0:"), "root:x:0:\nusers:x:100:ann\nlab:x:2000:ann\n");
    }

    #[test]
    fn a_line_of_the_same_uid_is_replaced_in_its_place_and_keeps_its_shell() {
        assert_eq!(
            passwd("ubuntu:x:1000:1000::/home/ubuntu:/bin/bash\nlast:x:7:7::/:/bin/false\n"),
            "ann:x:1000:100:Ann Example:/home/ann:/bin/bash\nlast:x:7:7::/:/bin/false\n"
        );
    }

    #[test]
    fn the_same_name_with_another_uid_stays_and_the_caller_is_added() {
        assert_eq!(
            passwd("ann:x:5:5::/home/old:/bin/sh\n"),
            "ann:x:5:5::/home/old:/bin/sh\nann:x:1000:100:Ann Example:/home/ann:/bin/zsh\n"
        );
    }

    #[test]
    fn lines_that_are_no_accounts_are_kept_as_they_are() {
        let odd = "# comment\n+::::::\nshort:x:1000\n\n";
        assert_eq!(passwd(odd), format!("{odd}ann:x:1000:100:Ann Example:/home/ann:/bin/zsh\n"));
    }

    #[test]
    fn an_empty_file_gets_the_caller_alone() {
        assert_eq!(passwd(""), "ann:x:1000:100:Ann Example:/home/ann:/bin/zsh\n");
        assert_eq!(group(""), "users:x:100:ann\nlab:x:2000:ann\n");
    }

    #[test]
    fn a_group_line_that_is_there_already_is_not_repeated() {
        assert_eq!(group("lab:x:2000:ann\n"), "lab:x:2000:ann\nusers:x:100:ann\n");
        assert_eq!(group("users:x:100:\n"), "users:x:100:\nusers:x:100:ann\nlab:x:2000:ann\n");
    }

    #[test]
    fn a_field_can_neither_end_its_line_nor_begin_another_field() {
        let mut forged = account();
        forged.gecos = b"x:0:0\nroot2:x:0:0::/:/bin/sh".into();
        let merged = merged_passwd(b"", &forged);
        assert_eq!(merged, b"ann:x:1000:100:x00root2x00//bin/sh:/home/ann:/bin/zsh\n");
    }
}
