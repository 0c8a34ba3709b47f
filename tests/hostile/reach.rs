//! What a user may not reach, and may not even learn of, through a container.

use protocol::{Content, Image, Mount};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use tests::{HandMade, World, place};

/// A tree of the host's with a part that is closed to the user: `closed/there`, which only root reaches, in a folder
/// that is open to everybody.
fn closed_tree(world: &World) -> std::path::PathBuf {
    let tree = world.folder().join("tree");
    fs::create_dir_all(tree.join("closed")).expect("it is our folder");
    fs::write(tree.join("closed/there"), "secret").expect("it is our folder");
    fs::set_permissions(tree.join("closed/there"), Permissions::from_mode(0o644)).expect("it is our file");
    fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o700)).expect("it is our folder");
    for name in ["bin", "proc", "dev", "etc", "mnt"] {
        fs::create_dir_all(tree.join(name)).expect("it is our folder");
    }
    fs::copy(world.busybox_sandbox().join("bin/busybox"), tree.join("bin/sh")).expect("it is our folder");
    tree
}

#[test]
fn no_overlay_image_copies_what_a_directory_keeps_from_its_reader() {
    let mut world = World::new();
    let (sandbox, overlay) = (world.busybox_sandbox(), world.ext3_overlay(8).display().to_string());
    let secret = sandbox.join("secret");
    fs::write(&secret, "hidden").expect("root may");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("root may");
    let script = "mv /secret /mine && echo moved";
    let plan = HandMade::bare(&world, &["--overlay", &overlay], &sandbox).running(&world, script);
    let refused = plan.hand_over(&world).run().assert_fatal("would show its user what he may not read in it");
    refused.assert_stderr_has("'allow image overlay on dir'");
    world.conf("allow image overlay on dir = yes\n");
    plan.hand_over(&world).run().assert_ok().assert_stdout("moved");
}

#[test]
fn a_directory_with_something_mounted_in_it_is_no_image_that_shows_what_is_beneath() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    world.mkdir("busybox/hidden");
    world.write("busybox/hidden/file", "beneath");
    let plan = HandMade::bare(&world, &[], &sandbox).running(&world, "cat /hidden/file");
    plan.hand_over(&world).run().assert_ok().assert_stdout("beneath");
    let cover = world.tmpfs("busybox/hidden", "mode=0755");
    plan.hand_over(&world).run().assert_fatal("would show what that hides");
    for flow in [&[][..], &["--userns"]] {
        let run = world.lamina(["exec"]).args(flow).arg(&sandbox).args(["cat", "/hidden/file"]);
        run.run().assert_fatal("would show what that hides").assert_stderr_has("copy the directory");
    }
    drop(cover);
}

/// A file to bind, and what is said when it is bound over something in a closed folder: it must not depend on what
/// is there.
#[track_caller]
fn says_the_same(world: &World, plan: &HandMade, closed: &str) {
    let file = world.write("file", "mine");
    let mut said = Vec::new();
    for name in ["there", "not-there", "there/below"] {
        let mut plan = plan.clone();
        plan.bind(&file, format!("{closed}/{name}"));
        let output = plan.hand_over(world).run();
        assert_ne!(output.status, Some(0), "{output}");
        said.push(output.stderr.replace(&format!("{closed}/{name}"), "PLACE"));
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:#?}");
}

#[test]
fn a_directory_of_the_hosts_as_root_tells_nothing_of_what_its_user_cannot_reach() {
    let mut world = World::new();
    let tree = closed_tree(&world);
    let plan = HandMade::bare(&world, &[], &tree).running(&world, "echo in");
    for conf in ["", "enable underlay = preferred\n", "enable overlay = no\nenable underlay = no\n"] {
        world.conf(conf);
        says_the_same(&world, &plan, "/closed");
    }
}

#[test]
fn a_directory_of_the_hosts_that_is_bound_tells_nothing_of_what_its_user_cannot_reach() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let tree = closed_tree(&world);
    let mut plan = HandMade::bare(&world, &[], &image).running(&world, "echo in");
    plan.bind(&tree, "/mnt");
    says_the_same(&world, &plan, "/mnt/closed");
}

#[test]
fn an_underlay_opens_no_closed_folder() {
    let mut world = World::new();
    let tree = closed_tree(&world);
    let image = tree.clone();
    let mut plan = HandMade::bare(&world, &[], &image)
        .running(&world, "cd /closed && echo *; read line </closed/there; echo $line");
    let file = world.write("file", "mine");
    plan.bind(&file, "/closed/new");
    world.conf("enable underlay = preferred\n");
    let output = plan.hand_over(&world).run();
    assert!(!output.stdout.contains("there") && !output.stdout.contains("secret"), "{output}");
}

#[test]
fn what_others_have_closed_cannot_be_opened_for_a_plan_nor_by_the_starter() {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let tree = closed_tree(&world);
    let plan = HandMade::bare(&world, &[], &image).running(&world, "cat /mnt/closed/there");
    let mut through = plan.clone();
    through.bind(&tree, "/mnt");
    let output = through.hand_over(&world).run();
    assert!(output.status != Some(0) && !output.stdout.contains("secret"), "{output}");
    // The same as an image: the kernel keeps the user from opening what is below.
    let mut data = plan.clone();
    let descriptor = data.source(&tree.join("closed/there"));
    let content = Content::Directory;
    data.plan.mounts.push(Mount::Data {
        image: Image { descriptor, content },
        within: None,
        destination: place("/mnt"),
        writable: false,
    });
    let output = data.hand_over(&world).run();
    assert!(output.stderr.contains("EACCES"), "{output}");
}
