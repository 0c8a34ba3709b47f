//! The loopback device of a new network namespace, which starts out down.

use crate::refusal::{Refusal, Step};
use nix::errno::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Bytes of a netlink header (`struct nlmsghdr`); what the message is about follows it.
const HEADER_BYTES: usize = 16;
/// A netlink header and a `struct ifinfomsg`.
const MESSAGE_BYTES: usize = HEADER_BYTES + 16;
/// The index of the loopback device, the first one of every network namespace.
const LOOPBACK_INDEX: i32 = 1;

/// Brings the loopback device of this process's network namespace up.
pub fn bring_up() -> Result<(), Refusal> {
    let doing = "bringing the loopback device up";
    // `NETLINK_ROUTE` is protocol 0, which is what no protocol means.
    let protocol = None;
    let kernel =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).step(doing)?;
    send(&kernel, &request(), SendFlags::empty()).step(doing)?;
    let mut answer = [0; 256];
    let (length, _) = recv(&kernel, &mut answer[..], RecvFlags::empty()).step(doing)?;
    // Of an acknowledgement only the number behind its header matters: 0, or an error of the kernel, negated.
    let number = answer.get(HEADER_BYTES..HEADER_BYTES + 4).filter(|_| length >= HEADER_BYTES + 4);
    match number.and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(Refusal::failed(doing, Errno::from_raw(error.saturating_neg()))),
        None => Err(Refusal::failed(doing, Errno::EBADMSG)),
    }
}

/// "Set the flag `up` of the loopback device, and acknowledge it."
fn request() -> [u8; MESSAGE_BYTES] {
    let up = libc::IFF_UP.cast_unsigned();
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK).cast_unsigned();
    let words = [
        MESSAGE_BYTES as u32,
        // Two halves: the message's type, then its flags.
        halves(libc::RTM_NEWLINK, flags as u16),
        0,
        0,
        0,
        LOOPBACK_INDEX.cast_unsigned(),
        up,
        up,
    ];
    let mut message = [0; MESSAGE_BYTES];
    for (bytes, word) in message.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    message
}

/// A word whose bytes in memory are those of two halves, one after the other.
fn halves(first: u16, second: u16) -> u32 {
    let [a, b] = first.to_ne_bytes();
    let [c, d] = second.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
