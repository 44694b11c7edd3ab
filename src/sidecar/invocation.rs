//! Who is called, and how a callee gets to know its caller (`dapr/dapr:pkg/messaging/direct_messaging.go`).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::app::App;
use super::headers;

const NAMESPACE: &str = "default";

/// App ids are names of this hub, with or without the namespace. Nothing else is ever dialled.
///
/// # Errors
/// What daprd says about an id that is none of an app.
pub(super) fn find(app: &App, id: &str) -> Result<Arc<App>, String> {
    let mut parts = id.split('.');
    let (name, namespace, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if id.is_empty() {
        return Err("app id is empty".to_owned());
    }
    if more.is_some() {
        return Err(format!("invalid app id {id}"));
    }
    let found = app.hub.find(name).filter(|_| namespace.is_none_or(|namespace| namespace == NAMESPACE));
    found.ok_or_else(|| "no host found with the given ID".to_owned())
}

/// A call to another app tells who calls; a call to oneself does not (1.18).
pub(super) fn introduce(headers: &mut HeaderMap, caller: &str, callee: &str) {
    if caller == callee {
        return;
    }
    headers.insert("dapr-caller-app-id", headers::value(caller));
    headers.insert("dapr-callee-app-id", headers::value(callee));
    headers.insert("dapr-caller-namespace", HeaderValue::from_static(NAMESPACE));
    headers.append("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
    headers.append("x-forwarded-host", HeaderValue::from_static("localhost"));
    headers.append("forwarded", HeaderValue::from_static("for=127.0.0.1;by=127.0.0.1;host=localhost"));
}
