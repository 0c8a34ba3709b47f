//! Which line of `singularity.conf` decides about what: the starter's policy, asked for its reasons. The starter
//! itself decides anew; what is said here has no power.

use super::account_files::{GROUPS, USERS};
use crate::flow::Flow;
use config::{EnableOverlay, MountDev, MountPoints, Setting, Settings};
use protocol::{AccountFile, Content, Dev, Mount, Namespaces, Plan, Scratch, Writable};
use std::fmt;
use std::path::{Path, PathBuf};

/// A directive that was asked, and its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name.
    pub directive: &'static str,
    /// What it says, entries of a list separated by commas.
    pub value: String,
    /// The line that says so, counted from 1; `None` for a default.
    pub line: Option<u32>,
    /// Whether it lets what was asked about be.
    pub allows: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let verb = if self.allows { "allowed" } else { "refused" };
        let Self { directive, value, .. } = self;
        write!(out, "{verb} by '{directive} = {}'", crate::message::shown(value))?;
        match self.line {
            Some(line) => write!(out, " (line {line})"),
            None => write!(out, " (default)"),
        }
    }
}

/// What the limits on images ask about one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageFacts {
    /// Whether its file is a SIF.
    pub in_sif: bool,
    /// Owner and group.
    pub owner: (u32, u32),
    /// The kernel's name for it.
    pub place: PathBuf,
    /// Whether it still has a name and is not on FUSE, where a server could show something else each time.
    pub firm: bool,
}

/// The rules of a site for one caller.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What the site says.
    pub site: &'a Settings,
    /// Whether root asks: most limits do not bind root.
    pub root: bool,
    /// The way a container is started: in a user namespace nobody lends anything, so nothing is forbidden.
    pub flow: Flow,
}

fn one<T>(site: &Settings, directive: &'static str, setting: &Setting<T>, allows: bool) -> Rule {
    Rule { directive, value: site.texts(directive).unwrap_or_default().join(","), line: setting.line, allows }
}

