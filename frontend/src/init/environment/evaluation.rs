//! Evaluating a script: by the small shell, or where that is not enough by the image's own.

use super::Environment;
use super::image_shell;
use crate::init::Ending;
use crate::init::shell::{Foreign, Shell, Stop};
use crate::message::{self, shown};
use crate::payload::Text;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Runs the script that `compose` makes and returns what it exports. `compose` is told whether there is a real shell
/// to run it.
///
/// # Errors
/// When the script exits, and when the image's shell does not answer.
pub(super) fn evaluate(
    compose: impl Fn(bool) -> Text,
    start: &Environment,
    arguments: &[Text],
) -> Result<Environment, Ending> {
    let script = compose(true);
    let mut shell = Shell::new(start.iter(), arguments.to_vec());
    let foreign = match shell.run(&script) {
        Err(Stop::Foreign(foreign)) => foreign,
        result => return finish(&shell, result),
    };
    message::verbose(format!("Evaluating {} with the image's shell", describe(&foreign)));
    if let Some(image_shell) = image_shell::find() {
        return image_shell.evaluate(&script, start, arguments);
    }
    let mut shell = Shell::new(start.iter(), arguments.to_vec()).skip_foreign();
    let result = shell.run(&compose(false));
    for foreign in shell.skipped() {
        message::warning(format!(
            "{}, which needs a shell that the image does not have; what follows it there is left out",
            describe(foreign)
        ));
    }
    finish(&shell, result)
}

fn describe(foreign: &Foreign) -> String {
    match &foreign.script {
        Some(script) => format!("{} uses {}", shown(OsStr::from_bytes(script)), foreign.what),
        None => format!("a variable uses {}", foreign.what),
    }
}

fn finish(shell: &Shell, result: Result<(), Stop>) -> Result<Environment, Ending> {
    shell.print_all();
    match result {
        Err(Stop::Exit(status)) => Err(Ending::Status(status)),
        _ => Ok(shell.exported().collect()),
    }
}
