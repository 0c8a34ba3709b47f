//! Runs of the installed starter in which one system call is interfered with, by `at-call`.

use std::fs;
use std::path::PathBuf;
use tests::{Command, HandMade, Output, World};

/// A system call of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// 0 is the starter; its children are numbered in the order of their birth.
    pub(crate) process: usize,
    /// Which of the process's calls this is, from 0.
    pub(crate) index: usize,
    /// What is called.
    pub(crate) name: String,
}

/// The run as it is when nobody interferes.
pub(crate) fn calls(world: &World, plan: &HandMade) -> Vec<Call> {
    at_call(world, plan, None).run().assert_ok();
    let report = fs::read_to_string(report(world)).expect("it was written");
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).expect("a number");
    let calls = report.lines().map(|line| {
        let mut fields = line.split(' ');
        let (process, index) = (number(fields.next()), number(fields.next()));
        Call { process, index, name: fields.next().expect("a name").to_owned() }
    });
    calls.collect()
}

/// The same run with an action at one call, and what that call was: memory is not asked for as often in every run.
/// Nothing if the run did not come to it.
#[track_caller]
pub(crate) fn interfere(world: &World, plan: &HandMade, call: &Call, action: &str) -> Option<(Call, Output)> {
    let output = at_call(world, plan, Some((call, action))).run();
    let reached = fs::read_to_string(report(world)).expect("it was written");
    world.assert_nothing_left();
    let name = reached.lines().next()?.to_owned();
    Some((Call { name, ..*call }, output))
}

/// The run that is going to be interfered with.
pub(crate) fn at_call(world: &World, plan: &HandMade, rule: Option<(&Call, &str)>) -> Command {
    let (uid, gid) = (world.user().uid.to_string(), world.user().gid.to_string());
    let (program, arguments) = plan.prepare(world);
    let rule = rule.map(|(call, action)| format!("{}:{}:{action}", call.process, call.index));
    world
        .program(env!("CARGO_BIN_EXE_at-call"))
        .as_root()
        .arg(report(world))
        .args(rule)
        .args(["--", "setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups", "--"])
        .arg(program)
        .args(arguments)
}

/// Where `at-call` says what it did.
pub(crate) fn report(world: &World) -> PathBuf {
    world.folder().join("report")
}
