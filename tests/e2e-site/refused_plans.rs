//! The starter decides: plans made by hand, as a frontend that was tampered with could send them, are refused by the
//! directive, and the refusal says where it is written.

use crate::surroundings::world_and_image;
use protocol::{AccountFile, Bind, Dev, Mount, Writable};
use std::path::Path;
use tests::{HandMade, Output, World, place};

/// What the starter says to `plan` where `line` is line 2 of the configuration.
fn said(world: &mut World, plan: &HandMade, line: &str) -> Output {
    world.conf(&format!("# a comment\n{line}\n"));
    plan.hand_over(world).run()
}

/// The starter refuses `plan` because of `line`, and would not without it.
#[track_caller]
fn refused_by(world: &mut World, plan: &HandMade, line: &str, text: &str) {
    said(world, plan, "# nothing").assert_fatal("while reading the payload");
    let directive = line.split(" = ").next().expect("there is one");
    let conf = world.installed().singularity_conf();
    let place = format!("('{directive}', {} line 2)", conf.display());
    said(world, plan, line)
        .assert_fatal(text)
        .assert_stderr_has("FATAL:   container creation failed: ")
        .assert_stderr_has(&place)
        .assert_stderr_has("only the administrator of this site can change that");
}

#[test]
fn allow_setuid_no_stops_every_plan() {
    let (mut world, image) = world_and_image();
    let plan = HandMade::bare(&world, &[], &image);
    refused_by(&mut world, &plan, "allow setuid = no", "suid workflow disabled by administrator");
}

#[test]
fn a_namespace_that_is_not_allowed_is_not_made() {
    let (mut world, image) = world_and_image();
    for (option, line, text) in [
        ("--pid", "allow pid ns = no", "a PID namespace is not allowed"),
        ("--ipc", "allow ipc ns = no", "an IPC namespace is not allowed"),
        ("--uts", "allow uts ns = no", "a UTS namespace is not allowed"),
    ] {
        world.conf("");
        let plan = HandMade::bare(&world, &[option], &image);
        refused_by(&mut world, &plan, line, text);
    }
}

#[test]
fn a_mount_of_the_site_that_is_switched_off_is_not_made() {
    let (mut world, image) = world_and_image();
    for (mount, line, text) in [
        (Mount::Proc, "mount proc = no", "/proc is not mounted here"),
        (Mount::Sys, "mount sys = no", "/sys is not mounted here"),
        (Mount::Dev(Dev::Host), "mount dev = no", "/dev is not mounted here"),
        (
            Mount::Dev(Dev::Minimal { terminals: true, gpus: true }),
            "mount dev = no",
            "/dev is not mounted here",
        ),
        (Mount::Dev(Dev::Host), "mount dev = minimal", "only a minimal /dev is mounted here"),
        (Mount::Tmp, "mount tmp = no", "temporary directories are not mounted here"),
        (Mount::VarTmp, "mount tmp = no", "temporary directories are not mounted here"),
        (Mount::ResolvConf, "config resolv_conf = no", "resolv.conf is not mounted here"),
    ] {
        world.conf("");
        let mut plan = HandMade::bare(&world, &[], &image);
        plan.plan.mounts.push(mount);
        refused_by(&mut world, &plan, line, text);
    }
}

#[test]
fn account_files_that_the_site_leaves_alone_are_left_alone() {
    let (mut world, image) = world_and_image();
    for (file, line, text) in [
        (AccountFile::Passwd, "config passwd = no", "passwd is not changed here"),
        (AccountFile::Group, "config group = no", "group is not changed here"),
        (AccountFile::ResolvConf, "config resolv_conf = no", "resolv.conf is not changed here"),
    ] {
        world.conf("");
        let mut plan = HandMade::bare(&world, &[], &image);
        plan.plan.account_files.push(file);
        refused_by(&mut world, &plan, line, text);
    }
}

fn bind(plan: &mut HandMade, source: &Path, destination: impl AsRef<std::ffi::OsStr>) -> Bind {
    Bind {
        descriptor: plan.source(source),
        destination: place(destination),
        read_only: false,
        optional: false,
    }
}

