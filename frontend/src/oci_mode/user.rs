//! Who an image's processes are.

use crate::error::{Failure, Outcome};
use crate::message::shown;
use crate::payload::Text;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Fields of a line of `/etc/passwd`, and of `/etc/group`.
const PASSWD_FIELDS: usize = 7;
const GROUP_FIELDS: usize = 4;

/// Somebody in the container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct User {
    /// User id.
    pub(super) uid: u32,
    /// Group id.
    pub(super) gid: u32,
    /// The home directory, where the image has an account for the user.
    pub(super) home: Option<Text>,
}

impl User {
    /// The user that an image names as `USER[:GROUP]`, looked up in its own account files. A number needs no account;
    /// its group is then 0.
    ///
    /// # Errors
    /// A name that the image has no account for.
    pub(super) fn named(text: &str, passwd: &[u8], group: &[u8]) -> Outcome<Self> {
        let (user, group_name) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let number: Option<u32> = user.parse().ok();
        let account = accounts(passwd).find(|account| match number {
            Some(uid) => account.uid == uid,
            None => account.name == user.as_bytes(),
        });
        let uid =
            number.or(account.as_ref().map(|account| account.uid)).ok_or_else(|| unknown("user", user))?;
        let gid = match group_name {
            Some(name) => group_id(name, group).ok_or_else(|| unknown("group", name))?,
            None => account.as_ref().map_or(0, |account| account.gid),
        };
        Ok(Self { uid, gid, home: account.map(|account| account.home.to_vec()) })
    }
}

fn unknown(what: &str, name: &str) -> Failure {
    let name = shown(OsStr::from_bytes(name.as_bytes()));
    Failure::new(format!("the image is to run as {what} {name}, whom its account files do not have"))
        .hint("only the image's author can mend that")
}

struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        let [name, _, uid, gid, _, home, _] = <[&[u8]; PASSWD_FIELDS]>::try_from(fields).ok()?;
        Some(Account { name, uid: id(uid)?, gid: id(gid)?, home })
    })
}

fn group_id(name: &str, group: &[u8]) -> Option<u32> {
    name.parse().ok().or_else(|| {
        group.split(|byte| *byte == b'\n').find_map(|line| {
            let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
            let [found, _, gid, _] = <[&[u8]; GROUP_FIELDS]>::try_from(fields).ok()?;
            (found == name.as_bytes()).then(|| id(gid)).flatten()
        })
    })
}

fn id(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:34::/srv:/bin/false\n";
    const GROUP: &[u8] = b"root:x:0:\nstaff:x:50:www\n";

    fn named(text: &str) -> (u32, u32, Option<Text>) {
        let user = User::named(text, PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.home)
    }

    #[test]
    fn a_user_is_a_name_or_a_number_with_or_without_a_group() {
        let srv = || Some(b"/srv".to_vec());
        assert_eq!(named("www"), (33, 34, srv()));
        assert_eq!(named("33"), (33, 34, srv()));
        assert_eq!(named("www:staff"), (33, 50, srv()));
        assert_eq!(named("33:7"), (33, 7, srv()));
        assert_eq!(named("1234"), (1234, 0, None));
        assert_eq!(named("1234:staff"), (1234, 50, None));
    }

    #[test]
    fn a_name_without_an_account_is_nobody() {
        for bad in ["nobody-here", "www:nogroup", "-1", ":5"] {
            assert!(User::named(bad, PASSWD, GROUP).is_err(), "{bad}");
        }
    }
}
