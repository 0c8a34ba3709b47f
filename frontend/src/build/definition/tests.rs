use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Definition, Fault> {
    Definition::parse(text, &Arguments::new())
}

fn fault(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn only(text: &str) -> Stage {
    parse(text).unwrap().stages.remove(0)
}

fn given(pairs: &[(&str, &str)]) -> Arguments {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const WHOLE: &str = "\
# an example
BootStrap: docker
From: alpine:3.20   # small
Registry: registry.example.org/
Namespace: team

%setup
    touch ${SINGULARITY_ROOTFS}/x
%files
    a.txt
    'b c' /opt/
    # nothing
%files from build
    /out/* /usr/local/bin
%post -c /bin/bash
    echo one
%labels
    Author Me And You
    # a remark
    Empty
%post
    echo two
%runscript
#!/bin/bash
    exec \"$@\"
%appinstall tool
    make
%applabels tool
    Version 1
%help
    100% helpful
    %d is no section here
";

#[test]
fn every_part_of_a_definition_is_found() {
    let text = format!("Bootstrap: scratch\nStage: build\n%post\nmake\n{WHOLE}");
    let definition = parse(&text).unwrap();
    let [first, last] = definition.stages.as_slice() else { panic!("{definition:?}") };
    assert_eq!((first.name(), &first.bootstrap), (Some("build"), &Bootstrap::Scratch));
    let reference = "docker://registry.example.org/team/alpine:3.20";
    assert_eq!(last.bootstrap, Bootstrap::Reference(reference.into()));
    let transfer = |source: &str, destination: Option<&str>| Transfer {
        source: source.into(),
        destination: destination.map(str::to_owned),
    };
    let [host, stage] = last.files.as_slice() else { panic!("{:?}", last.files) };
    assert_eq!(host.stage, None);
    assert_eq!(host.transfers, [transfer("a.txt", None), transfer("b c", Some("/opt/"))]);
    assert_eq!(stage.stage.as_deref(), Some("build"));
    assert_eq!(stage.transfers, [transfer("/out/*", Some("/usr/local/bin"))]);
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(last.labels, [label("Author", "Me And You"), label("Empty", "")]);
    let post = last.script("post").unwrap();
    assert_eq!((post.options.as_str(), post.text.as_str()), ("-c /bin/bash", "    echo one\n    echo two\n"));
    assert!(last.script("help").unwrap().text.contains("%d is no section"));
    assert_eq!(last.script("test"), None);
    assert_eq!(last.apps["tool"].labels, [label("Version", "1")]);
    assert_eq!(last.apps["tool"].script("appinstall").unwrap().text, "    make\n");
    assert!(last.text.starts_with("BootStrap: docker\n"), "{}", last.text);
}

#[test]
fn a_fault_is_told_with_its_line_and_what_was_meant() {
    for (text, wanted) in [
        ("", "line 1: a stage begins with a line 'Bootstrap: KIND'"),
        ("Bootstrap: scratch\n\n%psot\n", "line 3: invalid section(s) specified: %psot; did you mean %post?"),
        ("Bootstrap: scratch\n%build\n", "line 2: invalid section(s) specified: %build"),
        ("Bootstrap: dokcer\nFrom: x\n", "line 1: unknown kind of source 'dokcer'; did you mean docker?"),
        ("Bootstrap: yum\n", "line 1: 'Bootstrap: yum' is not supported"),
        ("Bootstrap: docker\n", "line 1: 'Bootstrap: docker' needs a line 'From: …'"),
        ("Bootstrap: scratch\nForm: x\n", "line 2: invalid header keyword found: Form; did you mean 'from'?"),
        ("Bootstrap: scratch\nhello\n", "line 2: header key hello had no val"),
        ("Bootstrap: scratch\nFrom: a\nFrom: b\n", "line 3: there are two lines 'from'"),
        ("Bootstrap: localimage\nFrom: a\nFingerprints: 12\n", "line 3: 'Fingerprints' is not supported"),
        ("Bootstrap: scratch\n%files\n'a\n", "line 3: a quote without its end"),
        ("Bootstrap: scratch\n%files\na b c\n", "line 3: more than a source and a destination"),
        ("Bootstrap: scratch\n%files from b\n", "line 2: no stage before this one is called b"),
        ("Bootstrap: scratch\n%files to b\n", "line 2: 'to b' is not of the form 'from STAGE'"),
        (
            "Bootstrap: scratch\nStage: a\nBootstrap: scratch\nStage: a\n",
            "line 3: there is a stage a already",
        ),
        ("Bootstrap: scratch\n%apprun\n", "line 2: '%apprun NAME' names an app"),
        ("Bootstrap: scratch\n%apprun ../x\n", "line 2: '%apprun NAME' names an app"),
        ("Bootstrap: scratch\n%post\n{{ who }}\n", "line 3: build var who is not defined through either"),
        ("Bootstrap: scratch\n%arguments\nx\n", "line 3: x is not of the form NAME=VALUE"),
        ("Bootstrap: debootstrap\n", "line 1: 'Bootstrap: debootstrap' needs a line 'OSVersion: …'"),
        ("Bootstrap: debootstrap\nOSVersion: --x\n", "line 2: 'osversion' begins with '-'"),
    ] {
        assert!(fault(text).starts_with(wanted), "{text}\n{}", fault(text));
    }
}

#[test]
fn build_arguments_come_from_outside_or_from_their_defaults() {
    let text = "Bootstrap: docker\nFrom: alpine:{{ VERSION }}\n%arguments\nVERSION=3.19\nGREETING=\"a b\"\n%post\necho {{GREETING}} {{.Name}} {{ }}\n";
    let stage = only(text);
    assert_eq!(stage.bootstrap, Bootstrap::Reference("docker://alpine:3.19".into()));
    assert_eq!(stage.script("post").unwrap().text, "echo a b {{.Name}} {{ }}\n");
    let stage = Definition::parse(text, &given(&[("VERSION", "3.20")])).unwrap().stages.remove(0);
    assert_eq!(stage.bootstrap, Bootstrap::Reference("docker://alpine:3.20".into()));
    let unused = Definition::parse(text, &given(&[("VERSOIN", "1"), ("X", "2")])).unwrap().unused;
    assert_eq!(unused, ["VERSOIN", "X"]);
    assert_eq!(parse_argument_file("# x\n\nA=1\nB = two \n").unwrap(), given(&[("A", "1"), ("B", "two")]));
    assert_eq!(parse_argument_file("A=1\nB").unwrap_err().line, 2);
}

#[test]
fn a_definition_cannot_grow_beyond_its_bound() {
    let text = format!("Bootstrap: scratch\n%post\n{}\n", "{{a}}".repeat(5000));
    let grown = Definition::parse(&text, &given(&[("a", &"x".repeat(5000))])).unwrap_err();
    assert_eq!((grown.line, grown.what.as_str()), (3, "with build arguments put in this is too long"));
    assert!(
        fault(&format!("Bootstrap: scratch\n%help\n{}", "x".repeat(DEFINITION_BYTES_MAX))).contains("longer")
    );
    assert!(fault(&"Bootstrap: scratch\n".repeat(STAGES_MAX + 1)).contains("stages"));
}

#[test]
fn debootstrap_takes_a_release_a_mirror_and_packages() {
    let stage = only(
        "Bootstrap: debootstrap\nOSVersion: bookworm\nMirrorURL: http://x/debian\nInclude: a, b \\\n  c\n",
    );
    assert_eq!(
        stage.bootstrap,
        Bootstrap::Debootstrap {
            release: "bookworm".into(),
            mirror: Some("http://x/debian".into()),
            include: vec!["a".into(), "b".into(), "c".into()],
        }
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_or_forge_a_line(text in "\\PC*|[%a-z:{}\\n\\\\'\" #]*") {
        if let Err(fault) = parse(&text) {
            prop_assert!(fault.line > 0);
            prop_assert!(!fault.to_string().contains('\n'));
        }
    }

    #[test]
    fn text_behind_a_header_is_parsed_or_refused(text in "(%(post|files|labels|help|apprun x|test)\n|[a-z %{}'\"\\\\#\t\u{0}é\n]){0,80}") {
        if let Ok(definition) = parse(&format!("Bootstrap: scratch\n{text}")) {
            prop_assert!(!definition.stages.is_empty());
        }
    }
}
