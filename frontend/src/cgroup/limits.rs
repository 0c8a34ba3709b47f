//! Limits, from flags or a file, as settings of control groups of version 2.

use crate::error::{Doing, Failure, Outcome};
use crate::message::shown;
use nix::sys::stat::{SFlag, major, minor, stat};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

/// Bytes of a file of limits.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Microseconds in which a quota of processor time is given, the kernel's default.
const PERIOD: u64 = 100_000;

/// One file of a group and what is written to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The file's name: the controller's, a dot, and more.
    pub file: String,
    /// As the kernel takes it.
    pub value: String,
}

/// What a container may take.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Limits(Vec<Setting>);

/// The limits as the OCI runtime specification has them, which is what a file holds and what flags stand for.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Resources {
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) pids: Pids,
    #[serde(rename = "blockIO")]
    pub(crate) block_io: BlockIo,
    hugepage_limits: Vec<Hugepages>,
    unified: BTreeMap<String, String>,
}

/// In bytes; -1 is no limit.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Memory {
    pub(crate) limit: Option<i64>,
    pub(crate) reservation: Option<i64>,
    /// Memory and swap together.
    pub(crate) swap: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Cpu {
    /// 2 to 262144; 1024 is the default of every group.
    pub(crate) shares: Option<u64>,
    /// Microseconds of processor time in each period; -1 is no limit.
    pub(crate) quota: Option<i64>,
    period: Option<u64>,
    pub(crate) cpus: Option<String>,
    pub(crate) mems: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pids {
    pub(crate) limit: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct BlockIo {
    /// 10 to 1000.
    pub(crate) weight: Option<u64>,
    pub(crate) weight_device: Vec<DeviceWeight>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceWeight {
    major: u64,
    minor: u64,
    weight: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Hugepages {
    page_size: String,
    limit: u64,
}

impl Limits {
    /// The limits of a file in TOML.
    ///
    /// # Errors
    /// It cannot be read, or wants what groups of version 2 do not have.
    pub fn of_file(path: &Path) -> Outcome<Self> {
        let reading = || format!("reading the limits in {}", shown(path));
        let mut text = String::new();
        let file = std::fs::File::open(path).doing(reading)?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).doing(reading)?;
        let resources: Resources =
            toml::from_str(&text).map_err(|error| in_one_line(&text, &error)).doing(reading)?;
        Self::of(resources).map_err(|failure| failure.context(format!("while {}", reading())))
    }

    /// As settings.
    pub(crate) fn of(resources: Resources) -> Outcome<Self> {
        let mut settings = Vec::new();
        let mut set = |file: &str, value: String| settings.push(Setting { file: file.to_owned(), value });
        let Resources { memory, cpu, pids, block_io, hugepage_limits, unified } = resources;
        if let Some(bytes) = memory.limit {
            set("memory.max", or_max(bytes));
        }
        if let Some(bytes) = memory.reservation {
            set("memory.low", or_max(bytes));
        }
        if let Some(bytes) = memory.swap {
            set("memory.swap.max", swap_alone(bytes, memory.limit)?);
        }
        if let Some(shares) = cpu.shares {
            set("cpu.weight", weight(shares, 2..=262_144, "CPU shares")?.to_string());
        }
        if cpu.quota.is_some() || cpu.period.is_some() {
            let quota = cpu.quota.map_or_else(|| "max".into(), or_max);
            set("cpu.max", format!("{quota} {}", cpu.period.unwrap_or(PERIOD)));
        }
        for (file, list) in [("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)] {
            if let Some(list) = list {
                set(file, list);
            }
        }
        if let Some(limit) = pids.limit.filter(|limit| *limit != 0) {
            set("pids.max", or_max(limit));
        }
        if let Some(share) = block_io.weight.filter(|share| *share != 0) {
            set("io.weight", format!("default {}", weight(share, 10..=1000, "a block IO weight")?));
        }
        for DeviceWeight { major, minor, weight: share } in block_io.weight_device {
            let share = weight(share, 10..=1000, "a block IO weight")?;
            set("io.weight", format!("{major}:{minor} {share}"));
        }
        for Hugepages { page_size, limit } in hugepage_limits {
            set(&format!("hugetlb.{page_size}.max"), limit.to_string());
        }
        for (file, value) in unified {
            set(&file, value);
        }
        let plain = |file: &str| file.contains('.') && !file.contains('/') && !file.starts_with("cgroup.");
        match settings.iter().find(|setting| !plain(&setting.file)) {
            Some(setting) => {
                Err(Failure::new(format!("{} is no limit of a control group", shown(&setting.file))))
            }
            None => Ok(Self(settings)),
        }
    }

    /// What is written where, in order.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.0
    }

    /// The controllers that the settings belong to, each once.
    #[must_use]
    pub fn controllers(&self) -> Vec<&str> {
        let mut controllers: Vec<&str> =
            self.0.iter().filter_map(|setting| setting.file.split('.').next()).collect();
        controllers.sort_unstable();
        controllers.dedup();
        controllers
    }
}

fn or_max(number: i64) -> String {
    if number < 0 { "max".into() } else { number.to_string() }
}

/// Groups of version 2 limit swap by itself.
fn swap_alone(both: i64, memory: Option<i64>) -> Outcome<String> {
    match memory {
        _ if both < 0 => Ok("max".into()),
        Some(memory) if (0..=both).contains(&memory) => Ok((both - memory).to_string()),
        _ => Err(Failure::new("a limit on memory and swap together needs one on memory that is not larger")),
    }
}

/// A weight between 1 and 10000 at the same place in its range.
fn weight(share: u64, range: std::ops::RangeInclusive<u64>, what: &str) -> Outcome<u64> {
    if !range.contains(&share) {
        return Err(Failure::new(format!("{what} is a number from {} to {}", range.start(), range.end())));
    }
    Ok(1 + (share - range.start()) * 9999 / (range.end() - range.start()))
}

/// `512m` and its like, in bytes; `-1` for no limit.
///
/// # Errors
/// It is no amount.
pub(crate) fn bytes(flag: &str, text: &OsStr) -> Outcome<i64> {
    let amount = || {
        let text = text.to_str()?.to_lowercase();
        if text == "-1" {
            return Some(-1);
        }
        let text = text.strip_suffix('b').unwrap_or(&text);
        let (digits, shift) = match text.char_indices().next_back()? {
            (end, 'k') => (&text[..end], 10),
            (end, 'm') => (&text[..end], 20),
            (end, 'g') => (&text[..end], 30),
            (end, 't') => (&text[..end], 40),
            _ => (text, 0),
        };
        digits.parse::<i64>().ok().filter(|number| *number >= 0)?.checked_mul(1 << shift)
    };
    amount().ok_or_else(|| {
        Failure::new(format!("--{flag}: {} is no amount of memory", shown(text)))
            .hint("write for example 512m or 2g")
    })
}

/// `1.5` processors, as microseconds of each period.
///
/// # Errors
/// It is no positive number.
pub(crate) fn processors(text: &OsStr) -> Outcome<i64> {
    let number = text.to_str().and_then(|text| text.parse::<f64>().ok());
    let number = number.filter(|number| *number >= 0.01 && *number <= 1e6);
    #[expect(clippy::cast_possible_truncation, reason = "it was just bounded far below")]
    number
        .map(|number| (number * PERIOD as f64).round() as i64)
        .ok_or_else(|| Failure::new(format!("--cpus: {} is no number of processors", shown(text))))
}

/// `/dev/sda:500`
///
/// # Errors
/// It names no block device, or no weight.
pub(crate) fn device_weight(text: &OsStr) -> Outcome<DeviceWeight> {
    let bad = || {
        Failure::new(format!("--blkio-weight-device: {} is not a block device and a weight", shown(text)))
            .hint("write for example /dev/sda:500")
    };
    let (path, weight) = text.to_str().and_then(|text| text.rsplit_once(':')).ok_or_else(bad)?;
    let weight = weight.parse().map_err(|_| bad())?;
    let data = stat(path).map_err(|_| bad())?;
    if SFlag::from_bits_truncate(data.st_mode) & SFlag::S_IFMT != SFlag::S_IFBLK {
        return Err(bad());
    }
    Ok(DeviceWeight { major: major(data.st_rdev), minor: minor(data.st_rdev), weight })
}

/// What is wrong, and in which line of the text.
fn in_one_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<String> {
        let limits = Limits::of(toml::from_str(text).unwrap()).unwrap();
        limits.settings().iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn limits_become_the_kernels_settings() {
        let text = "[memory]\nlimit = 1000\nreservation = 500\nswap = 1500\n[cpu]\nshares = 1024\nquota = 50000\n\
                    cpus = \"0-1\"\n[pids]\nlimit = 7\n[blockIO]\nweight = 1000\n\
                    [[hugepageLimits]]\npageSize = \"2MB\"\nlimit = 0\n[unified]\n\"memory.high\" = \"900\"\n";
        let expected = [
            "memory.max=1000",
            "memory.low=500",
            "memory.swap.max=500",
            "cpu.weight=39",
            "cpu.max=50000 100000",
            "cpuset.cpus=0-1",
            "pids.max=7",
            "io.weight=default 10000",
            "hugetlb.2MB.max=0",
            "memory.high=900",
        ];
        assert_eq!(settings(text), expected);
        assert_eq!(settings("[memory]\nlimit = -1\nswap = -1\n"), ["memory.max=max", "memory.swap.max=max"]);
        let limits = Limits::of(toml::from_str(text).unwrap()).unwrap();
        assert_eq!(limits.controllers(), ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"]);
    }

    #[test]
    fn a_file_that_is_wrong_is_so_in_one_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"[memory]\nlimit = \"much\"\n").unwrap();
        let refused = Limits::of_file(file.path()).unwrap_err().to_string();
        assert!(refused.contains(": line 2: ") && !refused.contains('\n'), "{refused}");
    }

    #[test]
    fn what_version_2_does_not_have_is_refused() {
        for text in ["[memory]\nkernel = 5\n", "[[devices]]\nallow = true\n", "[network]\nclassID = 1\n"] {
            assert!(toml::from_str::<Resources>(text).is_err(), "{text}");
        }
        for text in [
            "[memory]\nswap = 5\n",
            "[memory]\nlimit = 9\nswap = 5\n",
            "[cpu]\nshares = 1\n",
            "[blockIO]\nweight = 9\n",
            "[unified]\n\"../x.y\" = \"1\"\n",
            "[unified]\n\"cgroup.procs\" = \"1\"\n",
        ] {
            assert!(Limits::of(toml::from_str(text).unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_have_units() {
        let amount = |text: &str| bytes("memory", OsStr::new(text)).ok();
        assert_eq!(amount("512m"), Some(512 << 20));
        assert_eq!(amount("2G"), Some(2 << 30));
        assert_eq!(amount("4kb"), Some(4096));
        assert_eq!((amount("7"), amount("-1")), (Some(7), Some(-1)));
        for bad in ["", "m", "-2", "1x", "9999999t"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
        assert_eq!(processors(OsStr::new("1.5")).unwrap(), 150_000);
        assert!(processors(OsStr::new("0")).is_err());
    }
}
