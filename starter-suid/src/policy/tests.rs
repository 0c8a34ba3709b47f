//! Tables of cases: one for each rule. A case starts from a run that is permitted and changes one thing.

use super::*;
use config::{Enforcer, TABLE};
use nix::unistd::{Gid, Uid};
use proptest::prelude::*;
use protocol::{Descriptor, Namespaces};
use std::collections::BTreeSet;

const USER: u32 = 1000;
const EXT4_MAGIC: u64 = 0xEF53;
const WINDOW: Window = Window { offset: 4096, size: 8192 };

/// One request: who, what, and what the kernel says of the sources.
#[derive(Clone, Debug)]
pub struct Request {
    caller: Caller,
    pub plan: Plan,
    pub facts: Vec<Facts>,
}

impl Request {
    /// A user runs a bare squashfs.
    pub fn new() -> Self {
        let root = Image { descriptor: Descriptor(0), content: Content::Squashfs(WINDOW) };
        let plan = Plan {
            root,
            layers: vec![],
            writable: Writable::Nothing,
            mounts: vec![],
            namespaces: Namespaces::default(),
            hostname: None,
            account_files: vec![],
            instance: false,
            warnings: true,
        };
        Self { caller: caller(USER), plan, facts: vec![facts_of(root.content)] }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn by_root(self) -> Self {
        self.with(|request| request.caller = caller(0))
    }

    /// Another root.
    pub fn root(self, content: Content) -> Self {
        self.with(|request| {
            request.plan.root.content = content;
            request.facts[0] = facts_of(content);
        })
    }

    fn in_sif(self) -> Self {
        self.with(|request| request.facts[0].in_sif = true)
    }

    /// A new source with good facts.
    fn image(&mut self, content: Content) -> Image {
        let descriptor = Descriptor(u16::try_from(self.facts.len()).expect("few sources"));
        self.facts.push(facts_of(content));
        Image { descriptor, content }
    }

    pub fn layer(self, content: Content) -> Self {
        self.with(|request| {
            let image = request.image(content);
            request.plan.layers.push(image);
        })
    }

    fn writable(self, writable: Writable) -> Self {
        self.with(|request| request.plan.writable = writable)
    }

    fn overlay(self, content: Content) -> Self {
        self.with(|request| {
            let image = request.image(content);
            request.plan.writable = Writable::Overlay(image);
        })
    }

    fn mount(self, mount: Mount) -> Self {
        self.with(|request| request.plan.mounts.push(mount))
    }

    /// A mount of a host's directory that lies at `place` and belongs to the user.
    fn bind(self, kind: fn(Bind) -> Mount, place: &str, destination: &str) -> Self {
        self.with(|request| {
            let source = request.image(Content::Directory);
            let facts = request.facts.last_mut().expect("just added");
            facts.place = Some(place.into());
            facts.mount_root = true;
            request.plan.mounts.push(kind(Bind {
                descriptor: source.descriptor,
                destination: path(destination),
                read_only: false,
                optional: false,
            }));
        })
    }

    fn data(self, content: Content, writable: bool) -> Self {
        self.with(|request| {
            let image = request.image(content);
            let destination = path("/data");
            request.plan.mounts.push(Mount::Data { image, within: None, destination, writable });
        })
    }

    fn scratch(self, purpose: Scratch, destination: &str) -> Self {
        let destination = path(destination);
        self.mount(Mount::Scratch { destination, purpose })
    }

    fn account_file(self, file: AccountFile) -> Self {
        self.with(|request| request.plan.account_files.push(file))
    }

    fn namespaces(self, choose: fn(&mut Namespaces)) -> Self {
        self.with(|request| choose(&mut request.plan.namespaces))
    }

    /// The newest source's facts are others.
    fn but(self, change: impl FnOnce(&mut Facts)) -> Self {
        self.with(|request| change(request.facts.last_mut().expect("there is a source")))
    }

    fn judge(&self, conf: &str) -> Result<Permit, Refusal> {
        let site = Settings::parse(conf.as_bytes()).expect("a good configuration");
        let facts: Vec<&Facts> = self.facts.iter().collect();
        judge(&self.caller, &site, &limits(&site), self.plan.clone(), &facts)
    }

    fn permitted(&self, conf: &str) {
        drop(self.permit(conf));
    }

    fn permit(&self, conf: &str) -> Permit {
        self.judge(conf).unwrap_or_else(|refusal| panic!("{conf:?}: {refusal}"))
    }

    /// What the refusal says, all of it.
    fn refused(&self, conf: &str) -> String {
        match self.judge(conf) {
            Ok(permit) => panic!("{conf:?} permits {}", permit.description),
            Err(refusal) => refusal.to_lines(),
        }
    }
}

pub fn caller(uid: u32) -> Caller {
    Caller { uid: Uid::from_raw(uid), gid: Gid::from_raw(uid) }
}

fn path(text: &str) -> ContainerPath {
    ContainerPath::new(text.into()).expect("a good path")
}

/// What the kernel says of a good source of the user's with this content.
fn facts_of(content: Content) -> Facts {
    let superblock = match content {
        Content::Squashfs(window) => Some(Superblock::Squashfs { bytes: window.size }),
        Content::Ext3(window) => Some(Superblock::Ext3 { bytes: window.size, unclean: false }),
        Content::Directory => None,
    };
    let directory = content == Content::Directory;
    Facts {
        kind: if directory { FileType::Directory } else { FileType::RegularFile },
        readable: true,
        writable: !directory,
        size: 1 << 20,
        uid: USER,
        gid: USER,
        links: 1,
        file_system: EXT4_MAGIC,
        identity: (2049, 131),
        place: Some(b"/images/a".to_vec()),
        mount_root: false,
        mounted_over: false,
        in_sif: false,
        superblock,
    }
}

/// Limits as the site's own, with numbers for names.
fn limits(site: &Settings) -> Limits {
    let numbers =
        |list: &[Setting<String>]| list.iter().map(|entry| entry.value.parse().expect("a number")).collect();
    Limits {
        owners: numbers(&site.limit_container_owners),
        groups: numbers(&site.limit_container_groups),
        paths: site.limit_container_paths.iter().map(|entry| entry.value.as_str().into()).collect(),
    }
}

fn squashfs() -> Content {
    Content::Squashfs(WINDOW)
}

fn ext3() -> Content {
    Content::Ext3(WINDOW)
}

/// Whom a rule binds.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Binds {
    /// Root's own containers too.
    Everybody,
    /// Users: root borrows nothing from itself.
    Users,
}

