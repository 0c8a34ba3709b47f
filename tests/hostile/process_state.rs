//! What a caller can leave behind in the process that becomes the starter.

use nix::unistd::Gid;
use protocol::{Dev, Mount, Scratch};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tests::{HandMade, Output, World, place};

const NO_PRIVILEGE: &str = "the starter does not run with root's privilege";

/// A plan with a `/proc`, whose payload runs a script.
fn running(script: &str) -> (World, PathBuf, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut plan = HandMade::bare(&world, &[], &image).running(&world, script);
    plan.plan.mounts.push(Mount::Proc);
    (world, image, plan)
}

/// What a script says in a container that is started by `before`, a command with its arguments.
fn behind(world: &World, before: &[&str], plan: &HandMade) -> Output {
    let (program, arguments) = plan.prepare(world);
    world.program(before[0]).args(&before[1..]).arg(program).args(arguments).run()
}

#[test]
fn no_variable_reaches_the_starter_or_the_program() {
    let (world, _, plan) = running("cat /proc/self/environ | tr '\\0' '\\n' | sort");
    let plain = plan.hand_over(&world).run().assert_ok().stdout;
    let mut hostile = plan;
    for name in [
        "LD_PRELOAD",
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "LD_DEBUG",
        "LD_DEBUG_OUTPUT",
        "LD_PROFILE",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "LOCPATH",
        "NLSPATH",
        "TZ",
        "TZDIR",
        "TMPDIR",
        "HOME",
        "PATH",
        "MALLOC_CHECK_",
        "MALLOC_TRACE",
        "RUST_BACKTRACE",
        "RUST_LIB_BACKTRACE",
        "RUST_MIN_STACK",
        "RUST_LOG",
        "LIBMOUNT_FSTAB",
        "LIBMOUNT_FORCE_MOUNT2",
        "LAMINA_PREFIX",
        "SINGULARITY_BIND",
        "SINGULARITYENV_X",
        "APPTAINERENV_X",
    ] {
        hostile = hostile.set(format!("variable={name}=/tmp/evil"));
    }
    for odd in ["", "=", "no equals sign", "PATH=/again", "\u{1b}[31m=x"] {
        hostile = hostile.set(format!("variable={odd}"));
    }
    let output = hostile.hand_over(&world).run().assert_ok();
    assert_eq!(output.stdout, plain, "{output}");
}

#[test]
fn arguments_say_nothing_to_the_starter() {
    let (world, _, plan) = running("echo in");
    let plan = plan.without_arguments();
    let long = "x".repeat(100_000);
    for arguments in [
        &[][..],
        &[""],
        &[long.as_str()],
        &["-"],
        &["--help"],
        &["starter-suid", "--version"],
        &["starter-suid", "-c", "/tmp/conf"],
        &["%n%n%s", "\n"],
    ] {
        let plan = arguments.iter().fold(plan.clone(), |plan, text| plan.set(format!("argument={text}")));
        plan.hand_over(&world).run().assert_ok().assert_stdout("in");
    }
    let many = (0..10_000).fold(plan.set("argument=x"), |plan, _| plan.set("argument=--config=/tmp/x"));
    many.hand_over(&world).run().assert_ok().assert_stdout("in");
}

#[test]
fn closed_standard_streams_are_no_place_for_the_starters_files() {
    let script = "s=$(for f in 0 1 2; do readlink /proc/$$/fd/$f; done); echo \"$s\" >/mnt/seen";
    let (world, _, mut plan) = running(script);
    let folder = world.mkdir("folder");
    plan.bind(&folder, "/mnt");
    for closed in 0..8 {
        let _ = std::fs::remove_file(folder.join("seen"));
        let is_closed = |fd: u8| closed >> fd & 1 == 1;
        let plan =
            (0..3).filter(|fd| is_closed(*fd)).fold(plan.clone(), |plan, fd| plan.set(format!("close={fd}")));
        plan.hand_over(&world).run().assert_ok();
        let seen = std::fs::read_to_string(folder.join("seen")).expect("it was written");
        let seen: Vec<&str> = seen.lines().collect();
        assert_eq!(seen.len(), 3, "{closed:03b}: {seen:?}");
        for fd in 0..3u8 {
            let at = seen[usize::from(fd)];
            let as_left = at.starts_with("pipe:");
            // The C library opens /dev/full where a read is to fail.
            let replaced = ["/dev/null", "/dev/full"].contains(&at);
            assert!(if is_closed(fd) { replaced } else { as_left }, "{closed:03b}: {fd} is {at}");
        }
    }
}

