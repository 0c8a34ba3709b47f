//! Who the user is to a registry.
//!
//! In this order: the command line and variables; `--authfile`; `docker-config.json` in the user's configuration
//! directory. Files have Docker's form. Nothing here is ever shown or given to a program as an argument.

use super::logins::is_hub;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use frontend::cli::Invocation;
use frontend::cli::given::Given;
use frontend::error::{Doing, Failure, Outcome};
use frontend::message::shown;
use oci_client::Reference;
use oci_client::client::ClientProtocol;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Docker Hub's key in files, whatever its host is called today.
pub(super) const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// Longest file of credentials.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What was given that concerns registries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// How the program was called.
    pub(crate) invocation: &'a Invocation,
    /// The flags.
    pub(crate) given: &'a Given,
}

/// A file of credentials.
#[derive(Default, Deserialize, Debug)]
#[serde(rename_all = "camelCase", default)]
struct Credentials {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize, Debug)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Access<'_> {
    /// Whether the registry speaks plain HTTP.
    pub(crate) fn plain_http(&self) -> bool {
        self.given.is_on("no-https")
    }

    /// How the registry is spoken with.
    pub(crate) fn protocol(&self) -> ClientProtocol {
        if self.plain_http() { ClientProtocol::Http } else { ClientProtocol::Https }
    }

    /// The credentials for the registry of a reference; anonymous if there are none.
    ///
    /// # Errors
    /// They are incomplete, or their file cannot be read.
    pub(crate) fn credentials(&self, reference: &Reference) -> Outcome<RegistryAuth> {
        if let Some(auth) = self.given_directly()? {
            return Ok(auth);
        }
        let path = credentials_file(self.invocation, self.given)?;
        let credentials = read(&path, self.given.last("authfile").is_some())?;
        credentials.lookup(reference).map_err(|failure| failure.context(shown(&path)))
    }

    fn given_directly(&self) -> Outcome<Option<RegistryAuth>> {
        let value = |flag: &str, variable: &str| {
            let given = self.given.last(flag).or_else(|| self.invocation.host.get(variable));
            given.map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
        };
        let user = value("docker-username", "DOCKER_USERNAME");
        let password = value("docker-password", "DOCKER_PASSWORD");
        if self.given.is_on("docker-login") {
            let user = match user {
                Some(user) => user,
                None => super::super::prompt::line("Enter Docker Username: ")?,
            };
            return Ok(Some(RegistryAuth::Basic(
                user,
                super::super::prompt::secret("Enter Docker Password: ")?,
            )));
        }
        match (user, password) {
            (Some(user), Some(password)) => Ok(Some(RegistryAuth::Basic(user, password))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Failure::new("a user name for the registry is given, but no password")
                .hint("Set DOCKER_PASSWORD, or use --docker-login to be asked for it")),
            (None, Some(_)) => Err(Failure::new("a password for the registry is given, but no user name")),
        }
    }
}

/// The file of credentials: `--authfile`, or the user's own.
///
/// # Errors
/// The user's home is not known.
pub(crate) fn credentials_file(invocation: &Invocation, given: &Given) -> Outcome<PathBuf> {
    match given.last("authfile") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(invocation.configuration_directory()?.join("docker-config.json")),
    }
}

/// Reads a file of credentials. One that was not asked for may be missing.
fn read(path: &Path, asked_for: bool) -> Outcome<Credentials> {
    let Some(text) = read_text(path, asked_for)? else { return Ok(Credentials::default()) };
    // What the parser says may quote the file.
    serde_json::from_slice(&text)
        .map_err(|_| Failure::new(format!("{} is not a file in Docker's form", shown(path))))
}

/// The text of such a file; `None` if it is missing and may be.
pub(super) fn read_text(path: &Path, asked_for: bool) -> Outcome<Option<Vec<u8>>> {
    let reading = || format!("reading credentials from {}", shown(path));
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !asked_for => return Ok(None),
        opened => opened.doing(reading)?,
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).doing(reading)?;
    Ok(Some(text))
}

