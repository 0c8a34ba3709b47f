//! A user namespace of the caller's, and a mount namespace in it: what gives an ordinary user the power to mount.

use super::host;
use super::lent_ids::{Assistant, Lent, SETGROUPS};
use crate::error::{Doing, Failure, Outcome};
use crate::message::shown;
use crate::planning::Source;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{getegid, geteuid};
use rustix::thread::{CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Which ids exist in the namespace. Everything else belongs to nobody there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    user: Entry,
    group: Entry,
    lent: Option<Lent>,
    /// The namespace that this process is in, and no new one.
    present: bool,
}

/// One id of the host, and what it is in the namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    inside: u32,
    outside: u32,
}

impl Mapping {
    /// The caller as himself, and nobody else. A program that runs as he does keeps no capability.
    #[must_use]
    pub fn own() -> Self {
        let itself = |id| Entry { inside: id, outside: id };
        Self {
            user: itself(geteuid().as_raw()),
            group: itself(getegid().as_raw()),
            lent: None,
            present: false,
        }
    }

    /// The caller as root, and nobody else.
    #[must_use]
    pub fn root() -> Self {
        let root = |id| Entry { inside: 0, outside: id };
        Self { user: root(geteuid().as_raw()), group: root(getegid().as_raw()), lent: None, present: false }
    }

    /// Everybody who exists already, for root of a user namespace: in a new one only he would.
    #[must_use]
    pub fn present() -> Self {
        Self { present: true, ..Self::own() }
    }

    /// The caller as root, and as everybody from 1 on the ids that the host lends him.
    #[must_use]
    pub fn root_and(lent: Lent) -> Self {
        Self { lent: Some(lent), ..Self::root() }
    }

    /// Whether more than one id exists there.
    #[must_use]
    pub fn has_everybody(&self) -> bool {
        self.lent.is_some() || self.present
    }

    /// Of a single id, which takes nobody's help.
    fn write(&self) -> io::Result<()> {
        // Without this the kernel takes no group map from a user: leaving a group must not open what is closed to it.
        fs::write(SETGROUPS, "deny")?;
        for (file, Entry { inside, outside }) in [("uid_map", self.user), ("gid_map", self.group)] {
            fs::write(format!("/proc/self/{file}"), format!("{inside} {outside} 1"))?;
        }
        Ok(())
    }
}

/// Puts this process into a user namespace and a mount namespace of its own. `why` is for the message when this host
/// does not let users do that.
///
/// # Errors
/// The host forbids it or lends no ids, or the kernel cannot.
pub fn enter(mapping: &Mapping, why: &super::Reason) -> Outcome<()> {
    let assistant = mapping.lent.as_ref().map(Assistant::start).transpose()?;
    let user = if mapping.present { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    unshare(user | CloneFlags::CLONE_NEWNS).map_err(|error| refused(why, error))?;
    match assistant {
        Some(assistant) => assistant.map()?,
        None if mapping.present => {}
        None => mapping.write().doing(|| "mapping your ids into the user namespace".into())?,
    }
    // Where a security module takes the namespace's capabilities away, this is the first call that fails.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(|error| refused(why, error))
}

/// Puts this process, which is root's, into a mount namespace of its own.
///
/// # Errors
/// The host forbids it even to root, as some containers do.
pub fn enter_mounts() -> Outcome<()> {
    unshare_mounts().doing(|| "making a mount namespace".into())
}

/// The same, in the kernel's words.
pub(crate) fn unshare_mounts() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
}

/// Keeps the namespace's capabilities for the next program this process becomes: for anybody but root, exec would
/// take them away. Root keeps them for good, so he gains nothing more from here on, as everybody else in a container.
///
/// # Errors
/// None is known in a user namespace of one's own.
pub fn keep_capabilities() -> Outcome<()> {
    let doing = || "keeping the user namespace's capabilities".to_owned();
    if geteuid().is_root() {
        return nix::sys::prctl::set_no_new_privs().doing(doing);
    }
    let CapabilitySets { permitted, .. } = capabilities(None).doing(doing)?;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: permitted };
    set_capabilities(None, sets).doing(doing)?;
    for capability in permitted {
        configure_capability_in_ambient_set(capability, true).doing(doing)?;
    }
    Ok(())
}

