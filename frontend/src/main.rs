//! `lamina`, which answers to `singularity` and `apptainer` too.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    frontend::cli::main()
}
