//! Decides how cost is read: of a process, from `/proc`, as the system books it.

use std::fs;
use std::time::Duration;

/// Processor time that a process has used, all its threads.
pub fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; what follows the last bracket is numbers.
    let ticks: u64 = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum())
        .unwrap_or_default();
    // USER_HZ, which is 100 on every Linux.
    Duration::from_millis(ticks * 10)
}

/// The same of the threads that run, to the nanosecond: for what takes less
/// than a tick.
pub fn busy(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let spent = tasks.map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|spent| spent.parse::<u64>().ok()).unwrap_or_default()
    });
    Duration::from_nanos(spent.sum())
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// What a process has had read from the disk, in KiB.
pub fn read_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|rest| rest.trim().parse::<u64>().ok()).unwrap_or_default() / 1024
}
