//! Texts signed with a raw key: the JSON envelope of DSSE, the dead simple signing envelope.

use crate::raw_key::{PrivateKey, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What the payload of a SIF's signature is said to be.
const PAYLOAD_TYPE: &str = "application/vnd.sylabs.sif-metadata+json";

/// An envelope. Its payload is not to be believed before [`Envelope::is_signed_by`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    #[serde(default, rename = "keyid")]
    key_id: String,
    sig: String,
}

impl Envelope {
    /// Reads an envelope of the kind that SIF files have; `None` when it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|envelope: &Self| envelope.payload_type == PAYLOAD_TYPE)
    }

    /// Puts a text in an envelope and signs it.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn signed(payload: &[u8], key: &PrivateKey) -> Result<Self, String> {
        let signature = key.sign(&encoding(PAYLOAD_TYPE, payload))?;
        Ok(Self {
            payload_type: PAYLOAD_TYPE.into(),
            payload: STANDARD.encode(payload),
            signatures: vec![Signature { key_id: key.public().id(), sig: STANDARD.encode(signature) }],
        })
    }

    /// The envelope's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What was signed.
    ///
    /// # Errors
    /// It is no base64.
    pub fn payload(&self) -> Result<Vec<u8>, String> {
        STANDARD.decode(&self.payload).map_err(|error| error.to_string())
    }

    /// Who is said to have signed it.
    #[must_use]
    pub fn key_ids(&self) -> Vec<&str> {
        self.signatures.iter().map(|signature| signature.key_id.as_str()).collect()
    }

    /// Whether a key signed the payload.
    #[must_use]
    pub fn is_signed_by(&self, payload: &[u8], key: &PublicKey) -> bool {
        let signed = encoding(&self.payload_type, payload);
        let id = key.id();
        self.signatures
            .iter()
            .filter(|signature| signature.key_id.is_empty() || signature.key_id == id)
            .any(|signature| STANDARD.decode(&signature.sig).is_ok_and(|bytes| key.verifies(&signed, &bytes)))
    }
}

/// The bytes that are signed: type and payload, each with its length, so that neither can run into the other.
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
