//! The plans that fuzzing begins with. `LAMINA_WRITE_SEEDS=1 cargo test -p protocol --test seeds` draws new ones, as is
//! needed when the frame has another version.

#[allow(dead_code)]
mod common;

use common::{plain, plans};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use protocol::{Plan, frame};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds/plan");
const SEEDS: usize = 40;

/// The same plans on every machine.
fn drawn() -> impl Iterator<Item = Plan> {
    let mut runner = TestRunner::deterministic();
    let more = (1..SEEDS).map(move |_| plans().new_tree(&mut runner).expect("a plan").current());
    std::iter::once(plain()).chain(more)
}

#[test]
fn every_seed_is_a_plan_and_together_they_say_much() {
    if std::env::var_os("LAMINA_WRITE_SEEDS").is_some() {
        let _ = fs::remove_dir_all(FOLDER);
        fs::create_dir_all(FOLDER).expect("a folder of the tree");
        for (number, plan) in drawn().enumerate() {
            let bytes = frame::encode(&plan).expect("it is a plan");
            fs::write(Path::new(FOLDER).join(format!("{number:02}")), bytes).expect("a folder of the tree");
        }
    }
    let mut mounts = BTreeSet::new();
    let mut seeds = 0;
    for seed in fs::read_dir(FOLDER).expect("there are seeds") {
        let path = seed.expect("it can be read").path();
        let plan = frame::decode(&fs::read(&path).expect("it can be read"));
        let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        mounts.extend(plan.mounts.iter().map(|mount| format!("{:?}", std::mem::discriminant(mount))));
        seeds += 1;
    }
    const KINDS_OF_MOUNTS: usize = 12;
    assert_eq!(seeds, SEEDS);
    assert!(mounts.len() >= KINDS_OF_MOUNTS, "only {} kinds of mounts", mounts.len());
}
