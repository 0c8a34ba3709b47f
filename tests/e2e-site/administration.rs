//! What administrators ask: `config check`, `config global`, `doctor` and `explain`.

use serde_json::Value;
use std::path::Path;
use tests::{Output, World};

#[test]
fn a_file_with_nothing_wrong_is_passed_by_check() {
    let mut world = World::new();
    world.lamina(["config", "check"]).run().assert_ok();
    world.conf("mount home = no\n");
    world.lamina(["config", "check"]).run().assert_ok().assert_stdout("");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let mut world = World::new();
    let text =
        "mount home = yes\nalow setuid = no\nmount home = no\nlimit container owners = nobody-is-called-so\n";
    world.conf(text);
    let said = world.lamina(["config", "check"]).run().assert_status(1).stdout;
    let conf = world.installed().singularity_conf().display().to_string();
    for (line, part) in
        [(2, "did you mean \"allow setuid\"?"), (3, "decided by line 1 already"), (4, "there is no user")]
    {
        let begin = format!("{conf}:{line}: ");
        assert!(said.lines().any(|found| found.starts_with(&begin) && found.contains(part)), "{said}");
    }
}

#[test]
fn a_draft_may_be_anybodys_and_the_sites_file_may_not() {
    let world = World::new();
    let draft = world.write("draft.conf", "mount home = yes\n");
    let said = world.lamina(["config", "check"]).arg(&draft).run().assert_ok().stdout;
    assert!(said.contains("info: in place, the starter would not believe it"), "{said}");
    let said = in_place(&world, "chmod 666 singularity.conf", "true", "config check").assert_status(1).stdout;
    assert!(said.contains("error: ") && said.contains("must be owned by root"), "{said}");
}

/// What the frontend says as the user where root has made the configuration's folder, changed it with `arrange` and
/// run `command` in it.
fn in_place(world: &World, arrange: &str, command: &str, words: &str) -> Output {
    let prepare = format!(
        "mkdir $W/etc; cd $W/etc; umask 022; printf '# ours\\nmount home=yes\\nbind path = /etc/hosts\\n' >singularity.conf\n\
         {arrange}\nmount --bind $W/etc $ETC; PATH=${{ETC%/etc/singularity}}/bin:$PATH\n{command}\ncd $W/home"
    );
    let program = world.installed().lamina();
    world.after(&prepare, program).args(words.split(' ')).run()
}

/// What is in the file, and whose it is.
fn file(world: &World) -> (String, String) {
    let path = world.folder().join("etc/singularity.conf");
    let stat = world.program("/usr/bin/stat").args(["-c", "%u:%g %a"]).arg(&path).as_root().run();
    (read(&path), stat.assert_ok().stdout.trim().to_owned())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the tests are root's")
}

#[test]
fn a_directive_is_changed_in_its_line_and_owner_and_mode_stay() {
    let world = World::new();
    let change = "lamina config global --set 'mount home' no; lamina config global -s 'bind path' /opt,/srv; \
                  lamina config global --unset 'bind path' /srv";
    in_place(&world, "chgrp 58001 singularity.conf; chmod 640 singularity.conf", change, "version")
        .assert_ok();
    let (text, owner) = file(&world);
    assert_eq!(text, "# ours\nmount home= no\nbind path = /opt\nbind path = /etc/hosts\n");
    assert_eq!(owner, "0:58001 640");
    assert_eq!(
        world.program("/bin/ls").arg("-A").arg(world.folder().join("etc")).run().stdout.trim(),
        "singularity.conf"
    );
}

#[test]
fn a_change_that_the_starter_would_refuse_is_not_made() {
    let world = World::new();
    let change =
        "! lamina config global --set 'mount home' perhaps; ! lamina config global --set 'mount hom' no";
    let said = in_place(&world, "true", change, "version").assert_ok();
    said.assert_stderr_has("[yes no]").assert_stderr_has("did you mean \"mount home\"?");
    assert_eq!(file(&world).0, "# ours\nmount home=yes\nbind path = /etc/hosts\n");
}

