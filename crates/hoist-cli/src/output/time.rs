//! Times for people.

use std::time::Duration;

use hoist_api::Time;

/// How long ago, in the largest unit that fits: `5 minutes ago`.
pub(crate) fn ago(time: Time, now: Time) -> String {
    let seconds = time.until(now).as_secs();
    let units = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (7 * 86_400, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let Some((size, unit)) = units.into_iter().find(|(size, _)| seconds >= *size) else {
        return "now".to_owned();
    };
    let count = seconds / size;
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// A length of time: `12 ms`, `1.2 s`, `2 min 5 s`.
pub(crate) fn short(length: Duration) -> String {
    match length.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms @ 1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_that_fits() {
        let now = Time(10_000_000_000_000);
        for (seconds, text) in [
            (0, "now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7_199, "1 hour ago"),
            (86_400 * 6, "6 days ago"),
            (86_400 * 8, "1 week ago"),
            (86_400 * 65, "2 months ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(ago(Time(now.0 - seconds * 1_000), now), text);
        }
        assert_eq!(ago(Time(now.0 + 5_000), now), "now", "clocks differ");
    }

    #[test]
    fn lengths() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (125_900, "2 min 5 s"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), text);
        }
    }
}
