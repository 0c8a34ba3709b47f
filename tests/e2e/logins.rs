//! Logging in to registries, and every place that credentials come from.

use crate::registries::over_http;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tests::{LOGIN, Layout, Output, Registry, World};

const FILE: &str = "configuration/docker-config.json";

/// A registry that wants a password, and an image in it.
fn closed() -> (Registry, String) {
    let registry = Registry::start_with_login();
    registry.hold(&Layout::of_busybox(), "box:1");
    let image = registry.image("box:1");
    (registry, image)
}

fn address(registry: &Registry) -> String {
    format!("docker://{}", registry.address())
}

fn login(world: &World, registry: &Registry, password: &str) -> Output {
    let words = ["registry", "login", "--username", LOGIN.0, "--password-stdin", &address(registry)];
    over_http(world, &words).stdin(format!("{password}\n")).run()
}

/// Answers questions on a terminal, each when it is asked, and returns what the terminal showed.
fn on_a_terminal(world: &World, command: &str, answers: &[(&str, &str)]) -> String {
    let says: String = answers
        .iter()
        .map(|(question, answer)| {
            format!("until grep -q '{question}' log; do sleep 0.05; done; echo '{answer}'; ")
        })
        .collect();
    let script = format!(
        ": >log; {{ {says} }} | script --quiet --flush --command \"{command}\" log >/dev/null; cat log"
    );
    let run = world.program("/bin/sh").args(["-c", &script]).env("SINGULARITY_NOHTTPS", "1");
    let run = run.env("SINGULARITY_CONFIGDIR", world.path("configuration"));
    run.env("SINGULARITY_CACHEDIR", world.path("cache")).run().stdout
}

#[test]
fn a_login_is_tried_kept_listed_and_forgotten() {
    let (registry, image) = closed();
    let world = World::new();
    let pull = || over_http(&world, &["pull", "--force", &image]).run();
    let refused = pull().assert_status(255);
    assert!(refused.stderr.contains("registry login"), "{}", refused.stderr);
    let wrong = login(&world, &registry, "wrong").assert_status(255);
    assert!(wrong.stderr.contains("takes neither this name nor this password"), "{}", wrong.stderr);
    assert!(!world.path(FILE).exists());
    let stored = format!("INFO:    Token stored in {}", world.path(FILE).display());
    login(&world, &registry, LOGIN.1).assert_ok().assert_stderr_has(&stored);
    assert_eq!(fs::metadata(world.path(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    pull().assert_ok();
    let list = over_http(&world, &["registry", "list"]).run().assert_ok();
    assert!(list.stdout.contains(&address(&registry)) && list.stdout.contains(LOGIN.0), "{}", list.stdout);
    // A password that is wrong now changes nothing.
    login(&world, &registry, "wrong").assert_status(255);
    pull().assert_ok();
    over_http(&world, &["registry", "logout", &address(&registry)]).run().assert_ok();
    pull().assert_status(255);
    let again = over_http(&world, &["registry", "logout", &address(&registry)]).run().assert_status(255);
    assert!(again.stderr.contains("has no login for"), "{}", again.stderr);
}

#[test]
fn credentials_come_from_flags_variables_and_files() {
    let (registry, image) = closed();
    let world = World::new();
    login(&world, &registry, LOGIN.1).assert_ok();
    fs::rename(world.path(FILE), world.path("auth.json")).unwrap();
    let pull = |options: &[&str]| {
        over_http(&world, &[&["pull", "--force", "--disable-cache"], options, &[&image]].concat())
    };
    pull(&[]).run().assert_status(255);
    pull(&["--docker-username", LOGIN.0, "--docker-password", LOGIN.1]).run().assert_ok();
    for prefix in ["", "SINGULARITY_"] {
        let with = |user: &str, password: &str| {
            let pull = pull(&[]).env(&format!("{prefix}DOCKER_USERNAME"), user);
            pull.env(&format!("{prefix}DOCKER_PASSWORD"), password).run()
        };
        with(LOGIN.0, LOGIN.1).assert_ok();
        with(LOGIN.0, "wrong").assert_status(255);
    }
    pull(&["--authfile", "auth.json"]).run().assert_ok();
    pull(&[]).env("SINGULARITY_AUTHFILE", "auth.json").run().assert_ok();
    let missing = pull(&["--authfile", "missing.json"]).run().assert_status(255);
    assert!(missing.stderr.contains("missing.json"), "{}", missing.stderr);
    // What is given counts more than what is kept.
    pull(&["--authfile", "auth.json"])
        .env("DOCKER_USERNAME", LOGIN.0)
        .env("DOCKER_PASSWORD", "wrong")
        .run()
        .assert_status(255);
    fs::rename(world.path("auth.json"), world.path(FILE)).unwrap();
    pull(&[]).run().assert_ok();
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let (registry, image) = closed();
    let world = World::new();
    let lamina = world.installed().lamina();
    let login = format!("{} registry login {}", lamina.display(), address(&registry));
    let answers = [("Username:", LOGIN.0), ("Password", LOGIN.1)];
    let shown = on_a_terminal(&world, &login, &answers);
    assert!(shown.contains("Token stored in") && !shown.contains(LOGIN.1), "{shown}");
    fs::remove_file(world.path(FILE)).unwrap();
    let pull = format!("{} pull --docker-login {image}", lamina.display());
    let shown = on_a_terminal(&world, &pull, &answers);
    assert!(world.path("box_1.sif").exists() && !shown.contains(LOGIN.1), "{shown}");
}

#[test]
fn what_cannot_be_logged_in_to_is_said() {
    let world = World::new();
    for (name, said) in [
        ("library://cloud.example", "unsupported transport type: library"),
        ("docker://no registry", "is no name of a registry"),
        ("box", "is no name of a registry"),
    ] {
        let login = ["registry", "login", "-u", "me", "-p", "secret", name];
        let refused = over_http(&world, &login).run().assert_status(255);
        assert!(refused.stderr.contains(said) && !refused.stderr.contains("secret"), "{}", refused.stderr);
    }
    let nobody =
        over_http(&world, &["registry", "login", "docker://registry.example"]).run().assert_status(255);
    assert!(nobody.stderr.contains("standard input is not a terminal"), "{}", nobody.stderr);
    assert!(world.files().is_empty());
}
