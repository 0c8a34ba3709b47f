//! The table and what is made from it.

use config::{Enforcer, Kind, Origin, Settings, TABLE, default_file, unknown_directives};

#[test]
fn the_packaged_file_is_the_one_the_table_makes() {
    let packaged = include_str!("../../packaging/singularity.conf");
    let remedy = "run: cargo run -p config --example default-file > packaging/singularity.conf";
    assert!(packaged == default_file(), "{remedy}");
}

#[test]
fn the_default_file_says_what_would_hold_without_it_but_for_the_lists_it_fills() {
    let from_file = Settings::parse(default_file().as_bytes()).expect("the default file is good");
    for directive in TABLE {
        let name = directive.name;
        assert_eq!(from_file.texts(name), Settings::as_installed().texts(name), "{name}");
        if !directive.list {
            assert_eq!(from_file.texts(name), Settings::default().texts(name), "{name}");
        }
    }
    assert_eq!(from_file.texts("bind path").unwrap(), ["/etc/localtime", "/etc/hosts"]);
}

#[test]
fn the_default_file_names_every_directive_and_no_other() {
    let file = default_file();
    for directive in TABLE {
        assert!(file.contains(&format!("\n# {}: ", directive.name)), "{}", directive.name);
    }
    assert_eq!(unknown_directives(file.as_bytes()).count(), 0);
}

#[test]
fn names_are_distinct_and_can_be_written() {
    for (number, directive) in TABLE.iter().enumerate() {
        let name = directive.name;
        assert!(TABLE[..number].iter().all(|earlier| earlier.name != name), "{name}");
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || " _-".contains(letter)), "{name}");
        assert!(unknown_directives(format!("{name} = x").as_bytes()).next().is_none(), "{name}");
    }
}

/// Written in the words of the incumbents' own documentation, to be compared with by eye.
#[test]
fn both_incumbents_directives_are_all_known() {
    let names = "allow setuid; max loop devices; shared loop devices; allow ipc ns; allow pid ns; allow uts ns; \
        allow user ns; config passwd; config group; config resolv_conf; mount proc; mount sys; mount devpts; \
        mount home; mount tmp; mount dev; mount hostfs; bind path; user bind control; enable fusemount; \
        enable overlay; enable underlay; mount slave; sessiondir max size; memory fs type; tmp sandbox; \
        limit container owners; limit container groups; limit container paths; allow container sif; \
        allow container encrypted; allow container squashfs; allow container extfs; allow container dir; \
        allow kernel squashfs; allow kernel extfs; allow setuid-mount encrypted; allow setuid-mount squashfs; \
        allow setuid-mount extfs; sync writable extfs; allow net users; allow net groups; allow net networks; \
        allow netns paths; always use nv; always use rocm; use nvidia-container-cli; root default capabilities; \
        cni configuration path; cni plugin path; root search path; user search path; cryptsetup path; \
        ldconfig path; nvidia-container-cli path; go path; mksquashfs path; unsquashfs path; binary path; \
        mksquashfs procs; mksquashfs mem; image driver; download concurrency; download part size; \
        download buffer size; systemd cgroups; sif fuse; oci mode; allow monitoring; \
        apptheus communication socket path";
    let names: Vec<&str> = names.split("; ").collect();
    for name in &names {
        assert!(TABLE.iter().any(|directive| directive.name == *name), "{name}");
    }
    let own = TABLE.iter().filter(|directive| directive.origin == Origin::Lamina).count();
    assert_eq!(names.len() + own, TABLE.len());
}

#[test]
fn every_accepted_word_is_read_and_written_back() {
    for directive in TABLE {
        let Kind::Words(words) = directive.kind else {
            continue;
        };
        for word in words {
            let line = format!("{} = {word}", directive.name);
            let settings = Settings::parse(line.as_bytes()).expect(&line);
            assert_eq!(settings.texts(directive.name).unwrap(), [*word], "{line}");
        }
        let line = format!("{} = never", directive.name);
        assert!(Settings::parse(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn defaults_are_what_the_table_of_the_incumbents_says_but_where_the_two_differ() {
    let table = [
        ("allow setuid", "yes"),
        ("max loop devices", "256"),
        ("shared loop devices", "no"),
        ("mount dev", "yes"),
        ("mount hostfs", "no"),
        ("user bind control", "yes"),
        ("enable overlay", "try"),
        ("enable underlay", "yes"),
        ("sessiondir max size", "64"),
        ("memory fs type", "tmpfs"),
        ("allow kernel extfs", "yes"),
        ("allow setuid-mount extfs", "yes"),
        ("allow setuid-mount squashfs", "yes"),
        ("sync writable extfs", "no"),
        ("root default capabilities", "full"),
        ("download part size", "5242880"),
    ];
    for (name, value) in table {
        assert_eq!(Settings::default().texts(name).unwrap(), [value], "{name}");
    }
}

#[test]
fn a_directive_without_effect_says_so_in_the_default_file() {
    let file = default_file();
    for directive in TABLE.iter().filter(|directive| directive.enforcer == Enforcer::Nobody) {
        let from = file.find(&format!("\n# {}: ", directive.name)).expect("every directive is there");
        let block = file[from + 1..].split("\n\n").next().unwrap_or_default();
        assert!(block.contains("Has no effect here"), "{}", directive.name);
    }
}

#[test]
fn a_line_of_the_default_file_fits_a_wide_terminal() {
    assert!(default_file().lines().all(|line| line.len() <= 120));
}
