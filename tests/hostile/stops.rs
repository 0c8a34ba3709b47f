//! Starters that are stopped at one system call after the other, and what can be seen and done meanwhile.

use crate::interference::{Call, at_call, calls, report};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::{Dev, Mount, Writable};
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};
use tests::{HandMade, LoopDevice, Output, Running, User, World, place};

/// A stopped process of the starter's.
struct Stopped {
    running: Running,
    pid: Pid,
    /// What it was about to call. Runs differ by some calls, for memory or for a loop device that somebody else took, so
    /// this may be a neighbour of the call that was meant.
    call: String,
}

impl Stopped {
    /// Starts a starter that stops behind this call; nothing if it ends without coming to it.
    fn at(world: &World, plan: &HandMade, call: &Call) -> Option<Self> {
        let running = at_call(world, plan, Some((call, "stop"))).spawn();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let said = fs::read_to_string(report(world)).unwrap_or_default();
            let (call, pid) = said.trim_end().split_once("\nstopped ").unwrap_or_default();
            let pid = pid.parse().ok().map(Pid::from_raw);
            if let Some(pid) = pid.filter(|pid| is_stopped(*pid)) {
                return Some(Self { running, pid, call: call.to_owned() });
            }
            if has_ended(running.pid) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        running.finish();
        None
    }

    /// A line of what the kernel says of it.
    fn status(&self, name: &str) -> String {
        status(self.pid, name)
    }

    fn go_on(self) -> Output {
        // The process that waits outside a PID namespace stops with the one inside.
        let group = Pid::from_raw(-self.running.pid.as_raw());
        kill(group, Signal::SIGCONT).expect("it is stopped");
        self.running.finish()
    }
}

fn status(pid: Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("there is no {name}")).to_owned()
}

fn parent(pid: Pid) -> Pid {
    Pid::from_raw(status(pid, "PPid").parse().expect("a number"))
}

fn is_stopped(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
}

fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim().is_empty() || rest.starts_with(" Z"))
}

fn furnished(pid: bool) -> (World, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let mut plan = HandMade::bare(&world, &[], &image).running(&world, "echo in");
    plan.plan.mounts = vec![Mount::Proc, Mount::Dev(Dev::Minimal { terminals: true, gpus: false })];
    plan.plan.writable = Writable::Tmpfs;
    plan.plan.namespaces.pid = pid;
    (world, plan)
}

/// Calls to stop at: a few of each kind in each process, and of those all about the change of privilege.
fn sample(calls: &[Call]) -> Vec<Call> {
    const OF_A_KIND: usize = 2;
    let mut chosen: Vec<Call> = Vec::new();
    for call in calls {
        let same = |other: &&Call| (other.process, &other.name) == (call.process, &call.name);
        if chosen.iter().filter(same).count() < OF_A_KIND {
            chosen.push(call.clone());
        }
    }
    // The last calls of each process are those after it gave up its privilege.
    for process in 0..=2 {
        let of_process: Vec<&Call> = calls.iter().filter(|call| call.process == process).collect();
        chosen.extend(of_process.iter().rev().take(12).map(|call| (*call).clone()));
    }
    chosen
}

/// Tries everything that a user can try on a process of his own, and `besides` as a command of a shell in its folder of
/// `/proc`, whose name is `$0`. What worked is printed.
pub(crate) fn pry(world: &World, pid: Pid, besides: &str) -> Output {
    let script = format!(
        "cd /proc/$0 || exit 0; for f in environ maps mem auxv stack syscall io; do \
         dd if=$f of=/dev/null bs=1 count=1 status=none && echo $f; done; ls map_files | head -1; \
         readlink cwd root exe fd/*; {besides}; : >mem && echo written"
    );
    world.program("/bin/sh").args(["-c", &script, &pid.to_string()]).run()
}

/// Counts the descriptors of a process.
pub(crate) const COUNT: &str = "ls fd | head -1";

/// The host's rule for processes that changed their ids, put back at the end.
struct SuidDumpable(String);

impl SuidDumpable {
    const PATH: &str = "/proc/sys/fs/suid_dumpable";