/// A line of the configuration and a request that it forbids.
struct Rule {
    line: &'static str,
    request: Request,
    binds: Binds,
}

fn rules() -> Vec<Rule> {
    use Binds::{Everybody, Users};
    let run = Request::new;
    let rule = |line, request, binds| Rule { line, request, binds };
    let mut rules = vec![
        rule("allow setuid = no", run(), Users),
        rule("allow pid ns = no", run().namespaces(|spaces| spaces.pid = true), Everybody),
        rule("allow ipc ns = no", run().namespaces(|spaces| spaces.ipc = true), Everybody),
        rule("allow uts ns = no", run().namespaces(|spaces| spaces.uts = true), Everybody),
        rule("allow container sif = no", run().in_sif(), Everybody),
        rule("allow container squashfs = no", run(), Everybody),
        rule("allow container squashfs = no", run().root(ext3()).layer(squashfs()), Everybody),
        rule("allow container extfs = no", run().root(ext3()), Everybody),
        rule("allow container extfs = no", run().overlay(ext3()), Everybody),
        rule("allow container extfs = no", run().data(ext3(), true), Everybody),
        rule("allow container dir = no", run().root(Content::Directory), Everybody),
        rule("mount proc = no", run().mount(Mount::Proc), Everybody),
        rule("mount sys = no", run().mount(Mount::Sys), Everybody),
        rule("mount dev = no", run().mount(Mount::Dev(Dev::Host)), Everybody),
        rule(
            "mount dev = no",
            run().mount(Mount::Dev(Dev::Minimal { terminals: true, gpus: true })),
            Everybody,
        ),
        rule("mount dev = minimal", run().mount(Mount::Dev(Dev::Host)), Everybody),
        rule("mount tmp = no", run().mount(Mount::Tmp), Everybody),
        rule("mount tmp = no", run().mount(Mount::VarTmp), Everybody),
        rule("mount tmp = no", run().scratch(Scratch::Tmp, "/tmp"), Everybody),
        rule("mount tmp = no", run().scratch(Scratch::Tmp, "/var/tmp"), Everybody),
        rule("mount home = no", run().bind(Mount::Home, "/home/u", "/home/u"), Everybody),
        rule("mount home = no", run().scratch(Scratch::Home, "/home/u"), Everybody),
        rule("config resolv_conf = no", run().mount(Mount::ResolvConf), Everybody),
        rule("config passwd = no", run().account_file(AccountFile::Passwd), Everybody),
        rule("config group = no", run().account_file(AccountFile::Group), Everybody),
        rule("config resolv_conf = no", run().account_file(AccountFile::ResolvConf), Everybody),
        rule("user bind control = no", run().bind(Mount::User, "/data", "/mnt"), Everybody),
        rule("user bind control = no", run().bind(Mount::Home, "/home/u", "/root"), Everybody),
        rule("user bind control = no", run().data(squashfs(), false), Everybody),
        rule("user bind control = no", run().scratch(Scratch::Work, "/scratch"), Everybody),
        rule("user bind control = no", run().scratch(Scratch::Work, "/tmp"), Everybody),
        rule("user bind control = no", run().scratch(Scratch::Tmp, "/etc"), Everybody),
        rule("limit container owners = 0, 7", run(), Users),
        rule("limit container groups = 0, 7", run(), Users),
        rule("limit container paths = /image, /images/a/b", run(), Users),
    ];
    for line in ["enable overlay = no", "enable overlay = driver"] {
        rules.extend([
            rule(line, run().writable(Writable::Tmpfs), Everybody),
            rule(line, run().overlay(ext3()), Everybody),
            rule(line, run().layer(squashfs()), Everybody),
            rule(line, run().by_root().overlay(Content::Directory), Everybody),
        ]);
    }
    for line in [
        "allow kernel squashfs = no",
        "allow setuid-mount squashfs = no",
        "allow setuid-mount squashfs = iflimited",
    ] {
        rules.extend([
            rule(line, run(), Users),
            rule(line, run().in_sif(), Users),
            rule(line, run().root(ext3()).layer(squashfs()), Users),
            rule(line, run().root(ext3()).data(squashfs(), false), Users),
        ]);
    }
    for line in ["allow kernel extfs = no", "allow setuid-mount extfs = no"] {
        rules.extend([
            rule(line, run().root(ext3()), Users),
            rule(line, run().overlay(ext3()), Users),
            rule(line, run().layer(ext3()), Users),
            rule(line, run().data(ext3(), false), Users),
        ]);
    }
    for line in
        ["limit container owners = 7", "limit container groups = 7", "limit container paths = /allowed"]
    {
        let root_alone_is_fine = run().but(|facts| {
            (facts.uid, facts.gid) = (7, 7);
            facts.place = Some(b"/allowed/a".to_vec());
        });
        rules.extend([
            rule(line, root_alone_is_fine.clone().layer(squashfs()), Users),
            rule(line, root_alone_is_fine.clone().overlay(ext3()), Users),
            rule(line, root_alone_is_fine.data(ext3(), false), Users),
        ]);
    }
    rules
}

