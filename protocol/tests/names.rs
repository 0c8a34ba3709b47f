//! Paths and host names: what is one, and the named maxima.

use proptest::prelude::*;
use protocol::path::{COMPONENT_BYTES_MAX, COMPONENTS_MAX, PATH_BYTES_MAX, PathError};
use protocol::{ContainerPath, HOSTNAME_BYTES_MAX, Hostname};

fn path(bytes: impl Into<Vec<u8>>) -> Result<ContainerPath, PathError> {
    ContainerPath::new(bytes.into())
}

/// A path of this many bytes, of components no longer than allowed.
fn long(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| if n % (COMPONENT_BYTES_MAX + 1) == 0 { b'/' } else { b'x' }).collect()
}

#[test]
fn a_path_is_absolute_and_below_the_root() {
    for bad in ["", "/", "a", "a/b", "./a", "\0/a"] {
        assert_eq!(path(bad), Err(PathError::NotBelowRoot), "{bad:?}");
    }
}

#[test]
fn a_path_has_one_spelling() {
    for bad in ["//", "/a/", "//a", "/a//b", "/.", "/..", "/a/../b", "/./a", "/a/.", "/a\0b"] {
        assert_eq!(path(bad), Err(PathError::NotCanonical), "{bad:?}");
    }
    for good in ["/a", "/...", "/.a", "/a..", "/a b", "/a,b=c:d\\\"'\n"] {
        assert!(path(good).is_ok(), "{good:?}");
    }
}

#[test]
fn a_path_is_bounded() {
    assert!(path(long(PATH_BYTES_MAX)).is_ok());
    assert_eq!(path(long(PATH_BYTES_MAX + 1)), Err(PathError::TooLong));
}

#[test]
fn a_component_is_bounded() {
    let of = |bytes: usize| path(format!("/a/{}/b", "x".repeat(bytes)));
    assert!(of(COMPONENT_BYTES_MAX).is_ok());
    assert_eq!(of(COMPONENT_BYTES_MAX + 1), Err(PathError::TooLong));
}

#[test]
fn the_number_of_components_is_bounded() {
    assert!(path("/x".repeat(COMPONENTS_MAX)).is_ok());
    assert_eq!(path("/x".repeat(COMPONENTS_MAX + 1)), Err(PathError::TooLong));
}

#[test]
fn a_path_is_shown_on_one_line_of_plain_text() {
    assert_eq!(path("/a\n\x1b[31m\"\u{e9}").unwrap().to_string(), "/a\\n\\x1b[31m\\\"\\xc3\\xa9");
}

#[test]
fn a_host_name_is_bounded() {
    let of = |bytes: usize| Hostname::new("h".repeat(bytes));
    assert!(of(1).is_ok() && of(HOSTNAME_BYTES_MAX).is_ok());
    assert!(of(0).is_err() && of(HOSTNAME_BYTES_MAX + 1).is_err());
}

#[test]
fn a_host_name_is_made_of_letters_digits_dots_and_dashes() {
    for good in ["a", "A-1.b", "1", "a-", "a."] {
        assert!(Hostname::new(good.into()).is_ok(), "{good:?}");
    }
    for bad in ["-a", ".a", "a b", "a/b", "a\0", "a\n", "a_b", "\u{e9}"] {
        assert!(Hostname::new(bad.into()).is_err(), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_components_of_a_path_put_together_are_the_path(bytes in "(/[^/\0]{1,9}){1,9}") {
        if let Ok(path) = path(bytes.clone()) {
            let joined: Vec<u8> = path.components().flat_map(|name| [b"/", name].concat()).collect();
            prop_assert_eq!(&joined, path.as_bytes());
            prop_assert_eq!(joined, bytes.into_bytes());
        }
    }
}
