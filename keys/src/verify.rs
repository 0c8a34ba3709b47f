//! Whether an image is what was signed.

use crate::certificate;
use crate::clearsign::SignedText;
use crate::coverage::{Coverage, Mismatch};
use crate::digest::Hash;
use crate::dsse::Envelope;
use crate::image::Image;
use crate::raw_key::PublicKey;
use frontend::error::{Failure, Outcome};
use frontend::message;
use frontend::sif::{Descriptor, Extra, HashType, Link, PartitionType};
use pgp::composed::SignedPublicKey;
use std::collections::BTreeSet;

/// What signatures are believed with.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// These OpenPGP keys.
    OpenPgp(&'a [SignedPublicKey]),
    /// This key alone.
    Raw(&'a PublicKey),
}

/// What is to be verified. Without groups and objects: every group, or of old signatures the primary partition's.
#[derive(Debug, Default)]
pub struct Request {
    /// Every object of this group.
    pub group: Option<u32>,
    /// This object.
    pub object: Option<u32>,
    /// Signatures as tools of 2018 to 2020 made them, and no others.
    pub legacy: bool,
    /// Of old signatures, those of every object.
    pub all: bool,
}

/// What came of one signature.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The key that made it, where it is an OpenPGP key that is known.
    pub signer: Option<&'a SignedPublicKey>,
    /// The objects that are what was signed.
    pub verified: Vec<&'a Descriptor>,
    /// The object whose data is not.
    pub broken: Option<&'a Descriptor>,
    /// Why the signature does not hold, if it does not.
    pub error: Option<String>,
}

/// Verifies an image, tells of each signature through `report`, and says which objects are covered.
///
/// # Errors
/// A signature does not hold, there is none, or the image cannot be read.
pub fn verify<'a>(
    image: &'a Image,
    request: &Request,
    trust: Trust<'a>,
    mut report: impl FnMut(&Verdict<'a>),
) -> Outcome<BTreeSet<u32>> {
    let mut covered = BTreeSet::new();
    for task in tasks(image, request)? {
        for signature in task.signatures(image, trust)? {
            let verdict = task.judge(image, signature, trust)?;
            report(&verdict);
            if let Some(error) = verdict.error {
                return Err(Failure::new(error));
            }
            covered.extend(verdict.verified.iter().map(|object| object.id));
        }
    }
    Ok(covered)
}

/// One thing that some signature must cover.
enum Task<'a> {
    /// These objects of a group, which are all of it if `whole`.
    Group { group: u32, objects: Vec<&'a Descriptor>, whole: bool },
    /// The data of all objects of a group, as old signatures cover it.
    LegacyGroup { group: u32, objects: Vec<&'a Descriptor> },
    /// The data of one object, as old signatures cover it.
    LegacyObject(&'a Descriptor),
}

fn tasks<'a>(image: &'a Image, request: &Request) -> Outcome<Vec<Task<'a>>> {
    let of_group = |group| {
        let objects = image.group(group)?;
        Ok(if request.legacy {
            Task::LegacyGroup { group, objects }
        } else {
            Task::Group { group, objects, whole: true }
        })
    };
    let mut tasks = Vec::new();
    if let Some(group) = request.group {
        tasks.push(of_group(group)?);
    }
    if let Some(id) = request.object {
        let (object, group) = image.grouped_object(id)?;
        tasks.push(if request.legacy {
            Task::LegacyObject(object)
        } else {
            Task::Group { group, objects: vec![object], whole: false }
        });
    }
    if !tasks.is_empty() {
        return Ok(tasks);
    }
    if request.legacy && request.all {
        return Ok(image.objects().filter(|object| object.group.is_some()).map(Task::LegacyObject).collect());
    }
    if request.legacy {
        let primary = image.objects().find(|object| {
            matches!(object.extra, Extra::Partition { partition_type: PartitionType::PrimarySystem, .. })
        });
        let primary = primary.ok_or_else(|| Failure::new("no primary partition found"))?;
        return Ok(vec![Task::LegacyObject(primary)]);
    }
    if let Some(alone) = image.objects().find(|object| object.group.is_none()) {
        let text = format!("non-signature object {} is not associated with an object group", alone.id);
        return Err(Failure::new(text).hint("--group-id verifies one group"));
    }
    let tasks = image.groups().into_iter().map(of_group).collect::<Outcome<Vec<_>>>()?;
    if tasks.is_empty() {
        return Err(Failure::new("no signatures found: the image has no objects"));
    }
    Ok(tasks)
}

