//! A folder for one test, the user in it, and the site around it.

use crate::command::Command;
use crate::leak;
use crate::machine::{Installed, User, installed};
use crate::sys::Stand;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::{CString, OsStr};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// One test's surroundings. Its end takes everything away, and fails the test if something stayed behind.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    user: User,
    installed: Installed,
    conf: Option<Stand>,
    sessions: Arc<Mutex<Vec<Pid>>>,
    userns: bool,
}

impl World {
    /// A world with an empty home of the first test user and the default configuration.
    pub fn new() -> Self {
        let installed = installed();
        let folder = tempfile::Builder::new()
            .prefix("lamina-test-")
            .tempdir()
            .expect("a temporary folder can be made");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is our folder");
        let world = Self {
            folder,
            user: User::first(),
            installed,
            conf: None,
            sessions: Arc::default(),
            userns: false,
        };
        fs::create_dir(world.home()).expect("it is our folder");
        world.give(&world.home());
        world
    }

    /// A world for each way to start a container: in the second one, [`World::sh`] asks for a user namespace.
    pub fn in_each_flow() -> [Self; 2] {
        let mut second = Self::new();
        second.userns = true;
        [Self::new(), second]
    }

    /// The world's folder: root's, and open to everybody. Its path is the kernel's own name for it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The user's home, where commands run and images are made.
    pub fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// The path of a file in the user's home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// The user whose world this is.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The product.
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Writes a file of the user's.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("the user's home can be written");
        self.give(&path);
        path
    }

    /// Makes a folder of the user's, and those above it.
    pub fn mkdir(&self, name: &str) -> PathBuf {
        let mut path = self.home();
        for part in Path::new(name) {
            path.push(part);
            if !path.exists() {
                fs::create_dir(&path).expect("the user's home can be written");
                self.give(&path);
            }
        }
        path
    }

    /// Makes a file or folder the user's.
    pub fn give(&self, path: &Path) {
        std::os::unix::fs::lchown(path, Some(self.user.uid.as_raw()), Some(self.user.gid.as_raw()))
            .expect("root can give files away");
    }

    /// A file system of its own in the user's home, in memory, with these mount options.
    pub fn tmpfs(&self, name: &str, options: &str) -> Mounted {
        let place = self.mkdir(name);
        mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("root may mount");
        self.give(&place);
        Mounted(place)
    }

    /// The names below the user's home, sorted; to see that a command leaves no file behind.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home()).expect("the home can be read");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("and its entries").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// From now on the site's configuration is `text`, for the commands of this world only.
    pub fn conf(&mut self, text: &str) {
        let file = self.folder().join("singularity.conf");
        fs::write(&file, text).expect("it is our folder");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("it is our file");
        let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
        self.conf = Some(Stand { in_for: name(&self.installed.singularity_conf()), file: name(&file) });
    }

    /// The frontend with these arguments, run as the user.
    pub fn lamina(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.program(self.installed.lamina()).args(arguments)
    }

    /// `lamina exec OPTIONS IMAGE sh -c SCRIPT`, run as the user.
    pub fn sh(&self, options: &[&str], image: &Path, script: &str) -> Command {
        let flow = self.userns.then_some("--userns");
        let command = self.lamina(["exec"]).args(flow).args(options).arg(image);
        command.args(["sh", "-c", script])
    }

    /// Any program, run as the user, who sees the site's configuration too.
    pub fn program(&self, program: impl AsRef<Path>) -> Command {
        Command::new(
            program.as_ref(),
            self.user.clone(),
            &self.home(),
            self.conf.clone(),
            self.sessions.clone(),
        )
    }

    /// A program run as the user after root has run `prepare`, a shell script that sees the world's folder as `$W` and
    /// the configuration's folder as `$ETC`, in a mount namespace of its own. Arguments follow.
    pub fn after(&self, prepare: &str, program: impl AsRef<Path>) -> Command {
        let script = format!(
            "set -e; {prepare}\nexec setpriv --reuid \"$U\" --regid \"$G\" --clear-groups -- \"$0\" \"$@\""
        );
        let conf = self.installed.singularity_conf();
        self.program("/usr/bin/unshare")
            .as_root()
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .arg(program.as_ref())
            .env("W", self.folder())
            .env("ETC", conf.parent().expect("it is in a folder"))
            .env("U", self.user.uid.to_string())
            .env("G", self.user.gid.to_string())
    }

    /// The processes that this world's commands left running.
    pub fn processes(&self) -> Vec<Pid> {
        leak::alive(&self.sessions.lock().expect("no test panics while it holds this"))
    }

    /// Panics unless every mount, loop device and process of this world's commands is gone.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mut sessions = self.sessions.lock().expect("no test panics while it holds this");
        leak::assert_none(self.folder(), &sessions);
        // Their numbers will be others'.
        sessions.clear();
    }
}

/// A mount of a test's own, to be dropped before its world is.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Nothing can be written any more. The kernel may hold a file of a container that has just ended a moment longer.
    pub fn make_read_only(&self) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let attempt = || mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>);
        let done = (0..100).any(|_| {
            let done = attempt().is_ok();
            if !done {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done
        });
        assert!(done, "somebody writes to {}", self.0.display());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.assert_nothing_left();
        }
        // Who failed has not ended what it had running, or had stopped.
        for pid in self.processes() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
