//! What a server says about when to come back.

use std::time::{Duration, SystemTime};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header::RETRY_AFTER};

use super::proto::Fields;
use crate::classify::Protocol;

/// grpc-go writes without padding, others with.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Longer details are not looked into.
const MAX_DETAILS: usize = 16 * 1024;

/// The server's word on the next attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pushback {
    #[default]
    None,
    /// Not before this has passed.
    After(Duration),
    /// Not at all.
    Never,
}

impl Pushback {
    /// Reads it off the headers or trailers that carried the status.
    pub(super) fn read(protocol: Protocol, headers: &HeaderMap, now: SystemTime) -> Self {
        match protocol {
            Protocol::Http => retry_after(headers, now),
            Protocol::Grpc => match grpc_pushback(headers) {
                Self::None => match retry_info(headers) {
                    // A proxy that answers for the server knows HTTP only.
                    Self::None => retry_after(headers, now),
                    found => found,
                },
                found => found,
            },
        }
    }
}

/// gRFC A6, "Pushback": one signed 32-bit decimal; whatever else it is means "do not retry".
fn grpc_pushback(headers: &HeaderMap) -> Pushback {
    let mut values = headers.get_all("grpc-retry-pushback-ms").iter();
    let Some(value) = values.next() else { return Pushback::None };
    let millis = value.to_str().ok().and_then(|value| value.parse::<i32>().ok());
    match (millis.map(u64::try_from), values.next()) {
        (Some(Ok(millis)), None) => Pushback::After(Duration::from_millis(millis)),
        _ => Pushback::Never,
    }
}

/// `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
fn retry_info(headers: &HeaderMap) -> Pushback {
    let delay = || {
        let encoded = headers.get("grpc-status-details-bin")?.as_bytes();
        if encoded.len() > MAX_DETAILS {
            return None;
        }
        let status = BASE64.decode(encoded).ok()?;
        // Status.details = 3, Any.type_url = 1 and .value = 2, RetryInfo.retry_delay = 1.
        let info = Fields::of(&status).find_map(|(number, value)| match (number, value) {
            (3, super::proto::Value::Bytes(any))
                if Fields::of(any).message(1) == Some(b"type.googleapis.com/google.rpc.RetryInfo") =>
            {
                Fields::of(any).message(2)
            }
            _ => None,
        })?;
        let duration = Fields::of(info).message(1)?;
        // int64 and int32; a negative one is no delay.
        let seconds = Fields::of(duration).number(1).unwrap_or(0);
        let nanos = Fields::of(duration).number(2).unwrap_or(0);
        let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        i64::try_from(seconds).ok()?;
        Some(Duration::new(seconds, nanos))
    };
    delay().map_or(Pushback::None, Pushback::After)
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Pushback {
    let Some(value) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else { return Pushback::None };
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit: longer than anybody waits.
        return Pushback::After(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    match httpdate::parse_http_date(value) {
        Ok(date) => Pushback::After(date.duration_since(now).unwrap_or_default()),
        Err(_) => Pushback::None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{HeaderMap, HeaderName, HeaderValue};
    use prost::Message;

    use super::{BASE64, Pushback};
    use crate::classify::Protocol;
    use base64::Engine;

    const MS: Duration = Duration::from_millis(1);

    fn read(protocol: Protocol, pairs: &[(&'static str, &str)]) -> Pushback {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        // Sun, 06 Nov 1994 08:49:37 GMT
        Pushback::read(protocol, &headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn grpc_pushback_is_a_delay_or_a_no() {
        for (value, expected) in [
            ("0", Pushback::After(Duration::ZERO)),
            ("250", Pushback::After(250 * MS)),
            ("3000", Pushback::After(3000 * MS)),
            ("-1", Pushback::Never),
            ("abc", Pushback::Never),
            ("", Pushback::Never),
            ("1.5", Pushback::Never),
            ("2147483648", Pushback::Never),
        ] {
            assert_eq!(read(Protocol::Grpc, &[("grpc-retry-pushback-ms", value)]), expected, "{value:?}");
        }
        let twice = [("grpc-retry-pushback-ms", "1"), ("grpc-retry-pushback-ms", "1")];
        assert_eq!(read(Protocol::Grpc, &twice), Pushback::Never);
        assert_eq!(read(Protocol::Http, &twice), Pushback::None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, expected) in [
            ("0", Pushback::After(Duration::ZERO)),
            ("120", Pushback::After(120_000 * MS)),
            ("99999999999999999999", Pushback::After(Duration::from_secs(u64::MAX))),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Pushback::After(3000 * MS)),
            ("Sunday, 06-Nov-94 08:49:40 GMT", Pushback::After(3000 * MS)),
            ("Sun Nov  6 08:49:40 1994", Pushback::After(3000 * MS)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Pushback::After(Duration::ZERO)),
            ("-1", Pushback::None),
            ("soon", Pushback::None),
            ("", Pushback::None),
        ] {
            assert_eq!(read(Protocol::Http, &[("retry-after", value)]), expected, "{value:?}");
        }
    }

    #[test]
    fn retry_info_is_found_among_the_details() {
        let any = |name: &str, value: Vec<u8>| prost_types::Any {
            type_url: format!("type.googleapis.com/google.rpc.{name}"),
            value,
        };
        let delay = prost_types::Duration { seconds: 1, nanos: 500_000_000 }.encode_to_vec();
        let mut info = vec![0x0a, delay.len() as u8];
        info.extend(delay);
        // google.rpc.Status { code = 1, message = 2, details = 3 }
        let mut status = b"\x08\x0e\x12\x02no".to_vec();
        for any in [any("ErrorInfo", vec![0x0a, 1, b'x']), any("RetryInfo", info)] {
            status.push(0x1a);
            any.encode_length_delimited(&mut status).unwrap();
        }
        let padded = BASE64.encode(&status);
        for text in [padded.as_str(), padded.trim_end_matches('=')] {
            let found = read(Protocol::Grpc, &[("grpc-status-details-bin", text)]);
            assert_eq!(found, Pushback::After(1500 * MS));
        }
        let both = [("grpc-retry-pushback-ms", "-1"), ("grpc-status-details-bin", padded.as_str())];
        assert_eq!(read(Protocol::Grpc, &both), Pushback::Never);
        assert_eq!(read(Protocol::Grpc, &[("grpc-status-details-bin", "!!")]), Pushback::None);
    }
}