/// How a signature object is written.
enum Encoding {
    OpenPgp(SignedText),
    Raw(Envelope),
}

fn encoding(image: &Image, signature: &Descriptor) -> Outcome<Result<Encoding, String>> {
    let bytes = image.signature_bytes(signature)?;
    Ok(match Envelope::parse(&bytes) {
        Some(envelope) => Ok(Encoding::Raw(envelope)),
        None => SignedText::parse(&bytes).map(Encoding::OpenPgp).map_err(|distrust| distrust.to_string()),
    })
}

/// What the text of old signatures begins with.
const LEGACY_PREFIX: &str = "SIFHASH:";

impl<'a> Task<'a> {
    /// The signatures that must hold.
    fn signatures(&self, image: &'a Image, trust: Trust<'_>) -> Outcome<Vec<&'a Descriptor>> {
        let (link, name) = match self {
            Self::Group { group, .. } | Self::LegacyGroup { group, .. } => {
                (Link::Group(*group), format!("object group {group}"))
            }
            Self::LegacyObject(object) => (Link::Object(object.id), format!("object {}", object.id)),
        };
        let mut found = Vec::new();
        let mut of_other_keys = Vec::new();
        for signature in image.signatures().filter(|signature| signature.link == link) {
            let encoding = encoding(image, signature)?;
            let legacy =
                matches!(&encoding, Ok(Encoding::OpenPgp(text)) if text.text().starts_with(LEGACY_PREFIX));
            if legacy == matches!(self, Self::Group { .. }) {
                continue;
            }
            match (encoding, trust) {
                (Ok(Encoding::Raw(_)), Trust::OpenPgp(_)) | (Ok(Encoding::OpenPgp(_)), Trust::Raw(_)) => {
                    of_other_keys.push(signature.id);
                }
                _ => found.push(signature),
            }
        }
        match (found.is_empty(), of_other_keys.first()) {
            (true, Some(id)) => Err(other_key(*id, trust)),
            (true, None) => Err(Failure::new(format!("signature not found for {name}"))
                .hint("'sign' adds one; 'verify --legacy-insecure' accepts those of tools before 2020")),
            (false, other) => {
                if let Some(id) = other {
                    message::warning(format!(
                        "Signature {id} is of another kind of key and was not looked at"
                    ));
                }
                Ok(found)
            }
        }
    }

    fn judge(&self, image: &'a Image, signature: &Descriptor, trust: Trust<'a>) -> Outcome<Verdict<'a>> {
        let mut verdict = Verdict { signer: None, verified: Vec::new(), broken: None, error: None };
        let text = match encoding(image, signature)? {
            Ok(encoding) => believed(&encoding, signature, trust, &mut verdict),
            Err(why) => Err(why),
        };
        match text {
            Err(why) => verdict.error = Some(format!("signature object {} not valid: {why}", signature.id)),
            Ok(text) => self.compare(image, signature, &text, &mut verdict)?,
        }
        Ok(verdict)
    }

    /// Compares the image with a signed text that is believed.
    fn compare(
        &self,
        image: &'a Image,
        signature: &Descriptor,
        text: &[u8],
        verdict: &mut Verdict<'a>,
    ) -> Outcome<()> {
        match self {
            Self::Group { group, objects, whole } => {
                let smallest_id = image.group(*group)?.first().map_or(0, |object| object.id);
                match Coverage::parse(text) {
                    Ok(coverage) => check(image, &coverage, objects, *whole, smallest_id, verdict),
                    Err(why) => {
                        verdict.error = Some(format!("signature object {} not valid: {why}", signature.id));
                        Ok(())
                    }
                }
            }
            Self::LegacyGroup { objects, .. } => check_legacy(image, signature, text, objects, verdict),
            Self::LegacyObject(object) => check_legacy(image, signature, text, &[object], verdict),
        }
    }
}

