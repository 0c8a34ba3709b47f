//! `--oci`: what it implies, and what it leaves no room for.

use crate::cli::given::Given;
use crate::error::{Failure, Outcome};

/// A container in OCI mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oci {
    /// Isolated from the host, and with a root that can be written to in memory. Off with `--no-compat`.
    pub compat: bool,
}

/// Settles the switches about OCI mode, and has them imply others.
///
/// # Errors
/// Switches that contradict each other, and those that have no meaning in OCI mode.
pub(super) fn settle(given: &mut Given) -> Outcome<Option<Oci>> {
    let contradiction = |one: &str, other: &str| {
        Err(Failure::new(format!("--{one} and --{other} contradict each other"))
            .hint(format!("leave out --{one} or --{other}")))
    };
    if given.is_on("oci") && given.is_on("no-oci") {
        return contradiction("oci", "no-oci");
    }
    if !given.is_on("oci") {
        return match ["no-compat", "keep-layers"].iter().find(|name| given.is_on(name)) {
            Some(name) => {
                Err(Failure::new(format!("--{name} is for OCI mode")).hint("add --oci, or leave it out"))
            }
            None => Ok(None),
        };
    }
    let compat = !given.is_on("no-compat");
    if given.is_on("compat") && !compat {
        return contradiction("compat", "no-compat");
    }
    if given.last("app").is_some() {
        return meaningless("app", "an OCI image has no apps: name the program with 'exec'");
    }
    if given.is_on("tmp-sandbox") {
        return meaningless("tmp-sandbox", "the layers of an image are mounted; leave it out");
    }
    if given.all("no-mount").iter().any(|name| name == "proc") {
        return meaningless("no-mount proc", "the program is started through /proc; leave it out");
    }
    if !given.all("fusemount").is_empty() {
        return meaningless("fusemount", "mount the file system on the host and show it with --bind");
    }
    // A PID namespace ends with its first process, and everything in it.
    given.imply("pid");
    if compat {
        for name in ["containall", "no-umask", "no-eval"] {
            given.imply(name);
        }
    }
    Ok(Some(Oci { compat }))
}

fn meaningless(flag: &str, instead: &str) -> Outcome<Option<Oci>> {
    Err(Failure::new(format!("--{flag} is not supported in OCI mode")).hint(instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(switches: &[&'static str]) -> (Outcome<Option<Oci>>, Given) {
        let mut given = Given::default();
        switches.iter().for_each(|name| given.imply(name));
        (settle(&mut given), given)
    }

    #[test]
    fn oci_mode_isolates_unless_it_is_told_not_to() {
        let (oci, given) = settled(&["oci"]);
        assert_eq!(oci.unwrap(), Some(Oci { compat: true }));
        assert!(["pid", "containall", "no-umask", "no-eval"].iter().all(|name| given.is_on(name)));
        assert!(!given.is_on("no-init") && !given.is_on("writable-tmpfs"));
        let (oci, given) = settled(&["oci", "no-compat"]);
        assert_eq!(oci.unwrap(), Some(Oci { compat: false }));
        assert!(given.is_on("pid") && !given.is_on("containall"));
        assert_eq!(settled(&[]).0.unwrap(), None);
    }

    #[test]
    fn what_contradicts_itself_or_has_no_meaning_is_refused_by_name() {
        for (switches, named) in [
            (&["oci", "no-oci"][..], "--no-oci"),
            (&["no-compat"], "--no-compat"),
            (&["keep-layers"], "--keep-layers"),
            (&["oci", "compat", "no-compat"], "--compat"),
            (&["oci", "tmp-sandbox"], "--tmp-sandbox"),
        ] {
            let refused = settled(switches).0.unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
