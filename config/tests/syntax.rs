//! The rules of the file's form, one test each.

use config::{
    ConfigError, FILE_BYTES_MAX, LIST_ENTRIES_MAX, Setting, Settings, VALUE_BYTES_MAX, unknown_directives,
};

fn parse(text: &str) -> Settings {
    Settings::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn error(text: &[u8]) -> ConfigError {
    Settings::parse(text).expect_err("this text must be refused")
}

fn entries(list: &[Setting<String>]) -> Vec<(&str, Option<u32>)> {
    list.iter().map(|entry| (entry.value.as_str(), entry.line)).collect()
}

#[test]
fn nothing_written_means_the_defaults() {
    for text in
        ["", "\n", "# allow setuid = no\n", "allow setuid no\n", "allow setuid =\n", "allow setuid =   \t\n"]
    {
        assert_eq!(parse(text), Settings::default(), "{text:?}");
    }
}

#[test]
fn blanks_around_name_and_value_do_not_count() {
    for text in [
        "allow setuid=no",
        "  allow setuid\t =\t no  ",
        "\tallow setuid = no\r\n",
        "\u{feff}allow setuid = no",
    ] {
        assert_eq!(parse(text).allow_setuid, Setting { value: false, line: Some(1) }, "{text:?}");
    }
}

#[test]
fn a_name_must_match_exactly() {
    for text in [
        "Allow Setuid = no",
        "allow  setuid = no",
        "allow setuid! = no",
        "xallow setuid = no",
        "allow_setuid = no",
    ] {
        assert!(parse(text).allow_setuid.value, "{text:?}");
    }
}

#[test]
fn a_comment_needs_a_line_of_its_own() {
    let error = error(b"allow setuid = no # for now\n").to_string();
    assert_eq!(
        error,
        "line 1: value authorized for directive \"allow setuid\" are [yes no], but it says \"no # for now\""
    );
}

#[test]
fn the_first_value_of_a_scalar_decides() {
    for text in [
        "mount dev = no\nmount dev = yes",
        "mount dev = no, yes",
        "mount dev = no , yes",
        "mount dev =\nmount dev = no",
    ] {
        assert_eq!(parse(text).mount_dev.value, config::MountDev::No, "{text:?}");
    }
}

#[test]
fn a_scalar_whose_first_value_is_empty_is_an_error() {
    for text in ["mount dev = , yes", "binary path = ,", "sessiondir max size = ,1"] {
        assert!(matches!(error(text.as_bytes()), ConfigError::Value { line: 1, .. }), "{text:?}");
    }
}

#[test]
fn the_values_of_a_list_accumulate_in_the_order_of_the_file() {
    let settings = parse("limit container owners = root, alice\n\nlimit container owners = 1000\n");
    let expected = [("root", Some(1)), ("alice", Some(1)), ("1000", Some(3))];
    assert_eq!(entries(&settings.limit_container_owners), expected);
}

#[test]
fn an_empty_entry_of_a_list_is_an_error_not_an_absence_of_limits() {
    for text in
        ["limit container owners = ,", "limit container owners = alice,,bob", "limit container paths = /a,"]
    {
        assert!(matches!(error(text.as_bytes()), ConfigError::Value { line: 1, .. }), "{text:?}");
    }
}

#[test]
fn a_missing_list_is_empty_even_where_the_installed_file_has_entries() {
    assert!(parse("allow setuid = yes").bind_path.is_empty());
}

#[test]
fn a_wrong_value_of_a_known_directive_names_line_directive_and_accepted_words() {
    let error = error(b"# first\nenable overlay = maybe\n");
    let text = error.to_string();
    assert!(text.starts_with("line 2: "), "{text}");
    assert!(
        text.contains("value authorized for directive \"enable overlay\" are [yes no try driver]"),
        "{text}"
    );
    assert!(text.contains("\"maybe\""), "{text}");
}

#[test]
fn a_wrong_value_is_repeated_short_and_fit_for_a_terminal() {
    let text = error(b"allow setuid = \x1b[31mno\x07").to_string();
    assert!(text.contains("\\x1b[31mno\\x07"), "{text}");
    let long = error(format!("allow setuid = {}", "y".repeat(4000)).as_bytes()).to_string();
    assert!(long.len() < 250, "{long}");
}

#[test]
fn bytes_that_are_not_text_are_refused_in_a_known_directive_only() {
    assert!(matches!(error(b"binary path = /bin\xff"), ConfigError::Value { .. }));
    assert_eq!(Settings::parse(b"something else = \xff\n\xff = \xff\n"), Ok(Settings::default()));
}

#[test]
fn whole_numbers_may_be_decimal_octal_or_hexadecimal() {
    let table = [("64", 64), ("0", 0), ("0x40", 64), ("0X40", 64), ("0100", 64), ("4294967295", u32::MAX)];
    for (text, number) in table {
        assert_eq!(
            parse(&format!("sessiondir max size = {text}")).sessiondir_max_size.value,
            number,
            "{text}"
        );
    }
}

#[test]
fn what_is_no_whole_number_of_32_bits_is_refused() {
    for text in ["-1", "+1", "0x", "0x+1", "08", "1.5", "64M", "4294967296", "0x100000000", "1 2", "ten"] {
        let error = error(format!("sessiondir max size = {text}").as_bytes());
        assert!(
            matches!(error, ConfigError::Value { directive: "sessiondir max size", line: 1, .. }),
            "{text}"
        );
    }
}

#[test]
fn a_bind_path_has_a_source_and_perhaps_a_destination_both_absolute() {
    let settings = parse("bind path = /etc/hosts\nbind path = /data/a b:/mnt\n");
    let parts: Vec<_> = settings.bind_path.iter().map(|bind| config::bind_path_parts(&bind.value)).collect();
    assert_eq!(parts, [("/etc/hosts", "/etc/hosts"), ("/data/a b", "/mnt")]);
    for text in ["etc/hosts", "/a:b", "/a:", ":/b", "/a:/b:ro"] {
        assert!(Settings::parse(format!("bind path = {text}").as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_limiting_path_must_be_absolute() {
    assert!(Settings::parse(b"limit container paths = images").is_err());
    assert_eq!(parse("limit container paths = /images").limit_container_paths[0].value.as_str(), "/images");
}

#[test]
fn unknown_directives_load_and_are_told_with_their_lines() {
    let text = b"# x = y\nallow setuids = no\nallow setuid = yes\n = z\nhello world = 1";
    assert!(Settings::parse(text).is_ok());
    assert_eq!(unknown_directives(text).collect::<Vec<_>>(), [(2, "allow setuids"), (5, "hello world")]);
}

#[test]
fn a_nul_byte_or_a_carriage_return_within_a_line_is_refused_wherever_it_is() {
    assert_eq!(error(b"# fine\n# not\0fine"), ConfigError::NulByte { line: 2 });
    let hidden = b"# a comment\rallow setuid = no\n";
    assert_eq!(error(hidden), ConfigError::StrayCarriageReturn { line: 1 });
}

#[test]
fn size_is_bounded_at_the_named_maxima() {
    let file = |bytes: usize| vec![b'#'; bytes];
    assert!(Settings::parse(&file(FILE_BYTES_MAX)).is_ok());
    assert_eq!(error(&file(FILE_BYTES_MAX + 1)), ConfigError::FileTooLong);

    let value = |bytes: usize| format!("binary path = {}", "/".repeat(bytes)).into_bytes();
    assert!(Settings::parse(&value(VALUE_BYTES_MAX)).is_ok());
    let too_long = ConfigError::ValueTooLong { directive: "binary path", line: 1 };
    assert_eq!(error(&value(VALUE_BYTES_MAX + 1)), too_long);

    let list = |count: usize| "limit container owners = 1\n".repeat(count).into_bytes();
    assert!(Settings::parse(&list(LIST_ENTRIES_MAX)).is_ok());
    let line = u32::try_from(LIST_ENTRIES_MAX + 1).unwrap();
    let too_many = ConfigError::ListTooLong { directive: "limit container owners", line };
    assert_eq!(error(&list(LIST_ENTRIES_MAX + 1)), too_many);
}

#[test]
fn of_the_two_spellings_for_kernel_ext3_no_wins_and_names_its_line() {
    let table = [
        ("", (true, "allow kernel extfs", None)),
        ("allow kernel extfs = yes", (true, "allow kernel extfs", Some(1))),
        ("allow setuid-mount extfs = yes", (true, "allow setuid-mount extfs", Some(1))),
        ("allow kernel extfs = no", (false, "allow kernel extfs", Some(1))),
        ("\nallow setuid-mount extfs = no", (false, "allow setuid-mount extfs", Some(2))),
        (
            "allow kernel extfs = yes\nallow setuid-mount extfs = no",
            (false, "allow setuid-mount extfs", Some(2)),
        ),
        ("allow setuid-mount extfs = yes\nallow kernel extfs = no", (false, "allow kernel extfs", Some(2))),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text).kernel_extfs(), expected, "{text:?}");
    }
}

#[test]
fn iflimited_allows_kernel_squashfs_only_where_images_are_limited() {
    let table = [
        ("", (true, "allow kernel squashfs", None)),
        ("allow setuid-mount squashfs = no", (false, "allow setuid-mount squashfs", Some(1))),
        ("allow setuid-mount squashfs = iflimited", (false, "allow setuid-mount squashfs", Some(1))),
        (
            "allow setuid-mount squashfs = iflimited\nlimit container groups = 5",
            (true, "allow setuid-mount squashfs", Some(1)),
        ),
        (
            "allow setuid-mount squashfs = iflimited\nlimit container paths =",
            (false, "allow setuid-mount squashfs", Some(1)),
        ),
        ("allow kernel squashfs = no", (false, "allow kernel squashfs", Some(1))),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text).kernel_squashfs(), expected, "{text:?}");
    }
}

#[test]
fn the_search_path_is_the_one_that_was_written() {
    let table = [
        ("", "$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("binary path = /a", "/a"),
        ("user search path = /b", "/b"),
        ("user search path = /b\nbinary path = /a", "/a"),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text).search_path(), expected, "{text:?}");
    }
}
