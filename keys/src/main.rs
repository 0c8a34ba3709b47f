//! `lamina-keys`, which `lamina` becomes for the commands that sign, verify and keep keys.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    frontend::cli::main_of(keys::HANDLERS)
}
