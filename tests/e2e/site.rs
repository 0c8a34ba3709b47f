//! What the site forbids does not happen, and the refusal says where that is written.

use tests::{Output, World};

/// Runs busybox's `true` from a squashfs, under a configuration of one line.
fn refused_by(line: &str, options: &[&str]) -> Output {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.conf(&format!("# the directive is on line 2\n{line}\n"));
    world.lamina(["exec"]).args(options).arg(image).arg("true").run()
}

#[test]
fn without_a_line_about_it_a_container_runs() {
    refused_by("", &[]).assert_ok();
}

#[test]
fn a_refusal_names_the_directive_and_its_line() {
    for (line, options) in [
        ("allow container squashfs = no", &[][..]),
        ("limit container owners = root", &[]),
        ("limit container paths = /nowhere", &[]),
        ("enable overlay = no", &["--writable-tmpfs"]),
    ] {
        let directive = line.split(" = ").next().expect("there is one");
        refused_by(line, options).assert_fatal(directive).assert_stderr_has("2");
    }
}

#[test]
fn a_bad_value_stops_every_container() {
    refused_by("allow pid ns = perhaps", &[]).assert_fatal("perhaps");
}

#[test]
fn an_unknown_directive_stops_nothing() {
    refused_by("allow time travel = no", &[]).assert_ok();
}
