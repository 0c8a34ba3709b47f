//! What a frame is, and everything that is none.

mod common;

use common::{decode, encode, frame_around, path, plain, plans, unchecked_frame};
use proptest::prelude::*;
use protocol::frame::{self, BODY_BYTES_MAX, FRAME_BYTES_MAX, FrameError, HEADER_BYTES};
use protocol::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_what_is_decoded(plan in plans()) {
        let bytes = encode(&plan).expect("a well-formed plan");
        prop_assert_eq!(decode(&bytes), Ok(plan));
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused(plan in plans()) {
        let bytes = encode(&plan).expect("a well-formed plan");
        for length in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..length]), Err(FrameError::Truncated), "{} bytes", length);
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_refused_though_its_header_agrees(plan in plans(), cut: prop::sample::Index) {
        let bytes = encode(&plan).expect("a well-formed plan");
        let body = &bytes[HEADER_BYTES..];
        prop_assert_eq!(decode(&frame_around(&body[..cut.index(body.len())])), Err(FrameError::Body));
    }

    #[test]
    fn bytes_after_a_frame_are_refused_announced_or_not(plan in plans(), more in prop::collection::vec(any::<u8>(), 1..20)) {
        let bytes = encode(&plan).expect("a well-formed plan");
        let unannounced = [&bytes[..], &more].concat();
        prop_assert_eq!(decode(&unannounced), Err(FrameError::TrailingBytes));
        let announced = frame_around(&[&bytes[HEADER_BYTES..], &more].concat());
        prop_assert_eq!(decode(&announced), Err(FrameError::TrailingBytes));
    }

    #[test]
    fn every_other_version_is_refused_by_name(plan in plans(), version: u32) {
        prop_assume!(version != frame::VERSION);
        let mut bytes = encode(&plan).expect("a well-formed plan");
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        prop_assert_eq!(decode(&bytes), Err(FrameError::Version(version)));
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_only_encoding_of_their_plan(bytes: Vec<u8>) {
        for frame in [bytes.clone(), frame_around(&bytes)] {
            if let Ok(plan) = decode(&frame) {
                prop_assert_eq!(encode(&plan), Ok(frame));
            }
        }
    }

    #[test]
    fn a_frame_with_a_changed_byte_is_refused_or_is_the_only_encoding_of_its_plan(
        plan in plans(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = encode(&plan).expect("a well-formed plan");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(plan) = decode(&bytes) {
            prop_assert_eq!(encode(&plan), Ok(bytes));
        }
    }
}

/// Bytes of the word for what is asked.
const WORD_BYTES: usize = 4;

/// A liar's frame and an honest one come to the same verdict.
fn refused(plan: &Plan, reason: ShapeError) {
    assert_eq!(encode(plan), Err(FrameError::Shape(reason)));
    assert_eq!(decode(&unchecked_frame(plan)), Err(FrameError::Shape(reason)));
}

fn accepted(plan: &Plan) {
    let bytes = encode(plan).expect("within its maxima");
    assert_eq!(decode(&bytes).as_ref(), Ok(plan));
}

fn directory(number: usize) -> Image {
    Image { descriptor: descriptor(number), content: Content::Directory }
}

fn descriptor(number: usize) -> Descriptor {
    Descriptor(u16::try_from(number).expect("few descriptors"))
}

fn user_bind(number: usize) -> Mount {
    Mount::User(Bind {
        descriptor: descriptor(number),
        destination: path("/mnt"),
        read_only: true,
        optional: false,
    })
}

#[test]
fn what_does_not_begin_with_the_magic_is_no_frame() {
    let mut bytes = encode(&plain()).unwrap();
    bytes[0] ^= 1;
    assert_eq!(decode(&bytes), Err(FrameError::Magic));
}

#[test]
fn layers_are_bounded() {
    let with = |count: usize| Plan { layers: (1..=count).map(directory).collect(), ..plain() };
    accepted(&with(LAYERS_MAX));
    refused(&with(LAYERS_MAX + 1), ShapeError::TooMany);
}

#[test]
fn mounts_are_bounded() {
    let with = |count: usize| Plan { mounts: (1..=count).map(user_bind).collect(), ..plain() };
    accepted(&with(MOUNTS_MAX));
    refused(&with(MOUNTS_MAX + 1), ShapeError::TooMany);
}

#[test]
fn an_account_file_is_named_at_most_once() {
    let with = |account_files| Plan { account_files, ..plain() };
    accepted(&with(vec![AccountFile::Hostname, AccountFile::Passwd, AccountFile::Group]));
    refused(&with(vec![AccountFile::Passwd, AccountFile::Group, AccountFile::Passwd]), ShapeError::TooMany);
}

#[test]
fn a_frame_is_bounded_when_it_is_made_and_when_it_is_read() {
    let long = path(&format!("/{}", "x".repeat(255)));
    let mounts = (0..MOUNTS_MAX).map(|_| Mount::SiteBind(long.clone())).collect();
    let plan = Plan { mounts, ..plain() };
    assert_eq!(encode(&plan), Err(FrameError::TooLong));
    assert_eq!(decode(&unchecked_frame(&plan)), Err(FrameError::TooLong));
    assert_eq!(decode(&vec![0; FRAME_BYTES_MAX + 1]), Err(FrameError::TooLong));
    assert_eq!(decode(&frame_around(&vec![0xff; BODY_BYTES_MAX])), Err(FrameError::Body));
}

#[test]
fn a_list_that_claims_more_than_a_frame_can_hold_is_refused_before_room_is_made_for_it() {
    let bytes = encode(&plain()).unwrap();
    // After the request's word, the root is a descriptor (2), its content's word (4) and its window (16); the number of layers follows.
    let count_of_layers = HEADER_BYTES + WORD_BYTES + 2 + 4 + 16;
    for count in [u64::MAX, 1 << 40, 1 << 20, 1] {
        let mut lie = bytes.clone();
        lie[count_of_layers..count_of_layers + 8].copy_from_slice(&count.to_le_bytes());
        assert_eq!(decode(&lie), Err(FrameError::Body), "{count}");
    }
}

#[test]
fn a_word_that_is_not_in_the_plan_is_refused() {
    let bytes = encode(&plain()).unwrap();
    let word_of_content = HEADER_BYTES + WORD_BYTES + 2;
    for word in [3_u32, 4, 255, u32::MAX] {
        let mut unknown = bytes.clone();
        unknown[word_of_content..word_of_content + 4].copy_from_slice(&word.to_le_bytes());
        assert_eq!(decode(&unknown), Err(FrameError::Body), "{word}");
    }
}

#[test]
fn descriptors_are_used_once_each_and_without_a_gap() {
    let with =
        |numbers: &[usize]| Plan { mounts: numbers.iter().copied().map(user_bind).collect(), ..plain() };
    accepted(&with(&[2, 1, 3]));
    for numbers in [&[0][..], &[1, 1], &[2], &[1, 3], &[65535]] {
        refused(&with(numbers), ShapeError::Descriptors);
    }
}

#[test]
fn a_window_is_not_empty_and_ends_at_a_file_offset() {
    let with = |offset, size| {
        let content = Content::Ext3(Window { offset, size });
        Plan { root: Image { descriptor: Descriptor(0), content }, ..plain() }
    };
    let end = i64::MAX as u64;
    accepted(&with(0, end));
    accepted(&with(end - 1, 1));
    for (offset, size) in [(0, 0), (end, 1), (1, end), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        refused(&with(offset, size), ShapeError::Window);
    }
}

#[test]
fn what_excludes_each_other_is_refused() {
    let window = Window { offset: 0, size: 1 };
    let squashfs = |number| Image { descriptor: descriptor(number), content: Content::Squashfs(window) };
    let written = Mount::Data { image: squashfs(1), within: None, destination: path("/d"), writable: true };
    let layers_under_root =
        Plan { root: directory(0), layers: vec![directory(1)], writable: Writable::Root, ..plain() };
    let contradictions = [
        ("a writable squashfs root", Plan { writable: Writable::Root, ..plain() }),
        ("a writable root under layers", layers_under_root),
        ("a writable squashfs overlay", Plan { writable: Writable::Overlay(squashfs(1)), ..plain() }),
        ("a written squashfs data image", Plan { mounts: vec![written], ..plain() }),
        ("an instance that nobody could end", Plan { instance: true, ..plain() }),
        ("a host name of the host", Plan { hostname: Hostname::new("h".into()).ok(), ..plain() }),
    ];
    for (what, plan) in contradictions {
        println!("{what}");
        refused(&plan, ShapeError::Contradiction);
    }
}

/// A frame whose `from` was overwritten with as many bytes.
fn overwritten(plan: &Plan, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = encode(plan).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is in there");
    bytes[at..at + from.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_decoded_path_keeps_the_rules_of_a_path() {
    let plan = Plan { mounts: vec![Mount::SiteBind(path("/aaa/bb"))], ..plain() };
    assert!(decode(&overwritten(&plan, b"/aaa/bb", b"/aaa/cc")).is_ok());
    for bad in [b"/aaa/..", b"/../bbb", b"//aa/bb", b"/aaa/b\0", b"/aaabb/", b"aaaa/bb", b"/aa/./b"] {
        assert_eq!(decode(&overwritten(&plan, b"/aaa/bb", bad)), Err(FrameError::Body), "{bad:?}");
    }
}

#[test]
fn a_decoded_host_name_keeps_the_rules_of_a_host_name() {
    let hostname = Hostname::new("node-1".into()).ok();
    let plan = Plan { hostname, namespaces: Namespaces { uts: true, ..Namespaces::default() }, ..plain() };
    for bad in [b"-ode-1", b".ode-1", b"node 1", b"node/1", b"node\n1", b"node\xff1"] {
        assert_eq!(decode(&overwritten(&plan, b"node-1", bad)), Err(FrameError::Body), "{bad:?}");
    }
}

#[test]
fn every_reason_to_refuse_has_words_of_its_own() {
    let shapes =
        [ShapeError::TooMany, ShapeError::Descriptors, ShapeError::Window, ShapeError::Contradiction];
    let others = [
        FrameError::Truncated,
        FrameError::TrailingBytes,
        FrameError::Magic,
        FrameError::Version(7),
        FrameError::TooLong,
        FrameError::Body,
    ];
    let mut texts: Vec<_> =
        others.into_iter().chain(shapes.map(FrameError::Shape)).map(|error| error.to_string()).collect();
    assert!(texts.iter().any(|text| text.contains("version 7")));
    let count = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count);
}

#[test]
fn a_request_to_join_says_nothing_else() {
    let bytes = protocol::frame::encode(&Request::Join).unwrap();
    assert_eq!(bytes.len(), HEADER_BYTES + WORD_BYTES);
    assert_eq!(protocol::frame::decode(&bytes), Ok(Request::Join));
    assert_eq!(
        decode(&frame_around(&[&bytes[HEADER_BYTES..], &[0]].concat())),
        Err(FrameError::TrailingBytes)
    );
}
