//! Man pages and completions, as man and the shells find them where they are installed.

use std::fs;
use tests::World;

/// What a shell in a terminal says when `keys` are typed into it. `lamina` and the other names are functions there that
/// print their arguments.
fn typed(world: &World, shell: &str, setup: &str, keys: &str) -> String {
    let names = ["lamina", "singularity", "apptainer"];
    let stand_ins = names.map(|name| format!("{name}() {{ printf '<%s>' \"$@\"; echo; }}\n")).concat();
    let terminal = world.program("/usr/bin/script").args(["--quiet", "--command", shell, "/dev/null"]);
    let share = world.installed().prefix().join("share");
    let output = terminal
        .env("XDG_DATA_DIRS", format!("{}:/usr/share", share.display()))
        .env("SHARE", &share)
        .env("TERM", "xterm")
        .stdin(format!("{stand_ins}{setup}\n{keys}\nexit\n"))
        .run();
    output.stdout
}

fn in_bash(world: &World, keys: &str) -> String {
    typed(world, "bash --norc --noprofile -i", ". /usr/share/bash-completion/bash_completion", keys)
}

fn in_zsh(world: &World, keys: &str) -> String {
    let setup =
        "fpath=($SHARE/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D; PROMPT='%# '";
    typed(world, "zsh -f -i", setup, keys)
}

#[test]
fn bash_completes_commands_options_values_and_files_under_every_name() {
    let world = World::new();
    world.write("image.sif", "");
    world.write("changes.img", "");
    for name in ["lamina", "singularity", "apptainer"] {
        let said = in_bash(&world, &format!("{name} ov\tcr\t--spa\tcha\t"));
        assert!(said.contains("<overlay><create><--sparse><changes.img>"), "{said}");
        let said = in_bash(&world, &format!("{name} -q exe\t--overl\tch\t--no-mount pr\tim\t"));
        let wanted = "<-q><exec><--overlay><changes.img><--no-mount><proc><image.sif>";
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn zsh_completes_commands_options_values_and_files_under_every_name() {
    let world = World::new();
    world.write("image.sif", "");
    world.write("changes.img", "");
    for name in ["lamina", "singularity", "apptainer"] {
        let said = in_zsh(&world, &format!("{name} ov\tcr\t--spa\tcha\t"));
        assert!(said.contains("<overlay><create><--sparse><changes.img>"), "{said}");
        let said = in_zsh(&world, &format!("{name} exe\t--overl\tch\t--no-mount pr\tim\t"));
        let wanted = "<exec><--overlay=changes.img><--no-mount><proc><image.sif>";
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn fish_completes_commands_and_options_under_every_name() {
    let world = World::new();
    let share = world.installed().prefix().join("share");
    let offered = |typed: String| {
        let fish = world.program("/usr/bin/fish").args(["--no-config", "--command"]);
        let sources = "for file in $SHARE/fish/vendor_completions.d/*; source $file; end";
        let output =
            fish.arg(format!("{sources}; complete --do-complete '{typed}'")).env("SHARE", &share).run();
        output.assert_ok().stdout
    };
    for name in ["lamina", "singularity", "apptainer"] {
        assert!(offered(format!("{name} ov")).starts_with("overlay\t"), "{name}");
        assert!(offered(format!("{name} overlay create --spa")).starts_with("--sparse\t"), "{name}");
        assert!(offered(format!("{name} exec --writable-t")).starts_with("--writable-tmpfs\t"), "{name}");
    }
}

#[test]
fn nothing_that_is_refused_is_offered() {
    let world = World::new();
    let share = world.installed().prefix().join("share");
    let bash = fs::read_to_string(share.join("bash-completion/completions/lamina")).expect("it is installed");
    assert!(bash.contains("--overlay ") && !bash.contains("--nvccli"));
}

#[test]
fn man_formats_every_page_without_a_warning() {
    let world = World::new();
    let pages = world.installed().prefix().join("share/man");
    let mut names: Vec<String> = Vec::new();
    for section in ["man1", "man5"] {
        let entries = fs::read_dir(pages.join(section)).expect("there are pages");
        names.extend(
            entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("text")),
        );
    }
    assert!(names.contains(&"lamina-exec.1".to_owned()) && names.contains(&"singularity.conf.5".to_owned()));
    for file in names {
        let name = file.rsplit_once('.').expect("a page has a section").0;
        let man = world.program("/usr/bin/man").args(["--warnings", "--pager=cat", name]);
        let output =
            man.env("MANPATH", &pages).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").run().assert_ok();
        assert_eq!(output.stderr, "", "{file}");
        assert!(output.stdout.contains("NAME") && output.stdout.contains("SEE ALSO"), "{output}");
    }
}

#[test]
fn every_option_of_help_is_in_the_man_page() {
    let world = World::new();
    let pages = world.installed().prefix().join("share/man/man1");
    for command in ["exec", "shell", "overlay create", "build", "sif add", "config global"] {
        let help = world.lamina(["help"]).args(command.split(' ')).run().assert_ok().stdout;
        let page = fs::read_to_string(pages.join(format!("lamina-{}.1", command.replace(' ', "-"))));
        let page = page.expect("it is installed").replace("\\-", "-");
        let words = help.split_whitespace().filter(|word| word.starts_with("--") && *word != "--help");
        for option in words.map(|word| word.trim_end_matches([',', '.', ';', ')', ':'])) {
            assert!(page.contains(option), "{command}: {option}");
        }
    }
}
