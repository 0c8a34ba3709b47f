//! `verify`

use super::{number, path};
use crate::certificate;
use crate::image::Image;
use crate::raw_key::PublicKey;
use crate::ring::Rings;
use crate::verify::{self, Request, Trust, Verdict};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, answer};
use frontend::error::{Doing, Failure, Outcome};
use frontend::image::Access;
use frontend::message::{self, shown};
use frontend::sif::{self, Descriptor, Link};
use pgp::composed::SignedPublicKey;
use pgp::types::KeyDetails;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

/// `verify`
pub(crate) fn verify(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let request = Request {
        group: number(given, "group-id")?,
        object: number(given, "sif-id")?,
        legacy: given.is_on("legacy-insecure"),
        all: given.is_on("all"),
    };
    let rings = Rings::of(invocation, given)?;
    let known = Known { local: rings.public().keys()?, global: rings.global().keys()? };
    let all = known.all();
    let raw = given.last("key").map(|file| raw(Path::new(file))).transpose()?;
    message::info(match given.last("key") {
        Some(file) => format!("Verifying image with key material from '{}'", shown(file)),
        None => "Verifying image with PGP key material".into(),
    });
    let trust = raw.as_ref().map_or(Trust::OpenPgp(&all), Trust::Raw);
    let path = path(words);
    let image = Image(sif::open(path, Access::ReadOnly)?);
    let mut said = Vec::new();
    let verified = verify::verify(&image, &request, trust, |verdict| {
        said.push(if given.is_on("json") {
            Said::Json(known.json(verdict))
        } else {
            Said::Words(known.words(verdict))
        });
    });
    answer::print(together(said, given.is_on("json")))?;
    let covered = verified.map_err(|failure| failed(failure, &known))?;
    warn_of_rest(&image, &covered);
    if !given.is_on("json") {
        message::info(format!("Verified signature(s) from image '{}'", shown(path)));
    }
    Ok(())
}

fn raw(path: &Path) -> Outcome<PublicKey> {
    let pem = std::fs::read_to_string(path)
        .doing(|| format!("reading {}", shown(path)))
        .map_err(|failure| failure.context("Failed to load key material"))?;
    PublicKey::from_pem(&pem)
        .map_err(|why| Failure::new(format!("Failed to load key material: {}: {why}", shown(path))))
}

fn failed(failure: Failure, known: &Known) -> Failure {
    let unknown = failure.to_string().contains("made by unknown entity");
    let failure = failure.context("Failed to verify container");
    if !unknown {
        return failure;
    }
    failure.hint(format!(
        "Of {} known keys none is the signer's. Get the public key from whom you trust and add it with 'key import'.",
        known.local.len() + known.global.len()
    ))
}

/// Objects that nobody signed are in the file all the same, and are read.
fn warn_of_rest(image: &Image, covered: &BTreeSet<u32>) {
    let rest: Vec<String> = image
        .objects()
        .filter(|object| !covered.contains(&object.id))
        .map(|object| object.id.to_string())
        .collect();
    if !rest.is_empty() {
        message::warning(format!("Not verified: objects {}", rest.join(", ")));
    }
}

/// The keys that are known on this host.
struct Known {
    local: Vec<SignedPublicKey>,
    global: Vec<SignedPublicKey>,
}

/// What was made of one signature.
enum Said {
    Words(String),
    Json(Vec<Value>),
}

fn together(said: Vec<Said>, json: bool) -> String {
    let signatures = said.len();
    let mut text = String::new();
    let mut signers = Vec::new();
    for one in said {
        match one {
            Said::Words(words) => text += &words,
            Said::Json(values) => signers.extend(values),
        }
    }
    match json {
        true => format!("{:#}\n", json!({ "Signatures": signatures, "SignerKeys": signers })),
        false => text,
    }
}

impl Known {
    fn all(&self) -> Vec<SignedPublicKey> {
        self.local.iter().chain(&self.global).cloned().collect()
    }

    fn words(&self, verdict: &Verdict<'_>) -> String {
        let mut text = String::new();
        if let Some(key) = verdict.signer {
            let place = if has(&self.global, key) { "[GLOBAL]" } else { "[LOCAL]" };
            match certificate::primary_user(key) {
                Some(user) => text += &format!("{place:<18} Signing entity: {}\n", shown(user)),
                None => message::warning("Primary identity unknown"),
            }
            text += &format!("{place:<18} Fingerprint: {}\n", certificate::fingerprint(key));
        }
        if !verdict.verified.is_empty() {
            text += "Objects verified:\n";
            text += &format!("{:<4}|{:<8}|{:<8}|{}\n", "ID", "GROUP", "LINK", "TYPE");
            text += "------------------------------------------------\n";
        }
        text.extend(verdict.verified.iter().map(|object| row(object)));
        if let Some(error) = &verdict.error {
            text += &format!("\nError encountered during signature verification: {error}\n");
        }
        text
    }

    fn json(&self, verdict: &Verdict<'_>) -> Vec<Value> {
        let name = verdict.signer.and_then(certificate::primary_user).unwrap_or_else(|| "unknown".into());
        let fingerprint =
            verdict.signer.map(|key| certificate::fingerprint(key).to_lowercase()).unwrap_or_default();
        let signed = |object: &Descriptor, sound: bool| {
            json!({ "Signer": {
                "Partition": object.data_type.name(),
                "Name": name,
                "Fingerprint": fingerprint,
                "KeyLocal": verdict.signer.is_some_and(|key| has(&self.local, key)),
                "KeyCheck": verdict.signer.is_some(),
                "DataCheck": sound,
            }})
        };
        let verified = verdict.verified.iter().map(|object| signed(object, true));
        verified.chain(verdict.broken.map(|object| signed(object, false))).collect()
    }
}

fn has(keys: &[SignedPublicKey], wanted: &SignedPublicKey) -> bool {
    keys.iter().any(|key| key.fingerprint() == wanted.fingerprint())
}

fn row(object: &Descriptor) -> String {
    let group = object.group.map_or("NONE".into(), |group| group.to_string());
    let link = match object.link {
        Link::None => "NONE".into(),
        Link::Object(id) => id.to_string(),
        Link::Group(group) => format!("{group} (G)"),
    };
    format!("{:<4}|{group:<8}|{link:<8}|{}\n", object.id, object.data_type.name())
}
