//! The capabilities of this process.

use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Gives up every capability. With `no_new_privs`, exec brings none back, not even to user 0.
///
/// # Errors
/// None is known.
pub fn give_up_all() -> Result<(), Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    // Effective, permitted and inheritable, for the lower and the upper 32 capabilities.
    let none = [[0_u32; 3]; 2];
    // SAFETY: header and sets have the layout of this version of the call and live while it reads them.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const none) };
    Errno::result(done).map(drop)
}
