//! What the mounter says when it is done: one message, with the image's account files as descriptors.

use crate::refusal::{Refusal, Step};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use protocol::AccountFile;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Longest message in bytes.
const MESSAGE_BYTES_MAX: usize = 8192;
/// Account files there can be.
const ACCOUNT_FILES: [AccountFile; 4] =
    [AccountFile::Passwd, AccountFile::Group, AccountFile::Hostname, AccountFile::ResolvConf];

/// A finished container.
pub struct Built {
    /// The image's own account files, for `init` to read.
    pub account_files: Vec<(AccountFile, OwnedFd)>,
    /// What is not as asked for, one line each.
    pub warnings: Vec<String>,
}

/// The child that mounts, seen from the starter.
#[must_use]
pub struct Mounter(Pid);

impl Mounter {
    /// The child with this id.
    pub fn new(child: Pid) -> Self {
        Self(child)
    }

    /// Waits until it is gone.
    pub fn end(self) -> Result<WaitStatus, Refusal> {
        waitpid(self.0, None).step("waiting for the mounter")
    }
}

/// The two ends: the starter's and the mounter's.
pub fn channel() -> Result<(OwnedFd, OwnedFd), Refusal> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .step("connecting to the mounter")
}

/// Reports. First byte: 1 for success; second: a bit for each account file that comes along; then text.
pub fn send(to: &OwnedFd, outcome: &Result<Built, Refusal>) {
    let (mut message, files): (Vec<u8>, &[_]) = match outcome {
        Ok(built) => (built.warnings.join("\n").into_bytes(), &built.account_files),
        Err(refusal) => (refusal.to_lines().into_bytes(), &[]),
    };
    message.truncate(MESSAGE_BYTES_MAX - 2);
    let present = files.iter().fold(0, |bits, (file, _)| bits | 1 << (*file as u8));
    let header = [u8::from(outcome.is_ok()), present];
    let fds: Vec<_> = files.iter().map(|(_, fd)| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ACCOUNT_FILES.len()))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let parts = [IoSlice::new(&header), IoSlice::new(&message)];
    let _ = rustix::net::sendmsg(to, &parts, &mut ancillary, SendFlags::NOSIGNAL);
}

/// Waits for the report, which is the last thing the mounter does. One that ends without a word has failed.
pub fn receive(from: &OwnedFd, mounter: Mounter) -> Result<(Built, Mounter), Refusal> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ACCOUNT_FILES.len()))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        from,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .step("listening to the mounter")?;
    let mut fds = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten();
    buffer.truncate(received.bytes);
    let [status, present, text @ ..] = buffer.as_slice() else {
        return Err(Refusal::new(match mounter.end()? {
            WaitStatus::Signaled(_, signal, _) => format!("the mounter was ended by {signal}"),
            _ => "the mounter ended without a word".to_owned(),
        }));
    };
    let lines: Vec<String> = String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
    if *status != 1 {
        return Err(Refusal::from_lines(lines));
    }
    let mut account_files = Vec::new();
    for file in ACCOUNT_FILES {
        if present & 1 << (file as u8) != 0 {
            let fd = fds.next().ok_or_else(|| Refusal::new("the mounter lost a descriptor"))?;
            account_files.push((file, crate::hand_over::keep(&fd)?));
        }
    }
    let built = Built { account_files, warnings: lines };
    Ok((built, mounter))
}