fn directive_of(line: &str) -> &str {
    line.split_once('=').expect("a line of the configuration").0.trim()
}

#[test]
fn each_directive_forbids_what_it_is_about_and_the_refusal_names_it_with_its_line() {
    for Rule { line, request, binds } in rules() {
        request.permitted("");
        let conf = format!("# one\n# two\n{line}\n");
        let text = request.refused(&conf);
        let directive = directive_of(line);
        assert!(text.contains(&format!("'{directive}'")), "{line}: {text}");
        assert!(text.contains("line 3"), "{line}: {text}");
        assert!(text.contains("administrator"), "{line}: {text}");
        match binds {
            Binds::Everybody => assert!(request.by_root().judge(&conf).is_err(), "{line}"),
            Binds::Users => request.by_root().permitted(&conf),
        }
    }
}

#[test]
fn a_default_that_forbids_is_named_as_one() {
    let request = Request::new().bind(Mount::Hostfs, "/srv", "/srv");
    let text = request.refused("");
    assert!(text.contains("'mount hostfs'") && text.contains("default"), "{text}");
    let text = request.refused("\nmount hostfs = no");
    assert!(text.contains("'mount hostfs'") && text.contains("line 2"), "{text}");
    request.permitted("mount hostfs = yes");
}

/// Adding a row to the table of directives without a rule, an order or a reason here is a failure.
#[test]
fn every_directive_of_the_starter_is_a_rule_or_an_order() {
    let rules: BTreeSet<&str> = rules().iter().map(|rule| directive_of(rule.line)).collect();
    let elsewhere: BTreeSet<&str> = orders()
        .iter()
        .map(|(line, _)| directive_of(line))
        .chain(["bind path", "mount hostfs", "allow image overlay on dir"])
        .collect();
    for directive in TABLE.iter().filter(|row| row.enforcer == Enforcer::Starter) {
        let name = directive.name;
        assert!(rules.contains(name) || elsewhere.contains(name), "{name}");
    }
}

type Check = fn(&Orders) -> bool;

/// Lines that change how a permitted plan is carried out.
fn orders() -> Vec<(&'static str, Check)> {
    vec![
        ("mount slave = no", |orders| !orders.slave),
        ("sessiondir max size = 16", |orders| orders.session_bytes == Some(16 << 20)),
        ("memory fs type = ramfs", |orders| orders.ramfs),
        ("max loop devices = 8", |orders| orders.loop_devices_max == 8),
        ("shared loop devices = yes", |orders| orders.loop_devices_shared),
        ("sync writable extfs = yes", |orders| orders.sync_ext3),
        ("mount devpts = no", |orders| !orders.devpts),
        ("enable underlay = preferred", |orders| orders.mount_points == MountPoints::Underlay),
    ]
}

#[test]
fn each_order_of_the_site_reaches_the_permit() {
    for (line, holds) in orders() {
        assert!(!holds(&Request::new().permit("").orders), "{line}");
        assert!(holds(&Request::new().permit(line).orders), "{line}");
    }
}

