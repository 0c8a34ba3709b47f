//! Starts a starter with a plan that somebody else made: `ask-starter STARTER FRAME [r:|w:|p:]SOURCE...`.
//!
//! This is what a frontend does at its end, without a frontend's scruples. The sources are opened here, by the right
//! of whoever runs this: for reading, for writing, or as a mere place.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = || arguments.next().expect("ask-starter STARTER FRAME SOURCE...");
    let (starter, frame) = (next(), next());
    // A new process has 0, 1 and 2; the kernel gives out the lowest free number.
    let frame = std::fs::read(&frame).expect("the frame can be read");
    let (reader, writer) = nix::unistd::pipe().expect("there are pipes");
    keep(reader.into_raw_fd(), protocol::PLAN_FD);
    File::from(writer).write_all(&frame).expect("a frame fits a pipe");
    keep(source("r:/dev/null".into()), protocol::PAYLOAD_FD);
    for (path, number) in arguments.zip(protocol::SOURCE_FD_FIRST..) {
        keep(source(path), number);
    }
    let starter = CString::new(starter.into_vec()).expect("a path has no NUL");
    let error = nix::unistd::execv(&starter, &[c"starter-suid"]);
    panic!("cannot start the starter: {error:?}");
}

fn source(argument: OsString) -> RawFd {
    let bytes = argument.as_bytes();
    let flags = match bytes.first() {
        Some(b'r') => OFlag::O_RDONLY,
        Some(b'w') => OFlag::O_RDWR,
        _ => OFlag::O_PATH,
    };
    let path = bytes.get(2..).expect("a letter, a colon and a path");
    let opened = open(path, flags, Mode::empty());
    opened.expect("a source can be opened").into_raw_fd()
}

fn keep(fd: RawFd, number: RawFd) {
    assert_eq!(fd, number, "somebody left a descriptor open");
}
