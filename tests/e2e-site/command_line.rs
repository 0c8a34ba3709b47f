//! What is typed, and what is said back.

use crate::surroundings::{inside, world_and_image};
use tests::{Command, World};

/// The product under one of its names.
fn by(world: &World, name: &str) -> Command {
    world.program(world.installed().prefix().join("bin").join(name))
}

#[test]
fn options_end_at_the_image() {
    let (world, image) = world_and_image();
    for options in
        [&[][..], &["--"], &["--no-home", "--"], &["-ce"], &["-B", "/etc:/mnt"], &["--bind=/etc:/mnt"]]
    {
        world
            .lamina(["exec"])
            .args(options)
            .arg(&image)
            .args(["echo", "--bind", "-c", "--", "--help", "-x"])
            .run()
            .assert_ok()
            .assert_stdout("--bind -c -- --help -x");
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_ends_with_1_and_the_usage() {
    let (world, image) = world_and_image();
    let image = image.display().to_string();
    for (words, text) in [
        (
            &["exec", "--no-such-flag", &image, "true"][..],
            "Error for command \"exec\": unknown flag: --no-such-flag",
        ),
        (&["exec", "-x", &image, "true"], "Error for command \"exec\": unknown flag: -x"),
        (&["exec", &image], "requires at least 2 arg(s), only received 1"),
        (&["exec"], "requires at least 2 arg(s), only received 0"),
        (&["exec", "--overlay"], "flag needs an argument: --overlay"),
        (&["exec", "-w", "-B"], "flag needs an argument: --bind"),
        (&["run"], "requires at least 1 arg(s), only received 0"),
        (&["no-such-command"], "unknown command \"no-such-command\" for \"lamina\""),
        (&["--no-such-flag"], "unknown flag: --no-such-flag"),
        (&["exec", "--contain=perhaps", &image, "true"], "Error for command \"exec\": "),
        (&["exec", "--bind"], "Error for command \"exec\": "),
    ] {
        world
            .lamina(words)
            .run()
            .assert_status(1)
            .assert_stderr_has(text)
            .assert_stderr_has("Run 'lamina --help' for more detailed usage information.");
    }
    world.lamina(["overlay"]).run().assert_status(1).assert_stderr_has("lamina overlay");
    world.lamina([""; 0]).run().assert_status(1).assert_stderr_has("Usage");
}

#[test]
fn help_and_version_go_to_standard_output_and_end_with_0() {
    let (world, _) = world_and_image();
    for words in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["exec", "--help"],
        &["help", "exec"],
        &["help", "overlay", "create"],
    ] {
        let output = world.lamina(words).run().assert_ok();
        assert!(output.stdout.contains("Usage: lamina") && output.stderr.is_empty(), "{output}");
    }
    for (name, package, level) in [
        ("lamina", "lamina version ", ""),
        ("singularity", "singularity-ce version 4.", "4."),
        ("apptainer", "apptainer version 1.", "1."),
    ] {
        let output = by(&world, name).arg("--version").run().assert_ok();
        assert!(output.stdout.starts_with(package), "{output}");
        let only = by(&world, name).arg("version").run().assert_ok();
        assert!(only.stdout.starts_with(level), "{only}");
        assert!(output.stdout.ends_with(&only.stdout), "{output}{only}");
    }
}

#[test]
fn what_the_incumbents_have_and_this_has_not_is_said_with_what_to_do_instead() {
    let (world, image) = world_and_image();
    for (option, value) in [("--nvccli", ""), ("--netns-path=/x", ""), ("--allow-setuid", "")] {
        let name = option.split('=').next().unwrap_or_default();
        let output = inside(&world, &[option], &image, "true").run();
        output.assert_fatal(&format!("{name} is not supported{value}"));
    }
    inside(&world, &["--nvccli=false"], &image, "true").run().assert_ok();
    for (command, instead) in
        [("plugin", "no plugins"), ("delete", "images are fetched from libraries"), ("remote", "--library")]
    {
        let output = world.lamina([command]).run().assert_fatal("is not part of this version");
        output.assert_stderr_has(instead);
    }
    world.lamina(["exec", "instance://one", "true"]).run().assert_fatal("no instance found with name one");
    world.lamina(["exec", "what://ever", "true"]).run().assert_fatal("unsupported transport type: what");
}

#[test]
fn messages_have_the_incumbents_form_and_levels() {
    let (world, image) = world_and_image();
    let says = |options: &[&str]| {
        // A warning, and then a failure.
        let words = ["exec", "--no-mount", "net", image.to_str().expect("a plain path"), "foo"];
        world.lamina(options).args(words).run()
    };
    let warning = "WARNING: Ignoring unknown mount type 'net'\n";
    let fatal = "FATAL:   \"foo\": executable file not found in $PATH\n";
    for options in [&[][..], &["-q"], &["--quiet"], &["--nocolor"]] {
        let output = says(options).assert_status(255);
        assert_eq!(output.stderr, format!("{warning}{fatal}"));
    }
    for options in [&["-s"][..], &["--silent"], &["-qs", "-q"]] {
        let output = says(options).assert_status(255);
        assert!(output.stderr.ends_with(fatal), "{output}");
        assert_eq!(output.stderr.contains("WARNING"), options.len() > 1, "{output}");
    }
    for options in [&["-v"][..], &["--verbose"], &["-d"], &["--debug"], &["-dqs"]] {
        says(options).assert_status(255).assert_stderr_has(warning).assert_stderr_has(fatal);
    }
    for (variable, quiet) in
        [("SINGULARITY_SILENT", true), ("APPTAINER_SILENT", true), ("SINGULARITY_QUIET", false)]
    {
        let output =
            inside(&world, &["--no-mount", "net"], &image, "true").env(variable, "1").run().assert_ok();
        assert_eq!(output.stderr.is_empty(), quiet, "{output}");
    }
}

#[test]
fn labels_are_coloured_on_a_terminal_unless_somebody_minds() {
    let (world, image) = world_and_image();
    let coloured = |global: &str, variable: Option<(&str, &str)>| {
        let command =
            format!("{} {global} exec {} foo", world.installed().lamina().display(), image.display());
        let mut script =
            world.program("/usr/bin/script").args(["--quiet", "--command", &command, "/dev/null"]);
        if let Some((name, value)) = variable {
            script = script.env(name, value);
        }
        let output = script.run();
        assert!(output.stdout.contains("executable file not found"), "{output}");
        output.stdout.contains("\x1b[31mFATAL:")
    };
    assert!(coloured("", None));
    assert!(coloured("", Some(("NO_COLOR", ""))));
    assert!(!coloured("--nocolor", None));
    assert!(!coloured("", Some(("NO_COLOR", "1"))));
    assert!(!coloured("", Some(("SINGULARITY_NOCOLOR", "1"))));
    assert!(!coloured("", Some(("TERM", "dumb"))));
}

#[test]
fn progress_is_shown_on_a_terminal_only_and_not_to_who_wants_silence() {
    let world = World::new();
    world.busybox_sandbox();
    let lamina = world.installed().lamina().display().to_string();
    let build = |global: &str| format!("{lamina} {global} build --force box.sif busybox");
    let on_terminal = |global: &str, term: &str| {
        let words = ["--quiet", "--command", &build(global), "/dev/null"];
        world.program("/usr/bin/script").args(words).env("TERM", term).run().assert_ok().stdout
    };
    let progress = |said: &str| said.contains('\x1b') && said.contains("Packing");
    let said = on_terminal("--nocolor", "xterm");
    assert!(progress(&said), "{said:?}");
    for (global, term) in [("--quiet", "xterm"), ("--silent", "xterm"), ("", "dumb")] {
        let said = on_terminal(global, term);
        assert!(!said.contains('\x1b') && !said.contains("Packing"), "{global} {term}: {said:?}");
    }
    let said = world.program("/bin/sh").args(["-c", &build("")]).run().assert_ok();
    assert!(!said.stderr.contains('\x1b') && !said.stderr.contains("Packing"), "{said}");
}

#[test]
fn names_of_files_cannot_forge_a_message() {
    let (world, _) = world_and_image();
    let output = world.lamina(["exec", "no\nFATAL:   forged\x1b[31m", "true"]).run().assert_status(255);
    assert_eq!(output.stderr.lines().filter(|line| line.starts_with("FATAL:")).count(), 1, "{output}");
    assert!(!output.stderr.contains('\x1b'), "{output}");
}

#[test]
fn a_dry_run_describes_the_plan_in_words() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64);
    let options = [
        "exec",
        "--dry-run",
        "--contain",
        "--pid",
        "--hostname",
        "inner",
        "--scratch",
        "/scratch",
        "--bind",
        "/etc:/mnt:ro",
        "--overlay",
    ];
    let output = world.lamina(options).arg(&overlay).arg(&image).arg("true").run().assert_ok();
    for (label, what) in [
        ("root", format!("{} (squashfs)", image.display())),
        ("writes", format!("into {} (ext3)", overlay.display())),
        ("mount", "/scratch                 memory".to_owned()),
        ("mount", "/mnt                     /etc, read-only".to_owned()),
        ("mount", "/proc                    a new one".to_owned()),
        ("mount", "/dev                     a minimal one".to_owned()),
        ("mount", "/etc/passwd              the image's, with the caller added".to_owned()),
        ("namespaces", "mount, pid, uts".to_owned()),
        ("hostname", "inner".to_owned()),
    ] {
        let line = format!("{label:<12} {what}");
        assert!(output.stdout.lines().any(|found| found == line), "{line}\n{output}");
    }
}

