//! `build` from definition files, as an ordinary user and as root.

use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tests::{Command, Layout, Registry, World};

/// Both who may build.
fn in_each_role(check: impl Fn(&World, &dyn Fn(&[&str]) -> Command)) {
    let world = World::new();
    check(&world, &|arguments| world.lamina(arguments));
    let world = World::new();
    check(&world, &|arguments| world.lamina(arguments).as_root());
}

/// A definition on the busybox of the world, with these sections.
fn definition(world: &World, name: &str, sections: &str) {
    if !world.path("busybox").exists() {
        world.busybox_sandbox();
    }
    world.write(name, format!("Bootstrap: localimage\nFrom: busybox\n{sections}"));
}

fn read(world: &World, image: &str, script: &str) -> String {
    world.sh(&[], Path::new(image), script).run().assert_ok().stdout
}

#[test]
fn every_section_does_its_part() {
    in_each_role(|world, lamina| {
        world.write("file.txt", "from the host");
        let sections = "
%setup
    echo setup > $SINGULARITY_ROOTFS/set-up
%files
    file.txt /opt/
%post
    test $(id -u) = 0
    cat /set-up /opt/file.txt > /posted
    echo 'export LATE=late' >> $SINGULARITY_ENVIRONMENT
    echo 'Late label' >> $SINGULARITY_LABELS
%environment
    export GREETING=\"hello world\"
%runscript
    echo \"$GREETING $LATE $*\"
%startscript
    exec sleep 100
%test
    grep -q setup /posted && echo passed
%labels
    Author Me And You
%help
    What to do with it.
";
        definition(world, "it.def", sections);
        let built = lamina(&["build", "it.sif", "it.def"]).run().assert_ok();
        assert!(built.stdout.contains("passed"), "{built:?}");
        world
            .lamina(["run", "it.sif", "with", "words"])
            .run()
            .assert_ok()
            .assert_stdout("hello world late with words");
        assert_eq!(read(world, "it.sif", "cat /posted"), "setup\nfrom the host");
        world.lamina(["test", "it.sif"]).run().assert_ok().assert_stdout("passed");
        let inspect = |flag: &str| world.lamina(["inspect", flag, "it.sif"]).run().assert_ok().stdout;
        assert!(inspect("--deffile").contains("From: busybox\n\n%setup"));
        let labels = inspect("--labels");
        for wanted in ["Author: Me And You", "Late: label", "deffile.bootstrap: localimage"] {
            assert!(labels.contains(wanted), "{labels}");
        }
        assert!(inspect("--runscript").contains("echo \"$GREETING"));
        assert!(inspect("--startscript").contains("exec sleep 100"));
        assert!(inspect("--test").contains("echo passed"));
        assert!(inspect("--environment").contains("export LATE=late"));
        assert_eq!(inspect("--helpfile").trim(), "What to do with it.");
        // A second build on the first one keeps its definition.
        world.write("next.def", "Bootstrap: localimage\nFrom: it.sif\n%labels\n Author Other\n New label\n");
        let next = lamina(&["build", "next.sif", "next.def"]).run().assert_ok();
        assert!(next.stderr.contains("Label: Author already exists"), "{}", next.stderr);
        assert_eq!(
            read(world, "next.sif", "grep -c %setup /.singularity.d/bootstrap_history/Singularity0"),
            "1\n"
        );
        world.lamina(["run", "next.sif"]).run().assert_ok().assert_stdout("hello world late");
    });
}

