//! Times as people here write them. Knows no clock: it goes by what the model was told last.

use jiff::Timestamp;
use spindle_shared::time::WallMs;

use super::Model;

/// Days of the history.
pub(super) const DAYS: i64 = 7;

impl Model {
    /// A time as people here write it: the hour today, the day before.
    pub fn clock(&self, time: WallMs) -> String {
        let zoned = |ms: WallMs| {
            let stamp = Timestamp::from_millisecond(i64::try_from(ms.0).unwrap_or(i64::MAX));
            stamp.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
        };
        let (then, now) = (zoned(time), zoned(self.wall));
        if then.date() == now.date() {
            then.strftime("%H:%M:%S").to_string()
        } else {
            then.strftime("%m-%d %H:%M").to_string()
        }
    }

    /// The last midnights, today's first, with their dates.
    pub fn days(&self) -> Vec<(WallMs, String)> {
        let now = Timestamp::from_millisecond(i64::try_from(self.wall.0).unwrap_or(i64::MAX));
        let today = now.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone()).date();
        let day = |back: i64| {
            let date = today.checked_sub(jiff::Span::new().days(back)).ok()?;
            let begins = date.to_zoned(self.zone.clone()).ok()?.timestamp().as_millisecond();
            Some((WallMs(u64::try_from(begins).unwrap_or(0)), date.to_string()))
        };
        (0..DAYS).filter_map(day).collect()
    }
}
