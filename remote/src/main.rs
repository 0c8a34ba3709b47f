//! `lamina-remote`, which `lamina` becomes for whatever needs the network.
#![forbid(unsafe_code)]

mod archive;
mod cache;
mod digest;
mod documents;
mod fetch;
mod image;
mod layers;
mod local;
mod login;
mod native;
mod oci_sif;
mod pack;
mod platform;
mod prompt;
mod pull;
mod push;
mod registry;
mod source;

use frontend::cli::delegate::Handler;

/// The commands, by name.
const COMMANDS: &[Handler] = &[
    ("build", |invocation, given, words| fetch::for_use(invocation, given, words.get(1))),
    ("cache clean", cache::clean),
    ("cache list", cache::list),
    ("exec", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
    ("explain", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
    ("instance run", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
    ("instance start", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
    ("pull", pull::pull),
    ("push", push::push),
    ("registry list", login::list),
    ("registry login", login::login),
    ("registry logout", login::logout),
    ("run", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
    ("shell", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
    ("test", |invocation, given, words| fetch::for_use(invocation, given, words.first())),
];

fn main() -> std::process::ExitCode {
    frontend::cli::main_of(COMMANDS)
}
