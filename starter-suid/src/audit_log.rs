//! One line in the system's log for each request, accepted or refused. Without a log daemon nothing changes.

use crate::caller::Caller;
use std::io::{self, Write};
use std::time::Duration;
use syslog::{Facility, Logger, LoggerBackend, Severity};

/// Longest line in bytes: under the 1024 that RFC 3164 lets a relay cut at.
const LINE_BYTES_MAX: usize = 900;
/// How long a daemon that is behind is waited for: whoever floods the log keeps himself out of it no more than that. One
/// that reads nothing at all keeps every start waiting so long, and nothing else.
const PATIENCE: Duration = Duration::from_millis(500);
/// Ends a line or a name that was longer, so that nobody takes a part for the whole.
pub const CUT: &str = " [cut]";
/// Fixed, because the name this program was started by is the caller's.
const TAG: &str = "lamina-starter";

/// Writes `priority`, tag and message. The time is left to the daemon: only it knows the local time zone without
/// reading files named by the environment.
#[derive(Clone)]
struct Line;

impl syslog::LogFormat<&str> for Line {
    fn format<W: Write>(&self, to: &mut W, severity: Severity, message: &str) -> syslog::Result<()> {
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        let pid = std::process::id();
        let line = format!("<{priority}>{TAG}[{pid}]: {message}");
        match line.as_bytes().get(..LINE_BYTES_MAX) {
            Some(start) if line.len() > LINE_BYTES_MAX => to.write_all(&[start, CUT.as_bytes()].concat())?,
            _ => to.write_all(line.as_bytes())?,
        }
        Ok(())
    }
}

/// What was decided.
pub enum Decision<'a> {
    /// The plan may be carried out; what it is made of.
    Accepted(&'a str),
    /// It may not, or the request could not be understood; why.
    Refused(&'a str),
}

/// Writes the record. `message` parts are ASCII already: every name in them was escaped where it entered.
pub fn record(caller: &Caller, decision: &Decision) {
    let Ok(mut log) = connect() else { return };
    let (uid, gid) = (caller.uid, caller.gid);
    let _ = match decision {
        Decision::Accepted(what) => log.info(format!("accepted uid={uid} gid={gid} {what}").as_str()),
        Decision::Refused(why) => {
            log.notice(format!("refused uid={uid} gid={gid} reason=\"{why}\"").as_str())
        }
    };
}

fn connect() -> io::Result<Logger<LoggerBackend, Line>> {
    let log = syslog::unix(Line).map_err(io::Error::other)?;
    match &log.backend {
        LoggerBackend::Unix(socket) => socket.set_write_timeout(Some(PATIENCE))?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(log)
}