#[test]
fn mount_points_are_made_by_what_the_site_enables() {
    let table = [
        ("", MountPoints::Overlay),
        ("enable overlay = yes", MountPoints::Overlay),
        ("enable overlay = no", MountPoints::Underlay),
        ("enable overlay = driver", MountPoints::Underlay),
        ("enable underlay = no", MountPoints::Overlay),
        ("enable underlay = preferred", MountPoints::Underlay),
        ("enable overlay = no\nenable underlay = preferred", MountPoints::Underlay),
        ("enable overlay = no\nenable underlay = no", MountPoints::None),
    ];
    for (conf, expected) in table {
        let orders = Request::new().permit(conf).orders;
        assert_eq!(orders.mount_points, expected, "{conf:?}");
    }
}

#[test]
fn the_session_of_a_user_is_always_limited_and_that_of_root_never() {
    let bytes = |megabytes: u32| {
        let conf = format!("sessiondir max size = {megabytes}");
        Request::new().permit(&conf).orders.session_bytes
    };
    assert_eq!(bytes(1), Some(1 << 20));
    assert_eq!(bytes(u32::MAX), Some(u64::from(u32::MAX) << 20));
    assert_eq!(bytes(0), Some(SESSION_BYTES_MIN), "0 would be no limit to a tmpfs");
    assert_eq!(Request::new().by_root().permit("").orders.session_bytes, None);
}

#[test]
fn iflimited_is_satisfied_by_a_limit_that_the_image_keeps() {
    let conf = "allow setuid-mount squashfs = iflimited\nlimit container owners = 1000\n";
    Request::new().permitted(conf);
    assert!(Request::new().but(|facts| facts.uid = 7).refused(conf).contains("'limit container owners'"));
}

#[test]
fn no_is_no_in_either_spelling() {
    let table = [
        (Request::new(), "allow kernel squashfs", "allow setuid-mount squashfs"),
        (Request::new().root(ext3()), "allow kernel extfs", "allow setuid-mount extfs"),
    ];
    for (request, first, second) in table {
        for (yes, no) in [(first, second), (second, first)] {
            let text = request.refused(&format!("{yes} = yes\n{no} = no"));
            assert!(text.contains(&format!("'{no}'")) && text.contains("line 2"), "{text}");
        }
    }
}

#[test]
fn an_image_must_be_what_the_plan_says_where_the_plan_says() {
    let change = |what: &'static str, change: fn(&mut Facts)| (what, change);
    let table = [
        change("a regular file", |facts| facts.kind = FileType::BlockDevice),
        change("a regular file", |facts| facts.kind = FileType::Fifo),
        change("a regular file", |facts| facts.kind = FileType::Directory),
        change("opened for reading", |facts| facts.readable = false),
        change("where the plan says that one is", |facts| facts.superblock = None),
        change("where the plan says that one is", |facts| {
            facts.superblock = match facts.superblock {
                Some(Superblock::Ext3 { bytes, .. }) => Some(Superblock::Squashfs { bytes }),
                _ => Some(Superblock::Ext3 { bytes: 1, unclean: false }),
            }
        }),
        change("where the plan says that one is", |facts| {
            facts.superblock = match facts.superblock {
                Some(Superblock::Ext3 { bytes, unclean }) => {
                    Some(Superblock::Ext3 { bytes: bytes + 1, unclean })
                }
                Some(Superblock::Squashfs { bytes }) => Some(Superblock::Squashfs { bytes: bytes + 1 }),
                None => None,
            }
        }),
        change("outside its file", |facts| facts.size = WINDOW.offset + WINDOW.size - 1),
        change("outside its file", |facts| facts.size = 0),
    ];
    for content in [squashfs(), ext3()] {
        let requests = [
            Request::new().root(content),
            Request::new().layer(content),
            Request::new().data(content, false),
        ];
        for (request, (words, change)) in requests.iter().flat_map(|r| table.iter().map(move |t| (r, t))) {
            for request in [request.clone(), request.clone().by_root()] {
                let text = request.but(change).refused("");
                assert!(text.contains(words), "{words}: {text}");
            }
        }
    }
}

#[test]
fn a_window_that_ends_with_its_file_is_inside() {
    Request::new().but(|facts| facts.size = WINDOW.offset + WINDOW.size).permitted("");
}

#[test]
fn what_is_written_was_opened_for_writing() {
    let read_only = |request: Request| request.but(|facts| facts.writable = false);
    for request in [
        Request::new().root(ext3()).writable(Writable::Root),
        Request::new().overlay(ext3()),
        Request::new().data(ext3(), true),
    ] {
        request.permitted("");
        let text = read_only(request).refused("");
        assert!(text.contains("not opened for writing"), "{text}");
    }
    for request in
        [Request::new().root(ext3()), Request::new().layer(ext3()), Request::new().data(ext3(), false)]
    {
        read_only(request).permitted("");
    }
}

#[test]
fn files_of_the_kernels_own_file_systems_are_no_images() {
    for magic in PSEUDO_FILE_SYSTEMS {
        for content in [squashfs(), ext3(), Content::Directory] {
            let request = Request::new().root(content).but(|facts| facts.file_system = *magic);
            let text = request.refused("");
            assert!(text.contains("kernel's own file systems"), "{magic:#x}: {text}");
        }
    }
}

