//! When something happens again: cron expressions and periods (`dapr/kit:cron`, a fork of `robfig/cron`).

use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

use super::duration;

/// A schedule in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    Every(Duration),
    Cron(Box<Cron>),
}

/// Bit n of a field is set when it matches n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    second: u64,
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    /// A day matches by either field when both are restricted, be it by a step alone.
    either_day: bool,
}

/// The furthest that a match is looked for: leap days come within eight years.
const HORIZON: i64 = 9 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

// ===== impl Schedule =====

impl Schedule {
    /// `@every 1s`, `@daily` and the like, or five or six fields, the first of six being the seconds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("@every ") {
            // daprd's fork of robfig/cron does not round, and takes none as well, which would never sleep.
            return duration::of_go(period.trim()).map(|period| Self::Every(period.max(Duration::from_millis(1))));
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            fields => fields,
        };
        let fields: Vec<_> = fields.split_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest if rest.len() == 5 => ("0", rest),
            _ => return None,
        };
        let is_any = |field: &str| {
            field.split(',').any(|part| match part.split_once('/') {
                Some((range, step)) => matches!(range, "*" | "?") && step.parse() == Ok(1),
                None => matches!(part, "*" | "?"),
            })
        };
        Some(Self::Cron(Box::new(Cron {
            second: field(second, 0, 59, &[])?,
            minute: field(rest[0], 0, 59, &[])?,
            hour: field(rest[1], 0, 23, &[])?,
            day: field(rest[2], 1, 31, &[])?,
            month: field(rest[3], 1, 12, &MONTHS)?,
            weekday: field(rest[4], 0, 6, &DAYS)?,
            either_day: !is_any(rest[2]) && !is_any(rest[4]),
        })))
    }

    /// The first moment after `after`; none when there is none, such as for a 30th of February.
    pub(super) fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(period) => after.checked_add_signed(TimeDelta::from_std(*period).ok()?),
            Self::Cron(cron) => cron.next(after),
        }
    }
}

// ===== impl Cron =====

impl Cron {
    fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = after.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?;
        for days in 0..HORIZON {
            let day = start.date_naive().checked_add_signed(TimeDelta::days(days))?;
            if !self.has_day(day) {
                continue;
            }
            let from = if days == 0 { start.num_seconds_from_midnight() } else { 0 };
            if let Some(second) = (from..86_400).find(|second| self.has_time(*second)) {
                let time = chrono::NaiveTime::from_num_seconds_from_midnight_opt(second, 0)?;
                return Some(day.and_time(time).and_utc());
            }
        }
        None
    }

    fn has_day(&self, day: chrono::NaiveDate) -> bool {
        let by_day = self.day >> day.day() & 1 == 1;
        let by_weekday = self.weekday >> day.weekday().num_days_from_sunday() & 1 == 1;
        let matches = if self.either_day { by_day || by_weekday } else { by_day && by_weekday };
        matches && self.month >> day.month() & 1 == 1
    }

    const fn has_time(&self, second: u32) -> bool {
        self.hour >> (second / 3600) & 1 == 1
            && self.minute >> (second / 60 % 60) & 1 == 1
            && self.second >> (second % 60) & 1 == 1
    }
}

/// `*`, `5`, `1-5`, `*/2`, `1-9/3`, `mon`, and lists of these.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let number = |text: &str| match names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
        Some(index) => u32::try_from(index).ok().map(|index| index + low),
        None => text.parse().ok(),
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range {
            "*" | "?" => (low, high),
            _ => match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                // `5/10` goes on to the end.
                None => (number(range)?, if step.is_some() { high } else { number(range)? }),
            },
        };
        let step: usize = step.map_or(Some(1), |step| step.parse().ok())?;
        if first < low || last > high || first > last || step == 0 {
            return None;
        }
        for value in (first..=last).step_by(step) {
            bits |= 1 << value;
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> Option<String> {
        let after = DateTime::parse_from_rfc3339(after).unwrap().to_utc();
        Schedule::parse(schedule)
            .unwrap()
            .next(after)
            .map(|next| next.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }

    #[test]
    fn finds_the_next_moment() {
        for (schedule, after, expected) in [
            ("*/15 * * * * *", "2026-11-23T10:00:15Z", "2026-11-23T10:00:30Z"),
            ("0 30 * * * *", "2026-11-23T10:30:00Z", "2026-11-23T11:30:00Z"),
            ("5 4 * * *", "2026-11-23T10:00:00Z", "2026-11-24T04:05:00Z"),
            ("0 0 9-17/4 * jan mon,fri", "2026-11-23T10:00:00Z", "2027-01-01T09:00:00Z"),
            ("0 0 0 13 * fri", "2026-11-23T10:00:00Z", "2026-11-27T00:00:00Z"),
            ("@daily", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("0 0 0 13 * */2", "2026-11-23T10:00:00Z", "2026-11-24T00:00:00Z"),
            ("0 0 0 13 * */1", "2026-11-23T10:00:00Z", "2026-12-13T00:00:00Z"),
            ("0 0 0 */31 * mon", "2026-11-23T10:00:00Z", "2026-11-30T00:00:00Z"),
            ("@every 1h30m", "2026-11-23T10:00:00Z", "2026-11-23T11:30:00Z"),
            ("0 0 0 29 2 ?", "2026-11-23T10:00:00Z", "2028-02-29T00:00:00Z"),
        ] {
            assert_eq!(next(schedule, after).as_deref(), Some(expected), "{schedule}");
        }
        assert_eq!(next("0 0 0 30 2 *", "2026-11-23T10:00:00Z"), None);
        for (text, millis) in [("@every 300ms", 300), ("@every 0", 1), ("@every -1s", 1)] {
            assert_eq!(Schedule::parse(text), Some(Schedule::Every(Duration::from_millis(millis))), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        for text in
            ["", "*", "* * * *", "60 * * * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *", "@every x", "@never"]
        {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}
