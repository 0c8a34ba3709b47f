//! `--apply-cgroups` and the flags that each limit one thing.

use crate::cgroup::Limits;
use crate::cgroup::parts::{Resources, bytes, device_weight, processors};
use crate::cli::given::Given;
use crate::error::{Failure, Outcome};
use crate::message::shown;
use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;

/// The flags that each limit one thing.
const FLAGS: [&str; 10] = [
    "cpus",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
    "blkio-weight",
    "blkio-weight-device",
];

/// What the container may take of the machine; nothing where no flag limits it.
///
/// # Errors
/// A value that cannot be; a file beside flags, or one that cannot be read.
pub(super) fn of(given: &Given) -> Outcome<Option<Limits>> {
    let flag = FLAGS.iter().find(|flag| !given.all(flag).is_empty());
    match (given.last("apply-cgroups"), flag) {
        (None, None) => Ok(None),
        (Some(file), None) => Limits::of_file(Path::new(file)).map(Some),
        (Some(_), Some(flag)) => {
            Err(Failure::new(format!("--apply-cgroups and --{flag} exclude each other"))
                .hint("write the limit into the file"))
        }
        (None, Some(_)) => of_flags(given).map(Some),
    }
}

fn of_flags(given: &Given) -> Outcome<Limits> {
    let amount = |flag: &str| given.last(flag).map(|text| bytes(flag, text)).transpose();
    let list = |flag: &str| given.last(flag).map(|text| text.to_string_lossy().into_owned());
    let mut resources = Resources::default();
    resources.memory.limit = amount("memory")?;
    resources.memory.reservation = amount("memory-reservation")?;
    resources.memory.swap = amount("memory-swap")?;
    // -1 is the incumbents' way to say nothing.
    resources.cpu.shares = number::<i64>(given, "cpu-shares")?.and_then(|shares| shares.try_into().ok());
    resources.cpu.quota = given.last("cpus").map(processors).transpose()?;
    resources.cpu.cpus = list("cpuset-cpus");
    resources.cpu.mems = list("cpuset-mems");
    resources.pids.limit = number(given, "pids-limit")?;
    resources.block_io.weight = number(given, "blkio-weight")?;
    resources.block_io.weight_device =
        given.all("blkio-weight-device").iter().map(|text| device_weight(text)).collect::<Outcome<_>>()?;
    Limits::of(resources)
}

fn number<T: FromStr>(given: &Given, flag: &str) -> Outcome<Option<T>> {
    let parse = |text: &OsStr| {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| Failure::new(format!("--{flag}: {} is no number", shown(text))))
    };
    given.last(flag).map(parse).transpose()
}
