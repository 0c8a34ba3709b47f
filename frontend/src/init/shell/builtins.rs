//! The commands the shell has of its own. Each returns its exit status.

use super::syntax::is_name;
use super::{Shell, Stop, test_builtin};
use crate::payload::Text;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A builtin with its arguments.
pub(super) type Builtin = fn(&mut Shell, &[Text]) -> Result<i32, Stop>;

/// The builtin of this name.
pub(super) fn find(name: &[u8]) -> Option<Builtin> {
    Some(match name {
        b":" | b"true" => |_, _| Ok(0),
        b"false" => |_, _| Ok(1),
        b"." | b"source" => source,
        b"[" => bracket,
        b"break" => |_, arguments| Err(Stop::Break(count(arguments, 1)?)),
        b"continue" => |_, arguments| Err(Stop::Continue(count(arguments, 1)?)),
        b"command" => command,
        b"echo" => echo,
        b"eval" => eval,
        b"exec" => exec,
        b"exit" => |shell, arguments| Err(Stop::Exit(status(shell, arguments)?)),
        b"export" => export,
        b"local" => local,
        b"printf" => printf,
        b"readonly" => readonly,
        b"return" => |shell, arguments| Err(Stop::Return(status(shell, arguments)?)),
        b"set" => set,
        b"shift" => shift,
        b"test" => test_builtin::evaluate,
        b"unset" => unset,
        _ => return None,
    })
}

fn count(arguments: &[Text], default: usize) -> Result<usize, Stop> {
    match arguments {
        [] => Ok(default),
        [number] => std::str::from_utf8(number)
            .ok()
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| Stop::foreign("an odd number")),
        _ => Err(Stop::foreign("too many arguments")),
    }
}

fn status(shell: &Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let default = usize::try_from(shell.status).unwrap_or(1);
    Ok(i32::try_from(count(arguments, default)? & 0xff).unwrap_or(1))
}

fn source(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    match arguments {
        // Without a slash the file is searched for, in an order shells disagree on.
        [path, arguments @ ..] if path.contains(&b'/') => {
            shell.source(path, arguments)?;
            Ok(shell.status)
        }
        _ => Err(Stop::foreign("a search for a script")),
    }
}

fn bracket(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    match arguments {
        [expression @ .., end] if end == b"]" => test_builtin::evaluate(shell, expression),
        _ => Err(Stop::foreign("[ without ]")),
    }
}

/// `command -v name`: what a name is; other uses are for a real shell.
fn command(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let [option, name] = arguments else {
        return Err(Stop::foreign("the command command"));
    };
    if option != b"-v" {
        return Err(Stop::foreign("the command command"));
    }
    let found = if find(name).is_some() || shell.functions.contains_key(name) {
        Some(name.clone())
    } else if name.contains(&b'/') {
        return Err(Stop::foreign("the command command"));
    } else {
        let path = shell.get(b"PATH").unwrap_or_default().to_vec();
        shell.spend(path.len() + 1)?;
        path.split(|byte| *byte == b':')
            .map(|directory| [directory, b"/", name].concat())
            .find(|path| std::str::from_utf8(path).is_ok_and(crate::init::execute::is_executable))
    };
    match found {
        Some(found) => {
            shell.print(0, &[found.as_slice(), b"\n"].concat())?;
            Ok(0)
        }
        None => Ok(127),
    }
}

fn echo(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let (arguments, end) = match arguments {
        [option, arguments @ ..] if option == b"-n" => (arguments, b"".as_slice()),
        arguments => (arguments, b"\n".as_slice()),
    };
    // Shells disagree on backslashes and other options.
    if arguments.iter().any(|argument| argument.contains(&b'\\'))
        || arguments.first().is_some_and(|a| a.starts_with(b"-"))
    {
        return Err(Stop::foreign("echo with an option or a backslash"));
    }
    shell.print(0, &[&arguments.join(&b' '), end].concat())?;
    Ok(0)
}

