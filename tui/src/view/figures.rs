//! Figures as people read them: times, ranges, rates, bars. What isn't known is `–`, never a made-up number. Knows no panel.

use spindle_shared::batch::Eta;

pub const UNKNOWN: &str = "–";

/// `4.2 s`, `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`.
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return UNKNOWN.to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// The likely remaining time with its range: `~4 min (3–6)`. The range is rounded outwards, so that it stays true.
pub fn eta(eta: Option<Eta>) -> String {
    const UNITS: [(f64, f64, &str); 4] =
        [(90.0, 1.0, "s"), (5_400.0, 60.0, "min"), (129_600.0, 3_600.0, "h"), (f64::INFINITY, 86_400.0, "d")];
    let known = eta.filter(|eta| [eta.seconds, eta.low, eta.high].iter().all(|time| time.is_finite() && *time >= 0.0));
    let Some(Eta { seconds, low, high }) = known else { return UNKNOWN.to_owned() };
    let Some((_, unit, name)) = UNITS.into_iter().find(|(below, ..)| seconds < *below) else {
        return UNKNOWN.to_owned();
    };
    // Of hours and days the first decimal matters.
    let digits = usize::from(unit > 60.0 && high / unit < 9.95);
    let grain = 10_f64.powi(digits as i32);
    let (low, high) = ((low / unit * grain).floor() / grain, (high / unit * grain).ceil() / grain);
    let likely = (seconds / unit * grain).round() / grain;
    if low == high {
        format!("~{likely:.digits$} {name}")
    } else {
        format!("~{likely:.digits$} {name} ({low:.digits$}–{high:.digits$})")
    }
}

/// Seconds of recordings per second.
pub fn real_time(rate: Option<f64>) -> String {
    match rate {
        Some(rate) if rate >= 99.95 => format!("{rate:.0}×"),
        Some(rate) if rate > 0.0 && rate < 0.05 => "<0.1×".to_owned(),
        Some(rate) => format!("{rate:.1}×"),
        None => UNKNOWN.to_owned(),
    }
}

pub fn per_minute(rate: Option<f64>) -> String {
    match rate {
        Some(rate) if rate >= 99.95 => format!("{rate:.0}"),
        Some(rate) => format!("{rate:.1}"),
        None => UNKNOWN.to_owned(),
    }
}

/// `980 B`, `12.3 kB`, `1.2 GB`; thousands, as disks are sold.
pub fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    if !bytes.is_finite() || bytes < 0.0 {
        return UNKNOWN.to_owned();
    }
    let (mut value, mut unit) = (bytes, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Whole per cents; 100 only when all is done.
pub fn percent(share: f32) -> String {
    format!("{}%", (share.clamp(0.0, 1.0) * 100.0) as u8)
}

/// A bar of so many cells; full only when all is done.
pub fn bar(share: f32, cells: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (f64::from(share.clamp(0.0, 1.0)) * cells as f64 * 8.0) as usize;
    let (full, part) = (eighths / 8, PARTS[eighths % 8]);
    let empty = cells.saturating_sub(full + usize::from(!part.is_empty()));
    format!("{}{part}{}", "█".repeat(full), "░".repeat(empty))
}

/// The highest value is a full block; nothing is a line at the bottom.
pub fn sparkline(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let peak = values.iter().copied().fold(0.0, f64::max);
    let block = |value: &f64| if *value > 0.0 { (value / peak * 7.0).ceil().clamp(1.0, 7.0) as usize } else { 0 };
    values.iter().map(|value| BLOCKS[block(value)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remaining_time_is_a_likely_value_in_its_range() {
        let told = |seconds, low, high| eta(Some(Eta { seconds, low, high }));
        assert_eq!(eta(None), "–");
        for (seconds, low, high, expected) in [
            (45.0, 30.4, 69.2, "~45 s (30–70)"),
            (250.0, 185.0, 350.0, "~4 min (3–6)"),
            (9_000.0, 7_400.0, 14_300.0, "~2.5 h (2.0–4.0)"),
            (50_000.0, 40_000.0, 70_000.0, "~14 h (11–20)"),
            (400_000.0, 300_000.0, 900_000.0, "~5 d (3–11)"),
            (0.0, 0.0, 0.0, "~0 s"),
            (f64::NAN, 1.0, 2.0, "–"),
            (1.0, 0.0, f64::INFINITY, "–"),
            (-1.0, 0.0, 1.0, "–"),
        ] {
            assert_eq!(told(seconds, low, high), expected);
        }
    }

    #[test]
    fn nothing_is_done_before_it_is_done() {
        assert_eq!((bar(0.999, 10), percent(0.999)), ("█████████▉".to_owned(), "99%".to_owned()));
        assert_eq!((bar(1.0, 4), percent(1.0)), ("████".to_owned(), "100%".to_owned()));
        assert_eq!((bar(f32::NAN, 2), percent(f32::NAN)), ("░░".to_owned(), "0%".to_owned()));
        for cells in 0..9 {
            for share in 0..=100 {
                assert_eq!(bar(share as f32 / 100.0, cells).chars().count(), cells);
            }
        }
    }

    #[test]
    fn sizes_have_three_figures_at_most() {
        assert_eq!(
            [0.0, 999.0, 999.6, 12_345.0, 123_456_789.0, 1.5e12, -1.0].map(bytes),
            ["0 B", "999 B", "1.0 kB", "12.3 kB", "123 MB", "1.5 TB", "–"]
        );
    }

    #[test]
    fn a_sparkline_rises_with_its_values() {
        assert_eq!(sparkline(&[0.0, 0.01, 1.0, 3.5, 7.0]), "▁▂▂▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn times_and_rates_are_short() {
        assert_eq!(
            [4.23, 42.0, 200.0, 7_500.0, 273_600.0, -1.0].map(span),
            ["4.2 s", "42 s", "3 min 20 s", "2 h 05 min", "3 d 4 h", "–"]
        );
        assert_eq!(
            [None, Some(0.0), Some(0.01), Some(12.34), Some(321.0)].map(real_time),
            ["–", "0.0×", "<0.1×", "12.3×", "321×"]
        );
        assert_eq!([None, Some(3.21), Some(1_234.5)].map(per_minute), ["–", "3.2", "1234"]);
    }
}
