//! What the payload travels in from the frontend to `init`: nothing, where nothing comes along; else a socket that holds
//! it and the descriptors that do. The starter hands it on and looks into neither.

use crate::error::{Doing, Failure, Outcome};
use crate::fusemount::{self, Devices, Door, Line};
use crate::payload::FuseMount;
use crate::sys::descriptors;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{SFlag, fstat};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// Most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Most descriptors of the caller's that are handed on.
const INHERITED_MAX: usize = 64;
/// Most descriptors of a message: the payload, the host's `/dev`, and those of the caller's.
const DESCRIPTORS_MAX: usize = 2 + INHERITED_MAX;

/// Pipes and files that the caller left open for the program, as the shell does for `<(…)` and `3<…`, each with its number.
/// A directory or a socket of the host's would be a way out of the container, and is left behind.
#[derive(Default)]
pub(crate) struct Inherited(Vec<(OwnedFd, RawFd)>);

impl Inherited {
    /// Takes what this process was started with. Whatever it opened itself is closed by an exec and so is told apart.
    pub(crate) fn take() -> Self {
        let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return Self::default() };
        let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut numbers: Vec<RawFd> =
            numbers.filter(|number| *number > 2 && descriptors::stays_across_exec(*number)).collect();
        numbers.sort_unstable();
        let taken = numbers.into_iter().filter_map(|number| Some((descriptors::adopt(number).ok()?, number)));
        let entering = taken.filter(|(descriptor, _)| may_enter(descriptor)).take(INHERITED_MAX);
        // Each is moved once to above the highest number. What was opened under a higher limit may have no place any more.
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let has_room = |(before, (_, number)): &(u64, (OwnedFd, RawFd))| {
            u64::try_from(*number).is_ok_and(|number| number + before + 2 <= limit)
        };
        Self((0..).zip(entering).take_while(has_room).map(|(_, entering)| entering).collect())
    }

    /// Gives each its number again, for the program that this process is about to become.
    ///
    /// # Errors
    /// There are more than this process may have.
    pub(crate) fn place(self) -> Outcome<()> {
        descriptors::place_all(self.0).doing(|| "handing on what the caller left open".into())
    }
}

