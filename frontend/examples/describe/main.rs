//! Writes the man pages and the shells' completions into a folder: `cargo run -p frontend --example describe -- FOLDER`.
//!
//! All of it comes from the definition of the command line and from the table of directives. It is an example because
//! what it links must not end up in the installed program.

mod man;

use clap_complete::{Shell, generate_to};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Names that the program answers to beside its own: their completions are installed only where the names are free.
const OTHER_NAMES: [&str; 2] = ["singularity", "apptainer"];

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: describe FOLDER"))?;
    for part in ["man", "completions", "completions/other-names"] {
        // Nothing of a command that is no more may stay.
        fs::remove_dir_all(folder.join(part)).or_else(unless_absent)?;
        fs::create_dir_all(folder.join(part))?;
    }
    for (name, page) in man::pages() {
        fs::write(folder.join("man").join(name), page.render())?;
    }
    let completions = folder.join("completions");
    complete("lamina", &completions)?;
    OTHER_NAMES.iter().try_for_each(|name| complete(name, &completions.join("other-names")))
}

fn complete(name: &str, folder: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut frontend::cli::help::tree(name), name, folder)?;
    }
    Ok(())
}

fn unless_absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
