//! Images that another program signed: what its signatures cover, and that no change of it goes unseen.

use frontend::file::Existing;
use frontend::image::Access;
use frontend::sif::{self, CreateOptions, Data, DataType, Extra, HashType, Link, NewObject};
use keys::coverage::Coverage;
use keys::digest::Hash;
use keys::image::Image;
use keys::raw_key::PublicKey;
use keys::sign::{self, Signer};
use keys::verify::{self, Request, Trust};
use keys::{certificate, clearsign};
use pgp::composed::{Deserializable, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey};
use rand::rngs::OsRng;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const OPENPGP: &[u8] = include_bytes!("../../frontend/tests/images/tiny-signed-pgp.sif");
const OPENPGP_KEY: &str = include_str!("../../frontend/tests/images/tiny-signed-pgp.pub.asc");
const RAW: &[u8] = include_bytes!("../../frontend/tests/images/tiny-signed-dsse.sif");
const RAW_KEY: &str = include_str!("../../frontend/tests/images/tiny-signed-dsse.pub.pem");

/// Where the table of the samples is, and how long a descriptor is.
const TABLE: usize = 4096;
const DESCRIPTOR: usize = 585;

/// An image of these bytes, and the folder that holds it.
fn image(bytes: &[u8]) -> (TempDir, Image) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.sif");
    std::fs::write(&path, bytes).unwrap();
    let image = Image(sif::open(&path, Access::ReadOnly).unwrap());
    (folder, image)
}

fn openpgp_key() -> Vec<SignedPublicKey> {
    vec![SignedPublicKey::from_string(OPENPGP_KEY).unwrap().0]
}

/// The objects that are verified, or why none is; both ways of signing agree on that.
fn verified(bytes: [&[u8]; 2], request: &Request) -> Result<BTreeSet<u32>, String> {
    let keys = openpgp_key();
    let raw = PublicKey::from_pem(RAW_KEY).unwrap();
    let answers = bytes.into_iter().zip([Trust::OpenPgp(&keys), Trust::Raw(&raw)]).map(|(bytes, trust)| {
        let (_folder, image) = image(bytes);
        let mut said = 0;
        let answer = verify::verify(&image, request, trust, |_| said += 1);
        assert!(answer.is_err() || said == 1);
        answer.map_err(|failure| failure.to_string())
    });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers[0], answers[1]);
    answers[0].clone()
}

/// Both samples after the same change.
fn changed(change: impl Fn(&mut Vec<u8>)) -> Result<BTreeSet<u32>, String> {
    let [openpgp, raw] = [OPENPGP, RAW].map(|bytes| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        bytes
    });
    verified([&openpgp, &raw], &Request::default())
}

#[test]
fn digests_are_those_that_the_other_program_signed() {
    let (_folder, image) = image(OPENPGP);
    let objects = image.group(1).unwrap();
    let text = Coverage::of(&image, &objects, 1, Hash::Sha256).unwrap().text();
    let expected = "{\"version\":1,\"header\":{\"digest\":\"sha256:815da09b5e9b9259509d2e8e0b03f84126c1322e1216b2a1d30ed1c33da3ee4b\"},\
        \"objects\":[{\"relativeId\":0,\
        \"descriptorDigest\":\"sha256:9af6a517928e8fc23d9cf5becfe7cfa0fd07deb75ea9e06c695cb4935192917b\",\
        \"objectDigest\":\"sha256:5918e9f85a47f5892500b8bcd6fec980ee39ee6d2019fc71476ae2f9b937f7f1\"},\
        {\"relativeId\":1,\
        \"descriptorDigest\":\"sha256:b71edbf35c21a4717c7058fe98bfaa1125f9419c7cd83c86da1de2677d90c0fd\",\
        \"objectDigest\":\"sha256:18fcbb0f6e3cb612733318acc16e36e90987e9781383583c0d81cadd0156d96d\"},\
        {\"relativeId\":2,\
        \"descriptorDigest\":\"sha256:2b90c43b0530e0e50966e6e8006b8e2ea9129d39949ec765a8d7243361fa57e6\",\
        \"objectDigest\":\"sha256:eb8e22e96bd71dc37d66e947bac161437a3caeb6d641590cbcfd1f8644c5e518\"}]}";
    assert_eq!(text, expected);
    assert_eq!(Coverage::parse(expected.as_bytes()).unwrap().text(), expected);
}

