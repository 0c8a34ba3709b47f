//! `--fusemount`: which program serves which part of the container.

use super::container_path;
use crate::error::{Failure, Outcome};
use crate::message::shown;
use crate::payload::{FuseMount, Side};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Every item of `--fusemount`.
///
/// # Errors
/// One that is not `WHERE:COMMAND DIR`.
pub(super) fn parse(items: &[OsString]) -> Outcome<Vec<FuseMount>> {
    items.iter().map(|item| file_system(item)).collect()
}

fn file_system(item: &OsStr) -> Outcome<FuseMount> {
    let bytes = item.as_bytes().trim_ascii();
    let form = |text: String| {
        Failure::new(text).hint(
            "write --fusemount 'WHERE:COMMAND DIR', with container, host, container-daemon or host-daemon for WHERE",
        )
    };
    let (kind, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len()));
    let (side, daemon) = match kind {
        b"container" => (Side::Container, false),
        b"container-daemon" => (Side::Container, true),
        b"host" => (Side::Host, false),
        b"host-daemon" => (Side::Host, true),
        unknown => {
            let unknown = shown(OsStr::from_bytes(unknown));
            return Err(form(format!("fusemount spec begin with an unknown prefix {unknown}")));
        }
    };
    let words =
        rest.get(1..).unwrap_or_default().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut command: Vec<Vec<u8>> = words.map(<[u8]>::to_vec).collect();
    let place = command
        .pop()
        .filter(|_| !command.is_empty())
        .ok_or_else(|| form(format!("no whitespace separators found in command \"{}\"", shown(item))))?;
    let place = container_path(OsStr::from_bytes(&place), "--fusemount")?.as_bytes().to_vec();
    Ok(FuseMount { side, daemon, command, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(item: &str) -> Outcome<FuseMount> {
        file_system(OsStr::new(item))
    }

    #[test]
    fn the_last_word_is_the_mount_point_and_the_first_says_where_the_program_runs() {
        for (item, side, daemon) in [
            ("container:sshfs -o ro me@there:/a  /data", Side::Container, false),
            ("container-daemon: sshfs -o ro me@there:/a /data", Side::Container, true),
            ("host:sshfs -o ro me@there:/a\t/data/", Side::Host, false),
            (" host-daemon:sshfs -o ro me@there:/a /x/../data", Side::Host, true),
        ] {
            let wanted = FuseMount {
                side,
                daemon,
                command: ["sshfs", "-o", "ro", "me@there:/a"].map(|word| word.as_bytes().to_vec()).to_vec(),
                place: b"/data".into(),
            };
            assert_eq!(parsed(item).unwrap(), wanted, "{item}");
        }
    }

    #[test]
    fn what_has_another_form_is_refused_with_the_form() {
        for (item, said) in [
            ("sshfs there: /data", "unknown prefix sshfs there"),
            ("/data", "unknown prefix /data"),
            ("container:sshfs", "no whitespace separators found in command"),
            ("host: /data", "no whitespace separators found in command"),
            ("container:", "no whitespace separators found in command"),
            ("container:sshfs there: data", "must be an absolute path"),
        ] {
            let refused = parsed(item).unwrap_err().to_string();
            assert!(refused.contains(said), "{item}: {refused}");
        }
    }
}
