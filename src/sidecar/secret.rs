//! API tokens.

use std::fmt;

use http::HeaderValue;

use super::StartError;

/// A token that never shows itself.
#[derive(Clone)]
pub(super) struct Secret(String);

// ===== impl Secret =====

impl Secret {
    /// `None` for an empty token, which means "no token" to daprd.
    pub(super) fn new(token: String) -> Option<Self> {
        (!token.is_empty()).then_some(Self(token))
    }

    /// # Errors
    /// When the token cannot stand in a header. The error does not show it.
    pub(super) fn header(&self) -> Result<HeaderValue, StartError> {
        let mut value = HeaderValue::from_str(&self.0).map_err(|_| StartError::invalid_token())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Compares in a time that depends on the lengths only.
    pub(super) fn matches(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differences = own.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b));
        own.len() == other.len() && differences == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