#[test]
fn a_dry_run_for_programs_names_every_source() {
    let (world, image) = world_and_image();
    let output = world
        .lamina(["exec", "--dry-run", "--json", "--bind", "/etc:/mnt"])
        .arg(&image)
        .arg("true")
        .run()
        .assert_ok();
    let said: serde_json::Value = serde_json::from_str(&output.stdout).expect("it is JSON");
    let sources: Vec<&str> =
        said["sources"].as_array().expect("a list").iter().filter_map(|source| source.as_str()).collect();
    assert!(
        sources.contains(&image.to_str().expect("a plain path")) && sources.contains(&"/etc"),
        "{output}"
    );
    let plan: protocol::Plan = serde_json::from_value(said["plan"].clone()).expect("it is a plan");
    assert_eq!(plan.descriptor_count(), sources.len());
    inside(&world, &["--json"], &image, "true").run().assert_fatal("--json needs --dry-run");
}

#[test]
fn flags_that_exclude_each_other_are_named() {
    let (world, image) = world_and_image();
    let overlay = world.ext3_overlay(64).display().to_string();
    inside(&world, &["--writable", "--overlay", &overlay], &image, "true")
        .run()
        .assert_fatal("--overlay in conjunction with --writable");
    inside(&world, &["--writable-tmpfs", "--overlay", &overlay], &image, "true")
        .run()
        .assert_fatal("you can't specify --writable-tmpfs with another writable overlay image");
    inside(&world, &["--writable"], &image, "true").run().assert_fatal("squashfs is a read-only filesystem");
    inside(&world, &["--writable-tmpfs", "--overlay", &format!("{overlay}:ro")], &image, "touch /new")
        .run()
        .assert_ok();
}

