//! Which images the site lets the starter use: by type, owner, group, place, and by who would read them.

use protocol::{Content, Mount, Window, Writable};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tests::{Command, HandMade, Output, User, World};

/// What the starter says to a plan of `image` alone where `conf` is the configuration.
fn starter_says(world: &mut World, options: &[&str], image: &Path, conf: &str) -> Output {
    world.conf("");
    let plan = HandMade::bare(world, options, image);
    world.conf(conf);
    plan.hand_over(world).run()
}

const ACCEPTED: &str = "while reading the payload";

fn run(world: &World, image: &Path) -> Command {
    world.lamina(["exec"]).arg(image).args(["echo", "ran"])
}

/// A bare ext3 with a busybox in it.
fn busybox_ext3(world: &World) -> PathBuf {
    let image = world.path("busybox.ext3");
    let sandbox = world.busybox_sandbox();
    let made = std::process::Command::new("mkfs.ext3")
        .args(["-q", "-d"])
        .args([&sandbox, &image])
        .arg("64M")
        .output();
    assert!(made.is_ok_and(|made| made.status.success()), "mkfs.ext3 makes an image");
    std::fs::remove_dir_all(sandbox).expect("it is ours");
    world.give(&image);
    image
}

#[test]
fn a_type_of_image_that_is_switched_off_is_refused_by_the_frontend_and_by_the_starter() {
    let mut world = World::new();
    for (image, kind, name) in [
        (world.busybox_sqfs("gzip"), "squashfs", "squashFS"),
        (world.busybox_sif(), "sif", "SIF"),
        (busybox_ext3(&world), "extfs", "extFS"),
        (world.busybox_sandbox(), "dir", "sandbox"),
    ] {
        let text = format!("configuration disallows users from running {name} based containers");
        let off = format!("allow container {kind} = no\n");
        for conf in ["", &format!("allow container {kind} = yes\n")] {
            starter_says(&mut world, &[], &image, conf).assert_fatal(ACCEPTED);
            run(&world, &image).run().assert_ok().assert_stdout("ran");
        }
        starter_says(&mut world, &[], &image, &off).assert_fatal(&text).assert_stderr_has("line 1)");
        run(&world, &image).run().assert_fatal(&text);
        for other in ["squashfs", "sif", "extfs", "dir"].iter().filter(|other| **other != kind) {
            world.conf(&format!("allow container {other} = no\n"));
            run(&world, &image).run().assert_ok();
        }
    }
}

#[test]
fn the_type_rules_bind_root_too_because_they_describe_the_container() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.conf("allow container squashfs = no\n");
    run(&world, &image).as_root().run().assert_fatal("configuration disallows");
}

#[test]
fn an_overlay_image_is_an_image_of_its_type() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(64).display().to_string();
    for overlay in [overlay.clone(), format!("{overlay}:ro")] {
        starter_says(&mut world, &["--overlay", &overlay], &image, "allow container extfs = no\n")
            .assert_fatal("configuration disallows users from running extFS based containers");
    }
}

#[test]
fn a_kernel_driver_reads_what_both_spellings_allow() {
    let mut world = World::new();
    let (squashfs, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(64));
    let with_overlay = ["--overlay", &overlay.display().to_string()];
    for (options, conf, refused) in [
        (&[][..], "allow kernel squashfs = no", Some("squashfs")),
        (&[], "allow setuid-mount squashfs = no", Some("squashfs")),
        (&[], "allow kernel squashfs = yes\nallow setuid-mount squashfs = no", Some("squashfs")),
        (&[], "allow kernel squashfs = no\nallow setuid-mount squashfs = yes", Some("squashfs")),
        (&[], "allow setuid-mount squashfs = iflimited", Some("squashfs")),
        (&[], "allow setuid-mount squashfs = iflimited\nlimit container owners = laminatest1", None),
        (&[], "allow kernel squashfs = yes", None),
        (&[], "allow setuid-mount squashfs = yes", None),
        (&with_overlay, "allow kernel extfs = no", Some("ext3")),
        (&with_overlay, "allow setuid-mount extfs = no", Some("ext3")),
        (&with_overlay, "allow kernel extfs = yes\nallow setuid-mount extfs = no", Some("ext3")),
        (&with_overlay, "allow kernel extfs = yes\nallow setuid-mount extfs = yes", None),
        (&[], "allow kernel extfs = no", None),
    ] {
        let output = starter_says(&mut world, options, &squashfs, conf);
        match refused {
            Some(kind) => output.assert_fatal(&format!("{kind} image mounts are not authorized")),
            None => output.assert_fatal(ACCEPTED),
        };
    }
}

