//! Starts a starter with a plan that somebody else made: `ask-starter [SETTING=VALUE...] STARTER FRAME SOURCE...`.
//!
//! This is what a frontend does at its end, without a frontend's scruples. FRAME is the file that is written into the
//! plan pipe. The first SOURCE is the payload. Sources are opened here, by the right of whoever runs this:
//!
//! | Source | Opened as |
//! |---|---|
//! | `r:PATH` `w:PATH` `a:PATH` `p:PATH` | for reading, for both, for writing, as a mere place |
//! | `l:PATH` | as a mere place, a link itself |
//! | `d:PATH` | for reading, and the name is removed |
//! | `m:PATH` | a copy in a memory file |
//! | `k:PATH` | the same, sealed as the record of an instance is |
//! | `f:PATH` | a pipe that was filled with the file |
//! | `s:` | a socket |
//! | `i:PID` | a descriptor of a process |
//! | `-:` | not at all: the number stays free |
//!
//! Settings, made last: `plan=SOURCE` instead of the pipe, `limit=NAME:NUMBER`, `close=NUMBER`, `leak=COUNT:SOURCE`,
//! `argument=TEXT` (none given: no argument at all, not even a name), `variable=TEXT`, `umask=OCTAL`, `block=signals`,
//! `alarm=SECONDS`, `pause=PATH` (that file is
//! made, and its removal is waited for).

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::{Mode, umask};
use protocol::{PLAN_FD, SOURCE_FD_FIRST};
use rustix::process::{PidfdFlags, pidfd_open};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

fn main() {
    let (settings, mut rest): (Vec<OsString>, Vec<OsString>) =
        std::env::args_os().skip(1).partition(|argument| setting(argument).is_some());
    let settings: Vec<(&[u8], &[u8])> = settings.iter().filter_map(|text| setting(text)).collect();
    assert!(rest.len() >= 3, "ask-starter [SETTING...] STARTER FRAME SOURCE...");
    let sources = rest.split_off(2);
    let frame = std::fs::read(&rest[1]).expect("the frame can be read");
    let mut free = Vec::new();
    let plan = values(&settings, b"plan").next();
    // A new process has 0, 1 and 2; the kernel gives out the lowest free number.
    keep(plan.map_or_else(|| filled_pipe(&frame), source), PLAN_FD, &mut free);
    for (path, number) in sources.iter().zip(SOURCE_FD_FIRST - 1..) {
        keep(source(path.as_bytes()), number, &mut free);
    }
    for number in free {
        nix::unistd::close(number).expect("it is open");
    }
    let starter = CString::new(rest.remove(0).into_vec()).expect("a path has no NUL");
    let error = start(&starter, &settings);
    panic!("cannot start the starter: {error:?}");
}

fn setting(text: &OsString) -> Option<(&[u8], &[u8])> {
    const NAMES: [&str; 10] =
        ["plan", "limit", "close", "leak", "argument", "variable", "umask", "block", "alarm", "pause"];
    let at = text.as_bytes().iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&text.as_bytes()[..at], &text.as_bytes()[at + 1..]);
    NAMES.iter().any(|known| known.as_bytes() == name).then_some((name, value))
}

fn values<'a>(settings: &[(&'a [u8], &'a [u8])], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    settings.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
}

/// Opens a source; nothing for one that is to be missing.
fn source(argument: &[u8]) -> Option<OwnedFd> {
    let path = argument.get(2..).expect("a letter, a colon and a path");
    let content = || std::fs::read(OsString::from_vec(path.to_vec())).expect("a source can be read");
    let flags = match argument[0] {
        b'r' | b'd' => OFlag::O_RDONLY | OFlag::O_NONBLOCK,
        b'w' => OFlag::O_RDWR | OFlag::O_NONBLOCK,
        b'a' => OFlag::O_WRONLY,
        b'p' => OFlag::O_PATH,
        b'l' => OFlag::O_PATH | OFlag::O_NOFOLLOW,
        b'm' | b'k' => {
            let memory = memfd_create(c"source", MFdFlags::MFD_ALLOW_SEALING).expect("there is memory");
            let mut memory = File::from(memory);
            memory.write_all(&content()).expect("there is memory");
            if argument[0] == b'k' {
                let seals = SealFlag::F_SEAL_SEAL
                    | SealFlag::F_SEAL_SHRINK
                    | SealFlag::F_SEAL_GROW
                    | SealFlag::F_SEAL_WRITE;
                fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).expect("it is ours");
            }
            return Some(memory.into());
        }
        b'f' => return filled_pipe(&content()),
        b'i' => {
            let number = i32::try_from(number(path)).expect("a process id");
            let process = rustix::process::Pid::from_raw(number).expect("a process id");
            let held = pidfd_open(process, PidfdFlags::empty()).expect("the process is there");
            fcntl(&held, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("it is open");
            return Some(held);
        }
        b's' => {
            let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty());
            return Some(pair.expect("there are sockets").0);
        }
        _ => return None,
    };
    let opened = open(path, flags, Mode::empty()).expect("a source can be opened");
    if argument[0] == b'd' {
        nix::unistd::unlink(path).expect("a source can be removed");
    }
    Some(opened)
}

