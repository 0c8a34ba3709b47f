//! The one script that evaluates the image's environment scripts and the user's wishes in their order. The small
//! shell and the image's own shell both run it, so what it does is the same whoever runs it.

use super::{DEFAULT_PATH, HOST_LIBRARIES};
use crate::init::shell::{is_name, is_one_word};
use crate::message::{self, shown};
use crate::payload::Text;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where images keep their environment scripts.
const FOLDER: &str = "/.singularity.d/env";
/// The one environment script of very old images.
const OLD_SCRIPT: &str = "/environment";
/// The image's last script of its own: the user's variables come right after it.
const BASE: &[u8] = b"99-base.sh";
/// The script with what the image's author wants. Scripts before it come from registries and set `PATH`; it and those
/// after it may build on one.
const OWN: &[u8] = b"90-environment.sh";
/// What the image would do about the user's `PATH`; it is done here.
const RUNTIME_VARIABLES: &[u8] = b"99-runtimevars.sh";
/// Comes first. Some shells start with a `PATH` of their own.
const PROLOGUE: &[u8] = br#"unset PATH
__complete_path() {
    for __directory in $1; do
        case ":${PATH-}:" in
        *":$__directory:"*) ;;
        *) PATH="${PATH:+$PATH:}$__directory" ;;
        esac
    done
    export PATH
}
"#;
/// Adds the host's libraries, up to their name.
const LIBRARIES: &[u8] = b"LD_LIBRARY_PATH=\"${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}";
/// Comes last: what the user wants of `PATH`.
const EPILOGUE: &[u8] = br#"
[ -z "${SING_USER_DEFINED_PREPEND_PATH-}" ] || PATH="$SING_USER_DEFINED_PREPEND_PATH:$PATH"
[ -z "${SING_USER_DEFINED_APPEND_PATH-}" ] || PATH="$PATH:$SING_USER_DEFINED_APPEND_PATH"
[ -z "${SING_USER_DEFINED_PATH-}" ] || PATH="$SING_USER_DEFINED_PATH"
unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH SING_USER_DEFINED_PATH
export PATH
"#;
/// Variables that shells do not let anybody change.
const READ_ONLY: [&[u8]; 6] = [b"UID", b"EUID", b"GID", b"PPID", b"SHELLOPTS", b"BASHOPTS"];

/// A value the user gave.
pub(super) struct Wish {
    pub(super) name: Text,
    pub(super) value: Text,
    /// Whether the shell evaluates it, as within double quotes.
    pub(super) evaluated: bool,
}

/// The image's environment scripts, or what stands for them.
pub(super) enum Scripts {
    /// Their names in [`FOLDER`], in order.
    Folder(Vec<Text>),
    /// [`OLD_SCRIPT`] alone.
    Old,
    /// Variables instead of scripts: those of an OCI image's configuration.
    Configured(Vec<(Text, Text)>),
    /// None at all.
    None,
}

impl Scripts {
    /// Finds them; one that may not be read is left out, with a warning.
    pub(super) fn find() -> Self {
        match std::fs::read_dir(FOLDER) {
            Ok(folder) => {
                let names = folder.filter_map(|entry| Some(entry.ok()?.file_name().as_bytes().to_vec()));
                let mut names: Vec<Text> = names.filter(|name| is_script(name)).collect();
                names.sort();
                Self::Folder(names)
            }
            Err(_) if is_usable(OLD_SCRIPT.as_bytes()) => Self::Old,
            Err(_) => Self::None,
        }
    }

