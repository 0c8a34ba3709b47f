//! The `key` group.

use super::sign::{selected, take_off};
use super::{listed, number, path};
use crate::certificate;
use crate::prompt;
use crate::ring::{self, Ring, Rings};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop, answer};
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::{Existing, NewFile};
use frontend::message::{self, Level, shown};
use pgp::composed::{
    ArmorOptions, EncryptionCaps, KeyType, PublicOrSecret, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Password};
use rand::rngs::OsRng;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use zeroize::Zeroizing;

/// Exit status of commands that could not make or take over a key.
const KEY_STATUS: u8 = 2;
/// Exit status of `key export`.
const EXPORT_STATUS: u8 = 10;
/// Bits of a new RSA key, and the fewest and most that may be asked for.
const BITS_DEFAULT: u32 = 4096;
const BITS_MIN: u32 = 2048;
const BITS_MAX: u32 = 16384;

/// Fails as the incumbents do: an error, not a fatal one, and a status of its own.
fn or_status<T>(done: Outcome<T>, what: &str, status: u8) -> Result<T, Stop> {
    done.map_err(|failure| {
        let hint = failure.next_step().map_or_else(String::new, |step| format!("\n         {step}"));
        message::say(Level::Error, &format!("{what}: {failure}{hint}"));
        Stop::Said(status)
    })
}

/// `key list`
pub(crate) fn list(invocation: &Invocation, given: &Given, _: &[OsString]) -> Result<(), Stop> {
    let rings = Rings::of(invocation, given)?;
    let listing = |failure: Failure| failure.context("While listing keys");
    let (kind, ring, keys) = if given.is_on("secret") {
        let ring = rings.secret();
        let keys: Vec<SignedSecretKey> = ring.keys().map_err(listing)?;
        ("Private", ring, keys.iter().map(SignedSecretKey::to_public_key).collect())
    } else {
        let ring = public_ring(&rings, given);
        let keys = ring.keys::<SignedPublicKey>().map_err(listing)?;
        ("Public", ring, keys)
    };
    let list: String = keys.iter().enumerate().map(|(index, key)| listed(index, key)).collect();
    Ok(answer::print(format!("{kind} key listing ({}):\n\n{list}", shown(&ring.path)))?)
}

fn public_ring(rings: &Rings, given: &Given) -> Ring {
    if given.is_on("global") { rings.global() } else { rings.public() }
}

/// The site's ring is root's to change, and holds no secret keys.
fn check_global(given: &Given, secret: bool) -> Outcome<()> {
    if !given.is_on("global") {
        return Ok(());
    }
    if secret {
        return Err(Failure::new("global keyring doesn't contain private keys"));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("--global requires root privileges").hint("without it the key goes to your own ring"))
}

/// `key newpair`
pub(crate) fn newpair(invocation: &Invocation, given: &Given, _: &[OsString]) -> Result<(), Stop> {
    let (user, passphrase, bits) = or_status(wanted(given), "could not collect user input", KEY_STATUS)?;
    answer::print("Generating Entity and OpenPGP Key Pair... ")?;
    let made = Rings::of(invocation, given).and_then(|rings| {
        let key = generate(user, &passphrase, bits)
            .map_err(|error| Failure::new(format!("generating a key: {error}")))?;
        store_secret(&rings, &key)?;
        store_public(&rings.public(), &key.to_public_key())
    });
    or_status(made, "\ncreating newpair failed", KEY_STATUS)?;
    Ok(answer::print("done\nNOT pushing newly created key to keystore\n")?)
}

/// User id, passphrase and length of a new key: from the command line, else by asking.
fn wanted(given: &Given) -> Outcome<(String, Zeroizing<String>, u32)> {
    let text = |flag: &str, question: &str| match given.last(flag) {
        Some(typed) => Ok(typed.to_string_lossy().into_owned()),
        None => prompt::line(question),
    };
    let bits = number(given, "bit-length")?.unwrap_or(BITS_DEFAULT);
    if !(BITS_MIN..=BITS_MAX).contains(&bits) {
        return Err(Failure::new(format!("--bit-length {bits} is not from {BITS_MIN} to {BITS_MAX}")));
    }
    let name = text("name", "Enter your name (e.g., John Doe) : ")?;
    let mail = text("email", "Enter your email address (e.g., john.doe@example.com) : ")?;
    let comment = text("comment", "Enter optional comment (e.g., development keys) : ")?;
    let user = user_id(&name, &comment, &mail)?;
    let passphrase = match given.last("password") {
        Some(typed) => Zeroizing::new(typed.to_string_lossy().into_owned()),
        None => prompt::new_passphrase("Enter a passphrase : ")?,
    };
    if passphrase.is_empty() && given.last("password").is_none() {
        let question =
            "WARNING: if there is no password set, your key is not secure. Do you want to continue? [y/n] ";
        if !matches!(prompt::line(question)?.as_str(), "y" | "Y" | "yes") {
            return Err(Failure::new("empty passphrase"));
        }
    }
    Ok((user, passphrase, bits))
}

