//! `instance stats`: what an instance takes, from its control group.

use super::folder_of;
use crate::cgroup::{self, Memory, Pids, Usage};
use crate::cli::given::Given;
use crate::cli::{Invocation, Stop, answer};
use crate::error::{Doing, Failure, Outcome};
use crate::message::{self, shown};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

/// What `instance stats` needs.
pub(crate) const NOTES: &str = "\
An instance has a control group of its own where it can be given one: root's has one where the host has
groups of version 2, and a user's where the group that it is started in was delegated. What no
controller counts there is shown as -.

";

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Moves a terminal's cursor to the top and empties it.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// For what nobody counts.
const UNKNOWN: &str = "-";

/// `instance stats`
pub(crate) fn stats(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let name = words.first().map(shown).unwrap_or_default();
    let found = folder_of(invocation.dialect, given)?.find(&name);
    let (record, process) = found.ok_or_else(|| Failure::new("no instance found"))?;
    let group = cgroup::of(Pid::from_raw(record.pid)).ok_or_else(|| {
        Failure::new(format!("instance {name} has no control group of its own, so nobody counts what it takes"))
            .hint("'instance start -v' says why it gets none; 'systemd-run --user --scope -p Delegate=yes' starts a command where it can get one")
    })?;
    let mut before = (Instant::now(), Usage::of(&group)?);
    if given.is_on("json") {
        if !given.is_on("no-stream") {
            message::warning("JSON is printed once: add --no-stream");
        }
        let text = serde_json::to_vec_pretty(&as_json(&before.1)).doing(|| "writing JSON".into())?;
        return Ok(answer::print([&text[..], b"\n"].concat())?);
    }
    let stream = !given.is_on("no-stream");
    while !process.ended_by(before.0 + INTERVAL).doing(|| format!("watching instance {name}"))? {
        let now = (Instant::now(), Usage::of(&group)?);
        let table = table(&name, &now.1, processors(&before, &now), memory_of_host()?);
        before = now;
        if !print(&table, stream)? || !stream {
            return Ok(());
        }
    }
    if stream { Ok(()) } else { Err(Failure::new(format!("instance {name} has ended")).into()) }
}

/// Whether somebody reads it.
fn print(table: &str, stream: bool) -> Outcome<bool> {
    let mut out = io::stdout();
    let clear = if stream && out.is_terminal() { CLEAR } else { "" };
    match out.write_all(format!("{clear}{table}").as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).doing(|| "writing to standard output".into()),
    }
}

/// Percent of one processor.
fn processors(before: &(Instant, Usage), now: &(Instant, Usage)) -> f64 {
    let used = Duration::from_micros(now.1.cpu.total.saturating_sub(before.1.cpu.total));
    100.0 * used.as_secs_f64() / now.0.duration_since(before.0).as_secs_f64()
}

fn table(name: &str, usage: &Usage, processors: f64, memory_of_host: u64) -> String {
    let header = ["INSTANCE NAME", "CPU USAGE", "MEM USAGE / LIMIT", "MEM %", "BLOCK I/O", "PIDS"];
    let (memory, part) = usage.memory.as_ref().map_or((UNKNOWN.into(), UNKNOWN.into()), |memory| {
        let limit = memory.limit.unwrap_or(memory_of_host).max(1);
        let part = 100.0 * memory.current as f64 / limit as f64;
        (format!("{} / {}", size(memory.current), size(limit)), format!("{part:.2}%"))
    });
    let io = usage.io.as_ref().map_or(UNKNOWN.into(), |devices| {
        let read = devices.iter().map(|device| device.read).sum();
        format!("{} / {}", size(read), size(devices.iter().map(|device| device.written).sum()))
    });
    let pids = usage.pids.map_or(UNKNOWN.into(), |pids| pids.current.to_string());
    let row = [name.to_owned(), format!("{processors:.2}%"), memory, part, io, pids];
    answer::in_columns(&[header.map(String::from).to_vec(), row.to_vec()])
}

