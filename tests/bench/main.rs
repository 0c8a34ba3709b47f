//! What a container start costs, against a floor: a C program that makes the same mounts and the same exec as root,
//! and nothing else; and what `overlay sync` and `overlay seal` cost. Prints one table and asserts nothing; `README.md` beside
//! this file explains the columns.
//!
//! `bench [REPETITIONS]`, as root, on a machine that `packaging/test up` made ready.

mod cases;
mod memory;
mod overlays;
mod start;

use cases::Case;
use start::{Start, Times};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::World;

/// Pairs of starts of each case when the command line does not say.
const REPETITIONS: usize = 200;
/// Containers started at the same moment.
const PARALLEL: usize = 64;
/// Most bytes of the installed starter.
const STARTER_BYTES_MAX: u64 = 1 << 20;
/// How often the parallel start is repeated.
const ROUNDS: usize = 5;

fn main() {
    let repetitions = std::env::args()
        .nth(1)
        .map_or(REPETITIONS, |number| number.parse().expect("REPETITIONS is a number"));
    let world = World::new();
    let cases = cases::all(&world);

    println!(
        "wall time of `exec IMAGE true`, {repetitions} starts each, interleaved; milliseconds, median (least)"
    );
    println!("{:28}{:>16}{:>16}{:>7}{:>8}{:>7}", "", "floor", "lamina", "ratio", "(least)", "bar");
    for case in &cases {
        compare(case, repetitions);
    }
    for case in &cases {
        same_mounts(case);
    }
    if let Some(case) = cases.first() {
        in_parallel(case);
        memory::show(&case.product.clone().args(["true"]), world.user());
        residents(&case.product);
        others(case, repetitions);
    }
    starter_size(&world.installed().starter_suid());
    overlays::compare(&world);
}

/// Floor and product in turns, so that both meet the same noise.
fn compare(case: &Case, repetitions: usize) {
    let (floor, product) = (case.floor.clone().args(["true"]), case.product.clone().args(["true"]));
    let (floor, product) = in_turns(&floor, &product, repetitions);
    let ratio = floor.median_in(product.median);
    let bar = case.bar.map_or_else(String::new, |bar| format!("{bar:.2}"));
    let verdict = case.bar.map_or("", |bar| if ratio <= bar { "pass" } else { "miss" });
    println!(
        "{:28}{:>16}{:>16}{ratio:>7.2}{:>8.2}{bar:>7}  {verdict}",
        case.name,
        floor.to_string(),
        product.to_string(),
        product.least.as_secs_f64() / floor.least.as_secs_f64(),
    );
}

fn in_turns(one: &Start, other: &Start, repetitions: usize) -> (Times, Times) {
    for warm_up in [one, other, one, other] {
        warm_up.time();
    }
    let (one, other) = (0..repetitions).map(|_| (one.time(), other.time())).unzip();
    (Times::of(one), Times::of(other))
}

/// A floor that makes other mounts is no floor.
fn same_mounts(case: &Case) {
    let table = |start: &Start| {
        let text = start.clone().args(["cat", "/proc/self/mountinfo"]).output();
        let mut mounts: Vec<_> = text.lines().filter_map(place_and_kind).collect();
        mounts.sort();
        mounts
    };
    let (floor, product) = (table(&case.floor), table(&case.product));
    if floor != product {
        println!("{}: the floor makes other mounts, so its ratio says little", case.name);
        for mount in product.iter().filter(|mount| !floor.contains(mount)) {
            println!("  only lamina: {mount}");
        }
        for mount in floor.iter().filter(|mount| !product.contains(mount)) {
            println!("  only the floor: {mount}");
        }
    }
}

/// Mount point and file system of a line of the mount table.
fn place_and_kind(line: &str) -> Option<String> {
    let (mount, file_system) = line.split_once(" - ")?;
    Some(format!("{} {}", mount.split(' ').nth(4)?, file_system.split(' ').next()?))
}

/// Many starts at one moment. A start that fails panics, and says which.
fn in_parallel(case: &Case) {
    let all_at_once = |start: &Start| {
        let start = start.clone().args(["true"]);
        let begun = Instant::now();
        let running: Vec<_> = (0..PARALLEL).map(|_| start.spawn()).collect();
        running.into_iter().for_each(start::Running::finish);
        begun.elapsed()
    };
    let (floor, product): (Vec<Duration>, Vec<Duration>) =
        (0..ROUNDS).map(|_| (all_at_once(&case.floor), all_at_once(&case.product))).unzip();
    let (floor, product) = (Times::of(floor), Times::of(product));
    println!(
        "\n{PARALLEL} starts of {} at once, all succeeded: floor {floor} ms, lamina {product} ms, ratio {:.2}",
        case.name,
        floor.median_in(product.median)
    );
}

/// Processes that a running container keeps beside the user's own.
fn residents(product: &Start) {
    nix::sys::prctl::set_child_subreaper(true).expect("orphans can come to us");
    let running = product.clone().args(["sleep", "5"]).spawn();
    let deadline = Instant::now() + Duration::from_secs(5);
    let runs_sleep =
        |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\0"));
    while !runs_sleep(&running.pid()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let own = runs_sleep(&running.pid());
    let below = descendants(std::process::id());
    let names: Vec<_> = below.iter().filter(|pid| !own || **pid != running.pid()).map(command_of).collect();
    let verdict = if names.is_empty() { "pass" } else { "miss" };
    println!("\nprocesses beside the user's own while a container runs: {} (bar 0)  {verdict}", names.len());
    names.iter().for_each(|name| println!("  {name}"));
    running.kill();
}

fn descendants(of: u32) -> Vec<u32> {
    let path = format!("/proc/{of}/task/{of}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn command_of(pid: &u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// The incumbents, where one is on the machine.
fn others(case: &Case, repetitions: usize) {
    for name in ["apptainer", "singularity"] {
        let Some(program) = incumbent(name) else {
            println!("{name}: not on this machine, so not compared");
            continue;
        };
        let other = case.product.clone().with_program(&program).args(["true"]);
        let product = case.product.clone().args(["true"]);
        let (product, other) = in_turns(&product, &other, repetitions.min(30));
        println!(
            "{name} ({}) on {}: {other} ms, {:.2} times lamina's {product} ms",
            program.display(),
            case.name,
            product.median_in(other.median)
        );
    }
}

/// A program in the system's own folders that is not one of ours under another name.
fn incumbent(name: &str) -> Option<std::path::PathBuf> {
    let folders = ["/usr/bin", "/usr/local/bin", "/opt/apptainer/bin"];
    let found = folders.map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists())?;
    let real = fs::canonicalize(&found).ok()?;
    (real.file_name()? != "lamina").then_some(found)
}

fn starter_size(starter: &Path) {
    let size = fs::metadata(starter).expect("the starter is installed").size();
    let verdict = if size <= STARTER_BYTES_MAX { "pass" } else { "miss" };
    println!("\nstarter: {size} bytes (bar {STARTER_BYTES_MAX})  {verdict}");
}
