//! The man pages: one for the program, one for each command, one for `singularity.conf`.

use config::{Directive, Enforcer, Origin, Settings, TABLE};
use frontend::cli::flags::{Flag, Kind};
use frontend::cli::help::{Page, global_options, pages as commands};
use roff::{Inline, Roff, bold, italic, roman};

/// Every page by the name of its file.
pub(crate) fn pages() -> Vec<(String, Roff)> {
    let commands = commands("lamina");
    let mut pages =
        vec![("lamina.1".to_owned(), program(&commands)), ("singularity.conf.5".to_owned(), site_file())];
    pages.extend(commands.iter().map(|page| (format!("{}.1", page_name(page)), command(page))));
    pages
}

/// `lamina-overlay-create`
fn page_name(page: &Page) -> String {
    format!("lamina-{}", page.name.replace(' ', "-"))
}

/// A page that has its title and its first section.
fn begin(name: &str, section: &str, about: &str) -> Roff {
    let source = concat!("Lamina ", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", [&name.to_uppercase(), section, "\"\"", source, "Lamina"]);
    page.control("ad", ["l"]);
    heading(&mut page, "NAME");
    page.text([roman(format!("{name} - {}", lowered(about)))]);
    page
}

fn heading(page: &mut Roff, title: &str) {
    page.control("SH", [title.to_uppercase().as_str()]);
}

fn lowered(about: &str) -> String {
    let mut letters = about.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Text whose lines flow, but for those that begin with a space; empty lines part paragraphs.
fn prose(page: &mut Roff, text: &str) {
    let mut kept = false;
    for line in text.trim_end().lines() {
        let keeps = line.starts_with(' ');
        if keeps != kept {
            page.control(if keeps { "nf" } else { "fi" }, []);
            kept = keeps;
        }
        if line.is_empty() {
            page.control("PP", []);
        } else {
            page.text([roman(line)]);
        }
    }
    if kept {
        page.control("fi", []);
    }
}

fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    prose(page, text);
}

/// A term, and what it means indented below.
fn term(page: &mut Roff, term: Vec<Inline>, meaning: &str) {
    page.control("TP", []);
    page.text(term);
    prose(page, meaning);
}

fn references(page: &mut Roff, pages: &[(String, &str)]) {
    heading(page, "SEE ALSO");
    for (index, (name, section)) in pages.iter().enumerate() {
        let comma = if index + 1 < pages.len() { "," } else { "" };
        page.text([bold(name), roman(format!("({section}){comma}"))]);
    }
}

fn command(about: &Page) -> Roff {
    let mut page = begin(&page_name(about), "1", about.about);
    heading(&mut page, "SYNOPSIS");
    page.text([bold(format!("lamina {}", about.name)), roman(format!(" {}", about.synopsis).trim_end())]);
    heading(&mut page, "DESCRIPTION");
    page.text([roman(format!("{}.", about.about))]);
    if !about.notes.is_empty() {
        paragraph(&mut page, about.notes);
    }
    options(&mut page, about);
    variables(&mut page, about);
    heading(&mut page, "EXAMPLES");
    page.control("EX", []);
    for example in &about.examples {
        page.text([roman(example)]);
    }
    page.control("EE", []);
    references(&mut page, &[("lamina".into(), "1"), ("singularity.conf".into(), "5")]);
    page
}

fn options(page: &mut Roff, about: &Page) {
    heading(page, "OPTIONS");
    let mut topics: Vec<&str> = about.options.iter().map(|flag| flag.topic).collect();
    topics.sort_by_key(|topic| about.options.iter().position(|flag| flag.topic == *topic));
    topics.dedup();
    for topic in &topics {
        if topics.len() > 1 {
            page.control("SS", [*topic]);
        }
        for flag in about.options.iter().filter(|flag| flag.topic == *topic) {
            option(page, flag);
        }
    }
    if !about.options.is_empty() {
        page.control("PP", []);
    }
    prose(page, "Options that every command takes are in lamina(1); they stand before the command.");
}

fn option(page: &mut Roff, flag: &Flag) {
    let mut words: Vec<Inline> =
        flag.short.iter().flat_map(|letter| [bold(format!("-{letter}")), roman(", ")]).collect();
    words.push(bold(format!("--{}", flag.name)));
    if flag.kind != Kind::Switch {
        words.extend([roman(" "), italic(flag.value)]);
    }
    term(page, words, flag.help);
}

