//! Overlays written by one program and read by the other.

use crate::Apptainer;
use tests::World;

#[test]
fn an_overlay_made_and_written_here_is_seen_there() {
    let Some(apptainer) = Apptainer::find() else {
        return;
    };
    let world = World::new();
    let image = world.busybox_sif();
    let create = ["overlay", "create", "--size", "64", "changes.img"];
    world.lamina(create).as_root().run().assert_ok();
    let script = "echo here > /note; rm /bin/vi";
    world.sh(&["--overlay", "changes.img"], &image, script).as_root().run().assert_ok();
    let script = "cat /note; ls /bin/vi 2>/dev/null || echo gone";
    let words = ["exec", "--overlay", "changes.img:ro", "busybox.sif", "sh", "-c", script];
    assert_eq!(apptainer.run(&world.home(), &words), "here\ngone\n");
}

#[test]
fn an_overlay_inside_a_sif_made_and_written_here_is_seen_there() {
    let Some(apptainer) = Apptainer::find() else {
        return;
    };
    let world = World::new();
    let image = world.busybox_sif();
    let create = ["overlay", "create", "--size", "64", "busybox.sif"];
    world.lamina(create).as_root().run().assert_ok();
    world.sh(&["--writable"], &image, "echo here > /note").as_root().run().assert_ok();
    let words = ["exec", "busybox.sif", "cat", "/note"];
    assert_eq!(apptainer.run(&world.home(), &words), "here\n");
}
