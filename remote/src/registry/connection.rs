//! Waiting for servers, and what they and the network say when something is wrong.

use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Interrupts;
use frontend::message::shown;
use oci_client::errors::{OciDistributionError, OciError, OciErrorCode};
use std::error::Error;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a server may take to accept a connection.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a server may be silent.
pub(super) const SILENCE_PATIENCE: Duration = Duration::from_secs(60);
/// What servers are told of this program.
pub(super) const USER_AGENT: &str = concat!("lamina/", env!("CARGO_PKG_VERSION"));
/// What to do about an image that a registry does not have.
const NOT_THERE: &str = "Check the name and the tag";
/// How often to look whether the command was asked to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all that goes over the network runs on.
pub(super) struct Connection<'a> {
    runtime: Runtime,
    interrupts: &'a Interrupts,
}

impl<'a> Connection<'a> {
    /// Prepares it. Nothing is sent yet.
    ///
    /// # Errors
    /// The system lacks the means.
    pub(super) fn new(interrupts: &'a Interrupts) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        Ok(Self { runtime: runtime.doing(|| "preparing to speak with a registry".into())?, interrupts })
    }

    /// Waits for some work, or for the request to end.
    pub(super) fn wait<T, E: Explained>(
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

/// An error that can say what to do about it.
pub(super) trait Explained {
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
            ImageManifestNotFoundError(_) => failure.hint(NOT_THERE),
            Self::RegistryError { envelope, .. } if envelope.errors.iter().any(says_not_there) => {
                failure.hint(NOT_THERE)
            }
            Self::RequestError(error) if error.is_connect() => failure
                .hint("Check the name of the registry and the network; one without encryption needs --no-https"),
            _ => failure,
        }
    }
}

fn says_not_there(error: &OciError) -> bool {
    matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
}

/// What an error says, and what the errors say that led to it.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
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
