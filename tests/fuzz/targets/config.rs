//! A `singularity.conf` that holds anything.
#![no_main]

use config::{Settings, TABLE, unknown_directives};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let settings = match Settings::parse(data) {
        Ok(settings) => settings,
        Err(error) => return assert!(error.to_string().chars().all(|letter| !letter.is_control())),
    };
    for (line, name) in unknown_directives(data) {
        assert!(line > 0 && TABLE.iter().all(|directive| directive.name != name));
    }
    // What the site says can be written down and means the same.
    let again = Settings::parse(settings.to_file().as_bytes()).expect("what is written can be read");
    for directive in TABLE {
        assert_eq!(settings.texts(directive.name), again.texts(directive.name), "{}", directive.name);
    }
});
