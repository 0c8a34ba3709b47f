//! Which system calls a start makes, and what becomes of one that makes others.

use crate::interference::{Call, calls, interfere};
use protocol::Mount;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tests::{HandMade, Output, World, place};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const STARTER: usize = 0;
const MOUNTER: usize = 1;

/// How often memory is asked for is the allocator's business.
const MEMORY: [&str; 4] = ["brk", "mmap", "mremap", "munmap"];

/// Calls of the mounter's list that no run of these tests makes, and why they are there.
const MADE_ELSEWHERE: &[(&str, &str)] = &[
    ("rt_sigreturn", "no handler is installed, but a stop in the middle of a call may need it"),
    ("restart_syscall", "a stop in the middle of a call"),
    ("clock_nanosleep", "a lost race for a loop device"),
    ("mremap", "a mount table that is longer than a page or two"),
    ("brk", "the allocator's choice"),
    ("mmap", "the allocator's choice"),
    ("munmap", "the allocator's choice"),
];

fn bare() -> (World, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut plan = HandMade::bare(&world, &[], &image).running(&world, "echo in");
    plan.plan.mounts.push(Mount::Proc);
    (world, plan)
}

/// The calls of a run that lost no race for a loop device.
fn undisturbed(world: &World, plan: &HandMade) -> Vec<Call> {
    const ATTEMPTS: usize = 50;
    let mut runs = (0..ATTEMPTS).map(|_| calls(world, plan));
    runs.find(|calls| calls.iter().all(|call| call.name != "clock_nanosleep")).expect("one race is won")
}

/// The names of a process's calls, without repetitions and memory.
fn names(calls: &[Call], process: usize) -> Vec<&str> {
    let of_process = calls.iter().filter(|call| call.process == process).map(|call| call.name.as_str());
    let mut names: Vec<&str> = of_process.filter(|name| !MEMORY.contains(name)).collect();
    names.dedup();
    names
}

/// What a start makes of the log depends on who listens.
fn without_log<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let is_log = |name: &&str| ["socket", "connect", "sendto", "ioctl"].contains(name);
    let first = names.iter().position(|name| *name == "socket").expect("the log is asked for");
    let last = names.iter().rposition(is_log).expect("the log is asked for");
    assert!(names[first..last].iter().all(|name| is_log(name) || *name == "close"), "{names:?}");
    // The socket is closed at the end.
    [&names[..first], &names[last + 2..]].concat()
}

/// The calls in the rows of a table of the starter's README.
fn told(table: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(ROOT).join("starter-suid/README.md")).expect("it is there");
    let section = readme.split("## What it asks of the kernel").nth(1).expect("there is a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let table =
        section.split("\n\n").find(|part| part.starts_with(&format!("| {table} "))).expect("the table");
    let rows = table.lines().skip(2).filter_map(|row| row.trim_matches('|').split('|').nth(1));
    let mut names: Vec<String> =
        rows.flat_map(str::split_whitespace).map(|name| name.trim_matches('`').to_owned()).collect();
    names.dedup();
    names
}

#[test]
fn a_start_makes_the_calls_that_the_readme_tells_in_their_order() {
    let (world, plan) = bare();
    let calls = undisturbed(&world, &plan);
    let starter = names(&calls, STARTER);
    // Where `main` begins; what is before it is the C library's and Rust's.
    let main = starter.iter().position(|name| *name == "getuid").expect("the caller is asked for");
    assert_eq!(without_log(&starter[main..]).join(" "), told("Starter").join(" "));
    assert_eq!(names(&calls, MOUNTER).join(" "), told("Mounter").join(" "));
}

#[test]
fn neither_variables_nor_arguments_change_a_single_call() {
    let (world, plan) = bare();
    // Each process in its own order: which of two goes first is the scheduler's.
    let of = |plan: &HandMade| {
        let mut calls = undisturbed(&world, plan);
        calls.retain(|call| !MEMORY.contains(&call.name.as_str()));
        calls.sort_by_key(|call| call.process);
        calls.into_iter().map(|call| call.name).collect::<Vec<_>>()
    };
    let plain = of(&plan);
    let mut hostile = plan.set("argument=--help").set("argument=-c").set("argument=/tmp/conf");
    for name in
        ["LD_PRELOAD", "GLIBC_TUNABLES", "TZ", "TMPDIR", "RUST_BACKTRACE", "RUST_MIN_STACK", "LANG", "PATH"]
    {
        hostile = hostile.set(format!("variable={name}=1"));
    }
    assert_eq!(of(&hostile), plain);
}

/// The calls of the mounter after it was confined.
fn confined(calls: &[Call]) -> impl Iterator<Item = &Call> {
    let of_mounter = calls.iter().filter(|call| call.process == MOUNTER);
    of_mounter.skip_while(|call| call.name != "seccomp").skip(1)
}

/// The calls that the mounter's filter lets through, read from its source.
fn listed() -> BTreeSet<String> {
    let source = fs::read_to_string(Path::new(ROOT).join("starter-suid/src/mounter/confine.rs"));
    let source = source.expect("it is there");
    let rows = source.split("(libc::SYS_").skip(1);
    rows.filter_map(|row| row.split(',').next()).map(str::to_owned).collect()
}