    fn set(value: &str) -> Self {
        let before = fs::read_to_string(Self::PATH).expect("the kernel has it");
        fs::write(Self::PATH, value).expect("root may");
        Self(before)
    }
}

impl Drop for SuidDumpable {
    fn drop(&mut self) {
        fs::write(Self::PATH, self.0.trim_end()).expect("root may");
    }
}

#[test]
fn nobody_looks_into_a_starter_at_any_call_even_after_it_gave_up_its_privilege() {
    for (pid_namespace, suid_dumpable) in [(false, false), (true, false), (false, true)] {
        let _rule = SuidDumpable::set(if suid_dumpable { "1" } else { "0" });
        // Between a change of ids and the call behind it, this rule lets a user count, and nothing else.
        let besides = if suid_dumpable { "true" } else { COUNT };
        let (world, plan) = furnished(pid_namespace);
        let calls = calls(&world, &plan);
        let first = calls.iter().position(|call| call.name == "prctl").expect("dumping is switched off");
        for call in &sample(&calls[first..]) {
            let Some(stopped) = Stopped::at(&world, &plan, call) else { continue };
            // Behind the exec is init, and that is the caller's.
            if stopped.call == "execveat" {
                stopped.go_on();
                continue;
            }
            let name = &stopped.call;
            // What the kernel keeps for itself belongs to root; a process that may be looked into and leaves a core
            // when it crashes, to its user.
            // The starter is not set-group-id, so the group tells even while the user is root.
            let inside = fs::metadata(format!("/proc/{}/environ", stopped.pid)).expect("it is stopped");
            if !suid_dumpable {
                assert_eq!((inside.uid(), inside.gid()), (0, 0), "{name} can be looked into");
            }
            if suid_dumpable || call.index.is_multiple_of(8) {
                let pried = pry(&world, stopped.pid, besides);
                assert_eq!(pried.stdout, "", "{name}: {pried}");
            }
            stopped.go_on().assert_ok().assert_stdout("in");
        }
    }
}

#[test]
fn no_descriptor_that_the_plan_does_not_name_is_open_while_the_container_is_made() {
    let (world, mut plan) = furnished(false);
    let leaked = world.write("leaked", "");
    plan = plan.set(format!("leak=5:r:{}", leaked.display()));
    for call in calls(&world, &plan).iter().filter(|call| ["unshare", "pivot_root"].contains(&&*call.name)) {
        let stopped = Stopped::at(&world, &plan, call).expect("every run comes to it");
        let open = fs::read_dir(format!("/proc/{}/fd", stopped.pid)).expect("root may look");
        let open: Vec<_> = open
            .map(|entry| fs::read_link(entry.expect("it is stopped").path()).expect("it is open"))
            .collect();
        assert!(!open.is_empty() && !open.contains(&leaked), "{call:?}: {open:?}");
        stopped.go_on().assert_ok();
    }
}

/// `CAP_SYS_ADMIN` of `linux/capability.h`.
const SYS_ADMIN: u64 = 1 << 21;

#[test]
fn the_mounter_holds_one_capability_but_where_an_overlay_is_created() {
    const ROUNDS: usize = 5;
    const LOOKED_MIN: usize = 40;
    const CREATING: [&str; 4] = ["fsconfig", "capset", "setfsuid", "read"];
    let (world, plan) = furnished(false);
    let calls = calls(&world, &plan);
    let confined =
        calls.iter().position(|call| call.process == 1 && call.name == "seccomp").expect("it is confined");
    let (mut looked, mut raised) = (0, 0);
    let confined = &calls[confined + 1..];
    let sample = sample(confined);
    let sample = sample.iter().filter(|call| call.process == 1);
    // Memory is not asked for as often in every run, so one round may miss the only call.
    let raising = || confined.iter().filter(|call| call.process == 1 && call.name == "capset");
    for call in sample.chain((0..ROUNDS).flat_map(|_| raising())) {
        let Some(stopped) = Stopped::at(&world, &plan, call) else { continue };
        let set = |name| u64::from_str_radix(&stopped.status(name), 16).expect("a set of capabilities");
        if set("CapEff") != SYS_ADMIN {
            assert!(CREATING.contains(&stopped.call.as_str()), "{}: {:x}", stopped.call, set("CapEff"));
            raised += 1;
        }
        assert_eq!(set("CapEff") & !set("CapPrm"), 0, "{call:?}");
        for name in ["CapInh", "CapAmb"] {
            assert_eq!(set(name), 0, "{call:?}: {name}");
        }
        assert_eq!(
            (stopped.status("NoNewPrivs"), stopped.status("Seccomp")),
            ("1".to_owned(), "2".to_owned())
        );
        looked += 1;
        stopped.go_on().assert_ok();
        if raised > 0 && looked > LOOKED_MIN {
            break;
        }
    }
    assert!(looked > LOOKED_MIN && raised > 0, "{looked} stops, {raised} with more capabilities");
}

