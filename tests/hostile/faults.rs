//! One system call of a run fails, or is the last: there is the container that was asked for, or none.

use crate::instances::{joining, pidfd};
use crate::interference::{Call, at_call, calls, interfere};
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::{HandMade, Instance, Output, World};

/// With this variable every call meets every error; without, each meets one.
const ALL: &str = "LAMINA_TEST_ALL_FAULTS";

/// Errors that some call of the starter takes for more than a failure, and some that none expects.
const ERRORS: [i32; 15] = [
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
    libc::ELOOP,
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

/// What is started again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// A container with something of everything.
    Container,
    /// The same with process ids of its own: there is a process outside that waits for it.
    WithPids,
    /// The same as an instance.
    Instance,
    /// A process in such an instance, which outlives all of them.
    Join,
}

impl Start {
    /// Calls without which a run was not seen.
    const fn calls_min(self) -> usize {
        match self {
            Self::Join => 80,
            _ => 200,
        }
    }

    /// Calls `body` with a world and what is to be started in it.
    fn with(self, body: impl FnOnce(&World, &HandMade)) {
        let world = World::new();
        let image = world.busybox_sqfs("gzip");
        let overlay = world.ext3_overlay(16).display().to_string();
        let data = world.mkdir("data");
        world.write("data/file", "bound\n");
        let bind = format!("{}:/mnt:ro", data.display());
        let mut options = vec![
            "--overlay",
            &overlay,
            "--contain",
            "--bind",
            &bind,
            "--hostname",
            "inside",
            "--uts",
            "--ipc",
        ];
        if self != Self::Join {
            options.extend((self != Self::Container).then_some("--pid"));
            let mut plan = HandMade::from(&world, &options, &image).running(&world, LOOK);
            plan.plan.instance = self == Self::Instance;
            return body(&world, &plan);
        }
        let name = format!("faults-{:?}", std::thread::current().id());
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let instance = Instance::start(&world, &options, &image, &name);
        let first = instance.first();
        // What joins has a world of its own, in which nothing may stay.
        let outside = World::new();
        body(&outside, &joining(&outside, &pidfd(first)).running(&outside, LOOK));
        assert_eq!(instance.first(), first, "the instance is the same as before");
        instance.exec("cat /mnt/file").assert_ok().assert_stdout("bound");
    }
}

/// Starts in turn, each with one call interfered with as `choose` says, by several hands. What came of a run goes to
/// `judge`, with what an undisturbed run says.
fn sweep(
    start: Start,
    choose: impl Fn(&Call) -> Vec<String> + Sync,
    judge: impl Fn(&Call, &Output, &str) + Sync,
) {
    const HANDS: usize = 4;
    let next = AtomicUsize::new(0);
    let by_one_hand = |world: &World, plan: &HandMade| {
        let whole = at_call(world, plan, None).run().assert_ok().stdout;
        assert!(whole.ends_with("whole\n"), "{whole}");
        let calls = calls(world, plan);
        assert!(calls.len() > start.calls_min(), "a run makes more calls than {}", calls.len());
        let all: Vec<(&Call, String)> = calls
            .iter()
            .flat_map(|call| choose(call).into_iter().map(move |action| (call, action)))
            .collect();
        while let Some((call, action)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some((call, output)) = interfere(world, plan, call, action) {
                judge(&call, &output, &whole);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| start.with(by_one_hand));
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

/// What comes of a kill where a process waits outside.
fn kill_of_one(call: &Call, output: &Output, whole: &str) {
    match call.process {
        // While the process outside was on its way to wait, the container may have come and gone.
        0 => assert_ne!(output.status, Some(0), "{call:?}: {output}"),
        _ => kill(call, output, whole),
    }
}

/// `choices` for every call, or for one call of so many.
fn of_some(every: usize, choices: impl Fn(&Call) -> Vec<String>) -> impl Fn(&Call) -> Vec<String> {
    move |call| if all() || call.index.is_multiple_of(every) { choices(call) } else { Vec::new() }
}

fn kills(_: &Call) -> Vec<String> {
    vec!["kill".to_owned()]
}

#[test]
fn a_kill_at_any_call_leaves_no_container_and_nothing_else() {
    sweep(Start::Container, kills, kill);
}

#[test]
fn a_kill_of_one_process_ends_those_that_belong_to_it() {
    sweep(Start::WithPids, of_some(4, kills), kill_of_one);
}

#[test]
fn a_kill_at_any_call_leaves_no_instance() {
    sweep(Start::Instance, of_some(4, kills), kill_of_one);
}

#[test]
fn a_kill_of_who_joins_an_instance_leaves_nobody_in_it() {
    sweep(Start::Join, kills, kill_of_one);
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
    sweep(Start::Container, errors, failure);
}

#[test]
fn a_failure_of_any_call_leaves_no_container_with_process_ids_of_its_own() {
    sweep(Start::WithPids, of_some(4, errors), failure);
}

#[test]
fn a_failure_of_any_call_leaves_no_instance_or_the_one_that_was_asked_for() {
    sweep(Start::Instance, of_some(4, errors), failure);
}

#[test]
fn a_failure_of_any_call_joins_an_instance_as_was_asked_for_or_not_at_all() {
    sweep(Start::Join, errors, failure);
}
