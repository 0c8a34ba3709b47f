//! Which of several images is the one to take.

use crate::documents::{Descriptor, Platform};
use frontend::cli::given::Given;
use frontend::error::{Failure, Outcome};
use frontend::message::shown;
use frontend::sif::Arch;

/// The platform that `--platform` or `--arch` name, or this machine's.
///
/// # Errors
/// Both are given, or one names no architecture.
pub(crate) fn wanted(given: &Given) -> Outcome<Platform> {
    let text = |flag: &str| given.last(flag).map(|value| value.to_string_lossy().into_owned());
    let of = |os: &str, architecture: &str, variant: Option<String>| {
        let known =
            if Arch::from_name(architecture).is_some() || architecture == "arm" { Some(()) } else { None };
        known.ok_or_else(|| Failure::new(format!("{} is no architecture", shown(architecture))))?;
        Ok(Platform { os: os.into(), architecture: architecture.into(), variant })
    };
    match (text("platform"), text("arch")) {
        (Some(_), Some(_)) => Err(Failure::new("--arch and --platform cannot be used together")),
        (Some(platform), None) => match platform.split('/').collect::<Vec<_>>().as_slice() {
            ["linux", architecture] => of("linux", architecture, None),
            ["linux", architecture, variant] => of("linux", architecture, Some((*variant).into())),
            _ => Err(Failure::new(format!("{} is no platform of containers", shown(&platform)))
                .hint("It has the form linux/ARCHITECTURE or linux/ARCHITECTURE/VARIANT")),
        },
        (None, Some(architecture)) => of("linux", &architecture, text("arch-variant")),
        (None, None) => Ok(Platform {
            os: "linux".into(),
            architecture: Arch::host().name().into(),
            variant: text("arch-variant"),
        }),
    }
}

/// The entry of an index for a platform.
///
/// # Errors
/// There is none; the message says which there are.
pub(crate) fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Outcome<&'a Descriptor> {
    let fits = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|platform| {
            platform.os == wanted.os
                && platform.architecture == wanted.architecture
                && (wanted.variant.is_none() || wanted.variant == platform.variant)
        })
    };
    // One image without a platform is the image.
    let only = || match entries {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    };
    entries.iter().find(fits).or_else(only).ok_or_else(|| {
        let known = entries.iter().filter_map(|entry| entry.platform.as_ref()).map(name);
        let known: Vec<String> = known.filter(|name| !name.starts_with("unknown")).collect();
        Failure::new(format!("there is no image for {}, only for: {}", name(wanted), known.join(", ")))
            .hint("Choose one of them with --platform")
    })
}

fn name(platform: &Platform) -> String {
    let variant = platform.variant.as_ref().map_or_else(String::new, |variant| format!("/{variant}"));
    shown(format!("{}/{}{variant}", platform.os, platform.architecture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontend::sif::Digest;
    use std::collections::BTreeMap;

    fn entry(size: u64, platform: Option<(&str, &str, Option<&str>)>) -> Descriptor {
        let platform = platform.map(|(os, architecture, variant)| Platform {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
        });
        let annotations = BTreeMap::new();
        Descriptor { media_type: String::new(), size, digest: Digest::of(b""), platform, annotations }
    }

    #[test]
    fn the_entry_with_the_right_platform_is_chosen() {
        let entries = [
            entry(1, Some(("windows", "amd64", None))),
            entry(2, Some(("linux", "arm", Some("v6")))),
            entry(3, Some(("linux", "arm", Some("v7")))),
            entry(4, Some(("linux", "amd64", None))),
            entry(5, Some(("unknown", "unknown", None))),
        ];
        let want = |architecture: &str, variant: Option<&str>| Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
        };
        assert_eq!(choose(&entries, &want("amd64", None)).unwrap().size, 4);
        assert_eq!(choose(&entries, &want("arm", Some("v7"))).unwrap().size, 3);
        assert_eq!(choose(&entries, &want("arm", None)).unwrap().size, 2);
        let refused = choose(&entries, &want("s390x", None)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "there is no image for linux/s390x, only for: windows/amd64, linux/arm/v6, linux/arm/v7, linux/amd64"
        );
        assert_eq!(choose(&[entry(9, None)], &want("arm64", None)).unwrap().size, 9);
    }
}
