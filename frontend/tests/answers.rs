//! What is printed to somebody who has stopped reading.

use std::process::{Command, ExitStatus, Stdio};

const LAMINA: &str = env!("CARGO_BIN_EXE_lamina");

/// Runs the command with standard output and standard error on pipes that nobody reads.
fn unread(arguments: &[&str]) -> ExitStatus {
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    Command::new(LAMINA).args(arguments).stdout(gone()).stderr(gone()).status().unwrap()
}

#[test]
fn an_answer_that_nobody_reads_to_its_end_is_no_failure() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["version"],
        &["help"],
        &["help", "exec"],
        &["exec", "--help"],
        &["sif", "--help"],
        &["help", "overlay"],
    ] {
        assert_eq!(unread(arguments).code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_complaint_that_nobody_reads_keeps_its_exit_status() {
    assert_eq!(unread(&["--nope"]).code(), Some(1));
    assert_eq!(unread(&["exec", "image.sif"]).code(), Some(1));
    assert_eq!(unread(&["exec", "--nv", "image.sif", "true"]).code(), Some(255));
}