#[test]
fn a_directory_must_be_one_and_may_be_the_root_of_anybody() {
    Request::new().root(Content::Directory).permitted("");
    Request::new().root(Content::Directory).writable(Writable::Root).permitted("");
    let file = Request::new().root(Content::Directory).but(|facts| facts.kind = FileType::RegularFile);
    assert!(file.refused("").contains("directory of something that is none"));
}

#[test]
fn a_directory_as_overlay_is_for_root_only() {
    for request in [Request::new().overlay(Content::Directory), Request::new().layer(Content::Directory)] {
        let text = request.refused("");
        assert!(text.contains("only root user can use sandbox as overlay in setuid mode"), "{text}");
        assert!(text.contains("overlay create"), "{text}");
        request.by_root().permitted("");
    }
}

#[test]
fn a_writable_image_on_a_directory_is_for_root_unless_the_site_allows_it() {
    let request = Request::new().root(Content::Directory).overlay(ext3());
    let text = request.clone().refused("");
    assert!(text.contains("'allow image overlay on dir'") && text.contains("may not read"), "{text}");
    request.clone().permitted("allow image overlay on dir = yes");
    request.by_root().permitted("");
    Request::new().root(Content::Directory).layer(ext3()).permitted("");
    Request::new().root(Content::Directory).writable(Writable::Tmpfs).permitted("");
}

#[test]
fn a_directory_is_no_data_image_for_anybody() {
    let request = Request::new().data(Content::Directory, false);
    assert!(request.refused("").contains("bind a directory instead"));
    assert!(request.by_root().refused("").contains("bind a directory instead"));
}

#[test]
fn a_descriptor_without_facts_is_refused() {
    let requests = [
        Request::new(),
        Request::new().overlay(ext3()),
        Request::new().bind(Mount::Home, "/home/u", "/home/u"),
    ];
    for request in requests {
        let text = request.with(|request| drop(request.facts.pop())).refused("");
        assert!(text.contains("a descriptor that does not exist"), "{text}");
    }
}

#[test]
fn where_images_are_limited_each_must_have_a_name_on_a_file_system_that_tells_the_truth() {
    let confs =
        ["limit container owners = 1000", "limit container groups = 1000", "limit container paths = /images"];
    for conf in confs {
        Request::new().permitted(conf);
        let cases: [fn(&mut Facts); 2] = [|facts| facts.links = 0, |facts| facts.file_system = FUSE];
        for change in cases {
            let request = Request::new().but(change);
            request.permitted("");
            let text = request.refused(conf);
            assert!(text.contains(&format!("'{}'", directive_of(conf))), "{text}");
            assert!(text.contains("line 1"), "{text}");
            request.by_root().permitted(conf);
        }
    }
}

#[test]
fn a_limit_on_paths_needs_a_place_that_is_below_one_of_them() {
    let at = |place: Option<&str>| Request::new().but(|facts| facts.place = place.map(Into::into));
    let conf = "limit container paths = /a/b, /c";
    for place in ["/a/b", "/a/b/i.sif", "/a/b/x/i.sif", "/c/i.sif"] {
        at(Some(place)).permitted(conf);
    }
    for place in [Some("/a/bc/i.sif"), Some("/a/i.sif"), Some("/"), Some("/x/a/b/i.sif"), None] {
        let text = at(place).refused(conf);
        assert!(text.contains("singularity image is not in an allowed configured path"), "{text}");
    }
}

#[test]
fn limits_of_different_kinds_must_all_be_kept() {
    let conf = "limit container owners = 1000\nlimit container groups = 5\nlimit container paths = /images";
    let text = Request::new().refused(conf);
    assert!(text.contains("'limit container groups'") && text.contains("line 2"), "{text}");
    Request::new().but(|facts| facts.gid = 5).permitted(conf);
}

#[test]
fn a_path_is_below_a_folder_component_by_component() {
    let table = [
        ("/a/b", "/a", true),
        ("/a", "/a", true),
        ("/a/b", "/", true),
        ("/", "/", true),
        ("/ab", "/a", false),
        ("/a", "/a/b", false),
        ("/b/a", "/a", false),
    ];
    for (path, folder, expected) in table {
        assert_eq!(is_below(path.as_bytes(), folder.as_bytes()), expected, "{path} {folder}");
    }
}

#[test]
fn a_site_bind_is_named_by_its_destination_and_keeps_the_sites_source() {
    let conf = "bind path = /etc/hosts\nbind path = /srv/data:/data\nbind path = /other:/data\n";
    let bind = |destination| Mount::SiteBind(path(destination));
    let request = Request::new().mount(bind("/data")).mount(Mount::Proc).mount(bind("/etc/hosts"));
    let permit = request.permit(conf);
    assert_eq!(permit.orders.site_binds, [b"/srv/data".to_vec(), b"/etc/hosts".to_vec()]);
    for destination in ["/srv/data", "/etc", "/etc/hosts/x", "/data2"] {
        let text = Request::new().mount(bind(destination)).refused(conf);
        assert!(text.contains("'bind path'") && text.contains(destination), "{text}");
    }
}