/// `Name (comment) <mail>`, without the parts that are empty.
fn user_id(name: &str, comment: &str, mail: &str) -> Outcome<String> {
    if [name, comment, mail]
        .iter()
        .any(|part| part.contains(['(', ')', '<', '>']) || part.contains(char::is_control))
    {
        return Err(Failure::new("user id field contained invalid characters")
            .hint("brackets and control characters cannot be in a name, an address or a comment"));
    }
    let around = |part: &str, open: &str, close: &str| {
        if part.is_empty() { String::new() } else { format!("{open}{part}{close}") }
    };
    let parts = [name.to_owned(), around(comment, "(", ")"), around(mail, "<", ">")];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(parts.join(" "))
}

/// An RSA key that certifies and signs, with a subkey for encryption, as the incumbents make them.
fn generate(user: String, passphrase: &str, bits: u32) -> pgp::errors::Result<SignedSecretKey> {
    let builder = |error: &dyn std::fmt::Display| pgp::errors::Error::from(error.to_string());
    let passphrase = Some(passphrase).filter(|passphrase| !passphrase.is_empty()).map(str::to_owned);
    let encryption = SubkeyParamsBuilder::default()
        .key_type(KeyType::Rsa(bits))
        .can_encrypt(EncryptionCaps::All)
        .passphrase(passphrase.clone())
        .build()
        .map_err(|error| builder(&error))?;
    SecretKeyParamsBuilder::default()
        .key_type(KeyType::Rsa(bits))
        .can_certify(true)
        .can_sign(true)
        .primary_user_id(user)
        .preferred_symmetric_algorithms(
            [SymmetricKeyAlgorithm::AES256, SymmetricKeyAlgorithm::AES128].into_iter().collect(),
        )
        .preferred_hash_algorithms(
            [HashAlgorithm::Sha512, HashAlgorithm::Sha384, HashAlgorithm::Sha256].into_iter().collect(),
        )
        .passphrase(passphrase)
        .subkey(encryption)
        .build()
        .map_err(|error| builder(&error))?
        .generate(OsRng)
}

/// Adds a secret key to the caller's ring. Whether it was not there before.
fn store_secret(rings: &Rings, key: &SignedSecretKey) -> Outcome<bool> {
    let same = |one: &SignedSecretKey, other: &SignedSecretKey| one.fingerprint() == other.fingerprint();
    Ok(rings.secret().add(std::slice::from_ref(key), same)? > 0)
}

/// Adds a public key to a ring. Whether it was not there before.
fn store_public(ring: &Ring, key: &SignedPublicKey) -> Outcome<bool> {
    let same = |one: &SignedPublicKey, other: &SignedPublicKey| one.fingerprint() == other.fingerprint();
    Ok(ring.add(std::slice::from_ref(key), same)? > 0)
}

/// `key import`
pub(crate) fn import(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    or_status(import_all(invocation, given, path(words)), "key import command failed", KEY_STATUS)
}

fn import_all(invocation: &Invocation, given: &Given, file: &Path) -> Outcome<()> {
    check_global(given, false)?;
    let rings = Rings::of(invocation, given)?;
    let public = public_ring(&rings, given);
    for key in keys_in(file)? {
        let (secret, key) = match key {
            PublicOrSecret::Public(key) => (None, key),
            PublicOrSecret::Secret(key) => (Some(key.clone()), key.to_public_key()),
        };
        let fingerprint = certificate::fingerprint(&key);
        let mut added = Vec::new();
        if let Some(secret) = secret {
            check_global(given, true)?;
            if store_secret(&rings, &protected(secret, given)?)? {
                added.push("private");
            }
        }
        if store_public(&public, &key)? {
            added.push("public");
        }
        if added.is_empty() {
            let text = format!("the key with fingerprint {fingerprint} already belongs to the keyring");
            return Err(Failure::new(text));
        }
        for which in added {
            answer::print(format!(
                "Key with fingerprint {fingerprint} successfully added to the {which} keyring\n"
            ))?;
        }
    }
    Ok(())
}

/// The keys of a file, armored or not.
fn keys_in(file: &Path) -> Outcome<Vec<PublicOrSecret>> {
    let opened = File::open(file).doing(|| format!("opening {}", shown(file)))?;
    let bytes = ring::read(&opened, file)?;
    let failed = |why: String| {
        Failure::new(format!("unable to get entity from: {}: {why}", shown(file)))
            .hint("the file is to hold OpenPGP keys, as 'gpg --export' or 'key export' write them")
    };
    let (keys, _) =
        PublicOrSecret::from_reader_many_buf(bytes.as_slice()).map_err(|error| failed(error.to_string()))?;
    let keys: Vec<PublicOrSecret> =
        keys.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
    if keys.is_empty() {
        return Err(failed("it has no key".into()));
    }
    Ok(keys)
}

