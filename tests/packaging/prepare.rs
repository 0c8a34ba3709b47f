//! What is installed on machines of the RHEL family, asked of the script itself: it runs with programs on its path
//! that are said to be such a machine's.

use crate::ROOT;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Programs that every machine has.
const BASE: [&str; 14] = [
    "sh", "sed", "grep", "cut", "id", "dirname", "stat", "head", "tail", "sort", "cat", "env", "getent", "tr",
];

/// A bare machine whose package manager is `manager`, has Rust in this version, and writes down what it is told.
struct Bare(TempDir);

impl Bare {
    fn new(manager: &str, rust: &str) -> Self {
        let bare = Self(TempDir::new().unwrap());
        for name in BASE {
            let folder =
                ["/usr/bin", "/bin"].into_iter().find(|folder| Path::new(folder).join(name).exists());
            symlink(format!("{}/{name}", folder.expect("this machine has it too")), bare.path(name)).unwrap();
        }
        let log = bare.path("log");
        bare.program(
            manager,
            &format!(
                "case $* in\n*info*) printf 'Name         : rust\\nVersion      : {rust}\\nRelease      : 1.el9\\n' ;;\n\
                 *) echo \"$0 $*\" >>{} ;;\nesac\n",
                log.display()
            ),
        );
        bare
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).unwrap();
    }

    fn prepare(&self, what: &str) -> Output {
        Command::new("/bin/sh")
            .arg(format!("{ROOT}/packaging/prepare"))
            .arg(what)
            .env_clear()
            .env("PATH", self.0.path())
            .env("HOME", self.0.path())
            .output()
            .unwrap()
    }

    /// The packages that were asked for, one call after the other.
    fn asked(&self) -> Vec<Vec<String>> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let packages = |line: &str| {
            let rest = line.split_once(" install -y ").expect("it is an installation").1.to_owned();
            rest.split(' ').map(str::to_owned).collect()
        };
        log.lines().map(packages).collect()
    }
}

#[test]
fn a_bare_rhel_gets_its_own_names_of_what_is_needed() {
    let bare = Bare::new("dnf", "1.92.0");
    let output = bare.prepare("demo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = bare.asked();
    // What is in /usr/sbin is found there on a Debian too.
    for package in ["make", "gcc", "squashfs-tools", "busybox"] {
        assert!(asked[0].iter().any(|name| name == package), "{package}: {asked:?}");
    }
    assert_eq!(asked[1..], [vec!["glibc-static".to_owned()], vec!["rust".to_owned(), "cargo".to_owned()]]);
}

#[test]
fn the_tests_need_more_and_yum_will_do() {
    let bare = Bare::new("yum", "1.88.0");
    let output = bare.prepare("test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = bare.asked();
    for package in ["gcc-c++", "ShellCheck", "fuse3", "fuse-overlayfs", "squashfuse", "strace", "man-db"] {
        assert!(asked[0].iter().any(|name| name == package), "{package}: {asked:?}");
    }
    for debian in ["g++", "uidmap", "busybox-static", "bsdutils"] {
        assert!(!asked[0].iter().any(|name| name == debian), "{debian} is Debian's name");
    }
    assert_eq!(asked.last().unwrap(), &["rust", "cargo", "rustfmt", "clippy"]);
}

#[test]
fn nothing_is_installed_where_nothing_is_missing() {
    let bare = Bare::new("dnf", "1.92.0");
    for name in ["make", "cc", "mksquashfs", "mkfs.ext3", "busybox", "runuser", "cargo"] {
        bare.program(name, "exit 0\n");
    }
    bare.program("rustc", "echo rustc 1.92.0\n");
    let output = bare.prepare("demo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(bare.asked().is_empty(), "{:?}", bare.asked());
}

#[test]
fn a_distribution_with_an_old_rust_is_told_where_to_get_another() {
    let bare = Bare::new("dnf", "1.75.0");
    let output = bare.prepare("demo");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("this distribution has 1.75.0") && said.contains("rustup"), "{said}");
}

#[test]
fn a_package_that_cannot_be_installed_is_explained() {
    let bare = Bare::new("dnf", "1.92.0");
    bare.program("dnf", "exit 1\n");
    let output = bare.prepare("demo");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("EPEL"), "{said}");
}
