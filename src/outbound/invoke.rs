use std::fmt;

use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{HttpExtension, InvokeRequest as InvokeMessage, InvokeResponse as InvokeAnswer, http_extension::Verb},
    runtime::v1::InvokeServiceRequest,
};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, TE},
};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{
    Extensions,
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
};

use super::{
    Dapr,
    parts::{Component, Hidden, Payload, climbs, sent_when_awaited},
};
use crate::{Error, error::INVOKE};

/// Another app. Made by [`Dapr::invoke`](super::Dapr::invoke).
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let stock: u32 = dapr.invoke("inventory").get("stock/tea").send().await?.json()?;
///
/// let answer = dapr.invoke("inventory").post("check").query("strict", "true").json(&stock).await;
/// match answer {
///     // The app said no: its own HTTP status.
///     Err(error) if error.http_status().is_some_and(|status| status == 409) => {}
///     answer => drop(answer?),
/// }
/// # Ok(())
/// # }
/// ```
///
/// This is Dapr's `InvokeService`: any app, HTTP or gRPC, answers it. For an app's own gRPC service use
/// [`Dapr::grpc_channel`], for an HTTP client of one's own [`HttpInvokeLayer`](super::HttpInvokeLayer).
#[derive(Debug, Clone)]
pub struct Invoke {
    app_id: Component,
}

impl Invoke {
    pub(super) fn new(dapr: Dapr, app_id: String) -> Self {
        Self { app_id: Component::new(dapr, app_id) }
    }

    /// `GET`s a path of the app.
    pub fn get(&self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::GET, path)
    }

    /// `POST`s to a path of the app.
    pub fn post(&self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::POST, path)
    }

    /// `PUT`s to a path of the app.
    pub fn put(&self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::PUT, path)
    }

    /// `PATCH`es a path of the app.
    pub fn patch(&self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::PATCH, path)
    }

    /// `DELETE`s a path of the app.
    pub fn delete(&self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::DELETE, path)
    }

    /// Any method on a path of the app; with or without a leading slash, without a query. An app that speaks gRPC gets the
    /// path as the method's name.
    pub fn request(&self, method: Method, path: impl Into<String>) -> InvokeRequest {
        InvokeRequest {
            app_id: self.app_id.clone(),
            method,
            path: Hidden(path.into()),
            query: Hidden::default(),
            body: Payload::default(),
            content_type: String::new(),
            headers: Hidden::default(),
        }
    }
}

/// A request to another app that is not sent yet. Made by [`Invoke`]; sent by [`send`](Self::send), or when awaited.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct InvokeRequest {
    app_id: Component,
    method: Method,
    path: Hidden<String>,
    query: Hidden<String>,
    body: Payload,
    content_type: String,
    headers: Hidden<Vec<(HeaderName, HeaderValue)>>,
}

impl InvokeRequest {
    /// Adds a query parameter. Both parts are percent-encoded.
    pub fn query(mut self, key: &str, value: &str) -> Self {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let Hidden(query) = &mut self.query;
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(utf8_percent_encode(key, NON_ALPHANUMERIC));
        query.push('=');
        query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        self
    }