#[test]
fn whoever_stops_his_starters_keeps_nobody_waiting() {
    const STOPPED: usize = 16;
    const AT_ONCE: Duration = Duration::from_secs(5);
    let other = World::new();
    let image = other.busybox_sqfs("gzip");
    let plan = HandMade::bare(&other, &[], &image).running(&other, "echo in");
    let all: Vec<(World, HandMade)> = (0..STOPPED).map(|_| furnished(false)).collect();
    let calls = calls(&all[0].0, &all[0].1);
    let step = calls.len() / STOPPED;
    let held: Vec<Stopped> = all
        .iter()
        .zip(calls.iter().step_by(step))
        .filter_map(|((world, plan), call)| Stopped::at(world, plan, call))
        .collect();
    assert!(held.len() > STOPPED / 2, "only {} starters were stopped", held.len());
    let start = Instant::now();
    plan.hand_over(&other).as_user(User::second()).cwd("/").run().assert_ok().assert_stdout("in");
    assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
    for stopped in held {
        stopped.go_on();
    }
}

#[test]
fn a_mounter_that_is_stopped_ends_with_its_starter_whoever_it_acts_as() {
    let (world, plan) = furnished(false);
    let calls = calls(&world, &plan);
    let of_mounter: Vec<Call> = calls.into_iter().filter(|call| call.process == 1).collect();
    let acting = of_mounter.iter().position(|call| call.name == "setfsuid").expect("it acts as its caller");
    let mut looked = 0;
    for call in of_mounter[acting..].iter().step_by(5) {
        let Some(stopped) = Stopped::at(&world, &plan, call) else { continue };
        // A change of ids unties it, and the calls that follow tie it again.
        if ["setfsuid", "prctl"].contains(&&*stopped.call) {
            stopped.go_on().assert_ok();
            continue;
        }
        kill(parent(stopped.pid), Signal::SIGKILL).expect("it waits for the mounter");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !has_ended(stopped.pid) {
            assert!(Instant::now() < deadline, "{}: the mounter lives on", stopped.call);
            std::thread::sleep(Duration::from_millis(1));
        }
        looked += 1;
        assert_ne!(stopped.running.finish().status, Some(0));
    }
    assert!(looked > 3, "the mounter was stopped {looked} times");
}

/// Bytes of memory that a starter may have had at its most.
const MEMORY_MAX: u64 = 8 << 20;

#[test]
fn a_starter_takes_little_memory_for_the_largest_plan() {
    let (world, mut plan) = furnished(false);
    let room = protocol::MOUNTS_MAX - plan.plan.mounts.len();
    for number in 0..room {
        let destination = place(format!("/{number}/{}", "x".repeat(200)));
        plan.plan.mounts.push(Mount::Scratch { destination, purpose: protocol::Scratch::Work });
    }
    let frame = plan.encoded();
    assert!(
        frame.len() > protocol::frame::FRAME_BYTES_MAX * 3 / 4,
        "{} bytes are no large plan",
        frame.len()
    );
    let calls = calls(&world, &plan);
    for process in [0, 1] {
        let of_process = calls.iter().filter(|call| call.process == process && call.name != "execveat");
        // The later, the more memory it had; the very last may not be met in every run.
        let stopped = of_process.rev().find_map(|call| Stopped::at(&world, &plan, call)).expect("it stops");
        let most = stopped.status("VmHWM");
        let kibibytes: u64 = most.trim_end_matches(" kB").trim().parse().expect("a number");
        assert!(kibibytes * 1024 <= MEMORY_MAX, "process {process} had {kibibytes} KiB");
        stopped.go_on().assert_ok();
    }
}

