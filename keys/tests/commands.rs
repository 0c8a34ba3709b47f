//! The program itself, as `lamina` becomes it, together with GnuPG and OpenSSL.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const TINY: &[u8] = include_bytes!("../../frontend/tests/images/tiny.sif");
const SIGNED: &[u8] = include_bytes!("../../frontend/tests/images/tiny-signed-pgp.sif");
const SIGNER: &[u8] = include_bytes!("../../frontend/tests/images/tiny-signed-pgp.pub.asc");
const SIGNER_FINGERPRINT: &str = "4F84A98CEB896E98D5040619F8A6989D4BEFF3AC";

/// A user with rings of their own and a GnuPG of their own.
struct User {
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gnupg = folder.path().join("gnupg");
        std::fs::create_dir(&gnupg).unwrap();
        std::fs::set_permissions(&gnupg, PermissionsExt::from_mode(0o700)).unwrap();
        // Spares the agent measuring for every user how slow a passphrase can be made on this machine.
        std::fs::write(gnupg.join("gpg-agent.conf"), "s2k-count 65536\n").unwrap();
        Self { folder }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs the program with an answer on its standard input.
    fn run(&self, words: &str, answer: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamina-keys"));
        command.args(words.split_whitespace()).current_dir(self.folder.path());
        command.env("SINGULARITY_SYPGPDIR", self.folder.path().join("ring"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that asks nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs the program, which must succeed, and returns its standard output.
    fn ok(&self, words: &str, answer: &str) -> String {
        let output = self.run(words, answer);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must fail with this status, and returns its standard error.
    fn fails(&self, words: &str, answer: &str, status: i32) -> String {
        let output = self.run(words, answer);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{words}: {errors}");
        errors
    }

    fn gpg(&self, arguments: &[&str]) -> Output {
        let output = Command::new("gpg")
            .args(["--batch", "--homedir"])
            .arg(self.folder.path().join("gnupg"))
            .args(["--pinentry-mode", "loopback", "--passphrase", "of gpg"])
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The data of the signature that was added to a copy of the small sample.
    fn signature(&self, image: &Path) -> PathBuf {
        let bytes = std::fs::read(image).unwrap();
        let slot = &bytes[4096 + 3 * 585..];
        let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().unwrap()) as usize;
        self.file("signature.asc", &bytes[number(17)..number(17) + number(25)])
    }

    /// The only fingerprint in the listing of a ring.
    fn fingerprint(&self, list: &str) -> String {
        let listing = self.ok(list, "");
        let found: Vec<&str> = listing.lines().filter_map(|line| line.strip_prefix("   F: ")).collect();
        assert_eq!(found.len(), 1, "{listing}");
        found[0].to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let home = self.folder.path().join("gnupg");
        let _ = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).status();
    }
}

/// Makes a key without questions. Its name is one word, and so is its passphrase.
fn newpair(user: &User) {
    let said = user.ok("key newpair -N Ada -E ada@example.org -C tests -P secret -b 2048", "");
    assert!(said.ends_with("done\nNOT pushing newly created key to keystore\n"), "{said}");
}

#[test]
fn what_is_signed_with_a_new_key_verifies_here_and_with_gnupg() {
    let user = User::new();
    newpair(&user);
    let image = user.file("image.sif", TINY);
    user.ok("sign image.sif", "secret\n");
    let said = user.ok("verify image.sif", "");
    assert!(said.contains("[LOCAL]            Signing entity: Ada (tests) <ada@example.org>\n"), "{said}");
    assert!(said.contains("\n3   |1       |NONE    |FS\n"), "{said}");
    user.ok("key export --armor ada.asc", "");
    user.gpg(&["--import", "ada.asc"]);
    user.signature(&image);
    user.gpg(&["--verify", "signature.asc"]);
}

#[test]
fn keys_are_kept_for_their_owner_alone() {
    let user = User::new();
    newpair(&user);
    let mode = |name: &str| {
        let path = user.folder.path().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!([mode("ring"), mode("ring/pgp-secret"), mode("ring/pgp-public")], [0o700, 0o600, 0o600]);
    user.ok("key export --secret mine.key", "");
    assert_eq!(mode("mine.key"), 0o600);
    let secret = std::fs::read(user.folder.path().join("mine.key")).unwrap();
    let other = User::new();
    other.file("mine.key", &secret);
    other.ok("key import mine.key", "");
    assert_eq!(other.fingerprint("key list --private"), user.fingerprint("key list"));
    // The passphrase went with it.
    other.file("image.sif", TINY);
    assert!(other.fails("sign image.sif", "wrong\n", 255).contains("the passphrase is wrong"));
    assert_eq!(std::fs::read(other.folder.path().join("image.sif")).unwrap(), TINY);
    other.ok("sign image.sif", "secret\n");
    other.ok("verify image.sif", "");
}

#[test]
fn an_imported_key_can_get_another_passphrase() {
    let user = User::new();
    newpair(&user);
    user.ok("key export --secret --armor mine.asc", "");
    let fingerprint = user.fingerprint("key list");
    user.ok(&format!("key remove --both 0x{}", fingerprint.to_lowercase()), "");
    assert!(!user.ok("key list --secret", "").contains("F:"));
    user.ok("key import --new-password mine.asc", "secret\nother\nother\n");
    user.file("image.sif", TINY);
    user.fails("sign image.sif", "secret\n", 255);
    user.ok("sign image.sif", "other\n");
    user.ok("verify image.sif", "");
}

#[test]
fn keys_of_gnupg_sign_even_where_only_a_subkey_may() {
    let user = User::new();
    user.gpg(&["--quick-gen-key", "Owner <owner@example.org>", "rsa2048", "cert", "never"]);
    let colons = user.gpg(&["--list-keys", "--with-colons"]).stdout;
    let colons = String::from_utf8(colons).unwrap();
    let primary = colons.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
    let primary = primary.trim_end_matches(':').to_owned();
    user.gpg(&["--quick-add-key", &primary, "ed25519", "sign", "never"]);
    user.gpg(&["--output", "owner.key", "--export-secret-keys"]);
    user.ok("key import owner.key", "");
    assert_eq!(user.fingerprint("key list --secret"), primary);
    let image = user.file("image.sif", TINY);
    user.ok("sign image.sif", "of gpg\n");
    let said = user.ok("verify image.sif", "");
    assert!(said.contains(&format!("Fingerprint: {primary}\n")), "{said}");
    user.signature(&image);
    user.gpg(&["--verify", "signature.asc"]);
}

#[test]
fn a_key_that_was_revoked_or_has_expired_verifies_nothing_more() {
    let user = User::new();
    user.gpg(&["--quick-gen-key", "Owner <owner@example.org>", "ed25519", "sign", "never"]);
    user.gpg(&["--output", "owner.key", "--export-secret-keys"]);
    user.ok("key import owner.key", "");
    let fingerprint = user.fingerprint("key list");
    user.file("image.sif", TINY);
    user.ok("sign image.sif", "of gpg\n");
    // GnuPG writes a revocation for every key it makes; a colon keeps it from being used by accident.
    let revocation = user.folder.path().join(format!("gnupg/openpgp-revocs.d/{fingerprint}.rev"));
    let text = std::fs::read_to_string(revocation).unwrap().replace(":-----BEGIN", "-----BEGIN");
    user.file("revocation.asc", text.as_bytes());
    user.gpg(&["--import", "revocation.asc"]);
    user.gpg(&["--output", "revoked.key", "--export"]);
    user.ok(&format!("key remove {fingerprint}"), "");
    user.ok("key import revoked.key", "");
    assert!(user.fails("verify image.sif", "", 255).contains("the key was revoked"));

    let other = User::new();
    other.gpg(&[
        "--faked-system-time",
        "20200101T000000",
        "--quick-gen-key",
        "Old <o@example.org>",
        "ed25519",
        "sign",
        "1y",
    ]);
    other.gpg(&["--output", "old.key", "--export-secret-keys"]);
    other.ok("key import old.key", "");
    other.file("image.sif", TINY);
    assert!(other.fails("sign image.sif", "of gpg\n", 255).contains("the key has expired"));
}

#[test]
fn raw_keys_of_openssl_sign_and_verify() {
    let user = User::new();
    for (number, kind) in [
        &["ed25519"][..],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ]
    .into_iter()
    .enumerate()
    {
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            let output = command.args(arguments).current_dir(user.folder.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(&[&["genpkey", "-out", "private.pem", "-algorithm"], kind].concat());
        openssl(&["pkey", "-in", "private.pem", "-pubout", "-out", "public.pem"]);
        let image = user.file("image.sif", TINY);
        user.ok("sign --key private.pem image.sif", "");
        user.ok("verify --key public.pem image.sif", "");
        check_with_openssl(&user, &image, kind);
        let mut forged = std::fs::read(&image).unwrap();
        forged[40959] ^= 1;
        user.file("forged.sif", &forged);
        let why = user.fails("verify --key public.pem forged.sif", "", 255);
        assert!(why.contains("data object integrity compromised: 3"), "{number}: {why}");
    }
}

/// OpenSSL takes the signature for one of the text that DSSE says is signed.
fn check_with_openssl(user: &User, image: &Path, kind: &[&str]) {
    use base64::Engine;
    let envelope = std::fs::read(user.signature(image)).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let decoded = |value: &serde_json::Value| {
        base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
    };
    let payload = decoded(&envelope["payload"]);
    let head = format!("DSSEv1 40 application/vnd.sylabs.sif-metadata+json {} ", payload.len());
    user.file("text", &[head.as_bytes(), &payload].concat());
    user.file("raw", &decoded(&envelope["signatures"][0]["sig"]));
    let arguments: &[&str] = match kind[0] {
        "ed25519" => &[
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "public.pem",
            "-rawin",
            "-in",
            "text",
            "-sigfile",
            "raw",
        ],
        _ => &["dgst", "-sha256", "-verify", "public.pem", "-signature", "raw", "text"],
    };
    let output = Command::new("openssl").args(arguments).current_dir(user.folder.path()).output().unwrap();
    assert!(output.status.success(), "{kind:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_programs_signature_verifies_once_its_key_is_known() {
    let user = User::new();
    user.file("signed.sif", SIGNED);
    user.file("signer.asc", SIGNER);
    let why = user.fails("verify signed.sif", "", 255);
    assert!(why.contains(&format!("signature made by unknown entity {SIGNER_FINGERPRINT}")), "{why}");
    assert!(why.contains("'key import'"), "{why}");
    user.ok("key import signer.asc", "");
    let json: serde_json::Value = serde_json::from_str(&user.ok("verify --json signed.sif", "")).unwrap();
    assert_eq!(json["Signatures"], 1);
    assert_eq!(json["SignerKeys"].as_array().unwrap().len(), 3);
    let signer = &json["SignerKeys"][2]["Signer"];
    assert_eq!(signer["Partition"], "FS");
    assert_eq!(signer["Fingerprint"], SIGNER_FINGERPRINT.to_lowercase());
    assert_eq!([&signer["KeyLocal"], &signer["KeyCheck"], &signer["DataCheck"]], [true, true, true]);
    let mut forged = SIGNED.to_vec();
    forged[40959] ^= 1;
    user.file("forged.sif", &forged);
    let output = user.run("verify --json forged.sif", "");
    assert_eq!(output.status.code(), Some(255));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["SignerKeys"][2]["Signer"]["DataCheck"], false);
}

#[test]
fn part_of_an_image_verified_leaves_a_warning_about_the_rest() {
    let user = User::new();
    user.file("signed.sif", SIGNED);
    user.file("signer.asc", SIGNER);
    user.ok("key import signer.asc", "");
    let output = user.run("verify --sif-id 3 signed.sif", "");
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("WARNING: Not verified: objects 1, 2\n"), "{said}");
}

#[test]
fn importing_twice_exporting_nothing_and_removing_what_is_not_there_fail_as_scripts_expect() {
    let user = User::new();
    user.file("signer.asc", SIGNER);
    user.file("none.asc", b"no key\n");
    assert!(user.fails("key export x", "", 10).contains("keyring is empty"));
    user.file("image.sif", TINY);
    assert!(user.fails("sign image.sif", "", 255).contains("keyring is empty"));
    assert!(user.fails("key import none.asc", "", 2).contains("ERROR:   key import command failed"));
    user.ok("key import signer.asc", "");
    let twice = user.fails("key import signer.asc", "", 2);
    assert!(twice.contains(&format!("fingerprint {SIGNER_FINGERPRINT} already belongs")), "{twice}");
    assert!(user.fails("key remove ABCD", "", 255).contains("no key matching given fingerprint found"));
    let listing = user.ok("key list", "");
    let expected = format!(
        "0) U: Sample Key (test only) <sample@example.org>\n   C: 2026-11-20 15:00:15 +0000 UTC\n   F: {SIGNER_FINGERPRINT}\n   L: 4096\n   --------\n"
    );
    assert!(listing.starts_with("Public key listing (") && listing.ends_with(&expected), "{listing}");
}

#[test]
fn one_of_several_keys_is_exported_by_its_number() {
    let user = User::new();
    user.file("signer.asc", SIGNER);
    user.ok("key import signer.asc", "");
    newpair(&user);
    assert!(user.fails("key export x", "2\n", 10).contains("not one of the numbers"));
    assert!(
        user.ok("key export x", "0\n")
            .ends_with(&format!("{SIGNER_FINGERPRINT} correctly exported to file: x\n"))
    );
}

#[test]
fn a_terminal_does_not_show_the_passphrase() {
    let user = User::new();
    newpair(&user);
    user.file("image.sif", TINY);
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", concat!(env!("CARGO_BIN_EXE_lamina-keys"), " sign image.sif"), "/dev/null"])
        .current_dir(user.folder.path())
        .env("SINGULARITY_SYPGPDIR", user.folder.path().join("ring"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut typed, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.ends_with("Enter key passphrase : ") {
        shown.read_exact(&mut byte).unwrap();
        seen.push(byte[0].into());
    }
    typed.write_all(b"secret\n").unwrap();
    shown.read_to_string(&mut seen).unwrap();
    assert!(child.wait().unwrap().success(), "{seen}");
    assert!(!seen.contains("secret") && seen.contains("Signature created"), "{seen}");
}

#[test]
fn a_folder_of_rings_can_be_named() {
    let user = User::new();
    user.file("signer.asc", SIGNER);
    user.ok("key import --keysdir elsewhere signer.asc", "");
    assert!(user.folder.path().join("elsewhere/pgp-public").exists());
    assert!(!user.folder.path().join("ring").exists());
}

#[test]
fn a_new_key_is_asked_for_and_needs_consent_to_have_no_passphrase() {
    let user = User::new();
    let refused = user.fails("key newpair -b 2048", "Ada\nada@example.org\n\n\n\nn\n", 2);
    assert!(refused.contains("could not collect user input: empty passphrase"), "{refused}");
    let refused = user.fails("key newpair -b 2048 -N A(b) -E x -C x -P x", "", 2);
    assert!(refused.contains("invalid characters"), "{refused}");
    user.ok("key newpair -b 2048", "Ada\nada@example.org\n\n\n\ny\n");
    assert!(user.ok("key list", "").contains("0) U: Ada () <ada@example.org>\n"));
    user.file("image.sif", TINY);
    user.ok("sign image.sif", "");
}