/// A secret key with the passphrase it has, or with a new one if that is asked for.
fn protected(mut key: SignedSecretKey, given: &Given) -> Outcome<SignedSecretKey> {
    if !given.is_on("new-password") {
        return Ok(key);
    }
    if key.primary_key.secret_params().is_encrypted() {
        let old = Password::from(prompt::passphrase("Enter your key password : ")?.as_bytes());
        take_off(&mut key, &old)?;
    }
    let new = prompt::new_passphrase("Enter a new password for this key : ")?;
    if new.is_empty() {
        return Ok(key);
    }
    let new = Password::from(new.as_bytes());
    let protecting = || "protecting the key".to_owned();
    key.primary_key.set_password(OsRng, &new).doing(protecting)?;
    for subkey in &mut key.secret_subkeys {
        subkey.key.set_password(OsRng, &new).doing(protecting)?;
    }
    Ok(key)
}

/// `key export`
pub(crate) fn export(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let file = path(words);
    let rings = Rings::of(invocation, given)?;
    let exported = if given.is_on("secret") {
        export_secret(&rings, given, file)
    } else {
        export_public(&public_ring(&rings, given), given, file)
    };
    or_status(exported, "key export command failed", EXPORT_STATUS)
}

fn export_public(ring: &Ring, given: &Given, file: &Path) -> Outcome<()> {
    let mut keys: Vec<SignedPublicKey> = ring.keys()?;
    let index = match keys.len() {
        0 => return Err(Failure::new("keyring is empty")),
        1 => 0,
        count => {
            let list: String = keys.iter().enumerate().map(|(index, key)| listed(index, key)).collect();
            answer::print(list)?;
            prompt::number("Enter # of public key to use : ", count)?
        }
    };
    let key = keys.swap_remove(index);
    let exporting = || "writing the key".to_owned();
    let bytes = match given.is_on("armor") {
        true => key.to_armored_bytes(ArmorOptions::default()).doing(exporting)?,
        false => key.to_bytes().doing(exporting)?,
    };
    write(file, &bytes, 0o644)?;
    let fingerprint = certificate::fingerprint(&key);
    let file = shown(file);
    answer::print(format!("Public key with fingerprint {fingerprint} correctly exported to file: {file}\n"))
}

fn export_secret(rings: &Rings, given: &Given, file: &Path) -> Outcome<()> {
    check_global(given, true)?;
    let key = selected(rings.secret().keys()?, None)?;
    let exporting = || "writing the key".to_owned();
    let bytes = Zeroizing::new(match given.is_on("armor") {
        true => key.to_armored_bytes(ArmorOptions::default()).doing(exporting)?,
        false => key.to_bytes().doing(exporting)?,
    });
    write(file, &bytes, 0o600)?;
    let fingerprint = certificate::fingerprint(&key.primary_key);
    let file = shown(file);
    answer::print(format!("Private key with fingerprint {fingerprint} correctly exported to file: {file}\n"))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Outcome<()> {
    let new = NewFile::beside(path, mode)?;
    new.file().write_all(bytes).doing(|| format!("writing {}", shown(path)))?;
    new.publish(Existing::Replace).map(drop)
}

/// `key remove`
pub(crate) fn remove(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let typed = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let fingerprint = typed.strip_prefix("0x").unwrap_or(&typed).to_uppercase();
    let rings = Rings::of(invocation, given)?;
    let none =
        || Failure::new("no key matching given fingerprint found").hint("'key list' shows the fingerprints");
    let (both, secret) = (given.is_on("both"), given.is_on("secret"));
    check_global(given, both || secret)?;
    let wanted = |key: &SignedPublicKey| certificate::fingerprint(key) == fingerprint;
    let failed = |kind: &str, failure: Failure| failure.context(format!("Unable to remove {kind} key"));
    if both || secret {
        let wanted = |key: &SignedSecretKey| certificate::fingerprint(&key.primary_key) == fingerprint;
        match rings.secret().remove(wanted) {
            Ok(0) => return Err(failed("private", none()).into()),
            removed => removed.map_err(|failure| failed("private", failure))?,
        };
    }
    if both || !secret {
        match public_ring(&rings, given).remove(wanted) {
            Ok(0) => return Err(failed("public", none()).into()),
            removed => removed.map_err(|failure| failed("public", failure))?,
        };
    }
    Ok(())
}