    /// Adds a header, which the app will see: Dapr forwards all of them, `authorization` too, but for those of the
    /// connection. `content-type` is the body's, whatever [`json`](Self::json) or [`bytes`](Self::bytes) says of it.
    /// `content-length`, `te`, `grpc-*` and names that end in `-bin` belong to the call to the sidecar and are refused.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.0.push((name, value));
        self
    }

    /// The body: this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        self.body = Payload::json(body);
        "application/json".clone_into(&mut self.content_type);
        self
    }

    /// The body: these bytes, of any serializer's making.
    pub fn bytes(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.body = Payload::bytes(body);
        self.content_type = content_type.into();
        self
    }

    /// Sends it.
    ///
    /// # Errors
    ///
    /// * The app answered with another status than 2xx: [`Error::http_status`] is that status. daprd drops the body of
    ///   such an answer.
    /// * The app id is not known, or its sidecar cannot be reached: `INTERNAL`, by daprd.
    /// * The body could not be written as JSON, the app id is empty, a header or the method cannot be sent, or the path
    ///   holds `?`, `#`, a control character or the segment `..`, percent-encoded or not: [`Error::is_invalid`]. daprd, or
    ///   the app, resolves `..`, so that a path made of somebody's input could name any route of the app.
    pub async fn send(self) -> Result<InvokeResponse, Error> {
        let Self { app_id, method, path: Hidden(path), query: Hidden(querystring), body, mut content_type, headers } =
            self;
        let (mut client, id) = app_id.call(INVOKE)?;
        if let Some(reason) = wrong_path(&path) {
            return Err(app_id.invalid(INVOKE, reason));
        }
        let verb =
            verb(&method).ok_or_else(|| app_id.invalid(INVOKE, format!("the method {method} cannot be invoked")))?;
        let mut sent = MetadataMap::new();
        for (name, value) in &headers.0 {
            let unsent = || app_id.invalid(INVOKE, format!("the header {name} cannot be sent"));
            if *name == CONTENT_TYPE {
                value.to_str().map_err(|_| unsent())?.clone_into(&mut content_type);
            } else {
                let (key, value) = metadata(name, value).ok_or_else(unsent)?;
                sent.append(key, value);
            }
        }
        let message = InvokeMessage {
            method: path.trim_start_matches('/').to_owned(),
            data: Some(body.take_any(INVOKE, &id)?),
            content_type,
            http_extension: Some(HttpExtension { verb: verb.into(), querystring }),
        };
        let request = InvokeServiceRequest { id, message: Some(message) };
        let request = tonic::Request::from_parts(sent, Extensions::default(), request);
        let response = client.invoke_service(request).await.map_err(app_id.failed(INVOKE))?;
        let (headers, answer, _) = response.into_parts();
        Ok(InvokeResponse { app_id, headers, answer })
    }
}

sent_when_awaited! {
    InvokeRequest => InvokeResponse;
}

/// The answer of another app.
#[derive(Clone)]
pub struct InvokeResponse {
    app_id: Component,
    headers: MetadataMap,
    answer: InvokeAnswer,
}

impl InvokeResponse {
    /// The app's status, always 2xx. `200` if the app speaks gRPC.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let status = self.headers.get("dapr-http-status");
        status.and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok()).unwrap_or(StatusCode::OK)
    }

    /// The headers of the answer: the app's as they are, daprd's, and those that Dapr renames (`dapr-content-type`,
    /// `dapr-date`).
    #[must_use]
    pub fn headers(&self) -> &MetadataMap {
        &self.headers
    }

    /// The content type of the body; empty if the app named none.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.answer.content_type
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.answer.data.as_ref().map_or(&[], |data| &data.value)
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    ///
    /// If the body is not a `T` ([`Error::is_decode`]).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.app_id.decode(INVOKE, self.bytes())
    }
}

/// Neither the body nor the values of headers.
impl fmt::Debug for InvokeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokeResponse")
            .field("app_id", &self.app_id)
            .field("status", &self.status())
            .field("content_type", &self.content_type())
            .finish_non_exhaustive()
    }
}

/// What daprd would refuse with an error that hides the reason, or resolve to another path.
fn wrong_path(path: &str) -> Option<&'static str> {
    if path.contains(['?', '#']) {
        Some("the path holds a `?` or `#`")
    } else if path.contains(char::is_control) {
        Some("the path holds a control character")
    } else if climbs(path) {
        Some("the path holds a segment `..`")
    } else {
        None
    }
}

fn verb(method: &Method) -> Option<Verb> {
    Some(match *method {
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::DELETE => Verb::Delete,
        Method::OPTIONS => Verb::Options,
        Method::TRACE => Verb::Trace,
        Method::PATCH => Verb::Patch,
        // daprd refuses CONNECT, and knows no other.
        _ => return None,
    })
}

/// `None` if it would be taken for the call's own, or says what metadata cannot.
fn metadata(name: &HeaderName, value: &HeaderValue) -> Option<(MetadataKey<Ascii>, MetadataValue<Ascii>)> {
    if [CONTENT_LENGTH, TE].contains(name) || name.as_str().starts_with("grpc-") {
        return None;
    }
    let key = name.as_str().parse().ok()?;
    let value = MetadataValue::try_from(value.as_bytes()).ok()?;
    Some((key, value))
}
