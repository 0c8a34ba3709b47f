//! What keeps the house true: facts about the source that a reader relies on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const MEMBERS: [&str; 7] = ["protocol", "config", "starter-suid", "frontend", "keys", "remote", "tests"];

/// Text of a file of this project.
fn text(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Rust files below a folder, by their path from the root.
fn sources(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).expect("it is a folder") {
            let path = folder.join(entry.expect("it can be read").file_name());
            if Path::new(ROOT).join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    files
}

/// The lines of a file that are not comments.
fn code(path: &str) -> Vec<String> {
    text(path).lines().map(str::trim).filter(|line| !line.starts_with("//")).map(str::to_owned).collect()
}

/// Names in `[dependencies]` of a member.
fn dependencies(member: &str) -> BTreeSet<String> {
    let manifest = text(format!("{member}/Cargo.toml"));
    let section =
        manifest.split("\n[").find(|section| section.starts_with("dependencies]")).unwrap_or_default();
    section
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word)
}

#[test]
fn members_know_only_those_they_may_know() {
    for (member, may_know) in [
        ("protocol", &[][..]),
        ("config", &[]),
        ("starter-suid", &["protocol", "config"]),
        ("frontend", &["protocol", "config"]),
        ("keys", &["frontend"]),
        ("remote", &["protocol", "frontend"]),
        ("tests", &["protocol"]),
    ] {
        let known: Vec<String> =
            dependencies(member).into_iter().filter(|name| MEMBERS.contains(&name.as_str())).collect();
        assert!(known.iter().all(|name| may_know.contains(&name.as_str())), "{member} knows {known:?}");
    }
    assert!(dependencies("config").is_empty(), "config has no dependencies");
}

#[test]
fn unsafe_code_is_in_sys_and_says_why_it_is_safe() {
    for member in MEMBERS {
        let folder = if member == "tests" { "tests/harness".to_owned() } else { format!("{member}/src") };
        for file in sources(&folder) {
            let at_home = file.contains("/sys/") || file.ends_with("/sys.rs");
            let count = code(&file).iter().filter(|line| has_word(line, "unsafe")).count();
            assert!(at_home || count == 0, "{file} has unsafe code");
            let reasons = text(&file).matches("// SAFETY: ").count();
            assert!(reasons >= count, "{file}: {count} unsafe lines, {reasons} reasons");
        }
    }
}

#[test]
fn crates_of_the_starter_enter_by_their_doors() {
    for (name, doors) in [
        ("bincode", &["protocol/src/frame.rs"][..]),
        ("libmount", &["starter-suid/src/proc.rs"]),
        ("landlock", &["starter-suid/src/mounter/confine.rs"]),
        ("seccompiler", &["starter-suid/src/mounter/confine.rs"]),
        ("syslog", &["starter-suid/src/audit_log.rs"]),
        (
            "linux_raw_sys",
            &[
                "starter-suid/src/mounter/confine.rs",
                "starter-suid/src/mounter/loop_device.rs",
                "starter-suid/src/sys.rs",
            ],
        ),
    ] {
        for file in sources("protocol/src").into_iter().chain(sources("starter-suid/src")) {
            let enters = code(&file).iter().any(|line| line.contains(&format!("{name}::")));
            assert!(!enters || doors.contains(&file.as_str()), "{name} enters through {file}");
        }
    }
}

#[test]
fn every_crate_of_the_starter_is_judged() {
    let readme = text("starter-suid/README.md");
    let table = readme.split("## Crates it links").nth(1).expect("there is a table of crates");
    for name in dependencies("starter-suid").union(&dependencies("protocol")) {
        assert!(table.contains(&format!("`{name}`")), "the starter's README does not judge {name}");
    }
}

#[test]
fn everything_linked_into_the_starter_is_listed_with_its_version() {
    let readme = text("starter-suid/README.md");
    let listed: BTreeSet<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("All that is linked"))
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .map(crate_of)
        .collect();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let tree = linked("starter-suid", target);
        assert_eq!(tree.lines().map(crate_of).collect::<BTreeSet<_>>(), listed, "{target}");
    }
}

