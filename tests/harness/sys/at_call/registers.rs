//! What a traced process has in its registers at a system call. The only part that differs between architectures.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The registers of a stopped process.
pub(crate) type Registers = libc::user_regs_struct;

/// The number of the call that a process is entering; nothing if it is leaving one.
pub(crate) fn entered(pid: Pid) -> nix::Result<Option<u64>> {
    let info = ptrace::syscall_info(pid)?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: the kernel filled this part of the union in: the operation says that it is an entry.
    Ok(Some(unsafe { info.u.entry }.nr))
}

/// Reads the registers.
pub(crate) fn read(pid: Pid) -> nix::Result<Registers> {
    ptrace::getregs(pid)
}

/// A process that is gone has no registers, and nobody who misses them.
fn write(pid: Pid, registers: Registers) {
    let done = ptrace::setregs(pid, registers);
    assert!(matches!(done, Ok(()) | Err(Errno::ESRCH)), "registers can be written: {done:?}");
}

/// Makes an entering process make another call, with one argument changed.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call(pid: Pid, before: &Registers, number: u64, argument: Option<(usize, u64)>) {
    let mut registers = *before;
    registers.orig_rax = number;
    if let Some((index, value)) = argument {
        let places = [
            &mut registers.rdi,
            &mut registers.rsi,
            &mut registers.rdx,
            &mut registers.r10,
            &mut registers.r8,
            &mut registers.r9,
        ];
        *places.into_iter().nth(index).expect("a call has six arguments") = value;
    }
    write(pid, registers);
}

/// Answers a leaving process with an error; everything else is as before the call.
#[cfg(target_arch = "x86_64")]
pub(crate) fn answer(pid: Pid, before: &Registers, error: i32) {
    let result = i64::from(-error).cast_unsigned();
    write(pid, Registers { rax: result, ..*before });
}

/// Makes a leaving process enter the kernel once more, by the interrupt that 32-bit programs use, for `getpid`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn use_other_entry(pid: Pid) {
    const GETPID_OF_I386: u64 = 20;
    const INT_80: libc::c_long = 0x80cd;
    const INSTRUCTION_BYTES: u64 = 2;
    let registers = read(pid).expect("it is stopped");
    let at = registers.rip - INSTRUCTION_BYTES;
    let place = at as ptrace::AddressType;
    let word = ptrace::read(pid, place).expect("it is its code");
    ptrace::write(pid, place, word & !0xffff | INT_80).expect("a tracer may");
    write(pid, Registers { rip: at, rax: GETPID_OF_I386, ..registers });
}

/// The register set that holds the number of the call (`NT_ARM_SYSTEM_CALL` of `elf.h`).
#[cfg(target_arch = "aarch64")]
const NT_ARM_SYSTEM_CALL: libc::c_int = 0x404;

#[cfg(target_arch = "aarch64")]
pub(crate) fn call(pid: Pid, before: &Registers, number: u64, argument: Option<(usize, u64)>) {
    let mut registers = *before;
    if let Some((index, value)) = argument {
        registers.regs[index] = value;
    }
    write(pid, registers);
    let mut number = libc::c_int::try_from(number).expect("a call's number is small");
    let set = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<libc::c_int>() };
    // SAFETY: the kernel reads as many bytes as the iovec says from the number, which is alive during the call.
    let done =
        unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), NT_ARM_SYSTEM_CALL, &raw const set) };
    assert_eq!(done, 0, "a call's number can be written");
}

#[cfg(target_arch = "aarch64")]
pub(crate) fn answer(pid: Pid, before: &Registers, error: i32) {
    let mut registers = *before;
    registers.regs[0] = i64::from(-error).cast_unsigned();
    write(pid, registers);
}

/// There is no such entry within a 64-bit program.
#[cfg(target_arch = "aarch64")]
pub(crate) fn use_other_entry(_: Pid) {
    panic!("this machine has one entry");
}
