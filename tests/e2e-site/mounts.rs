//! What a container shows of the host, option by option.

use crate::surroundings::{at, inside, mounts_with, places, world_and_image};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use tests::World;

const HOME: &str = "/opt/lamina-test/home/laminatest1";

#[test]
fn by_default_a_container_shows_the_hosts_devices_home_and_temporary_files() {
    let (world, image) = world_and_image();
    let outside = fs::metadata("/tmp").expect("there is one").ino();
    let script = format!(
        "stat -c %i /tmp; ls -d /dev/loop-control /proc/1 /sys/class; cd {HOME} && touch mark && rm mark; echo $HOME"
    );
    inside(&world, &[], &image, &script)
        .run()
        .assert_ok()
        .assert_stdout(&format!("{outside}\n/dev/loop-control\n/proc/1\n/sys/class\n{HOME}"));
}

#[test]
fn contained_home_and_temporary_directories_are_empty_and_the_callers() {
    let (world, image) = world_and_image();
    let script =
        "cd; pwd; ls -A . /tmp /var/tmp; stat -c '%a %u %n' . /tmp /var/tmp; touch ./a /tmp/a /var/tmp/a";
    let uid = world.user().uid;
    let expected =
        format!("{HOME}\n.:\n\n/tmp:\n\n/var/tmp:\n700 {uid} .\n1777 {uid} /tmp\n1777 {uid} /var/tmp");
    for option in ["--contain", "-c", "--containall", "-C"] {
        inside(&world, &[option], &image, script).run().assert_ok().assert_stdout(&expected);
    }
}

#[test]
fn a_contained_container_starts_at_home_and_does_not_bring_the_working_directory() {
    let (world, image) = world_and_image();
    let here = world.mkdir("here");
    let script = format!("pwd; ls {}", here.display());
    let output = inside(&world, &["--contain"], &image, &script).cwd(&here).run();
    output.assert_status(1).assert_stdout(HOME).assert_stderr_has("No such file");
}

#[test]
fn no_home_leaves_the_home_out() {
    let (world, image) = world_and_image();
    for options in [&["--no-home"][..], &["--no-mount", "home"]] {
        let mounts = mounts_with(&world, options, &image);
        assert!(!places(&mounts).contains(&HOME), "{mounts:?}");
        inside(&world, options, &image, "echo $HOME").run().assert_ok().assert_stdout(HOME);
    }
}

#[test]
fn no_mount_leaves_out_what_it_names_and_warns_of_what_it_does_not_know() {
    let (world, image) = world_and_image();
    for (name, place) in [
        ("proc", "/proc"),
        ("sys", "/sys"),
        ("dev", "/dev"),
        ("tmp", "/tmp"),
        ("tmp", "/var/tmp"),
        ("bind-paths", "/etc/hosts"),
        ("/etc/hosts", "/etc/hosts"),
        ("proc,sys", "/sys"),
    ] {
        let mounts = mounts_with(&world, &["--no-mount", name], &image);
        assert!(at(&mounts, place).is_none(), "{name}: {mounts:?}");
    }
    let mounts = mounts_with(&world, &["--contain", "--no-mount", "devpts"], &image);
    assert!(at(&mounts, "/dev/pts").is_none(), "{mounts:?}");
    inside(&world, &["--no-mount", "cwd,tmp,home"], &image, "pwd").run().assert_ok().assert_stdout("/");
    inside(&world, &["--no-mount", "net"], &image, "true")
        .run()
        .assert_ok()
        .assert_stderr_has("WARNING: Ignoring unknown mount type 'net'");
}

#[test]
fn a_home_of_the_users_choice_survives_contain() {
    let (world, image) = world_and_image();
    let source = world.mkdir("chosen");
    world.write("chosen/mark", "chosen");
    let source = source.display().to_string();
    for contain in [&[][..], &["--contain"]] {
        for (option, value, home) in [
            ("-H", source.clone(), source.as_str()),
            ("--home", format!("{source}:/home/inner"), "/home/inner"),
            ("--home", format!("{source}:/home/./inner/"), "/home/inner"),
        ] {
            let options = [contain, &[option, &value]].concat();
            inside(&world, &options, &image, "echo $HOME; cat ~/mark")
                .run()
                .assert_ok()
                .assert_stdout(&format!("{home}\nchosen"));
        }
    }
    for wrong in ["/a:/b:/c", ":/b", ""] {
        inside(&world, &["--home", wrong], &image, "true")
            .run()
            .assert_fatal("home argument has incorrect number of elements");
    }
    inside(&world, &["--home", "/no/such/home"], &image, "true")
        .run()
        .assert_fatal("mount source /no/such/home doesn't exist");
    inside(&world, &["--home", &format!("{source}:relative")], &image, "true")
        .run()
        .assert_fatal("must be an absolute path");
}

