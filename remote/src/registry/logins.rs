//! The file of credentials, changed: who the user is to which registry.
//!
//! It is edited as JSON, so what other programs keep in it stays, in its order.

use super::credentials::{DOCKER_HUB, read_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use frontend::error::{Doing, Failure, Outcome};
use frontend::file::{Existing, NewFile};
use frontend::message::shown;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Permissions of the file, and of a directory that is made for it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// What the file holds.
#[derive(Debug)]
pub(crate) struct Logins {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Logins {
    /// Reads the file; one that is missing holds nothing.
    ///
    /// # Errors
    /// It cannot be read, or does not have Docker's form.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let malformed = || Failure::new(format!("{} is not a file in Docker's form", shown(path)));
        let fields = match read_text(path, false)? {
            None => Map::new(),
            // What the parser says may quote the file.
            Some(text) => serde_json::from_slice(&text).map_err(|_| malformed())?,
        };
        if fields.get("auths").is_some_and(|auths| !auths.is_object()) {
            return Err(malformed());
        }
        Ok(Self { path: path.to_owned(), fields })
    }

    /// The registries that it has credentials for, each with the user's name as far as it is told.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&str, String)> {
        let auths = self.fields.get("auths").and_then(Value::as_object);
        auths.into_iter().flatten().map(|(key, entry)| {
            let plain = entry.get("auth").and_then(Value::as_str).and_then(|auth| STANDARD.decode(auth).ok());
            let user = plain.unwrap_or_default().split(|byte| *byte == b':').next().map(<[u8]>::to_vec);
            (host(key), String::from_utf8_lossy(&user.unwrap_or_default()).into_owned())
        })
    }

    /// Records credentials.
    ///
    /// # Errors
    /// Another program keeps those of this registry.
    pub(crate) fn insert(&mut self, registry: &str, user: &str, password: &str) -> Outcome<()> {
        let key = key(registry);
        let helper = self.fields.get("credHelpers").and_then(|helpers| helpers.get(key));
        if let Some(helper) = helper.and_then(Value::as_str) {
            return Err(Failure::new(format!(
                "the credentials for {} are kept by docker-credential-{}",
                shown(registry),
                shown(helper)
            ))
            .hint(format!("Log in with docker or podman, or take it out of {}", shown(&self.path))));
        }
        self.forget(registry);
        let auths = self.fields.entry("auths").or_insert_with(|| json!({}));
        if let Some(auths) = auths.as_object_mut() {
            auths.insert(key.into(), json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }));
        }
        Ok(())
    }

    /// Takes credentials out, and tells whether there were any.
    pub(crate) fn forget(&mut self, registry: &str) -> bool {
        let Some(auths) = self.fields.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let before = auths.len();
        auths.retain(|key, _| host(key) != registry);
        auths.len() < before
    }

    /// Writes the file, for the user's eyes only.
    ///
    /// # Errors
    /// It cannot be written; it then is as it was.
    pub(crate) fn write(&self) -> Outcome<()> {
        let writing = || format!("writing {}", shown(&self.path));
        let directory = self.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        if let Some(directory) = directory {
            let made = std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
            made.doing(writing)?;
        }
        let mut text = serde_json::to_vec_pretty(&self.fields).doing(writing)?;
        text.push(b'\n');
        let new = NewFile::beside(&self.path, FILE_MODE)?;
        new.file().write_all(&text).doing(writing)?;
        new.publish(Existing::Replace).map(drop)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The key of a registry, or of a repository of one.
fn key(registry: &str) -> &str {
    if is_hub(registry) { DOCKER_HUB } else { registry }
}

/// What is meant by a key; Docker writes some as addresses.
fn host(key: &str) -> &str {
    if key == DOCKER_HUB {
        return "docker.io";
    }
    key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')
}

/// Whether this is one of the names that Docker Hub had over time.
pub(super) fn is_hub(registry: &str) -> bool {
    matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_other_programs_keep_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/docker-config.json");
        let mut logins = Logins::read(&path).unwrap();
        logins.insert("r.example:5000", "me", "a:b").unwrap();
        logins.insert("docker.io", "hub", "c").unwrap();
        logins.write().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            text.replacen('{', r#"{"HttpHeaders": {"a": "b"}, "credHelpers": {"h.example": "x"},"#, 1),
        )
        .unwrap();
        let mut logins = Logins::read(&path).unwrap();
        let listed: Vec<_> = logins.list().map(|(registry, user)| format!("{registry} {user}")).collect();
        assert_eq!(listed, ["r.example:5000 me", "docker.io hub"]);
        assert!(logins.forget("docker.io") && !logins.forget("docker.io"));
        let refused = logins.insert("h.example", "me", "d").unwrap_err().to_string();
        assert_eq!(refused, "the credentials for h.example are kept by docker-credential-x");
        logins.write().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("HttpHeaders") && text.contains("bWU6YTpi") && !text.contains("index.docker"));
    }

    #[test]
    fn a_file_of_another_form_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["", "[]", "secret", r#"{"auths": "secret"}"#] {
            std::fs::write(&path, text).unwrap();
            let refused = Logins::read(&path).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
