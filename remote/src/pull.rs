//! `pull`: an image into a file of the user's.

use crate::cache::Cache;
use crate::fetch::{self, Job};
use crate::platform;
use crate::registry::Access;
use crate::source::Source;
use frontend::build::{Origin, Tools};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, reference};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::{self, Existing, NewFile};
use frontend::making::Interrupts;
use frontend::message::{self, shown};
use frontend::site;
use protocol::Window;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Permissions of a pulled SIF before the umask: it is also a program.
const SIF_MODE: u32 = 0o755;

/// `pull`
pub(crate) fn pull(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let (output, source) = match words {
        [source] => (None, source),
        [output, source] => (Some(output), source),
        _ => return Err(Failure::new("pull takes an output file and a reference").into()),
    };
    let (scheme, rest) = match (reference::split(source)?, source.to_str()) {
        (Some(named), _) => named,
        // As the incumbents have it.
        (None, Some(name)) if !Path::new(name).exists() => ("library", name),
        (None, _) => {
            return Err(Failure::new(format!(
                "{} is a file of this machine, and no reference to an image",
                shown(source)
            ))
            .hint("Say where the image is: docker://NAME, library://NAME, oci:FOLDER")
            .into());
        }
    };
    let interrupts = Interrupts::hold()?;
    let programs = site::programs(&site::load()?);
    let job = Job {
        access: Access { invocation, given },
        cache: &Cache::open(invocation, given.is_on("disable-cache"))?,
        platform: &platform::wanted(given)?,
        tools: Tools { programs: &programs, interrupts: &interrupts },
    };
    let source = Source::of(scheme, rest, &job.access, &interrupts)?;
    let ending = if given.is_on("oci") && scheme != "oras" { "oci.sif" } else { "sif" };
    let target = target(given, output, source.last_name(), ending)?;
    let existing = settle(&target, given.is_on("force"))?;
    let sif = fetch::sif(&source, &Origin::new(scheme, rest), job)?;
    Ok(copy(&sif, &target, existing)?)
}

/// Where the image goes.
fn target(
    given: &Given,
    output: Option<&OsString>,
    (name, tag): (&str, &str),
    ending: &str,
) -> Outcome<PathBuf> {
    let named = output.map(OsString::as_os_str).or_else(|| given.last("name"));
    let file = named.map_or_else(|| PathBuf::from(format!("{name}_{tag}.{ending}")), PathBuf::from);
    Ok(match given.last("dir") {
        Some(directory) => Path::new(directory).join(file),
        None => file,
    })
}

/// What becomes of a file that is there already.
fn settle(target: &Path, force: bool) -> Outcome<Existing> {
    match target.symlink_metadata() {
        Ok(_) if !force => Err(Failure::new(format!(
            "Image file already exists: \"{}\" - will not overwrite",
            shown(target)
        ))
        .hint("Use --force to replace it")),
        Ok(_) => Ok(Existing::Replace),
        Err(_) => Ok(Existing::Keep),
    }
}

/// Copies a SIF out of the cache; where the file system can, both share their data.
fn copy(sif: &Path, target: &Path, existing: Existing) -> Outcome<()> {
    let copying = || format!("copying {} to {}", shown(sif), shown(target));
    let from = File::open(sif).doing(copying)?;
    let size = from.metadata().doing(copying)?.len();
    let new = NewFile::beside(target, SIF_MODE)?;
    new.file().set_len(size).doing(copying)?;
    file::copy(&from, Window { offset: 0, size }, new.file(), 0).doing(copying)?;
    new.publish(existing)?;
    message::verbose(format!("{} is there", shown(target)));
    Ok(())
}