#[test]
fn what_a_caller_makes_by_himself_is_made_in_his_namespace_with_the_sites_binds() {
    let conf = "allow setuid = no\nbind path = /srv/data:/data\n";
    let site = Settings::parse(conf.as_bytes()).expect("a good file");
    let bind = |destination| Request::new().mount(Mount::SiteBind(path(destination)));
    let own = |request: &Request| {
        let facts: Vec<&Facts> = request.facts.iter().collect();
        permit_own(&site, request.plan.clone(), &facts)
    };
    let permit = own(&bind("/data")).expect("the caller lends himself what he has");
    assert_eq!(permit.orders.site_binds, [b"/srv/data".to_vec()]);
    assert!(permit.orders.in_user_namespace);
    assert!(!Request::new().permit("").orders.in_user_namespace);
    assert!(own(&bind("/other")).is_err());
}

#[test]
fn a_refusal_says_whether_overlays_are_off_or_only_those_of_the_kernel() {
    let request = Request::new().overlay(ext3());
    assert!(request.refused("enable overlay = driver").contains("through the kernel"));
    assert!(request.refused("enable overlay = no").contains("requires 'enable overlay = yes'"));
}

#[test]
fn a_home_without_user_bind_control_is_the_callers_own_at_its_own_path() {
    let conf = "user bind control = no";
    let home = Request::new().bind(Mount::Home, "/home/u", "/home/u");
    home.permitted(conf);
    let cases: [fn(&mut Facts); 3] =
        [|facts| facts.uid = 0, |facts| facts.place = None, |facts| facts.place = Some(b"/home/v".to_vec())];
    for change in cases {
        let request = home.clone().but(change);
        request.permitted("");
        assert!(request.refused(conf).contains("'user bind control'"));
    }
}

#[test]
fn a_contained_run_works_without_user_bind_control() {
    let conf = "user bind control = no";
    let run = Request::new().scratch(Scratch::Tmp, "/tmp").scratch(Scratch::Tmp, "/var/tmp");
    run.scratch(Scratch::Home, "/home/u").permitted(conf);
}

#[test]
fn hostfs_is_a_mount_of_the_host_at_its_own_place() {
    let conf = "mount hostfs = yes";
    let request = Request::new().bind(Mount::Hostfs, "/srv", "/srv");
    request.permitted(conf);
    let cases: [fn(&mut Facts); 3] = [
        |facts| facts.mount_root = false,
        |facts| facts.place = Some(b"/home".to_vec()),
        |facts| facts.place = None,
    ];
    for change in cases {
        let text = request.clone().but(change).refused(conf);
        assert!(text.contains("/srv is not a mount point of the host"), "{text}");
    }
    for place in ["/proc", "/sys/fs/cgroup", "/dev", "/dev/shm"] {
        let text = Request::new().bind(Mount::Hostfs, place, place).refused(conf);
        assert!(text.contains("is not a mount point of the host"), "{text}");
    }
    Request::new().bind(Mount::Hostfs, "/device", "/device").permitted(conf);
}

#[test]
fn a_container_has_one_home() {
    let bound = || Request::new().bind(Mount::Home, "/home/u", "/home/u");
    let requests = [
        bound().bind(Mount::Home, "/home/v", "/home/v"),
        bound().scratch(Scratch::Home, "/home/v"),
        Request::new().scratch(Scratch::Home, "/etc").scratch(Scratch::Home, "/usr"),
    ];
    for request in requests {
        assert!(request.refused("").contains("2 home directories"));
    }
    bound().bind(Mount::User, "/home/v", "/home/v").permitted("");
}

#[test]
fn a_directory_that_a_mount_covers_in_part_is_an_image_for_root_alone() {
    let root = Request::new().root(Content::Directory).but(|facts| facts.mounted_over = true);
    assert!(root.refused("").contains("would show what that hides"));
    root.by_root().permitted("");
    Request::new().bind(Mount::User, "/srv", "/srv").but(|facts| facts.mounted_over = true).permitted("");
}

#[test]
fn an_unclean_ext3_is_replayed_or_not_shown() {
    let unclean = |request: Request| {
        request.but(|facts| facts.superblock = Some(Superblock::Ext3 { bytes: WINDOW.size, unclean: true }))
    };
    let run = Request::new;
    for request in [run().root(ext3()), run().layer(ext3()), run().data(ext3(), false)] {
        assert!(unclean(request).refused("").contains("not closed properly"));
    }
    unclean(run().overlay(ext3())).permitted("");
    unclean(run().data(ext3(), true)).permitted("");
}

