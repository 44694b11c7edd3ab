use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The header that says how long a gRPC call may take.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The largest number of eight digits.
const MAX_VALUE: u128 = 99_999_999;

/// Units from the finest to the coarsest, in nanoseconds.
const UNITS: [(u128, u8); 6] = [
    (1, b'n'),
    (1_000, b'u'),
    (1_000_000, b'm'),
    (1_000_000_000, b'S'),
    (60_000_000_000, b'M'),
    (3_600_000_000_000, b'H'),
];

/// A timeout as gRPC over HTTP/2 writes it: at most eight digits, and the finest unit in which they suffice.
///
/// Rounded up, as in grpc-go: the server's clock must not end before ours. A longer time than 99,999,999 hours is that.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::deadline::grpc_timeout;
///
/// assert_eq!(grpc_timeout(Duration::from_millis(1500)), "1500000u");
/// assert_eq!(grpc_timeout(Duration::ZERO), "0n");
/// ```
#[must_use]
pub fn grpc_timeout(timeout: Duration) -> HeaderValue {
    let nanos = timeout.as_nanos();
    let (value, unit) = UNITS
        .iter()
        .map(|(length, unit)| (nanos.div_ceil(*length), *unit))
        .find(|(value, _)| *value <= MAX_VALUE)
        .unwrap_or((MAX_VALUE, b'H'));
    let mut text = [0; 9];
    text[8] = unit;
    let mut start = 8;
    let mut rest = value;
    loop {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&text[start..]).expect("digits and a letter are a header value")
}

/// Reads what [`grpc_timeout`] writes: one to eight digits and one of `H M S m u n`. `None` if it is anything else.
///
/// ```
/// use std::time::Duration;
/// use http::HeaderValue;
/// use tower_dapr::deadline::parse_grpc_timeout;
///
/// assert_eq!(parse_grpc_timeout(&HeaderValue::from_static("2S")), Some(Duration::from_secs(2)));
/// assert_eq!(parse_grpc_timeout(&HeaderValue::from_static("2s")), None);
/// ```
#[must_use]
pub fn parse_grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use proptest::prelude::{any, proptest};

    use super::{grpc_timeout, parse_grpc_timeout};

    #[test]
    fn the_finest_unit_that_fits_is_taken() {
        for (timeout, text) in [
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::from_secs(100_000_001), "1666667M"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(grpc_timeout(timeout), text);
        }
    }

    #[test]
    fn what_is_no_timeout_is_not_read() {
        for text in ["", "S", "1", "123456789S", "-1S", "+1S", "1.5S", "1s", " 1S", "1S ", "1 S"] {
            assert_eq!(parse_grpc_timeout(&HeaderValue::from_str(text).unwrap()), None, "{text:?}");
        }
        assert_eq!(
            parse_grpc_timeout(&HeaderValue::from_static("99999999H")),
            Some(Duration::from_secs(359_999_996_400))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_never_shorter(nanos in any::<u64>()) {
            let timeout = Duration::from_nanos(nanos);
            let read = parse_grpc_timeout(&grpc_timeout(timeout)).unwrap();
            assert!(read >= timeout && read.as_nanos() <= u128::from(nanos) * 100_001 / 100_000 + 1);
        }
    }
}