#[test]
fn the_filter_has_no_call_that_no_run_makes() {
    let mut made = BTreeSet::new();
    let mut run = |world: &World, plan: &HandMade| {
        let calls = calls(world, plan);
        made.extend(confined(&calls).map(|call| call.name.clone()));
    };
    let mut world = World::new();
    let image = world.busybox_sqfs("gzip");
    let folder = world.mkdir("folder").display().to_string();
    let overlay = world.ext3_overlay(16).display().to_string();
    let bind = format!("{folder}:/new/place");
    for options in [&["--overlay", &overlay, "--contain"][..], &["--writable-tmpfs", "--bind", &bind]] {
        run(&world, &HandMade::from(&world, options, &image).running(&world, "true"));
    }
    let sandbox = world.busybox_sandbox();
    std::os::unix::fs::symlink("/nowhere", sandbox.join("link")).expect("it is our folder");
    let mut plan = HandMade::bare(&world, &[], &sandbox).running(&world, "true");
    let descriptor = plan.source(Path::new(&folder));
    plan.plan.mounts.push(Mount::User(protocol::Bind {
        descriptor,
        destination: place("/link/place"),
        read_only: false,
        optional: true,
    }));
    run(&world, &plan);
    world.conf("enable underlay = preferred\n");
    run(&world, &plan);
    let listed = listed();
    assert!(!listed.is_empty(), "the list cannot be read");
    let elsewhere: BTreeSet<String> = MADE_ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let unused: Vec<&String> =
        listed.iter().filter(|name| !made.contains(*name) && !elsewhere.contains(*name)).collect();
    assert!(unused.is_empty(), "no run makes {unused:?}");
    assert!(elsewhere.is_subset(&listed), "{elsewhere:?} are not all in the list");
}

/// Does something to the mounter's first call of this name after it was confined. As memory is not asked for as often in
/// every run, another call may have its place now and then.
#[track_caller]
fn first(world: &World, plan: &HandMade, name: &str, action: &str) -> Output {
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        let calls = calls(world, plan);
        let call = confined(&calls).find(|call| call.name == name).expect("the mounter makes such a call");
        match interfere(world, plan, call, action) {
            Some((found, output)) if found.name == name => return output,
            _ => {}
        }
    }
    panic!("{name} is never met");
}

const ENDED: &str = "the mounter was ended by SIGSYS";

#[test]
fn a_call_that_is_not_in_the_list_ends_the_mounter() {
    let (world, plan) = bare();
    for call in [
        "execve",
        "execveat",
        "clone",
        "clone3",
        "unshare",
        "setns",
        "socket",
        "connect",
        "bind",
        "ptrace",
        "kill",
        "setuid",
        "setresuid",
        "setgroups",
        "fchownat",
        "fchmodat",
        "unlinkat",
        "renameat2",
        "linkat",
        "mknodat",
        "mount",
        "chroot",
        "write",
        "pwrite64",
        "ftruncate",
        "open_by_handle_at",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_getfd",
        "keyctl",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "init_module",
        "finit_module",
        "kexec_load",
        "swapon",
        "quotactl",
        "fspick",
        "setdomainname",
    ] {
        assert!(!listed().contains(call), "{call} is in the list");
        first(&world, &plan, "mkdirat", &format!("call={call}")).assert_fatal(ENDED);
    }
}

#[test]
fn arguments_that_are_not_in_the_list_end_the_mounter() {
    const NOSUID_NODEV: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    const LOOP_CLR_FD: u64 = 0x4c01;
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let plan = HandMade::from(&world, &["--contain"], &image).running(&world, "echo in");
    for (call, argument, value) in [
        ("fsmount", 2, 0),
        ("fsmount", 2, libc::MOUNT_ATTR_NODEV),
        // A clone is a mount of our own; without that, a descriptor of the host's.
        ("open_tree", 2, 0),
        ("umount2", 1, 0),
        ("ioctl", 1, LOOP_CLR_FD),
        ("ioctl", 1, libc::TIOCSTI),
        ("fcntl", 1, libc::F_SETFL.unsigned_abs().into()),
        ("fcntl", 1, libc::F_SETPIPE_SZ.unsigned_abs().into()),
    ] {
        first(&world, &plan, call, &format!("argument={argument},{value}")).assert_fatal(ENDED);
    }
    // The third argument of this one, a descriptor, has the bit that makes memory executable.
    first(&world, &plan, "move_mount", "call=mmap").assert_fatal(ENDED);
    // It is the value that counts, and not that somebody changed it.
    let allowed = format!("argument=2,{NOSUID_NODEV}");
    first(&world, &plan, "fsmount", &allowed).assert_ok().assert_stdout("in");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn no_other_entry_leads_round_the_list() {
    /// `__X32_SYSCALL_BIT` of `asm/unistd.h`.
    const X32: i64 = 0x4000_0000;
    let (world, plan) = bare();
    for number in [libc::SYS_mkdirat, libc::SYS_close, libc::SYS_execve, libc::SYS_getpid] {
        first(&world, &plan, "mkdirat", &format!("call={}", X32 | number)).assert_fatal(ENDED);
    }
    first(&world, &plan, "mkdirat", "i386").assert_fatal(ENDED);
}
