//! Which system calls the kernel has, asked with arguments that no call accepts.

use nix::errno::Errno;

/// A call that containers are mounted with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MountCall {
    /// `open_tree`
    OpenTree,
    /// `move_mount`
    MoveMount,
    /// `fsopen`
    FsOpen,
    /// `fsconfig`
    FsConfig,
    /// `fsmount`
    FsMount,
    /// `mount_setattr`
    MountSetattr,
}

impl MountCall {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OpenTree, Self::MoveMount, Self::FsOpen, Self::FsConfig, Self::FsMount, Self::MountSetattr];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenTree => "open_tree",
            Self::MoveMount => "move_mount",
            Self::FsOpen => "fsopen",
            Self::FsConfig => "fsconfig",
            Self::FsMount => "fsmount",
            Self::MountSetattr => "mount_setattr",
        }
    }

    fn number(self) -> libc::c_long {
        match self {
            Self::OpenTree => libc::SYS_open_tree,
            Self::MoveMount => libc::SYS_move_mount,
            Self::FsOpen => libc::SYS_fsopen,
            Self::FsConfig => libc::SYS_fsconfig,
            Self::FsMount => libc::SYS_fsmount,
            Self::MountSetattr => libc::SYS_mount_setattr,
        }
    }

    /// Whether this kernel has it, and lets this process call it.
    #[must_use]
    pub fn exists(self) -> bool {
        const BAD: libc::c_long = -1;
        // SAFETY: every pointer is null or an address that no process has, and every descriptor is -1: each of these
        // calls refuses that before it changes anything.
        let result = unsafe { libc::syscall(self.number(), BAD, 0_usize, BAD, 0_usize, BAD, 0_usize) };
        result != -1 || Errno::last() != Errno::ENOSYS
    }
}

/// The version of the kernel's Landlock interface; `None` where there is none, or it is turned off.
#[must_use]
pub fn landlock_abi() -> Option<i32> {
    const VERSION: libc::c_long = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes a null pointer and no size, and only returns a number.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    i32::try_from(result).ok().filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_runs_containers_has_every_mount_call() {
        for call in MountCall::ALL {
            assert!(call.exists(), "{}", call.name());
        }
    }
}
