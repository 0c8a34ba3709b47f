//! What an OpenPGP key says of itself, as far as its own signatures bear it out.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{Fingerprint, KeyDetails, PublicParams, Tag, Timestamp};
use rsa::traits::PublicKeyParts;
use std::time::SystemTime;

/// Why a key may not be believed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// No signature of its own bears it out.
    Unbound,
    /// Its owner revoked it.
    Revoked,
    /// Its time is over.
    Expired,
    /// It is for other things than signing.
    NotForSigning,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unbound => "the key has no valid signature of its own",
            Self::Revoked => "the key was revoked",
            Self::Expired => "the key has expired",
            Self::NotForSigning => "the key is not for signing",
        })
    }
}

/// The fingerprint of the primary key in the upper-case digits that the incumbents print.
#[must_use]
pub fn fingerprint(key: &impl KeyDetails) -> String {
    hex::encode_upper(key.fingerprint().as_bytes())
}

/// The fingerprint as a SIF's signature object has it: 20 bytes, which only keys of version 4 have.
#[must_use]
pub fn entity(key: &impl KeyDetails) -> Option<[u8; 20]> {
    match key.fingerprint() {
        Fingerprint::V4(bytes) => Some(bytes),
        _ => None,
    }
}

/// The user id that its owner marked as the primary one, else the first: `Name (comment) <mail>`.
#[must_use]
pub fn primary_user(key: &SignedPublicKey) -> Option<String> {
    let users = &key.details.users;
    let marked = users.iter().find(|user| user.signatures.iter().any(Signature::is_primary));
    marked.or(users.first()).map(|user| String::from_utf8_lossy(user.id.id()).into_owned())
}

/// The length of the key in bits, where that is what its strength is told by.
#[must_use]
pub fn bits(key: &impl KeyDetails) -> Option<usize> {
    match key.public_params() {
        PublicParams::RSA(rsa) => Some(rsa.key.n().bits()),
        PublicParams::DSA(dsa) => Some(dsa.key.components().p().bits()),
        PublicParams::ECDSA(ecdsa) => Some(ecdsa.curve().nbits().into()),
        PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) => Some(256),
        PublicParams::Ed448(_) => Some(448),
        _ => None,
    }
}

/// Whether the primary key may sign now.
///
/// # Errors
/// Why not.
pub fn check_primary(key: &SignedPublicKey) -> Result<(), Unfit> {
    check_whole(key)?;
    let newest = newest_self_signature(key).ok_or(Unfit::Unbound)?;
    if may_sign(newest) { Ok(()) } else { Err(Unfit::NotForSigning) }
}

/// Whether a subkey may sign now: its primary key holds, the newest binding says so, and the subkey agreed to it.
///
/// # Errors
/// Why not.
pub fn check_subkey(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> Result<(), Unfit> {
    check_whole(key)?;
    let valid =
        |signature: &&Signature| signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok();
    let of_type = |wanted| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(wanted));
    if of_type(SignatureType::SubkeyRevocation).any(|signature| valid(&signature)) {
        return Err(Unfit::Revoked);
    }
    let newest = of_type(SignatureType::SubkeyBinding)
        .filter(valid)
        .max_by_key(|signature| created(signature))
        .ok_or(Unfit::Unbound)?;
    if is_over(subkey.created_at(), newest) {
        return Err(Unfit::Expired);
    }
    let agreed = newest
        .embedded_signature()
        .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok());
    if may_sign(newest) && agreed { Ok(()) } else { Err(Unfit::NotForSigning) }
}

/// Whether the key as a whole holds now.
fn check_whole(key: &SignedPublicKey) -> Result<(), Unfit> {
    let revoked = |signature: &Signature| signature.verify_key(&key.primary_key).is_ok();
    if key.details.revocation_signatures.iter().any(revoked) {
        return Err(Unfit::Revoked);
    }
    let newest = newest_self_signature(key).ok_or(Unfit::Unbound)?;
    if is_over(key.created_at(), newest) { Err(Unfit::Expired) } else { Ok(()) }
}

/// The newest valid signature with which the key speaks of itself, alone or together with a user id.
fn newest_self_signature(key: &SignedPublicKey) -> Option<&Signature> {
    let primary = &key.primary_key;
    let of_users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    let direct = key.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
    });
    of_users.chain(direct).max_by_key(|signature| created(signature))
}

fn created(signature: &Signature) -> u32 {
    signature.created().map_or(0, Timestamp::as_secs)
}

/// Whether the time that a binding gives a key is over.
fn is_over(begun: Timestamp, binding: &Signature) -> bool {
    let lifetime = binding.key_expiration_time().map_or(0, |lifetime| lifetime.as_secs());
    has_passed(begun.as_secs(), lifetime)
}

/// Whether a signature's own time is over.
#[must_use]
pub fn has_expired(signature: &Signature) -> bool {
    let lifetime = signature.signature_expiration_time().map_or(0, |lifetime| lifetime.as_secs());
    has_passed(created(signature), lifetime)
}

/// Whether so many seconds have passed; a lifetime of 0 never ends.
fn has_passed(begun: u32, lifetime: u32) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    lifetime != 0 && u64::from(begun) + u64::from(lifetime) <= now
}

/// A binding that says nothing of what its key is for does not forbid signing.
fn may_sign(binding: &Signature) -> bool {
    let says = binding.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    });
    !says || binding.key_flags().sign()
}