fn other_key(id: u32, trust: Trust<'_>) -> Failure {
    match trust {
        Trust::OpenPgp(_) => {
            Failure::new(format!("signature object {id} was made with a raw key, not with OpenPGP"))
                .hint("name the file of the signer's public key with --key")
        }
        Trust::Raw(_) => {
            Failure::new(format!("signature object {id} was made with OpenPGP, not with a raw key"))
                .hint("verify without --key")
        }
    }
}

/// The text that was signed, if it is to be believed; else why not.
fn believed<'a>(
    encoding: &Encoding,
    signature: &Descriptor,
    trust: Trust<'a>,
    verdict: &mut Verdict<'a>,
) -> Result<Vec<u8>, String> {
    match (encoding, trust) {
        (Encoding::OpenPgp(text), Trust::OpenPgp(keys)) => {
            let signer = text.signer(keys).map_err(|(signer, distrust)| {
                verdict.signer = signer;
                distrust.to_string()
            })?;
            verdict.signer = Some(signer);
            let noted = matches!(signature.extra, Extra::Signature { entity, .. } if Some(entity) == certificate::entity(signer));
            if !noted {
                return Err("fingerprint in descriptor does not correspond to signing entity".into());
            }
            Ok(text.text().into())
        }
        (Encoding::Raw(envelope), Trust::Raw(key)) => {
            let payload = envelope.payload()?;
            if envelope.is_signed_by(&payload, key) {
                Ok(payload)
            } else {
                Err(format!(
                    "it is not of the given key {}, but of {}",
                    key.id(),
                    message::shown(envelope.key_ids().join(", "))
                ))
            }
        }
        _ => Err("it is of another kind of key".into()),
    }
}

/// Compares header and objects with what was signed; stops at the first difference.
fn check<'a>(
    image: &Image,
    coverage: &Coverage,
    objects: &[&'a Descriptor],
    whole: bool,
    smallest_id: u32,
    verdict: &mut Verdict<'a>,
) -> Outcome<()> {
    let same_objects = if whole { coverage.check_objects(objects, smallest_id) } else { Ok(()) };
    let mismatch = match same_objects {
        Err(mismatch) => Some(mismatch),
        Ok(()) => coverage.check_header(image)?,
    };
    if let Some(mismatch) = mismatch {
        verdict.error = Some(mismatch.to_string());
        return Ok(());
    }
    for object in objects {
        match coverage.check_object(image, object, smallest_id)? {
            None => verdict.verified.push(object),
            Some(mismatch) => {
                verdict.broken = matches!(mismatch, Mismatch::Data(_)).then_some(*object);
                verdict.error = Some(mismatch.to_string());
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Compares the data of objects, one behind the other, with an old signature.
fn check_legacy<'a>(
    image: &Image,
    signature: &Descriptor,
    text: &[u8],
    objects: &[&'a Descriptor],
    verdict: &mut Verdict<'a>,
) -> Outcome<()> {
    let Some((hash, signed)) = legacy_digest(signature, text) else {
        verdict.error = Some(format!("signature object {} not valid: it has no digest", signature.id));
        return Ok(());
    };
    let mut hasher = hash.hasher();
    for object in objects {
        image.hash_data(object, hasher.as_mut())?;
    }
    if *hasher.finalize() == *signed {
        verdict.verified = objects.to_vec();
    } else {
        verdict.broken = objects.first().filter(|_| objects.len() == 1).copied();
        verdict.error = Some("data object integrity compromised".into());
    }
    Ok(())
}

/// The digest in an old signature's text, by the hash that its descriptor names.
fn legacy_digest(signature: &Descriptor, text: &[u8]) -> Option<(Hash, Vec<u8>)> {
    let hash = match signature.extra {
        Extra::Signature { hash: HashType::Sha256, .. } => Hash::Sha256,
        Extra::Signature { hash: HashType::Sha384, .. } => Hash::Sha384,
        Extra::Signature { hash: HashType::Sha512, .. } => Hash::Sha512,
        _ => return None,
    };
    let digits = text.strip_prefix(LEGACY_PREFIX.as_bytes())?.trim_ascii();
    hex::decode(digits)
        .ok()
        .filter(|digest| digest.len() == hash.hasher().output_size())
        .map(|digest| (hash, digest))
}
