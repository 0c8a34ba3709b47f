//! What the processes of a group take, as the kernel counts it.

use crate::error::{Doing, Outcome};
use crate::message::shown;
use std::fs;
use std::path::Path;

/// What the processes of a group have taken, and take. Nothing is known of what no controller counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Microseconds of processor time.
    pub cpu: Cpu,
    /// Of the controller `memory`.
    pub memory: Option<Memory>,
    /// Of the controller `pids`.
    pub pids: Option<Pids>,
    /// Of the controller `io`: one for each device.
    pub io: Option<Vec<Io>>,
}

/// In microseconds, since the group was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// Altogether.
    pub total: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel, for them.
    pub system: u64,
}

/// In bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Memory {
    /// What is used, with what is cached of files.
    pub current: u64,
    /// What may be used, if that is limited.
    pub limit: Option<u64>,
    /// What it is used for, under the kernel's names.
    pub parts: Vec<(String, u64)>,
}

/// Processes and their threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// How many there may be, if that is limited.
    pub limit: Option<u64>,
}

/// Bytes that went from and to a block device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Io {
    /// Number of the device's kind.
    pub major: u64,
    /// Number of the device.
    pub minor: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Usage {
    /// Reads what the kernel has counted.
    ///
    /// # Errors
    /// There is no such group any more.
    pub fn of(group: &Path) -> Outcome<Self> {
        let read = |file: &str| fs::read_to_string(group.join(file));
        let cpu = read("cpu.stat").doing(|| format!("reading the control group {}", shown(group)))?;
        let cpu = pairs(&cpu);
        let number = |file: &str| read(file).ok()?.trim_end().parse::<u64>().ok();
        let parts = || pairs(&read("memory.stat").unwrap_or_default());
        Ok(Self {
            cpu: Cpu {
                total: value(&cpu, "usage_usec"),
                user: value(&cpu, "user_usec"),
                system: value(&cpu, "system_usec"),
            },
            memory: number("memory.current").map(|current| Memory {
                current,
                limit: number("memory.max"),
                parts: parts(),
            }),
            pids: number("pids.current").map(|current| Pids { current, limit: number("pids.max") }),
            io: read("io.stat").ok().map(|text| text.lines().filter_map(device).collect()),
        })
    }
}

/// `name number`, one a line.
fn pairs(text: &str) -> Vec<(String, u64)> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn value(pairs: &[(String, u64)], name: &str) -> u64 {
    pairs.iter().find(|(known, _)| known == name).map_or(0, |(_, number)| *number)
}

/// `8:0 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0`
fn device(line: &str) -> Option<Io> {
    let mut words = line.split(' ');
    let (major, minor) = words.next()?.split_once(':')?;
    let counted: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    let bytes = |name: &str| counted.iter().find(|(known, _)| *known == name)?.1.parse().ok();
    let (read, written) = (bytes("rbytes")?, bytes("wbytes")?);
    Some(Io { major: major.parse().ok()?, minor: minor.parse().ok()?, read, written })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_has_counted_is_read_and_what_it_does_not_count_is_nothing() {
        let group = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(group.path().join(file), text).unwrap();
        assert!(Usage::of(group.path()).is_err(), "every group has counted processor time");
        write("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n");
        let cpu = Cpu { total: 30, user: 20, system: 10 };
        let little = Usage { cpu, memory: None, pids: None, io: None };
        assert_eq!(Usage::of(group.path()).unwrap(), little);
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        write("memory.stat", "anon 1024\nfile 3072\n");
        write("pids.current", "2\n");
        write("pids.max", "10\n");
        write("io.stat", "8:16 rbytes=5 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n7:0 \n");
        let parts = vec![("anon".to_owned(), 1024), ("file".to_owned(), 3072)];
        let all = Usage {
            cpu,
            memory: Some(Memory { current: 4096, limit: None, parts }),
            pids: Some(Pids { current: 2, limit: Some(10) }),
            io: Some(vec![Io { major: 8, minor: 16, read: 5, written: 7 }]),
        };
        assert_eq!(Usage::of(group.path()).unwrap(), all);
    }
}
