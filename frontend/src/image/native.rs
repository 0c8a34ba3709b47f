//! A SIF as an image: its root, the overlays that belong to it, its data.

use super::{
    Bytes, Defect, EmbeddedContent, EmbeddedPartition, Format, RootContent, RootPartition, SifImage, ext3,
    squashfs,
};
use crate::oci_sif;
use crate::sif::{Arch, DataType, Descriptor, Extra, FsType, PartitionType, Table};

/// Tells what a SIF is from its table and the superblocks of its partitions.
///
/// # Errors
/// The primary partition does not hold what its descriptor names, or cannot be read.
pub(super) fn inspect(bytes: &impl Bytes, table: Table) -> Result<Format, Defect> {
    if table.descriptors.iter().any(|object| object.data_type == DataType::OciRootIndex) {
        return Ok(Format::OciSif(Box::new(oci_sif::inspect(bytes, table)?)));
    }
    let primary = match table.primary() {
        Some((object, fs, arch)) => Some(root(bytes, object, fs, arch)?),
        None => None,
    };
    let group = table.primary().and_then(|(object, _, _)| object.group);
    let overlays = embedded(bytes, &table, PartitionType::Overlay, group)?;
    let data = embedded(bytes, &table, PartitionType::Data, None)?;
    let arch = primary.map_or(table.header.arch, |primary| primary.arch);
    let signed = table.signed();
    Ok(Format::Sif(Box::new(SifImage { primary, overlays, data, signed, arch, table })))
}

fn root(bytes: &impl Bytes, object: &Descriptor, fs: FsType, arch: Arch) -> Result<RootPartition, Defect> {
    let window = object.window();
    let missing = Defect::PartitionContent(object.id);
    let content = match fs {
        FsType::Squashfs => RootContent::Squashfs(squashfs::probe(bytes, window)?.ok_or(missing)?),
        FsType::Ext3 => RootContent::Ext3(ext3::probe(bytes, window)?.ok_or(missing)?),
        FsType::EncryptedLuks => RootContent::EncryptedLuks,
        FsType::EncryptedGocryptfs => RootContent::EncryptedGocryptfs,
        other => RootContent::Other(other),
    };
    Ok(RootPartition { id: object.id, content, window, arch })
}

/// The partitions of one type, of one group if one is given, that hold a valid squashfs or ext3. Others are left
/// out, as the incumbents do; a read error is not taken for an invalid file system.
fn embedded(
    bytes: &impl Bytes,
    table: &Table,
    wanted: PartitionType,
    group: Option<u32>,
) -> Result<Vec<EmbeddedPartition>, Defect> {
    let mut found = Vec::new();
    for object in &table.descriptors {
        let Extra::Partition { fs, partition_type, .. } = object.extra else {
            continue;
        };
        if partition_type != wanted || (group.is_some() && object.group != group) {
            continue;
        }
        let content = match fs {
            FsType::Squashfs => {
                squashfs::probe(bytes, object.window()).map(|s| s.map(EmbeddedContent::Squashfs))
            }
            FsType::Ext3 => ext3::probe(bytes, object.window()).map(|e| e.map(EmbeddedContent::Ext3)),
            _ => Ok(None),
        };
        match content {
            Ok(Some(content)) => found.push(EmbeddedPartition { id: object.id, content }),
            Err(defect @ Defect::Unreadable(_)) => return Err(defect),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(found)
}