#[test]
fn what_asks_for_nothing_of_the_sites_needs_nothing_of_it() {
    let run = Request::new().account_file(AccountFile::Hostname);
    run.permitted(
        "user bind control = no\nmount home = no\nmount proc = no\nenable overlay = no\nmount dev = no",
    );
    Request::new()
        .mount(Mount::Dev(Dev::Minimal { terminals: true, gpus: true }))
        .permitted("mount dev = minimal");
}

#[test]
fn a_permit_describes_what_it_permits_on_one_plain_line() {
    let hostile = |facts: &mut Facts| facts.place = Some(b"/images/a\nroot=\"\x1b".to_vec());
    let permit = Request::new().but(hostile).overlay(ext3()).permit("");
    let text = &permit.description;
    assert!(
        text.starts_with(r#"root=squashfs(8:1,131,"/images/a\nroot=\"\x1b") writable=overlay=ext3("#),
        "{text}"
    );
    assert!(text.ends_with(" layers=0 mounts=0"), "{text}");
    assert!(text.chars().all(|letter| !letter.is_control()), "{text}");
    let long = |facts: &mut Facts| facts.place = Some(vec![b'\n'; 4000]);
    let long = Request::new().but(long).overlay(ext3()).but(long).permit("").description;
    assert!(long.ends_with(" layers=0 mounts=0") && long.len() < 800, "{long}");
    assert_eq!(long.matches(" [cut]\")").count(), 2, "{long}");
    let unknown = Request::new().but(|facts| facts.place = None).permit("");
    assert!(unknown.description.contains("\"?\""), "{}", unknown.description);
}

/// Lines that only forbid: whatever is permitted with one of them is permitted without it. Not among them is
/// `iflimited`, which a limit satisfies, and no list has two lines, because a second entry widens a limit.
const RESTRICTIONS: &[&str] = &[
    "allow setuid = no",
    "allow pid ns = no",
    "allow ipc ns = no",
    "allow uts ns = no",
    "allow container sif = no",
    "allow container squashfs = no",
    "allow container extfs = no",
    "allow container dir = no",
    "allow kernel squashfs = no",
    "allow setuid-mount squashfs = no",
    "allow kernel extfs = no",
    "allow setuid-mount extfs = no",
    "allow image overlay on dir = no",
    "enable overlay = no",
    "enable overlay = driver",
    "mount proc = no",
    "mount sys = no",
    "mount dev = no",
    "mount dev = minimal",
    "mount tmp = no",
    "mount home = no",
    "mount hostfs = no",
    "config resolv_conf = no",
    "config passwd = no",
    "config group = no",
    "user bind control = no",
    "limit container owners = 1000, 7",
    "limit container groups = 0",
    "limit container paths = /images",
];

/// Something that a request may have beside its root.
fn additions() -> impl Strategy<Value = fn(Request) -> Request> {
    let all: Vec<fn(Request) -> Request> = vec![
        |request| request.layer(squashfs()),
        |request| request.layer(ext3()),
        |request| request.layer(Content::Directory),
        |request| request.overlay(ext3()),
        |request| request.writable(Writable::Tmpfs),
        |request| request.data(ext3(), false),
        |request| request.data(squashfs(), false),
        |request| request.bind(Mount::User, "/data", "/mnt"),
        |request| request.bind(Mount::Home, "/home/u", "/home/u"),
        |request| request.bind(Mount::Home, "/home/u", "/elsewhere"),
        |request| request.bind(Mount::Hostfs, "/srv", "/srv"),
        |request| request.mount(Mount::Proc),
        |request| request.mount(Mount::Sys),
        |request| request.mount(Mount::Tmp),
        |request| request.mount(Mount::Dev(Dev::Host)),
        |request| request.mount(Mount::Dev(Dev::Minimal { terminals: true, gpus: true })),
        |request| request.mount(Mount::ResolvConf),
        |request| request.scratch(Scratch::Work, "/scratch"),
        |request| request.scratch(Scratch::Home, "/home/u"),
        |request| request.scratch(Scratch::Tmp, "/tmp"),
        |request| request.account_file(AccountFile::Passwd),
        |request| request.account_file(AccountFile::Group),
        |request| request.account_file(AccountFile::ResolvConf),
        |request| request.namespaces(|spaces| spaces.pid = true),
        |request| request.namespaces(|spaces| spaces.ipc = true),
    ];
    proptest::sample::select(all)
}

/// Facts that tell against a source, or do not.
fn twists() -> impl Strategy<Value = fn(&mut Facts)> {
    let all: Vec<fn(&mut Facts)> = vec![
        |_| {},
        |_| {},
        |_| {},
        |facts| facts.in_sif = facts.superblock.is_some(),
        |facts| (facts.uid, facts.gid) = (0, 0),
        |facts| facts.place = None,
        |facts| facts.place = Some(b"/elsewhere".to_vec()),
        |facts| facts.links = 0,
        |facts| facts.file_system = FUSE,
        |facts| facts.writable = false,
        |facts| facts.superblock = None,
    ];
    proptest::sample::select(all)
}

/// What no kernel may ever say of a file, together.
fn any_facts() -> impl Strategy<Value = Facts> {
    let kind = proptest::sample::select(vec![
        FileType::RegularFile,
        FileType::Directory,
        FileType::Fifo,
        FileType::Socket,
        FileType::BlockDevice,
        FileType::Unknown,
    ]);
    let size = prop_oneof![any::<u64>(), Just(0), Just(WINDOW.size), Just(WINDOW.size - 1), Just(u64::MAX)];
    let superblock = prop_oneof![
        Just(None),
        size.clone().prop_map(|bytes| Some(Superblock::Squashfs { bytes })),
        (size.clone(), any::<bool>()).prop_map(|(bytes, unclean)| Some(Superblock::Ext3 { bytes, unclean })),
    ];
    let place = proptest::option::of("(/[a-c.]{0,2}){0,4}".prop_map(String::into_bytes));
    let file_system = prop_oneof![any::<u64>(), proptest::sample::select(PSEUDO_FILE_SYSTEMS)];
    (kind, any::<[bool; 5]>(), size, any::<[u32; 2]>(), file_system, place, superblock, 0..3u64).prop_map(
        |(
            kind,
            [readable, writable, mount_root, mounted_over, in_sif],
            size,
            [uid, gid],
            file_system,
            place,
            superblock,
            links,
        )| {
            let identity = (uid.into(), gid.into());
            Facts {
                kind,
                readable,
                writable,
                size,
                uid,
                gid,
                links,
                file_system,
                identity,
                place,
                mount_root,
                mounted_over,
                in_sif,
                superblock,
            }
        },
    )
}

fn requests() -> impl Strategy<Value = Request> {
    let uid = prop_oneof![3 => Just(USER), 1 => Just(0)];
    let root = prop_oneof![Just(squashfs()), Just(ext3()), Just(Content::Directory)];
    let additions = proptest::collection::vec(additions(), 0..4);
    let strange = proptest::option::weighted(0.2, (0..5usize, any_facts()));
    (uid, root, additions, proptest::collection::vec(twists(), 5), strange).prop_map(
        |(uid, root, additions, twists, strange)| {
            let request = Request::new().with(|request| request.caller = caller(uid)).root(root);
            let request = additions.into_iter().fold(request, |request, add| add(request));
            request.with(|request| {
                for (facts, twist) in request.facts.iter_mut().zip(twists) {
                    twist(facts);
                }
                if let Some((number, facts)) = strange
                    && let Some(slot) = request.facts.get_mut(number)
                {
                    *slot = facts;
                }
            })
        },
    )
}

fn restrictions() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(RESTRICTIONS, 0..4).prop_shuffle()
}