/// A pipe with these bytes in it, as many as fit, and nobody at its other end.
fn filled_pipe(bytes: &[u8]) -> Option<OwnedFd> {
    const LARGEST: i32 = 1 << 20;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK).expect("there are pipes");
    if bytes.len() > protocol::frame::FRAME_BYTES_MAX {
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(LARGEST)).expect("a pipe can be made larger");
    }
    // More than fits is not written.
    let _ = File::from(writer).write(bytes).expect("a pipe can be written");
    Some(reader)
}

/// Sees to it that a descriptor has its number. A number that is to stay free is taken for now.
fn keep(fd: Option<OwnedFd>, number: RawFd, free: &mut Vec<RawFd>) {
    if fd.is_none() {
        free.push(number);
    }
    let fd = fd.unwrap_or_else(|| open("/", OFlag::O_PATH, Mode::empty()).expect("there is a /"));
    assert_eq!(fd.into_raw_fd(), number, "somebody left a descriptor open");
}

fn start(starter: &CString, settings: &[(&[u8], &[u8])]) -> Errno {
    let c_strings = |name| -> Vec<CString> {
        values(settings, name).map(|text| CString::new(text).expect("an argument has no NUL")).collect()
    };
    let (arguments, variables) = (c_strings(b"argument"), c_strings(b"variable"));
    for (name, value) in settings {
        let number = || number(value);
        match *name {
            b"leak" => leak(value),
            b"umask" => {
                let text = std::str::from_utf8(value).expect("a mask is digits");
                umask(Mode::from_bits_truncate(u32::from_str_radix(text, 8).expect("a mask is octal")));
            }
            b"pause" => pause(&OsString::from_vec(value.to_vec())),
            b"block" => sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).expect("a mask"),
            b"alarm" => drop(nix::unistd::alarm::set(u32::try_from(number()).expect("a few seconds"))),
            _ => {}
        }
    }
    for value in values(settings, b"close") {
        nix::unistd::close(i32::try_from(number(value)).expect("a descriptor")).expect("it is open");
    }
    for value in values(settings, b"limit") {
        limit(value);
    }
    let Err(error) = nix::unistd::execve(starter, &arguments, &variables);
    error
}

fn pause(until_gone: &OsString) {
    let path = std::path::Path::new(until_gone);
    std::fs::write(path, "").expect("a file can be made");
    while path.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("a number is digits");
    text.parse().expect("a number is digits")
}

/// Opens `COUNT:SOURCE`, and leaves them open.
fn leak(value: &[u8]) {
    let at = value.iter().position(|byte| *byte == b':').expect("a count, a colon and a source");
    for _ in 0..number(&value[..at]) {
        let _stays_open = source(&value[at + 1..]).map(|fd| {
            fcntl(fd.as_fd(), FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("it is open");
            fd.into_raw_fd()
        });
    }
}

fn limit(value: &[u8]) {
    const NAMES: [(&[u8], Resource); 10] = [
        (b"as", Resource::RLIMIT_AS),
        (b"core", Resource::RLIMIT_CORE),
        (b"cpu", Resource::RLIMIT_CPU),
        (b"data", Resource::RLIMIT_DATA),
        (b"fsize", Resource::RLIMIT_FSIZE),
        (b"memlock", Resource::RLIMIT_MEMLOCK),
        (b"nofile", Resource::RLIMIT_NOFILE),
        (b"nproc", Resource::RLIMIT_NPROC),
        (b"sigpending", Resource::RLIMIT_SIGPENDING),
        (b"stack", Resource::RLIMIT_STACK),
    ];
    let at = value.iter().position(|byte| *byte == b':').expect("a name, a colon and a number");
    let (_, resource) = NAMES.iter().find(|(name, _)| *name == &value[..at]).expect("a limit's name");
    let number = number(&value[at + 1..]);
    setrlimit(*resource, number, number).expect("a limit can be lowered");
}
