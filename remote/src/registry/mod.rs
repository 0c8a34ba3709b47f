//! One repository of an OCI registry: manifests and blobs by name and digest.
//!
//! This is the only door through which the network is reached, and the only place with asynchronous code: a call
//! returns when its work is done, or fails when the command is asked to end.

mod credentials;
mod download;
mod logins;
mod upload;

pub(crate) use credentials::{Access, credentials_file};
pub(crate) use logins::Logins;

use crate::digest::check;
use crate::documents::{self, Answer, Platform};
use crate::platform;
use crate::source::Found;
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Interrupts;
use frontend::message::{self, shown};
use frontend::oci_sif::media_type;
use frontend::sif::Digest;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use std::error::Error;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a server may take to accept a connection.
const CONNECT_SECONDS: u64 = 30;
/// How long a server may be silent.
const SILENCE_SECONDS: u64 = 60;

/// How often to look whether the command was asked to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A repository, and how to get at it.
pub(crate) struct Registry<'a> {
    client: Client,
    auth: RegistryAuth,
    runtime: Runtime,
    interrupts: &'a Interrupts,
    reference: Reference,
    /// As messages name it.
    name: String,
}

impl<'a> Registry<'a> {
    /// Prepares to speak with the registry that a reference names. Nothing is sent yet.
    ///
    /// # Errors
    /// The reference is none; the credentials cannot be read.
    pub(crate) fn of(
        scheme: &str,
        reference: &str,
        access: &Access<'_>,
        interrupts: &'a Interrupts,
    ) -> Outcome<Self> {
        let name = shown(format!("{scheme}://{reference}"));
        let reference: Reference = reference
            .parse()
            .map_err(|error| Failure::new(format!("{name} names no image of a registry: {error}")))?;
        let auth = access.credentials(&reference)?;
        Self::with(reference, name, auth, access, interrupts)
    }