    /// The one script that evaluates them and the wishes. `with_shell` says that values may need a real shell.
    pub(super) fn compose(&self, wishes: &[Wish], with_shell: bool) -> Text {
        let mut script = Text::from(PROLOGUE);
        identify(&mut script);
        let mut wished = false;
        match self {
            Self::Folder(names) => {
                for (number, name) in names.iter().enumerate() {
                    let earlier = number.checked_sub(1).and_then(|number| names.get(number));
                    if name.as_slice() >= OWN && earlier.is_none_or(|earlier| earlier.as_slice() < OWN) {
                        default_path(&mut script);
                    }
                    source(&mut script, name);
                    if name == BASE {
                        wish(&mut script, wishes, with_shell);
                        wished = true;
                    }
                }
            }
            Self::Old => {
                line(&mut script, &[b". ", OLD_SCRIPT.as_bytes()]);
                complete_path(&mut script);
            }
            Self::Configured(variables) => {
                for (name, value) in variables.iter().filter(|(name, _)| may_be_set(name)) {
                    line(&mut script, &[b"export ", name, b"=", &single_quoted(value)]);
                }
            }
            Self::None => {}
        }
        if !wished {
            line(&mut script, &[LIBRARIES, HOST_LIBRARIES.as_bytes(), b"\"; export LD_LIBRARY_PATH"]);
            wish(&mut script, wishes, with_shell);
        }
        script.extend(EPILOGUE);
        script
    }
}

/// Whether a name in the folder is a script to evaluate.
fn is_script(name: &[u8]) -> bool {
    let plain = name.ends_with(b".sh") && !name.starts_with(b".") && !name.contains(&b'\n');
    plain && name != RUNTIME_VARIABLES && is_usable(&in_folder(name))
}

fn in_folder(name: &[u8]) -> Text {
    [FOLDER.as_bytes(), b"/", name].concat()
}

/// Whether this is a file that may be read; says so where it may not.
fn is_usable(path: &[u8]) -> bool {
    let path = OsStr::from_bytes(path);
    if !Path::new(path).metadata().is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let readable = access(path, AccessFlags::R_OK).is_ok();
    if !readable {
        message::warning(format!("Skipping environment script {}: it may not be read", shown(path)));
    }
    readable
}

/// Some shells know the user's id by themselves and let nobody change it, others do not.
fn identify(script: &mut Text) {
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    let text = format!(": \"${{UID:={user}}}\" \"${{EUID:={user}}}\" \"${{GID:={group}}}\"\n");
    script.extend(text.into_bytes());
}

fn source(script: &mut Text, name: &[u8]) {
    line(script, &[b". ", &single_quoted(&in_folder(name))]);
    if name == b"10-docker2singularity.sh" || name == b"10-docker.sh" {
        complete_path(script);
    }
}

/// Sets `PATH` where nobody has.
fn default_path(script: &mut Text) {
    line(script, &[b"PATH=\"${PATH-", DEFAULT_PATH.as_bytes(), b"}\"; export PATH"]);
}

/// Adds to `PATH` what it lacks of the default.
fn complete_path(script: &mut Text) {
    line(script, &[b"__complete_path '", DEFAULT_PATH.replace(':', " ").as_bytes(), b"'"]);
}

/// Carries out what the user wants, after the image had its say.
fn wish(script: &mut Text, wishes: &[Wish], with_shell: bool) {
    // What an image's script asked for in its own interest.
    line(script, &[b"set +e +u"]);
    default_path(script);
    for Wish { name, value, evaluated } in wishes {
        if !may_be_set(name) {
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
        line(script, &[&name, b"=", &if evaluated { double } else { single_quoted(&value) }]);
    }
}

fn may_be_set(name: &[u8]) -> bool {
    is_name(name) && !READ_ONLY.contains(&name)
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
        for value in ["", "a b", "it's", "a\"b", "tail\\", "\\\"", "x\\\\", "$HOME", "a\nb", "#no"] {
            assert!(is_one_word(&single_quoted(value.as_bytes())), "{value:?}");
            assert!(is_one_word(&double_quoted(value.as_bytes())), "{value:?}");
        }
        for value in ["${open", "$(open", "`open", "${a;b"] {
            assert!(is_one_word(&single_quoted(value.as_bytes())), "{value:?}");
            assert!(!is_one_word(&double_quoted(value.as_bytes())), "{value:?}");
        }
    }
}
