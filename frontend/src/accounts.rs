//! Names of users and groups by number, without name service modules in this process.
//!
//! The programs of this crate are static, and the modules of the C library's name service are shared objects. Where
//! `nsswitch.conf` asks the files first and the files know the answer, it is read here, as the C library would read
//! it. Everything else is asked of `getent`, which comes with the C library and loads whatever the site configured.

use crate::error::{Doing, Failure, Outcome};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// Which services are asked for what, in which order.
const SERVICES: &str = "/etc/nsswitch.conf";
/// Where the C library's package puts `getent`.
const GETENT: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];
/// Exit status of `getent` when it does not know all that it was asked for.
const GETENT_UNKNOWN: i32 = 2;
/// Most bytes of a line, and of all that `getent` says. The C library gives up at as much for one group.
const BYTES_MAX: u64 = 16 << 20;

/// A table of the name service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Users.
    Passwd,
    /// Groups.
    Group,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Passwd => "passwd",
            Self::Group => "group",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Passwd => "/etc/passwd",
            Self::Group => "/etc/group",
        }
    }
}

/// One line of a table: its fields, in the order of `passwd(5)` or `group(5)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry(Vec<Vec<u8>>);

impl Entry {
    /// A field, counted from 0; empty if the line is shorter.
    #[must_use]
    pub fn field(&self, number: usize) -> &[u8] {
        self.0.get(number).map_or(&[], Vec::as_slice)
    }

    /// Name and number are what every line has; comments and the marks of other formats are no entries.
    fn parse(line: &[u8]) -> Option<(u32, Self)> {
        if line.is_empty() || matches!(line[0], b'#' | b'+' | b'-') {
            return None;
        }
        let fields: Vec<_> = line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect();
        let number = std::str::from_utf8(fields.get(2)?).ok()?.parse().ok()?;
        Some((number, Self(fields)))
    }
}

/// What is known of these numbers. Those that nobody knows are left out.
///
/// # Errors
/// A service could not be asked.
pub fn look_up(table: Table, numbers: &[u32]) -> Outcome<BTreeMap<u32, Entry>> {
    let mut known = BTreeMap::new();
    if asks_files_first(&services()?, table) {
        let doing = || format!("reading {}", table.file());
        known = entries(File::open(table.file()).doing(doing)?, numbers).doing(doing)?;
    }
    let unknown: Vec<u32> = numbers
        .iter()
        .copied()
        .filter(|number| !known.contains_key(number))
        .collect();
    if !unknown.is_empty() {
        known.append(&mut getent(table, &unknown)?);
    }
    Ok(known)
}

/// The text of `nsswitch.conf`; nothing where there is none.
fn services() -> Outcome<String> {
    match std::fs::read(SERVICES) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).doing(|| format!("reading {SERVICES}")),
    }
}

/// Whether the files are asked before any other service, and asked at all. They are where nothing is said.
fn asks_files_first(services: &str, table: Table) -> bool {
    let line = services.lines().find_map(|line| {
        let (name, services) = line.split('#').next()?.split_once(':')?;
        (name.trim() == table.name()).then_some(services)
    });
    line.is_none_or(|services| services.split_whitespace().next() == Some("files"))
}

/// The first entry of each of these numbers.
fn entries(text: impl Read, numbers: &[u32]) -> std::io::Result<BTreeMap<u32, Entry>> {
    let mut text = BufReader::new(text);
    let mut known = BTreeMap::new();
    let mut line = Vec::new();
    while known.len() < numbers.len() {
        line.clear();
        if text.by_ref().take(BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if let Some((number, entry)) = Entry::parse(line.trim_ascii_end())
            && numbers.contains(&number)
        {
            known.entry(number).or_insert(entry);
        }
    }
    Ok(known)
}

/// Asks all services of the site.
fn getent(table: Table, numbers: &[u32]) -> Outcome<BTreeMap<u32, Entry>> {
    let doing = || format!("asking the name service with 'getent {}'", table.name());
    let program = GETENT.into_iter().find(|path| Path::new(path).exists());
    let program = program.ok_or_else(|| {
        Failure::new(format!("while {}: there is no {}", doing(), GETENT[0]))
            .hint("install the C library's own tools (package libc-bin or glibc-common)")
    })?;
    let mut child = Command::new(program)
        .arg(table.name())
        .args(numbers.iter().map(u32::to_string))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .doing(doing)?;
    let known = child
        .stdout
        .take()
        .map(|answer| entries(answer.take(BYTES_MAX), numbers));
    let status = child.wait().doing(doing)?;
    match status.code() {
        Some(0 | GETENT_UNKNOWN) => known.transpose().doing(doing).map(Option::unwrap_or_default),
        _ => Err(Failure::new(format!("while {}: {status}", doing()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"# site\nroot:x:0:0:root:/root:/bin/sh\n+::5::::\ntoor:x:0:0::/:/bin/csh\n\nana:x:1000:100:Ana,,:/home/ana:/bin/zsh";

    #[test]
    fn the_first_line_of_a_number_counts_and_marks_of_other_formats_are_no_entries() {
        let known = entries(PASSWD, &[0, 5, 1000, 7]).unwrap();
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [0, 1000]);
        assert_eq!(known[&0].field(0), b"root");
        assert_eq!(
            (known[&1000].field(5), known[&1000].field(6)),
            (b"/home/ana".as_slice(), b"/bin/zsh".as_slice())
        );
        assert_eq!(known[&1000].field(9), b"");
    }

    #[test]
    fn files_come_first_only_where_the_services_say_so_or_say_nothing() {
        for (services, first) in [
            ("passwd: files systemd", true),
            ("passwd:\t\tfiles [SUCCESS=merge] sss\n", true),
            ("# passwd: sss\ngroup: sss\n", true),
            ("", true),
            ("passwd: sss files", false),
            (" passwd : compat # files", false),
            ("passwd:", false),
        ] {
            assert_eq!(asks_files_first(services, Table::Passwd), first, "{services:?}");
        }
    }

    #[test]
    fn getent_knows_what_the_files_know_and_leaves_out_what_nobody_knows() {
        let nobody_has = 3_999_999_999;
        let asked = getent(Table::Group, &[0, nobody_has]).unwrap();
        assert_eq!(asked, look_up(Table::Group, &[0, nobody_has]).unwrap());
        assert_eq!(asked[&0].field(0), b"root");
    }
}
