//! What the process uses of the machine, from `/proc/self`.
//!
//! Reads three files a scrape; where they are not there (not Linux), the values stay as they are.

use std::fs;

use super::series::Series;

/// Clock ticks a second in `/proc/self/stat`: the kernel's interface fixes it at 100 on every architecture
/// that this program is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Brings the process's metrics up to date.
pub(super) fn update(series: &Series) {
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        series.process_cpu.inc_by((seconds - series.process_cpu.get()).max(0.0));
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        series.process_rss.set(bytes);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // Listing the folder opened one of them.
        series.process_files.set(entries.count().saturating_sub(1) as f64);
    }
}

/// Seconds of processor time that a process has used, and the most memory that it held, bytes; none once it is gone.
pub(crate) fn use_of(process: u32) -> Option<(f64, f64)> {
    let seconds = cpu_seconds(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
    let bytes = kibibytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmHWM:")?;
    Some((seconds, bytes))
}

/// User and system time of `/proc/self/stat`: the 14th and 15th field. The second, the program's name in
/// parentheses, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// The line `VmRSS` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<f64> {
    kibibytes(status, "VmRSS:")
}

/// Bytes of a line of `/proc/self/status`, which is in KiB.
fn kibibytes(status: &str, line: &str) -> Option<f64> {
    let line = status.lines().find_map(|own| own.strip_prefix(line))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kibibytes * 1024) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_that_holds_spaces_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 250 150 0 0 20 0 9 0 55 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("7 (a) S 1 7"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   2048 kB\n"), Some(2_097_152.0));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\n"), None);
    }
}
