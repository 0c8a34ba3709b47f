//! Reading the image in an OCI-SIF, whose documents may be hostile.

use super::documents::{Index, Manifest, Reference};
use super::{DOCUMENT_BYTES_MAX, Document, Fault, Layer, LayerType, OciSif, Part};
use crate::error::{Failure, Outcome};
use crate::image::{self, Access, Bytes, Defect, EmbeddedContent, Format, Image};
use crate::message::shown;
use crate::sif::{DataType, Descriptor, Digest, Extra, Table};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// An OCI-SIF that was opened once; everything that follows uses this descriptor.
#[derive(Debug)]
pub struct OciSifFile {
    /// Where it is: absolute, symbolic links resolved.
    pub path: PathBuf,
    /// The file, close-on-exec.
    pub file: File,
    /// The image as it was when the file was opened.
    pub image: OciSif,
}

/// Opens an OCI-SIF and reads its documents in a confined child. The content of its layers is not compared with their
/// digests.
///
/// # Errors
/// The path leads nowhere, to something that the caller may not open so, to no OCI-SIF, or to one that is damaged or holds
/// another number of images than one.
pub fn open(path: &Path, access: Access) -> Outcome<OciSifFile> {
    let Image { path, file, format, .. } = image::open(path, access)?;
    match format {
        Format::OciSif(image) => Ok(OciSifFile { path, file, image: *image }),
        _ => Err(not_oci_sif(&path)),
    }
}

impl OciSifFile {
    /// Reads the image once more through the same descriptor, as after waiting for a lock.
    ///
    /// # Errors
    /// As [`open`].
    pub fn again(self) -> Outcome<Self> {
        match image::inspect(&self.file, &self.path)? {
            Format::OciSif(image) => Ok(Self { image: *image, ..self }),
            _ => Err(not_oci_sif(&self.path)),
        }
    }
}

fn not_oci_sif(path: &Path) -> Failure {
    Failure::new(format!("{} is not an OCI-SIF image", shown(path)))
}

/// Reads the one image of a SIF with a root index. Runs in the confined reader.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn inspect(bytes: &impl Bytes, table: Table) -> Result<OciSif, Defect> {
    let blobs = Blobs { bytes, objects: by_digest(&table) };
    let index = root_index(bytes, &table)?;
    let named = Index::read(&index.bytes).map_err(Defect::OciSif)?;
    let manifest = blobs.document(named.manifest, Part::Manifest)?;
    let described = Manifest::read(&manifest.bytes).map_err(Defect::OciSif)?;
    let config = blobs.document(described.config, Part::Config)?;
    described.check_config(&config.bytes).map_err(Defect::OciSif)?;
    let numbered = (1..).zip(&described.layers);
    let layers: Vec<Layer> = numbered
        .map(|(number, (layer_type, layer))| blobs.layer(*layer_type, *layer, Part::Layer(number)))
        .collect::<Result<_, _>>()?;
    drop(blobs);
    let (is_image, cosign_entries) = (described.is_image, named.cosign_entries);
    Ok(OciSif { table, index, manifest, config, layers, is_image, cosign_entries })
}

/// The blobs of a file, found by their digests.
struct Blobs<'a, B> {
    bytes: &'a B,
    objects: BTreeMap<Digest, &'a Descriptor>,
}

fn by_digest(table: &Table) -> BTreeMap<Digest, &Descriptor> {
    let mut found = BTreeMap::new();
    for object in table.descriptors.iter().filter(|object| object.data_type == DataType::OciBlob) {
        if let Extra::Digest(digest) = object.extra {
            // The incumbents store equal layers twice.
            found.entry(digest).or_insert(object);
        }
    }
    found
}

fn root_index(bytes: &impl Bytes, table: &Table) -> Result<Document, Defect> {
    let mut indexes = table.descriptors.iter().filter(|object| object.data_type == DataType::OciRootIndex);
    let (Some(object), None) = (indexes.next(), indexes.next()) else {
        return Err(Defect::OciSif(Fault::Indexes));
    };
    let Extra::Digest(digest) = object.extra else {
        return Err(Defect::SifDigest(object.id));
    };
    document(bytes, object, Reference { digest, size: object.size }, Part::Index)
}

fn document(
    bytes: &impl Bytes,
    object: &Descriptor,
    reference: Reference,
    part: Part,
) -> Result<Document, Defect> {
    if object.size > DOCUMENT_BYTES_MAX {
        return Err(Defect::OciSif(Fault::TooLong(part)));
    }
    let length = usize::try_from(object.size).map_err(|_| Defect::OciSif(Fault::TooLong(part)))?;
    let mut content = vec![0; length];
    bytes.read_at(object.offset, &mut content)?;
    reference.check(&content, part).map_err(Defect::OciSif)?;
    Ok(Document { id: object.id, digest: reference.digest, bytes: content })
}

impl<B: Bytes> Blobs<'_, B> {
    fn object(&self, reference: Reference, part: Part) -> Result<&Descriptor, Defect> {
        let found = self.objects.get(&reference.digest);
        found.copied().ok_or(Defect::OciSif(Fault::Missing(part)))
    }

    fn document(&self, reference: Reference, part: Part) -> Result<Document, Defect> {
        document(self.bytes, self.object(reference, part)?, reference, part)
    }

    fn layer(&self, layer_type: LayerType, reference: Reference, part: Part) -> Result<Layer, Defect> {
        let object = self.object(reference, part)?;
        if object.size != reference.size {
            return Err(Defect::OciSif(Fault::Size(part)));
        }
        let window = object.window();
        let content = match layer_type {
            LayerType::Squashfs => image::probe_squashfs(self.bytes, window)?.map(EmbeddedContent::Squashfs),
            LayerType::Ext3 => image::probe_ext3(self.bytes, window)?.map(EmbeddedContent::Ext3),
        };
        let content = content.ok_or(Defect::PartitionContent(object.id))?;
        Ok(Layer { id: object.id, digest: reference.digest, window, content })
    }
}

#[cfg(test)]
mod tests;
