//! Memory of the process and of the machine, and allocations of untrusted size.

use std::io;

/// Returns the peak resident set size of this process, in bytes: `VmHWM` of `/proc/self/status`
/// (Linux, proc_pid_status(5)). `None` on systems without that file.
pub fn peak_rss_bytes() -> Option<u64> {
    bytes_in("/proc/self/status", "VmHWM:")
}

/// Returns the memory available without swapping, in bytes: `MemAvailable` of `/proc/meminfo`
/// (Linux, proc_meminfo(5)). `None` on systems without that file.
pub fn available_bytes() -> Option<u64> {
    bytes_in("/proc/meminfo", "MemAvailable:")
}

/// Creates an empty vector with capacity for `len` elements, where `len` is untrusted: stated by a
/// file, a network or a data set.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] if the allocator refuses, or less memory is available, where that
/// is known. Systems overcommit memory, and kill the process that touches it.
pub(crate) fn reserve<T>(len: usize) -> io::Result<Vec<T>> {
    let refused = || io::Error::from(io::ErrorKind::OutOfMemory);
    let bytes = len.saturating_mul(size_of::<T>()) as u64;
    if bytes > UNCHECKED && available_bytes().is_some_and(|available| bytes > available) {
        return Err(refused());
    }
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| refused())?;
    Ok(vector)
}

/// Largest size that [`reserve`] does not compare with available memory: 16 MiB.
const UNCHECKED: u64 = 1 << 24;

/// Returns the value of `key`, in bytes, in a file of Linux's `/proc`.
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
    fn a_length_beyond_memory_is_an_error() {
        assert!(reserve::<f32>(1000).is_ok_and(|vector| vector.capacity() >= 1000));
        for len in [usize::MAX, 1 << 60, 1 << 44] {
            let refused = reserve::<f32>(len).expect_err("no machine has as much");
            assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
        }
    }

    #[test]
    fn the_peak_includes_touched_memory() {
        let before = peak_rss_bytes().expect("Linux");
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = peak_rss_bytes().expect("Linux");
        assert!(after >= before && after >= touched.len() as u64);
        assert!(available_bytes().expect("Linux") > 0);
    }
}
