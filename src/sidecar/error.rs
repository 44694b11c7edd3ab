//! Why a sidecar could not start, and why a component could not be made.

use std::error::Error;
use std::fmt;
use std::io;

/// A sidecar did not start.
///
/// Returned by [`SidecarBuilder::start`](super::SidecarBuilder::start).
#[derive(Debug)]
pub struct StartError {
    kind: Kind,
    source: Option<io::Error>,
}

#[derive(Debug)]
enum Kind {
    Listen { api: &'static str, port: u16 },
    AppId(String),
    AppIdInUse(String),
    Token,
    HubIsShutDown,
}

// ===== impl StartError =====

impl StartError {
    pub(super) fn listen(api: &'static str, port: u16, source: io::Error) -> Self {
        Self { kind: Kind::Listen { api, port }, source: Some(source) }
    }

    pub(super) fn invalid_app_id(id: &str) -> Self {
        Self { kind: Kind::AppId(id.to_owned()), source: None }
    }

    pub(super) fn app_id_in_use(id: &str) -> Self {
        Self { kind: Kind::AppIdInUse(id.to_owned()), source: None }
    }

    pub(super) const fn invalid_token() -> Self {
        Self { kind: Kind::Token, source: None }
    }

    pub(super) const fn hub_is_shut_down() -> Self {
        Self { kind: Kind::HubIsShutDown, source: None }
    }

    /// Whether another process or sidecar listens on the asked port.
    pub fn is_port_in_use(&self) -> bool {
        self.source.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    }

    /// Whether the app id is not a name: letters, digits, `-` and `_`, at most 256 of them.
    pub const fn is_invalid_app_id(&self) -> bool {
        matches!(self.kind, Kind::AppId(_))
    }

    /// Whether the hub already runs a sidecar of this app id.
    pub const fn is_app_id_in_use(&self) -> bool {
        matches!(self.kind, Kind::AppIdInUse(_))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Listen { api, port } if self.is_port_in_use() => {
                write!(f, "{api} port {port} is already in use on 127.0.0.1")
            }
            Kind::Listen { api, port } => write!(f, "cannot listen on {api} port {port} of 127.0.0.1"),
            Kind::AppId(id) => {
                write!(f, "app id {id:?} is not a name of letters, digits, '-' and '_' (at most 256)")
            }
            Kind::AppIdInUse(id) => write!(f, "app id {id:?} already has a sidecar in this hub"),
            Kind::Token => f.write_str("an API token has characters that a header cannot carry"),
            Kind::HubIsShutDown => f.write_str("the hub is shut down"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// A component cannot be what it was asked to be.
///
/// Returned by the methods of [`HubBuilder`](super::HubBuilder) that read a file or parse a text.
#[derive(Debug)]
pub struct ComponentError {
    name: String,
    reason: String,
}

// ===== impl ComponentError =====

impl ComponentError {
    pub(super) fn new(name: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { name: name.into(), reason: reason.to_string() }
    }

    /// The component, or the file that describes it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ComponentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {:?}: {}", self.name, self.reason)
    }
}

impl Error for ComponentError {}
