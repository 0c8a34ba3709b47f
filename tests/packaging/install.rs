//! `make install` and `make uninstall` below a folder, with files of a few bytes for programs.

use crate::ROOT;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const STARTER: &str = "usr/libexec/lamina/bin/starter-suid";
const SITE_FILE: &str = "etc/singularity/singularity.conf";

/// A built product, and a machine to put it on.
struct Machine {
    built: TempDir,
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { built: TempDir::new().unwrap(), root: TempDir::new().unwrap() };
        for line in layout() {
            if line[0] != "link" {
                let source = machine.built.path().join("install").join(line[1].replace('*', "-any"));
                fs::create_dir_all(source.parent().unwrap()).unwrap();
                fs::write(source, format!("{}\n", line[1])).unwrap();
            }
        }
        fs::write(machine.built.path().join("install/built-for"), "/usr\n/etc\n").unwrap();
        machine
    }

    fn run(&self, script: &str, setuid: &str) -> Output {
        Command::new(format!("{ROOT}/packaging/{script}"))
            .env("PREFIX", "/usr")
            .env("SYSCONFDIR", "/etc")
            .env("DESTDIR", self.root.path())
            .env("TARGET", self.built.path())
            .env("SETUID", setuid)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn must(&self, script: &str, setuid: &str) -> String {
        let output = self.run(script, setuid);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Everything on the machine that is no folder: its mode, or what a link says.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                if metadata.is_dir() {
                    folders.push(path);
                    continue;
                }
                let what = match fs::read_link(&path) {
                    Ok(target) => target.display().to_string(),
                    Err(_) => format!("{:04o}", metadata.mode() & 0o7777),
                };
                files.insert(path.strip_prefix(self.root.path()).unwrap().display().to_string(), what);
            }
        }
        files
    }
}

fn layout() -> Vec<Vec<String>> {
    let text = fs::read_to_string(format!("{ROOT}/packaging/layout")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// What the layout says of a machine, in the form of [`Machine::files`].
fn wanted() -> BTreeMap<String, String> {
    let line = |line: Vec<String>| {
        let name = line[1].rsplit('/').next().unwrap().replace('*', "-any");
        let mut path = line[2].replacen("PREFIX", "usr", 1).replacen("SYSCONFDIR", "etc", 1);
        if path.ends_with('/') {
            path.push_str(&name);
        }
        (path, if line[0] == "link" { line[1].clone() } else { line[3].clone() })
    };
    layout().into_iter().map(line).collect()
}

#[test]
fn install_puts_there_what_the_layout_says_and_uninstall_takes_all_of_it_away() {
    let machine = Machine::new();
    machine.must("install", "yes");
    assert_eq!(machine.files(), wanted());
    machine.must("install", "yes");
    assert_eq!(machine.files(), wanted());
    machine.must("uninstall", "yes");
    assert!(machine.files().is_empty(), "{:?}", machine.files());
    for folder in ["usr/libexec/lamina", "usr/share/lamina", "etc/singularity"] {
        assert!(!machine.path(folder).exists(), "{folder}");
    }
}

#[test]
fn an_installation_without_setuid_has_everything_else() {
    let machine = Machine::new();
    machine.must("install", "no");
    let mut all_but_one = wanted();
    assert_eq!(all_but_one.remove(STARTER).as_deref(), Some("4711"));
    assert_eq!(machine.files(), all_but_one);
    machine.must("uninstall", "no");
    assert!(machine.files().is_empty(), "{:?}", machine.files());
}

#[test]
fn going_without_setuid_takes_the_setuid_program_away() {
    let machine = Machine::new();
    machine.must("install", "yes");
    assert!(machine.must("install", "no").contains("removed "));
    assert!(!machine.path(STARTER).exists());
    let output = machine.run("install", "maybe");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("yes or no"));
}

#[test]
fn a_changed_configuration_stays_and_an_unchanged_one_goes() {
    let machine = Machine::new();
    machine.must("install", "yes");
    fs::write(machine.path(SITE_FILE), "mount hostfs = yes\n").unwrap();
    machine.must("install", "yes");
    machine.must("uninstall", "yes");
    assert_eq!(machine.files().into_keys().collect::<Vec<_>>(), [SITE_FILE]);
    assert_eq!(fs::read_to_string(machine.path(SITE_FILE)).unwrap(), "mount hostfs = yes\n");
}

#[test]
fn names_that_somebody_else_has_are_left_alone() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("usr/bin")).unwrap();
    fs::write(machine.path("usr/bin/singularity"), "another program").unwrap();
    symlink("/opt/apptainer/bin/apptainer", machine.path("usr/bin/apptainer")).unwrap();
    let said = machine.must("install", "yes");
    assert_eq!(said.matches("somebody else's").count(), 2, "{said}");
    machine.must("uninstall", "yes");
    let left: Vec<String> = machine.files().into_keys().collect();
    assert_eq!(left, ["usr/bin/apptainer", "usr/bin/singularity"]);
}

#[test]
fn a_build_for_another_prefix_is_not_installed() {
    let machine = Machine::new();
    fs::write(machine.built.path().join("install/built-for"), "/usr/local\n/usr/local/etc\n").unwrap();
    let output = machine.run("install", "yes");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was built for PREFIX=/usr"));
    assert!(machine.files().is_empty());
}

#[test]
fn a_strict_umask_does_not_hide_what_is_installed() {
    let machine = Machine::new();
    let script = Path::new(ROOT).join("packaging/install");
    let output = Command::new("sh")
        .args(["-c", "umask 077; exec \"$0\""])
        .arg(script)
        .env("PREFIX", "/usr")
        .env("SYSCONFDIR", "/etc")
        .env("DESTDIR", machine.root.path())
        .env("TARGET", machine.built.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for folder in ["usr/libexec/lamina/bin", "usr/share/man/man1", "etc/singularity"] {
        let mode = fs::metadata(machine.path(folder)).unwrap().permissions().mode();
        assert_eq!(Permissions::from_mode(mode & 0o777), Permissions::from_mode(0o755), "{folder}");
    }
}