/// `printf` with `%s`, `%%`, `\n` and `\t`.
fn printf(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let [format, values @ ..] = arguments else {
        return Err(Stop::foreign("printf without a format"));
    };
    let mut values = values.iter();
    let mut text = Text::new();
    loop {
        let left = values.len();
        let mut bytes = format.iter();
        while let Some(byte) = bytes.next() {
            match (byte, if matches!(byte, b'%' | b'\\') { bytes.next() } else { None }) {
                (b'%', Some(b's')) => text.extend(values.next().into_iter().flatten()),
                (b'%', Some(b'%')) => text.push(b'%'),
                (b'\\', Some(b'n')) => text.push(b'\n'),
                (b'\\', Some(b't')) => text.push(b'\t'),
                (b'%' | b'\\', _) => return Err(Stop::foreign("a printf format")),
                (byte, _) => text.push(*byte),
            }
            shell.spend(1)?;
        }
        if values.len() == 0 || values.len() == left {
            break;
        }
    }
    shell.print(0, &text)?;
    Ok(0)
}

fn eval(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let text = arguments.join(&b' ');
    shell.spend(text.len())?;
    shell.deeper(|shell| shell.run_text(&text))?;
    Ok(shell.status)
}

fn exec(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    match arguments {
        [first, ..] if shell.may_exec && !first.starts_with(b"-") => Err(Stop::Exec(arguments.to_vec())),
        _ => Err(Stop::foreign("exec")),
    }
}

fn export(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    declare(shell, arguments, |shell, name| {
        shell.export(name);
        Ok(())
    })
}

fn local(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    // The value must be hidden before it is assigned.
    for argument in arguments {
        let name = argument.split(|byte| *byte == b'=').next().unwrap_or_default();
        // Without a value, shells disagree on whether the outer one stays.
        if !is_name(name) || (name.len() == argument.len() && shell.get(name).is_some()) {
            return Err(Stop::foreign("an odd declaration"));
        }
        shell.hide(name)?;
    }
    declare(shell, arguments, |_, _| Ok(()))
}

/// Nothing is made read-only: a script that then assigns it all the same needs a real shell's answer.
fn readonly(_: &mut Shell, _: &[Text]) -> Result<i32, Stop> {
    Err(Stop::foreign("readonly variables"))
}

/// `name` and `name=value`.
fn declare(
    shell: &mut Shell,
    arguments: &[Text],
    mark: impl Fn(&mut Shell, &[u8]) -> Result<(), Stop>,
) -> Result<i32, Stop> {
    if arguments.is_empty() {
        return Err(Stop::foreign("a list of variables"));
    }
    for argument in arguments {
        let mut parts = argument.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        if !is_name(name) {
            return Err(Stop::foreign("an odd declaration"));
        }
        if let Some(value) = parts.next() {
            shell.set(name, value.to_vec())?;
        }
        mark(shell, name)?;
    }
    Ok(0)
}

fn unset(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let (names, functions) = match arguments {
        [option, names @ ..] if option == b"-f" => (names, true),
        [option, names @ ..] if option == b"-v" => (names, false),
        names => (names, false),
    };
    for name in names {
        if !is_name(name) {
            return Err(Stop::foreign("an odd unset"));
        }
        if functions {
            shell.functions.remove(name);
        } else {
            shell.variables.remove(name);
        }
    }
    Ok(0)
}

fn shift(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    let by = count(arguments, 1)?;
    if by > shell.positional.len() {
        return Err(Stop::foreign("a shift of too many parameters"));
    }
    shell.positional.drain(..by);
    Ok(0)
}

/// `set -a`, `set +a`, `set -f`, `set +f`, and `set` with new parameters.
fn set(shell: &mut Shell, arguments: &[Text]) -> Result<i32, Stop> {
    for (number, argument) in arguments.iter().enumerate() {
        match argument.as_slice() {
            b"--" => {
                shell.positional = arguments.get(number + 1..).unwrap_or_default().to_vec();
                return Ok(0);
            }
            b"-a" => shell.export_all = true,
            b"+a" => shell.export_all = false,
            b"-f" => shell.no_globbing = true,
            b"+f" => shell.no_globbing = false,
            b"+e" | b"+u" | b"+x" => {}
            [first, ..] if !matches!(first, b'-' | b'+') => {
                shell.positional = arguments.get(number..).unwrap_or_default().to_vec();
                return Ok(0);
            }
            other => {
                let option = crate::message::shown(OsStr::from_bytes(other));
                return Err(Stop::foreign(format!("set {option}")));
            }
        }
    }
    if arguments.is_empty() { Err(Stop::foreign("a list of variables")) } else { Ok(0) }
}