/// What cargo says is linked into a member: its tree without what only the compiler loads.
fn linked(member: &str, target: &str) -> String {
    let command = ["tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target];
    let output = Command::new(env!("CARGO"))
        .args(command)
        .args(["--package", member])
        .current_dir(ROOT)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

/// `nix v0.31.3` of a line of a tree.
fn crate_of(line: &str) -> &str {
    let line = line.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    line.split(" (").next().unwrap_or(line)
}

#[test]
fn every_crate_comes_from_the_registry_with_a_checksum() {
    let lock = text("Cargo.lock");
    let crates: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    assert!(crates.len() > MEMBERS.len());
    for entry in crates {
        let name = entry.lines().find_map(|line| line.strip_prefix("name = ")).expect("a crate has a name");
        let ours = MEMBERS.contains(&name.trim_matches('"'));
        let from_registry = entry
            .contains("source = \"registry+https://github.com/rust-lang/crates.io-index\"")
            && entry.contains("checksum = ");
        assert_ne!(ours, from_registry, "{name}");
    }
}

#[test]
fn policy_asks_nobody() {
    for line in code("starter-suid/src/policy.rs") {
        for outside in ["std::fs", "std::io", "std::env", "std::time", "nix::", "sys::", "libc::"] {
            assert!(!line.contains(outside), "policy does more than decide: {line}");
        }
    }
}

#[test]
fn the_starters_reading_order_names_every_module() {
    let main = code("starter-suid/src/lib.rs");
    let readme = text("starter-suid/README.md");
    for module in main.iter().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        assert!(
            readme.contains(&format!("`{module}`")) || readme.contains(&format!("`{module}/`")),
            "{module}"
        );
    }
}

/// What runs as root, or could: members that are linked into the starter.
const PRIVILEGED: [&str; 3] = ["starter-suid/src", "protocol/src", "config/src"];

/// Lines of the privileged members that are neither empty, nor comments, nor tests.
fn privileged_code() -> Vec<String> {
    let files =
        PRIVILEGED.iter().flat_map(|folder| sources(folder)).filter(|file| !file.ends_with("tests.rs"));
    let of_file = |file: String| {
        let lines = code(&file).into_iter().take_while(|line| line != "#[cfg(test)]");
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    files.flat_map(of_file).collect()
}

/// The number that the starter's README gives for something.
fn stated(what: &str) -> usize {
    let readme = text("starter-suid/README.md");
    let table = readme.split("## How much it is").nth(1).expect("there is a table of sizes");
    let row = table.lines().find(|line| line.starts_with(&format!("| {what} "))).expect("a row");
    let number = row.trim_matches('|').split('|').nth(1).expect("two columns").trim().replace(',', "");
    number.parse().expect("a number")
}

#[test]
fn what_runs_as_root_is_as_small_as_the_readme_says() {
    const LINES_OF_SLACK: usize = 200;
    let lines = privileged_code();
    let stated_lines = stated("Lines of code, at most");
    assert!(lines.len() <= stated_lines, "{} lines of code", lines.len());
    assert!(lines.len() + LINES_OF_SLACK >= stated_lines, "only {} lines of code", lines.len());
    let blocks =
        lines.iter().filter(|line| has_word(line, "unsafe") && !line.contains("unsafe_code")).count();
    assert_eq!(blocks, stated("Unsafe blocks"));
    let confine = code("starter-suid/src/mounter/confine.rs").concat();
    let calls: BTreeSet<&str> =
        confine.split("(libc::SYS_").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    assert_eq!(calls.len(), stated("System calls that the mounter may make"));
    let crates: BTreeSet<String> = linked("starter-suid", "x86_64-unknown-linux-gnu")
        .lines()
        .map(|line| crate_of(line).to_owned())
        .filter(|name| MEMBERS.iter().all(|member| !name.starts_with(&format!("{member} "))))
        .collect();
    assert_eq!(crates.len(), stated("Crates of others"));
}

#[test]
fn every_test_file_is_compiled() {
    let manifests = ["tests/fuzz/", "tests/"].map(|folder| (folder, text(format!("{folder}Cargo.toml"))));
    for file in sources("tests") {
        let path = Path::new(&file);
        let name = path.file_stem().expect("it has a name").to_string_lossy();
        let named = manifests
            .iter()
            .filter_map(|(folder, manifest)| Some((file.strip_prefix(folder)?, manifest)))
            .any(|(inside, manifest)| manifest.contains(&format!("\"{inside}\"")));
        let declared = ["main.rs", "lib.rs"].iter().map(|root| path.with_file_name(root)).any(|root| {
            Path::new(ROOT).join(&root).exists()
                && code(&root.display().to_string())
                    .iter()
                    .any(|line| line.ends_with(&format!("mod {name};")))
        });
        assert!(named || declared, "{file} belongs to no program");
    }
}
