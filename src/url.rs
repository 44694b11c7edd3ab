//! URLs as telemetry may show them: without credentials, without the values of telling query keys, of bounded length.

use std::borrow::Cow;

use http::Uri;

use crate::semconv::capped;

/// The longest URL or query that becomes an attribute, in bytes.
const MAX_URL: usize = 2048;

/// Keys whose values are never shown, compared without case. The first seven are the conventions' own list, past and present
/// (*HTTP spans*, `url.full`); the rest is what services of this field put secrets into.
const SECRET_KEYS: [&str; 23] = [
    "awsaccesskeyid",
    "signature",
    "sig",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "authorization",
    "client_secret",
    "code",
    "dapr-api-token",
    "id_token",
    "jwt",
    "key",
    "password",
    "refresh_token",
    "secret",
    "token",
    "x-goog-credential",
];

/// A query with the values of telling keys replaced by `REDACTED`.
pub(crate) fn capped_query(query: &str) -> String {
    let query = capped(query, MAX_URL);
    let is_telling = |pair: &str| pair.split_once('=').is_some_and(|(key, _)| is_secret(key));
    if !query.split('&').any(is_telling) {
        return query.to_owned();
    }
    let mut shown = String::with_capacity(query.len());
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            shown.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if is_secret(key) => {
                shown.push_str(key);
                shown.push_str("=REDACTED");
            }
            _ => shown.push_str(pair),
        }
    }
    shown
}

/// An absolute URL without user information and with a redacted query.
pub(crate) fn redacted_url(uri: &Uri) -> String {
    let mut shown = String::with_capacity(64);
    if let Some(scheme) = uri.scheme_str() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    if let Some(authority) = uri.authority() {
        // What stands before the `@` is a name and a password.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        shown.push_str(host);
    }
    shown.push_str(capped(uri.path(), MAX_URL));
    if let Some(query) = uri.query() {
        shown.push('?');
        shown.push_str(&capped_query(query));
    }
    shown
}

fn is_secret(key: &str) -> bool {
    // A key may hide behind percent-encoding, as `%74oken`.
    let key = if key.contains('%') {
        percent_encoding::percent_decode_str(key).decode_utf8_lossy()
    } else {
        Cow::Borrowed(key)
    };
    // Dapr's HTTP API carries metadata as `metadata.<key>=<value>`.
    let key = match key.split_at_checked("metadata.".len()) {
        Some((prefix, key)) if prefix.eq_ignore_ascii_case("metadata.") => key,
        _ => &*key,
    };
    SECRET_KEYS.iter().any(|secret| key.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::{capped_query, redacted_url};

    #[test]
    fn telling_values_are_redacted() {
        for (query, shown) in [
            ("a=1&sig=abc&b=2", "a=1&sig=REDACTED&b=2"),
            ("Token=x", "Token=REDACTED"),
            ("X-Amz-Credential=a&X-Amz-Date=b", "X-Amz-Credential=REDACTED&X-Amz-Date=b"),
            ("X-Amz-Security-Token=a&X-Amz-Signature=b", "X-Amz-Security-Token=REDACTED&X-Amz-Signature=REDACTED"),
            ("%74oken=x", "%74oken=REDACTED"),
            ("metadata.apiKey=x", "metadata.apiKey=REDACTED"),
            ("token", "token"),
            ("", ""),
            ("a=b=c&&", "a=b=c&&"),
        ] {
            assert_eq!(capped_query(query), shown);
        }
    }

    #[test]
    fn credentials_are_left_out() {
        let url = |text: &str| redacted_url(&text.parse().unwrap());
        assert_eq!(url("http://user:secret@shop:80/a?token=1"), "http://shop:80/a?token=REDACTED");
        assert_eq!(url("https://shop/"), "https://shop/");
    }

    #[test]
    fn a_long_query_is_cut() {
        assert!(capped_query(&"ä".repeat(10_000)).len() <= super::MAX_URL);
    }
}
