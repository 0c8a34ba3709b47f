//! Which way a container is started: through the setuid starter, where root lends the power to mount under the
//! site's rules, or in a user namespace, where the caller holds it himself. [`choose`] decides; nothing else does.

mod facts;
pub mod fakeroot;
pub mod host;
pub mod lent_ids;
pub mod namespace;
pub mod ownership;
pub mod proc;
pub mod serving;

pub use facts::{Facts, Need};

use std::fmt;

/// Where the power to mount comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// `starter-suid`: the kernel mounts image files, as the site's policy allows.
    Setuid,
    /// `starter`, in a user namespace of the caller's: the kernel mounts directories only.
    UserNamespace,
}

impl Flow {
    /// A word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Setuid => "setuid",
            Self::UserNamespace => "user-namespace",
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Setuid => "the setuid starter",
            Self::UserNamespace => "a user namespace",
        })
    }
}

/// Why it is this flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The setuid starter is installed, and nothing speaks against it.
    Installed,
    /// Root needs no setuid bit.
    Root,
    /// `--userns`
    Asked,
    /// `--fakeroot`
    Fakeroot,
    /// `--oci`
    Oci,
    /// This process is in a user namespace already, where a setuid bit gives nothing of the host's.
    Inside,
    /// The setuid starter has no power here; why.
    Powerless(String),
    /// `allow setuid = no`, in this line of the site's file.
    Disallowed(Option<u32>),
    /// The setuid starter would refuse this to a user.
    Needed(Need),
}

impl Reason {
    /// The flow it leads to.
    #[must_use]
    pub fn flow(&self) -> Flow {
        match self {
            Self::Installed | Self::Root => Flow::Setuid,
            Self::Asked
            | Self::Fakeroot
            | Self::Oci
            | Self::Inside
            | Self::Powerless(_)
            | Self::Disallowed(_)
            | Self::Needed(_) => Flow::UserNamespace,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Installed => out.write_str("it is installed, and nothing speaks against it"),
            Self::Root => out.write_str("root needs no other"),
            Self::Asked => out.write_str("asked for with --userns"),
            Self::Fakeroot => out.write_str("asked for with --fakeroot"),
            Self::Oci => out.write_str("OCI mode is a user's own"),
            Self::Inside => out.write_str("this is a user namespace already"),
            Self::Powerless(why) => out.write_str(why),
            Self::Disallowed(line) => {
                out.write_str("suid workflow disabled by administrator ('allow setuid = no'")?;
                line.map_or(Ok(()), |line| write!(out, ", line {line}"))?;
                out.write_str(")")
            }
            Self::Needed(need) => need.fmt(out),
        }
    }
}

/// Decides. What the caller asked for comes first, then what cannot be otherwise, then what the plan needs.
#[must_use]
pub fn choose(facts: &Facts) -> Reason {
    if facts.fakeroot {
        Reason::Fakeroot
    } else if facts.asked {
        Reason::Asked
    } else if facts.inside {
        Reason::Inside
    } else if facts.root {
        Reason::Root
    } else if facts.oci {
        Reason::Oci
    } else if let Some(why) = &facts.powerless {
        Reason::Powerless(why.clone())
    } else if let Some(line) = facts.disallowed {
        Reason::Disallowed(line)
    } else if let Some(need) = facts.needs.first() {
        Reason::Needed(*need)
    } else {
        Reason::Installed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user on a host with a setuid installation.
    fn ordinary() -> Facts {
        Facts {
            fakeroot: false,
            asked: false,
            oci: false,
            inside: false,
            root: false,
            powerless: None,
            disallowed: None,
            needs: Vec::new(),
        }
    }

    #[test]
    fn the_flow_follows_from_the_facts() {
        let powerless = || Some("no setuid bit".to_owned());
        let overlay = || vec![Need::DirectoryOverlay];
        for (facts, wanted) in [
            (ordinary(), Reason::Installed),
            (Facts { root: true, ..ordinary() }, Reason::Root),
            (Facts { root: true, powerless: powerless(), ..ordinary() }, Reason::Root),
            (Facts { root: true, disallowed: Some(Some(3)), ..ordinary() }, Reason::Root),
            (Facts { root: true, needs: overlay(), ..ordinary() }, Reason::Root),
            (Facts { root: true, inside: true, ..ordinary() }, Reason::Inside),
            (Facts { root: true, asked: true, ..ordinary() }, Reason::Asked),
            (Facts { root: true, asked: true, fakeroot: true, ..ordinary() }, Reason::Fakeroot),
            (Facts { fakeroot: true, inside: true, ..ordinary() }, Reason::Fakeroot),
            (Facts { oci: true, powerless: powerless(), ..ordinary() }, Reason::Oci),
            (Facts { root: true, oci: true, ..ordinary() }, Reason::Root),
            (Facts { asked: true, powerless: powerless(), ..ordinary() }, Reason::Asked),
            (Facts { inside: true, powerless: powerless(), ..ordinary() }, Reason::Inside),
            (Facts { powerless: powerless(), disallowed: Some(Some(3)), ..ordinary() }, {
                Reason::Powerless("no setuid bit".into())
            }),
            (
                Facts { disallowed: Some(Some(3)), needs: overlay(), ..ordinary() },
                Reason::Disallowed(Some(3)),
            ),
            (Facts { needs: overlay(), ..ordinary() }, Reason::Needed(Need::DirectoryOverlay)),
        ] {
            assert_eq!(choose(&facts), wanted, "{facts:?}");
        }
    }

    #[test]
    fn only_root_and_a_working_installation_lead_to_the_setuid_starter() {
        for (reason, flow) in [
            (Reason::Installed, Flow::Setuid),
            (Reason::Root, Flow::Setuid),
            (Reason::Asked, Flow::UserNamespace),
            (Reason::Fakeroot, Flow::UserNamespace),
            (Reason::Oci, Flow::UserNamespace),
            (Reason::Inside, Flow::UserNamespace),
            (Reason::Powerless("no setuid bit".into()), Flow::UserNamespace),
            (Reason::Disallowed(Some(3)), Flow::UserNamespace),
            (Reason::Needed(Need::DirectoryOverlay), Flow::UserNamespace),
        ] {
            assert_eq!(reason.flow(), flow, "{reason}");
        }
    }
}
