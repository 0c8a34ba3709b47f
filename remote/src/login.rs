//! `registry login`, `logout` and `list`.

use crate::prompt;
use crate::registry::{Access, Logins, Registry, credentials_file};
use frontend::cli::answer;
use frontend::cli::given::Given;
use frontend::cli::{Invocation, Stop};
use frontend::error::{Doing, Failure, Outcome};
use frontend::making::Interrupts;
use frontend::message::{self, shown};
use std::ffi::{OsStr, OsString};
use std::io::Read;

/// Longest password that is read.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// `registry login`
pub(crate) fn login(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let registry = named(words.first())?;
    // Before a password is asked for.
    let mut logins = Logins::read(&credentials_file(invocation, given)?)?;
    let (user, password) = credentials(given)?;
    logins.insert(&registry, &user, &password)?;
    let interrupts = Interrupts::hold()?;
    Registry::check_login(&registry, (&user, &password), &Access { invocation, given }, &interrupts)?;
    logins.write()?;
    message::info(format!("Token stored in {}", shown(logins.path())));
    Ok(())
}

/// `registry logout`
pub(crate) fn logout(invocation: &Invocation, given: &Given, words: &[OsString]) -> Result<(), Stop> {
    let registry = named(words.first())?;
    let mut logins = Logins::read(&credentials_file(invocation, given)?)?;
    if !logins.forget(&registry) {
        return Err(Failure::new(format!("{} has no login for {registry}", shown(logins.path())))
            .hint(format!("'{} registry list' shows which there are", invocation.program))
            .into());
    }
    logins.write()?;
    message::info("Logout succeeded");
    Ok(())
}

/// `registry list`
pub(crate) fn list(invocation: &Invocation, given: &Given, _: &[OsString]) -> Result<(), Stop> {
    let logins = Logins::read(&credentials_file(invocation, given)?)?;
    let rows =
        logins.list().map(|(registry, user)| vec![format!("docker://{}", shown(registry)), shown(user)]);
    let rows: Vec<_> = std::iter::once(vec!["URI".into(), "USER".into()]).chain(rows).collect();
    Ok(answer::print(answer::in_columns(&rows))?)
}

/// The registry that is meant, as files of credentials have it.
fn named(word: Option<&OsString>) -> Outcome<String> {
    let word = word.map(OsString::as_os_str).and_then(OsStr::to_str).unwrap_or_default();
    let (scheme, registry) = word.split_once("://").unwrap_or(("docker", word));
    let registry = registry.trim_end_matches('/');
    if !["docker", "oras", "oci", "http", "https"].contains(&scheme) {
        return Err(Failure::new(format!(
            "{} is no registry: unsupported transport type: {}",
            shown(word),
            shown(scheme)
        ))
        .hint("Name it as docker://HOST or oras://HOST"));
    }
    Registry::check_name(registry)?;
    Ok(registry.to_owned())
}

/// The user's name and password: given, or asked for.
fn credentials(given: &Given) -> Outcome<(String, String)> {
    let text = |flag| given.last(flag).map(|value| value.to_string_lossy().into_owned());
    let (user, password) = (text("username").filter(|user| !user.is_empty()), text("password"));
    if given.is_on("password-stdin") {
        if password.is_some() {
            return Err(Failure::new("--password and --password-stdin cannot be used together"));
        }
        let user = user.ok_or_else(|| Failure::new("--password-stdin needs --username"))?;
        return Ok((user, from_standard_input()?));
    }
    let user = match user {
        Some(user) => user,
        None => prompt::line("Enter Username: ")?,
    };
    let password = match password {
        Some(password) => password,
        None => prompt::secret("Enter Password / Token: ")?,
    };
    Ok((user, password))
}

fn from_standard_input() -> Outcome<String> {
    let mut password = String::new();
    let input = std::io::stdin().take(PASSWORD_BYTES_MAX);
    { input }.read_to_string(&mut password).doing(|| "reading the password from standard input".into())?;
    let password = password.trim_end_matches(['\n', '\r']).to_owned();
    if password.is_empty() {
        return Err(Failure::new("standard input holds no password"));
    }
    Ok(password)
}
