//! The small shell gives the answers of a real one. Each script here runs in both, and exports and output are compared;
//! the real one is busybox, with the same few variables to start from.

use super::*;
use std::process::Command as Process;

const START: [(&str, &str); 5] =
    [("HOME", "/home/ann"), ("PATH", "/usr/bin:/bin"), ("SPACED", " a  b "), ("EMPTY", ""), ("STAR", "*")];

fn ours(script: &str) -> (Result<(), Stop>, BTreeMap<Text, Text>, Text) {
    let start = START.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut shell = Shell::new(start, vec![b"one".into(), b"two words".into()]);
    let result = shell.run(script.as_bytes());
    let exported = shell.exported().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let output = shell
        .printed
        .iter()
        .filter(|(stream, _)| *stream == Stream::Output)
        .flat_map(|(_, text)| text.to_vec());
    (result, exported, output.collect())
}

fn theirs(script: &str) -> (i32, BTreeMap<Text, Text>, Text) {
    let script = format!("{script}\nprintf '\\001'\nexec busybox env -0\n");
    let output = Process::new("busybox")
        .args(["sh", "-c", &script, "sh", "one", "two words"])
        .env_clear()
        .envs(START)
        .output()
        .expect("busybox is installed");
    let mut parts = output.stdout.splitn(2, |byte| *byte == 1);
    let printed = parts.next().unwrap_or_default().to_vec();
    let variables = parts.next().unwrap_or_default().split(|byte| *byte == 0).filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        Some((variable[..equals].to_vec(), variable[equals + 1..].to_vec()))
    });
    let own = [b"PWD".as_slice(), b"OLDPWD", b"SHLVL", b"_"];
    let variables = variables.filter(|(name, _)| !own.contains(&name.as_slice())).collect();
    (output.status.code().unwrap_or(-1), variables, printed)
}

#[track_caller]
fn same(script: &str) {
    let (result, exported, printed) = ours(script);
    let (status, variables, output) = theirs(script);
    assert_eq!(result, Ok(()), "{script}");
    assert_eq!(status, 0, "{script}");
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let readable = |map: &BTreeMap<Text, Text>| -> BTreeMap<_, _> {
        map.iter().map(|(name, value)| (text(name), text(value))).collect()
    };
    assert_eq!(readable(&exported), readable(&variables), "{script}");
    assert_eq!(text(&printed), text(&output), "{script}");
}

#[track_caller]
fn foreign(script: &str) {
    assert!(matches!(ours(script).0, Err(Stop::Foreign(_))), "{script}");
}

#[test]
fn assignments_and_exports_are_those_of_a_real_shell() {
    same("A=1; export A; export B=2 C='3 4' D=\"$A $B\"; E=not");
    same("A=1 B=2; export A B; unset A; export F=");
    same("export A=$SPACED; B=$SPACED; export B");
    same("set -a; A=1; B=2; set +a; C=3");
    same("export A=x=y:z B=a#b # comment\nexport C=1;export D=2");
    same("A=one\\\ntwo; export A");
    same("PATH=/opt/bin:$PATH");
    same("A=~/x:~/y; B=~; C='~'; D=a~; E=~/\"q r\"; export A B C D E");
    same("export A; A=later");
    same("A=`echo \\`echo deep\\``; B=$(echo $(echo deeper)); export A B");
}

