//! Instances: containers that more processes of their user may join.
//!
//! What makes a container an instance is a record that process 1 keeps open: a sealed memory file of the starter's own
//! hand. Nobody else can make one that belongs to root, nobody can change it, and it names the one set of namespaces it
//! stands for, so it says nothing when it is handed on. It ends with the container; nothing is left to be stale.
//!
//! Whoever joins is in these namespaces before it is compared with the record, and goes no further if they differ.
//! What it may do there is what every process of a container may: the caller's own rights and no more.

use crate::caller::Caller;
use crate::proc::HostProc;
use crate::refusal::{Refusal, Step};
use crate::sys;
use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;
use protocol::{INSTANCE_FD, SOURCE_FD_FIRST};
use rustix::fs::{AtFlags, CWD, MemfdFlags, SealFlags, StatxFlags};
use rustix::process::PidfdGetfdFlags;
use std::os::fd::OwnedFd;

/// First bytes of every record.
const MAGIC: u64 = u64::from_le_bytes(*b"LAMINAI\x01");
/// Numbers in a record: [`MAGIC`], the user, the container's root mount, the namespaces.
const NUMBERS: usize = 3 + NAMESPACES.len();
/// Bytes of a record: its numbers, little-endian.
const RECORD_BYTES: usize = NUMBERS * size_of::<u64>();
/// Nobody can change, grow or cut the file, nor this.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);
/// The namespaces of a container, by their names in `/proc/PID/ns`. Nobody changes his own PID namespace, so it is that
/// of the next child.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid_for_children", CloneFlags::CLONE_NEWPID),
];

/// What an instance is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    user: u64,
    root_mount: u64,
    /// Their inode numbers, in the order of [`NAMESPACES`].
    namespaces: [u64; NAMESPACES.len()],
}

/// Process 1 of an instance, and what its record says.
pub struct Instance {
    process: OwnedFd,
    identity: Identity,
}

impl Identity {
    /// The container that this process is in.
    pub fn here(proc: &HostProc, caller: &Caller) -> Result<Self, Refusal> {
        let mut namespaces = [0; NAMESPACES.len()];
        for (number, (name, _)) in namespaces.iter_mut().zip(NAMESPACES) {
            *number = proc.namespace(name)?;
        }
        let root = rustix::fs::statx(CWD, "/", AtFlags::empty(), StatxFlags::MNT_ID)
            .step("looking at the container's root")?;
        Ok(Self { user: caller.uid.as_raw().into(), root_mount: root.stx_mnt_id, namespaces })
    }

    /// A record of it. It belongs to whoever this process still is: root, for the setuid starter.
    pub fn record(&self) -> Result<OwnedFd, Refusal> {
        let doing = "writing the instance's record";
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create(c"lamina-instance", flags).step(doing)?;
        let numbers = [MAGIC, self.user, self.root_mount].into_iter().chain(self.namespaces);
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        if rustix::io::write(&file, &bytes).step(doing)? != RECORD_BYTES {
            return Err(Refusal::new("the instance's record could not be written"));
        }
        rustix::fs::fcntl_add_seals(&file, SEALS).step(doing)?;
        Ok(file)
    }

    /// The namespaces that it has and this process has not.
    fn foreign(&self, proc: &HostProc) -> Result<CloneFlags, Refusal> {
        let mut foreign = CloneFlags::empty();
        for (number, (name, flag)) in self.namespaces.iter().zip(NAMESPACES) {
            foreign.set(flag, proc.namespace(name)? != *number);
        }
        Ok(foreign)
    }
}

impl Instance {
    /// The caller's instance that the one source stands for. Its record must be of `author`'s hand.
    pub fn claimed(caller: &Caller, author: Uid) -> Result<Self, Refusal> {
        sys::close_range(SOURCE_FD_FIRST + 1, false)?;
        let process = sys::adopt(SOURCE_FD_FIRST)?;
        let record = rustix::process::pidfd_getfd(&process, INSTANCE_FD, PidfdGetfdFlags::empty()).ok();
        let identity = record.and_then(|file| read_record(&file, author)).ok_or_else(no_instance)?;
        if identity.user != u64::from(caller.uid.as_raw()) {
            return Err(no_instance());
        }
        Ok(Self { process, identity })
    }

    /// Which one it is, for the log: its mount namespace, as `/proc/PID/ns/mnt` of each of its processes names it.
    pub fn description(&self) -> String {
        format!("join=mnt:[{}]", self.identity.namespaces[0])
    }

    /// Enters its namespaces, the PID namespace with the next child, and proves that they are those of the record.
    pub fn enter(&self, caller: &Caller) -> Result<(), Refusal> {
        let proc = HostProc::open()?;
        setns(&self.process, self.identity.foreign(&proc)?).map_err(|_| no_instance())?;
        if Identity::here(&proc, caller)? != self.identity {
            return Err(no_instance());
        }
        Ok(())
    }
}

/// Whatever is wrong with it, there is one answer: who asks learns nothing of other people's processes.
fn no_instance() -> Refusal {
    Refusal::new("this is no running instance of yours").hint("'instance list' shows those that are")
}

fn read_record(file: &OwnedFd, author: Uid) -> Option<Identity> {
    let stat = rustix::fs::fstat(file).ok()?;
    if stat.st_uid != author.as_raw() || rustix::fs::fcntl_get_seals(file).ok()? != SEALS {
        return None;
    }
    // One byte more than a record has, to see that nothing follows.
    let mut bytes = [0; RECORD_BYTES + 1];
    if rustix::io::pread(file, &mut bytes, 0).ok()? != RECORD_BYTES {
        return None;
    }
    let mut numbers = [0; NUMBERS];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *number = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    let [MAGIC, user, root_mount, namespaces @ ..] = numbers else { return None };
    Some(Identity { user, root_mount, namespaces })
}

#[cfg(test)]
mod tests;