fn may_enter(descriptor: &OwnedFd) -> bool {
    let kind = fstat(descriptor).map(|stat| stat.st_mode & SFlag::S_IFMT.bits());
    let flags = fcntl(descriptor, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
    kind.is_ok_and(|kind| [SFlag::S_IFIFO.bits(), SFlag::S_IFREG.bits()].contains(&kind))
        && flags.is_ok_and(|flags| !flags.contains(OFlag::O_PATH))
}

/// What `init` gets.
pub(crate) struct Contents {
    /// The payload's bytes.
    pub(crate) payload: File,
    /// The way to the host, where file systems are to be mounted.
    pub(crate) door: Option<Door>,
    /// What the program gets.
    pub(crate) inherited: Inherited,
}

/// Puts the payload into an envelope if something comes along. A process that starts those servers that run on the host
/// lives for as long as the container holds the door.
///
/// # Errors
/// `/dev/fuse` cannot be used here, or the kernel has no memory or descriptors left.
pub(crate) fn seal(payload: OwnedFd, file_systems: &[FuseMount], inherited: Inherited) -> Outcome<OwnedFd> {
    if file_systems.is_empty() && inherited.0.is_empty() {
        return Ok(payload);
    }
    let doing = || "preparing what the container gets".to_owned();
    let devices = if file_systems.is_empty() { None } else { Some(Devices::open()?) };
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing(doing)?;
    let mut words = vec![devices.is_some().into()];
    words.extend(inherited.0.iter().flat_map(|(_, number)| number.to_le_bytes()));
    let always = [Some(payload.as_fd()), devices.as_ref().map(AsFd::as_fd)];
    let others = inherited.0.iter().map(|(descriptor, _)| descriptor.as_fd());
    let all: Vec<BorrowedFd> = always.into_iter().flatten().chain(others).collect();
    send(&ours, &words, &all).doing(doing)?;
    fusemount::attend(&ours, file_systems).doing(doing)?;
    Ok(theirs)
}

/// Takes the payload, and what comes along.
///
/// # Errors
/// What came is neither.
pub(crate) fn open(descriptor: OwnedFd) -> Outcome<Contents> {
    let doing = || "taking over the payload".to_owned();
    let kind = SFlag::from_bits_truncate(fstat(&descriptor).doing(doing)?.st_mode);
    if !kind.contains(SFlag::S_IFSOCK) {
        return Ok(Contents { payload: descriptor.into(), door: None, inherited: Inherited::default() });
    }
    let (words, descriptors) = receive(&descriptor).doing(doing)?;
    unpack(descriptor, &words, descriptors)
        .ok_or_else(|| Failure::new("while taking over the payload: it is incomplete"))
}

fn unpack(socket: OwnedFd, words: &[u8], descriptors: Vec<OwnedFd>) -> Option<Contents> {
    let (with_devices, numbers) = words.split_first()?;
    let numbers: Vec<RawFd> =
        numbers.as_chunks().0.iter().map(|bytes| RawFd::from_le_bytes(*bytes)).collect();
    let mut descriptors = descriptors.into_iter();
    let payload = descriptors.next()?.into();
    let door = match with_devices {
        0 => None,
        _ => Some(Door { line: Line::on(socket), devices: Devices::from(descriptors.next()?) }),
    };
    let inherited = Inherited(descriptors.zip(numbers.iter().copied()).collect());
    (inherited.0.len() == numbers.len()).then_some(Contents { payload, door, inherited })
}

/// One message with descriptors.
///
/// # Errors
/// Nobody is there any more.
pub(crate) fn send(socket: &OwnedFd, words: &[u8], descriptors: &[BorrowedFd]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let words = words.get(..MESSAGE_BYTES_MAX).unwrap_or(words);
    sendmsg(socket, &[IoSlice::new(words)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// The next message with its descriptors; an empty one when nobody can send any more.
///
/// # Errors
/// What came is no message.
pub(crate) fn receive(socket: &OwnedFd) -> rustix::io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut words = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut words)];
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    words.truncate(received.bytes);
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((words, rights.flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Side;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    fn sealed() -> OwnedFd {
        crate::launch::sealed(b"the payload").unwrap()
    }

    fn text(payload: &mut File) -> String {
        let mut text = String::new();
        payload.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_payload_passes_with_and_without_something_to_mount() {
        let served = FuseMount {
            side: Side::Container,
            daemon: false,
            command: vec![b"squashfuse".into(), b"a.sqfs".into()],
            place: b"/data".into(),
        };
        for file_systems in [vec![], vec![served]] {
            let descriptor = seal(sealed(), &file_systems, Inherited::default()).unwrap();
            let mut contents = open(descriptor).unwrap();
            assert_eq!(text(&mut contents.payload), "the payload");
            assert_eq!(contents.door.is_some(), !file_systems.is_empty());
            assert!(contents.inherited.0.is_empty());
            if let Some(door) = contents.door {
                let connection = door.devices.connection().unwrap();
                let link = format!("/proc/self/fd/{}", connection.as_raw_fd());
                assert_eq!(std::fs::read_link(link).unwrap(), std::path::Path::new("/dev/fuse"));
                assert!(door.line.answer().is_err(), "nobody is on the host");
            }
        }
    }

    #[test]
    fn what_comes_along_keeps_its_order_and_its_numbers() {
        let pipes: Vec<_> = (0..INHERITED_MAX).map(|_| std::io::pipe().unwrap()).collect();
        let readers =
            pipes.iter().zip(7..).map(|((reader, _), number)| (reader.try_clone().unwrap().into(), number));
        let descriptor = seal(sealed(), &[], Inherited(readers.collect())).unwrap();
        let mut contents = open(descriptor).unwrap();
        assert_eq!(text(&mut contents.payload), "the payload");
        assert!(contents.door.is_none());
        assert_eq!(contents.inherited.0.len(), INHERITED_MAX);
        for ((descriptor, number), (expected, (_, writer))) in
            contents.inherited.0.into_iter().zip((7..).zip(pipes))
        {
            assert_eq!(number, expected);
            { writer }.write_all(&number.to_le_bytes()).unwrap();
            let mut bytes = Vec::new();
            File::from(descriptor).take(4).read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, number.to_le_bytes());
        }
    }

    #[test]
    fn pipes_and_files_may_enter_and_ways_out_may_not() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = || File::open("/proc/self/exe").unwrap();
        let path_only =
            nix::fcntl::open("/proc/self/exe", OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
        assert!(may_enter(&reader.into()) && may_enter(&file().into()));
        assert!(!may_enter(&socket.into()) && !may_enter(&path_only));
        for path in ["/", "/dev/null"] {
            assert!(!may_enter(&File::open(path).unwrap().into()), "{path}");
        }
    }

    #[test]
    fn an_incomplete_envelope_is_refused() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        send(&ours, &[1], &[sealed().as_fd()]).unwrap();
        assert!(open(theirs.try_clone().unwrap()).is_err(), "no devices");
        send(&ours, &[0, 7, 0, 0, 0], &[sealed().as_fd()]).unwrap();
        assert!(open(theirs.try_clone().unwrap()).is_err(), "no descriptor 7");
        send(&ours, &[], &[]).unwrap();
        assert!(open(theirs).is_err(), "nothing");
    }
}
