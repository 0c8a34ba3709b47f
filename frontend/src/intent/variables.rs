//! Which variables the container gets, and from where.

use crate::cli::given::{Environment, items};
use crate::error::{Failure, Outcome, reason_of};
use crate::message::{self, shown};
use crate::payload::{EnvironmentFile, Text};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// Variables that `--cleanenv` keeps, in either case.
const KEPT: [&str; 5] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"];
/// Variables that always have the container's own value.
const NEVER_TAKEN_OVER: [&str; 3] = ["HOME", "PATH", "LD_LIBRARY_PATH"];
/// Directories that `USER_PATH` has after the caller's own.
const STANDARD_DIRECTORIES: &str = "/bin:/usr/bin:/sbin:/usr/sbin:/usr/local/bin:/usr/local/sbin";
/// Bytes of one `--env-file`: far more than the kernel passes on to a program.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The host's variables that the container starts from.
pub(super) fn imported(host: &Environment, clean: bool, left_out: &[OsString]) -> Vec<(Text, Text)> {
    let kept = |name: &OsStr| {
        if clean {
            return name == "TERM" || KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept));
        }
        let bytes = name.as_bytes();
        is_identifier(bytes)
            && !NEVER_TAKEN_OVER.iter().any(|own| name == *own)
            && !host.prefixes().iter().any(|prefix| speaks_to_us(bytes, prefix))
            && !left_out.iter().any(|left_out| left_out == name)
    };
    let mut variables: Vec<(Text, Text)> = host
        .variables()
        .iter()
        .filter(|(name, _)| kept(name) && name != "USER_PATH")
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    if !clean {
        let own = host.get("PATH").unwrap_or_default().as_bytes();
        let path = [own, STANDARD_DIRECTORIES.as_bytes()].join(&b':');
        variables.push((b"USER_PATH".to_vec(), path));
    }
    variables
}

/// `SINGULARITY_X` and `SINGULARITYENV_X`.
fn speaks_to_us(name: &[u8], prefix: &str) -> bool {
    name.strip_prefix(prefix.as_bytes())
        .is_some_and(|rest| rest.starts_with(b"_") || rest.starts_with(b"ENV_"))
}

fn is_identifier(name: &[u8]) -> bool {
    name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// `SINGULARITYENV_*` and `APPTAINERENV_*`; the preferred prefix comes last and so wins.
pub(super) fn prefixed(host: &Environment) -> Vec<(Text, Text)> {
    let mut found = Vec::new();
    for prefix in host.prefixes().iter().rev() {
        let prefix = format!("{prefix}ENV_");
        for (variable, value) in host.variables() {
            let name = variable.as_bytes().strip_prefix(prefix.as_bytes());
            if let Some(name) = name.filter(|name| is_identifier(name)) {
                found.push((name.to_vec(), value.as_bytes().to_vec()));
            }
        }
    }
    found
}

/// `--env`
///
/// # Errors
/// An item that is not `NAME=VALUE`.
pub(super) fn typed(items: &[OsString], files: &[EnvironmentFile]) -> Outcome<Vec<(Text, Text)>> {
    let mut found = Vec::new();
    for item in items {
        for (name, value) in assignments(item)? {
            if files.iter().any(|file| sets(&file.content, &name)) {
                let name = shown(OsStr::from_bytes(&name));
                message::warning(format!("--env {name} overrides the value of an environment file"));
            }
            found.push((name, value));
        }
    }
    Ok(found)
}

/// `A=1,B=2`. An item without `=` belongs to the value before it, which had a comma in it.
fn assignments(text: &OsStr) -> Outcome<Vec<(Text, Text)>> {
    let mut found: Vec<(Text, Text)> = Vec::new();
    for item in items(text) {
        let bytes = item.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=').filter(|at| is_identifier(&bytes[..*at]));
        match (equals, found.last_mut()) {
            (Some(equals), _) => found.push((bytes[..equals].to_vec(), bytes[equals + 1..].to_vec())),
            (None, Some((_, value))) => {
                value.push(b',');
                value.extend_from_slice(bytes);
            }
            (None, None) => {
                return Err(Failure::new(format!("--env {} must be formatted as NAME=VALUE", shown(text))));
            }
        }
    }
    Ok(found)
}

/// Whether a file plainly assigns a variable.
fn sets(content: &[u8], name: &[u8]) -> bool {
    content.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii_start();
        let line = line.strip_prefix(b"export ").unwrap_or(line);
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="))
    })
}

/// Reads the `--env-file` files.
///
/// # Errors
/// A file that cannot be read or is no plausible list of variables.
pub(super) fn read_files(names: &[OsString]) -> Outcome<Vec<EnvironmentFile>> {
    names.iter().map(|name| read_file(name)).collect()
}

fn read_file(name: &OsStr) -> Outcome<EnvironmentFile> {
    let failure =
        |why: String| Failure::new(format!("while reading environment file {}: {why}", shown(name)));
    let mut content = Vec::new();
    std::fs::File::open(name)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(|error| failure(reason_of(&error)))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(failure("it is larger than 1 MiB".into()));
    }
    if content.contains(&0) {
        return Err(failure("it has a NUL byte in it, so it is no text".into()));
    }
    Ok(EnvironmentFile { name: name.as_bytes().to_vec(), content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Dialect;

    fn host(variables: &[(&str, &str)]) -> Environment {
        let owned = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Environment::new(owned, Dialect::Singularity)
    }

    fn names(variables: &[(Text, Text)]) -> Vec<&str> {
        variables.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn host_variables_pass_but_those_that_speak_to_the_program_or_belong_to_the_container() {
        let host = host(&[
            ("EDITOR", "vi"),
            ("HOME", "/h"),
            ("PATH", "/p"),
            ("LD_LIBRARY_PATH", "/l"),
            ("SINGULARITY_BIND", "/x"),
            ("APPTAINERENV_X", "1"),
            ("BASH_FUNC_f%%", "()"),
            ("SINGULAR", "1"),
        ]);
        assert_eq!(names(&imported(&host, false, &[])), ["EDITOR", "SINGULAR", "USER_PATH"]);
        assert_eq!(names(&imported(&host, false, &["EDITOR".into()])), ["SINGULAR", "USER_PATH"]);
    }

    #[test]
    fn a_clean_environment_keeps_the_terminal_and_proxies() {
        let host = host(&[("TERM", "xterm"), ("HTTP_PROXY", "p"), ("no_proxy", "q"), ("EDITOR", "vi")]);
        assert_eq!(names(&imported(&host, true, &[])), ["TERM", "HTTP_PROXY", "no_proxy"]);
    }

    #[test]
    fn of_two_prefixes_the_preferred_one_comes_last() {
        let host =
            host(&[("SINGULARITYENV_X", "s"), ("APPTAINERENV_X", "a"), ("SINGULARITYENV_", "no name")]);
        let values: Vec<_> = prefixed(&host).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [b"a".to_vec(), b"s".to_vec()]);
    }

    #[test]
    fn typed_variables_may_have_commas_in_their_values() {
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        assert_eq!(typed(&["X=t,y,Z=1".into()], &[]).unwrap(), [pair("X", "t,y"), pair("Z", "1")]);
        assert!(typed(&["novalue".into()], &[]).is_err());
    }
}
