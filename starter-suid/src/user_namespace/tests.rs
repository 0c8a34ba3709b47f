//! Whose process it must be, and of what a container may be made.

use super::*;
use crate::policy::tests::{Request, caller};
use nix::unistd::Gid;
use protocol::Window;

#[test]
fn an_id_of_somebody_elses_comes_from_a_bit_that_must_not_be() {
    let own = |users: [u32; 2], groups: [u32; 2]| {
        let caller = caller(1000);
        let [effective, saved] = users.map(Uid::from_raw);
        let users = ResUid { real: caller.uid, effective, saved };
        let [effective, saved] = groups.map(Gid::from_raw);
        is_own(&caller, &users, &ResGid { real: caller.gid, effective, saved })
    };
    assert!(own([1000; 2], [1000; 2]));
    for other in [[0, 0], [0, 1000], [1000, 0]] {
        assert!(!own(other, [1000; 2]), "users {other:?}");
        assert!(!own([1000; 2], other), "groups {other:?}");
    }
}

#[test]
fn a_container_is_made_of_directories_that_are_some() {
    let image = Content::Squashfs(Window { offset: 4096, size: 8192 });
    let directory = Content::Directory;
    let claimed = |claim: Content, is: Content| {
        Request::new().root(is).with(|request| request.plan.root.content = claim)
    };
    let site = Settings::parse(b"").expect("it is good");
    for (what, request, permitted) in [
        ("a directory", claimed(directory, directory), true),
        ("an image", claimed(image, image), false),
        ("an image said to be a directory", claimed(directory, image), false),
        ("a directory said to be an image", claimed(image, directory), false),
        ("a layer that is a directory", claimed(directory, directory).layer(directory), true),
        ("a layer that is an image", claimed(directory, directory).layer(image), false),
        (
            "a source that is missing",
            claimed(directory, directory).with(|request| request.facts.clear()),
            false,
        ),
    ] {
        let facts: Vec<&Facts> = request.facts.iter().collect();
        let answer = UserNamespace::permit(&caller(1000), &site, request.plan, &facts);
        assert_eq!(answer.is_ok(), permitted, "{what}");
    }
}