#[test]
fn every_form_of_bind_shows_its_source() {
    let (world, image) = world_and_image();
    let folder = world.mkdir("data");
    let file = world.write("data/file", "content");
    world.mkdir("odd:na,me");
    world.write("odd:na,me/file", "content");
    let (folder, file) = (folder.display().to_string(), file.display().to_string());
    let odd = world.path("odd\\:na\\,me").display().to_string();
    for (options, place) in [
        (vec!["-B".to_owned(), folder.clone()], file.as_str()),
        (vec![format!("-B{folder}")], &file),
        (vec![format!("--bind={folder}:/mnt")], "/mnt/file"),
        (vec!["--bind".into(), format!("{file}:/mnt/renamed")], "/mnt/renamed"),
        (vec!["--bind".into(), format!("/etc:/mnt,{file}:/deep/new/file")], "/deep/new/file"),
        (vec!["--bind".into(), format!("{folder}:/mnt:ro")], "/mnt/file"),
        (vec!["--bind".into(), format!("{folder}:/mnt:rw")], "/mnt/file"),
        (vec!["--bind".into(), format!("{odd}:/mnt")], "/mnt/file"),
        (vec!["--bind".into(), "data:/mnt".into()], "/mnt/file"),
        (vec!["--mount".into(), format!("type=bind,source={folder},destination=/mnt")], "/mnt/file"),
        (vec!["--mount".into(), format!("type=bind,src={folder},dst=/mnt,ro")], "/mnt/file"),
        (vec!["--mount".into(), format!("type=bind,source={file},target=/mnt/f,readonly")], "/mnt/f"),
        (
            vec![
                "--mount".into(),
                format!("type=bind,\"source={}\",dst=/mnt", world.path("odd:na,me").display()),
            ],
            "/mnt/file",
        ),
    ] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        inside(&world, &options, &image, &format!("cat {place}")).run().assert_ok().assert_stdout("content");
    }
}

#[test]
fn variables_add_binds_to_those_of_the_command_line() {
    let (world, image) = world_and_image();
    let bind = |place: &str| format!("/etc/passwd:{place}");
    let output = inside(&world, &["--bind", &bind("/a")], &image, "ls -d /a /b /c /d /e")
        .env("SINGULARITY_BIND", bind("/b"))
        .env("SINGULARITY_BINDPATH", format!("{},{}", bind("/c"), bind("/d")))
        .env("SINGULARITY_MOUNT", "type=bind,source=/etc/passwd,destination=/e")
        .run();
    output.assert_ok().assert_stdout("/a\n/b\n/c\n/d\n/e");
}

#[test]
fn a_read_only_bind_cannot_be_written_nor_anything_mounted_below_it() {
    let (world, image) = world_and_image();
    let folder = world.mkdir("data");
    let folder = folder.display();
    for option in [
        format!("--bind={folder}:/mnt:ro"),
        format!("--mount=type=bind,source={folder},destination=/mnt,ro"),
        "--bind=/dev:/mnt:ro".to_owned(),
    ] {
        let script = "touch /mnt/new; touch /mnt/shm/new";
        let output = inside(&world, &[&option], &image, script).run();
        assert!(output.stderr.contains("/mnt/new: Read-only file system"), "{output}");
        assert!(option.contains("data") || output.stderr.contains("/mnt/shm/new: Read-only"), "{output}");
    }
    assert!(fs::read_dir(world.path("data")).expect("it is there").next().is_none());
}

#[test]
fn a_bind_that_cannot_be_is_refused_by_name() {
    let (world, image) = world_and_image();
    for (option, text) in [
        ("--bind=/no/such/source:/mnt", "mount source /no/such/source doesn't exist"),
        ("--bind=/etc:mnt", "must be an absolute path"),
        ("--bind=/etc:/mnt:never", "never is not a valid bind option"),
        ("--bind=/etc:/mnt:ro:more", "while parsing bind specification"),
        ("--bind=:/mnt", "while parsing bind specification"),
        ("--mount=type=tmpfs,destination=/mnt", "the mount type must be bind"),
        ("--mount=type=bind,destination=/mnt", "source= is missing"),
        ("--mount=type=bind,source=/etc", "destination= is missing"),
        ("--bind=/etc/passwd:/tmp", "is a directory in container, its source is not"),
        ("--bind=/etc:/bin/busybox", "is not a directory in container, its source is one"),
    ] {
        inside(&world, &[option], &image, "true").run().assert_fatal(text);
    }
}

