//! `sif add`: numbers in, one object out.

use super::{Wrong, path};
use crate::cli::given::Given;
use crate::error::Outcome;
use crate::image::Access;
use crate::message::{self, shown};
use crate::sif::{
    self, Arch, DataType, Extra, FsType, HashType, Link, MessageFormat, MessageType, NewObject,
    PartitionType, SbomFormat, SifFile, Source,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

/// `sif add`
pub(in crate::cli) fn add(given: &Given, words: &[OsString]) -> Result<(), Wrong> {
    let (image, object) = (path(words.first()), path(words.get(1)));
    let data_type = data_type(given)?;
    let fields = Fields::typed(given, data_type)?;
    let group = number(given, "groupid")?.filter(|group| *group != 0);
    let link = number(given, "link")?.unwrap_or(0);
    let alignment = number(given, "alignment")?;
    let opened = sif::open(image, Access::ReadWrite)?;
    let source = Source::open(object, &opened.path)?;
    let extra = fields.complete(&source)?;
    warn_of_content(&source, object, &extra);
    let name = given.last("filename").map_or(source.name(), OsStr::as_bytes);
    let mut new = NewObject::new(data_type, source.data())
        .with(extra.clone())
        .in_group(group)
        .linked_to(Link::parse(link))
        .named(name);
    if let Some(bytes) = alignment {
        new = new.aligned_to(bytes);
    }
    let id = sif::append(&opened.file, &opened.path, &new)?;
    warn_of_place(&opened, id, group, &extra);
    Ok(())
}

/// The incumbents store whatever they are given, and so does this; but such a partition is never mounted.
fn warn_of_content(source: &Source, object: &Path, extra: &Extra) {
    let Extra::Partition { fs, .. } = extra else {
        return;
    };
    if let Err(why) = source.check_file_system(*fs) {
        message::warning(format!(
            "No container can use the new partition: {} is not what --partfs says: {why}",
            shown(object)
        ));
    }
}

/// Says what the group of the new object `id` keeps it from.
fn warn_of_place(before: &SifFile, id: u32, group: Option<u32>, extra: &Extra) {
    let is_overlay = matches!(extra, Extra::Partition { partition_type: PartitionType::Overlay, .. });
    let root_group = before.table.primary().and_then(|(root, _, _)| root.group);
    if let Some(root_group) = root_group.filter(|root_group| is_overlay && group != Some(*root_group)) {
        message::warning(format!(
            "No container can use overlay {id}: the root file system is in group {root_group} and the overlay is not; \
             delete it and add it with --groupid {root_group}"
        ));
    }
    if before.table.signed() && !matches!(extra, Extra::Signature { .. }) {
        message::warning(format!(
            "No signature of {} covers the new object {id}; verifying the whole image will say so",
            shown(&before.path)
        ));
    }
}

/// What `--datatype` means.
fn data_type(given: &Given) -> Result<DataType, Wrong> {
    let number = number::<u8>(given, "datatype")?.unwrap_or(0);
    Some(DataType::from_code(0x4000 | i32::from(number)))
        .filter(|data_type| data_type.is_known())
        .ok_or_else(|| Wrong::Usage("-datatype flag is required with a valid range".into()))
}

/// The fields that only some types have, as far as the command line tells them.
enum Fields {
    Known(Extra),
    /// The digest of the data.
    Digest,
}

impl Fields {
    fn typed(given: &Given, data_type: DataType) -> Result<Self, Wrong> {
        Ok(Self::Known(match data_type {
            DataType::Partition => partition(given)?,
            DataType::Signature => signature(given)?,
            // The incumbents have no flags for these and leave both fields zero.
            DataType::CryptoMessage => {
                Extra::CryptoMessage(MessageFormat::from_code(0), MessageType::from_code(0))
            }
            DataType::Sbom => Extra::Sbom(sbom_format(given)?),
            DataType::OciRootIndex | DataType::OciBlob => return Ok(Self::Digest),
            _ => Extra::None,
        }))
    }

    fn complete(self, source: &Source) -> Outcome<Extra> {
        match self {
            Self::Known(extra) => Ok(extra),
            Self::Digest => source.digest().map(Extra::Digest),
        }
    }
}

fn partition(given: &Given) -> Result<Extra, Wrong> {
    let of = |flag| number::<u8>(given, flag).map(|given| given.filter(|number| *number != 0));
    let (Some(fs), Some(partition_type), Some(arch)) = (of("partfs")?, of("parttype")?, of("partarch")?)
    else {
        let text = "with partition datatype, --partfs, --parttype and --partarch must be passed";
        return Err(Wrong::Usage(text.into()));
    };
    let meaningless = |flag, number| Wrong::Usage(format!("--{flag} {number} has no meaning"));
    Ok(Extra::Partition {
        fs: Some(FsType::from_code(fs.into()))
            .filter(|fs| fs.is_known())
            .ok_or_else(|| meaningless("partfs", fs))?,
        partition_type: Some(PartitionType::from_code(partition_type.into()))
            .filter(|partition_type| partition_type.is_known())
            .ok_or_else(|| meaningless("parttype", partition_type))?,
        arch: Arch::from_number(arch).ok_or_else(|| meaningless("partarch", arch))?,
    })
}

fn signature(given: &Given) -> Result<Extra, Wrong> {
    let typed = given.last("signentity").unwrap_or_default().as_bytes();
    let (pairs, rest) = typed.as_chunks::<2>();
    let mut entity = [0; 20];
    if pairs.len() != entity.len() || !rest.is_empty() {
        let digits = typed.len();
        let text = format!("invalid signing entity fingerprint length: got {digits} digits, want 40");
        return Err(Wrong::Usage(text));
    }
    for (byte, pair) in entity.iter_mut().zip(pairs) {
        *byte = hexadecimal(*pair)
            .ok_or_else(|| Wrong::Usage("failed to decode signing entity fingerprint".into()))?;
    }
    let number = number::<u8>(given, "signhash")?.unwrap_or(0);
    match HashType::from_code(number.into()) {
        HashType::Unknown(_) => Err(Wrong::Usage(format!("invalid hash type: {number}"))),
        hash => Ok(Extra::Signature { hash, entity }),
    }
}

fn hexadecimal(pair: [u8; 2]) -> Option<u8> {
    let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

fn sbom_format(given: &Given) -> Result<SbomFormat, Wrong> {
    let Some(typed) = given.last("sbomformat").filter(|typed| !typed.is_empty()) else {
        return Err(Wrong::Usage("with SBOM datatype, --sbomformat must be passed".into()));
    };
    let name = match typed.to_str() {
        Some("github") => "github-json",
        name => name.unwrap_or_default(),
    };
    SbomFormat::from_name(name).ok_or_else(|| Wrong::Usage(format!("invalid SBOM format: {}", shown(typed))))
}

/// The number that a flag was given.
fn number<T: FromStr>(given: &Given, flag: &str) -> Result<Option<T>, Wrong> {
    let Some(typed) = given.last(flag) else {
        return Ok(None);
    };
    let number = typed.to_str().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        let typed = shown(typed);
        Wrong::Usage(format!(
            "invalid argument \"{typed}\" for \"--{flag}\" flag: it is not a number in its range"
        ))
    })
}