#[test]
fn nobody_is_in_a_container_that_is_being_made() {
    let (world, plan) = furnished(true);
    let calls = calls(&world, &plan);
    let of_mounter: Vec<Call> = calls.into_iter().filter(|call| call.process == 2).collect();
    assert!(of_mounter.len() > 50, "the mounter makes {} calls", of_mounter.len());
    for call in of_mounter.iter().step_by(9) {
        let Some(stopped) = Stopped::at(&world, &plan, call) else { continue };
        let first = parent(stopped.pid);
        let outside = parent(first);
        for pid in [outside, first, stopped.pid] {
            let pried = pry(&world, pid, "ls root/..");
            assert_eq!(pried.stdout, "", "{} of {}: {pried}", pid, stopped.call);
        }
        stopped.go_on().assert_ok().assert_stdout("in");
    }
}

/// Where an ext superblock has its journal's UUID, inode and device, in bytes of the file (`ext4.h`).
const EXT_JOURNAL: std::ops::Range<usize> = 1024 + 208..1024 + 232;

#[test]
fn an_ext3_that_is_only_read_opens_no_journal_whatever_it_says_when_it_is_mounted() {
    let world = World::new();
    let image = world.busybox_ext3();
    let plan = HandMade::bare(&world, &[], &image).running(&world, "echo ready; read line; echo in");
    let content = fs::read(&image).expect("it was made");
    let block_size = (1024_u32 << content[1024 + 24]).to_string();
    let mke2fs = |arguments: &[&str]| {
        let arguments = ["-q", "-F", "-b", &block_size].into_iter().chain(arguments.iter().copied());
        assert!(
            std::process::Command::new("mke2fs").args(arguments).status().expect("it is there").success()
        );
    };
    let (journal, other) = (world.folder().join("journal"), world.folder().join("other"));
    fs::write(&journal, vec![0; 8 << 20]).expect("it is our folder");
    fs::write(&other, vec![0; 4 << 20]).expect("it is our folder");
    mke2fs(&["-O", "journal_dev", journal.to_str().expect("a plain path")]);
    let device = LoopDevice::on(&journal);
    let option = format!("device={}", device.path().display());
    mke2fs(&["-t", "ext3", "-J", &option, other.to_str().expect("a plain path")]);
    let outside = fs::read(&other).expect("it was made");
    // Everything was looked at before the mounter makes its second file system; the first is memory.
    let calls = calls(&world, &plan.clone().running(&world, "true"));
    let mounting = calls.iter().filter(|call| call.process == 1 && call.name == "fsopen").nth(1);
    let mounting = mounting.expect("it mounts");
    let attempt = |_| match Stopped::at(&world, &plan, mounting) {
        Some(stopped) if stopped.call == mounting.name => Some(stopped),
        neighbour => neighbour.and_then(|stopped| {
            stopped.go_on();
            None
        }),
    };
    let stopped = (0..20).find_map(attempt).expect("a run is like the first one");
    let mut changed = content;
    changed[EXT_JOURNAL].copy_from_slice(&outside[EXT_JOURNAL]);
    fs::write(&image, changed).expect("it is ours");
    kill(Pid::from_raw(-stopped.running.pid.as_raw()), Signal::SIGCONT).expect("it is stopped");
    let running = stopped.running.wait_for("ready");
    // Whoever keeps a journal there has the device for himself.
    let mut exclusive = fs::OpenOptions::new();
    let opened = exclusive.read(true).custom_flags(nix::libc::O_EXCL).open(device.path());
    running.finish().assert_ok().assert_stdout("ready\nin");
    opened.expect("nobody else has it");
}
