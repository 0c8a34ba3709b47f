//! What holds for every text.

use config::{ConfigError, Settings, TABLE};
use proptest::prelude::*;

/// Lines that look like a configuration, so that more than the comment rule is reached.
fn line() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(TABLE).prop_map(|directive| directive.name.to_owned());
    let value = prop_oneof!["yes|no|try|0x1f|/a|/a:/b|,|a,b", ".{0,20}", Just(String::new())];
    prop_oneof![4 => (name, value).prop_map(|(name, value)| format!("{name} = {value}")), 1 => ".{0,40}"]
}

fn line_of(error: &ConfigError) -> Option<u32> {
    match error {
        ConfigError::FileTooLong => None,
        ConfigError::NulByte { line }
        | ConfigError::StrayCarriageReturn { line }
        | ConfigError::Value { line, .. }
        | ConfigError::ValueTooLong { line, .. }
        | ConfigError::ListTooLong { line, .. } => Some(*line),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_settings_or_an_error_of_one_printable_line(bytes: Vec<u8>) {
        if let Err(error) = Settings::parse(&bytes) {
            prop_assert!(error.to_string().chars().all(|letter| !letter.is_control()));
        }
    }

    #[test]
    fn settings_written_as_a_file_are_read_again(lines in proptest::collection::vec(line(), 0..12)) {
        if let Ok(settings) = Settings::parse(lines.join("\n").as_bytes()) {
            let again = Settings::parse(settings.to_file().as_bytes()).expect("what is written can be read");
            for directive in TABLE {
                prop_assert_eq!(settings.texts(directive.name), again.texts(directive.name));
            }
        }
    }

    #[test]
    fn an_error_moves_with_its_line(lines in proptest::collection::vec(line(), 1..12), above in 0..5_u32) {
        let text = lines.join("\n");
        let moved = "#\n".repeat(above as usize) + &text;
        match (Settings::parse(text.as_bytes()), Settings::parse(moved.as_bytes())) {
            (Ok(_), Ok(_)) => {}
            (Err(first), Err(second)) => {
                prop_assert_eq!(line_of(&first).map(|line| line + above), line_of(&second));
            }
            (first, second) => prop_assert!(false, "{:?} but {:?}", first, second),
        }
    }

    #[test]
    fn a_value_carries_the_line_it_was_written_on(above in 0..200_u32, below in 0..5_u32) {
        let line = |count: u32, text: &str| text.repeat(count as usize);
        let text = line(above, "# nothing\n") + "mount dev = minimal\n" + &line(below, "mount dev = yes\n");
        let settings = Settings::parse(text.as_bytes()).expect("a good file");
        prop_assert_eq!(settings.mount_dev.line, Some(above + 1));
        prop_assert_eq!(settings.mount_dev.value, config::MountDev::Minimal);
    }
}
