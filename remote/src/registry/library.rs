//! `library://`: a library says in which registry an image of its is, and gives a token for it. The rest is as with any
//! other registry.

use super::connection::{CONNECT_PATIENCE, Connection, SILENCE_PATIENCE, USER_AGENT, chain};
use super::{Access, Located};
use crate::documents::DOCUMENT_BYTES_MAX;
use frontend::error::{Doing, Failure, Outcome};
use frontend::message::shown;
use frontend::payload::Dialect;
use oci_client::client::ClientProtocol;
use oci_client::secrets::RegistryAuth;
use reqwest::Url;
use serde::Deserialize;

/// The library of SingularityCE. Apptainer has none unless one is named.
const DEFAULT: &str = "https://library.sylabs.io";

/// What to do without a library.
const INSTEAD: &str = "Libraries keep images for SingularityCE; where a registry has the image, name it docker:// or oras://; \
                       --library https://HOST names another library";

/// An image as it is referred to.
#[derive(PartialEq, Eq, Debug)]
struct Wanted {
    /// Where its library is; `None` is the default.
    host: Option<String>,
    /// What the library calls it.
    name: String,
    tag: String,
}

/// What a library answers.
#[derive(Deserialize)]
struct Redirect {
    #[serde(default)]
    token: String,
    url: String,
    /// The full name, where a short one was asked for.
    #[serde(default)]
    name: String,
}

/// Asks the library of a reference where the image is.
///
/// # Errors
/// The library cannot be reached, does not know the image, or knows no registries.
pub(super) fn locate(reference: &str, access: &Access<'_>, connection: &Connection<'_>) -> Outcome<Located> {
    let wanted = Wanted::read(reference);
    let library = address(&wanted, access)?;
    let asking = || format!("asking the library at {} for {}", shown(library.as_str()), shown(&wanted.name));
    let mut question = library.join("v1/oci-redirect").doing(asking)?;
    question.query_pairs_mut().extend_pairs([
        ("namespace", wanted.name.as_str()),
        ("mapped", "1"),
        ("accessTypes", "pull"),
    ]);
    let answer = connection.wait(asking, async {
        ask(question).await.map_err(|failure| failure.context(format!("while {}", asking())))
    })?;
    let redirect: Redirect = serde_json::from_slice(&answer).map_err(|_| {
        Failure::new(format!("while {}: it does not say in which registry the image is", asking()))
            .hint(INSTEAD)
    })?;
    let malformed = || Failure::new(format!("while {}: it names no usable registry", asking()));
    let registry = Url::parse(&redirect.url).map_err(|_| malformed())?;
    let host = registry.host_str().ok_or_else(malformed)?;
    let host = registry.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let name = if redirect.name.is_empty() { &wanted.name } else { &redirect.name };
    Ok(Located {
        reference: format!("{host}/{name}:{}", wanted.tag).parse().map_err(|_| malformed())?,
        auth: match redirect.token {
            token if token.is_empty() => RegistryAuth::Anonymous,
            token => RegistryAuth::Bearer(token),
        },
        protocol: if registry.scheme() == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
    })
}

async fn ask(question: Url) -> Outcome<Vec<u8>> {
    let failed = |error: reqwest::Error| Failure::new(chain(&error.without_url()));
    let client = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_PATIENCE)
        .read_timeout(SILENCE_PATIENCE)
        .build()
        .map_err(failed)?;
    let mut answer = client.get(question).send().await.map_err(|error| failed(error).hint(INSTEAD))?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 | 404 => {
            return Err(Failure::new("it has no such image for everybody")
                .hint("Check the name; an image that needs a login at a library cannot be fetched"));
        }
        status => return Err(Failure::new(format!("it answers with status {status}")).hint(INSTEAD)),
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(Failure::new("its answer is too long"));
        }
    }
    Ok(bytes)
}

/// Where the library is: in the reference, in `--library`, or where it always was.
fn address(wanted: &Wanted, access: &Access<'_>) -> Outcome<Url> {
    let scheme = if access.plain_http() { "http" } else { "https" };
    let given = access.given.last("library").map(|library| library.to_string_lossy().into_owned());
    let address = match (&wanted.host, given) {
        (Some(host), _) => format!("{scheme}://{host}"),
        (None, Some(given)) => given,
        (None, None) if access.invocation.dialect == Dialect::Singularity => DEFAULT.to_owned(),
        (None, None) => {
            return Err(Failure::new("no library is configured").hint(
                "Name one with --library https://HOST, or the image with docker:// where a registry has it",
            ));
        }
    };
    let mut url = Url::parse(&address)
        .map_err(|_| Failure::new(format!("{} is no address of a library", shown(&address))))?;
    // So that a path in it is kept.
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

impl Wanted {
    fn read(reference: &str) -> Self {
        let (name, tag) = match reference.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (reference, "latest"),
        };
        let name = name.trim_start_matches('/');
        let (host, name) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(first.to_owned()), rest)
            }
            _ => (None, name),
        };
        Self { host, name: name.to_owned(), tag: tag.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_host_or_not() {
        for (reference, host, name, tag) in [
            ("alpine", None, "alpine", "latest"),
            ("library/default/alpine:3.20", None, "library/default/alpine", "3.20"),
            ("lib.example/a/b/c:1", Some("lib.example"), "a/b/c", "1"),
            ("localhost:8080/a/b/c", Some("localhost:8080"), "a/b/c", "latest"),
            ("/a/b/c", None, "a/b/c", "latest"),
            ("a/b/c:sha256.0123", None, "a/b/c", "sha256.0123"),
        ] {
            let wanted = Wanted { host: host.map(Into::into), name: name.into(), tag: tag.into() };
            assert_eq!(Wanted::read(reference), wanted, "{reference}");
        }
    }
}
