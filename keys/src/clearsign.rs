//! Texts signed in the clear with OpenPGP.

use crate::certificate::{self, Unfit};
use pgp::composed::{ArmorOptions, CleartextSignedMessage, SignedPublicKey, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails, Password, SigningKey, Timestamp};
use std::fmt;

/// The hashes that a signature may be made with.
const HASHES: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha224, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// Why a signed text is not to be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Distrust {
    /// It is no text signed in the clear.
    Unreadable(String),
    /// It was signed with a hash that can be forged.
    Hash(String),
    /// No key of those at hand made the signature: the fingerprints or ids that it names.
    UnknownSigner(Vec<String>),
    /// The signature does not fit the text.
    Forged,
    /// It fits and its own time is over.
    Expired,
    /// It fits, but the key may not be believed.
    Unfit(Unfit),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "it is no clear-signed text: {why}"),
            Self::Hash(name) => write!(f, "it was made with {name}, which can be forged"),
            Self::UnknownSigner(names) if names.is_empty() => f.write_str("signature made by unknown entity"),
            Self::UnknownSigner(names) => {
                write!(f, "signature made by unknown entity {}", names.join(", "))
            }
            Self::Forged => f.write_str("the signature does not fit what it covers"),
            Self::Expired => f.write_str("the signature has expired"),
            Self::Unfit(unfit) => unfit.fmt(f),
        }
    }
}

/// A signed text that was read and is not yet believed.
#[derive(Debug)]
pub struct SignedText {
    message: CleartextSignedMessage,
    text: String,
}

impl SignedText {
    /// Reads it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Distrust> {
        let unreadable = |why: String| Distrust::Unreadable(why);
        let text = std::str::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
        let (message, _) =
            CleartextSignedMessage::from_string(text).map_err(|error| unreadable(error.to_string()))?;
        let text = message.signed_text();
        Ok(Self { message, text })
    }

    /// What was signed, with CR LF at the ends of its lines.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The key that signed it, if one of these did and may be believed.
    ///
    /// # Errors
    /// Why none is.
    pub fn signer<'a>(
        &self,
        keys: &'a [SignedPublicKey],
    ) -> Result<&'a SignedPublicKey, (Option<&'a SignedPublicKey>, Distrust)> {
        let mut why = (None, Distrust::UnknownSigner(Vec::new()));
        for signature in self.message.signatures() {
            match self.signer_of(signature, keys) {
                Ok(key) => return Ok(key),
                Err(distrust) => why = distrust,
            }
        }
        Err(why)
    }

    fn signer_of<'a>(
        &self,
        signature: &Signature,
        keys: &'a [SignedPublicKey],
    ) -> Result<&'a SignedPublicKey, (Option<&'a SignedPublicKey>, Distrust)> {
        let hash = signature.hash_alg().unwrap_or(HashAlgorithm::None);
        if !HASHES.contains(&hash) {
            return Err((None, Distrust::Hash(hash.to_string())));
        }
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return Err((None, Distrust::Unreadable("its signature is over something else".into())));
        }
        let mut named = None;
        for key in keys {
            match self.made_by(signature, key) {
                Some(Ok(())) if certificate::has_expired(signature) => {
                    return Err((Some(key), Distrust::Expired));
                }
                Some(Ok(())) => return Ok(key),
                Some(Err(unfit)) => return Err((Some(key), Distrust::Unfit(unfit))),
                None if names(signature, key) => named = Some(key),
                None => {}
            }
        }
        Err(match named {
            Some(_) => (named, Distrust::Forged),
            None => (None, Distrust::UnknownSigner(issuers(signature))),
        })
    }

    /// Whether this key made the signature and, if it did, whether it may be believed.
    fn made_by(&self, signature: &Signature, key: &SignedPublicKey) -> Option<Result<(), Unfit>> {
        let text = self.text.as_bytes();
        if signature.verify(&key.primary_key, text).is_ok() {
            return Some(certificate::check_primary(key));
        }
        let signer = key.public_subkeys.iter().find(|subkey| signature.verify(&subkey.key, text).is_ok())?;
        Some(certificate::check_subkey(key, signer))
    }
}

/// Whether a signature says that it is of this key or of one of its subkeys.
fn names(signature: &Signature, key: &SignedPublicKey) -> bool {
    let named = |key: &dyn KeyDetails| {
        signature.issuer_fingerprint().into_iter().any(|issuer| *issuer == key.fingerprint())
            || signature.issuer_key_id().into_iter().any(|issuer| *issuer == key.legacy_key_id())
    };
    named(&key.primary_key) || key.public_subkeys.iter().any(|subkey| named(&subkey.key))
}

/// Who a signature says made it: fingerprints, or key ids where it has none.
fn issuers(signature: &Signature) -> Vec<String> {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().into_iter().map(hex::encode_upper).collect();
    }
    fingerprints.into_iter().map(|issuer| hex::encode_upper(issuer.as_bytes())).collect()
}

/// A text signed anew.
#[derive(Debug)]
pub struct Signed {
    /// The text with its signature.
    pub message: Vec<u8>,
    /// The hash it was signed with.
    pub hash: HashAlgorithm,
}

/// Signs a text with a key that needs no passphrase any more: with the primary key, or with the first subkey that is
/// for signing where the primary is not.
///
/// # Errors
/// The key may not sign, or cannot.
pub fn sign(text: &str, key: &SignedSecretKey) -> Result<Signed, String> {
    let public = key.to_public_key();
    match certificate::check_primary(&public) {
        Ok(()) => sign_with(text, &key.primary_key),
        Err(Unfit::NotForSigning) => {
            let subkey = key
                .secret_subkeys
                .iter()
                .find(|subkey| certificate::check_subkey(&public, &subkey.signed_public_key()).is_ok());
            sign_with(text, &subkey.ok_or(Unfit::NotForSigning.to_string())?.key)
        }
        Err(unfit) => Err(unfit.to_string()),
    }
}

fn sign_with(text: &str, key: &impl SigningKey) -> Result<Signed, String> {
    let hash = Some(key.hash_alg()).filter(|hash| HASHES.contains(hash)).unwrap_or(HashAlgorithm::Sha256);
    let message = message(text, key, hash).map_err(|error| error.to_string())?;
    Ok(Signed { message, hash })
}

fn message(text: &str, key: &impl SigningKey, hash: HashAlgorithm) -> pgp::errors::Result<Vec<u8>> {
    let mut config = SignatureConfig::v4(SignatureType::Text, key.algorithm(), hash);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now()))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    CleartextSignedMessage::new(text, config, key, &Password::empty())?
        .to_armored_bytes(ArmorOptions::default())
}