#[test]
fn quotes_and_escapes_mean_what_they_mean() {
    same(r#"A='a\b"c'; B="a\b\"c\$d\`e\\"; C=a\ b\'c; D=""; E=''x""; export A B C D E"#);
    same("A=\"it's\"; B='say \"x\"'; C=\"a\nb\"; export A B C");
    same(r#"A="$"; B=$; C="a$ b"; D="\z"; export A B C D"#);
    same("A=a\\\"b; B=\"x\\\ny\"; export A B");
}

#[test]
fn parameters_expand_as_in_a_real_shell() {
    same("export A=${HOME:-x} B=${NONE:-x y} C=${EMPTY:-e} D=${EMPTY-e} E=${NONE-n}");
    same("export A=${HOME:+set} B=${NONE:+set} C=${EMPTY:+set} D=${EMPTY+set}");
    same(
        "export A=\"${NONE:-\"quoted value\"}\" B=\"${NONE:-$HOME/x}\" C=\"${NONE:-it's}\" D=\"${NONE:-\\}}\"",
    );
    same("export A=${NONE:=assigned} B=$NONE C=${#HOME} D=${#NONE}; export NONE");
    same("F=/a/b.tar.gz; export A=${F%.*} B=${F%%.*} C=${F#*/} D=${F##*/} E=${F%/x} G=${F%\"*\"}");
    same("P='*'; F=a*b; export A=\"${F%$P}\" B=\"${F%\"$P\"}\" C=${F#a\\*} D=\"${F#a'*'}\"");
    same("export A=$1 B=$2 C=$# D=\"$*\" E=\"$@\" F=$3 G=${10} H=${2:-x}");
    same(": ${A:=1} \"${B:=2}\"; export A B");
    same("false; A=$?; true; B=$?; C=$(false); D=$?; export A B C D");
    same("A=$HOME$NONE$PATH; B=${HOME}x; C=$HOME/x; export A B C");
}

#[test]
fn words_split_and_find_files_as_in_a_real_shell() {
    same("for w in $SPACED \"$SPACED\" $EMPTY \"$EMPTY\" x$SPACED'y'; do echo \"<$w>\"; done");
    same("IFS=:; for w in $PATH a:b $NONE; do echo \"<$w>\"; done");
    same("X=a::b:; IFS=:; for w in $X; do echo \"<$w>\"; done");
    same("for w in \"$@\" $@ \"x$@y\" \"$*\"; do echo \"<$w>\"; done");
    same("set -- 'p q' r; for w; do echo \"<$w>\"; done; shift; echo $# $1");
    same("for f in /etc/pass?d /etc/[g]roup /etc/nothing-* \"/etc/*\" /et*/hostnam[e]; do echo $f; done");
    same("set -f; echo /etc/pass*; set +f; echo /etc/pass*; echo \"$STAR\"");
    same("for w in ${NONE:-a b} \"${NONE:-a b}\" ${NONE:-\"a b\"}; do echo \"<$w>\"; done");
    same("for w in $(echo a b) \"$(echo a b)\" `echo c`; do echo \"<$w>\"; done");
}

#[test]
fn conditions_and_loops_run_as_in_a_real_shell() {
    same(
        "if test -n \"$HOME\"; then export A=1; else export A=2; fi; if false; then :; elif true; then export B=3; fi",
    );
    same("[ -z \"$NONE\" ] && export A=1 || export A=2; ! true || export B=1; true && ! false && export C=3");
    same(
        "[ a = b -o 1 -lt 2 ] && export A=1; [ ! -d /nowhere -a -f /etc/passwd ] && export B=1; [ -e / ] && export C=1",
    );
    same(
        "[ \"\" ] || export A=1; [ x ] && export B=1; [ ! x ] || export C=1; [ -n ] && export D=1; [ = = = ] && export E=1",
    );
    same("test 3 -eq 3 && test 3 -ne 4 && test 4 -gt 3 && test 3 -ge 3 && test 3 -le 3 && export A=1");
    same(
        "case $HOME in /home/*) export A=home ;; *) export A=other ;; esac; case x in (a|x) B=1;; esac; export B",
    );
    same(
        "case a in [!b-z]) A=1;; esac; case ] in []]) B=1;; esac; case 5 in [[:digit:]]) C=1;; esac; export A B C",
    );
    same(
        "case '*' in \\*) A=1;; esac; case ab in a\"?\") B=1;; a?) B=2;; esac; case '' in '') C=1;; esac; export A B C",
    );
    same("case \":$PATH:\" in *:/bin:*) ;; *) PATH=/bin:$PATH;; esac; case x in y) ;; esac; A=$?; export A");
    same(
        "i=; while [ \"$i\" != xxx ]; do i=x$i; [ $i = xx ] && continue; echo $i; done; until [ $i = xxx ]; do :; done",
    );
    same(
        "for i in 1 2 3; do for j in 1 2; do [ $i = 2 ] && continue 2; [ $i = 3 ] && break 2; echo $i$j; done; done",
    );
    same(
        "{ A=1; export A; }; (B=2; export B; echo in); export C=3; if (exit 3); then :; else D=$?; fi; export D",
    );
}

#[test]
fn functions_and_eval_run_as_in_a_real_shell() {
    same(
        "add() { case \":$2:\" in *\":$1:\"*) ;; *) PATH=$1:$PATH ;; esac; }; add /opt \"$PATH\"; add /bin \"$PATH\"",
    );
    same("f() { local x=1; y=$x; return 3; }; f || export A=$?; export X=$x Y=$y");
    same("f () { echo $# \"$1\"; }; f 'a b' c; f; unset -f f; export A=1");
    same("n=B; eval \"export $n=5; C=\\$n\"; export C; eval");
    same("x=outer; f() { local x=inner; g; }; g() { A=$x; }; f; export A x");
    same("command -v sh >/dev/null 2>&1 && export A=1; command -v no-such >/dev/null || export B=1");
}

#[test]
fn output_goes_where_it_is_sent() {
    same(
        "echo a; echo -n b; echo 'c  d' e; echo gone >/dev/null; echo err >&2; { echo x; echo y >&2; } 2>/dev/null",
    );
    same("printf '%s-%s\\n' a b c; printf 'x%%y\\t'; printf '%s\\n'");
    same("A=$(echo captured; echo err >&2); B=$(echo a; echo; echo); export A B; echo 2>&1 z");
    same("export A=$(printf '%s' 'a b'); export B=\"$(echo 'a  b')\"");
}

#[test]
fn a_script_that_returns_or_is_missing_ends_alone() {
    let folder = std::env::temp_dir().join(format!("small-shell-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let script = folder.join("a.sh");
    std::fs::write(&script, "export A=1 N=$1\nreturn 4\nexport B=1\n").expect("a script");
    let path = script.display();
    same(&format!(". {path}; export S=$?; . {path} x; export M=$N"));
    foreign(&format!(". {path}.missing"));
    std::fs::remove_dir_all(&folder).expect("a folder that was made");
}

#[test]
fn exit_ends_the_evaluation_with_its_status() {
    assert_eq!(ours("export A=1; exit 3; export B=1").0, Err(Stop::Exit(3)));
    assert_eq!(ours("f() { exit; }; false; f").0, Err(Stop::Exit(1)));
}

#[test]
fn what_the_small_shell_does_not_know_it_leaves_to_a_real_one() {
    for script in [
        "ls",
        "A=1 ls",
        "echo x | cat",
        "sleep 1 &",
        "cat <<E\nx\nE\n",
        "A=$((1+1))",
        "((A=1))",
        "A=(1 2)",
        "[[ a = b ]]",
        "A=${HOME/x/y}",
        "A=${HOME:1:2}",
        "A=${!HOME}",
        "echo x > /tmp/file",
        "echo 'a\\nb'",
        "echo -e x",
        "A=$RANDOM",
        "A=$$",
        "readonly A=1",
        "trap : EXIT",
        "cd /",
        "function f { :; }",
        "set -e",
        "export -p",
        ". file",
        "A=~root",
        "A=${NONE?message}",
        "if true",
        "fi",
        "echo 'open",
        "echo \"open",
        "${",
        "$(",
        "`",
        ")",
        "case x in",
        "a() ",
        "for",
        "& x",
        "; ;",
        "[ a -nt b ]",
        "[ 1x -eq 1 ]",
        "test ( a )",
        "break",
        "A+=1",
        "A=$'x'",
        "cat <(echo)",
        "local x=1",
        "umask 0",
        "ulimit -n 10",
        "alias x=y",
        "exec ls",
        "read x",
    ] {
        foreign(script);
    }
    // Only what runs must be known.
    same(
        "if false; then ls | cat; A=$((1+1)); [[ a ]]; fi; true || sleep 1 &&  :; f() { cd /; }; export A=1",
    );
}

#[test]
fn no_script_runs_for_ever_or_fills_the_memory() {
    for script in [
        "while :; do :; done",
        "f() { f; }; f",
        "A=x; while :; do A=$A$A; done",
        "A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; while :; do B=${A#*b}; done",
        "while :; do echo filling the memory with output; done",
        "f() { eval f; }; f",
        "for i in /*/*/*/*; do for j in /*/*/*/*; do :; done; done",
        "f() { A=$(f); }; f",
    ] {
        foreign(script);
    }
    foreign(&"(".repeat(100_000));
    foreign(&"$(".repeat(100_000));
    foreign(&"if ".repeat(100_000));
    foreign(&"\"${a:-".repeat(100_000));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100)))]

    #[test]
    fn no_text_makes_the_small_shell_panic(text in "[ -~\n]{0,60}") {
        let _ = ours(&text);
    }

    #[test]
    fn shell_like_text_gives_no_answer_of_its_own(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "A=1", "export", "B", "$A", "\"", "'", "${A", "}", ":-", "x", ";", "\n", "if", "then", "fi", "true", "false",
            "&&", "||", "[", "]", "-n", "=", "$(", ")", "echo", "case", "in", "esac", ";;", "*)", "{", "(", "for", "do",
            "done", "%", "#", "\\", "`", "!",
        ]), 0..14)
    ) {
        let script = words.join(" ");
        // What follows the script would be part of it.
        proptest::prop_assume!(!script.ends_with('\\'));
        let (result, exported, _) = ours(&script);
        if result == Ok(()) {
            let (status, variables, _) = theirs(&script);
            proptest::prop_assert_eq!(status, 0, "{}", script);
            proptest::prop_assert_eq!(exported, variables, "{}", script);
        }
    }
}