#[test]
fn both_samples_verify_whole_by_group_and_by_object() {
    let all = BTreeSet::from([1, 2, 3]);
    assert_eq!(verified([OPENPGP, RAW], &Request::default()), Ok(all.clone()));
    assert_eq!(verified([OPENPGP, RAW], &Request { group: Some(1), ..Request::default() }), Ok(all));
    let one = Request { object: Some(2), ..Request::default() };
    assert_eq!(verified([OPENPGP, RAW], &one), Ok(BTreeSet::from([2])));
    let absent = Request { group: Some(2), ..Request::default() };
    assert_eq!(verified([OPENPGP, RAW], &absent), Err("group 2 not found: no object is in it".into()));
}

#[test]
fn the_id_of_a_raw_key_is_the_one_openssh_gives_it() {
    let key = PublicKey::from_pem(RAW_KEY).unwrap();
    assert_eq!(key.id(), "SHA256:e83V24hta/zWTd+JgrdMADjNQ2GFxDhcVkfkatma5NI");
}

#[test]
fn a_changed_byte_of_what_is_covered_is_named() {
    let header = Err("header integrity compromised".to_owned());
    for at in [0, 30, 48, 63] {
        assert_eq!(changed(|bytes| bytes[at] ^= 1), header, "byte {at}");
    }
    for (slot, id) in [(0, 1), (1, 2), (2, 3)] {
        // Link, size or time, owner, name and the fields of the type.
        for at in [13, 41, 57, 65, 73, 200, 500, 584] {
            let expected = Err(format!("data object descriptor integrity compromised: {id}"));
            let at = TABLE + slot * DESCRIPTOR + at;
            assert_eq!(changed(|bytes| bytes[at] ^= 1), expected, "byte {at}");
        }
    }
    for (at, id) in [(32176, 1), (32210, 1), (32211, 2), (36864, 3), (40959, 3)] {
        let expected = Err(format!("data object integrity compromised: {id}"));
        assert_eq!(changed(|bytes| bytes[at] ^= 1), expected, "byte {at}");
    }
}

#[test]
fn what_is_not_covered_may_change() {
    // The header's times and the file's architecture, an object's time of change.
    for at in [45 + 1, 72, TABLE + 49] {
        assert_eq!(changed(|bytes| bytes[at] ^= 1), Ok(BTreeSet::from([1, 2, 3])), "byte {at}");
    }
}

#[test]
fn objects_that_come_or_go_are_seen() {
    let gone = changed(|bytes| bytes[TABLE + DESCRIPTOR..TABLE + 2 * DESCRIPTOR].fill(0));
    assert_eq!(gone, Err("object 2 was signed and is not there".into()));
    // A fifth object, of no bytes, in the signed group, in another one, and in none.
    let with_fifth = |group: u32| {
        changed(move |bytes| {
            let slot = TABLE + 4 * DESCRIPTOR;
            bytes.copy_within(TABLE..TABLE + DESCRIPTOR, slot);
            bytes[slot + 5] = 5;
            bytes[slot + 9..slot + 13].copy_from_slice(&(group | 0xF000_0000).to_le_bytes());
            bytes[slot + 25..slot + 33].fill(0);
        })
    };
    assert_eq!(with_fifth(1), Err("object 5 is not among those signed".into()));
    assert_eq!(with_fifth(2), Err("signature not found for object group 2".into()));
    let alone = "non-signature object 5 is not associated with an object group";
    assert_eq!(with_fifth(0), Err(alone.into()));
}

#[test]
fn a_signature_that_is_gone_or_of_another_group_is_missed() {
    let missing = Err("signature not found for object group 1".to_owned());
    let slot = TABLE + 3 * DESCRIPTOR;
    assert_eq!(changed(|bytes| bytes[slot..slot + DESCRIPTOR].fill(0)), missing);
    assert_eq!(changed(|bytes| bytes[slot + 13] = 2), missing);
}

/// Why a sample is refused after one byte was changed, the first one of this text.
fn refused(bytes: &[u8], text: &str, trust: Trust<'_>) -> String {
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    let (_folder, image) = image(&bytes);
    verify::verify(&image, &Request::default(), trust, |_| {}).unwrap_err().to_string()
}

