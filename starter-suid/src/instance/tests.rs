//! What a record is, and everything that is none. Run as root.

use super::*;
use crate::policy::tests::caller;

const ROOT: Uid = Uid::from_raw(0);
const IDENTITY: Identity = Identity { user: 1000, root_mount: 77, namespaces: [1, 2, 3, 4, 5] };

/// A memory file with these numbers and seals, and so many bytes more.
fn file(numbers: &[u64], more: usize, seals: SealFlags) -> OwnedFd {
    let file = rustix::fs::memfd_create(c"test", MemfdFlags::ALLOW_SEALING).expect("there is memory");
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.resize(bytes.len() + more, 0);
    rustix::io::write(&file, &bytes).expect("there is memory");
    rustix::fs::fcntl_add_seals(&file, seals).expect("it is ours");
    file
}

#[test]
fn what_is_recorded_is_what_is_read() {
    let record = IDENTITY.record().expect("there is memory");
    assert_eq!(read_record(&record, ROOT), Some(IDENTITY));
    assert!(rustix::io::pwrite(&record, &[0], 0).is_err(), "nobody can change it");
    assert_eq!(rustix::fs::fcntl_get_seals(&record), Ok(SEALS));
}

#[test]
fn a_record_is_its_authors_sealed_and_whole() {
    let numbers = [MAGIC, 1000, 77, 1, 2, 3, 4, 5];
    assert_eq!(read_record(&file(&numbers, 0, SEALS), ROOT), Some(IDENTITY));
    assert_eq!(read_record(&file(&numbers, 0, SEALS), Uid::from_raw(1000)), None, "somebody else's");
    assert_eq!(read_record(&file(&numbers, 1, SEALS), ROOT), None, "longer");
    assert_eq!(read_record(&file(&numbers[..7], 0, SEALS), ROOT), None, "shorter");
    assert_eq!(
        read_record(&file(&[MAGIC ^ 1, 1000, 77, 1, 2, 3, 4, 5], 0, SEALS), ROOT),
        None,
        "another magic"
    );
    for missing in [SealFlags::SEAL, SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
        assert_eq!(read_record(&file(&numbers, 0, SEALS.difference(missing)), ROOT), None, "{missing:?}");
    }
}

#[test]
fn an_identity_is_that_of_this_process_and_its_caller() {
    let proc = HostProc::open().expect("there is a /proc");
    let here = Identity::here(&proc, &caller(1000)).expect("the kernel tells");
    assert_eq!(here.user, 1000);
    for (number, (name, _)) in here.namespaces.iter().zip(NAMESPACES) {
        assert_eq!(Some(*number), proc.namespace(name).ok(), "{name}");
    }
    assert_eq!(here.foreign(&proc).ok(), Some(CloneFlags::empty()));
    let elsewhere = |at: usize| {
        let mut namespaces = here.namespaces;
        namespaces[at] += 1;
        Identity { namespaces, ..here }.foreign(&proc).ok()
    };
    for (at, (name, flag)) in NAMESPACES.into_iter().enumerate() {
        assert_eq!(elsewhere(at), Some(flag), "{name}");
    }
}

#[test]
fn the_log_names_the_mount_namespace() {
    let process =
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty());
    let instance = Instance { process: process.expect("it runs"), identity: IDENTITY };
    assert_eq!(instance.description(), "join=mnt:[1]");
}
