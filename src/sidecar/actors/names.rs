//! Names of actors: parts of paths and of keys, so they are checked (`dapr/dapr:pkg/messaging/method`).

use std::fmt;

use crate::sidecar::method::quote;

/// In bytes. daprd has no limit.
pub(super) const MAX_NAME: usize = 1024;
/// Of workflows.
const RESERVED: &str = "dapr.internal.";
pub(super) const SEPARATOR: &str = "||";

/// An actor's type and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sidecar) struct Key {
    pub(in crate::sidecar) kind: String,
    pub(in crate::sidecar) id: String,
}

// ===== impl Key =====

impl Key {
    pub(in crate::sidecar) fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into() }
    }

    /// # Errors
    /// Which of both is no name, and why.
    pub(in crate::sidecar) fn check(&self) -> Result<(), String> {
        check(&self.kind).map_err(|reason| format!("invalid actorType: {reason}"))?;
        check(&self.id).map_err(|reason| format!("invalid actorId: {reason}"))
    }
}

/// As it stands in keys.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SEPARATOR}{}", self.kind, self.id)
    }
}

/// # Errors
/// Why it is no name: it would lead to another path, or cannot stand in one.
pub(in crate::sidecar) fn check(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME {
        return Err(format!("name is longer than {MAX_NAME} bytes"));
    }
    if name.contains(['#', '?', '\0', '/', '\\']) {
        return Err(format!("name contains forbidden character: {}", quote(name)));
    }
    if let Some(position) = name.bytes().position(|byte| byte.is_ascii_control()) {
        return Err(format!("name contains control character at position {position}: {}", quote(name)));
    }
    match name {
        "." | ".." => Err(format!("name is a path traversal sequence: {}", quote(name))),
        _ => Ok(()),
    }
}

pub(in crate::sidecar) fn is_reserved(kind: &str) -> bool {
    kind.starts_with(RESERVED)
}
