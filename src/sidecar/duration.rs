//! Spans of time as Dapr's APIs write them.

use std::time::Duration;

use chrono::{DateTime, Days, Months, TimeDelta, Utc};

/// `1h30m`, `1.5s`, `250ms`, `0`; a negative one counts as zero (Go, `time.ParseDuration`).
pub(super) fn of_go(text: &str) -> Option<Duration> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (unsigned, 0.0);
    while !rest.is_empty() {
        let unit_at = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let unit_end = after.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(after.len());
        let factor = match &after[..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &after[unit_end..];
    }
    let seconds = if text.starts_with('-') { 0.0 } else { seconds };
    (!unsigned.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// A span of the calendar, as the periods of timers are, with how often it repeats, if it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) months: u32,
    pub(super) days: u32,
    pub(super) time: Duration,
    pub(super) repeats: Option<u32>,
}

// ===== impl Period =====

impl Period {
    /// A duration of Go, or one of ISO 8601.
    pub(super) fn parse(text: &str) -> Option<Self> {
        of_go(text).map(|time| Self { time, ..Self::default() }).or_else(|| Self::of_iso(text))
    }

    /// `P1DT2H`, also with repetitions, `R3/PT10S`.
    fn of_iso(text: &str) -> Option<Self> {
        let (repeats, text) = match text.strip_prefix('R') {
            Some(rest) => {
                let (count, text) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(count.parse().ok()?), text)
            }
            None => (None, text),
        };
        let mut period = Self { repeats, ..Self::default() };
        if text.is_empty() && repeats.is_some() {
            return Some(period);
        }
        let (date, time) = text.strip_prefix('P')?.split_once('T').unwrap_or((&text[1..], ""));
        for (number, unit) in parts(date)? {
            match unit {
                'Y' => period.months = period.months.checked_add(number.checked_mul(12)?)?,
                'M' => period.months = period.months.checked_add(number)?,
                'W' => period.days = period.days.checked_add(number.checked_mul(7)?)?,
                'D' => period.days = period.days.checked_add(number)?,
                _ => return None,
            }
        }
        for (number, unit) in parts(time)? {
            let factor = match unit {
                'H' => 3600,
                'M' => 60,
                'S' => 1,
                _ => return None,
            };
            period.time += Duration::from_secs(u64::from(number) * factor);
        }
        Some(period)
    }

    pub(super) const fn is_zero(&self) -> bool {
        self.months == 0 && self.days == 0 && self.time.is_zero()
    }

    /// The moment that is this much later.
    pub(super) fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let moment = moment.checked_add_months(Months::new(self.months))?;
        moment.checked_add_days(Days::new(self.days.into()))?.checked_add_signed(TimeDelta::from_std(self.time).ok()?)
    }
}

/// `1D2W`: numbers, each with its unit.
fn parts(text: &str) -> Option<Vec<(u32, char)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|char: char| !char.is_ascii_digit())?;
        let unit = rest[unit_at..].chars().next()?;
        parts.push((rest[..unit_at].parse().ok()?, unit));
        rest = &rest[unit_at + unit.len_utf8()..];
    }
    Some(parts)
}

/// As Go prints a duration: `1h0m0s`, `1.5s`, `250ms`.
pub(super) fn to_go(span: Duration) -> String {
    let of_unit = |nanos: u128, unit: u128| {
        let (whole, part) = (nanos / unit, nanos % unit);
        let digits = unit.ilog10() as usize;
        let text = format!("{whole}.{part:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let nanos = span.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", of_unit(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", of_unit(nanos, 1_000_000)),
        _ => {
            const MINUTE: u128 = 60_000_000_000;
            let (minutes, seconds) = (nanos / MINUTE, of_unit(nanos % MINUTE, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// A moment: RFC 3339, or a span of time from `now`.
pub(super) fn moment(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    Period::parse(text).filter(|span| span.repeats.is_none())?.after(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_go_and_of_iso_8601() {
        let of = |text: &str| {
            Period::parse(text).map(|period| (period.months, period.days, period.time.as_millis(), period.repeats))
        };
        for (text, expected) in [
            ("0h0m3s0ms", (0, 0, 3000, None)),
            ("-3s", (0, 0, 0, None)),
            ("0", (0, 0, 0, None)),
            ("PT3S", (0, 0, 3000, None)),
            ("P1Y2M3DT2H3M", (14, 3, 7_380_000, None)),
            ("P2W", (0, 14, 0, None)),
            ("R3/PT10S", (0, 0, 10_000, Some(3))),
            ("R2", (0, 0, 0, Some(2))),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
        for text in ["", "-", "--3s", "00", "PT1D", "P1H", "x", "R/PT1S", "PT5", "P5", "P9999999999999999999D", "P1é"]
        {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(Period::parse("P").map(|period| period.is_zero()), Some(true));
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (nanos, expected) in [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (600_000_000_000, "10m0s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
        ] {
            assert_eq!(to_go(Duration::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn a_moment_is_absolute_or_from_now() {
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        assert_eq!(moment("2s", now).unwrap().timestamp(), 1002);
        assert_eq!(moment("1970-01-01T00:00:05Z", now).unwrap().timestamp(), 5);
        assert_eq!(moment("P1M", now).unwrap(), DateTime::parse_from_rfc3339("1970-02-01T00:16:40Z").unwrap());
        assert_eq!(moment("soon", now), None);
    }
}
