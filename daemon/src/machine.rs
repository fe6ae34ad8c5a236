//! What the machine has, or lets the daemon have.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that are free on the disk of a folder; `None` where the file system doesn't say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    rustix::fs::statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes of the disk of a folder that stay free unless the configuration says otherwise: a twentieth, 1 GiB at most, and enough for the
/// queue to go on for a while.
pub fn reserve_bytes(folder: &Path) -> u64 {
    let size = rustix::fs::statvfs(folder).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    (size / 20).clamp(8 << 20, 1 << 30)
}

/// Less than a twentieth of the memory is available, or than 512 MiB where that is less: of the machine's, or of the control group's.
pub fn is_short_of_memory() -> bool {
    let line = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = line.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let total = memory_bytes();
    // Pages of files that the group has read count as used there, and go when anybody needs them.
    let group = own_groups().filter_map(|group| {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let (limit, used) = (limit_of(&group)?, number("memory.current")?);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    });
    let left = group.chain(available.map(|kib| kib << 10)).min();
    left.is_some_and(|left| left < (total / 20).min(512 << 20))
}

/// Memory in bytes: the machine's, or what the daemon's control group may take, if that is less.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = u64::from(info.mem_unit).saturating_mul(info.totalram);
    // Those above count as well; the least of them is what there is.
    let limit = own_groups().filter_map(|group| limit_of(&group)).min();
    limit.map_or(machine, |limit| limit.min(machine))
}

/// The control group that the daemon is in, and those above it.
fn own_groups() -> impl Iterator<Item = PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).map(|path| root.join(path.trim_start_matches('/')));
    let groups: Vec<PathBuf> = own.iter().flat_map(|group| group.ancestors()).map(Path::to_owned).collect();
    groups.into_iter().take_while(move |group| group.starts_with(root))
}

/// `max` is no limit, and no number.
fn limit_of(group: &Path) -> Option<u64> {
    fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()
}
