//! What the site allows: `singularity.conf`, from a path fixed when this program was built.

use crate::evidence::name_of;
use crate::policy::Limits;
use crate::refusal::{Refusal, Step};
use config::{Setting, Settings};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where the configuration folder is; chosen by `make install SYSCONFDIR=`.
const SYSCONFDIR: &str = match option_env!("LAMINA_SYSCONFDIR") {
    Some(folder) => folder,
    None => "/usr/local/etc",
};
/// The file below [`SYSCONFDIR`].
const FILE: &str = "singularity/singularity.conf";
/// The execution control list of the incumbents, beside [`FILE`].
const EXECUTION_CONTROL_LIST: &str = "ecl.toml";
/// Longest configuration or account file in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The one path the configuration is read from.
pub fn path() -> String {
    format!("{SYSCONFDIR}/{FILE}")
}

/// Reads the configuration. A file that anybody but root could have written is no configuration.
pub fn load() -> Result<Settings, Refusal> {
    load_from(&path())
}

fn load_from(path: &str) -> Result<Settings, Refusal> {
    for folder in Path::new(path).ancestors().skip(1) {
        let shown = folder.display().to_string();
        let looking = || format!("looking at {shown}");
        // A link is followed only if root made it.
        let itself = rustix::fs::lstat(folder).step(looking())?;
        let target = rustix::fs::stat(folder).step(looking())?;
        require_roots_folder(&shown, &itself, &target)?;
    }
    let site = parse(path, &read_trusted(path)?)?;
    refuse_execution_control(&Path::new(path).with_file_name(EXECUTION_CONTROL_LIST).display().to_string())?;
    Ok(site)
}

/// A site that lets only signed images run must not have others run because nobody here looks at signatures.
fn refuse_execution_control(path: &str) -> Result<(), Refusal> {
    match rustix::fs::lstat(path) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        found => drop(found.step(format!("looking at {path}"))?),
    }
    if !activated(&read_trusted(path)?) {
        return Ok(());
    }
    Err(Refusal::new(format!("{path} is activated, and signatures are not looked at when a container starts"))
        .hint("only the administrator of this site can change that: 'limit container owners' says whose images may run"))
}

/// Whether an execution control list may be in force: anything said of `activated` but a plain `false` means yes.
fn activated(list: &[u8]) -> bool {
    let lines = list.split(|byte| *byte == b'\n');
    let said = lines.filter_map(|line| line.split(|byte| *byte == b'#').next());
    said.filter(|line| line.windows(9).any(|word| word == b"activated")).any(|line| {
        let value = line.trim_ascii().strip_prefix(b"activated").map(<[u8]>::trim_ascii_start);
        value.and_then(|value| value.strip_prefix(b"=")).map(<[u8]>::trim_ascii) != Some(b"false")
    })
}

/// Reads the configuration with the caller's own right, whoever could have written it: it shapes a container that
/// the caller could make without it.
pub fn load_untrusted() -> Result<Settings, Refusal> {
    let path = path();
    parse(&path, &read(&path, open(&path)?)?)
}

fn parse(path: &str, text: &[u8]) -> Result<Settings, Refusal> {
    Settings::parse(text)
        .map_err(|error| Refusal::new(format!("couldn't parse configuration file {path}: {error}")))
}

/// The lists of `limit container …`, ready to be compared: names as numbers, directories as the kernel names them.
pub fn limits(site: &Settings) -> Result<Limits, Refusal> {
    let ids = |entries: &[Setting<String>], directive, accounts| {
        numeric_ids(entries.iter().map(|entry| (entry.value.as_str(), entry.line)), directive, accounts)
    };
    let paths = site.limit_container_paths.iter().map(|entry| canonical(entry.value.as_str()));
    Ok(Limits {
        owners: ids(&site.limit_container_owners, "limit container owners", "/etc/passwd")?,
        groups: ids(&site.limit_container_groups, "limit container groups", "/etc/group")?,
        paths: paths.collect::<Result<_, _>>()?,
    })
}

/// The kernel's name for a directory of the administrator's. One that does not exist admits nothing.
fn canonical(folder: &str) -> Result<Vec<u8>, Refusal> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, folder, flags, Mode::empty()) {
        Ok(fd) => Ok(name_of(&fd).step("naming a directory")?.into_bytes()),
        Err(_) => Ok(folder.as_bytes().to_vec()),
    }
}

/// The ids that entries of a `limit container owners` or `groups` list stand for: numbers, or names in root's own
/// `/etc/passwd` or `/etc/group`. No name service is asked: its libraries would run as root.
fn numeric_ids<'a>(
    entries: impl Iterator<Item = (&'a str, Option<u32>)>,
    directive: &str,
    accounts: &str,
) -> Result<Vec<u32>, Refusal> {
    let mut file = None;
    let mut ids = Vec::new();
    for (name, line) in entries {
        if name.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(id) = name.parse()
        {
            ids.push(id);
            continue;
        }
        let text = match file.take() {
            Some(text) => text,
            None => read_trusted(accounts)?,
        };
        let id = config::account_id(&text, name);
        file = Some(text);
        ids.push(
            id.ok_or_else(|| Refusal::by_site(&format!("'{name}' is not in {accounts}"), directive, line))?,
        );
    }
    Ok(ids)
}

fn read_trusted(path: &str) -> Result<Vec<u8>, Refusal> {
    let file = open(path)?;
    let stat = rustix::fs::fstat(&file).step(format!("looking at {path}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(Refusal::new(format!("{path} must be a regular file with a single link")));
    }
    require_roots_own(path, &stat)?;
    read(path, file)
}

fn open(path: &str) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).step(format!("opening {path}"))
}

fn read(path: &str, file: OwnedFd) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let read = std::fs::File::from(file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    match read {
        Ok(length) if length as u64 <= FILE_BYTES_MAX => Ok(bytes),
        Ok(_) => Err(Refusal::new(format!("{path} is longer than {FILE_BYTES_MAX} bytes"))),
        Err(error) => Err(Refusal::new(format!("while reading {path}: {error}"))),
    }
}

fn require_roots_own(path: &str, stat: &Stat) -> Result<(), Refusal> {
    if stat.st_uid == 0 && stat.st_mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Refusal::new(format!("{path} must be owned by root and not be writable by group or others")))
}

/// In a folder with the sticky bit nobody can replace what is root's, even where everybody can write.
fn require_roots_folder(path: &str, itself: &Stat, target: &Stat) -> Result<(), Refusal> {
    let sticky = target.st_uid == 0 && target.st_mode & 0o1000 != 0;
    match itself.st_uid {
        0 if sticky => Ok(()),
        0 => require_roots_own(path, target),
        _ => require_roots_own(path, itself),
    }
}

#[cfg(test)]
mod tests;
