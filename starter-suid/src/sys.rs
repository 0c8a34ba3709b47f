//! The only unsafe code of this crate: system calls that no crate in the tree wraps, and descriptors that arrive
//! as bare numbers. Nothing here decides anything.

use crate::refusal::{Refusal, Step};
use linux_raw_sys::loop_device;
use nix::errno::Errno;
use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Empties the environment, so that no library can read anything the caller wrote.
pub fn clear_environment() -> Result<(), Refusal> {
    // SAFETY: precondition: no other thread reads the environment. This process has one thread.
    match unsafe { libc::clearenv() } {
        0 => Ok(()),
        _ => Err(Refusal::failed("clearing the environment", Errno::EINVAL)),
    }
}

/// Gives every signal its default disposition. Numbers that cannot be changed are left to the kernel.
pub fn default_signals() {
    for number in 1..=64 {
        // SAFETY: precondition: no handler is needed any more. SIG_DFL is valid for every number.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Closes, or marks close-on-exec, every descriptor from `first` up.
pub fn close_range(first: RawFd, cloexec_only: bool) -> Result<(), Refusal> {
    let flags = if cloexec_only { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: precondition: nobody owns a descriptor in the range when it is closed. At the start of the process
    // nothing is opened yet; before the hand-over every owner above `first` was given up on purpose.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    Errno::result(result).map(drop).step("closing inherited descriptors")
}

/// Takes ownership of an inherited descriptor.
pub fn adopt(number: RawFd) -> Result<OwnedFd, Refusal> {
    // SAFETY: precondition: `number` is not used after the call if it is not open; F_GETFD touches no memory.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) };
    Errno::result(open).step("looking for an inherited descriptor")?;
    // SAFETY: precondition: the descriptor is open and nobody else owns it. It was just seen open, came with the
    // exec, and the plan's shape rules name each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives a descriptor a fixed number that survives exec, replacing whatever had the number.
pub fn place(fd: &OwnedFd, number: RawFd) -> Result<(), Refusal> {
    // SAFETY: precondition: no owner has `number`. Callers place descriptors below every number still owned.
    let placed = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    Errno::result(placed).map(drop).step("placing a descriptor for init")
}

/// Both sides of a fork.
pub enum Forked {
    /// In the new process.
    Child,
    /// In the old one, with the new one's id.
    Parent(nix::unistd::Pid),
}

/// Forks this process.
pub fn fork() -> Result<Forked, Refusal> {
    // SAFETY: precondition: one thread, so that the child may do anything. This process never makes another.
    match unsafe { nix::unistd::fork() }.step("starting a process")? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child)),
    }
}

/// Ends the process at once, without running anything else.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: precondition: nothing has to be flushed. This crate buffers no output.
    unsafe { libc::_exit(status) }
}

/// What [`set_mount_attributes`] changes: attributes are only ever added.
#[derive(Clone, Copy, Default)]
pub struct MountAttributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MS_PRIVATE`, `MS_SLAVE` or 0 for no change.
    pub propagation: u64,
    /// Whether every mount below is changed too.
    pub recursive: bool,
}

/// Sets attributes of the mount `fd` is the root of, detached or not.
pub fn set_mount_attributes(fd: impl AsFd, change: MountAttributes) -> Result<(), Errno> {
    let attributes =
        libc::mount_attr { attr_set: change.set, attr_clr: 0, propagation: change.propagation, userns_fd: 0 };
    let recursive = if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: precondition: the pointers are valid for the sizes given: an empty C string, and a structure of the
    // size passed, both alive during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

mod ioctls {
    use linux_raw_sys::loop_device as l;
    nix::ioctl_none_bad!(ctl_get_free, l::LOOP_CTL_GET_FREE);
    nix::ioctl_write_ptr_bad!(configure, l::LOOP_CONFIGURE, l::loop_config);
    nix::ioctl_read_bad!(get_status64, l::LOOP_GET_STATUS64, l::loop_info64);
}

/// Asks `/dev/loop-control` for the number of a device that was free a moment ago.
pub fn loop_get_free(control: impl AsFd) -> Result<u32, Errno> {
    // SAFETY: precondition: the descriptor is open; the request takes no pointer.
    let number = unsafe { ioctls::ctl_get_free(control.as_fd().as_raw_fd()) }?;
    u32::try_from(number).map_err(|_| Errno::ERANGE)
}

/// A part of a file to be seen as a block device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoopWindow {
    /// First byte in the backing file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// `LO_FLAGS_*`.
    pub flags: u32,
}

/// Binds a free loop device to an open file in one step.
pub fn loop_configure(
    device: impl AsFd,
    backing: impl AsFd,
    window: LoopWindow,
    tag: &[u8; 64],
) -> Result<(), Errno> {
    // SAFETY: precondition: all-zero bytes are a valid `loop_config`: it holds integers and arrays of them only.
    let mut config: loop_device::loop_config = unsafe { std::mem::zeroed() };
    config.fd = u32::try_from(backing.as_fd().as_raw_fd()).map_err(|_| Errno::EBADF)?;
    config.info.lo_offset = window.offset;
    config.info.lo_sizelimit = window.size;
    config.info.lo_flags = window.flags;
    config.info.lo_file_name = *tag;
    // SAFETY: precondition: the pointer is to a whole `loop_config`, alive during the call.
    unsafe { ioctls::configure(device.as_fd().as_raw_fd(), &raw const config) }.map(drop)
}

/// What the kernel says of a bound loop device.
pub struct LoopStatus {
    /// Device number of the file system the backing file is on.
    pub device: u64,
    /// Inode number of the backing file.
    pub inode: u64,
    /// The part of the file.
    pub window: LoopWindow,
    /// The name given when it was bound.
    pub tag: [u8; 64],
}

/// Reads a loop device back; `ENXIO` when it is not bound.
pub fn loop_status(device: impl AsFd) -> Result<LoopStatus, Errno> {
    // SAFETY: precondition: all-zero bytes are a valid `loop_info64`: it holds integers and arrays of them only.
    let mut info: loop_device::loop_info64 = unsafe { std::mem::zeroed() };
    // SAFETY: precondition: the pointer is to a whole `loop_info64` the kernel may write, alive during the call.
    unsafe { ioctls::get_status64(device.as_fd().as_raw_fd(), &raw mut info) }?;
    let window = LoopWindow { offset: info.lo_offset, size: info.lo_sizelimit, flags: info.lo_flags };
    Ok(LoopStatus { device: info.lo_device, inode: info.lo_inode, window, tag: info.lo_file_name })
}

/// From here on ids and capabilities do not follow each other, and uid 0 by itself means nothing.
pub fn detach_ids_from_capabilities() -> Result<(), Refusal> {
    let fixup = CapabilitiesSecureBits::NO_SETUID_FIXUP | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED;
    set_capabilities_secure_bits(fixup | NO_ROOT).step("locking the securebits")
}

/// From here on uid 0 by itself means nothing, for this process and all that follow it.
pub fn lock_root_out() -> Result<(), Refusal> {
    set_capabilities_secure_bits(NO_ROOT).step("locking the securebits")
}

const NO_ROOT: CapabilitiesSecureBits =
    CapabilitiesSecureBits::NO_ROOT.union(CapabilitiesSecureBits::NO_ROOT_LOCKED);

/// A C string without its NUL, from bytes that hold none.
pub fn c_string(bytes: &[u8]) -> Result<CString, Refusal> {
    CString::new(bytes).map_err(|_| Refusal::failed("naming a path", Errno::EINVAL))
}