#[test]
fn a_stage_takes_files_of_an_earlier_one_and_can_begin_with_nothing() {
    in_each_role(|world, lamina| {
        let sections = "\
Stage: tools
%post
    mkdir -p /out/bin
    printf '#!/bin/sh\\necho made by {{ WHO }}\\n' > /out/bin/tool
    chmod 755 /out/bin/tool
    cp -a /bin /out/system
Bootstrap: scratch
%arguments
    WHO=nobody
%files from tools
    /out/system /bin
    /out/bin/* /usr/local/bin/
%runscript
    tool
";
        definition(world, "two.def", &sections.replacen("%post", "%arguments\n WHO=nobody\n%post", 1));
        let arguments = ["build", "--build-arg", "WHO=a test", "--sandbox", "two", "two.def"];
        lamina(&arguments).run().assert_ok();
        world.lamina(["run", "two"]).run().assert_ok().assert_stdout("made by a test");
        assert!(!world.path("two/out").exists());
        let unused = lamina(&["build", "--build-arg", "WOH=x", "three.sif", "two.def"]).run();
        unused.assert_fatal("unused build args: WOH");
        assert!(!world.path("three.sif").exists());
    });
}

#[test]
fn what_fails_is_said_with_its_status_and_leaves_nothing() {
    in_each_role(|world, lamina| {
        let temporary = world.mkdir("tmp");
        for (section, script, wanted) in [
            ("post", "echo partly > /x\nexit 7", "%post failed: exit status 7"),
            ("post", "no-such-program", "%post failed: exit status 127"),
            ("setup", "exit 8", "%setup failed: exit status 8"),
            ("test", "exit 9", "%test failed: exit status 9"),
            ("files", "missing.txt /", "while copying missing.txt: no such file or directory"),
        ] {
            definition(world, "bad.def", &format!("%{section}\n{script}\n"));
            let target = world.write("target.sif", "precious");
            let command = lamina(&["build", "--force", "target.sif", "bad.def"]).env("TMPDIR", &temporary);
            command.run().assert_fatal(wanted);
            assert_eq!(fs::read(target).unwrap(), b"precious", "{section}");
            lamina(&["build", "--sandbox", "folder", "bad.def"]).run().assert_fatal(wanted);
            assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{section}");
            assert_eq!(world.files(), ["bad.def", "busybox", "target.sif", "tmp"], "{section}");
        }
        definition(world, "bad.def", "%test\nexit 9\n");
        lamina(&["build", "--notest", "untested.sif", "bad.def"]).run().assert_ok();
        definition(world, "bad.def", "%pots\n");
        lamina(&["build", "x.sif", "bad.def"])
            .run()
            .assert_fatal("bad.def:3: invalid section(s) specified: %pots; did you mean %post?");
    });
}

#[test]
fn a_build_whose_target_has_no_place_ends_before_it_begins() {
    let world = World::new();
    definition(&world, "a.def", "%setup\ntouch began\n");
    let roots = world.folder().join("a.sif").display().to_string();
    for (options, target, why) in [
        (&[][..], roots.as_str(), "Permission denied"),
        (&["--sandbox"], &roots, "Permission denied"),
        (&[], "missing/a.sif", "No such file or directory"),
    ] {
        let words = [&["build"], options, &[target, "a.def"]].concat();
        let output = world.lamina(words).run().assert_fatal(&format!("while creating {target}: {why}"));
        assert!(!output.stderr.contains("Starting build"), "{output}");
        assert_eq!(world.files(), ["a.def", "busybox"]);
    }
}

#[test]
fn an_interrupted_build_leaves_no_file_and_no_process() {
    in_each_role(|world, lamina| {
        let temporary = world.mkdir("tmp");
        definition(world, "slow.def", "%post\ntrap '' TERM\nsleep 1000 &\necho begun\nsleep 1000\n");
        let build = lamina(&["build", "slow.sif", "slow.def"]).env("TMPDIR", &temporary);
        let build = build.spawn().wait_for("begun");
        build.signal(Signal::SIGTERM);
        assert_eq!(build.finish().signal, Some(Signal::SIGTERM as i32));
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
        assert_eq!(world.files(), ["busybox", "slow.def", "tmp"]);
        world.assert_nothing_left();
    });
}

#[test]
fn an_image_of_a_registry_is_what_a_stage_begins_with() {
    let world = World::new();
    let registry = Registry::start();
    registry.hold(&Layout::of_busybox(), "team/box:latest");
    let reference = registry.image("team/box:latest");
    let from = reference.trim_start_matches("docker://");
    let text = format!(
        "Bootstrap: docker\nFrom: {from}\n\n%post\n    echo posted > /posted\n%runscript\n    cat /posted\n"
    );
    world.write("it.def", text);
    let build = world.lamina(["build", "it.sif", "it.def"]).env("SINGULARITY_NOHTTPS", "1");
    build.env("SINGULARITY_CACHEDIR", world.path("cache")).run().assert_ok();
    world.lamina(["run", "it.sif"]).run().assert_ok().assert_stdout("posted");
}

#[test]
fn a_sandbox_is_changed_by_a_definition_or_stays_as_it_is() {
    in_each_role(|world, lamina| {
        definition(world, "first.def", "%post\necho first > /first\n");
        lamina(&["build", "--sandbox", "box", "first.def"]).run().assert_ok();
        world.write(
            "second.def",
            "Bootstrap: docker\nFrom: not.fetched/at-all\n%post\ncat /first > /second\n",
        );
        lamina(&["build", "--update", "box", "second.def"]).run().assert_ok();
        assert_eq!(fs::read_to_string(world.path("box/second")).unwrap(), "first\n");
        world.write("bad.def", "Bootstrap: scratch\n%post\nrm /first\nexit 3\n");
        lamina(&["build", "--update", "box", "bad.def"]).run().assert_fatal("%post failed: exit status 3");
        assert!(world.path("box/first").exists());
        lamina(&["build", "--update", "--section", "labels", "box", "bad.def"]).run().assert_ok();
        lamina(&["build", "--update", "nothing", "bad.def"]).run().assert_fatal("--update changes a sandbox");
    });
}

#[test]
fn files_of_others_stay_theirs_and_packages_are_installed_by_who_is_lent_ids() {
    let world = World::new();
    world.debian_sif();
    let text = "Bootstrap: localimage\nFrom: debian.sif\n%post -c /bin/bash\n    chown 33:44 /srv\n    \
                apt-get -q install -y hello > /apt.log 2>&1 || cat /apt.log\n    hello\n%test\n    hello\n";
    world.write("it.def", text);
    let build = world.lamina(["build", "--notest", "it.sif", "it.def"]).run().assert_ok();
    assert!(build.stdout.contains("Hello, world!"), "{build}");
    assert_eq!(read(&world, "it.sif", "stat -c %u:%g /srv; hello"), "33:44\nHello, world!\n");
    let lonely = ["build", "--ignore-subuid", "lonely.sif", "it.def"];
    let build = world.lamina(lonely).run().assert_ok();
    assert!(build.stdout.contains("Hello, world!"), "{build}");
    assert_eq!(read(&world, "lonely.sif", "stat -c %u:%g /srv; hello"), "0:0\nHello, world!\n");
}

#[test]
fn debootstrap_is_asked_for_the_release_that_the_header_names() {
    let mut world = World::new();
    let root = world.busybox_sandbox();
    let programs = world.mkdir("programs");
    let script = format!(
        "#!/bin/sh\nset -e\necho \"$*\" > {}\nfor root; do case $root in */root-0) break ;; esac; done\n\
         cp -a {}/. $root\nmount -t tmpfs tmpfs $root/tmp\n",
        world.path("asked").display(),
        root.display()
    );
    let debootstrap = world.write("programs/debootstrap", script);
    fs::set_permissions(debootstrap, Permissions::from_mode(0o755)).unwrap();
    world.conf(&format!("user search path = {}:/usr/sbin:/usr/bin:/sbin:/bin\n", programs.display()));
    let text = "Bootstrap: debootstrap\nOSVersion: bookworm\nMirrorURL: http://mirror.example.org/debian\nInclude: a b\n\
                %post\necho made > /made\n";
    world.write("it.def", text);
    for build in [
        world.lamina(["build", "user.sif", "it.def"]),
        world.lamina(["build", "root.sif", "it.def"]).as_root(),
    ] {
        build.run().assert_ok();
        let asked = fs::read_to_string(world.path("asked")).unwrap();
        assert!(asked.contains("--include=apt,a,b bookworm /"), "{asked}");
        assert!(asked.ends_with("/root-0 http://mirror.example.org/debian\n"), "{asked}");
    }
    assert_eq!(read(&world, "user.sif", "cat /made"), "made\n");
    let lonely = world.lamina(["build", "--ignore-subuid", "lonely.sif", "it.def"]).run();
    lonely.assert_fatal("'Bootstrap: debootstrap' needs the ids of many users");
}