#[test]
fn an_image_that_cannot_be_used_is_named_with_the_reason() {
    let world = World::new();
    for (name, content, reason) in [
        ("missing", None, "no such file"),
        ("empty", Some(&b""[..]), ""),
        ("text", Some(&b"just some text that is no image at all\n"[..]), ""),
    ] {
        if let Some(content) = content {
            world.write(name, content);
        }
        let output = world.lamina(["exec", name, "true"]).run().assert_status(255);
        assert!(output.stderr.to_lowercase().contains(reason) && output.stderr.contains(name), "{output}");
    }
}

#[test]
fn another_configuration_cannot_be_chosen() {
    let (world, image) = world_and_image();
    let conf = world.write("mine.conf", "allow setuid = yes\n");
    let words = ["--config", conf.to_str().expect("a plain path"), "exec"];
    world
        .lamina(words)
        .args(["x", "true"])
        .as_root()
        .run()
        .assert_fatal("--config is not supported: the path");
    world.lamina(words).arg(&image).arg("true").run().assert_fatal("--config is not supported: the path");
}

#[test]
fn a_variable_cannot_choose_another_configuration_either() {
    let (world, image) = world_and_image();
    let exec = |path: &str| {
        let exec = world.lamina(["--quiet=false", "exec"]).arg(&image).arg("true");
        exec.env("SINGULARITY_CONFIG_FILE", path).run()
    };
    exec("/no/such/file")
        .assert_fatal("--config is not supported: the path")
        .assert_stderr_has("SINGULARITY_CONFIG_FILE");
    let own = world.lamina(["buildcfg", "SINGULARITY_CONF_FILE"]).run().assert_ok().stdout;
    exec(own.trim_end()).assert_ok();
}

#[test]
fn an_empty_value_asks_for_nothing_and_is_told_of() {
    let (world, image) = world_and_image();
    for (flag, value) in [("--overlay", ""), ("--bind", ",,"), ("--scratch", "")] {
        let run = world.lamina(["exec", flag, value]).arg(&image).args(["echo", "ran"]);
        let said = format!("WARNING: {flag} was given an empty value");
        run.run().assert_ok().assert_stdout("ran").assert_stderr_has(&said);
    }
    let run = world.lamina(["exec"]).arg(&image).args(["echo", "ran"]).env("SINGULARITY_BIND", "");
    assert_eq!(run.run().assert_ok().stderr, "");
}
