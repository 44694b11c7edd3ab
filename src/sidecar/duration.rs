//! Spans of time as Dapr's APIs write them.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// `1h30m`, `1.5s`, `250ms`; a negative one counts as zero (Go, `time.ParseDuration`).
pub(super) fn of_go(text: &str) -> Option<Duration> {
    let unsigned = text.trim_start_matches(['-', '+']);
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

/// `P1DT2H`, also with repetitions, `R3/PT10S` (ISO 8601). Years and months have no length and are refused.
fn of_iso(text: &str) -> Option<(Duration, Option<u32>)> {
    let (repeats, text) = match text.strip_prefix('R') {
        Some(rest) => {
            let (count, text) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(count.parse().ok()?), text)
        }
        None => (None, text),
    };
    if text.is_empty() && repeats.is_some() {
        return Some((Duration::ZERO, repeats));
    }
    let (days, time) = text.strip_prefix('P')?.split_once('T').unwrap_or((&text[1..], ""));
    let mut seconds = 0_u64;
    for (part, units) in [(days, &[('W', 604_800), ('D', 86_400)][..]), (time, &[('H', 3600), ('M', 60), ('S', 1)][..])]
    {
        let mut number = String::new();
        for char in part.chars() {
            if char.is_ascii_digit() {
                number.push(char);
                continue;
            }
            let (_, factor) = units.iter().find(|(unit, _)| *unit == char)?;
            seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
            number.clear();
        }
        if !number.is_empty() {
            return None;
        }
    }
    Some((Duration::from_secs(seconds), repeats))
}

/// A period with how often it repeats, if it says so: of Go, of ISO 8601, or `@every 1s`.
pub(super) fn period(text: &str) -> Option<(Duration, Option<u32>)> {
    let text = text.strip_prefix("@every ").unwrap_or(text);
    of_go(text).map(|period| (period, None)).or_else(|| of_iso(text))
}

/// A moment: RFC 3339, or a span of time from `now`.
pub(super) fn moment(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    let (span, _) = period(text)?;
    now.checked_add_signed(chrono::TimeDelta::from_std(span).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_go_and_of_iso_8601() {
        let of = |text: &str| period(text).map(|(period, repeats)| (period.as_millis(), repeats));
        for (text, expected) in [
            ("0h0m3s0ms", (3000, None)),
            ("@every 1m", (60_000, None)),
            ("PT3S", (3000, None)),
            ("P1DT2H3M", (93_780_000, None)),
            ("P2W", (1_209_600_000, None)),
            ("R3/PT10S", (10_000, Some(3))),
            ("R2", (0, Some(2))),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
        for text in ["", "P1Y", "PT", "x", "R/PT1S", "PT5", "P9999999999999999999D", "@every"] {
            assert!(of(text).is_none_or(|(millis, _)| millis == 0), "{text}");
        }
    }

    #[test]
    fn a_moment_is_absolute_or_from_now() {
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        assert_eq!(moment("2s", now).unwrap().timestamp(), 1002);
        assert_eq!(moment("1970-01-01T00:00:05Z", now).unwrap().timestamp(), 5);
        assert_eq!(moment("soon", now), None);
    }
}
