//! What a container may not leave behind.

use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The kernel takes mounts and loop devices apart in work queues after the last process has gone.
const GRACE: Duration = Duration::from_secs(5);

/// Panics if, after a moment, anything on this machine still uses `folder` or belongs to one of the `sessions`.
#[track_caller]
pub(crate) fn assert_none(folder: &Path, sessions: &[Pid]) {
    let deadline = Instant::now() + GRACE;
    loop {
        let left: Vec<String> = [mounts(folder), loop_devices(folder), processes(folder, sessions)]
            .into_iter()
            .flatten()
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mounts(folder: &Path) -> Vec<String> {
    let table = fs::read("/proc/self/mountinfo").expect("there is a /proc");
    let lines = table.split(|byte| *byte == b'\n').filter(|line| mentions(line, folder));
    lines.map(|line| format!("mount {}", String::from_utf8_lossy(line))).collect()
}

fn loop_devices(folder: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").expect("there is a /sys").filter_map(Result::ok);
    let attached = devices.filter_map(|device| {
        let file = fs::read(device.path().join("loop/backing_file")).ok()?;
        mentions(&file, folder).then(|| {
            format!(
                "{} of {}",
                device.file_name().to_string_lossy(),
                String::from_utf8_lossy(&file).trim_end()
            )
        })
    });
    attached.collect()
}

fn processes(folder: &Path, sessions: &[Pid]) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("there is a /proc").filter_map(Result::ok);
    let alive = entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let session = nix::unistd::getsid(Some(Pid::from_raw(pid))).ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        if command.is_empty() && is_zombie(&entry.path()) {
            return None;
        }
        (sessions.contains(&session) || mentions(&command, folder))
            .then(|| format!("process {pid}: {}", String::from_utf8_lossy(&command).replace('\0', " ")))
    });
    alive.collect()
}

/// The processes of these sessions.
pub(crate) fn alive(sessions: &[Pid]) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let of_ours =
        |pid: &Pid| nix::unistd::getsid(Some(*pid)).is_ok_and(|session| sessions.contains(&session));
    numbers.map(Pid::from_raw).filter(of_ours).collect()
}

fn mentions(text: &[u8], folder: &Path) -> bool {
    let folder: &OsStr = folder.as_os_str();
    text.windows(folder.len()).any(|part| part == folder.as_bytes())
}

/// A process that has ended, and holds nothing any more, but whose parent has not asked for its status. An orphan's
/// new parent may take its time.
fn is_zombie(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
}
