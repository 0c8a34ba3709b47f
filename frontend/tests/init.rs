//! `lamina-init` in a container of its own: a folder with a busybox, a `/proc`, and a payload on descriptor 4. The
//! mounts are made here; the starter has no part in these tests, which need root and an installed busybox-static.

use frontend::payload::{
    Account, Action, Dialect, EnvironmentFile, Label, Payload, Restrictions, WorkingDirectory, encode,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a `/proc` for the container and hands over the account files that are there.
const START: &str = r#"
mount -t proc proc "$1/proc" || exit 99
for n in 5 6 7; do [ ! -e "$2/fd$n" ] || eval "exec $n<\"\$2/fd$n\""; done
"#;
/// What the images of the incumbents bring along, cut down to what it does.
const BASE: &str = r#"#!/bin/sh
if [ -z "${LD_LIBRARY_PATH:-}" ]; then
    LD_LIBRARY_PATH="/.singularity.d/libs"
else
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/.singularity.d/libs"
fi
if [ -z "${PS1:-}" ]; then
    PS1="Image> "
fi
export LD_LIBRARY_PATH PS1
"#;
const APPLETS: [&str; 8] = ["sh", "env", "true", "cat", "id", "grep", "sleep", "tr"];

/// A folder that is a container, and what goes in.
struct Container {
    folder: PathBuf,
    payload: Payload,
}

/// What came out.
struct Outcome {
    status: std::process::ExitStatus,
    output: String,
    errors: String,
}

impl Container {
    /// A container without a shell or any other program.
    fn bare() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("lamina-init-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let container = Self { folder, payload: payload() };
        for directory in ["bin", "etc", "proc", "home/ann", ".singularity.d/env", "lib64"] {
            fs::create_dir_all(container.root().join(directory)).expect("a folder");
        }
        fs::copy(env!("CARGO_BIN_EXE_lamina-init"), container.root().join("lamina-init"))
            .expect("init is built");
        container.copy_libraries();
        container
    }

    /// A container with a busybox.
    fn new() -> Self {
        let container = Self::bare();
        fs::copy("/bin/busybox", container.root().join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", container.root().join("bin").join(applet)).expect("a link");
        }
        container
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The development build of init needs the C library.
    fn copy_libraries(&self) {
        let listed = Command::new("ldd").arg(env!("CARGO_BIN_EXE_lamina-init")).output().expect("ldd");
        for path in
            String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/'))
        {
            let copy = self.root().join(path.trim_start_matches('/'));
            fs::create_dir_all(copy.parent().expect("a library is in a folder")).expect("a folder");
            fs::copy(path, copy).expect("a library");
        }
    }

    fn file(self, path: &str, text: &str) -> Self {
        let place = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(&place, text).expect("a file");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("its mode");
        self
    }

    /// An environment script of the image.
    fn script(self, name: &str, text: &str) -> Self {
        self.file(&format!(".singularity.d/env/{name}"), text)
    }

    /// An account file: the original on its descriptor, an empty one in its place.
    fn account_file(self, descriptor: u8, place: &str, original: &str) -> Self {
        fs::write(self.folder.join(format!("fd{descriptor}")), original).expect("a file");
        self.file(place, "")
    }

    fn with(mut self, change: impl FnOnce(&mut Payload)) -> Self {
        change(&mut self.payload);
        self
    }

    fn exec(self, command: &[&str]) -> Outcome {
        let command = command.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.with(|payload| payload.action = Action::Exec(command)).run()
    }

    fn run(&self) -> Outcome {
        self.run_with(&["--mount"])
    }

    fn run_with(&self, namespaces: &[&str]) -> Outcome {
        self.run_through("exec chroot \"$1\" /lamina-init 4<\"$2/payload\"", namespaces)
    }

    fn run_through(&self, enter: &str, namespaces: &[&str]) -> Outcome {
        fs::write(self.folder.join("payload"), encode(&self.payload).expect("a payload")).expect("a file");
        let output = Command::new("unshare")
            .args(namespaces)
            .args(["--propagation", "private", "/bin/sh", "-c", &format!("{START}{enter}"), "sh"])
            .args([&self.root(), &self.folder])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("OF_THE_HOST", "must not be seen")
            .stdin(Stdio::null())
            .output()
            .expect("unshare");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { status: output.status, output: text(&output.stdout), errors: text(&output.stderr) }
    }

    fn run_as_nobody(&self) -> Outcome {
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755)).expect("a mode");
        self.run_through(
            "exec chroot --userspec=65534:65534 \"$1\" /lamina-init 4<\"$2/payload\"",
            &["--mount"],
        )
    }

    /// The environment the program starts with.
    fn environment(self) -> BTreeMap<String, String> {
        let outcome = self.exec(&["/bin/env"]);
        outcome.assert(0, "");
        outcome.variables()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Outcome {
    #[track_caller]
    fn assert(&self, status: i32, errors: &str) -> &Self {
        assert_eq!(self.errors, errors);
        assert_eq!(self.status.code(), Some(status), "{:?}", self.status.signal());
        self
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let pairs = self.output.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

fn payload() -> Payload {
    Payload {
        action: Action::Exec(vec![b"/bin/true".into()]),
        dialect: Dialect::Singularity,
        image: b"/images/my tool.sif".into(),
        environment: vec![(b"EDITOR".into(), b"vi".into()), (b"TERM".into(), b"xterm".into())],
        environment_files: Vec::new(),
        prefixed: Vec::new(),
        typed: Vec::new(),
        no_eval: false,
        clean: false,
        binds: b"/data:/data".into(),
        home: b"/home/ann".into(),
        working_directory: WorkingDirectory {
            required: None,
            candidates: vec![b"/nowhere".into(), b"/home/ann".into()],
        },
        umask: 0o027,
        blocked_signals: Vec::new(),
        ignored_signals: Vec::new(),
        oci: None,
        account: None,
        hostname: None,
        name_servers: Vec::new(),
        app: None,
        restrictions: Restrictions::default(),
        fakeroot: false,
        file_systems: Vec::new(),
        keeper: None,
        shim: false,
        instance: false,
        message_level: 1,
        colour: true,
    }
}

fn set(name: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
    (name.into(), value.into())
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_program_starts_with_the_documented_environment_and_nothing_else() {
    let image = "/images/my tool.sif";
    let expected = variables(&[
        ("EDITOR", "vi"),
        ("TERM", "xterm"),
        ("HOME", "/home/ann"),
        ("PWD", "/home/ann"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LD_LIBRARY_PATH", "/.singularity.d/libs"),
        ("PS1", "Singularity> "),
        ("PROMPT_COMMAND", "PS1=\"Singularity> \"; unset PROMPT_COMMAND"),
        ("SINGULARITY_CONTAINER", image),
        ("APPTAINER_CONTAINER", image),
        ("SINGULARITY_NAME", "my tool.sif"),
        ("APPTAINER_NAME", "my tool.sif"),
        ("SINGULARITY_COMMAND", "exec"),
        ("APPTAINER_COMMAND", "exec"),
        ("SINGULARITY_BIND", "/data:/data"),
        ("APPTAINER_BIND", "/data:/data"),
        ("SINGULARITY_ENVIRONMENT", "/.singularity.d/env/91-environment.sh"),
        ("APPTAINER_ENVIRONMENT", "/.singularity.d/env/91-environment.sh"),
    ]);
    assert_eq!(Container::new().environment(), expected);
}

#[test]
fn the_image_overrides_the_host_and_the_user_overrides_the_image() {
    let got = Container::new()
        .script(
            "10-docker2singularity.sh",
            "#!/bin/sh\nexport PATH=\"/opt/bin:/usr/bin\"\nexport LANG=\"${LANG:-\"de_DE\"}\"\n",
        )
        .script(
            "90-environment.sh",
            "#!/bin/sh\nA=image; B=image; C=image\nexport A B C\nexport SEEN=$EDITOR\n",
        )
        .script("99-base.sh", BASE)
        .with(|payload| {
            payload.environment =
                vec![set("A", "host"), set("B", "host"), set("D", "host"), set("LANG", "host")];
            payload.typed = vec![set("B", "user"), set("E", "$A-$HOME"), set("B", "later $B")];
        })
        .environment();
    let expect = [
        ("A", "image"),
        ("B", "later user"),
        ("C", "image"),
        ("D", "host"),
        ("E", "image-/home/ann"),
        ("SEEN", ""),
        ("LANG", "de_DE"),
        ("PATH", "/opt/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin"),
        ("PS1", "Image> "),
        ("LD_LIBRARY_PATH", "/.singularity.d/libs"),
    ];
    for (name, value) in expect {
        assert_eq!(got.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn the_users_path_comes_last_and_the_hosts_libraries_stay() {
    let with = |overrides: Vec<(Vec<u8>, Vec<u8>)>| {
        Container::new()
            .script("90-environment.sh", "export PATH=/opt/bin:$PATH\n")
            .script("99-base.sh", BASE)
            .script("99-runtimevars.sh", "PATH=/must/not/be/run\n")
            .with(|payload| payload.typed = overrides)
            .environment()
    };
    let default = "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(with(vec![])["PATH"], default);
    let both = with(vec![set("PREPEND_PATH", "/first"), set("APPEND_PATH", "/last")]);
    assert_eq!(both["PATH"], format!("/first:{default}:/last"));
    assert!(!both.contains_key("PREPEND_PATH") && !both.contains_key("SING_USER_DEFINED_PREPEND_PATH"));
    assert_eq!(with(vec![set("PATH", "/only"), set("APPEND_PATH", "/last")])["PATH"], "/only");
    assert_eq!(with(vec![set("PATH", "/mine:$PATH")])["PATH"], format!("/mine:{default}"));
    assert_eq!(with(vec![set("LD_LIBRARY_PATH", "/mine")])["LD_LIBRARY_PATH"], "/mine:/.singularity.d/libs");
    assert_eq!(with(vec![set("PS1", "me> ")])["PROMPT_COMMAND"], "PS1=\"me> \"; unset PROMPT_COMMAND");
}

#[test]
fn values_are_evaluated_once_and_not_at_all_without_evaluation() {
    let values = vec![
        set("A", "it's $HOME \"here\""),
        set("B", "\\$HOME"),
        set("C", "${open"),
        set("D", "$(echo sub)"),
    ];
    let evaluated = Container::new().with(|payload| payload.typed = values.clone()).environment();
    assert_eq!(evaluated["A"], "it's /home/ann \"here\"");
    assert_eq!(evaluated["B"], "$HOME");
    assert_eq!(evaluated["C"], "${open");
    assert_eq!(evaluated["D"], "sub");
    let plain = Container::new()
        .with(|payload| {
            payload.typed = values;
            payload.no_eval = true;
        })
        .environment();
    assert_eq!(plain["A"], "it's $HOME \"here\"");
    assert_eq!(plain["B"], "\\$HOME");
    assert_eq!(plain["D"], "$(echo sub)");
    assert_eq!(plain["SINGULARITY_NO_EVAL"], "1");
}

#[test]
fn an_environment_file_is_a_script_of_assignments_above_prefixed_variables_and_below_typed_ones() {
    let got = Container::new()
        .with(|payload| {
            let file = |content: &str| EnvironmentFile { name: b"my.env".into(), content: content.into() };
            payload.environment_files = vec![
                file("A=1\nB='two words' # not this\nC=\"$EDITOR $A\"\nPATH=/from/file\nD='$HOME'\n"),
                file("A=second\n"),
            ];
            payload.prefixed = vec![set("A", "prefixed"), set("E", "prefixed")];
            payload.typed = vec![set("B", "typed")];
        })
        .environment();
    for (name, value) in [
        ("A", "second"),
        ("B", "typed"),
        ("C", "vi 1"),
        ("PATH", "/from/file"),
        ("D", "$HOME"),
        ("E", "prefixed"),
    ] {
        assert_eq!(got[name], value, "{name}");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_over_the_hosts_is_gone() {
    let got = Container::new()
        .with(|payload| {
            payload.environment = vec![set("A", "host"), set("EMPTY", "")];
            payload.typed = vec![set("A", ""), set("NEW", "")];
        })
        .environment();
    assert!(!got.contains_key("A"));
    assert_eq!((got["EMPTY"].as_str(), got["NEW"].as_str()), ("", ""));
}

#[test]
fn a_clean_environment_speaks_no_language() {
    let clean =
        |container: Container| container.with(|payload| payload.clean = true).environment()["LANG"].clone();
    assert_eq!(clean(Container::new()), "C");
    assert_eq!(clean(Container::new().script("90-environment.sh", "export LANG=fr_FR\n")), "fr_FR");
}

#[test]
fn home_cannot_be_overridden() {
    let container = Container::new().with(|payload| payload.typed = vec![set("HOME", "/root")]);
    let outcome = container.exec(&["/bin/env"]);
    outcome.assert(
        0,
        "WARNING: Overriding HOME environment variable with SINGULARITYENV_HOME is not permitted\n",
    );
    assert_eq!(outcome.variables()["HOME"], "/home/ann");
}

#[test]
fn an_image_without_a_folder_of_scripts_has_one_script() {
    let container = Container::new().file("environment", "export OLD=1\nPATH=/old\n");
    fs::remove_dir(container.root().join(".singularity.d/env")).expect("an empty folder");
    let got = container.with(|payload| payload.typed = vec![set("NEW", "$OLD")]).environment();
    assert_eq!(got["PATH"], "/old:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert_eq!((got["OLD"].as_str(), got["NEW"].as_str()), ("1", "1"));
}

#[test]
fn a_script_that_needs_a_real_shell_gets_the_images() {
    let container = Container::new()
        .script(
            "90-environment.sh",
            "echo hidden\nexport A=$(id -u | cat) B='two\nlines' C=$1\nlater() { D=4; }\n",
        )
        .script("95-more.sh", "later; export D; E=not\n")
        .script("99-base.sh", BASE)
        .with(|payload| payload.typed = vec![set("F", "$D")]);
    let outcome = container.exec(&["/bin/sh", "-c", "echo \"$A|$B|$C|$D|$E|$F|$EDITOR|$SHLVL|$OLDPWD\""]);
    outcome.assert(0, "");
    assert_eq!(outcome.output, "hidden\n0|two\nlines|/bin/sh|4||4|vi|1|\n");
}

#[test]
fn a_script_that_needs_a_real_shell_in_an_image_without_one_is_named() {
    let container = Container::new()
        .script("80-first.sh", "export A=1\nls -l\nexport B=1\n")
        .script("90-environment.sh", "export C=1\n");
    fs::remove_file(container.root().join("bin/sh")).expect("a link");
    let outcome = container.with(|payload| payload.typed = vec![set("D", "$(id)")]).exec(&["/bin/env"]);
    outcome.assert(
        0,
        "WARNING: /.singularity.d/env/80-first.sh uses the command ls, which needs a shell that the image does not have; \
         what follows it there is left out\n",
    );
    let got = outcome.variables();
    assert_eq!((got.get("A"), got.get("B")), (Some(&"1".to_owned()), None));
    assert_eq!((got["C"].as_str(), got["D"].as_str()), ("1", "$(id)"));
}

#[test]
fn an_app_brings_its_own_paths_environment_and_runscript() {
    // What the incumbents' images have for apps, without the ways that are not taken here.
    let apps = r#"if test -n "${SINGULARITY_APPNAME:-}"; then
    export SINGULARITY_APPNAME
    if test -d "/scif/apps/${SINGULARITY_APPNAME:-}/"; then
        SCIF_APPS="/scif/apps"
        SCIF_APPROOT="/scif/apps/${SINGULARITY_APPNAME:-}"
        export SCIF_APPROOT SCIF_APPS
        PATH="/scif/apps/${SINGULARITY_APPNAME:-}:/scif/apps/singularity:$PATH"
        if test -d "/scif/apps/${SINGULARITY_APPNAME:-}/bin"; then
            PATH="/scif/apps/${SINGULARITY_APPNAME:-}/bin:$PATH"
        elif test -d "/scif/apps/singularity/bin"; then
            PATH="/scif/apps/singularity/bin:$PATH"
        fi
        if test -d "/scif/apps/${SINGULARITY_APPNAME:-}/lib"; then
            LD_LIBRARY_PATH="/scif/apps/${SINGULARITY_APPNAME:-}/lib:$LD_LIBRARY_PATH"
            export LD_LIBRARY_PATH
        fi
        if [ -f "/scif/apps/${SINGULARITY_APPNAME:-}/scif/env/01-base.sh" ]; then
            . "/scif/apps/${SINGULARITY_APPNAME:-}/scif/env/01-base.sh"
\t\telif [ -f "/scif/apps/singularity/scif/env/01-base.sh" ]; then
            . "/scif/apps/singularity/scif/env/01-base.sh" "$@"
        fi
        export PATH
    else
        echo "Could not locate the container application: ${SINGULARITY_APPNAME}"
        exit 1
    fi
fi
"#;
    let container = |app: &str| {
        Container::new()
            .script("94-appsbase.sh", "SCIF_APPDATA_hello=\"/scif/data/hello\"\nexport SCIF_APPDATA_hello\n")
            .script("95-apps.sh", &apps.replace("\\t", "\t"))
            .script("99-base.sh", BASE)
            .file("scif/apps/hello/bin/tool", "")
            .file("scif/apps/hello/scif/env/01-base.sh", "export HELLO=$SINGULARITY_APPNAME\n")
            .file("scif/apps/hello/scif/runscript", "#!/bin/sh\nexec /bin/env \"$@\"\n")
            .with(|payload| {
                payload.app = Some(app.into());
                payload.action = Action::Run(vec![b"A=1".into()]);
            })
    };
    let outcome = container("hello").run();
    outcome.assert(0, "");
    let got = outcome.variables();
    let default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let paths = "/scif/apps/hello/bin:/scif/apps/hello:/scif/apps/singularity";
    assert_eq!(got["PATH"], format!("{paths}:{default}"));
    for (name, value) in [
        ("A", "1"),
        ("HELLO", "hello"),
        ("APPTAINER_APPNAME", "hello"),
        ("SCIF_APPDATA_hello", "/scif/data/hello"),
    ] {
        assert_eq!(got[name], value, "{name}");
    }
    let outcome = container("other").run();
    outcome.assert(1, "");
    assert_eq!(outcome.output, "Could not locate the container application: other\n");
}

#[test]
fn a_script_that_exits_ends_the_run_with_its_status() {
    let stock = "echo \"Could not locate the container application\"\nexit 1\n";
    let outcome = Container::new().script("95-apps.sh", stock).exec(&["/bin/true"]);
    outcome.assert(1, "");
    assert_eq!(outcome.output, "Could not locate the container application\n");
    let foreign = format!("A=$(id)\n{stock}");
    let outcome = Container::new().script("95-apps.sh", &foreign).exec(&["/bin/true"]);
    outcome.assert(1, "");
    assert_eq!(outcome.output, "Could not locate the container application\n");
}

#[test]
fn commands_that_are_not_there_fail_in_the_incumbents_words() {
    let fatal = |command: &str, message: &str| {
        let container = Container::new()
            .file("data", "#!/bin/sh\n")
            .file("no-interpreter", "#!/nowhere/python\n")
            .file("folder/file", "");
        fs::set_permissions(container.root().join("data"), fs::Permissions::from_mode(0o644))
            .expect("a mode");
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0".to_vec();
        elf.resize(64, 0);
        fs::write(container.root().join("foreign"), elf).expect("a file");
        fs::set_permissions(container.root().join("foreign"), fs::Permissions::from_mode(0o755))
            .expect("a mode");
        container.exec(&[command]).assert(255, &format!("FATAL:   {message}\n"));
    };
    fatal("foo", "\"foo\": executable file not found in $PATH");
    fatal("", "\"\": executable file not found in $PATH");
    fatal("/x", "stat /x: no such file or directory");
    fatal("./x", "stat /home/ann/x: no such file or directory");
    fatal("/data/x", "stat /data/x: not a directory");
    fatal("/data", "/data: permission denied");
    fatal("/folder", "/folder: is a directory");
    fatal(
        "/no-interpreter",
        "exec /no-interpreter failed: a shared library is likely missing in the image\n\
         INFO:    it is a script for /nowhere/python, which the image does not have",
    );
    #[cfg(target_arch = "x86_64")]
    fatal("/foreign", "image targets 'arm64', cannot run on 'amd64'");
}

#[test]
fn a_command_is_searched_for_in_the_containers_path_and_keeps_its_status() {
    let container = Container::new()
        .file("opt/tool", "#!/bin/sh\necho \"tool $0 $*\"\nexit 7\n")
        .with(|payload| payload.typed = vec![set("PATH", "/nowhere:/opt:/bin")]);
    let outcome = container.exec(&["tool", "a b", "c"]);
    outcome.assert(7, "");
    assert_eq!(outcome.output, "tool /opt/tool a b c\n");
}

#[test]
fn a_script_without_an_interpreter_line_runs_in_the_images_shell() {
    let outcome = Container::new().file("tool", "echo \"$0 $1\"\n").exec(&["/tool", "x y"]);
    outcome.assert(0, "");
    assert_eq!(outcome.output, "/tool x y\n");
}

#[test]
fn run_takes_the_runscript_then_the_old_one_then_a_shell() {
    let run = |container: Container| {
        container.with(|payload| payload.action = Action::Run(vec![b"-c".into(), b"echo shell".into()])).run()
    };
    let both = Container::new()
        .file("singularity", "#!/bin/sh\necho old \"$@\"\n")
        .file(".singularity.d/runscript", "#!/bin/sh\necho new \"$@\"\n");
    assert_eq!(run(both).assert(0, "").output, "new -c echo shell\n");
    let old = Container::new().file("singularity", "#!/bin/sh\necho old \"$@\"\n");
    assert_eq!(run(old).assert(0, "").output, "old -c echo shell\n");
    let none = run(Container::new());
    none.assert(0, "INFO:    No runscript found in container, executing /bin/sh\n");
    assert_eq!(none.output, "shell\n");
    run(Container::bare())
        .assert(1, "ERROR:   No runscript and no /bin/sh executable found in container, aborting\n");
}

#[test]
fn a_runscript_up_to_its_program_needs_no_shell_in_the_image() {
    // What images made from registries have, cut down to the way of an entry point with arguments.
    let runscript = r#"#!/bin/sh
OCI_ENTRYPOINT='"/bin/env" "A=two words"'
OCI_CMD=''
CMDLINE_ARGS=""
for arg in "$@"; do
    CMDLINE_ARGS="${CMDLINE_ARGS} \"$arg\""
done
if [ -z "$OCI_CMD" ] && [ -n "$OCI_ENTRYPOINT" ]; then
    if [ $# -gt 0 ]; then
        SINGULARITY_OCI_RUN="${OCI_ENTRYPOINT} ${CMDLINE_ARGS}"
    else
        SINGULARITY_OCI_RUN="${OCI_ENTRYPOINT}"
    fi
fi
eval "set ${SINGULARITY_OCI_RUN}"
exec "$@"
"#;
    let container = Container::new().file(".singularity.d/runscript", runscript);
    let container = container.with(|payload| payload.action = Action::Run(vec![b"B=three  words".into()]));
    let with_shell = container.run();
    fs::remove_file(container.root().join("bin/sh")).expect("a link");
    let without = container.run();
    without.assert(0, "");
    let (with_shell, without) = (with_shell.variables(), without.variables());
    assert_eq!((without["A"].as_str(), without["B"].as_str()), ("two words", "three  words"));
    let own = ["SHLVL", "_", "OLDPWD"];
    let same = |name: &&String| !own.contains(&name.as_str());
    assert_eq!(
        with_shell.keys().filter(same).collect::<Vec<_>>(),
        without.keys().filter(same).collect::<Vec<_>>()
    );

    let foreign = Container::bare().file(".singularity.d/runscript", "#!/bin/sh\nexec ls | cat\n");
    foreign.with(|payload| payload.action = Action::Run(vec![])).run().assert(
        255,
        "FATAL:   exec /.singularity.d/runscript failed: a shared library is likely missing in the image\n\
         INFO:    it is a script for /bin/sh, which the image does not have\n",
    );
}

#[test]
fn a_script_that_may_not_be_read_is_named_and_left_out() {
    let container = Container::new()
        .script("80-secret.sh", "export A=1\n")
        .script("90-environment.sh", "export B=$(id -u)\n");
    let secret = container.root().join(".singularity.d/env/80-secret.sh");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o0)).expect("a mode");
    let outcome =
        container.with(|payload| payload.action = Action::Exec(vec![b"/bin/env".into()])).run_as_nobody();
    outcome.assert(
        0,
        "WARNING: Skipping environment script /.singularity.d/env/80-secret.sh: it may not be read\n",
    );
    let got = outcome.variables();
    assert_eq!((got.get("A"), got["B"].as_str()), (None, "65534"));
}

#[test]
fn options_that_a_script_sets_do_not_reach_the_users_variables() {
    let got = Container::new()
        .script("90-environment.sh", "set -eu\nexport A=$(id -u)\n")
        .with(|payload| payload.typed = vec![set("B", "x$NOT_SET")])
        .environment();
    assert_eq!(got["B"], "x");
}

#[test]
fn shell_takes_the_users_then_bash_then_sh() {
    let shell = |container: Container, wanted: Option<&str>| {
        let arguments = vec![b"-c".to_vec(), b"echo $0 $SHELL $SINGULARITY_SHELL".to_vec()];
        let wanted = wanted.map(|wanted| wanted.as_bytes().to_vec());
        container.with(|payload| payload.action = Action::Shell(wanted, arguments)).run()
    };
    let bash = || Container::new().file("bin/bash", "#!/bin/sh\necho bash \"$@\"\n");
    assert_eq!(shell(Container::new(), None).assert(0, "").output, "/bin/sh /bin/sh\n");
    assert_eq!(
        shell(bash(), None).assert(0, "").output,
        "bash --norc -c echo $0 $SHELL $SINGULARITY_SHELL\n"
    );
    let own = bash().file("opt/fish", "#!/bin/sh\necho fish $SINGULARITY_SHELL\n");
    assert_eq!(shell(own, Some("/opt/fish")).assert(0, "").output, "fish /opt/fish\n");
    shell(Container::bare(), None).assert(1, "ERROR:   /bin/sh does not exist in container\n");
}

#[test]
fn test_runs_the_test_script_and_a_missing_one_is_a_success() {
    let test = |container: Container| container.with(|payload| payload.action = Action::Test(vec![])).run();
    let container = Container::new().file(".singularity.d/test", "#!/bin/sh\necho tested\nexit 3\n");
    assert_eq!(test(container).assert(3, "").output, "tested\n");
    test(Container::new()).assert(0, "INFO:    No test script found in container, exiting\n");
}

#[test]
fn the_program_starts_where_it_should() {
    let pwd = |container: Container| container.exec(&["/bin/sh", "-c", "pwd; echo $PWD; umask"]);
    assert_eq!(pwd(Container::new()).assert(0, "").output, "/home/ann\n/home/ann\n0027\n");
    let root = Container::new().with(|payload| payload.working_directory.candidates.clear());
    assert_eq!(pwd(root).assert(0, "").output, "/\n/\n0027\n");
    let required = |directory: &str| {
        let directory = directory.as_bytes().to_vec();
        Container::new().with(|payload| payload.working_directory.required = Some(directory))
    };
    assert_eq!(pwd(required("/etc")).assert(0, "").output, "/etc\n/etc\n0027\n");
    pwd(required("/nowhere"))
        .assert(255, "FATAL:   failed to set working directory: chdir /nowhere: no such file or directory\n");
    let apptainer = Container::new().with(|payload| payload.dialect = Dialect::Apptainer);
    pwd(apptainer).assert(
        0,
        "WARNING: Error changing the container working directory. Using '/home/ann' instead: \
         chdir /nowhere: no such file or directory\n",
    );
}

#[test]
fn the_caller_is_written_into_the_account_files() {
    let account = Account {
        name: b"ann".into(),
        uid: 1234,
        gid: 100,
        gecos: b"Ann".into(),
        home: b"/home/ann".into(),
        shell: b"/bin/zsh".into(),
        groups: vec![(b"users".into(), 100)],
    };
    let container = Container::new()
        .account_file(5, "etc/passwd", "root:x:0:0::/root:/bin/sh")
        .account_file(6, "etc/group", "root:x:0:\n")
        .account_file(7, "etc/hostname", "of the image\n")
        .with(|payload| {
            payload.account = Some(account.clone());
            payload.hostname = Some(b"node1".into());
        });
    let outcome = container.exec(&["/bin/cat", "/etc/passwd", "/etc/group", "/etc/hostname"]);
    outcome.assert(0, "");
    assert_eq!(
        outcome.output,
        "root:x:0:0::/root:/bin/sh\nann:x:1234:100:Ann:/home/ann:/bin/zsh\nroot:x:0:\nusers:x:100:ann\nnode1\n"
    );
    let container = Container::new()
        .account_file(6, "etc/group", "")
        .file("etc/group", "not empty\n")
        .with(|payload| payload.account = Some(account));
    let outcome = container.exec(&["/bin/cat", "/etc/group"]);
    outcome.assert(0, "WARNING: passwd file doesn't exist in container, not updating\n");
    assert_eq!(outcome.output, "not empty\n");
}

#[test]
fn the_program_inherits_no_descriptor_of_ours_and_the_signals_of_the_caller() {
    let container = Container::new().account_file(5, "etc/passwd", "").with(|payload| {
        payload.blocked_signals = vec![libc_usr2(), 40];
        payload.ignored_signals = vec![1, 15];
    });
    let script = "for fd in 4 5 6 7; do [ ! -e /proc/self/fd/$fd ] || echo $fd; done; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let outcome = container.exec(&["/bin/sh", "-c", script]);
    outcome.assert(0, "");
    assert_eq!(outcome.output.lines().count(), 2, "{}", outcome.output);
    let mask = |name: &str| {
        let line = outcome.output.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.expect("a mask").trim(), 16).expect("a hexadecimal number")
    };
    assert_eq!(mask("SigBlk:"), 1 << 11 | 1 << 39, "{}", outcome.output);
    assert_eq!(mask("SigIgn:") & (1 | 1 << 12 | 1 << 14), 1 | 1 << 14);
}

/// `SIGUSR2` on every machine this runs on.
fn libc_usr2() -> i32 {
    12
}

const PID_NAMESPACE: [&str; 4] = ["--mount", "--pid", "--fork", "--kill-child"];

/// A container with a PID namespace and the shim as its first process.
fn shimmed(script: &str) -> Container {
    let words = ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec();
    Container::new().with(|payload| {
        payload.action = Action::Exec(words);
        payload.shim = true;
    })
}

#[test]
fn the_shim_is_process_one_under_its_known_name_and_ends_as_the_program_does() {
    let shown = "cat /proc/1/comm; tr '\\000' ' ' </proc/1/cmdline; exit 5";
    let outcome = shimmed(shown).run_with(&PID_NAMESPACE);
    outcome.assert(5, "");
    assert_eq!(outcome.output.split_whitespace().collect::<Vec<_>>(), ["sinit", "sinit"]);
    let apptainer = shimmed(shown).with(|payload| {
        payload.dialect = Dialect::Apptainer;
        payload.working_directory.candidates.clear();
    });
    assert!(apptainer.run_with(&PID_NAMESPACE).assert(5, "").output.contains("appinit"));
    shimmed("kill -9 $$").run_with(&PID_NAMESPACE).assert(128 + 9, "");
    shimmed("kill -40 $$").run_with(&PID_NAMESPACE).assert(128 + 40, "");
    let missing = Container::new().with(|payload| payload.shim = true).with(|payload| {
        payload.action = Action::Exec(vec![b"foo".into()]);
    });
    missing.run_with(&PID_NAMESPACE).assert(255, "FATAL:   \"foo\": executable file not found in $PATH\n");
}

#[test]
fn without_the_shim_the_program_is_process_one() {
    let outcome = shimmed("echo $$").with(|payload| payload.shim = false).run_with(&PID_NAMESPACE);
    assert_eq!(outcome.assert(0, "").output, "1\n");
}

#[test]
fn the_shim_buries_orphans_and_passes_signals_on() {
    let orphan = "(true & true) & sleep 0.2; for stat in /proc/[0-9]*/stat; do cat $stat; done";
    let outcome = shimmed(orphan).file("dev/null", "").run_with(&PID_NAMESPACE);
    outcome.assert(0, "");
    assert!(!outcome.output.contains(" Z "), "{}", outcome.output);
    let signalled = "trap 'echo got; exit 3' USR1; kill -USR1 1; while :; do sleep 0.05; done";
    let outcome = shimmed(signalled).run_with(&PID_NAMESPACE);
    assert_eq!(outcome.assert(3, "").output, "got\n");
}

/// A shell that becomes the monitor of a child which runs `script`.
fn monitored(script: &str) -> std::process::Child {
    let monitor = "sh -c \"$1\" & exec \"$0\" monitor $!";
    Command::new("sh")
        .args(["-c", monitor, env!("CARGO_BIN_EXE_lamina-init"), script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell")
}

/// Waits until the monitored child has said something and the monitor sleeps.
fn wait_until_ready(monitor: &mut std::process::Child) {
    let mut byte = [0];
    let output = monitor.stdout.as_mut().expect("a pipe");
    std::io::Read::read_exact(output, &mut byte).expect("the child speaks");
    let name = format!("/proc/{}/comm", monitor.id());
    eventually(|| fs::read_to_string(&name).expect("a process") == "lamina-init\n" && state(monitor) == 'S');
}

#[track_caller]
fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it did not happen within five seconds");
}

fn send(process: &std::process::Child, signal: &str) {
    let status = Command::new("kill").args([signal, &process.id().to_string()]).status().expect("kill");
    assert!(status.success());
}

fn state(process: &std::process::Child) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("a process");
    stat.rsplit(") ").next().and_then(|fields| fields.chars().next()).expect("a state")
}

#[test]
fn the_monitor_ends_as_the_container_does() {
    assert_eq!(monitored("exit 7").wait().expect("a status").code(), Some(7));
    assert_eq!(monitored("kill -TERM $$").wait().expect("a status").signal(), Some(15));
    assert_eq!(monitored("kill -SEGV $$").wait().expect("a status").signal(), Some(11));
    assert_eq!(monitored("kill -40 $$").wait().expect("a status").signal(), Some(40));
}

#[test]
fn the_monitor_passes_on_what_it_is_sent() {
    let mut monitor =
        monitored("trap 'exit 4' TERM; echo; n=0; while [ $n -lt 400 ]; do n=$((n+1)); sleep 0.05; done");
    wait_until_ready(&mut monitor);
    send(&monitor, "-TERM");
    assert_eq!(monitor.wait().expect("a status").code(), Some(4));
    let mut monitor = monitored("echo; exec sleep 60");
    wait_until_ready(&mut monitor);
    send(&monitor, "-USR2");
    assert_eq!(monitor.wait().expect("a status").signal(), Some(12));
}

#[test]
fn the_monitor_stops_when_the_terminal_says_so_and_goes_on() {
    let mut monitor =
        monitored("trap 'exit 6' USR1; echo; n=0; while [ $n -lt 400 ]; do n=$((n+1)); sleep 0.05; done");
    wait_until_ready(&mut monitor);
    send(&monitor, "-TSTP");
    eventually(|| state(&monitor) == 'T');
    send(&monitor, "-CONT");
    send(&monitor, "-USR1");
    assert_eq!(monitor.wait().expect("a status").code(), Some(6));
}

#[test]
fn a_monitor_of_nobody_fails() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lamina-init")).args(["monitor", "1"]).output().expect("init");
    assert_eq!(output.status.code(), Some(255));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "FATAL:   the monitor needs a process id\n");
}

#[test]
fn a_payload_that_is_none_is_refused() {
    let container = Container::new();
    let payload = encode(&container.payload).expect("a payload");
    for bytes in [&payload[..payload.len() - 1], &[], &[0xff; 64], &[&payload[..], b"more"].concat()[..]] {
        let place = container.folder.join("payload");
        fs::write(&place, bytes).expect("a file");
        let output = Command::new("sh")
            .args(["-c", "exec \"$0\" 4<\"$1\""])
            .args([Path::new(env!("CARGO_BIN_EXE_lamina-init")), &place])
            .output()
            .expect("a shell");
        assert_eq!(output.status.code(), Some(255));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("FATAL:   while reading the payload"));
    }
}

#[test]
fn a_program_whose_security_label_cannot_be_set_is_not_started() {
    for label in [Label::Apparmor("no-such-profile".into()), Label::Selinux("no_such_context".into())] {
        let container = Container::new().with(|payload| payload.restrictions.label = Some(label));
        let outcome = container.exec(&["/bin/cat", "/proc/self/status"]);
        assert_eq!((outcome.status.code(), outcome.output.as_str()), (Some(255), ""));
        assert!(
            outcome.errors.starts_with("FATAL:   while writing the security label"),
            "{}",
            outcome.errors
        );
    }
}