#[test]
fn root_may_have_its_own_images_mounted_whatever_the_kernel_rules_say() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.conf("allow kernel squashfs = no\nlimit container owners = laminatest2\n");
    run(&world, &image).as_root().run().assert_ok();
}

#[test]
fn images_are_limited_to_owners_by_name_and_by_number() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let text = "singularity image is not owned by required user(s)";
    let number = world.user().uid.to_string();
    for (owners, accepted) in [
        ("laminatest1", true),
        (number.as_str(), true),
        ("root, laminatest1", true),
        ("root", false),
        ("0", false),
        ("laminatest2", false),
    ] {
        let output = starter_says(&mut world, &[], &image, &format!("limit container owners = {owners}\n"));
        output.assert_fatal(if accepted { ACCEPTED } else { text });
    }
    starter_says(&mut world, &[], &image, "limit container owners = no-such-user\n")
        .assert_fatal("'no-such-user' is not in /etc/passwd");
    chown(&image, Some(User::second().uid.as_raw()), None).expect("root can give files away");
    starter_says(&mut world, &[], &image, "limit container owners = laminatest2\n").assert_fatal(ACCEPTED);
}

#[test]
fn images_are_limited_to_groups_by_name_and_by_number() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let text = "singularity image is not owned by required group(s)";
    for (groups, accepted) in [("laminatest1", true), ("58001", true), ("root", false), ("0", false)] {
        let output = starter_says(&mut world, &[], &image, &format!("limit container groups = {groups}\n"));
        output.assert_fatal(if accepted { ACCEPTED } else { text });
    }
}

#[test]
fn images_are_limited_to_folders_component_by_component() {
    let mut world = World::new();
    let (inside, beside) = (world.mkdir("allowed/deep"), world.mkdir("allowed-not"));
    let allowed = world.path("allowed");
    let image = world.busybox_sqfs("gzip");
    let text = "singularity image is not in an allowed configured path";
    let copy = |to: PathBuf| {
        std::fs::copy(&image, &to).expect("the home can be written");
        world.give(&to);
        to
    };
    let (inside, beside) = (copy(inside.join("i.sqfs")), copy(beside.join("i.sqfs")));
    let link = world.path("link");
    std::os::unix::fs::symlink(&allowed, &link).expect("the home can be written");
    let leading_in = allowed.join("leading-out");
    std::os::unix::fs::symlink(&image, &leading_in).expect("the home can be written");
    let conf = format!("limit container paths = {}\n", allowed.display());
    for (image, accepted) in [
        (&inside, true),
        (&link.join("deep/i.sqfs"), true),
        (&beside, false),
        (&image, false),
        (&leading_in, false),
    ] {
        let output = starter_says(&mut world, &[], image, &conf);
        output.assert_fatal(if accepted { ACCEPTED } else { text });
    }
    // A directory may be configured by any name; what counts is where it is.
    let through_a_link = format!("limit container paths = {}\n", link.display());
    starter_says(&mut world, &[], &inside, &through_a_link).assert_fatal(ACCEPTED);
    // One that does not exist admits nothing.
    starter_says(&mut world, &[], &inside, "limit container paths = /no/such/place\n").assert_fatal(text);
    world.conf(&conf);
    run(&world, &inside).run().assert_ok();
    run(&world, &beside).run().assert_fatal(text);
}

