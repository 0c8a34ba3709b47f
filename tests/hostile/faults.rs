//! One system call of a run fails, or is the last: there is the container that was asked for, or none.

use crate::interference::{Call, at_call, calls, interfere};
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::{HandMade, Output, World};

/// With this variable every call meets every error; without, each meets one.
const ALL: &str = "LAMINA_TEST_ALL_FAULTS";

/// Errors that some call of the starter takes for more than a failure, and some that none expects.
const ERRORS: [i32; 14] = [
    libc::EPERM,
    libc::EINVAL,
    libc::ENOENT,
    libc::EIO,
    libc::EACCES,
    libc::EAGAIN,
    libc::EBUSY,
    libc::EINTR,
    libc::EMFILE,
    libc::ENODEV,
    libc::ENOMEM,
    libc::ENOSYS,
    libc::ENOTDIR,
    libc::ENXIO,
];

/// Calls whose failure changes nothing, each with the reason. Any other call is the last of its run.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        "the C library and Rust's runtime start without it",
        &[
            "access",
            "prlimit64",
            "readlink",
            "set_tid_address",
            "set_robust_list",
            "rseq",
            "sched_getaffinity",
            "sigaltstack",
            "gettid",
            "poll",
            "getrandom",
        ],
    ),
    ("memory comes another way, and is kept longer", &["brk", "munmap"]),
    ("a descriptor is closed even so, or at the next exec", &["close"]),
    ("the kernel's answer to a valid question is known, and what it left would be seen", &["rt_sigaction"]),
    ("there is no error that it could give", &["getuid", "getgid", "alarm"]),
    ("a container does not depend on the log", &["socket", "connect", "sendto", "fcntl", "ioctl"]),
    ("a source that cannot be found again by its name has none; limits refuse it", &["readlinkat", "statx"]),
    ("a file that cannot be read is no SIF", &["pread64"]),
    ("the runtime looks for the end of its stack", &["openat", "newfstatat", "read"]),
    ("a capability that cannot be asked about is not ambient, and a number may be unknown", &["prctl"]),
    ("root cannot be taken back, whatever the reason", &["setresuid", "setresgid"]),
    ("a kernel without the right to give up does without", &["landlock_create_ruleset"]),
    ("a layer that cannot be handed over is named", &["fsconfig"]),
    ("a loop device that somebody else has taken is left to him", &["ioctl", "clock_nanosleep"]),
    ("all was done and reported before", &["exit_group"]),
];

/// Calls without which something that is merely wished is not mounted.
const DISPENSABLE: &[&str] = &["openat2", "open_tree", "mount_setattr"];

/// What a program sees of its container: mounts, identity, descriptors, names.
const LOOK: &str = "cut -d ' ' -f 5,6 /proc/self/mountinfo | sort; \
    grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn)' /proc/self/status; \
    ls /proc/$$/fd; cat /etc/passwd /mnt/file; hostname; umask; pwd; echo whole";

/// A world, and a plan that has something of everything, with or without process ids of its own.
fn furnished(pid: bool) -> (World, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let overlay = world.ext3_overlay(16).display().to_string();
    let data = world.mkdir("data");
    world.write("data/file", "bound\n");
    let bind = format!("{}:/mnt:ro", data.display());
    let mut options =
        vec!["--overlay", &overlay, "--contain", "--bind", &bind, "--hostname", "inside", "--uts", "--ipc"];
    options.extend(pid.then_some("--pid"));
    let plan = HandMade::from(&world, &options, &image).running(&world, LOOK);
    (world, plan)
}

/// Starts in turn, each with one call interfered with as `choose` says, by several hands. What came of a run goes to
/// `judge`, with what an undisturbed run says.
fn sweep(
    pid: bool,
    choose: impl Fn(&Call) -> Vec<String> + Sync,
    judge: impl Fn(&Call, &Output, &str) + Sync,
) {
    const HANDS: usize = 4;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                let (world, plan) = furnished(pid);
                let whole = at_call(&world, &plan, None).run().assert_ok().stdout;
                assert!(whole.ends_with("whole\n"), "{whole}");
                let calls = calls(&world, &plan);
                let all: Vec<(&Call, String)> = calls
                    .iter()
                    .flat_map(|call| choose(call).into_iter().map(move |action| (call, action)))
                    .collect();
                assert!(all.len() > 100, "a run makes more calls than {}", all.len());
                while let Some((call, action)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some((call, output)) = interfere(&world, &plan, call, action) {
                        judge(&call, &output, &whole);
                    }
                }
            });
        }
    });
}

fn all() -> bool {
    std::env::var_os(ALL).is_some()
}

/// Nobody is told of a container that there is not.
#[track_caller]
fn is_none(call: &Call, output: &Output) {
    assert!(output.status != Some(0) && !output.stdout.contains("whole"), "{call:?}: {output}");
}

fn kill(call: &Call, output: &Output, whole: &str) {
    // The mounter's last call comes after its report.
    if call.name != "exit_group" {
        return is_none(call, output);
    }
    assert_eq!(output.stdout, whole, "{call:?}: {output}");
}

#[test]
fn a_kill_at_any_call_leaves_no_container_and_nothing_else() {
    sweep(false, |_| vec!["kill".to_owned()], kill);
}

#[test]
fn a_kill_of_one_process_ends_those_that_belong_to_it() {
    let some = |call: &Call| vec!["kill".to_owned(); usize::from(all() || call.index.is_multiple_of(4))];
    sweep(true, some, |call, output, whole| match call.process {
        // While the process outside was on its way to wait, the container may have come and gone.
        0 => assert_ne!(output.status, Some(0), "{call:?}: {output}"),
        _ => kill(call, output, whole),
    });
}

fn errors(call: &Call) -> Vec<String> {
    let error = |error: &i32| format!("fail={error}");
    if all() { ERRORS.iter().map(error).collect() } else { vec![error(&ERRORS[call.index % ERRORS.len()])] }
}

fn failure(call: &Call, output: &Output, whole: &str) {
    let name = call.name.as_str();
    let is_dispensable = DISPENSABLE.contains(&name);
    let is_harmless = is_dispensable || HARMLESS.iter().any(|(_, calls)| calls.contains(&name));
    if output.stdout == whole {
        return assert!(is_harmless, "{call:?}: {output}");
    }
    if output.status != Some(0) || !is_dispensable {
        return is_none(call, output);
    }
    // Less than was asked for, and nothing else.
    for line in output.stdout.lines() {
        assert!(whole.lines().any(|known| known == line), "{call:?}: {line} in {output}");
    }
}

#[test]
fn a_failure_of_any_call_leaves_no_container_or_the_one_that_was_asked_for() {
    sweep(false, errors, failure);
}

#[test]
fn a_failure_of_any_call_leaves_no_container_with_process_ids_of_its_own() {
    sweep(true, |call| if all() || call.index % 4 == 1 { errors(call) } else { Vec::new() }, failure);
}
