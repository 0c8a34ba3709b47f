//! What is written here is read the same by Apptainer, and the other way round.
//!
//! Apptainer need not be on the machine: where it is not, the tests say so and compare nothing. `LAMINA_TEST_APPTAINER`
//! names one that is not on the path.

mod sif;
mod overlays;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The variable that names the program.
const VARIABLE: &str = "LAMINA_TEST_APPTAINER";

/// An Apptainer of this machine, which these tests run as root.
struct Apptainer(PathBuf);

impl Apptainer {
    /// The one that is installed. Says so when there is none.
    fn find() -> Option<Self> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join("apptainer"));
        let found = named.into_iter().chain(on_path).find(|program| is_apptainer(program));
        if found.is_none() {
            // Not by `eprintln`, which is shown only for tests that fail.
            let _ = writeln!(io::stderr(), "There is no Apptainer on this machine: nothing is compared.");
        }
        found.map(Self)
    }

    /// Runs it to its end, whatever that is.
    fn try_run(&self, folder: &Path, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        Command::new(&self.0)
            .args(words)
            .current_dir(folder)
            .output()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.0.display()))
    }

    /// Runs it and returns what it printed. Panics with its words if it fails.
    #[track_caller]
    fn run(&self, folder: &Path, words: &[&str]) -> String {
        let output = self.try_run(folder, words);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apptainer {words:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Whether it is one; the product, too, answers to that name.
fn is_apptainer(program: &Path) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|output| {
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        words.starts_with("apptainer version ") && !words.contains("lamina")
    })
}
