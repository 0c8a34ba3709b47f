//! A registry of a test's own on this machine.

use crate::oci::Layout;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the registry may take to answer.
const START: Duration = Duration::from_secs(20);

/// The user and password of a registry that wants them.
pub const LOGIN: (&str, &str) = ("somebody", "geheim");
/// The same as such a registry's file has them.
const PASSWORDS: &str = "somebody:$2y$05$abcdefghijklmnopqrstuuVWu8RjbNovPZWAMRdd7iqaaG0mI53Uu\n";

/// Debian's `docker-registry`, on a free port of the loopback interface, with plain HTTP and a storage of its own. It ends
/// with this value.
#[derive(Debug)]
pub struct Registry {
    server: Child,
    address: String,
    storage: TempDir,
}

impl Registry {
    /// Starts one.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that opens to [`LOGIN`] only.
    pub fn start_with_login() -> Self {
        Self::start_with("auth: {htpasswd: {realm: test, path: STORAGE/htpasswd}}\n")
    }

    fn start_with(more: &str) -> Self {
        let storage = tempfile::tempdir().expect("a temporary folder can be made");
        // The port is free until the registry takes it, or another test in the meantime: then it ends, and so do we.
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = free.local_addr().expect("it has an address").to_string();
        drop(free);
        let config = storage.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}/data}}\n  delete: {{enabled: true}}\n\
             http: {{addr: \"{address}\"}}\n{more}",
            storage.path().display()
        );
        let text = text.replace("STORAGE", &storage.path().display().to_string());
        std::fs::write(storage.path().join("htpasswd"), PASSWORDS).expect("it is our folder");
        std::fs::write(&config, text).expect("it is our folder");
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry can be started");
        let mut registry = Self { server, address, storage };
        let started = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            let ended = registry.server.try_wait().expect("it is our child");
            assert!(
                ended.is_none() && started.elapsed() < START,
                "docker-registry does not answer: {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Its host and port, as references begin.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `docker://` and the name of an image in it.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Where it keeps the blob of a digest, which begins with `sha256:`.
    pub fn blob(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.storage.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// The manifest of an image in it, as a program of other people gets it.
    pub fn manifest(&self, name: &str) -> serde_json::Value {
        let text = skopeo(&["inspect", "--raw", "--tls-verify=false", &self.image(name)]);
        serde_json::from_str(&text).expect("a manifest is JSON")
    }

    /// Copies an image into it, with a program of other people.
    pub fn hold(&self, layout: &Layout, name: &str) {
        let from = format!("oci:{}", layout.reference());
        let (user, password) = LOGIN;
        let login = format!("--dest-creds={user}:{password}");
        skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &login, &from, &self.image(name)]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Runs skopeo, which must succeed, and returns what it prints.
pub fn skopeo(arguments: &[&str]) -> String {
    let done = Command::new("skopeo").args(arguments).output().expect("skopeo can be started");
    assert!(done.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("skopeo prints text")
}
