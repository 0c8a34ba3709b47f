//! Writes the plans that fuzzing begins with into a folder: the same ones on every machine, and always of the present
//! version.

#[allow(dead_code)]
#[path = "../tests/common/mod.rs"]
mod common;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::path::PathBuf;

const SEEDS: usize = 40;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("seeds FOLDER"));
    let mut runner = TestRunner::deterministic();
    for number in 0..SEEDS {
        let plan = match number {
            0 => common::plain(),
            _ => common::plans().new_tree(&mut runner).expect("a plan can be drawn").current(),
        };
        let bytes = common::encode(&plan).expect("a well-formed plan");
        std::fs::write(folder.join(number.to_string()), bytes).expect("the folder can be written");
    }
}