#[test]
fn a_bind_over_a_link_of_the_image_lands_where_the_link_leads_inside() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    for (link, to) in [("inner", "/srv"), ("outer", "/../../../../nowhere/at/all"), ("up", "../../../home")] {
        symlink(to, sandbox.join(link)).expect("the sandbox can be written");
    }
    fs::create_dir(sandbox.join("srv")).expect("the sandbox can be written");
    let folder = world.mkdir("data");
    world.write("data/file", "content");
    for (place, lands) in [("/inner", "/srv/file"), ("/outer", "/nowhere/at/all/file"), ("/up", "/home/file")]
    {
        let bind = format!("{}:{place}", folder.display());
        inside(&world, &["--bind", &bind, "--no-home"], &sandbox, &format!("cat {lands}"))
            .run()
            .assert_ok()
            .assert_stdout("content");
    }
    assert!(!PathBuf::from("/nowhere").exists());
}

#[test]
fn part_of_an_image_can_be_bound() {
    let (world, image) = world_and_image();
    let data = world.busybox_sqfs("xz");
    let data = data.display();
    for (spec, place) in [
        (format!("{data}:/mnt:image-src=/"), "/mnt/etc/passwd"),
        (format!("{data}:/mnt:image-src=/etc"), "/mnt/passwd"),
        (format!("{data}:/mnt/file:image-src=/etc/passwd,ro"), "/mnt/file"),
    ] {
        let script = format!("grep -c root: {place}; touch {place}");
        inside(&world, &["--bind", &spec], &image, &script)
            .run()
            .assert_stdout("1")
            .assert_stderr_has("Read-only file system");
    }
    let spec = format!("{data}:/mnt:image-src=/no/such");
    inside(&world, &["--bind", &spec], &image, "true").run().assert_fatal("/no/such");
    let spec = format!("type=bind,source={data},destination=/mnt,image-src=/etc");
    inside(&world, &["--mount", &spec], &image, "ls /mnt/passwd").run().assert_ok();
}

#[test]
fn an_ext3_image_bound_for_writing_keeps_what_was_written() {
    let (world, image) = world_and_image();
    let data = world.ext3_overlay(64);
    let spec = |options: &str| format!("{}:/mnt:image-src=/upper{options}", data.display());
    inside(&world, &["--bind", &spec("")], &image, "echo kept >/mnt/file").run().assert_ok();
    let output = inside(&world, &["--bind", &spec(",ro")], &image, "cat /mnt/file; echo >/mnt/file").run();
    output.assert_stdout("kept").assert_stderr_has("Read-only file system");
}

#[test]
fn a_bind_below_a_scratch_directory_is_shown() {
    let (world, image) = world_and_image();
    world.write("file", "content");
    let file = world.path("file").display().to_string();
    for (options, place) in [
        (["--contain", "--scratch", "/scratch"], "/tmp/deep/file"),
        (["--contain", "--scratch", "/scratch"], "/scratch/file"),
        (["--contain", "--scratch", "/tmp/scratch"], "/tmp/scratch/file"),
    ] {
        let bind = format!("--bind={file}:{place}");
        let options = [&options[..], &[&bind]].concat();
        let script = format!("cat {place}; touch $(dirname {place})/beside");
        inside(&world, &options, &image, &script).run().assert_ok().assert_stdout("content");
    }
}

#[test]
fn a_scratch_directory_is_the_callers_and_gone_afterwards() {
    let (world, image) = world_and_image();
    let uid = world.user().uid;
    let script = "stat -c '%a %u' /scratch; stat -c '%a %u' /a/b; touch /scratch/x /a/b/x; ls /scratch";
    inside(&world, &["-S", "/scratch", "--scratch", "/a/b"], &image, script)
        .run()
        .assert_ok()
        .assert_stdout(&format!("755 {uid}\n755 {uid}\nx"));
    inside(&world, &["-S", "/scratch,/a/b"], &image, "ls -A /scratch /a/b")
        .run()
        .assert_ok()
        .assert_stdout("/a/b:\n\n/scratch:");
    inside(&world, &["-S", "scratch"], &image, "true").run().assert_fatal("must be an absolute path");
}

#[test]
fn a_workdir_keeps_what_contained_directories_hold() {
    let (world, image) = world_and_image();
    let work = world.mkdir("work");
    let options = ["--contain", "-W", "work", "--scratch", "/scratch/deep"];
    let script = "echo t >/tmp/f; echo v >/var/tmp/f; echo h >~/f; echo s >/scratch/deep/f";
    inside(&world, &options, &image, script).run().assert_ok();
    for (file, content) in
        [("tmp/f", "t\n"), ("var_tmp/f", "v\n"), ("home/f", "h\n"), ("scratch/scratch/deep/f", "s\n")]
    {
        assert_eq!(fs::read_to_string(work.join(file)).ok().as_deref(), Some(content), "{file}");
    }
    for name in ["tmp", "var_tmp"] {
        let mode = fs::metadata(work.join(name)).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o7777, 0o1777, "{name}");
    }
    inside(&world, &options, &image, "cat /tmp/f /var/tmp/f ~/f /scratch/deep/f")
        .run()
        .assert_ok()
        .assert_stdout("t\nv\nh\ns");
    inside(&world, &["--contain", "--workdir", "/no/such/workdir"], &image, "true")
        .run()
        .assert_fatal("/no/such/workdir");
}

