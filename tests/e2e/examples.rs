//! The examples that help prints work as they are printed.

use tests::{Layout, Registry, World};

/// The commands that the program's own help lists, but for `help` itself.
fn commands(world: &World) -> Vec<String> {
    let help = world.lamina(["--help"]).run().assert_ok().stdout;
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.map_while(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_once("  "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name != "help")
        .collect()
}

fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with('#')).collect()
}

/// What the examples of a command find: what they name and do not make themselves.
fn prepare(world: &World, registry: &Registry, command: &str) {
    world.mkdir("data");
    world.write("recipe.def", "Bootstrap: localimage\nFrom: directory\n%post\n    touch /made\n");
    world.write("new.conf", "allow setuid = yes\n");
    std::fs::rename(world.busybox_sandbox(), world.path("directory")).expect("root may");
    std::fs::rename(world.busybox_sqfs("gzip"), world.path("other.squashfs")).expect("root may");
    if command != "build" {
        std::fs::rename(world.busybox_sif(), world.path("image.sif")).expect("root may");
    }
    if ["overlay sync", "overlay seal"].contains(&command) {
        // Its overlay was changed after its digest was recorded.
        let sample =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/tests/images/stale-overlay.oci.sif.zst");
        world.write("image.oci.sif.zst", std::fs::read(sample).expect("it is in the source"));
        paste(world, registry, "zstd --quiet --decompress --rm image.oci.sif.zst");
    }
    if !command.ends_with("create") {
        std::fs::rename(world.ext3_overlay(64), world.path("changes.img")).expect("root may");
    }
}

/// What examples about signatures and keys find: a key of the user's own, a colleague's, and signed images to verify.
fn prepare_keys(world: &World, registry: &Registry, command: &str) {
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/../frontend/tests/images");
    let read = |name: &str| std::fs::read_to_string(format!("{images}/{name}")).expect("it is in the source");
    world.write("colleague.asc", read("tiny-signed-pgp.pub.asc"));
    paste(world, registry, "openssl genpkey -algorithm ed25519 -out private.pem");
    paste(world, registry, "openssl pkey -in private.pem -pubout -out public.pem");
    let newpair = "lamina key newpair -N Ada -E ada@example.org -C '' -P '' -b 2048";
    match command {
        "key remove" => paste(world, registry, "lamina key import colleague.asc"),
        "key import" | "key newpair" => {}
        _ => paste(world, registry, newpair),
    }
    if command == "verify" {
        paste(world, registry, "lamina sign image.sif");
        paste(world, registry, "lamina sign --key private.pem image.sif");
    }
}

/// What is said to lines that only root may run, to those that ask a question, and to those that ask for what no test may
/// make.
const REFUSED: [(&str, &str); 7] = [
    (" instance stats ", "no instance found"),
    (" registry login ", "standard input"),
    (" registry logout ", "has no login for"),
    (" config fakeroot ", "takes root"),
    (" capability add ", "takes root"),
    (" capability drop ", "takes root"),
    (" capability list", "no capability set"),
];

/// Runs a line as it would be pasted into a shell. Only root may change the site's file, and not in a test.
fn paste(world: &World, registry: &Registry, line: &str) {
    let line = match line.split_once(" config global ") {
        Some((program, rest)) => format!("{program} config global --dry-run {rest}"),
        None => line.to_owned(),
    };
    // Images that the examples only name are in a registry of the test's own.
    let line = ["docker", "oras"].iter().fold(line, |line, scheme| {
        line.replace(&format!("{scheme}://"), &format!("{scheme}://{}/", registry.address()))
    });
    let path = world.installed().prefix().join("bin");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.display());
    let output = world
        .program("/bin/sh")
        .args(["-c", &line])
        .env("PATH", path)
        .env("SINGULARITY_SYPGPDIR", world.path("ring"))
        .env("SINGULARITY_NOHTTPS", "1")
        .run();
    match REFUSED.iter().find(|(words, _)| line.contains(words)) {
        Some((_, why)) => output.assert_fatal(why),
        None => output.assert_ok(),
    };
}

#[test]
fn every_example_of_every_command_works_as_it_is_printed() {
    let commands = commands(&World::new());
    let registry = Registry::start();
    let image = Layout::of_busybox();
    for name in ["alpine:3.20", "registry.example.org/tools:latest"] {
        registry.hold(&image, name);
    }
    assert!(commands.iter().any(|name| name == "overlay create"), "{commands:?}");
    for command in commands {
        let world = World::new();
        let help = world.lamina(["help"]).args(command.split(' ')).run().assert_ok().stdout;
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{command} has no examples");
        prepare(&world, &registry, &command);
        if ["sign", "verify"].contains(&command.as_str()) || command.starts_with("key ") {
            prepare_keys(&world, &registry, &command);
        }
        for line in examples {
            paste(&world, &registry, line);
        }
    }
}

#[test]
fn help_says_the_same_however_it_is_asked_for() {
    let world = World::new();
    for command in commands(&world) {
        let words = || command.split(' ');
        let asked = world.lamina(["help"]).args(words()).run().assert_ok().stdout;
        for flag in ["--help", "-h"] {
            let told = world.lamina(words()).arg(flag).run().assert_ok();
            assert_eq!(
                (told.stdout.as_str(), told.stderr.as_str()),
                (asked.as_str(), ""),
                "{command} {flag}"
            );
        }
        assert!(asked.contains(&format!("Usage: lamina {command}")), "{asked}");
    }
}
