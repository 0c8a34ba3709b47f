//! Commands killed on entering a system call.

use super::Place;
use std::collections::HashMap;
use std::process::{Command, Stdio};

const LAMINA: &str = env!("CARGO_BIN_EXE_lamina");

/// Runs a command of `lamina` in a place under strace, with arguments for strace.
pub(crate) fn strace(place: &Place, arguments: &[&str], command: &[&str]) -> std::process::ExitStatus {
    Command::new("strace")
        .args(["-o", place.join("trace").to_str().unwrap()])
        .args(arguments)
        .arg(LAMINA)
        .args(command)
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// Every system call of the last run since it named a file: its name, and how often that name came before.
pub(crate) fn calls_since(place: &Place, file: &str) -> Vec<(String, usize)> {
    let trace = std::fs::read_to_string(place.join("trace")).unwrap();
    let mut counts = HashMap::new();
    let mut calls = Vec::new();
    let mut named = false;
    for line in trace.lines().skip(1) {
        named |= line.contains(file);
        let Some((name, _)) = line.split_once('(') else {
            continue;
        };
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if named && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            calls.push((name.to_owned(), *count));
        }
    }
    calls
}
