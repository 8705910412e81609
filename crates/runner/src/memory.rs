//! How much memory the process has had in use, and how much there is.

/// The most memory of this process that was in RAM at once, in bytes: `VmHWM` of `/proc/self/status` (Linux,
/// proc_pid_status(5)). `None` where there is no such file.
pub fn peak_rss_bytes() -> Option<u64> {
    bytes_in("/proc/self/status", "VmHWM:")
}

/// The memory that programs can still take without others being swapped out, in bytes: `MemAvailable` of `/proc/meminfo` (Linux,
/// proc_meminfo(5)). `None` where there is no such file.
pub fn available_bytes() -> Option<u64> {
    bytes_in("/proc/meminfo", "MemAvailable:")
}

/// What stands behind `key` in a file of Linux's.
fn bytes_in(path: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_grows_with_what_is_touched() {
        let before = peak_rss_bytes().expect("Linux");
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = peak_rss_bytes().expect("Linux");
        assert!(after >= before && after >= touched.len() as u64);
        assert!(available_bytes().expect("Linux") > 0);
    }
}
