//! The one script that evaluates the image's environment scripts and the user's wishes in their order. The small
//! shell and the image's own shell both run it, so what it does is the same whoever runs it.

use super::{DEFAULT_PATH, HOST_LIBRARIES};
use crate::init::shell::{is_name, is_one_word};
use crate::payload::Text;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where images keep their environment scripts.
const FOLDER: &str = "/.singularity.d/env";
/// The one environment script of very old images.
const OLD_SCRIPT: &str = "/environment";
/// The image's last script of its own: the user's variables come right after it.
const BASE: &[u8] = b"99-base.sh";
/// What the image would do about the user's `PATH`; it is done here.
const RUNTIME_VARIABLES: &[u8] = b"99-runtimevars.sh";
/// Variables that shells do not let anybody change.
const READ_ONLY: [&[u8]; 6] = [b"UID", b"EUID", b"GID", b"PPID", b"SHELLOPTS", b"BASHOPTS"];

/// A value the user gave.
pub(super) struct Wish {
    pub(super) name: Text,
    pub(super) value: Text,
    /// Whether the shell evaluates it, as within double quotes.
    pub(super) evaluated: bool,
}

/// The script. `with_shell` says that values may need a real shell.
pub(super) fn compose(wishes: &[Wish], with_shell: bool) -> Text {
    let mut script = Text::from(
        // Some shells start with a PATH and no user id of their own, others the other way round.
        "unset PATH\n\
         __complete_path() {\n\
         for __directory in $1; do case \":${PATH-}:\" in *\":$__directory:\"*) ;; \
         *) PATH=\"${PATH:+$PATH:}$__directory\" ;; esac; done\n\
         export PATH\n\
         }\n",
    );
    script.extend(
        format!(
            ": \"${{UID:={0}}}\" \"${{EUID:={0}}}\" \"${{GID:={1}}}\"\n",
            nix::unistd::getuid(),
            nix::unistd::getgid()
        )
        .into_bytes(),
    );
    let mut wished = false;
    match names() {
        Some(names) => {
            for name in names {
                one_script(&mut script, &name);
                if name == BASE {
                    wish(&mut script, wishes, with_shell);
                    wished = true;
                }
            }
        }
        None => {
            if is_file(Path::new(OLD_SCRIPT)) {
                line(&mut script, &[b". ", OLD_SCRIPT.as_bytes()]);
                complete_path(&mut script);
            }
        }
    }
    if !wished {
        let libraries = "LD_LIBRARY_PATH=\"${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}";
        line(
            &mut script,
            &[
                libraries.as_bytes(),
                HOST_LIBRARIES.as_bytes(),
                b"\"; export LD_LIBRARY_PATH",
            ],
        );
        wish(&mut script, wishes, with_shell);
    }
    script.extend(
        b"[ -z \"${SING_USER_DEFINED_PREPEND_PATH-}\" ] || PATH=\"$SING_USER_DEFINED_PREPEND_PATH:$PATH\"\n\
          [ -z \"${SING_USER_DEFINED_APPEND_PATH-}\" ] || PATH=\"$PATH:$SING_USER_DEFINED_APPEND_PATH\"\n\
          [ -z \"${SING_USER_DEFINED_PATH-}\" ] || PATH=\"$SING_USER_DEFINED_PATH\"\n\
          unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH SING_USER_DEFINED_PATH\n\
          export PATH\n",
    );
    script
}

/// The names of the image's scripts in their order; nothing when it has no folder for them.
fn names() -> Option<Vec<Text>> {
    let folder = std::fs::read_dir(FOLDER).ok()?;
    let mut names: Vec<Text> = folder
        .filter_map(|entry| Some(entry.ok()?.file_name().as_bytes().to_vec()))
        .filter(|name| name.ends_with(b".sh") && !name.starts_with(b".") && !name.contains(&b'\n'))
        .collect();
    names.sort();
    Some(names)
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn one_script(script: &mut Text, name: &[u8]) {
    let path = [FOLDER.as_bytes(), b"/", name].concat();
    if name == RUNTIME_VARIABLES || !is_file(Path::new(std::ffi::OsStr::from_bytes(&path))) {
        return;
    }
    if name == b"90-environment.sh" {
        default_path(script);
    }
    line(script, &[b". ", &single_quoted(&path)]);
    if name == b"10-docker2singularity.sh" || name == b"10-docker.sh" {
        complete_path(script);
    }
}

/// Sets `PATH` where nobody has.
fn default_path(script: &mut Text) {
    line(
        script,
        &[b"PATH=\"${PATH-", DEFAULT_PATH.as_bytes(), b"}\"; export PATH"],
    );
}

/// Adds to `PATH` what it lacks of the default.
fn complete_path(script: &mut Text) {
    line(
        script,
        &[
            b"__complete_path '",
            DEFAULT_PATH.replace(':', " ").as_bytes(),
            b"'",
        ],
    );
}

/// Carries out what the user wants, after the image had its say.
fn wish(script: &mut Text, wishes: &[Wish], with_shell: bool) {
    default_path(script);
    for Wish {
        name,
        value,
        evaluated,
    } in wishes
    {
        if !is_name(name) || READ_ONLY.contains(&name.as_slice()) {
            continue;
        }
        let mut value = value.clone();
        if name == b"LD_LIBRARY_PATH" && !value.is_empty() {
            value.push(b':');
            value.extend(HOST_LIBRARIES.as_bytes());
        }
        let name = match name.as_slice() {
            b"PATH" | b"PREPEND_PATH" | b"APPEND_PATH" => [b"SING_USER_DEFINED_", name.as_slice()].concat(),
            _ => [b"export ", name.as_slice()].concat(),
        };
        let double = double_quoted(&value);
        let evaluated = *evaluated && is_one_word(&double) && (with_shell || !needs_shell(&value));
        line(
            script,
            &[
                &name,
                b"=",
                &if evaluated { double } else { single_quoted(&value) },
            ],
        );
    }
}

/// Whether a value runs commands when it is evaluated.
pub(super) fn needs_shell(value: &[u8]) -> bool {
    value.contains(&b'`') || value.windows(2).any(|pair| pair == b"$(")
}

fn line(script: &mut Text, parts: &[&[u8]]) {
    for part in parts {
        script.extend_from_slice(part);
    }
    script.push(b'\n');
}

/// A value as a shell's word that means nothing else.
pub(super) fn single_quoted(value: &[u8]) -> Text {
    let mut quoted = vec![b'\''];
    for byte in value {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// A value as a shell's word that is evaluated, but cannot end.
fn double_quoted(value: &[u8]) -> Text {
    let mut quoted = vec![b'"'];
    let mut escaped = false;
    for byte in value {
        if *byte == b'"' && !escaped {
            quoted.push(b'\\');
        }
        escaped = *byte == b'\\' && !escaped;
        quoted.push(*byte);
    }
    if escaped {
        quoted.push(b'\\');
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_value_is_always_exactly_one_word() {
        for value in [
            "", "a b", "it's", "a\"b", "tail\\", "\\\"", "x\\\\", "$HOME", "a\nb", "#no",
        ] {
            assert!(is_one_word(&single_quoted(value.as_bytes())), "{value:?}");
            assert!(is_one_word(&double_quoted(value.as_bytes())), "{value:?}");
        }
        for value in ["${open", "$(open", "`open", "${a;b"] {
            assert!(is_one_word(&single_quoted(value.as_bytes())), "{value:?}");
            assert!(!is_one_word(&double_quoted(value.as_bytes())), "{value:?}");
        }
    }
}