fn refused(why: &super::Reason, error: Errno) -> Failure {
    let failure = match why {
        super::Reason::Asked | super::Reason::Fakeroot | super::Reason::Inside => {
            Failure::new("user namespaces cannot be used here")
        }
        why => Failure::new(format!("{why}, and user namespaces cannot be used here")),
    };
    match host::forbidding(host::sysctl) {
        Some(setting) => failure.because(format!("{} = {}", setting.name, setting.value)).hint(format!(
            "the administrator can allow them to users: 'sysctl -w {}={}'",
            setting.name, setting.allowing
        )),
        None => failure.because(error.desc()).hint(
            "a container, a service or a security module around this process may forbid them; 'doctor' says what is known",
        ),
    }
}

/// Sources as they were opened outside of a mount namespace, to be opened again inside: what is outside can neither
/// be bound nor stacked there.
pub struct Outside(Vec<(Source, PathBuf, FileStat)>);

impl Outside {
    /// Remembers what the sources are. Call it before [`enter`].
    ///
    /// # Errors
    /// A source cannot be looked at.
    pub fn of(sources: Vec<Source>) -> Outcome<Self> {
        let remember = |source: Source| {
            let looking = || format!("looking at {}", shown(&source.path));
            let place = fs::read_link(format!("/proc/self/fd/{}", source.file.as_raw_fd())).doing(looking)?;
            let found = fstat(&source.file).doing(looking)?;
            Ok((source, place, found))
        };
        Ok(Self(sources.into_iter().map(remember).collect::<Outcome<_>>()?))
    }

    /// Opens every one again, in the same way.
    ///
    /// # Errors
    /// Something else is at its place now.
    pub fn open_all_again(&self) -> Outcome<Vec<OwnedFd>> {
        (0..self.0.len()).map(|number| self.open_again(number)).collect()
    }

    /// Opens one again, in the same way.
    ///
    /// # Errors
    /// Something else is at its place now.
    pub fn open_again(&self, number: usize) -> Outcome<OwnedFd> {
        let (source, place, found) = self.get(number)?;
        open_again(source, place, found)
    }

    /// The source with this number, as it was opened outside.
    ///
    /// # Errors
    /// There is none.
    pub fn source(&self, number: usize) -> Outcome<&Source> {
        Ok(&self.get(number)?.0)
    }

    /// The kernel's name for where it is.
    ///
    /// # Errors
    /// There is none.
    pub fn place(&self, number: usize) -> Outcome<&Path> {
        Ok(&self.get(number)?.1)
    }

    fn get(&self, number: usize) -> Outcome<&(Source, PathBuf, FileStat)> {
        self.0.get(number).ok_or_else(|| Failure::new("the plan names a source that does not exist"))
    }
}

fn open_again(source: &Source, place: &Path, was: &FileStat) -> Outcome<OwnedFd> {
    let opening = || format!("opening {} in the user namespace", shown(&source.path));
    let flags = OFlag::from_bits_truncate(fcntl(&source.file, FcntlArg::F_GETFL).doing(opening)?);
    let kept = flags & (OFlag::O_ACCMODE | OFlag::O_PATH | OFlag::O_DIRECTORY);
    let again =
        nix::fcntl::open(place, kept | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty()).doing(opening)?;
    let is = fstat(&again).doing(opening)?;
    if (is.st_dev, is.st_ino) != (was.st_dev, was.st_ino) {
        return Err(Failure::new(format!("while {}: something else is there now", opening()))
            .hint("start it again; nothing was changed"));
    }
    Ok(again)
}