#[test]
fn apps_have_files_an_environment_and_tests_of_their_own() {
    in_each_role(|world, lamina| {
        let sections = "
%appinstall tool
    echo '#!/bin/sh' > bin/greet; echo 'echo $WORD from $SCIF_APPNAME' >> bin/greet; chmod 755 bin/greet
%appenv tool
    export WORD=hello
%apprun tool
    greet
%apphelp tool
    How to greet.
%applabels tool
    Version 1.2
";
        definition(world, "apps.def", sections);
        lamina(&["build", "apps.sif", "apps.def"]).run().assert_ok();
        world.lamina(["run", "--app", "tool", "apps.sif"]).run().assert_ok().assert_stdout("hello from tool");
        let inspect =
            |flag| world.lamina(["inspect", flag, "--app", "tool", "apps.sif"]).run().assert_ok().stdout;
        assert_eq!(inspect("--labels"), "Version: 1.2\n");
        assert!(inspect("--helpfile").contains("How to greet."));
    });
}

#[test]
fn post_and_test_see_what_is_bound_for_them() {
    in_each_role(|world, lamina| {
        world.write("data", "bound");
        definition(
            world,
            "it.def",
            "%setup\ntouch $SINGULARITY_ROOTFS/data\n%post\ncat /data > /copy\n%test\ncat /data\n",
        );
        let built = lamina(&["build", "--bind", "data:/data", "it.sif", "it.def"]).run().assert_ok();
        built.assert_stdout("bound");
        assert_eq!(read(world, "it.sif", "cat /copy; wc -c < /data"), "bound0\n");
    });
}
