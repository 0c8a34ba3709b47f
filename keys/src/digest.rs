//! Digests as signatures name them: `sha256:` and hexadecimal digits.

use serde::{Deserialize, Serialize};
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use std::fmt;

/// The hashes that a signature of today may use for what it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hash {
    /// SHA-224
    Sha224,
    /// SHA-256, which new signatures use.
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
    /// SHA-512 cut to 224 bits
    Sha512_224,
    /// SHA-512 cut to 256 bits
    Sha512_256,
}

/// Each hash by the name it has in a signature.
const NAMES: [(&str, Hash); 6] = [
    ("sha224", Hash::Sha224),
    ("sha256", Hash::Sha256),
    ("sha384", Hash::Sha384),
    ("sha512", Hash::Sha512),
    ("sha512_224", Hash::Sha512_224),
    ("sha512_256", Hash::Sha512_256),
];

impl Hash {
    /// Begins a digest.
    #[must_use]
    pub fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            Self::Sha224 => Box::new(Sha224::default()),
            Self::Sha256 => Box::new(Sha256::default()),
            Self::Sha384 => Box::new(Sha384::default()),
            Self::Sha512 => Box::new(Sha512::default()),
            Self::Sha512_224 => Box::new(Sha512_224::default()),
            Self::Sha512_256 => Box::new(Sha512_256::default()),
        }
    }

    /// The digest of bytes in memory.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        Digest { hash: self, value: hasher.finalize().into() }
    }

    fn name(self) -> &'static str {
        NAMES.iter().find(|(_, hash)| *hash == self).map_or("", |(name, _)| name)
    }
}

/// A digest and how it was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    /// How it was made.
    pub hash: Hash,
    /// As many bytes as the hash has.
    pub value: Vec<u8>,
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, digits) = text.split_once(':').ok_or("a digest has no hash's name")?;
        let (_, hash) = NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or("a digest is of a hash that signatures do not use")?;
        let value = hex::decode(digits).map_err(|_| "a digest has digits that are none")?;
        if value.len() != hash.hasher().output_size() {
            return Err("a digest is not as long as its hash's are".into());
        }
        Ok(Self { hash: *hash, value })
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hash.name(), hex::encode(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_comes_back_from_its_text_and_nothing_else_is_a_digest() {
        for (name, hash) in NAMES {
            let digest = hash.of(b"abc");
            assert_eq!(digest.to_string().split(':').next(), Some(name));
            assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        }
        // The first example of FIPS 180-2.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::Sha256.of(b"abc").to_string(), abc);
        for text in ["", "sha256", "md5:00", "sha256:00", "sha256:zz", &abc.replace("sha256", "sha384")] {
            Digest::try_from(text.to_owned()).unwrap_err();
        }
    }
}
