//! `sign`

use super::{listed, number, path};
use crate::prompt;
use crate::raw_key::PrivateKey;
use crate::ring::Rings;
use crate::sign::{self, Request, Signer};
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop};
use frontend::error::{Doing, Failure, Outcome};
use frontend::image::Access;
use frontend::message::{self, shown};
use frontend::sif;
use pgp::composed::SignedSecretKey;
use pgp::types::Password;
use std::ffi::OsString;
use std::path::Path;

/// `sign`
pub(crate) fn sign(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let request = Request { group: number(given, "group-id")?, object: number(given, "sif-id")? };
    let image = path(words);
    let failed = |failure: Failure| failure.context("failed to sign container");
    // Nobody types a passphrase for a file that is none of ours.
    sif::open(image, Access::ReadWrite).map_err(failed)?;
    let signer = match given.last("key") {
        Some(file) => {
            message::info(format!("Signing image with key material from '{}'", shown(file)));
            Signer::Raw(Box::new(raw(Path::new(file))?))
        }
        None => {
            message::info("Signing image with PGP key material");
            let keys = Rings::of(invocation, given)?.secret().keys()?;
            Signer::OpenPgp(Box::new(unlocked(selected(keys, number(given, "keyidx")?)?)?))
        }
    };
    sign::sign(image, &request, &signer).map_err(failed)?;
    message::info(format!("Signature created and applied to image '{}'", shown(image)));
    Ok(())
}

fn raw(path: &Path) -> Outcome<PrivateKey> {
    let pem = std::fs::read_to_string(path)
        .doing(|| format!("reading {}", shown(path)))
        .map_err(|failure| failure.context("failed to load key material"))?;
    PrivateKey::from_pem(&pem)
        .map_err(|why| Failure::new(format!("failed to load key material: {}: {why}", shown(path))))
}

/// The key with this index, else the only one, else the one that the user picks.
pub(super) fn selected(mut keys: Vec<SignedSecretKey>, index: Option<usize>) -> Outcome<SignedSecretKey> {
    if keys.is_empty() {
        return Err(Failure::new("keyring is empty")
            .hint("'key newpair' makes a key, 'key import' takes one over from GnuPG"));
    }
    let index = match index {
        Some(index) => index,
        None if keys.len() == 1 => 0,
        None => {
            let list: String =
                keys.iter().enumerate().map(|(index, key)| listed(index, &key.to_public_key())).collect();
            frontend::cli::answer::print(list)?;
            prompt::number("Enter # of private key to use : ", keys.len())?
        }
    };
    if index >= keys.len() {
        return Err(Failure::new("index out of range").hint("'key list --secret' shows the numbers"));
    }
    Ok(keys.swap_remove(index))
}

/// The key without its passphrase, which is asked for.
fn unlocked(mut key: SignedSecretKey) -> Outcome<SignedSecretKey> {
    let locked = key.primary_key.secret_params().is_encrypted()
        || key.secret_subkeys.iter().any(|subkey| subkey.key.secret_params().is_encrypted());
    if !locked {
        return Ok(key);
    }
    let password = Password::from(prompt::passphrase("Enter key passphrase : ")?.as_bytes());
    take_off(&mut key, &password)?;
    Ok(key)
}

/// Takes the passphrase off a key and its subkeys.
pub(super) fn take_off(key: &mut SignedSecretKey, password: &Password) -> Outcome<()> {
    let wrong =
        |_| Failure::new("the passphrase is wrong, or the key is protected in a way that is not known");
    key.primary_key.remove_password(password).map_err(wrong)?;
    for subkey in &mut key.secret_subkeys {
        subkey.key.remove_password(password).map_err(wrong)?;
    }
    Ok(())
}
