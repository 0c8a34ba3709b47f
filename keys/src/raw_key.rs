//! Keys that are nothing but keys: PEM files with an Ed25519, ECDSA or RSA key, as `openssl genpkey` makes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::signature::{RandomizedSigner, SignatureEncoding, Signer, Verifier};
use p256::elliptic_curve::SecretKey as CurveKey;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rand::rngs::OsRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey, pkcs1v15};
use sha2::{Digest, Sha256};

/// A key that signatures can be checked with.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// Ed25519
    Ed25519(ed25519_dalek::VerifyingKey),
    /// ECDSA on P-256, of SHA-256
    P256(p256::ecdsa::VerifyingKey),
    /// ECDSA on P-384, of SHA-256
    P384(p384::ecdsa::VerifyingKey),
    /// RSA PKCS #1 v1.5, of SHA-256
    Rsa(RsaPublicKey),
}

/// A key that can sign.
#[derive(Debug)]
pub enum PrivateKey {
    /// Ed25519
    Ed25519(ed25519_dalek::SigningKey),
    /// ECDSA on P-256, of SHA-256
    P256(p256::ecdsa::SigningKey),
    /// ECDSA on P-384, of SHA-256
    P384(p384::ecdsa::SigningKey),
    /// RSA PKCS #1 v1.5, of SHA-256
    Rsa(Box<RsaPrivateKey>),
}

/// Fewest bits of an RSA key that is used.
const RSA_BITS_MIN: usize = 2048;

impl PublicKey {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// It holds no public key of a kind that signatures are made with.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(pem)
            .map(Self::Ed25519)
            .or_else(|_| p256::ecdsa::VerifyingKey::from_public_key_pem(pem).map(Self::P256))
            .or_else(|_| p384::ecdsa::VerifyingKey::from_public_key_pem(pem).map(Self::P384))
            .or_else(|_| RsaPublicKey::from_public_key_pem(pem).map(Self::Rsa))
            .or_else(|_| RsaPublicKey::from_pkcs1_pem(pem).map(Self::Rsa));
        match key {
            Ok(Self::Rsa(key)) if key.n().bits() < RSA_BITS_MIN => Err(too_short(&key)),
            Ok(key) => Ok(key),
            Err(_) => Err("it has no Ed25519, ECDSA (P-256, P-384) or RSA public key in PEM".into()),
        }
    }

    /// Whether this key made the signature over these bytes.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let digest = Sha256::digest(bytes);
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(bytes, &signature).is_ok()),
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::Rsa(key) => pkcs1v15::Signature::try_from(signature).is_ok_and(|signature| {
                pkcs1v15::VerifyingKey::<Sha256>::new(key.clone()).verify(bytes, &signature).is_ok()
            }),
        }
    }

    /// The name that OpenSSH gives the key: `SHA256:` and the digest of its wire form.
    #[must_use]
    pub fn id(&self) -> String {
        let fields: Vec<Vec<u8>> = match self {
            Self::Ed25519(key) => vec![b"ssh-ed25519".into(), key.as_bytes().into()],
            Self::P256(key) => curve_fields("nistp256", key.to_encoded_point(false).as_bytes()),
            Self::P384(key) => curve_fields("nistp384", key.to_encoded_point(false).as_bytes()),
            Self::Rsa(key) => {
                vec![b"ssh-rsa".into(), positive(key.e().to_bytes_be()), positive(key.n().to_bytes_be())]
            }
        };
        let mut wire = Sha256::new();
        for field in fields {
            wire.update(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            wire.update(field);
        }
        format!("SHA256:{}", STANDARD_NO_PAD.encode(wire.finalize()))
    }
}

fn too_short(key: &impl PublicKeyParts) -> String {
    format!("its RSA key has {} bits, and fewer than {RSA_BITS_MIN} can be broken", key.n().bits())
}

fn curve_fields(curve: &str, point: &[u8]) -> Vec<Vec<u8>> {
    vec![format!("ecdsa-sha2-{curve}").into_bytes(), curve.as_bytes().into(), point.into()]
}

/// A number as OpenSSH writes it: a first bit that is set would make it negative.
fn positive(mut number: Vec<u8>) -> Vec<u8> {
    if number.first().is_some_and(|first| first & 0x80 != 0) {
        number.insert(0, 0);
    }
    number
}

impl PrivateKey {
    /// Reads a PEM file that no passphrase protects.
    ///
    /// # Errors
    /// It holds no private key of a kind that signatures are made with, or one that is encrypted.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        if pem.contains("ENCRYPTED") {
            return Err(
                "its key is encrypted; 'openssl pkey -in FILE -out NEW' takes the passphrase off".into()
            );
        }
        let p256 = |key: CurveKey<p256::NistP256>| Self::P256(key.into());
        let p384 = |key: CurveKey<p384::NistP384>| Self::P384(key.into());
        let rsa = |key: RsaPrivateKey| Self::Rsa(Box::new(key));
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
            .map(Self::Ed25519)
            .or_else(|_| p256::SecretKey::from_pkcs8_pem(pem).map(p256))
            .or_else(|_| p384::SecretKey::from_pkcs8_pem(pem).map(p384))
            .or_else(|_| RsaPrivateKey::from_pkcs8_pem(pem).map(rsa))
            .ok()
            .or_else(|| p256::SecretKey::from_sec1_pem(pem).map(p256).ok())
            .or_else(|| p384::SecretKey::from_sec1_pem(pem).map(p384).ok())
            .or_else(|| RsaPrivateKey::from_pkcs1_pem(pem).map(rsa).ok());
        match key {
            Some(Self::Rsa(key)) if key.n().bits() < RSA_BITS_MIN => Err(too_short(key.as_ref())),
            Some(key) => Ok(key),
            None => Err("it has no Ed25519, ECDSA (P-256, P-384) or RSA private key in PEM".into()),
        }
    }

    /// The key that checks what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            Self::P256(key) => PublicKey::P256(*key.verifying_key()),
            Self::P384(key) => PublicKey::P384(*key.verifying_key()),
            Self::Rsa(key) => PublicKey::Rsa(key.to_public_key()),
        }
    }

    /// Signs bytes.
    ///
    /// # Errors
    /// The key cannot.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let digest = Sha256::digest(bytes);
        let cannot = |error: p256::ecdsa::signature::Error| error.to_string();
        Ok(match self {
            Self::Ed25519(key) => key.sign(bytes).to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).map_err(cannot)?;
                signature.to_der().as_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).map_err(cannot)?;
                signature.to_der().as_bytes().to_vec()
            }
            Self::Rsa(key) => pkcs1v15::SigningKey::<Sha256>::new(key.as_ref().clone())
                .try_sign_with_rng(&mut OsRng, bytes)
                .map_err(cannot)?
                .to_vec(),
        })
    }
}
