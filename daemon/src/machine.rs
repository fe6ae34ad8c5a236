//! What the machine has, or lets the daemon have.

use std::fs;
use std::path::Path;

/// Memory in bytes: the machine's, or what the daemon's control group may take, if that is less.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = u64::from(info.mem_unit).saturating_mul(info.totalram);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = own.lines().find_map(|line| line.strip_prefix("0::")).and_then(|path| {
        let group = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        // Those above count as well; the least of them is what there is.
        group.ancestors().take_while(|group| group.starts_with("/sys/fs/cgroup")).filter_map(limit_of).min()
    });
    limit.map_or(machine, |limit| limit.min(machine))
}

/// `max` is no limit, and no number.
fn limit_of(group: &Path) -> Option<u64> {
    fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()
}
