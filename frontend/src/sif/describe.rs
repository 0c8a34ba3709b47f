//! A table in words, in the incumbents' form, and as JSON.
//!
//! Names and the launch line are somebody else's bytes: they are shown without control characters.

use super::layout;
use super::table::{Descriptor, Extra, Link, Table};
use crate::message::shown;
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use time::OffsetDateTime;

const RULE: &str = "------------------------------------------------------------------------------";

/// What `sif header` prints.
#[must_use]
pub fn header(table: &Table) -> String {
    let header = &table.header;
    let mut fields = Vec::new();
    if !header.launch_line.is_empty() {
        let line = header.launch_line.strip_suffix(b"\n").unwrap_or(&header.launch_line);
        fields.push(("Launch Script:", text(line)));
    }
    fields.push(("Version:", version()));
    if header.arch.is_known() {
        fields.push(("Primary Architecture:", header.arch.name().into()));
    }
    if header.id != [0; 16] {
        fields.push(("ID:", uuid::Uuid::from_bytes(header.id).to_string()));
    }
    fields.extend(moment(header.created).map(|time| ("Created At:", time)));
    fields.extend(moment(header.modified).map(|time| ("Modified At:", time)));
    fields.push(("Descriptors Free:", table.unused_slots().to_string()));
    fields.push(("Descriptors Total:", header.slots.to_string()));
    fields.push(("Descriptors Offset:", header.table_offset.to_string()));
    fields.push(("Descriptors Size:", readable_size(header.table_bytes)));
    fields.push(("Data Offset:", header.data_offset.to_string()));
    fields.push(("Data Size:", readable_size(table.data_bytes())));
    aligned(&fields, "", 1)
}

/// What `sif header --json` prints.
#[must_use]
pub fn header_json(table: &Table) -> Value {
    let header = &table.header;
    let id = (header.id != [0; 16]).then(|| uuid::Uuid::from_bytes(header.id).to_string());
    json!({
        "launch_script": (!header.launch_line.is_empty()).then(|| plain(&header.launch_line)),
        "version": version(),
        "arch": header.arch.is_known().then(|| header.arch.name()),
        "id": id,
        "created": rfc3339(header.created),
        "modified": rfc3339(header.modified),
        "descriptors_free": table.unused_slots(),
        "descriptors_total": header.slots,
        "descriptors_offset": header.table_offset,
        "descriptors_size": header.table_bytes,
        "data_offset": header.data_offset,
        "data_size": table.data_bytes(),
    })
}

/// What `sif list` prints.
#[must_use]
pub fn list(table: &Table) -> String {
    let mut text = format!(
        "{RULE}\n{:<4} {:<8} {:<8} {:<26} {}\n{RULE}\n",
        "ID", "|GROUP", "|LINK", "|SIF POSITION (start-end)", "|TYPE"
    );
    for object in &table.descriptors {
        let link = match object.link {
            Link::None => "NONE".into(),
            Link::Object(id) => id.to_string(),
            Link::Group(group) => format!("{group:<3} (G)"),
        };
        let position = format!("|{}-{} ", object.offset, object.end());
        let group = group(object);
        let what = summary(object);
        let _ = writeln!(text, "{:<4} |{group:<7} |{link:<7} {position:<26} |{what}", object.id);
    }
    text
}

/// What `sif list --json` prints.
#[must_use]
pub fn list_json(table: &Table) -> Value {
    table.descriptors.iter().map(info_json).collect()
}

/// What `sif info` prints.
#[must_use]
pub fn info(object: &Descriptor) -> String {
    let link = match object.link {
        Link::None => "NONE".into(),
        Link::Object(id) => id.to_string(),
        Link::Group(group) => format!("{group} (G)"),
    };
    let mut fields = vec![
        ("Data Type:", object.data_type.name().into()),
        ("ID:", object.id.to_string()),
        ("Group ID:", group(object)),
        ("Linked ID:", link),
        ("Offset:", object.offset.to_string()),
        ("Size:", object.size.to_string()),
    ];
    fields.extend(moment(object.created).map(|time| ("Created At:", time)));
    fields.extend(moment(object.modified).map(|time| ("Modified At:", time)));
    if !object.name.is_empty() {
        fields.push(("Name:", text(&object.name)));
    }
    fields.extend(details(object));
    aligned(&fields, "  ", 2)
}