#[test]
fn binds_of_the_users_choice_need_user_bind_control() {
    let (mut world, image) = world_and_image();
    let folder = world.mkdir("data");
    let text = "binds chosen by the user are not allowed";
    let line = "user bind control = no";
    let mut plan = HandMade::bare(&world, &[], &image);
    let data = bind(&mut plan, &folder, "/mnt");
    plan.plan.mounts.push(Mount::User(data));
    refused_by(&mut world, &plan, line, text);

    world.conf("");
    let mut plan = HandMade::bare(&world, &[], &image);
    let data = protocol::Image { descriptor: plan.source(&image), content: plan.plan.root.content };
    plan.plan.mounts.push(Mount::Data {
        image: data,
        within: None,
        destination: place("/mnt"),
        writable: false,
    });
    refused_by(&mut world, &plan, line, text);
}

#[test]
fn without_user_bind_control_a_home_is_the_callers_own_at_its_own_path() {
    let (mut world, image) = world_and_image();
    let folder = world.mkdir("data");
    let line = "user bind control = no";
    let text = "binds chosen by the user are not allowed";
    for (source, destination) in
        [(folder.as_path(), Path::new("/mnt")), (Path::new("/etc"), Path::new("/etc"))]
    {
        world.conf("");
        let mut plan = HandMade::bare(&world, &[], &image);
        let home = bind(&mut plan, source, destination);
        plan.plan.mounts.push(Mount::Home(home));
        refused_by(&mut world, &plan, line, text);
    }
    let mut plan = HandMade::bare(&world, &[], &image);
    let home = bind(&mut plan, &folder, &folder);
    plan.plan.mounts.push(Mount::Home(home));
    said(&mut world, &plan, line).assert_fatal("while reading the payload");
    refused_by(&mut world, &plan, "mount home = no", "home directories are not mounted here");
}

#[test]
fn a_host_file_system_is_a_mount_point_of_the_host_at_its_own_path() {
    let (mut world, image) = world_and_image();
    let folder = world.mkdir("data");
    let mut plan = HandMade::bare(&world, &[], &image);
    let disk = world.tmpfs("disk", "mode=0755");
    let shown = bind(&mut plan, disk.path(), disk.path());
    plan.plan.mounts.push(Mount::Hostfs(shown));
    let yes = "mount hostfs = yes";
    said(&mut world, &plan, yes).assert_fatal("while reading the payload");
    said(&mut world, &plan, "mount hostfs = no")
        .assert_fatal("the host's file systems are not mounted here")
        .assert_stderr_has("line 2)");
    said(&mut world, &plan, "# nothing")
        .assert_fatal("the host's file systems are not mounted here")
        .assert_stderr_has("default)");
    for (source, destination) in
        [(disk.path(), Path::new("/mnt")), (&folder, &folder), (Path::new("/proc"), Path::new("/proc"))]
    {
        world.conf("");
        let mut plan = HandMade::bare(&world, &[], &image);
        let bind = bind(&mut plan, source, destination);
        plan.plan.mounts.push(Mount::Hostfs(bind));
        said(&mut world, &plan, yes).assert_fatal("is not a mount point of the host");
    }
}

#[test]
fn a_site_bind_is_a_line_of_the_configuration() {
    let (mut world, image) = world_and_image();
    let mut plan = HandMade::bare(&world, &[], &image);
    plan.plan.mounts.push(Mount::SiteBind(place("/mnt")));
    said(&mut world, &plan, "bind path = /etc:/mnt").assert_fatal("while reading the payload");
    for line in ["# nothing", "bind path = /mnt:/etc", "bind path = /mnt/below"] {
        said(&mut world, &plan, line)
            .assert_fatal("no 'bind path' line of the site has the destination /mnt");
    }
}

#[test]
fn overlays_need_enable_overlay() {
    let (mut world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    for (options, named) in
        [(vec!["--overlay", &overlay], "overlay images"), (vec!["--writable-tmpfs"], "--writable-tmpfs")]
    {
        world.conf("");
        let plan = HandMade::bare(&world, &options, &image);
        assert_ne!(plan.plan.writable, Writable::Nothing);
        let text = format!("{named} requires 'enable overlay = yes': set to 'no' by administrator");
        refused_by(&mut world, &plan, "enable overlay = no", &text);
        let text = format!("{named} through the kernel are disabled by administrator");
        refused_by(&mut world, &plan, "enable overlay = driver", &text);
        for line in ["enable overlay = yes", "enable overlay = try"] {
            said(&mut world, &plan, line).assert_fatal("while reading the payload");
        }
    }
}
