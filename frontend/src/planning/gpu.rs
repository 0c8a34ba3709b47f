//! `--nv` and `--rocm`: the programs and libraries of the host that belong to its driver, by the site's lists.

use crate::confined::helper::{LDCONFIG, Programs};
use crate::error::{Doing, Failure, NotStarted, Outcome};
use crate::message::{self, shown};
use crate::site;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of a list, far above any driver's number of files.
const LIST_BYTES_MAX: u64 = 1 << 20;
/// Bytes of what ldconfig knows: some 100 for each library of the host.
const CACHE_BYTES_MAX: u64 = 16 << 20;
/// Where programs find the host's libraries in the container: images have it in `LD_LIBRARY_PATH`.
const LIBRARIES: &str = "/.singularity.d/libs";
/// Where the driver's programs appear.
const PROGRAMS: &str = "/usr/bin";
/// What ldconfig calls libraries of this machine.
const MACHINE: &str = if cfg!(target_arch = "aarch64") { "AArch64" } else { "x86-64" };

/// A maker of GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Platform {
    /// NVIDIA's.
    Nv,
    /// AMD's.
    Rocm,
}

impl Platform {
    /// Its name in flags and messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nv => "nv",
            Self::Rocm => "rocm",
        }
    }

    /// Sockets of the driver's services.
    fn sockets(self) -> &'static [&'static str] {
        match self {
            Self::Nv => &["/var/run/nvidia-persistenced/socket"],
            Self::Rocm => &[],
        }
    }
}

/// A file of the host and its place in the container.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Shown {
    pub(super) source: PathBuf,
    pub(super) destination: PathBuf,
}

/// A list of names: libraries up to `.so`, and programs.
#[derive(Default, PartialEq, Eq, Debug)]
struct List {
    libraries: Vec<String>,
    programs: Vec<String>,
}

/// What the driver has on this host. What is not there is said.
///
/// # Errors
/// The list or the host's libraries cannot be read.
pub(super) fn files(platform: Platform, programs: &Programs) -> Outcome<Vec<Shown>> {
    let name = platform.name();
    let list = List::read(&site::file(&format!("{name}liblist.conf")))?;
    let found = list.programs.iter().filter_map(|program| programs.locate(program));
    let into = |folder: &str, source: PathBuf| {
        let destination = Path::new(folder).join(source.file_name().unwrap_or_default());
        Shown { source, destination }
    };
    let sockets = platform.sockets().iter().filter(|socket| Path::new(socket).exists());
    let mut files: Vec<Shown> = found.map(|source| into(PROGRAMS, source)).collect();
    files.extend(sockets.map(|socket| Shown { source: socket.into(), destination: socket.into() }));
    if files.is_empty() {
        message::warning(format!("Could not find any {name} files on this host!"));
    }
    let known = known_libraries(programs)?;
    let libraries = list.libraries_in(&known);
    if libraries.is_empty() {
        message::warning(format!("Could not find any {name} libraries on this host!"));
    }
    files.extend(
        libraries.into_iter().map(|(name, source)| Shown { source, destination: in_libraries(name) }),
    );
    Ok(files)
}

/// The place of a library of the host.
pub(super) fn in_libraries(name: impl AsRef<Path>) -> PathBuf {
    Path::new(LIBRARIES).join(name)
}

/// What `ldconfig -p` prints.
fn known_libraries(programs: &Programs) -> Outcome<String> {
    let path = programs.find(LDCONFIG)?;
    let asking = || format!("asking {} for the host's libraries", shown(&path));
    let mut command = Command::new(&path);
    command.arg("-p").env_clear().env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(NotStarted::from).doing(asking)?;
    let mut text = Vec::new();
    let read = match child.stdout.take() {
        Some(output) => output.take(CACHE_BYTES_MAX).read_to_end(&mut text),
        None => Ok(0),
    };
    let status = child.wait().doing(asking)?;
    read.doing(asking)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&text).into_owned())
    } else {
        Err(Failure::new(format!("while {}: it ended with {status}", asking())))
    }
}

impl List {
    fn read(path: &str) -> Outcome<Self> {
        let reading = || format!("reading {path}");
        let mut text = String::new();
        let file = std::fs::File::open(path).doing(reading)?;
        file.take(LIST_BYTES_MAX).read_to_string(&mut text).doing(reading)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines() {
            let name = line.split('#').next().unwrap_or_default().trim();
            match name {
                "" => {}
                library if library.contains(".so") => list.libraries.push(library.to_owned()),
                program => list.programs.push(program.to_owned()),
            }
        }
        list
    }

    /// Name and path of the host's libraries that are meant, each name once: the first is what programs find.
    fn libraries_in<'a>(&self, cache: &'a str) -> Vec<(&'a str, PathBuf)> {
        let mut found: Vec<(&str, PathBuf)> = Vec::new();
        for (name, path) in cache.lines().filter_map(library) {
            let meant = self.libraries.iter().any(|wanted| is_version_of(name, wanted));
            if meant && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, PathBuf::from(OsStr::from_bytes(path.as_bytes()))));
            }
        }
        found
    }
}

/// `libc.so.6 (libc6,x86-64) => /lib/libc.so.6`, for this machine.
fn library(line: &str) -> Option<(&str, &str)> {
    let (left, path) = line.split_once(" => ")?;
    let (name, kind) = left.trim().split_once(" (")?;
    let for_here = kind.trim_end_matches(')').split(',').any(|word| word.trim() == MACHINE);
    (for_here && path.starts_with('/') && !name.contains('/')).then_some((name, path))
}

/// `libcuda.so.1` is one of `libcuda.so`.
fn is_version_of(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_programs_and_libraries() {
        let list = List::parse("# all\nnvidia-smi\n\nlibcuda.so # the driver\n  libGL.so\n");
        assert_eq!(list.programs, ["nvidia-smi"]);
        assert_eq!(list.libraries, ["libcuda.so", "libGL.so"]);
    }

    #[test]
    fn libraries_of_this_machine_are_found_by_their_name_without_version() {
        let list = List::parse("libcuda.so\nlibGL.so\n");
        let cache = format!(
            "5 libs found in cache `/etc/ld.so.cache'\n\
             \tlibcuda.so.1 (libc6,{MACHINE}) => /a/libcuda.so.1\n\
             \tlibcuda.so.1 (libc6,{MACHINE}) => /b/libcuda.so.1\n\
             \tlibcuda.so (libc6,other) => /c/libcuda.so\n\
             \tlibcudart.so.1 (libc6,{MACHINE}) => /a/libcudart.so.1\n\
             \tlibGL.so (libc6, {MACHINE}, OS ABI: Linux 3.2.0) => /a/libGL.so\n"
        );
        let found = list.libraries_in(&cache);
        assert_eq!(found, [("libcuda.so.1", "/a/libcuda.so.1".into()), ("libGL.so", "/a/libGL.so".into())]);
    }
}
