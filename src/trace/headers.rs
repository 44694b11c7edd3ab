use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName};
use opentelemetry::{Array, Key, KeyValue, Value};

use crate::semconv;

/// The longest header value that becomes an attribute, in bytes.
const MAX_VALUE: usize = 1024;

/// Parts of names of headers that hold secrets: `authorization` and `proxy-authorization`, `cookie` and `set-cookie`,
/// `dapr-api-token`, `x-api-key`, `x-amz-security-token`, and what else is named like them.
const SECRET: [&str; 12] = [
    "auth",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "session",
    "signature",
    "api-key",
    "apikey",
    "private",
];

/// Headers that become attributes, each with its two keys.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordedHeaders(Vec<Recorded>);

#[derive(Debug, Clone)]
struct Recorded {
    name: HeaderName,
    http: Key,
    rpc: Key,
}

/// A header that was asked to be recorded holds a secret: it will not become an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHeader {
    name: HeaderName,
}

// ===== impl RecordedHeaders =====

impl RecordedHeaders {
    pub(super) fn new(
        names: impl IntoIterator<Item = HeaderName>,
        (http, rpc): (&str, &str),
    ) -> Result<Self, SecretHeader> {
        let recorded = names.into_iter().map(|name| {
            if SECRET.iter().any(|secret| name.as_str().contains(secret)) {
                return Err(SecretHeader { name });
            }
            let key = |prefix| Key::from(Arc::<str>::from(format!("{prefix}{name}")));
            Ok(Recorded { http: key(http), rpc: key(rpc), name })
        });
        recorded.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers that are there, as attributes. What is not visible ASCII is left out.
    pub(super) fn read(&self, headers: &HeaderMap, is_grpc: bool) -> impl Iterator<Item = KeyValue> {
        self.0.iter().filter_map(move |recorded| {
            let values = headers.get_all(&recorded.name).iter().filter_map(|value| value.to_str().ok());
            let values: Vec<_> = values.map(|value| semconv::capped(value, MAX_VALUE).to_owned().into()).collect();
            let key = if is_grpc { &recorded.rpc } else { &recorded.http };
            (!values.is_empty()).then(|| KeyValue::new(key.clone(), Value::Array(Array::String(values))))
        })
    }
}

// ===== impl SecretHeader =====

impl SecretHeader {
    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }
}

impl fmt::Display for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the header `{}` holds a secret and may not be recorded", self.name)
    }
}

impl std::error::Error for SecretHeader {}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::RecordedHeaders;

    #[test]
    fn secrets_are_refused() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "dapr-api-token",
            "x-api-key",
            "x-amz-security-token",
            "x-auth-request-email",
            "www-authenticate",
            "x-csrf-token",
        ] {
            let refused = RecordedHeaders::new([HeaderName::from_static(name)], ("", "")).unwrap_err();
            assert_eq!(refused.name(), name);
            assert!(refused.to_string().contains(name));
        }
        for name in ["x-request-id", "accept-language", "dapr-app-id", "content-type"] {
            RecordedHeaders::new([HeaderName::from_static(name)], ("", "")).unwrap();
        }
    }
}
