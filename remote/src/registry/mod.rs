//! One repository of an OCI registry: manifests and blobs by name and digest.
//!
//! This is the only door through which the network is reached, and the only place with asynchronous code: a call
//! returns when its work is done, or fails when the command is asked to end.

mod connection;
mod credentials;
mod download;
mod library;
mod logins;
mod upload;

pub(crate) use credentials::{Access, credentials_file};
pub(crate) use logins::Logins;

use connection::{CONNECT_PATIENCE, Connection, Explained, SILENCE_PATIENCE, USER_AGENT};

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

/// Where an image is, and as whom and how to get at it.
struct Located {
    reference: Reference,
    auth: RegistryAuth,
    protocol: ClientProtocol,
}

/// A repository, and how to get at it.
pub(crate) struct Registry<'a> {
    client: Client,
    auth: RegistryAuth,
    connection: Connection<'a>,
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
        let connection = Connection::new(interrupts)?;
        let located = if scheme == "library" {
            library::locate(reference, access, &connection)?
        } else {
            let reference: Reference = reference
                .parse()
                .map_err(|error| Failure::new(format!("{name} names no image of a registry: {error}")))?;
            Located { auth: access.credentials(&reference)?, reference, protocol: access.protocol() }
        };
        Self::at(located, name, connection)
    }

    fn at(located: Located, name: String, connection: Connection<'a>) -> Outcome<Self> {
        let Located { reference, auth, protocol } = located;
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_PATIENCE),
            read_timeout: Some(SILENCE_PATIENCE),
            user_agent: USER_AGENT,
            https_proxy: proxy(&["https_proxy", "HTTPS_PROXY"]),
            http_proxy: proxy(&["http_proxy"]),
            no_proxy: proxy(&["no_proxy", "NO_PROXY"]),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).doing(|| "preparing to speak with a registry".into())?;
        Ok(Self { client, auth, connection, reference, name })
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
        let located = Located {
            reference: some_repository(registry)?,
            auth: RegistryAuth::Basic(user.into(), password.into()),
            protocol: access.protocol(),
        };
        let registry = Self::at(located, shown(registry), Connection::new(interrupts)?)?;
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
        registry.connection.wait(doing, async { asking.await.map_err(explained) })
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
        let (bytes, _) = self.connection.wait(
            || format!("fetching the manifest of {}", self.name),
            self.client.pull_manifest_raw(reference, &self.auth, &ACCEPTED),
        )?;
        let digest = Digest::of(&bytes);
        if let Some(named) = reference.digest() {
            check(digest, crate::digest::parse(named)?, "the manifest")?;
        }
        Ok((bytes.to_vec(), digest))
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

/// Tells what is being tried again, and why.
fn tell_retry(what: &str, error: &Failure) {
    message::verbose(format!("Trying again to fetch {what}: {error}"));
}
