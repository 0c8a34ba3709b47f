//! Image files as block devices: configured in one step, gone with their last user.

use crate::caller::Caller;
use crate::evidence;
use crate::policy::Orders;
use crate::refusal::{Refusal, Step, errno};
use crate::sys::{self, LoopWindow};
use linux_raw_sys::loop_device::{LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, LO_FLAGS_READ_ONLY};
use nix::errno::Errno;
use protocol::Window;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How often a device that somebody else took first is let go for another one.
const ATTEMPTS_MAX: u32 = 200;
/// Pause after a lost race; doubled each time up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Device number of loop devices (`LOOP_MAJOR`).
const LOOP_MAJOR: u32 = 7;
/// Most bytes that sysfs has for a name: a page.
const BACKING_FILE_BYTES: usize = 4096;
/// Alignment that direct I/O needs on any backing file system.
const DIRECT_IO_ALIGNMENT: u64 = 4096;

/// A bound loop device. It stays bound while this, or a mount of it, exists.
pub struct LoopDevice {
    /// Holds the device until it is mounted.
    _fd: OwnedFd,
    /// Its node.
    pub path: String,
}

/// Binds a loop device to a window of an open file.
pub fn attach(
    caller: &Caller,
    orders: &Orders,
    file: &OwnedFd,
    window: Window,
    writable: bool,
) -> Result<LoopDevice, Refusal> {
    let aligned =
        window.offset.is_multiple_of(DIRECT_IO_ALIGNMENT) && window.size.is_multiple_of(DIRECT_IO_ALIGNMENT);
    let mode = match (writable, aligned) {
        (false, _) => LO_FLAGS_READ_ONLY as u32,
        // Twice the speed for streams, and nothing is cached twice.
        (true, true) => LO_FLAGS_DIRECT_IO as u32,
        (true, false) => 0,
    };
    let wanted =
        LoopWindow { offset: window.offset, size: window.size, flags: LO_FLAGS_AUTOCLEAR as u32 | mode };
    let tag = tag(caller);
    if orders.loop_devices_shared
        && !writable
        && let Some(device) = find_shared(orders, file, wanted, &tag)?
    {
        return Ok(device);
    }
    let control = rustix::fs::openat(CWD, "/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .step("opening /dev/loop-control")?;
    let mut pause = PAUSE;
    for _ in 0..ATTEMPTS_MAX {
        let number = sys::loop_get_free(&control).step("looking for a free loop device")?;
        if number >= orders.loop_devices_max {
            return Err(no_device_left(orders));
        }
        let device = open(number, writable).step("opening a loop device")?;
        match sys::loop_configure(&device.0, file, wanted, &tag) {
            Ok(()) => return verify(device, file, wanted),
            Err(Errno::EBUSY | Errno::EAGAIN) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(Refusal::failed("attaching an image to a loop device", error)),
        }
    }
    Err(Refusal::new("every free loop device was taken by somebody else first").hint("try again"))
}

fn no_device_left(orders: &Orders) -> Refusal {
    Refusal::new(format!(
        "failed to find loop device: no loop devices available: all {} of 'max loop devices' are in use",
        orders.loop_devices_max
    ))
    .hint("see 'losetup -l' for who uses them, or ask the administrator to raise 'max loop devices'")
}

/// Marks a device as this caller's: devices are never shared between users.
fn tag(caller: &Caller) -> [u8; 64] {
    let mut tag = [0; 64];
    for (to, from) in tag.iter_mut().zip(format!("lamina uid={}", caller.uid).bytes()) {
        *to = from;
    }
    tag
}

fn open(number: u32, writable: bool) -> Result<(OwnedFd, String), Errno> {
    let path = format!("/dev/loop{number}");
    let mode = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = mode | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = rustix::fs::openat(CWD, &*path, flags, Mode::empty()).map_err(errno)?;
    let stat = rustix::fs::fstat(&fd).map_err(errno)?;
    let is_loop = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice
        && rustix::fs::major(stat.st_rdev) == LOOP_MAJOR;
    if is_loop { Ok((fd, path)) } else { Err(Errno::ENOTBLK) }
}

/// The kernel must say back what it was told; it clips windows in silence.
fn verify((fd, path): (OwnedFd, String), file: &OwnedFd, wanted: LoopWindow) -> Result<LoopDevice, Refusal> {
    let status = sys::loop_status(&fd).step("reading a loop device back")?;
    if is_same(&status, file, wanted)? {
        return Ok(LoopDevice { _fd: fd, path });
    }
    Err(Refusal::new("a loop device does not show what it was attached to"))
}

fn is_same(status: &sys::LoopStatus, file: &OwnedFd, wanted: LoopWindow) -> Result<bool, Refusal> {
    let stat = rustix::fs::fstat(file).step("looking at an image")?;
    let direct = LO_FLAGS_DIRECT_IO as u32;
    let window = LoopWindow { flags: status.window.flags & !direct, ..status.window };
    let wanted = LoopWindow { flags: wanted.flags & !direct, ..wanted };
    Ok((status.device, status.inode) == (stat.st_dev, stat.st_ino) && window == wanted)
}

fn find_shared(
    orders: &Orders,
    file: &OwnedFd,
    wanted: LoopWindow,
    tag: &[u8; 64],
) -> Result<Option<LoopDevice>, Refusal> {
    let name = evidence::name_of(file).step("naming an image")?;
    for number in (0..orders.loop_devices_max).filter(|number| has_file_called(*number, name.to_bytes())) {
        let Ok((fd, path)) = open(number, false) else { continue };
        let Ok(status) = sys::loop_status(&fd) else { continue };
        if status.tag == *tag && is_same(&status, file, wanted)? {
            return Ok(Some(LoopDevice { _fd: fd, path }));
        }
    }
    Ok(None)
}

/// Whether a device is bound to a file of this name. Asking the device itself asks the file system of its file, which may
/// be a stranger's and never answer; the name is the kernel's own.
fn has_file_called(number: u32, name: &[u8]) -> bool {
    let path = format!("/sys/block/loop{number}/loop/backing_file");
    let mut text = [0; BACKING_FILE_BYTES];
    let read = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut text));
    read.is_ok_and(|length| text.get(..length).and_then(|text| text.strip_suffix(b"\n")) == Some(name))
}
