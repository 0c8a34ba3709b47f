//! The plan pipe: what comes through it, and what it is.

use protocol::frame::{FRAME_BYTES_MAX, HEADER_BYTES, MAGIC};
use std::time::{Duration, Instant};
use tests::{HandMade, World};

/// A refusal that comes at once: nobody can keep root waiting.
const AT_ONCE: Duration = Duration::from_secs(5);

fn world_and_plan() -> (World, HandMade) {
    let world = World::new();
    let image = world.busybox_sqfs("gzip");
    let plan = HandMade::bare(&world, &[], &image);
    (world, plan)
}

#[track_caller]
fn refused(world: &World, plan: &HandMade, text: &str) {
    let start = Instant::now();
    plan.hand_over(world).run().assert_fatal(text);
    assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
    world.assert_nothing_left();
}

#[test]
fn only_one_whole_frame_is_a_plan() {
    let (world, mut plan) = world_and_plan();
    let whole = plan.encoded();
    let with = |at: usize, byte: u8| {
        let mut changed = whole.clone();
        changed[at] = byte;
        changed
    };
    let mut too_long = whole.clone();
    too_long.resize(FRAME_BYTES_MAX + 1, 0);
    let mut huge = whole.clone();
    huge.resize(1 << 20, 0);
    for (frame, text) in [
        (Vec::new(), "the plan is cut short"),
        (whole[..1].to_vec(), "the plan is cut short"),
        (whole[..HEADER_BYTES].to_vec(), "the plan is cut short"),
        (whole[..whole.len() - 1].to_vec(), "the plan is cut short"),
        ([&whole[..], b"\0"].concat(), "the plan is followed by more bytes"),
        ([&whole[..], &whole].concat(), "the plan is followed by more bytes"),
        (with(0, b'X'), "this is not a plan"),
        (with(MAGIC.len(), 2), "the plan has version 2"),
        (with(MAGIC.len(), 0), "the plan has version 0"),
        (with(HEADER_BYTES - 1, 0xff), "the plan is cut short"),
        (with(whole.len() - 1, 0xff), "the plan says something this starter does not know"),
        (too_long, "the plan is longer than 65536 bytes"),
        (huge, "the plan is longer than 65536 bytes"),
        (vec![0xff; FRAME_BYTES_MAX], "this is not a plan"),
    ] {
        plan.frame = Some(frame);
        refused(&world, &plan, text);
    }
}

#[test]
fn a_frame_cut_anywhere_or_with_any_bit_turned_never_ends_in_a_crash() {
    let (world, mut plan) = world_and_plan();
    plan.payload = None;
    let whole = plan.encoded();
    for at in 0..whole.len() {
        let mut turned = whole.clone();
        turned[at] ^= 1 << (at % 8);
        for frame in [whole[..at].to_vec(), turned] {
            plan.frame = Some(frame);
            plan.hand_over(&world).run().assert_fatal("");
        }
    }
}

#[test]
fn counts_that_no_memory_could_hold_are_refused_before_any_is_taken() {
    let (world, mut plan) = world_and_plan();
    let whole = plan.encoded();
    // Root: a number of 2 bytes, a variant of 4 and a window of 16; then the count of layers.
    let count = HEADER_BYTES + 22;
    assert_eq!(whole[count..count + 8], [0; 8], "the layout is another");
    for number in [u64::MAX, i64::MAX.cast_unsigned(), 1 << 32, 65, 1] {
        let mut frame = whole.clone();
        frame[count..count + 8].copy_from_slice(&number.to_le_bytes());
        plan.frame = Some(frame);
        refused(&world, &plan.clone().set("limit=as:67108864"), "");
    }
}

#[test]
fn only_a_pipe_brings_a_plan() {
    let (world, plan) = world_and_plan();
    let frame = world.write("frame", plan.encoded());
    let frame = frame.display();
    for (opened, text) in [
        (format!("r:{frame}"), "the plan must come through a pipe"),
        (format!("m:{frame}"), "the plan must come through a pipe"),
        ("s:".to_owned(), "the plan must come through a pipe"),
        ("r:/dev/zero".to_owned(), "the plan must come through a pipe"),
        ("p:/".to_owned(), "the plan must come through a pipe"),
        ("r:/proc/self/mem".to_owned(), "the plan must come through a pipe"),
        ("-:".to_owned(), "looking for an inherited descriptor"),
    ] {
        refused(&world, &plan.clone().set(format!("plan={opened}")), text);
    }
}

#[test]
fn a_pipe_that_nothing_comes_through_is_not_waited_for() {
    let (world, plan) = world_and_plan();
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644))
        .expect("the home can be written");
    world.give(&fifo);
    // Opened for both, so that a writer stays.
    refused(&world, &plan.clone().set(format!("plan=w:{}", fifo.display())), "reading the plan");
    refused(&world, &plan.set(format!("plan=p:{}", fifo.display())), "preparing to read the plan");
}
