//! Which files are the site's own, and what becomes of the names in them. Run as root.
#![allow(clippy::disallowed_methods)]

use super::*;
use config::Settings;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder of root's with a good configuration file in a good folder.
struct World {
    top: TempDir,
}

impl World {
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a temporary folder");
        let world = Self { top };
        world.mode("", 0o755);
        fs::create_dir(world.at("singularity")).expect("a folder");
        world.mode("singularity", 0o755);
        fs::write(world.at("singularity/singularity.conf"), "allow setuid = no\n").expect("a file");
        world.mode("singularity/singularity.conf", 0o644);
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn owner(&self, name: &str, uid: u32) {
        chown(self.at(name), Some(uid), None).expect("root runs the tests");
    }

    fn load(&self) -> Result<Settings, String> {
        let path = self.at("singularity/singularity.conf");
        load_from(path.to_str().expect("text")).map_err(|refusal| refusal.to_string())
    }

    /// The configuration is refused, in words that hold `words`.
    fn refused(&self, words: &str) {
        let text = self.load().expect_err("this file must not be trusted");
        assert!(text.contains(words), "{text}");
    }
}

const CONF: &str = "singularity/singularity.conf";

#[test]
fn a_file_that_only_root_can_write_is_read() {
    assert!(!World::new().load().expect("a good file").allow_setuid.value);
}

#[test]
fn an_execution_control_list_in_force_stops_everything() {
    let world = World::new();
    let list = |text: &str| {
        fs::write(world.at("singularity/ecl.toml"), text).expect("a file");
        world.mode("singularity/ecl.toml", 0o644);
    };
    for text in [
        "",
        "activated = false\n",
        "  activated=false  \n[[execgroup]]\nmode = \"whitelist\"\n",
        "# activated = true\n",
        "activated = false # not yet\n",
    ] {
        list(text);
        world.load().expect("the list is not in force");
    }
    for text in [
        "activated = true\n",
        "activated=true",
        "\"activated\" = true\n",
        "a = 1\r\nactivated = true\r\n",
        "activated = # false\n",
    ] {
        list(text);
        world.refused("singularity/ecl.toml is activated, and signatures are not looked at");
    }
    list("activated = false\n");
    world.mode("singularity/ecl.toml", 0o666);
    world.refused("ecl.toml must be owned by root and not be writable by group or others");
    fs::remove_file(world.at("singularity/ecl.toml")).expect("it is there");
    symlink("nowhere", world.at("singularity/ecl.toml")).expect("a link");
    world.refused("opening");
}

#[test]
fn a_file_that_others_could_have_written_is_refused() {
    for mode in [0o664, 0o646, 0o666] {
        let world = World::new();
        world.mode(CONF, mode);
        world.refused("singularity.conf must be owned by root and not be writable by group or others");
    }
    let world = World::new();
    world.owner(CONF, 1000);
    world.refused("singularity.conf must be owned by root");
}

#[test]
fn a_file_in_a_folder_that_others_could_change_is_refused() {
    for folder in ["", "singularity"] {
        for mode in [0o775, 0o757] {
            let world = World::new();
            world.mode(folder, mode);
            world.refused("must be owned by root and not be writable by group or others");
        }
        let world = World::new();
        world.owner(folder, 1000);
        world.refused("must be owned by root");
    }
}

#[test]
fn the_sticky_bit_keeps_what_is_roots_in_a_folder_for_everybody() {
    let world = World::new();
    world.mode("", 0o1777);
    assert!(world.load().is_ok());
    world.owner("", 1000);
    world.refused("must be owned by root");
}

#[test]
fn a_folder_may_be_a_link_of_roots_but_of_nobody_else() {
    let world = World::new();
    fs::rename(world.at("singularity"), world.at("elsewhere")).expect("a new name");
    symlink(world.at("elsewhere"), world.at("singularity")).expect("a link");
    assert!(world.load().is_ok());
    std::os::unix::fs::lchown(world.at("singularity"), Some(1000), None).expect("root runs the tests");
    world.refused("must be owned by root");
}

#[test]
fn a_file_that_is_a_link_or_has_a_second_name_is_refused() {
    let world = World::new();
    fs::rename(world.at(CONF), world.at("real")).expect("a new name");
    symlink(world.at("real"), world.at(CONF)).expect("a link");
    world.refused("opening");

    let world = World::new();
    fs::hard_link(world.at(CONF), world.at("second")).expect("a second name");
    world.refused("a regular file with a single link");
}