#[test]
fn with_closed_streams_and_few_descriptors_there_is_a_whole_container_or_none() {
    let (world, _, mut plan) = running("echo in >/mnt/seen");
    let folder = world.mkdir("folder");
    plan.bind(&folder, "/mnt");
    let seen = folder.join("seen");
    for closed in 1..8u8 {
        for limit in (0..=8).chain([16, 40]) {
            let _ = std::fs::remove_file(&seen);
            let closed = (0..3).filter(|fd| closed >> fd & 1 == 1);
            let plan = closed.fold(plan.clone(), |plan, fd| plan.set(format!("close={fd}")));
            let output = plan.set(format!("limit=nofile:{limit}")).hand_over(&world).run();
            assert_eq!(output.status == Some(0), seen.exists(), "{limit}: {output}");
            world.assert_nothing_left();
        }
    }
}

#[test]
fn however_much_is_given_to_the_starter_it_does_the_same() {
    let (world, _, plan) = running("echo in");
    let many = (0..40_000).fold(plan.clone(), |plan, number| plan.set(format!("variable=v{number}=")));
    let large =
        (0..10).fold(plan, |plan, number| plan.set(format!("variable=v{number}={}", "x".repeat(100_000))));
    for plan in [many, large] {
        plan.hand_over(&world).run().assert_ok().assert_stdout("in");
    }
}

#[test]
fn as_many_groups_as_the_kernel_takes_are_kept() {
    /// `NGROUPS_MAX` of `linux/limits.h`.
    const MOST: u32 = 65536;
    let groups: Vec<Gid> = (0..MOST).map(|number| Gid::from_raw(100_000 + number)).collect();
    let (world, _, plan) = running("set -- $(grep '^Groups:' /proc/self/status); echo $#; shift; echo $1");
    let user = world.user().clone().in_groups(groups);
    let output = plan.hand_over(&world).as_user(user).run().assert_ok();
    output.assert_stdout(&format!("{}\n100000", MOST + 1));
}

/// A copy of the installed starter with this mode, where everybody can start it.
fn copy_of_the_starter(world: &World, name: &str, mode: u32) -> PathBuf {
    let copy = world.folder().join(name);
    let from = world.installed().starter_suid();
    // Not by our own hand: nobody can execute what another thread's child still has open for writing.
    let copied = std::process::Command::new("cp").args([&from, &copy]).status();
    assert!(copied.is_ok_and(|status| status.success()), "the starter can be copied");
    std::fs::set_permissions(&copy, Permissions::from_mode(mode)).expect("it is our file");
    copy
}