#[test]
fn the_limits_hold_for_overlays_and_data_images() {
    let mut world = World::new();
    let allowed = world.mkdir("allowed");
    let outside = world.busybox_sqfs("xz");
    let image = allowed.join("i.sqfs");
    std::fs::rename(world.busybox_sqfs("gzip"), &image).expect("the home can be written");
    let overlay = world.ext3_overlay(64);
    let conf = format!("limit container paths = {}\n", allowed.display());
    let text = "singularity image is not in an allowed configured path";
    starter_says(&mut world, &[], &image, &conf).assert_fatal(ACCEPTED);
    for overlay in [overlay.display().to_string(), format!("{}:ro", outside.display())] {
        starter_says(&mut world, &["--overlay", &overlay], &image, &conf).assert_fatal(text);
    }
    world.conf("");
    let mut plan = HandMade::bare(&world, &[], &image);
    let data = protocol::Image {
        descriptor: plan.source(&outside),
        content: HandMade::bare(&world, &[], &outside).plan.root.content,
    };
    plan.plan.mounts.push(Mount::Data {
        image: data,
        within: None,
        destination: tests::place("/mnt"),
        writable: false,
    });
    world.conf(&conf);
    plan.hand_over(&world).run().assert_fatal(text);
}

#[test]
fn where_images_are_limited_one_without_a_name_is_refused() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let plan = HandMade::bare(&world, &[], &image);
    let conf = "limit container owners = laminatest1\n";
    world.conf(conf);
    plan.hand_over(&world).run().assert_fatal(ACCEPTED);
    let opening = format!("d:{}", image.display());
    plan.open_as(0, opening).hand_over(&world).run().assert_fatal("one without a name");
}

#[test]
fn a_directory_as_an_overlay_is_refused_to_users() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let folder = world.mkdir("changes");
    world.conf("");
    let plain = HandMade::bare(&world, &[], &image);
    for writable in [false, true] {
        let mut plan = plain.clone();
        let layer = protocol::Image { descriptor: plan.source(&folder), content: Content::Directory };
        if writable {
            plan.plan.writable = Writable::Overlay(layer);
        } else {
            plan.plan.layers.push(layer);
        }
        plan.hand_over(&world).run().assert_fatal("only root user can use sandbox as overlay in setuid mode");
    }
}

#[test]
fn an_image_is_what_the_plan_says_or_it_is_refused() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let (text, overlay) = (world.write("text", vec![b'x'; 70000]), world.ext3_overlay(64));
    let plain = HandMade::bare(&world, &[], &image);
    let Content::Squashfs(window) = plain.plan.root.content else {
        panic!("a squashfs is one");
    };
    let cases = [
        (&text, Content::Squashfs(window), "there is no squashfs where the plan says"),
        (&text, Content::Ext3(window), "there is no ext3 where the plan says"),
        (&image, Content::Ext3(window), "there is no ext3 where the plan says"),
        (&overlay, Content::Squashfs(window), "there is no squashfs where the plan says"),
        (
            &image,
            Content::Squashfs(Window { size: 200, ..window }),
            "there is no squashfs where the plan says",
        ),
        (&image, Content::Squashfs(Window { size: window.size + (1 << 40), ..window }), "outside its file"),
        (
            &image,
            Content::Squashfs(Window { offset: 1, ..window }),
            "there is no squashfs where the plan says",
        ),
        (&image, Content::Directory, "directory of something that is none"),
    ];
    for (source, content, reason) in cases {
        let mut plan = plain.clone();
        plan.sources = vec![source.clone()];
        plan.plan.root.content = content;
        plan.hand_over(&world).run().assert_fatal(reason);
    }
}

#[test]
fn an_image_to_be_written_was_opened_for_writing() {
    let world = World::new();
    let overlay = world.ext3_overlay(64);
    std::fs::set_permissions(&overlay, PermissionsExt::from_mode(0o444)).expect("it is ours");
    let image = world.busybox_sqfs("gzip");
    let mut plan = HandMade::bare(&world, &["--overlay", &format!("{}:ro", overlay.display())], &image);
    let layer = plan.plan.layers.pop().expect("there is one");
    plan.plan.writable = Writable::Overlay(layer);
    plan.read_only = true;
    plan.hand_over(&world).run().assert_fatal("was not opened for writing");
}
