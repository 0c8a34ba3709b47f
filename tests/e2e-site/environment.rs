//! The variables a program starts with, and who overrules whom.

use crate::surroundings::{inside, world_and_image};
use std::path::Path;
use tests::{Command, World};

/// The value of `X` in a container.
fn x(world: &World, options: &[&str], image: &Path) -> Command {
    inside(world, options, image, "echo \"${X-unset}\"")
}

/// The same, under the name of an incumbent.
fn x_by(world: &World, name: &str, options: &[&str], image: &Path) -> Command {
    let program = world.installed().prefix().join("bin").join(name);
    world.program(program).arg("exec").args(options).arg(image).args(["sh", "-c", "echo \"${X-unset}\""])
}

#[test]
fn values_rise_from_the_host_over_files_and_the_prefix_to_the_flag() {
    let (world, image) = world_and_image();
    world.write("file", "X=file\n");
    x(&world, &[], &image).run().assert_stdout("unset");
    x(&world, &[], &image).env("X", "host").run().assert_stdout("host");
    let with_prefix =
        |options: &[&str]| x(&world, options, &image).env("X", "host").env("SINGULARITYENV_X", "prefix");
    with_prefix(&[]).run().assert_stdout("prefix");
    with_prefix(&["--env", "X=flag"]).run().assert_stdout("flag");
    x(&world, &["--env-file", "file"], &image).env("X", "host").run().assert_stdout("file");
    x(&world, &["--env-file", "file", "--env", "X=flag"], &image)
        .run()
        .assert_stdout("flag")
        .assert_stderr_has("WARNING: ");
}

#[test]
fn the_prefix_of_the_name_in_use_wins_over_the_other() {
    let (world, image) = world_and_image();
    for (name, expected) in [("singularity", "s"), ("apptainer", "a"), ("lamina", "s")] {
        x_by(&world, name, &[], &image)
            .env("SINGULARITYENV_X", "s")
            .env("APPTAINERENV_X", "a")
            .run()
            .assert_ok()
            .assert_stdout(expected);
        for (variable, value) in [("SINGULARITYENV_X", "s"), ("APPTAINERENV_X", "a")] {
            x_by(&world, name, &[], &image).env(variable, value).run().assert_ok().assert_stdout(value);
        }
    }
}

#[test]
fn a_clean_environment_has_the_terminal_the_proxies_and_what_was_asked_for() {
    let (world, image) = world_and_image();
    for option in ["-e", "--cleanenv", "--containall"] {
        let script = "echo \"$X,$TERM,$http_proxy,$NO_PROXY,$LANG,$Y,$Z,$USER_PATH\"";
        let output = inside(&world, &[option, "--env", "Z=z"], &image, script)
            .env("X", "host")
            .env("TERM", "vt100")
            .env("http_proxy", "p")
            .env("NO_PROXY", "n")
            .env("LANG", "de_DE.UTF-8")
            .env("SINGULARITYENV_Y", "y")
            .run();
        output.assert_ok().assert_stdout(",vt100,p,n,C,y,z,");
    }
}

#[test]
fn home_path_and_libraries_are_the_containers_own() {
    let (world, image) = world_and_image();
    let script = "echo $HOME; echo $PATH; echo $LD_LIBRARY_PATH; echo $USER_PATH";
    let output = inside(&world, &[], &image, script)
        .env("HOME", "/elsewhere")
        .env("LD_LIBRARY_PATH", "/host/lib")
        .env("PATH", "/host/bin:/bin")
        .run();
    output.assert_ok().assert_stdout(
        "/opt/lamina-test/home/laminatest1\n\
         /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         /.singularity.d/libs\n\
         /host/bin:/bin:/bin:/usr/bin:/sbin:/usr/sbin:/usr/local/bin:/usr/local/sbin",
    );
}