/// What `sif info --json` prints, and one item of the list.
#[must_use]
pub fn info_json(object: &Descriptor) -> Value {
    let link = match object.link {
        Link::None => Value::Null,
        Link::Object(id) => json!({ "object": id }),
        Link::Group(group) => json!({ "group": group }),
    };
    let whole = json!({
        "id": object.id,
        "group": object.group,
        "link": link,
        "type": object.data_type.name(),
        "type_code": object.data_type.code(),
        "offset": object.offset,
        "size": object.size,
        "created": rfc3339(object.created),
        "modified": rfc3339(object.modified),
        "name": (!object.name.is_empty()).then(|| plain(&object.name)),
        "details": details_json(&object.extra),
    });
    whole
}

/// The last column of a list.
fn summary(object: &Descriptor) -> String {
    let name = object.data_type.name();
    match &object.extra {
        Extra::Partition { fs, partition_type, arch } => {
            format!("{name} ({}/{}/{})", fs.name(), partition_type.name(), arch.name())
        }
        Extra::Signature { hash, .. } => format!("{name} ({})", hash.name()),
        Extra::CryptoMessage(format, message) => format!("{name} ({}/{})", format.name(), message.name()),
        Extra::Sbom(format) => format!("{name} ({})", format.name()),
        Extra::Digest(_) | Extra::None => name.into(),
    }
}

/// The fields that only some types have.
fn details(object: &Descriptor) -> Vec<(&'static str, String)> {
    match &object.extra {
        Extra::None => vec![],
        Extra::Partition { fs, partition_type, arch } => vec![
            ("Filesystem Type:", fs.name().into()),
            ("Partition Type:", partition_type.name().into()),
            ("Architecture:", arch.name().into()),
        ],
        Extra::Signature { hash, entity } => {
            let mut fields = vec![("Hash Type:", hash.name().into())];
            if entity.iter().any(|byte| *byte != 0) {
                fields.push(("Entity:", hexadecimal(entity).to_uppercase()));
            }
            fields
        }
        Extra::CryptoMessage(format, message) => {
            vec![("Format Type:", format.name().into()), ("Message Type:", message.name().into())]
        }
        Extra::Sbom(format) => vec![("Format:", format.name().into())],
        Extra::Digest(digest) => vec![("Digest:", digest.to_string())],
    }
}

fn details_json(extra: &Extra) -> Value {
    match extra {
        Extra::None => Value::Object(Map::new()),
        Extra::Partition { fs, partition_type, arch } => json!({
            "filesystem": fs.name(),
            "filesystem_code": fs.code(),
            "partition": partition_type.name(),
            "partition_code": partition_type.code(),
            "arch": arch.is_known().then(|| arch.name()),
        }),
        Extra::Signature { hash, entity } => json!({
            "hash": hash.name(),
            "entity": entity.iter().any(|byte| *byte != 0).then(|| hexadecimal(entity)),
        }),
        Extra::CryptoMessage(format, message) => {
            json!({ "format": format.name(), "message": message.name() })
        }
        Extra::Sbom(format) => json!({ "format": format.name() }),
        Extra::Digest(digest) => json!({ "digest": digest.to_string() }),
    }
}

/// Lines of a label and a value; the values stand `gap` columns behind the longest label.
fn aligned(fields: &[(&str, String)], indent: &str, gap: usize) -> String {
    let width = fields.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + gap;
    fields.iter().fold(String::new(), |mut text, (label, value)| {
        let _ = writeln!(text, "{indent}{label:<width$}{value}");
        text
    })
}

fn version() -> String {
    text(layout::VERSION.split(|byte| *byte == 0).next().unwrap_or_default())
}

fn group(object: &Descriptor) -> String {
    object.group.map_or("NONE".into(), |group| group.to_string())
}

fn text(bytes: &[u8]) -> String {
    shown(OsStr::from_bytes(bytes))
}

/// Bytes as a JSON text, which escapes by itself.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A time in Unix seconds as Go prints one in UTC; nothing for "no time".
fn moment(seconds: i64) -> Option<String> {
    if seconds == layout::NO_TIME {
        return None;
    }
    Some(match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!("{} {} +0000 UTC", at.date(), clock(at)),
        Err(_) => format!("{seconds} seconds since 1970"),
    })
}

/// As [`moment`], in the form of RFC 3339; nothing either for years that it cannot write.
fn rfc3339(seconds: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    (seconds != layout::NO_TIME && (0..=9999).contains(&at.year()))
        .then(|| format!("{}T{}Z", at.date(), clock(at)))
}

fn clock(at: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

/// A number of bytes in the largest unit that leaves at least 1, rounded: `27 KiB`.
fn readable_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 1024_u64;
    let mut name = UNITS[0];
    for larger in &UNITS[1..] {
        if bytes / unit < 1024 {
            break;
        }
        unit = unit.saturating_mul(1024);
        name = larger;
    }
    format!("{} {name}", (bytes as f64 / unit as f64).round())
}

#[cfg(test)]
mod tests;
