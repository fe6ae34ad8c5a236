//! How much memory there is for a piece of work, as machine and limits stand now. Knows no work.

use rustix::process::{Resource, getrlimit};

/// Bytes that one piece of work may take now: half of what this machine has free and this process may still have. `None` = nobody knows.
pub fn room() -> Option<u64> {
    let free = kib_of(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let limit = getrlimit(Resource::Data).current.and_then(|limit| {
        let own = kib_of(&std::fs::read_to_string("/proc/self/status").ok()?, "VmData:")?;
        Some(limit.saturating_sub(own))
    });
    Some(limit.map_or(free, |left| left.min(free)) / 2)
}

/// The figure behind a name, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_names() {
        assert_eq!(kib_of("MemTotal: 9 kB\nMemAvailable:    1024 kB\n", "MemAvailable:"), Some(1 << 20));
        assert_eq!(kib_of("MemTotal: 9 kB\n", "MemAvailable:"), None);
        assert!(room().is_some_and(|bytes| bytes > 0));
    }
}