#[test]
fn users_may_look_and_root_may_change() {
    let mut world = World::new();
    world.conf("bind path = /etc/hosts\nbind path = /opt\n");
    let global = |words: &[&str]| world.lamina(["config", "global"]).args(words).run();
    global(&["--get", "bind path"]).assert_ok().assert_stdout("/etc/hosts,/opt");
    global(&["-d", "-s", "mount home", "no"])
        .assert_ok()
        .assert_stdout("bind path = /etc/hosts\nbind path = /opt\nmount home = no");
    global(&["--set", "mount home", "no"]).assert_fatal("takes root");
    global(&["mount home"]).assert_fatal("you must specify one of");
}

/// The state of one check of `doctor --json`.
fn state(said: &Output, subject: &str) -> String {
    let whole: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    let checks = whole["checks"].as_array().expect("it is a list");
    let found = checks.iter().find(|check| check["subject"] == subject);
    found.expect("it is examined")["state"].as_str().expect("it is a word").to_owned()
}

#[test]
fn doctor_finds_a_machine_that_runs_containers_well() {
    let said = World::new().lamina(["doctor", "--json"]).run().assert_ok();
    for subject in ["setuid starter", "singularity.conf", "kernel", "overlay", "mkfs.ext3"] {
        assert_eq!(state(&said, subject), "ok", "{subject}");
    }
}

#[test]
fn doctor_finds_why_no_container_starts() {
    let world = World::new();
    let prepare = "P=${ETC%/etc/singularity}/libexec; mount --bind $P $P; mount -o remount,bind,nosuid $P";
    let said =
        world.after(prepare, world.installed().lamina()).args(["doctor", "--json"]).run().assert_status(1);
    assert_eq!(state(&said, "file system of the starter"), "missing");
    let said = world
        .program("/usr/bin/setpriv")
        .arg("--no-new-privs")
        .arg(world.installed().lamina())
        .args(["doctor", "--json"])
        .run()
        .assert_status(1);
    assert_eq!(state(&said, "setuid programs"), "missing");
}

#[test]
fn explain_names_the_line_that_the_starter_obeys() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    for (text, line) in [
        ("\nlimit container owners = root\n", "(line 2)"),
        ("allow container squashfs = no\n", "(line 1)"),
        ("limit container paths = /usr\n", "(line 1)"),
    ] {
        world.conf(text);
        let said = world.lamina(["explain"]).arg(&image).run().assert_status(1).stdout;
        let last = said.lines().last().unwrap_or_default();
        let directive = text.trim();
        assert!(last.contains("refused by") && last.contains(directive) && last.contains(line), "{said}");
        let refused = world.lamina(["exec"]).arg(&image).arg("true").run();
        let name = directive.split(" = ").next().unwrap_or_default();
        refused.assert_fatal(name);
    }
}

#[test]
fn explain_says_what_would_be_mounted_and_why() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.conf("mount home = no\nbind path = /etc/hosts\nmount tmp = yes\n");
    let said = world
        .lamina(["explain", "--writable-tmpfs", "-B", "/usr:/mnt"])
        .arg(&image)
        .arg("true")
        .run()
        .assert_ok()
        .stdout;
    for part in [
        "allowed by 'bind path = /etc/hosts' (line 2)",
        "allowed by 'mount tmp = yes' (line 3)",
        "allowed by 'user bind control = yes' (default)",
        "allowed by 'enable overlay = try' (default)",
        "refused by 'mount home = no' (line 1)",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[test]
fn explain_fails_as_exec_does_where_nothing_can_be_planned() {
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    world.conf("enable overlay = no\n");
    for words in
        [&["--writable-tmpfs", &image.display().to_string(), "true"][..], &["no-such-image.sif", "true"]]
    {
        let by = |name: &str| world.lamina([name]).args(words).run();
        let (explained, executed) = (by("explain"), by("exec"));
        assert_eq!((explained.status, &explained.stderr), (Some(255), &executed.stderr));
    }
}
