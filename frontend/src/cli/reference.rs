//! What an image is named by: a path, or a reference to something that has to be fetched.

use crate::error::{Failure, Outcome};
use crate::message::shown;
use std::ffi::OsStr;

/// The schemes of references that the program for the network understands, if only to say why it cannot help.
const FETCHED: [&str; 10] = [
    "docker",
    "oras",
    "library",
    "shub",
    "oci",
    "oci-archive",
    "docker-archive",
    "docker-daemon",
    "http",
    "https",
];

/// The scheme of a reference and what follows it; `None` for a path. A reference is one where it has `://`, or a known
/// scheme before its first colon.
///
/// # Errors
/// It has a scheme that names no image.
pub fn split(image: &OsStr) -> Outcome<Option<(&'static str, &str)>> {
    let Some((before, rest)) = image.to_str().and_then(|text| text.split_once(':')) else {
        return Ok(None);
    };
    if let Some(scheme) = FETCHED.iter().find(|scheme| before.eq_ignore_ascii_case(scheme)) {
        return Ok(Some((scheme, rest.strip_prefix("//").unwrap_or(rest))));
    }
    let unable = format!("Unable to handle {} uri", shown(image));
    match before {
        "instance" => Err(Failure::new(format!("{unable}: an instance is no image"))
            .hint("exec, run, shell and test go into a running instance")),
        _ if rest.starts_with("//") && is_scheme(before) => {
            Err(Failure::new(format!("{unable}: unsupported transport type: {before}")))
        }
        _ => Ok(None),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_told_from_a_path() {
        let split = |text: &'static str| split(OsStr::new(text));
        assert_eq!(split("docker://alpine:latest").unwrap(), Some(("docker", "alpine:latest")));
        assert_eq!(split("OCI-archive:x.tar:tag").unwrap(), Some(("oci-archive", "x.tar:tag")));
        for path in ["alpine.sif", "ubuntu:18.04.img", "./a b://c", "/tmp/x", "://"] {
            assert_eq!(split(path).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn a_scheme_that_nobody_knows_is_named() {
        let refused = split(OsStr::new("gopher://x")).unwrap_err().to_string();
        assert_eq!(refused, "Unable to handle gopher://x uri: unsupported transport type: gopher");
    }
}