/// Four digits and a unit, as `1.5MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * unit) > 0).unwrap_or(0);
    let number = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let decimals = [10.0, 100.0, 1000.0].iter().filter(|bound| number < **bound).count();
    let digits = format!("{number:.decimals$}");
    let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS.get(unit).copied().unwrap_or_default())
}

/// In bytes.
fn memory_of_host() -> Outcome<u64> {
    let reading = || "reading how much memory this host has".to_owned();
    let table = std::fs::read_to_string("/proc/meminfo").doing(reading)?;
    let line = table.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes
        .map(|number| number.saturating_mul(1024))
        .ok_or_else(|| Failure::new(format!("while {}: /proc/meminfo does not say", reading())))
}

/// With the names that runc's library has for what is counted, which scripts look for; processor time is in nanoseconds.
fn as_json(usage: &Usage) -> Value {
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
    let mut all = Map::new();
    let cpu = json!({
        "total_usage": nanoseconds(usage.cpu.total),
        "usage_in_kernelmode": nanoseconds(usage.cpu.system),
        "usage_in_usermode": nanoseconds(usage.cpu.user),
    });
    all.insert("cpu_stats".into(), json!({ "cpu_usage": cpu }));
    if let Some(Memory { current, limit, parts }) = &usage.memory {
        let parts: Map<String, Value> =
            parts.iter().map(|(name, bytes)| (name.clone(), json!(bytes))).collect();
        // Without a limit it is the largest number there, and 0 for processes.
        let limit = limit.unwrap_or(u64::MAX);
        let memory = json!({ "usage": { "usage": current, "limit": limit }, "stats": parts });
        all.insert("memory_stats".into(), memory);
    }
    if let Some(Pids { current, limit }) = usage.pids {
        all.insert("pids_stats".into(), json!({ "current": current, "limit": limit.unwrap_or(0) }));
    }
    if let Some(devices) = &usage.io {
        let entry = |major: u64, minor: u64, op: &str, value: u64| json!({ "major": major, "minor": minor, "op": op, "value": value });
        let both = devices.iter().flat_map(|device| {
            [
                entry(device.major, device.minor, "Read", device.read),
                entry(device.major, device.minor, "Write", device.written),
            ]
        });
        all.insert("blkio_stats".into(), json!({ "io_service_bytes_recursive": both.collect::<Vec<_>>() }));
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Cpu, Io};

    fn usage() -> Usage {
        Usage {
            cpu: Cpu { total: 1_500_000, user: 1_000_000, system: 500_000 },
            memory: Some(Memory { current: 3 << 20, limit: Some(12 << 20), parts: vec![("anon".into(), 9)] }),
            pids: Some(Pids { current: 4, limit: None }),
            io: Some(vec![Io { major: 8, minor: 0, read: 1536, written: 0 }]),
        }
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (12_345_678, "11.77MiB"),
            (100 << 20, "100MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_table_has_what_is_counted_and_says_what_is_not() {
        let row = |usage: &Usage| {
            let table = table("web", usage, 12.345, 24 << 20);
            table.lines().nth(1).unwrap().split("    ").map(str::trim).map(String::from).collect::<Vec<_>>()
        };
        let full: Vec<String> = row(&usage()).into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(full, ["web", "12.35%", "3MiB / 12MiB", "25.00%", "1.5KiB / 0B", "4"]);
        let little: Vec<String> = row(&Usage { memory: None, pids: None, io: None, ..usage() });
        let little: Vec<String> = little.into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(little, ["web", "12.35%", "-", "-", "-", "-"]);
    }

    #[test]
    fn programs_get_the_names_that_they_look_for() {
        let all = as_json(&usage());
        assert_eq!(all["cpu_stats"]["cpu_usage"]["total_usage"], 1_500_000_000_u64);
        assert_eq!(all["memory_stats"]["usage"]["usage"], 3 << 20);
        assert_eq!(all["memory_stats"]["stats"]["anon"], 9);
        assert_eq!(all["pids_stats"]["current"], 4);
        assert_eq!(all["blkio_stats"]["io_service_bytes_recursive"][0]["value"], 1536);
    }
}