impl Credentials {
    /// Looks a repository up, then its registry.
    fn lookup(&self, reference: &Reference) -> Outcome<RegistryAuth> {
        let registry = reference.registry();
        let whole = format!("{registry}/{}", reference.repository());
        let mut keys = vec![whole.as_str(), registry];
        keys.extend(is_hub(registry).then_some(DOCKER_HUB));
        for key in &keys {
            if let Some(helper) = self.cred_helpers.get(*key) {
                return ask_helper(helper, key);
            }
            let entry = self.auths.iter().find(|(name, _)| same_registry(name, key)).map(|(_, entry)| entry);
            if let Some(auth) = entry.map(Entry::auth).transpose()?.flatten() {
                return Ok(auth);
            }
        }
        match (&self.creds_store, keys.last()) {
            (Some(store), Some(key)) => ask_helper(store, key),
            _ => Ok(RegistryAuth::Anonymous),
        }
    }
}

/// Docker writes some keys as addresses.
fn same_registry(name: &str, key: &str) -> bool {
    let plain = |text: &str| {
        let text = text.trim_start_matches("https://").trim_start_matches("http://");
        text.trim_end_matches('/').to_owned()
    };
    name == key || (key != DOCKER_HUB && plain(name) == key)
}

impl Entry {
    fn auth(&self) -> Outcome<Option<RegistryAuth>> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(RegistryAuth::Bearer(token)));
        }
        if given(&self.identitytoken).is_some() {
            return Err(Failure::new("identity tokens are not supported")
                .hint("Log in with a user name and a password or access token"));
        }
        let Some(auth) = given(&self.auth) else { return Ok(None) };
        let malformed = || Failure::new("an entry is malformed").hint("Log in again with 'registry login'");
        let plain = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let plain = plain.ok_or_else(malformed)?;
        let (user, password) = plain.split_once(':').ok_or_else(malformed)?;
        Ok(Some(RegistryAuth::Basic(user.into(), password.trim_end_matches('\0').into())))
    }
}

/// Asks a credential helper. One that knows nothing of the registry is not an error.
fn ask_helper(name: &str, registry: &str) -> Outcome<RegistryAuth> {
    let program = format!("docker-credential-{name}");
    let asking = || format!("asking {}", shown(&program));
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(Failure::new(format!("{} is no name of a credential helper", shown(name))));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(asking)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not want to know answers all the same.
        let _ = input.write_all(registry.as_bytes());
    }
    let ended = child.wait_with_output().doing(asking)?;
    if !ended.status.success() {
        return Ok(RegistryAuth::Anonymous);
    }
    let answer: Answer = serde_json::from_slice(&ended.stdout)
        .map_err(|_| Failure::new(format!("while {}: it gave no credentials", asking())))?;
    Ok(RegistryAuth::Basic(answer.username, answer.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(file: &str, reference: &str) -> RegistryAuth {
        let credentials: Credentials = serde_json::from_str(file).unwrap();
        credentials.lookup(&reference.parse().unwrap()).unwrap()
    }

    fn basic(user: &str, password: &str) -> RegistryAuth {
        RegistryAuth::Basic(user.into(), password.into())
    }

    #[test]
    fn the_most_particular_entry_is_taken() {
        let entry = |text: &str| format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(text));
        let file = format!(
            r#"{{"auths":{{"r.example":{},"r.example/team/app":{},"https://s.example":{},"{DOCKER_HUB}":{}}},"HttpHeaders":{{}}}}"#,
            entry("all:a:b"),
            entry("app:c"),
            entry("s:d"),
            entry("hub:e")
        );
        assert_eq!(lookup(&file, "r.example/other"), basic("all", "a:b"));
        assert_eq!(lookup(&file, "r.example/team/app:1"), basic("app", "c"));
        assert_eq!(lookup(&file, "s.example/x"), basic("s", "d"));
        assert_eq!(lookup(&file, "alpine"), basic("hub", "e"));
        assert_eq!(lookup(&file, "t.example/x"), RegistryAuth::Anonymous);
        assert_eq!(lookup("{}", "r.example/x"), RegistryAuth::Anonymous);
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_shows_no_secret() {
        for (entry, expected) in
            [(r#"{"auth":"!secret"}"#, "malformed"), (r#"{"identitytoken":"secret"}"#, "not supported")]
        {
            let file = format!(r#"{{"auths":{{"r.example":{entry}}}}}"#);
            let credentials: Credentials = serde_json::from_str(&file).unwrap();
            let refused = credentials.lookup(&"r.example/x".parse().unwrap()).unwrap_err().to_string();
            assert!(refused.contains(expected) && !refused.contains("secret"), "{refused}");
        }
    }
}
