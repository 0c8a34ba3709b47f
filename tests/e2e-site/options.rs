//! Options of everyday use, each for what it does to the container.

use crate::surroundings::inside;
use std::path::PathBuf;
use tests::World;

fn world_and_image() -> (World, PathBuf) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    (world, image)
}

#[test]
fn name_servers_of_ones_own_are_all_that_the_containers_resolv_conf_has() {
    let (mut world, image) = world_and_image();
    let read = "cat /etc/resolv.conf";
    let servers = "nameserver 192.0.2.1\nnameserver 2001:db8::1";
    inside(&world, &["--dns", "192.0.2.1, 2001:db8::1"], &image, read)
        .run()
        .assert_ok()
        .assert_stdout(servers);
    inside(&world, &[], &image, read)
        .env("SINGULARITY_DNS", "192.0.2.1")
        .run()
        .assert_stdout("nameserver 192.0.2.1");
    inside(&world, &["--dns", "localhost"], &image, read)
        .run()
        .assert_fatal("--dns: localhost is not a valid IP address");
    world.conf("config resolv_conf = no\n");
    inside(&world, &["--dns", "192.0.2.1"], &image, "! grep 192.0.2.1 /etc/resolv.conf")
        .run()
        .assert_ok()
        .assert_stderr_has("WARNING: Ignoring --dns");
}

#[test]
fn an_app_is_run_by_its_own_script_in_its_own_environment() {
    let world = World::new();
    let image = world.busybox_sandbox();
    let script = |path: &str, text: &str| {
        let place = image.join(path);
        std::fs::create_dir_all(place.parent().expect("it is in a folder")).expect("the image is ours");
        std::fs::write(&place, text).expect("the image is ours");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&place, mode).expect("the image is ours");
    };
    script("scif/apps/hello/scif/runscript", "#!/bin/sh\necho run $SINGULARITY_APPNAME $1\n");
    script("scif/apps/hello/scif/test", "#!/bin/sh\necho test $APPTAINER_APPNAME\n");
    let act = |action: &str, app: &str| world.lamina([action, "--app", app]).arg(&image).arg("word");
    act("run", "hello").run().assert_ok().assert_stdout("run hello word");
    act("test", "hello").run().assert_ok().assert_stdout("test hello");
    act("run", "other").run().assert_status(1).assert_stderr_has("no runscript for contained app: other");
    act("run", "../hello").run().assert_fatal("is not the name of an app");
    let by_variable = world.lamina(["run"]).arg(&image).env("APPTAINER_APPNAME", "hello");
    by_variable.run().assert_ok().assert_stdout("run hello");
}

#[test]
fn a_network_of_its_own_has_loopback_and_nothing_else() {
    let (world, image) = world_and_image();
    let devices = "ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 >/dev/null || cat /sys/class/net/lo/flags";
    for options in [&["--net", "--network", "none"][..], &["--network=none"], &["-np", "--network=none"]] {
        inside(&world, options, &image, devices).as_root().run().assert_ok().assert_stdout("lo");
        let up = "ls /sys/class/net; cat /sys/class/net/lo/flags";
        inside(&world, options, &image, up).run().assert_ok().assert_stdout("lo\n0x9");
    }
    let program = world.installed().prefix().join("bin/apptainer");
    let apptainer = world.program(program).args(["exec", "--net"]).arg(&image).args(["ls", "/sys/class/net"]);
    apptainer.run().assert_ok().assert_stdout("lo");
    inside(&world, &["--net"], &image, "true").run().assert_fatal("network 'bridge' is not supported");
    inside(&world, &["--network=mine"], &image, "true").run().assert_fatal("network 'mine' is not supported");
}
