//! What the requests of all building blocks are made of.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use percent_encoding::{percent_decode, percent_decode_str};
use prost_types::Any;
use serde::Serialize;
use tonic::Status;

use super::{Dapr, DaprService};
use crate::Error;

/// What an awaited request becomes.
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Makes requests with a method `async fn send(self) -> Result<Answer, Error>` sendable by `.await`.
macro_rules! sent_when_awaited {
    ($($request:ident $(<$value:ident>)? => $answer:ty;)+) => {$(
        impl $(<$value: 'static>)? std::future::IntoFuture for $request $(<$value>)? {
            type Output = Result<$answer, $crate::Error>;
            type IntoFuture = $crate::outbound::parts::BoxFuture<$answer>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.send())
            }
        }
    )+};
}
pub(super) use sent_when_awaited;

/// A component, or whatever else calls are about, behind a handle.
#[derive(Clone)]
pub(super) struct Component {
    dapr: Dapr,
    name: String,
}

/// What must not be shown. Its `Debug` does not.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Hidden<T>(pub(super) T);

/// Metadata for Dapr and the component.
pub(super) type Metadata = Hidden<HashMap<String, String>>;

/// What is sent: bytes, or why there are none.
pub(super) struct Payload(Result<Bytes, serde_json::Error>);

// ===== impl Component =====

impl Component {
    pub(super) const fn new(dapr: Dapr, name: String) -> Self {
        Self { dapr, name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The client and the name, for a call.
    ///
    /// # Errors
    ///
    /// If the name is empty: daprd would say that it cannot find "".
    pub(super) fn call(&self, operation: &'static str) -> Result<(DaprClient<DaprService>, String), Error> {
        if self.name.is_empty() {
            return Err(self.invalid(operation, "the name is empty"));
        }
        Ok((self.dapr.raw(), self.name.clone()))
    }

    /// Makes a failed call an error.
    pub(super) fn failed(&self, operation: &'static str) -> impl FnOnce(Status) -> Error {
        move |status| Error::status(operation, &self.name, status)
    }

    pub(super) fn invalid(&self, operation: &'static str, reason: impl Into<String>) -> Error {
        Error::invalid(operation, &self.name, reason)
    }

    /// Reads JSON.
    pub(super) fn decode<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        json: &[u8],
    ) -> Result<T, Error> {
        serde_json::from_slice(json).map_err(|error| Error::decode(operation, &self.name, &error))
    }
}

/// Its name.
impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

// ===== impl Hidden =====

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

// ===== impl Payload =====

impl Payload {
    pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(serde_json::to_vec(value).map(Bytes::from))
    }

    pub(super) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Ok(bytes.into()))
    }

    /// The bytes.
    ///
    /// # Errors
    ///
    /// If the value could not be written as JSON.
    pub(super) fn take(self, operation: &'static str, target: &str) -> Result<Vec<u8>, Error> {
        self.0.map(Into::into).map_err(|error| Error::encode(operation, target, &error))
    }

    /// The bytes as daprd wants them where a message of any type may stand.
    pub(super) fn take_any(self, operation: &'static str, target: &str) -> Result<Any, Error> {
        Ok(Any { type_url: String::new(), value: self.take(operation, target)? })
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::bytes(Bytes::new())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

// ===== paths =====

/// Does a path leave what it stands behind? daprd decodes a path once, before it resolves its segments `..`, and then the
/// app that gets it may do the same.
pub(super) fn climbs(path: &str) -> bool {
    let once: Vec<u8> = percent_decode_str(path).collect();
    let twice = percent_decode(&once);
    twice.collect::<Vec<u8>>().split(|&byte| byte == b'/').any(|segment| segment == b"..")
}

// ===== durations =====

/// Whole seconds, rounded up: nothing lives shorter than it was asked for. `None` for no time at all, which Dapr takes for
/// "for ever".
pub(super) fn whole_seconds(duration: Duration) -> Option<u64> {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{climbs, whole_seconds};

    #[test]
    fn a_path_climbs_by_a_segment_of_two_dots_however_it_is_encoded() {
        for path in ["..", "/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/a%2f..%2Fb", "/a/%252e%252E/b", "../a"] {
            assert!(climbs(path), "{path}");
        }
        for path in ["", "/", "/a..b/...", "/./a", "/..a", "/%2e%2ea", "/%25/%", "/a%2f%2fb", "/%ff"] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn parts_of_a_second_are_rounded_up() {
        for (millis, seconds) in [(0, None), (1, Some(1)), (1_000, Some(1)), (1_001, Some(2))] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), Some(u64::MAX));
    }
}