#[test]
fn a_workdir_without_contain_serves_scratch_directories_alone() {
    let (world, image) = world_and_image();
    let work = world.mkdir("work");
    inside(&world, &["-W", "work", "-S", "/scratch"], &image, "touch /scratch/f").run().assert_ok();
    let made: Vec<_> = fs::read_dir(&work)
        .expect("it is there")
        .map(|entry| entry.expect("and its entries").file_name())
        .collect();
    assert_eq!(made, ["scratch"]);
}

#[test]
fn the_program_starts_in_the_directory_that_was_asked_for() {
    let (world, image) = world_and_image();
    for option in ["--cwd", "--pwd"] {
        inside(&world, &[option, "/usr"], &image, "pwd").run().assert_ok().assert_stdout("/usr");
    }
    inside(&world, &["--cwd", "/no/such"], &image, "pwd")
        .run()
        .assert_fatal("failed to set working directory: chdir /no/such: no such file or directory");
    for variable in ["SINGULARITY_CWD", "SINGULARITY_TARGET_CWD", "SINGULARITY_PWD", "SINGULARITY_TARGET_PWD"]
    {
        inside(&world, &[], &image, "pwd").env(variable, "/etc").run().assert_ok().assert_stdout("/etc");
    }
}

#[test]
fn a_working_directory_that_the_container_has_itself_is_its_own() {
    let (world, image) = world_and_image();
    inside(&world, &[], &image, "pwd; ls passwd shadow").cwd("/etc").run().assert_stdout("/etc\npasswd");
    inside(&world, &[], &image, "pwd").cwd("/usr/lib").run().assert_ok().assert_stdout("/usr/lib");
}

#[test]
fn the_account_files_name_the_caller_and_keep_the_images_lines() {
    let (world, image) = world_and_image();
    let (name, uid, gid) = (&world.user().name, world.user().uid, world.user().gid);
    inside(&world, &[], &image, "cat /etc/passwd; cat /etc/group; id")
        .run()
        .assert_ok()
        .assert_stdout(&format!(
            "root:x:0:0:root:/root:/bin/sh\n{name}:x:{uid}:{gid}::{HOME}:/bin/sh\nroot:x:0:\n{name}:x:{gid}:{name}\nuid={uid}({name}) gid={gid}({name}) groups={gid}({name})"
        ));
    let home = format!("{}:/home/else", world.home().display());
    inside(&world, &["--home", &home], &image, "grep -c ':/home/else:' /etc/passwd; whoami")
        .run()
        .assert_ok()
        .assert_stdout(&format!("1\n{name}"));
}

#[test]
fn an_image_without_account_files_gets_none_and_a_warning() {
    let world = World::new();
    let sandbox = world.busybox_sandbox();
    for file in ["passwd", "group"] {
        fs::remove_file(sandbox.join("etc").join(file)).expect("the sandbox can be written");
    }
    inside(&world, &[], &sandbox, "ls /etc/passwd /etc/group; true")
        .run()
        .assert_ok()
        .assert_stdout("")
        .assert_stderr_has("WARNING: passwd file doesn't exist in container, not updating")
        .assert_stderr_has("WARNING: group file doesn't exist in container, not updating");
}

#[test]
fn resolv_conf_is_the_hosts() {
    let (world, image) = world_and_image();
    let hosts = fs::read_to_string("/etc/resolv.conf").expect("the host has one");
    inside(&world, &[], &image, "cat /etc/resolv.conf").run().assert_ok().assert_stdout(hosts.trim_end());
}

#[test]
fn a_host_name_is_the_containers_own_and_in_its_file() {
    let (world, image) = world_and_image();
    inside(&world, &["--hostname", "inner.example"], &image, "hostname; cat /etc/hostname")
        .run()
        .assert_ok()
        .assert_stdout("inner.example\ninner.example");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("there is one");
    inside(&world, &["--uts"], &image, "hostname").run().assert_ok().assert_stdout(host.trim());
    for bad in ["-x", "a b", "a/b", &"x".repeat(65)] {
        inside(&world, &["--hostname", bad], &image, "true").run().assert_fatal("--hostname");
    }
}
