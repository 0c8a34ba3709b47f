//! A SIF as its signatures see it: groups of objects, and the bytes of header, descriptors and data.

use crate::digest::{Digest, Hash};
use frontend::error::{Doing, Failure, Outcome};
use frontend::image::Access;
use frontend::lock;
use frontend::message::shown;
use frontend::sif::layout::{DESCRIPTOR_BYTES, HEADER_BYTES, descriptor as d, header as h};
use frontend::sif::{DataType, Descriptor, SifFile};
use sha2::digest::DynDigest;
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

/// Bytes read at once for a digest.
const CHUNK_BYTES: u64 = 1 << 20;
/// Most bytes of a signature object: one over the largest table takes 14 MB.
const SIGNATURE_BYTES_MAX: u64 = 16 << 20;

/// An open SIF.
#[derive(Debug)]
pub struct Image(pub SifFile);

impl Image {
    /// The numbers of the groups that have objects which can be signed.
    #[must_use]
    pub fn groups(&self) -> Vec<u32> {
        let groups: BTreeSet<u32> = self.objects().filter_map(|object| object.group).collect();
        groups.into_iter().collect()
    }

    /// Everything that is no signature, in table order.
    pub fn objects(&self) -> impl Iterator<Item = &Descriptor> {
        self.0.table.descriptors.iter().filter(|object| object.data_type != DataType::Signature)
    }

    /// The signatures, in table order.
    pub fn signatures(&self) -> impl Iterator<Item = &Descriptor> {
        self.0.table.descriptors.iter().filter(|object| object.data_type == DataType::Signature)
    }

    /// The objects of a group that can be signed, by rising id.
    ///
    /// # Errors
    /// There are none.
    pub fn group(&self, group: u32) -> Outcome<Vec<&Descriptor>> {
        let mut objects: Vec<&Descriptor> =
            self.objects().filter(|object| object.group == Some(group)).collect();
        objects.sort_unstable_by_key(|object| object.id);
        if objects.is_empty() {
            return Err(Failure::new(format!("group {group} not found: no object is in it"))
                .hint("'sif list' shows the groups"));
        }
        Ok(objects)
    }

    /// An object that can be signed, and its group.
    ///
    /// # Errors
    /// There is none with this id, it is a signature, or it is in no group.
    pub fn grouped_object(&self, id: u32) -> Outcome<(&Descriptor, u32)> {
        let object = self.objects().find(|object| object.id == id).ok_or_else(|| {
            Failure::new(format!("object not found: there is no object {id} that can be signed"))
                .hint("'sif list' shows the objects")
        })?;
        let group = object.group.ok_or_else(|| {
            Failure::new(format!("object {id} is not associated with an object group"))
                .hint("a signature covers objects of a group; 'sif add --groupid' puts one there")
        })?;
        Ok((object, group))
    }

    /// The digest of what signatures cover of the global header: launch line, magic, version and id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn header_digest(&self, hash: Hash) -> Outcome<Digest> {
        let mut raw = [0; HEADER_BYTES];
        self.0.file.read_exact_at(&mut raw, 0).doing(|| self.reading())?;
        let parts = [&raw[h::LAUNCH..h::ARCH], &raw[h::ID..h::CREATED]];
        Ok(hash.of(&parts.concat()))
    }

    /// The digest of what signatures cover of a descriptor. The id counts from the smallest one of the group, so
    /// that a group can be signed wherever its descriptors are.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn descriptor_digest(&self, object: &Descriptor, relative_id: u32, hash: Hash) -> Outcome<Digest> {
        let mut raw = [0; DESCRIPTOR_BYTES];
        let at = self.0.table.slot_at(object.slot);
        self.0.file.read_exact_at(&mut raw, at).doing(|| self.reading())?;
        let parts = [
            &raw[d::TYPE..d::USED],
            // Any byte but 0 means used.
            &[1],
            &relative_id.to_le_bytes(),
            &raw[d::LINK..d::OFFSET],
            &raw[d::SIZE..d::PADDED_SIZE],
            &raw[d::CREATED..d::MODIFIED],
            &raw[d::UID..DESCRIPTOR_BYTES],
        ];
        Ok(hash.of(&parts.concat()))
    }

    /// The digest of an object's data.
    ///
    /// # Errors
    /// Somebody is writing to it, or the file cannot be read.
    pub fn data_digest(&self, object: &Descriptor, hash: Hash) -> Outcome<Digest> {
        let mut hasher = hash.hasher();
        self.hash_data(object, hasher.as_mut())?;
        Ok(Digest { hash, value: hasher.finalize().into() })
    }

    /// Adds an object's data to a digest.
    ///
    /// # Errors
    /// Somebody is writing to it, or the file cannot be read.
    pub fn hash_data(&self, object: &Descriptor, hasher: &mut dyn DynDigest) -> Outcome<()> {
        let SifFile { path, file, .. } = &self.0;
        if object.size > 0 {
            lock::take(file, path, object.window(), Access::ReadOnly)?;
        }
        let mut chunk = vec![0; usize::try_from(object.size.min(CHUNK_BYTES)).unwrap_or(0)];
        let mut at = object.offset;
        while at < object.end() {
            let wanted = chunk.len().min(usize::try_from(object.end() - at).unwrap_or(usize::MAX));
            let chunk = &mut chunk[..wanted];
            file.read_exact_at(chunk, at).doing(|| self.reading())?;
            hasher.update(chunk);
            at += wanted as u64;
        }
        Ok(())
    }

    /// All of a signature object.
    ///
    /// # Errors
    /// It is larger than any signature, or the file cannot be read.
    pub fn signature_bytes(&self, signature: &Descriptor) -> Outcome<Vec<u8>> {
        if signature.size > SIGNATURE_BYTES_MAX {
            return Err(Failure::new(format!(
                "signature object {} has {} bytes, more than any signature",
                signature.id, signature.size
            )));
        }
        let mut bytes = vec![0; usize::try_from(signature.size).unwrap_or(0)];
        self.0.file.read_exact_at(&mut bytes, signature.offset).doing(|| self.reading())?;
        Ok(bytes)
    }

    fn reading(&self) -> String {
        format!("reading {}", shown(&self.0.path))
    }
}
