//! The `baggage` header, which daprd checks before anything else.

use http::HeaderMap;

use super::method::quote;

pub(super) const BAGGAGE: &str = "baggage";

/// Limits of the parser that daprd uses (OpenTelemetry Go, package `baggage`).
const MAX_MEMBERS: usize = 180;
const MAX_BYTES: usize = 8192;

/// All values of the header as one, if any.
///
/// # Errors
/// What daprd says about a value that breaks W3C Baggage, section 3.3.
pub(super) fn checked(headers: &HeaderMap) -> Result<Option<String>, String> {
    let values: Vec<_> =
        headers.get_all(BAGGAGE).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let joined = values.join(",");
    if joined.is_empty() {
        return Ok(None);
    }
    if joined.len() > MAX_BYTES {
        return Err(format!("invalid baggage header: baggage string is too large: {}", joined.len()));
    }
    let members = joined.split(',').map(member).collect::<Result<Vec<_>, _>>();
    let members = members.map_err(|reason| format!("invalid baggage header: {reason}"))?;
    if members.len() > MAX_MEMBERS {
        return Err("invalid baggage header: too many list-members in baggage-string".to_owned());
    }
    Ok(Some(joined))
}

fn member(text: &str) -> Result<(), String> {
    let pair = text.split(';').next().unwrap_or_default();
    let Some((key, value)) = pair.split_once('=') else {
        return Err(format!("invalid baggage list-member: {}", quote(text)));
    };
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || !key.bytes().all(is_token) {
        return Err(format!("invalid key: {}", quote(key)));
    }
    if !value.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)) {
        return Err(format!("invalid value: {}", quote(value)));
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn check(values: &[&str]) -> Result<Option<String>, String> {
        let headers =
            values.iter().map(|value| (HeaderName::from_static(BAGGAGE), HeaderValue::from_str(value).unwrap()));
        let mut all = HeaderMap::new();
        headers.for_each(|(name, value)| _ = all.append(name, value));
        checked(&all)
    }

    #[test]
    fn takes_what_w3c_baggage_allows() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[""]), Ok(None));
        assert_eq!(check(&["a = 1;p;q=2 , b=%20"]), Ok(Some("a = 1;p;q=2 , b=%20".to_owned())));
        assert_eq!(check(&["a=1", "b="]), Ok(Some("a=1,b=".to_owned())));
    }

    #[test]
    fn refuses_the_rest() {
        let many = "a=1,".repeat(MAX_MEMBERS) + "a=1";
        let large = format!("a={}", "x".repeat(MAX_BYTES));
        for value in ["=1", "a", "a b=1", "a=1 2", "a=\"1\"", "a=1,", &many, &large] {
            assert!(check(&[value]).is_err(), "{value}");
        }
    }
}
