//! Signatures added to an image.

use crate::certificate;
use crate::clearsign;
use crate::coverage::Coverage;
use crate::digest::Hash;
use crate::dsse::Envelope;
use crate::image::Image;
use crate::raw_key::PrivateKey;
use frontend::error::{Failure, Outcome};
use frontend::image::Access;
use frontend::lock;
use frontend::sif::{self, DataType, Descriptor, Extra, HashType, Link, NewObject};
use pgp::composed::SignedSecretKey;
use pgp::crypto::hash::HashAlgorithm;
use std::collections::BTreeMap;
use std::path::Path;

/// What signs.
#[derive(Debug)]
pub enum Signer {
    /// An OpenPGP key that needs no passphrase any more.
    OpenPgp(Box<SignedSecretKey>),
    /// A key and nothing else.
    Raw(Box<PrivateKey>),
}

/// What is to be signed. Without group and object: every group, with one signature each.
#[derive(Debug, Default)]
pub struct Request {
    /// All objects of this group.
    pub group: Option<u32>,
    /// This object alone.
    pub object: Option<u32>,
}

/// Signs an image. Nobody else may use it meanwhile.
///
/// # Errors
/// Somebody uses the image, it is no sound SIF, has nothing to be signed or no room for signatures, or the key cannot
/// sign. Each signature is in the file whole or not at all.
pub fn sign(path: &Path, request: &Request, signer: &Signer) -> Outcome<()> {
    let opened = sif::open(path, Access::ReadWrite)?;
    lock::exclusive_whole(&opened.file, &opened.path)?;
    // What it was before the lock may be over.
    let table = sif::read(&opened.file, &opened.path)?;
    let image = Image(sif::SifFile { table, ..opened });
    let mut made = Vec::new();
    for (group, objects) in wanted(&image, request)? {
        let smallest_id = image.group(group)?.first().map_or(0, |object| object.id);
        let coverage = Coverage::of(&image, &objects, smallest_id, Hash::Sha256)?;
        made.push((group, signer.sign(&coverage)?));
    }
    for (group, signature) in made {
        let object = NewObject::new(DataType::Signature, sif::Data::Bytes(&signature.bytes))
            .with(Extra::Signature { hash: signature.hash, entity: signature.entity })
            .in_group(None)
            .linked_to(Link::Group(group));
        sif::append(&image.0.file, &image.0.path, &object)?;
    }
    Ok(())
}

/// The objects to sign, by their group.
fn wanted<'a>(image: &'a Image, request: &Request) -> Outcome<BTreeMap<u32, Vec<&'a Descriptor>>> {
    let mut wanted = BTreeMap::new();
    if let Some(id) = request.object {
        let (object, group) = image.grouped_object(id)?;
        wanted.insert(group, vec![object]);
    }
    if let Some(group) = request.group {
        wanted.insert(group, image.group(group)?);
    }
    if wanted.is_empty() {
        for group in image.groups() {
            wanted.insert(group, image.group(group)?);
        }
    }
    if wanted.is_empty() {
        return Err(Failure::new("no group of objects found, so there is nothing to sign"));
    }
    Ok(wanted)
}

/// What a signature object holds.
struct Signature {
    bytes: Vec<u8>,
    hash: HashType,
    entity: [u8; 20],
}

impl Signer {
    fn sign(&self, coverage: &Coverage) -> Outcome<Signature> {
        let text = coverage.text();
        let cannot = |why: String| Failure::new(format!("the key cannot sign: {why}"));
        match self {
            Self::OpenPgp(key) => {
                let entity = certificate::entity(&key.primary_key)
                    .ok_or_else(|| cannot("a SIF has room for fingerprints of version 4 keys only".into()))?;
                let signed = clearsign::sign(&text, key).map_err(cannot)?;
                let hash = match signed.hash {
                    HashAlgorithm::Sha384 => HashType::Sha384,
                    HashAlgorithm::Sha512 => HashType::Sha512,
                    _ => HashType::Sha256,
                };
                Ok(Signature { bytes: signed.message, hash, entity })
            }
            Self::Raw(key) => {
                let envelope = Envelope::signed(text.as_bytes(), key).map_err(cannot)?;
                Ok(Signature { bytes: envelope.to_bytes(), hash: HashType::Sha256, entity: [0; 20] })
            }
        }
    }
}