#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let world = World::new();
    fs::remove_file(world.at(CONF)).expect("it was there");
    rustix::fs::mknodat(CWD, world.at(CONF), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a pipe");
    world.refused("a regular file");
}

#[test]
fn a_missing_file_is_no_permission() {
    let world = World::new();
    fs::remove_file(world.at(CONF)).expect("it was there");
    world.refused("opening");
}

#[test]
fn a_file_longer_than_the_maximum_is_refused() {
    let world = World::new();
    let maximum = usize::try_from(FILE_BYTES_MAX).expect("a small number");
    fs::write(world.at(CONF), vec![b'#'; maximum]).expect("written");
    assert!(world.load().is_ok());
    fs::write(world.at(CONF), vec![b'#'; maximum + 1]).expect("written");
    world.refused("longer than");
}

#[test]
fn a_wrong_value_is_told_with_file_line_and_directive() {
    let world = World::new();
    fs::write(world.at(CONF), "\nmount proc = perhaps\n").expect("written");
    world.refused("singularity.conf: line 2: value authorized for directive \"mount proc\" are [yes no]");
}

#[test]
fn an_id_is_found_by_the_exact_name_only() {
    let accounts = b"root:x:0:0::/:\nalice:x:1000:1000::/:\nbroken\nx:y\nhuge:x:99999999999:1\n";
    assert_eq!(config::account_id(accounts, "alice"), Some(1000));
    for name in ["ali", "alicex", "broken", "x", "huge", ""] {
        assert_eq!(config::account_id(accounts, name), None, "{name}");
    }
}

fn limits_of(text: &str) -> Result<Limits, String> {
    let site = Settings::parse(text.as_bytes()).expect("a good file");
    limits(&site).map_err(|refusal| refusal.to_string())
}

#[test]
fn limits_are_numbers_or_names_that_root_itself_keeps() {
    let limits = limits_of("limit container owners = root, 77\nlimit container groups = 5, root\n")
        .expect("known names");
    assert_eq!((limits.owners, limits.groups, limits.paths), (vec![0, 77], vec![5, 0], vec![]));
}

#[test]
fn a_name_that_nobody_has_stops_everything_instead_of_limiting_less() {
    let text = limits_of("\nlimit container owners = root\nlimit container owners = nosuchuser\n")
        .expect_err("unknown");
    assert!(text.contains("'nosuchuser' is not in /etc/passwd"), "{text}");
    assert!(text.contains("'limit container owners'") && text.contains("line 3"), "{text}");
}

#[test]
fn a_list_of_accounts_that_is_too_long_is_not_read_in_part() {
    let world = World::new();
    let maximum = usize::try_from(FILE_BYTES_MAX).expect("a small number");
    let accounts = |bytes: &[u8]| {
        let path = world.at("accounts");
        fs::write(&path, bytes).expect("written");
        let path = path.to_str().expect("a plain name");
        numeric_ids([("root", Some(1))].into_iter(), "limit container owners", path)
            .map_err(|refusal| refusal.to_string())
    };
    let whole = [&b"root:x:0:0::/:\n"[..], &vec![b'#'; maximum - 15]].concat();
    assert_eq!(accounts(&whole), Ok(vec![0]));
    let refused = accounts(&[&whole[..], b"#"].concat()).expect_err("it is too long");
    assert!(refused.contains("longer than"), "{refused}");
}

#[test]
fn a_limiting_path_is_compared_under_the_kernels_name() {
    let world = World::new();
    fs::create_dir(world.at("images")).expect("a folder");
    symlink(world.at("images"), world.at("link")).expect("a link");
    let (real, link) = (world.at("images"), world.at("link"));
    for written in
        [format!("{}/", real.display()), format!("{}/../images", real.display()), link.display().to_string()]
    {
        let limits = limits_of(&format!("limit container paths = {written}")).expect("a path");
        assert_eq!(limits.paths, [real.as_os_str().as_encoded_bytes()], "{written}");
    }
}

#[test]
fn a_limiting_path_that_does_not_exist_still_limits() {
    let limits = limits_of("limit container paths = /nowhere/at/all").expect("a path");
    assert_eq!(limits.paths, [b"/nowhere/at/all"]);
}