#[test]
fn a_changed_signature_does_not_hold() {
    let keys = openpgp_key();
    let raw = PublicKey::from_pem(RAW_KEY).unwrap();
    let forged = "signature object 4 not valid: the signature does not fit what it covers";
    // A digit of a digest, the name of a field, and a part of the signature proper.
    for text in ["815da09b5e9b", "objectDigest", "XXbtRnoMa5nSS8Ukqp9jzmqmWyxnaF4wF6e3"] {
        assert_eq!(refused(OPENPGP, text, Trust::OpenPgp(&keys)), forged, "{text}");
    }
    for text in ["-----BEGIN PGP SIGNED MESSAGE", "-----END PGP SIGNATURE-----"] {
        let why = refused(OPENPGP, text, Trust::OpenPgp(&keys));
        assert!(why.starts_with("signature object 4 not valid: it is no clear-signed text"), "{why}");
    }
    let not_ours = "signature object 4 not valid: it is not of the given key";
    // The beginning of the payload, and of the signature over it.
    for text in ["eyJ2ZXJzaW9uIjoxLCJ", "5oDV+J7uA+xJ"] {
        let why = refused(RAW, text, Trust::Raw(&raw));
        assert!(why.starts_with(not_ours), "{why}");
    }
}

#[test]
fn the_fingerprint_beside_a_signature_must_be_its_signers() {
    let mut bytes = OPENPGP.to_vec();
    bytes[TABLE + 3 * DESCRIPTOR + 201 + 4] ^= 1;
    let keys = openpgp_key();
    let (_folder, image) = image(&bytes);
    let why = verify::verify(&image, &Request::default(), Trust::OpenPgp(&keys), |_| {}).unwrap_err();
    let expected =
        "signature object 4 not valid: fingerprint in descriptor does not correspond to signing entity";
    assert_eq!(why.to_string(), expected);
}

#[test]
fn a_key_that_is_not_the_signers_verifies_nothing() {
    let (_folder, image) = image(OPENPGP);
    let refused = verify::verify(&image, &Request::default(), Trust::OpenPgp(&[]), |_| {}).unwrap_err();
    let expected = "signature object 4 not valid: signature made by unknown entity 4F84A98CEB896E98D5040619F8A6989D4BEFF3AC";
    assert_eq!(refused.to_string(), expected);
    let raw = PublicKey::from_pem(RAW_KEY).unwrap();
    let refused = verify::verify(&image, &Request::default(), Trust::Raw(&raw), |_| {}).unwrap_err();
    assert_eq!(refused.to_string(), "signature object 4 was made with OpenPGP, not with a raw key");
}

/// A key made for one test.
fn new_key() -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Test".into());
    parameters.build().unwrap().generate(OsRng).unwrap()
}

/// An image of two groups, `1 | 2, 3`, and its path.
fn two_groups(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("two.sif");
    let object =
        |name, group| NewObject::new(DataType::Generic, Data::Bytes(name)).named(name).in_group(Some(group));
    let objects = [object(b"one", 1), object(b"two", 2), object(b"three", 2)];
    let options = CreateOptions { existing: Existing::Replace, ..CreateOptions::native() };
    sif::create(&path, &objects, &options).unwrap();
    path
}

fn opened(path: &Path) -> Image {
    Image(sif::open(path, Access::ReadOnly).unwrap())
}

#[test]
fn groups_and_objects_are_signed_each_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let public = [key.to_public_key()];
    let signer = Signer::OpenPgp(Box::new(key));
    let trust = Trust::OpenPgp(&public);
    let verified = |path: &Path, request: Request| {
        verify::verify(&opened(path), &request, trust, |_| {}).map_err(|failure| failure.to_string())
    };
    let path = two_groups(&folder);
    sign::sign(&path, &sign::Request { group: Some(2), object: None }, &signer).unwrap();
    let missing = Err("signature not found for object group 1".to_owned());
    assert_eq!(verified(&path, Request::default()), missing);
    assert_eq!(verified(&path, Request { group: Some(2), ..Request::default() }), Ok(BTreeSet::from([2, 3])));
    sign::sign(&path, &sign::Request { group: None, object: Some(1) }, &signer).unwrap();
    assert_eq!(verified(&path, Request::default()), Ok(BTreeSet::from([1, 2, 3])));

    let path = two_groups(&folder);
    sign::sign(&path, &sign::Request::default(), &signer).unwrap();
    sign::sign(&path, &sign::Request::default(), &signer).unwrap();
    assert_eq!(opened(&path).signatures().count(), 4);
    assert_eq!(verified(&path, Request::default()), Ok(BTreeSet::from([1, 2, 3])));

    let path = two_groups(&folder);
    sign::sign(&path, &sign::Request { group: None, object: Some(3) }, &signer).unwrap();
    let part = Err("object 2 is not among those signed".to_owned());
    assert_eq!(verified(&path, Request { group: Some(2), ..Request::default() }), part);
    assert_eq!(verified(&path, Request { object: Some(3), ..Request::default() }), Ok(BTreeSet::from([3])));
    assert_eq!(verified(&path, Request { object: Some(2), ..Request::default() }), part);
}