#[test]
fn the_properties_know_every_rule_but_the_one_that_a_limit_satisfies() {
    let known: BTreeSet<&str> = RESTRICTIONS.iter().map(|line| directive_of(line)).collect();
    for rule in rules() {
        assert!(known.contains(directive_of(rule.line)), "{}", rule.line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_restriction_more_never_permits_more(
        request in requests(),
        before in restrictions(),
        more in proptest::sample::select(RESTRICTIONS),
    ) {
        let known = |line: &&&str| directive_of(line) == directive_of(more);
        prop_assume!(before.iter().find(known).is_none());
        let without = format!("mount hostfs = yes\n{}", before.join("\n"));
        // The first line of a directive decides, so what forbids comes first.
        let with = format!("{more}\n{without}");
        if request.judge(&without).is_err() {
            prop_assert!(request.judge(&with).is_err(), "{} {:?}", with, request);
        }
    }

    #[test]
    fn a_refusal_that_a_restriction_causes_names_it_and_its_line(
        request in requests(),
        more in proptest::sample::select(RESTRICTIONS),
    ) {
        let hostfs = "mount hostfs = yes\n";
        if let (Ok(_), Err(refusal)) = (request.judge(hostfs), request.judge(&format!("{more}\n{hostfs}"))) {
            let text = refusal.to_string();
            prop_assert!(text.contains(&format!("'{}'", directive_of(more))), "{}", text);
            prop_assert!(text.contains("line 1"), "{}", text);
        }
    }

    #[test]
    fn a_user_never_gets_what_root_would_be_refused(request in requests(), before in restrictions()) {
        let conf = format!("mount hostfs = yes\n{}", before.join("\n"));
        // A home is the caller's own, and a file of a user's is not root's.
        prop_assume!(!request.plan.mounts.iter().any(|mount| matches!(mount, Mount::Home(_))));
        if request.judge(&conf).is_ok() {
            prop_assert!(request.by_root().judge(&conf).is_ok(), "{}", conf);
        }
    }

    #[test]
    fn a_permit_holds_the_very_plan_that_was_judged(request in requests()) {
        if let Ok(permit) = request.judge("mount hostfs = yes") {
            prop_assert_eq!(permit.plan, request.plan);
        }
    }
}
