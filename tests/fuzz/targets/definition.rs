//! A definition file that holds anything.
#![no_main]

use frontend::build::definition::{Arguments, DEFINITION_BYTES_MAX, Definition};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let given = Arguments::from([("A".to_owned(), "one\n%post\ntwo".to_owned())]);
    match Definition::parse(text, &given) {
        Ok(definition) => {
            assert!(!definition.stages.is_empty());
            // Every line of a stage ends, also the last one.
            assert!(definition.text().len() <= 2 * DEFINITION_BYTES_MAX);
        }
        Err(fault) => assert!(fault.line > 0 && fault.to_string().chars().all(|letter| !letter.is_control())),
    }
});