#[test]
fn privilege_of_another_kind_is_none() {
    let (world, _, plan) = running("echo in");
    copy_of_the_starter(&world, "plain", 0o755);
    copy_of_the_starter(&world, "set-group-id", 0o2755);
    let capable = copy_of_the_starter(&world, "capable", 0o755);
    let granted = std::process::Command::new("setcap")
        .arg("cap_sys_admin,cap_setuid,cap_setgid,cap_setpcap+ep")
        .arg(&capable)
        .status();
    assert!(granted.is_ok_and(|status| status.success()), "root can give capabilities to a file");
    let foreign = copy_of_the_starter(&world, "foreign", 0o755);
    let user = tests::User::second();
    std::os::unix::fs::chown(&foreign, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
    std::fs::set_permissions(&foreign, Permissions::from_mode(0o4711)).expect("root may");
    for name in ["plain", "set-group-id", "capable", "foreign"] {
        let plan = plan.clone().starter(world.folder().join(name));
        let output = plan.hand_over(&world).run();
        assert!(output.status == Some(255) && output.stdout.is_empty(), "{name}: {output}");
        world.assert_nothing_left();
    }
}

#[test]
fn by_another_name_the_starter_is_the_same() {
    let (mut world, _, plan) = running("echo in");
    let other = copy_of_the_starter(&world, "singularity", 0o4711);
    let plan = plan.starter(&other);
    plan.hand_over(&world).run().assert_ok().assert_stdout("in");
    world.conf("allow setuid = no\n");
    plan.hand_over(&world).run().assert_fatal("'allow setuid'");
}

#[test]
fn every_limit_ends_in_a_whole_container_or_in_none() {
    let (world, _, plan) = running("echo in");
    let files = (0..=12).map(|n| ("nofile", n)).chain([("nofile", 20), ("nofile", 33), ("nofile", 40)]);
    let memory = ["as", "data", "stack"]
        .into_iter()
        .flat_map(|name| [0, 4096, 65536, 1 << 20, 4 << 20, 16 << 20].map(|bytes| (name, bytes)));
    let others = [
        ("nproc", 0),
        ("nproc", 1),
        ("fsize", 0),
        ("fsize", 1),
        ("cpu", 0),
        ("cpu", 1),
        ("memlock", 0),
        ("sigpending", 0),
        ("core", 0),
    ];
    for (name, number) in files.chain(memory).chain(others) {
        let output = plan.clone().set(format!("limit={name}:{number}")).hand_over(&world).run();
        let whole = output.status == Some(0) && output.stdout == "in\n";
        let none = output.status != Some(0) && output.stdout.is_empty();
        assert!(whole || none, "{name} {number}: {output}");
        world.assert_nothing_left();
    }
}

#[test]
fn blocked_and_ignored_signals_and_an_alarm_are_not_inherited() {
    let (world, _, plan) = running("grep -E '^Sig(Blk|Ign)' /proc/self/status; sleep 1.5");
    let plan = plan.set("block=signals").set("alarm=1");
    let ignoring = ["env", "--ignore-signal=HUP,INT,QUIT,PIPE,ALRM,TERM,CHLD,XFSZ,USR1"];
    let output = behind(&world, &ignoring, &plan).assert_ok();
    // The C library keeps 32 and 33 to itself, and out of everybody's reach.
    const RESERVED: u64 = 3 << 31;
    let masks: Vec<u64> = output
        .stdout
        .lines()
        .filter_map(|line| u64::from_str_radix(line.split('\t').nth(1)?, 16).ok())
        .map(|mask| mask & !RESERVED)
        .collect();
    assert_eq!(masks, [0, 0], "{output}");
}

#[test]
fn no_umask_changes_what_the_starter_makes() {
    let script =
        "ls -ld / /dev /dev/pts /dev/shm /tmp /home /mnt | cut -c1-30; ls -l /dev | cut -c1-30; umask";
    let (world, _, mut plan) = running(script);
    plan.plan.mounts.push(Mount::Dev(Dev::Minimal { terminals: true, gpus: false }));
    for (destination, purpose) in [("/tmp", Scratch::Tmp), ("/home", Scratch::Home), ("/mnt", Scratch::Work)]
    {
        plan.plan.mounts.push(Mount::Scratch { destination: place(destination), purpose });
    }
    let plain = plan.hand_over(&world).run().assert_ok().stdout;
    assert!(plain.contains("drwxrwxrwt"), "{plain}");
    for mask in ["0", "077", "777"] {
        let output = plan.clone().set(format!("umask={mask}")).hand_over(&world).run().assert_ok();
        assert_eq!(output.stdout, plain, "umask {mask}: {output}");
    }
}

#[test]
fn a_working_directory_that_is_gone_or_closed_is_no_hindrance() {
    let (world, _, plan) = running("pwd");
    for lose in ["rmdir ../here", "chmod 0 .", "cd /proc/$$/fd"] {
        let script = format!("mkdir here; cd here; {lose}; \"$0\" \"$@\"; cd ..; rmdir here || true");
        let script = script.replace("cd ..", "cd \"$H\"; chmod 700 here 2>/dev/null");
        let (program, arguments) = plan.prepare(&world);
        world
            .program("/bin/sh")
            .env("H", world.home())
            .args(["-c", &script])
            .arg(program)
            .args(arguments)
            .run()
            .assert_stdout("/");
    }
}

#[test]
fn personality_bits_do_not_come_along() {
    let (world, _, plan) = running("cat /proc/self/personality");
    let before = ["setarch", "-R", "-X", "-Z", "-L"];
    behind(&world, &before, &plan).assert_ok().assert_stdout("00000000");
}

#[test]
fn the_lowest_priority_is_priority_enough() {
    let (world, _, plan) = running("echo in");
    behind(&world, &["nice", "-n", "19", "chrt", "--idle", "0"], &plan).assert_ok().assert_stdout("in");
}

#[test]
fn a_starter_without_its_privilege_does_nothing() {
    let (world, _, plan) = running("echo in");
    behind(&world, &["setpriv", "--no-new-privs"], &plan).assert_fatal(NO_PRIVILEGE);
    behind(&world, &["strace", "-f", "-o", "/dev/null"], &plan).assert_fatal(NO_PRIVILEGE);
    let starter = world.installed().starter_suid();
    let folder = starter.parent().expect("it is in a folder").display();
    let nosuid = format!("mount --bind {folder} {folder}; mount -o remount,bind,nosuid {folder}");
    let (program, arguments) = plan.prepare(&world);
    world.after(&nosuid, program).args(arguments).run().assert_fatal(NO_PRIVILEGE);
}

#[test]
fn a_user_namespace_of_the_callers_is_refused() {
    let (world, _, plan) = running("echo in");
    let text = "the setuid starter does not work inside a user namespace";
    behind(&world, &["unshare", "--map-root-user"], &plan).assert_fatal(text);
    behind(&world, &["unshare", "--map-root-user", "--mount", "--pid", "--fork"], &plan).assert_fatal(text);
    behind(&world, &["unshare", "--map-current-user"], &plan).assert_fatal(NO_PRIVILEGE);
    behind(&world, &["unshare", "--user"], &plan).assert_fatal(NO_PRIVILEGE);
    // Nor does a /proc of the caller's help.
    let fake = "mount -t tmpfs t /proc; mkdir -p /proc/self/ns; touch /proc/self/ns/user; exec \"$0\" \"$@\"";
    behind(&world, &["unshare", "--map-root-user", "--mount", "sh", "-c", fake], &plan)
        .assert_fatal("/proc is not the kernel's");
    let empty = "mount -t tmpfs t /proc; exec \"$0\" \"$@\"";
    let output = behind(&world, &["unshare", "--map-root-user", "--mount", "sh", "-c", empty], &plan);
    output.assert_fatal("");
}

#[test]
fn a_root_of_the_callers_gives_no_privilege() {
    let (world, _, plan) = running("echo in");
    let (program, arguments) = plan.prepare(&world);
    let script = "mkdir -p root/bin root/proc root/etc root/opt root/tmp root/dev; \
        for d in opt tmp proc dev; do mount --rbind /$d root/$d; done; exec chroot root \"$0\" \"$@\"";
    let output = world
        .program("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(program)
        .args(arguments)
        .run();
    assert!(output.status != Some(0) && output.stdout.is_empty(), "{output}");
}

#[test]
fn the_starter_can_be_neither_read_nor_changed_nor_copied() {
    let world = World::new();
    let starter = world.installed().starter_suid();
    let script = "cat \"$0\" >/dev/null && exit 1; : >>\"$0\" && exit 1; ln \"$0\" starter && exit 1; \
        mv \"$0\" starter && exit 1; chmod u+w \"$0\" && exit 1; exit 0";
    let output = world.program("/bin/bash").args(["-c", script]).arg(&starter).run();
    output.assert_ok();
}

#[test]
fn a_message_that_cannot_be_written_changes_nothing() {
    let (world, _, mut plan) = running("echo in");
    plan.frame = Some(b"no frame".to_vec());
    for streams in [">/dev/full 2>&1", ">&- 2>&-", "2>/proc/self/comm", "2>/proc/self/oom_score_adj"] {
        let script = format!("\"$0\" \"$@\" {streams}");
        let output = behind(&world, &["bash", "-c", &script], &plan);
        assert_eq!(output.status, Some(255), "{streams}: {output}");
    }
}

#[test]
fn a_deadline_ends_a_starter_whose_image_is_never_answered_for() {
    let (mut world, image, plan) = running("echo in");
    world.conf("");
    let packed = world.squashfs_of("packed", |folder| {
        std::fs::copy(&image, folder.join("inner.sqfs")).expect("a temporary folder can be written");
    });
    let mount = world.mkdir("mount");
    let (packed, mount) = (packed.display(), mount.display());
    let pause = world.path("pause");
    let plan = plan.open_as(0, format!("r:{mount}/inner.sqfs"));
    let (program, arguments) = plan.set(format!("pause={}", pause.display())).prepare(&world);
    let user = world.user();
    let script = format!(
        "squashfuse -f -o allow_other {packed} {mount} & server=$!; \
        until mountpoint -q {mount}; do sleep 0.02; done; \
        setpriv --reuid {} --regid {} --clear-groups -- \"$0\" \"$@\" & asked=$!; \
        until [ -e {pause} ]; do sleep 0.02; done; kill -STOP $server; rm {pause}; \
        (sleep 12; kill -CONT $server) & wait $asked; status=$?; umount {mount}; wait $server; exit $status",
        user.uid,
        user.gid,
        pause = pause.display()
    );
    // A dying process waits for the answer to its last close, as every process does; so the server goes on at last.
    let output =
        world.program("/bin/bash").as_root().args(["-c", &script]).arg(program).args(arguments).run();
    let by_alarm = 128 + nix::sys::signal::Signal::SIGALRM as i32;
    output.assert_status(by_alarm).assert_stdout("");
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_behind() {
    let (world, _, mut plan) = running("echo in");
    let overlay = world.ext3_overlay(16);
    let size = std::fs::metadata(&overlay).expect("it is there").len();
    let descriptor = plan.source(&overlay);
    plan.plan.writable = protocol::Writable::Overlay(protocol::Image {
        descriptor,
        content: protocol::Content::Ext3(protocol::Window { offset: 0, size }),
    });
    for step in 0..120 {
        let running = plan.hand_over(&world).spawn();
        std::thread::sleep(Duration::from_micros(200 * step));
        // The helper may be so quick that nothing is left to kill.
        let _ = nix::sys::signal::kill(running.pid, nix::sys::signal::Signal::SIGKILL);
        running.finish();
    }
    world.assert_nothing_left();
    plan.hand_over(&world).run().assert_ok().assert_stdout("in");
}