impl Rules<'_> {
    fn switch(&self, directive: &'static str, setting: &Setting<bool>) -> Rule {
        one(self.site, directive, setting, setting.value)
    }

    /// Whether there may be a container at all.
    #[must_use]
    pub fn of_starting(&self) -> Vec<Rule> {
        if self.root || self.flow == Flow::UserNamespace {
            return Vec::new();
        }
        vec![self.switch("allow setuid", &self.site.allow_setuid)]
    }

    /// Whether this image may be used.
    #[must_use]
    pub fn of_image(&self, content: Content, facts: &ImageFacts) -> Vec<Rule> {
        let site = self.site;
        if self.flow == Flow::UserNamespace {
            return Vec::new();
        }
        let (bare, kernel) = match content {
            Content::Directory => (self.switch("allow container dir", &site.allow_container_dir), None),
            Content::Squashfs(_) => (
                self.switch("allow container squashfs", &site.allow_container_squashfs),
                Some(site.kernel_squashfs()),
            ),
            Content::Ext3(_) => {
                (self.switch("allow container extfs", &site.allow_container_extfs), Some(site.kernel_extfs()))
            }
        };
        let mut rules = vec![if facts.in_sif {
            self.switch("allow container sif", &site.allow_container_sif)
        } else {
            bare
        }];
        if self.root {
            return rules;
        }
        rules.extend(kernel.map(|(allows, directive, line)| Rule {
            directive,
            value: site.texts(directive).unwrap_or_default().join(","),
            line,
            allows,
        }));
        rules.extend(self.limits(facts));
        rules
    }

    /// The `limit container` directives that have entries.
    fn limits(&self, facts: &ImageFacts) -> Vec<Rule> {
        let site = self.site;
        let among = |entries: &[Setting<String>], accounts: &str, id: u32| {
            let file = std::fs::read(accounts).unwrap_or_default();
            let number = |name: &str| name.parse().ok().or_else(|| config::account_id(&file, name));
            facts.firm && entries.iter().any(|entry| number(&entry.value) == Some(id))
        };
        let (owner, group) = facts.owner;
        let inside = site.limit_container_paths.iter().any(|entry| {
            let folder = Path::new(entry.value.as_str());
            let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            facts.firm && facts.place.starts_with(folder)
        });
        let owners = &site.limit_container_owners;
        let groups = &site.limit_container_groups;
        [
            self.list("limit container owners", owners, || among(owners, USERS, owner)),
            self.list("limit container groups", groups, || among(groups, GROUPS, group)),
            self.list("limit container paths", &site.limit_container_paths, || inside),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What a list says, if it has entries.
    fn list<T>(
        &self,
        directive: &'static str,
        entries: &[Setting<T>],
        allows: impl FnOnce() -> bool,
    ) -> Option<Rule> {
        entries.first().map(|first| one(self.site, directive, first, allows()))
    }

    /// Whether the root may have layers.
    #[must_use]
    pub fn of_overlay(&self) -> Rule {
        let setting = &self.site.enable_overlay;
        let by_fuse = self.flow == Flow::UserNamespace && setting.value == EnableOverlay::Driver;
        one(self.site, "enable overlay", setting, self.site.kernel_overlay() || by_fuse)
    }

    /// Where writes go, if that is more than the image itself.
    #[must_use]
    pub fn of_writable(&self, writable: &Writable) -> Vec<Rule> {
        match writable {
            Writable::Nothing | Writable::Root => Vec::new(),
            Writable::Overlay(_) => vec![self.of_overlay()],
            Writable::Tmpfs => std::iter::once(self.of_overlay()).chain(self.memory()).collect(),
        }
    }

    /// Whether changes to a directory may go into an image, where that is asked.
    #[must_use]
    pub fn of_image_over_directory(&self, plan: &Plan) -> Option<Rule> {
        let image = matches!(&plan.writable, Writable::Overlay(upper) if upper.content != Content::Directory);
        let asked = image && plan.root.content == Content::Directory;
        let binds = !self.root && self.flow == Flow::Setuid;
        (asked && binds)
            .then(|| self.switch("allow image overlay on dir", &self.site.allow_image_overlay_on_dir))
    }

    fn memory(&self) -> Option<Rule> {
        let size = &self.site.sessiondir_max_size;
        (!self.root || self.flow == Flow::UserNamespace)
            .then(|| one(self.site, "sessiondir max size", size, true))
    }

    /// Whether this may be mounted.
    #[must_use]
    pub fn of_mount(&self, mount: &Mount, chosen_home: bool) -> Vec<Rule> {
        let site = self.site;
        let user = || self.switch("user bind control", &site.user_bind_control);
        let home = || self.switch("mount home", &site.mount_home);
        let tmp = || self.switch("mount tmp", &site.mount_tmp);
        match mount {
            Mount::Dev(dev) => self.of_dev(*dev),
            Mount::Proc => vec![self.switch("mount proc", &site.mount_proc)],
            Mount::Sys => vec![self.switch("mount sys", &site.mount_sys)],
            Mount::Tmp | Mount::VarTmp => vec![tmp()],
            Mount::ResolvConf => vec![self.switch("config resolv_conf", &site.config_resolv_conf)],
            Mount::SiteBind(destination) => self.of_site_bind(destination.as_bytes()).into_iter().collect(),
            Mount::Home(_) if chosen_home => vec![home(), user()],
            Mount::Home(_) => vec![home()],
            Mount::Hostfs(_) => vec![self.switch("mount hostfs", &site.mount_hostfs)],
            Mount::User(_) | Mount::Data { .. } => vec![user()],
            Mount::Scratch { destination, purpose } => {
                let temporary = [&b"/tmp"[..], b"/var/tmp"].contains(&destination.as_bytes());
                let rule = match purpose {
                    Scratch::Tmp if temporary => tmp(),
                    Scratch::Home => home(),
                    Scratch::Tmp | Scratch::Work => user(),
                };
                std::iter::once(rule).chain(self.memory()).collect()
            }
        }
    }

    /// Whether FUSE file systems may be mounted for users.
    #[must_use]
    pub fn of_file_system(&self) -> Rule {
        self.switch("enable fusemount", &self.site.enable_fusemount)
    }

    fn of_dev(&self, dev: Dev) -> Vec<Rule> {
        let setting = &self.site.mount_dev;
        let allows = match (setting.value, dev) {
            (MountDev::Yes, _) | (MountDev::Minimal, Dev::Minimal { .. }) => true,
            (MountDev::Minimal, Dev::Host) | (MountDev::No, _) => false,
        };
        let terminals = matches!(dev, Dev::Minimal { terminals: true, .. });
        let devpts = terminals.then(|| self.switch("mount devpts", &self.site.mount_devpts));
        std::iter::once(one(self.site, "mount dev", setting, allows)).chain(devpts).collect()
    }

    /// The entry of `bind path` with that destination.
    fn of_site_bind(&self, destination: &[u8]) -> Option<Rule> {
        let entries = self.site.bind_path.iter();
        let (entry, source, place) = entries
            .map(|entry| {
                let (source, place) = config::bind_path_parts(&entry.value);
                (entry, source, place)
            })
            .find(|(_, _, place)| place.as_bytes() == destination)?;
        let value = if source == place { source.to_owned() } else { format!("{source}:{place}") };
        Some(Rule { directive: "bind path", value, line: entry.line, allows: true })
    }

    /// Whether this file may be written for the container.
    #[must_use]
    pub fn of_account_file(&self, file: AccountFile) -> Vec<Rule> {
        let site = self.site;
        match file {
            AccountFile::Passwd => vec![self.switch("config passwd", &site.config_passwd)],
            AccountFile::Group => vec![self.switch("config group", &site.config_group)],
            AccountFile::Hostname => vec![self.switch("allow uts ns", &site.allow_uts_ns)],
            AccountFile::ResolvConf => vec![self.switch("config resolv_conf", &site.config_resolv_conf)],
        }
    }

    /// Whether these namespaces may be the container's own.
    #[must_use]
    pub fn of_namespaces(&self, namespaces: Namespaces) -> Vec<Rule> {
        let site = self.site;
        [
            (namespaces.pid, "allow pid ns", &site.allow_pid_ns),
            (namespaces.ipc, "allow ipc ns", &site.allow_ipc_ns),
            (namespaces.uts, "allow uts ns", &site.allow_uts_ns),
        ]
        .into_iter()
        .filter(|(wanted, _, _)| *wanted)
        .map(|(_, directive, setting)| self.switch(directive, setting))
        .collect()
    }

    /// How a mount point that the image lacks is made, and the directive that says so.
    #[must_use]
    pub fn of_mount_points(&self) -> (&'static str, Rule) {
        let setting = &self.site.enable_underlay;
        let underlay = |allows| one(self.site, "enable underlay", setting, allows);
        match self.site.mount_points() {
            MountPoints::Overlay => ("made in a layer of their own", self.of_overlay()),
            MountPoints::Underlay => ("made by binding what is around them", underlay(true)),
            MountPoints::None => ("not made", underlay(false)),
        }
    }

    /// What the site keeps from every container, and by which rule.
    #[must_use]
    pub fn withheld(&self) -> Vec<(&'static str, Rule)> {
        let site = self.site;
        let dev = one(site, "mount dev", &site.mount_dev, site.mount_dev.value != MountDev::No);
        let all = [
            ("/dev", dev),
            ("/proc", self.switch("mount proc", &site.mount_proc)),
            ("/sys", self.switch("mount sys", &site.mount_sys)),
            ("home directory", self.switch("mount home", &site.mount_home)),
            ("/tmp and /var/tmp", self.switch("mount tmp", &site.mount_tmp)),
            ("file systems of the host", self.switch("mount hostfs", &site.mount_hostfs)),
            ("what the user asks for", self.switch("user bind control", &site.user_bind_control)),
            ("resolv.conf of the host", self.switch("config resolv_conf", &site.config_resolv_conf)),
        ];
        all.into_iter().filter(|(_, rule)| !rule.allows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{ContainerPath, Window};

    const SQUASHFS: Content = Content::Squashfs(Window { offset: 0, size: 1 });

    fn facts() -> ImageFacts {
        ImageFacts { in_sif: true, owner: (1000, 100), place: "/images/a.sif".into(), firm: true }
    }

    fn said(text: &str, root: bool, ask: impl FnOnce(Rules) -> Vec<Rule>) -> Vec<String> {
        let site = Settings::parse(text.as_bytes()).unwrap();
        let rules = ask(Rules { site: &site, root, flow: Flow::Setuid });
        rules.iter().map(Rule::to_string).collect()
    }

    #[test]
    fn each_rule_names_its_line_or_that_it_is_a_default() {
        assert_eq!(
            said("\nallow kernel squashfs = no\n", false, |rules| { rules.of_image(SQUASHFS, &facts()) }),
            [
                "allowed by 'allow container sif = yes' (default)",
                "refused by 'allow kernel squashfs = no' (line 2)",
            ]
        );
    }

    #[test]
    fn limits_bind_users_and_not_root() {
        let text = "limit container owners = root, 1000\nlimit container groups = root\nlimit container paths = /images\n";
        let users = said(text, false, |rules| rules.of_image(SQUASHFS, &facts()));
        assert_eq!(
            users[2..],
            [
                "allowed by 'limit container owners = root,1000' (line 1)",
                "refused by 'limit container groups = root' (line 2)",
                "allowed by 'limit container paths = /images' (line 3)",
            ]
        );
        assert_eq!(said(text, true, |rules| rules.of_image(SQUASHFS, &facts())).len(), 1);
        let infirm = ImageFacts { firm: false, ..facts() };
        let refused = said(text, false, |rules| rules.of_image(SQUASHFS, &infirm));
        assert!(refused[2..].iter().all(|rule| rule.starts_with("refused")));
    }

    #[test]
    fn a_mount_is_explained_by_its_directive() {
        let path = |text: &str| ContainerPath::new(text.as_bytes().to_vec()).unwrap();
        let scratch = |place, purpose| Mount::Scratch { destination: path(place), purpose };
        for (mount, wanted) in [
            (Mount::Proc, "allowed by 'mount proc = yes' (default)"),
            (Mount::Dev(Dev::Host), "refused by 'mount dev = minimal' (line 1)"),
            (Mount::SiteBind(path("/b")), "allowed by 'bind path = /a:/b' (line 2)"),
            (scratch("/tmp", Scratch::Tmp), "refused by 'mount tmp = no' (line 3)"),
            (scratch("/x", Scratch::Work), "allowed by 'user bind control = yes' (default)"),
        ] {
            let text = "mount dev = minimal\nbind path = /etc, /a:/b\nmount tmp = no\n";
            let said = said(text, false, |rules| rules.of_mount(&mount, false));
            assert_eq!(said[0], wanted, "{mount:?}");
        }
    }

    #[test]
    fn mount_points_are_made_as_the_site_says() {
        for (text, wanted) in [
            ("", "made in a layer of their own"),
            ("enable overlay = no", "made by binding what is around them"),
            ("enable underlay = preferred", "made by binding what is around them"),
            ("enable overlay = no\nenable underlay = no", "not made"),
        ] {
            let site = Settings::parse(text.as_bytes()).unwrap();
            let rules = Rules { site: &site, root: false, flow: Flow::Setuid };
            assert_eq!(rules.of_mount_points().0, wanted, "{text}");
        }
    }
}
