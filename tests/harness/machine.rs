//! What `packaging/test up` put on this machine.

use nix::unistd::{Gid, Uid};
use std::path::{Path, PathBuf};

/// The prefix that `packaging/test` builds for.
const PREFIX: &str = "/opt/lamina-test";
/// The variable that names another installation to look at.
const PREFIX_VARIABLE: &str = "LAMINA_TEST_PREFIX";

/// Paths of the installed product.
#[derive(Debug)]
pub struct Installed {
    prefix: PathBuf,
}

/// The installed product. Panics where there is none, or this process may not use it as tests must.
pub fn installed() -> Installed {
    assert!(Uid::effective().is_root(), "end-to-end tests become other users and must be started as root");
    let prefix = std::env::var_os(PREFIX_VARIABLE).unwrap_or_else(|| PREFIX.into());
    let installed = Installed { prefix: prefix.into() };
    assert!(
        installed.lamina().exists(),
        "nothing is installed in {}: run `packaging/test up` first",
        installed.prefix.display()
    );
    installed
}

impl Installed {
    /// The folder below which everything was installed.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The frontend.
    pub fn lamina(&self) -> PathBuf {
        self.prefix.join("bin/lamina")
    }

    /// The setuid starter.
    pub fn starter_suid(&self) -> PathBuf {
        self.prefix.join("libexec/lamina/bin/starter-suid")
    }

    /// The site's configuration.
    pub fn singularity_conf(&self) -> PathBuf {
        self.prefix.join("etc/singularity/singularity.conf")
    }
}

/// Somebody with an account on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: Uid,
    /// Primary group.
    pub gid: Gid,
    /// Every group; test users are in no other than their primary one.
    pub groups: Vec<Gid>,
}

impl User {
    /// The ordinary user whose tests these are.
    pub fn first() -> Self {
        Self::named("laminatest1")
    }

    /// Another ordinary user, with an id above 65535.
    pub fn second() -> Self {
        Self::named("laminatest2")
    }

    /// The administrator.
    pub fn root() -> Self {
        Self::named("root")
    }

    /// The same user, in other groups.
    pub fn in_groups(self, groups: Vec<Gid>) -> Self {
        Self { groups, ..self }
    }

    fn named(name: &str) -> Self {
        let account = nix::unistd::User::from_name(name).expect("the account database can be read");
        let account =
            account.unwrap_or_else(|| panic!("there is no user {name}: run `packaging/test up` first"));
        Self { name: name.to_owned(), uid: account.uid, gid: account.gid, groups: vec![account.gid] }
    }
}