/// Signs data as tools of 2018 to 2020 did.
fn sign_as_of_old(path: &Path, key: &SignedSecretKey, data: &[u8], link: Link) {
    let digest = Hash::Sha384.of(data).to_string();
    let text = format!("SIFHASH:\n{}", digest.split_once(':').unwrap().1);
    let signed = clearsign::sign(&text, key).unwrap();
    let entity = certificate::entity(&key.primary_key).unwrap();
    let object = NewObject::new(DataType::Signature, Data::Bytes(&signed.message))
        .with(Extra::Signature { hash: HashType::Sha384, entity })
        .named("part-signature")
        .linked_to(link);
    let file = sif::open(path, Access::ReadWrite).unwrap();
    sif::append(&file.file, &file.path, &object).unwrap();
}

#[test]
fn old_signatures_cover_the_data_of_an_object_or_of_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let public = [key.to_public_key()];
    let path = two_groups(&folder);
    sign_as_of_old(&path, &key, b"three", Link::Object(3));
    sign_as_of_old(&path, &key, b"twothree", Link::Group(2));
    sign_as_of_old(&path, &key, b"another", Link::Object(1));
    let verified = |request: Request| {
        verify::verify(&opened(&path), &request, Trust::OpenPgp(&public), |_| {})
            .map_err(|failure| failure.to_string())
    };
    let legacy = |group, object| Request { group, object, legacy: true, all: false };
    assert_eq!(verified(legacy(None, Some(3))), Ok(BTreeSet::from([3])));
    assert_eq!(verified(legacy(Some(2), None)), Ok(BTreeSet::from([2, 3])));
    let broken = Err("data object integrity compromised".to_owned());
    assert_eq!(verified(legacy(None, Some(1))), broken);
    let all = Request { all: true, ..legacy(None, None) };
    assert_eq!(verified(all), broken);
    // Without being asked for they do not count.
    let missing = Err("signature not found for object group 2".to_owned());
    assert_eq!(verified(Request { group: Some(2), ..Request::default() }), missing);
}

#[test]
fn a_signature_of_the_other_kind_beside_a_good_one_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.sif");
    std::fs::write(&path, RAW).unwrap();
    let key = new_key();
    let public = [key.to_public_key()];
    sign::sign(&path, &sign::Request::default(), &Signer::OpenPgp(Box::new(key))).unwrap();
    let raw = PublicKey::from_pem(RAW_KEY).unwrap();
    for trust in [Trust::OpenPgp(&public), Trust::Raw(&raw)] {
        let covered = verify::verify(&opened(&path), &Request::default(), trust, |_| {}).unwrap();
        assert_eq!(covered, BTreeSet::from([1, 2, 3]));
    }
}

#[test]
fn old_signatures_are_accepted_only_when_asked_for() {
    let legacy = Request { legacy: true, ..Request::default() };
    assert_eq!(verified([OPENPGP, RAW], &legacy), Err("signature not found for object 3".into()));
}

#[test]
fn what_was_signed_is_read_strictly() {
    let digest = Hash::Sha256.of(b"").to_string();
    let object = |id: u64| {
        format!("{{\"relativeId\":{id},\"descriptorDigest\":\"{digest}\",\"objectDigest\":\"{digest}\"}}")
    };
    let text = |version: u32, objects: &[String]| {
        let objects = objects.join(",");
        format!("{{\"version\":{version},\"header\":{{\"digest\":\"{digest}\"}},\"objects\":[{objects}]}}")
    };
    Coverage::parse(text(1, &[object(0), object(1)]).as_bytes()).unwrap();
    for wrong in
        [text(2, &[object(0)]), text(1, &[object(0), object(0)]), text(1, &[object(1 << 32)]), "{}".into()]
    {
        Coverage::parse(wrong.as_bytes()).unwrap_err();
    }
    // The largest ids there are do not wrap around to smaller ones.
    let coverage = Coverage::parse(text(1, &[object(u64::from(u32::MAX))]).as_bytes()).unwrap();
    let (_folder, image) = image(OPENPGP);
    coverage.check_objects(&image.group(1).unwrap(), 1).unwrap_err();
}