#[test]
fn path_and_libraries_can_be_replaced_and_extended() {
    let (world, image) = world_and_image();
    let path = |variable: &str, value: &str| {
        inside(&world, &[], &image, "echo $PATH").env(variable, value).run().assert_ok().stdout
    };
    let default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(path("SINGULARITYENV_PREPEND_PATH", "/first"), format!("/first:{default}\n"));
    assert_eq!(path("SINGULARITYENV_APPEND_PATH", "/last"), format!("{default}:/last\n"));
    assert_eq!(path("SINGULARITYENV_PATH", "/bin"), "/bin\n");
    inside(&world, &[], &image, "echo $LD_LIBRARY_PATH")
        .env("SINGULARITYENV_LD_LIBRARY_PATH", "/mine")
        .run()
        .assert_ok()
        .assert_stdout("/mine:/.singularity.d/libs");
}

#[test]
fn home_cannot_be_set_as_a_variable() {
    let (world, image) = world_and_image();
    inside(&world, &[], &image, "echo $HOME")
        .env("SINGULARITYENV_HOME", "/elsewhere")
        .run()
        .assert_ok()
        .assert_stdout("/opt/lamina-test/home/laminatest1")
        .assert_stderr_has(
            "WARNING: Overriding HOME environment variable with SINGULARITYENV_HOME is not permitted",
        );
}

#[test]
fn variables_that_speak_to_the_program_do_not_enter() {
    let (world, image) = world_and_image();
    let output = inside(&world, &[], &image, "env")
        .env("SINGULARITY_BINDPATH", "/etc/passwd:/mnt/a")
        .env("SINGULARITYENV_X", "x")
        .env("APPTAINER_NO_MOUNT", "sys")
        .env("SINGULARITY_SOMETHING", "else")
        .run()
        .assert_ok();
    for line in output.stdout.lines() {
        let name = line.split('=').next().unwrap_or_default();
        assert!(
            !name.contains("ENV_X")
                && !name.ends_with("BINDPATH")
                && !name.ends_with("SOMETHING")
                && !name.ends_with("NO_MOUNT"),
            "{line}"
        );
    }
}

#[test]
fn a_container_says_what_it_is() {
    let (world, image) = world_and_image();
    let script = "for p in SINGULARITY APPTAINER; do for n in CONTAINER NAME COMMAND BIND ENVIRONMENT; do eval echo \\$${p}_$n; done; done";
    let output = inside(&world, &["--bind", "/etc/passwd:/mnt/x"], &image, script).run();
    let one = format!(
        "{}\nbusybox-gzip.sqfs\nexec\n/etc/passwd:/mnt/x\n/.singularity.d/env/91-environment.sh",
        image.display()
    );
    output.assert_ok().assert_stdout(&format!("{one}\n{one}"));
}

#[test]
fn values_arrive_whole_whatever_is_in_them() {
    let (world, image) = world_and_image();
    for value in ["", " ", "a b", "a\nb", "'", "\"", "\\", "$(id)", "`id`", "\u{e4}", "=", "a,b"] {
        let output = x(&world, &[], &image).env("X", value).run().assert_ok();
        assert_eq!(output.stdout, format!("{value}\n"));
        let output = x(&world, &["--no-eval"], &image).env("SINGULARITYENV_X", value).run().assert_ok();
        let expected = if value.is_empty() { "" } else { value };
        assert!(output.stdout == format!("{expected}\n") || value.is_empty(), "{output}");
    }
    // Values of one's own are evaluated as in double quotes, unless that is not wanted.
    let evaluated = |options: &[&str], value: &str| {
        x(&world, options, &image).env("SINGULARITYENV_X", value).run().assert_ok().stdout
    };
    assert_eq!(evaluated(&[], "$HOME/x"), "/opt/lamina-test/home/laminatest1/x\n");
    assert_eq!(evaluated(&["--no-eval"], "$HOME/x"), "$HOME/x\n");
    assert_eq!(evaluated(&[], "$(echo in)side"), "inside\n");
}

