//! The machine: how busy its processors are, and how full its memory and the daemon's disk. The daemon is reached by a socket of this
//! machine, so what is felt here is what it feels. Knows no daemon and no screen.

use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Machine {
    /// Share of all processors' time that was used since the last look, 0–1.
    pub cpu: Option<f32>,
    /// Bytes in use, and all.
    pub memory: Option<(u64, u64)>,
    /// Of the disk with the daemon's state: bytes in use, and all.
    pub disk: Option<(u64, u64)>,
    /// The busiest graphics processor that tells, 0–1.
    pub gpu: Option<f32>,
}

/// Looks again and again: the processors' share is a difference.
#[derive(Debug, Default)]
pub struct Watcher {
    /// Busy and all, in ticks.
    last: Option<(u64, u64)>,
}

impl Watcher {
    pub fn look(&mut self, state_dir: Option<&Path>) -> Machine {
        let now = fs::read_to_string("/proc/stat").ok().and_then(|text| ticks(&text));
        let cpu = now.zip(self.last).and_then(|((busy, all), (busy_before, all_before))| {
            let all = all.checked_sub(all_before).filter(|all| *all > 0)?;
            Some((busy.saturating_sub(busy_before) as f32 / all as f32).min(1.0))
        });
        self.last = now.or(self.last);
        Machine {
            cpu,
            memory: fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)),
            disk: state_dir.and_then(disk),
            gpu: gpu(),
        }
    }
}

fn ticks(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    // Guests' time is in the first figures already.
    let figures: Vec<u64> = line.split_whitespace().take(8).map_while(|figure| figure.parse().ok()).collect();
    let all: u64 = figures.iter().sum();
    let idle = figures.get(3)? + figures.get(4)?;
    Some((all.saturating_sub(idle), all))
}

fn memory(text: &str) -> Option<(u64, u64)> {
    let kib = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let (all, free) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    Some((all.saturating_sub(free) * 1_024, all * 1_024))
}

fn disk(folder: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    let all = stat.f_blocks * stat.f_frsize;
    // What only root may fill is as good as used.
    (all > 0).then(|| (all.saturating_sub(stat.f_bavail * stat.f_frsize), all))
}

fn gpu() -> Option<f32> {
    let cards = fs::read_dir("/sys/class/drm").ok()?;
    let busy = cards.filter_map(|card| fs::read_to_string(card.ok()?.path().join("device/gpu_busy_percent")).ok());
    busy.filter_map(|text| text.trim().parse::<f32>().ok()).map(|percent| percent / 100.0).reduce(f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(ticks("cpu  10 1 5 80 4 0 2 0 3 0\ncpu0 1 2 3\n"), Some((18, 102)));
        assert_eq!(ticks("cpu  x\n"), None);
        assert_eq!(memory("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:   40 kB\n"), Some((60 * 1_024, 100 * 1_024)));
        assert_eq!(memory(""), None);
    }

    #[test]
    fn this_machine_can_be_felt() {
        let mut watcher = Watcher::default();
        assert_eq!(watcher.look(None).cpu, None, "one look is no difference");
        let machine = watcher.look(Some(Path::new("/")));
        assert!(machine.memory.is_some_and(|(used, all)| used <= all));
        assert!(machine.disk.is_some_and(|(used, all)| used <= all));
    }
}
