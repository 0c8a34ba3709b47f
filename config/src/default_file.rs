//! The text of a `singularity.conf` with every directive explained, made from the table.

use crate::{Directive, Enforcer, Origin, Settings, TABLE};

const HEAD: &str = "\
# What this site allows its users to do with containers.
#
# The setuid starter reads this file anew for every container. It must belong to root, and nobody else may be able to
# write it. A line is 'name = value'. The first line of a directive decides, except that a list has the values of all
# its lines. There are no comments behind a value. A value that a directive does not know stops every container.
#
# Made from the table of directives: do not change the packaged copy by hand.
";

/// The file as it is installed.
#[must_use]
pub fn default_file() -> String {
    Settings::as_installed().to_file()
}

impl Settings {
    /// These settings as a file, every directive explained. Reading the file gives the same values again.
    #[must_use]
    pub fn to_file(&self) -> String {
        let mut file = HEAD.to_owned();
        let mut subject = "";
        for directive in TABLE {
            if directive.subject != subject {
                subject = directive.subject;
                file.push_str(&format!("\n\n# --- {subject} ---\n"));
            }
            file.push_str(&entry(directive, &self.texts(directive.name).unwrap_or_default()));
        }
        file
    }
}

/// One directive: its form, its help, its lines. One without a value is left as a comment to be filled in.
fn entry(directive: &Directive, values: &[String]) -> String {
    let Directive { name, kind, list, .. } = directive;
    let many = if *list { "list of " } else { "" };
    let mut text = format!("\n# {name}: {many}{kind}{}\n", origin(directive.origin));
    for line in directive.help.iter().copied().chain(effect(directive.enforcer)) {
        text.push_str(&format!("# {line}\n"));
    }
    if values.is_empty() {
        text.push_str(&format!("# {name} =\n"));
    }
    for value in values {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Both => "",
        Origin::SingularityCe => " (SingularityCE)",
        Origin::Apptainer => " (Apptainer)",
        Origin::Lamina => " (Lamina only)",
    }
}

fn effect(enforcer: Enforcer) -> Option<&'static str> {
    match enforcer {
        Enforcer::Starter | Enforcer::Frontend => None,
        Enforcer::Nobody => Some("Has no effect here; it is known so that files that have it load."),
    }
}