#[test]
fn an_env_flag_takes_several_assignments_and_refuses_what_is_none() {
    let (world, image) = world_and_image();
    inside(&world, &["--env", "X=1,Y=2", "--env", "Z=a,b"], &image, "echo $X $Y $Z")
        .run()
        .assert_ok()
        .assert_stdout("1 2 a,b");
    inside(&world, &["--env", "nothing"], &image, "true").run().assert_fatal("NAME=VALUE");
}

#[test]
fn an_env_file_is_a_file_of_shell_assignments() {
    let (world, image) = world_and_image();
    world.write("one", "# comment\nX=\"a b\"\nexport Y=$X-y\n");
    world.write("two", "Y=later\n");
    inside(&world, &["--env-file", "one"], &image, "echo $X,$Y").run().assert_ok().assert_stdout("a b,a b-y");
    inside(&world, &["--env-file", "one,two"], &image, "echo $X,$Y")
        .run()
        .assert_ok()
        .assert_stdout("a b,later");
    inside(&world, &[], &image, "echo $X,$Y")
        .env("SINGULARITY_ENV_FILE", "one")
        .run()
        .assert_ok()
        .assert_stdout("a b,a b-y");
    inside(&world, &["--env-file", "missing"], &image, "true")
        .run()
        .assert_fatal("while reading environment file missing");
    for broken in ["X=\"a\n", "exit 3\n", "exit 0\n"] {
        world.write("broken", broken);
        inside(&world, &["--env-file", "broken"], &image, "echo ran")
            .run()
            .assert_fatal("while reading environment file broken: the shell ended")
            .assert_stdout("");
    }
}

#[test]
fn no_env_leaves_variables_of_the_host_out() {
    let (world, image) = world_and_image();
    inside(&world, &["--no-env", "X,Y"], &image, "echo \"$X,$Y,$Z\"")
        .env("X", "1")
        .env("Y", "2")
        .env("Z", "3")
        .run()
        .assert_ok()
        .assert_stdout(",,3");
}

#[test]
fn variables_stand_for_flags_that_were_not_typed() {
    let (world, image) = world_and_image();
    let script = "ls /tmp | wc -l; pwd";
    world.mkdir("inside");
    let run = |options: &[&str], variable: &str, value: &str| {
        inside(&world, options, &image, script).env(variable, value).run()
    };
    for (variable, value) in [
        ("SINGULARITY_CONTAIN", "1"),
        ("SINGULARITY_CONTAIN", "true"),
        ("APPTAINER_CONTAIN", "t"),
        ("SINGULARITY_CONTAINALL", "TRUE"),
    ] {
        run(&[], variable, value).assert_ok().assert_stdout("0\n/opt/lamina-test/home/laminatest1");
    }
    for (options, variable, value) in [
        (&[][..], "SINGULARITY_CONTAIN", "0"),
        (&[], "SINGULARITY_CONTAIN", " "),
        (&["--contain=false"], "SINGULARITY_CONTAIN", "1"),
    ] {
        let output = run(options, variable, value).assert_ok();
        assert!(output.stdout.ends_with(&format!("{}\n", world.home().display())), "{output}");
    }
    run(&[], "SINGULARITY_CONTAIN", "perhaps").assert_fatal("While parsing environment variables: ");
}

#[test]
fn apptainer_says_which_variables_it_would_rather_see() {
    let (world, image) = world_and_image();
    x_by(&world, "apptainer", &[], &image)
        .env("SINGULARITY_NO_HOME", "1")
        .run()
        .assert_ok()
        .assert_stderr_has(
            "INFO:    Environment variable SINGULARITY_NO_HOME is set, but APPTAINER_NO_HOME is preferred",
        );
    x_by(&world, "apptainer", &[], &image)
        .env("SINGULARITY_NO_HOME", "1")
        .env("APPTAINER_NO_HOME", "0")
        .run()
        .assert_ok()
        .assert_stderr_has(
            "WARNING: SINGULARITY_NO_HOME and APPTAINER_NO_HOME have different values, using the latter",
        );
}