    fn with(
        reference: Reference,
        name: String,
        auth: RegistryAuth,
        access: &Access<'_>,
        interrupts: &'a Interrupts,
    ) -> Outcome<Self> {
        let config = ClientConfig {
            protocol: if access.plain_http() { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(Duration::from_secs(CONNECT_SECONDS)),
            read_timeout: Some(Duration::from_secs(SILENCE_SECONDS)),
            user_agent: concat!("lamina/", env!("CARGO_PKG_VERSION")),
            https_proxy: proxy(&["https_proxy", "HTTPS_PROXY"]),
            http_proxy: proxy(&["http_proxy"]),
            no_proxy: proxy(&["no_proxy", "NO_PROXY"]),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).doing(|| "preparing to speak with a registry".into())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .doing(|| "preparing to speak with a registry".into())?;
        Ok(Self { client, auth, runtime, interrupts, reference, name })
    }

    /// Checks that this is the name of a registry, or of a repository in one.
    ///
    /// # Errors
    /// It is neither.
    pub(crate) fn check_name(registry: &str) -> Outcome<()> {
        some_repository(registry).map(drop)
    }

    /// Checks that a registry takes these for the credentials of a user.
    ///
    /// # Errors
    /// It does not, or cannot be reached.
    pub(crate) fn check_login(
        registry: &str,
        (user, password): (&str, &str),
        access: &Access<'_>,
        interrupts: &'a Interrupts,
    ) -> Outcome<()> {
        let auth = RegistryAuth::Basic(user.into(), password.into());
        let registry = Self::with(some_repository(registry)?, shown(registry), auth, access, interrupts)?;
        let doing = || format!("logging in to {}", registry.name);
        let explained = |error: OciDistributionError| match error {
            OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::UnauthorizedError { .. } => Failure::new(format!(
                "while {}: the registry takes neither this name nor this password",
                doing()
            ))
            .hint("Check both; some registries want a token for a password"),
            error => error.explain(&doing()),
        };
        let asking = async {
            let pull = RegistryOperation::Pull;
            let token = registry.client.auth(&registry.reference, &registry.auth, pull).await?;
            if token.is_some() {
                // Who gives tokens has looked at the password.
                return Ok(());
            }
            // Others look at it with every request, whether what is asked for is there or not.
            let (reference, auth) = (&registry.reference, &registry.auth);
            match registry.client.pull_manifest_raw(reference, auth, &[media_type::MANIFEST]).await {
                Ok(_)
                | Err(
                    OciDistributionError::ImageManifestNotFoundError(_)
                    | OciDistributionError::RegistryError { .. }
                    | OciDistributionError::ServerError { code: 404, .. },
                ) => Ok(()),
                Err(error) => Err(error),
            }
        };
        registry.wait(doing, async { asking.await.map_err(explained) })
    }

    /// The repository's last name and the tag, which a file takes its name from.
    pub(crate) fn last_name(&self) -> (&str, &str) {
        let repository = self.reference.repository();
        let name = repository.rsplit('/').next().unwrap_or(repository);
        (name, self.reference.tag().unwrap_or("latest"))
    }

    /// The image for a platform.
    ///
    /// # Errors
    /// There is none, or the registry cannot be reached or refuses.
    pub(crate) fn image(&self, platform: &Platform) -> Outcome<Found> {
        let (bytes, digest) = self.manifest(&self.reference)?;
        match documents::read_answer(&bytes)? {
            Answer::Manifest(manifest) => Ok(Found { bytes, digest, manifest }),
            Answer::Index(entries) => {
                let entry = platform::choose(&entries, platform)?;
                let digest = entry.digest;
                let one = self.reference.clone_with_digest(digest.to_string());
                let (bytes, came) = self.manifest(&one)?;
                check(came, digest, "the manifest")?;
                let manifest = documents::read_manifest(&bytes)?;
                Ok(Found { bytes, digest, manifest })
            }
        }
    }

    fn manifest(&self, reference: &Reference) -> Outcome<(Vec<u8>, Digest)> {
        const ACCEPTED: [&str; 4] =
            [media_type::MANIFEST, media_type::DOCKER_MANIFEST, media_type::INDEX, media_type::DOCKER_INDEX];
        let (bytes, _) = self.wait(
            || format!("fetching the manifest of {}", self.name),
            self.client.pull_manifest_raw(reference, &self.auth, &ACCEPTED),
        )?;
        let digest = Digest::of(&bytes);
        if let Some(named) = reference.digest() {
            check(digest, crate::digest::parse(named)?, "the manifest")?;
        }
        Ok((bytes.to_vec(), digest))
    }

    /// Waits for some work, or for the request to end.
    fn wait<T, E: Explained>(
        &self,
        doing: impl Fn() -> String,
        work: impl Future<Output = Result<T, E>>,
    ) -> Outcome<T> {
        self.runtime.block_on(async {
            let asked_to_end = async {
                while !self.interrupts.pending() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::select! {
                done = work => done.map_err(|error| error.explain(&doing())),
                () = asked_to_end => Err(Failure::new("interrupted")),
            }
        })
    }
}

/// A repository of a registry, to ask something by; it need not be there.
fn some_repository(registry: &str) -> Outcome<Reference> {
    let wrong = || Failure::new(format!("{} is no name of a registry", shown(registry)));
    let reference: Reference = format!("{registry}/login-check").parse().map_err(|_| wrong())?;
    let host = registry.split('/').next().unwrap_or_default();
    if reference.registry() == host { Ok(reference) } else { Err(wrong()) }
}

/// The value of the first of some variables that is set.
fn proxy(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// An error that can say what to do about it.
trait Explained {
    fn explain(self, doing: &str) -> Failure;
}

impl Explained for Failure {
    fn explain(self, _: &str) -> Failure {
        self
    }
}

impl Explained for OciDistributionError {
    fn explain(self, doing: &str) -> Failure {
        use OciDistributionError::{AuthenticationFailure, ImageManifestNotFoundError, UnauthorizedError};
        let failure = Failure::new(format!("while {doing}: {}", chain(&self)));
        match &self {
            UnauthorizedError { .. } | AuthenticationFailure(_) => failure.hint(
                "Log in with 'registry login', or check the name: many registries say this of what does not exist",
            ),
            ImageManifestNotFoundError(_) => failure.hint("Check the name and the tag"),
            Self::RequestError(error) if error.is_connect() => failure
                .hint("Check the name of the registry and the network; one without encryption needs --no-https"),
            _ => failure,
        }
    }
}

/// What an error says, and what the errors say that led to it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let mut said: Vec<String> = Vec::new();
    for text in causes.map(|error| shown(error.to_string())) {
        // Some errors repeat their causes.
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

/// Tells what is being tried again, and why.
fn tell_retry(what: &str, error: &Failure) {
    message::verbose(format!("Trying again to fetch {what}: {error}"));
}