/// The variables that set options: they have no other place to be looked up.
fn variables(page: &mut Roff, about: &Page) {
    if about.options.iter().all(|flag| flag.variables.is_empty()) {
        return;
    }
    heading(page, "ENVIRONMENT");
    prose(
        page,
        "Each of these sets an option that is not on the command line, where the first one set counts. \
         APPTAINER_ in place of SINGULARITY_ does the same, and comes first when the program is called apptainer.",
    );
    for flag in about.options.iter().filter(|flag| !flag.variables.is_empty()) {
        let names: Vec<String> = flag.variables.iter().map(|name| format!("SINGULARITY_{name}")).collect();
        let adds = if flag.variables_add { ", in addition to the command line" } else { "" };
        term(page, vec![bold(names.join(", "))], &format!("--{}{adds}", flag.name));
    }
}

fn program(commands: &[Page]) -> Roff {
    let mut page = begin("lamina", "1", "Run containers with persistent overlays");
    heading(&mut page, "SYNOPSIS");
    page.text([bold("lamina"), roman(" [global options...] <command> [options...] [args...]")]);
    heading(&mut page, "DESCRIPTION");
    prose(
        &mut page,
        "Runs containers from SIF images, and keeps what is changed in them in overlays: layers over the read-only \
         image, in files of their own or inside the SIF. The command lines are those of singularity and apptainer, \
         and the program may be called by these names.",
    );
    paragraph(
        &mut page,
        "What stands behind the name of an image belongs to the container. A switch that a variable has set is taken \
         back on the command line with --switch=false.",
    );
    heading(&mut page, "COMMANDS");
    for about in commands {
        term(&mut page, vec![bold(page_name(about)), roman("(1)")], &format!("{}.", about.about));
    }
    heading(&mut page, "GLOBAL OPTIONS");
    for (short, long, help) in global_options() {
        let mut words: Vec<Inline> =
            short.iter().flat_map(|letter| [bold(format!("-{letter}")), roman(", ")]).collect();
        words.push(bold(format!("--{long}")));
        term(&mut page, words, &help);
    }
    heading(&mut page, "EXIT STATUS");
    prose(
        &mut page,
        "That of the container's program. 255 when no container was started; 1 when the command line cannot be \
         understood.",
    );
    heading(&mut page, "ENVIRONMENT");
    term(&mut page, vec![bold("NO_COLOR")], "If set and not empty, nothing is coloured.");
    let prefixed = "The variables of a command's options are in its own page.";
    term(&mut page, vec![bold("SINGULARITY_*, APPTAINER_*")], prefixed);
    let pages: Vec<(String, &str)> = commands.iter().map(|about| (page_name(about), "1")).collect();
    references(&mut page, &[pages, vec![("singularity.conf".into(), "5")]].concat());
    page
}

fn site_file() -> Roff {
    let mut page = begin("singularity.conf", "5", "What a site allows its users to do with containers");
    heading(&mut page, "DESCRIPTION");
    prose(
        &mut page,
        "The setuid starter reads this file anew for every container. Where it is was fixed when the program was \
         built: 'lamina doctor' prints the path. It must belong to root, and nobody else may be able to write it, nor \
         any folder above it.",
    );
    paragraph(
        &mut page,
        "A line is 'name = value'. The first line of a directive decides, except that a list has the values of all its \
         lines, and a line may have several, parted by commas. A line that begins with # is a comment; there are none \
         behind a value. A value that a directive does not know stops every container. A name that nobody knows is \
         passed over.",
    );
    paragraph(
        &mut page,
        "The directives are those of SingularityCE and Apptainer, so that a site's file can stay as it is.",
    );
    let mut subject = "";
    for directive in TABLE {
        if directive.subject != subject {
            subject = directive.subject;
            heading(&mut page, subject);
        }
        describe(&mut page, directive);
    }
    references(&mut page, &[("lamina-config-check".into(), "1"), ("lamina-config-global".into(), "1")]);
    page
}

fn describe(page: &mut Roff, directive: &Directive) {
    let many = if directive.list { "list of " } else { "" };
    let origin = match directive.origin {
        Origin::Both => "",
        Origin::SingularityCe => " (SingularityCE)",
        Origin::Apptainer => " (Apptainer)",
        Origin::Lamina => " (Lamina)",
    };
    let kind = format!(" = {many}{}{origin}", directive.kind);
    let enforced = match directive.enforcer {
        Enforcer::Starter => "Enforced by the setuid starter.",
        Enforcer::Frontend => "Obeyed by the program that users start: a wish and no limit.",
        Enforcer::Nobody => "Has no effect here; it is known so that files that have it load.",
    };
    let values = Settings::as_installed().texts(directive.name).unwrap_or_default();
    let installed = if values.is_empty() {
        "The installed file gives it no value.".to_owned()
    } else {
        format!("Installed as: {}.", values.join(", "))
    };
    let meaning = format!("{}\n{enforced}\n{installed}", directive.help.join("\n"));
    term(page, vec![bold(directive.name), roman(kind)], &meaning);
}
