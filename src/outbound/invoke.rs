use std::fmt;

use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{HttpExtension, InvokeRequest as InvokeMessage, InvokeResponse as InvokeAnswer, http_extension::Verb},
    runtime::v1::{InvokeServiceRequest, dapr_client::DaprClient},
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use prost_types::Any;
use serde::{Serialize, de::DeserializeOwned};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

use super::DaprService;
use crate::Error;

const INVOKE: &str = "invoke";

/// Another app. Made by [`Dapr::invoke`](super::Dapr::invoke).
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let stock: u32 = dapr.invoke("inventory").get("stock/tea").send().await?.json()?;
///
/// let answer = dapr.invoke("inventory").post("check").query("strict", "true").json(&stock).send().await;
/// match answer {
///     // The app said no: its own HTTP status.
///     Err(error) if error.http_status().is_some_and(|status| status == 409) => {}
///     answer => drop(answer?),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Invoke {
    client: DaprClient<DaprService>,
    app_id: String,
}

impl Invoke {
    pub(super) fn new(client: DaprClient<DaprService>, app_id: String) -> Self {
        Self { client, app_id }
    }

    /// `GET`s a path of the app.
    pub fn get(self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::GET, path)
    }

    /// `POST`s to a path of the app.
    pub fn post(self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::POST, path)
    }

    /// `PUT`s to a path of the app.
    pub fn put(self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::PUT, path)
    }

    /// `DELETE`s a path of the app.
    pub fn delete(self, path: impl Into<String>) -> InvokeRequest {
        self.request(Method::DELETE, path)
    }

    /// Any method on a path of the app; with or without a leading slash, without a query.
    pub fn request(self, method: Method, path: impl Into<String>) -> InvokeRequest {
        InvokeRequest {
            invoke: self,
            method,
            path: path.into(),
            query: String::new(),
            body: Ok(Bytes::new()),
            content_type: String::new(),
            headers: Vec::new(),
        }
    }
}

impl fmt::Debug for Invoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoke").field("app_id", &self.app_id).finish()
    }
}

/// A request to another app that is not sent yet.
#[must_use = "nothing is sent until `send` is awaited"]
pub struct InvokeRequest {
    invoke: Invoke,
    method: Method,
    path: String,
    query: String,
    body: Result<Bytes, serde_json::Error>,
    content_type: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl InvokeRequest {
    /// Adds a query parameter. Both parts are percent-encoded.
    pub fn query(mut self, key: &str, value: &str) -> Self {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.extend(utf8_percent_encode(key, NON_ALPHANUMERIC));
        self.query.push('=');
        self.query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        self
    }

    /// Adds a header, which the app will see. Dapr forwards all of them, `authorization` too, but for `grpc-*`, names that
    /// end in `-bin` and those of the connection.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The body: this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        self.body = serde_json::to_vec(body).map(Bytes::from);
        "application/json".clone_into(&mut self.content_type);
        self
    }

    /// The body: these bytes.
    pub fn bytes(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.body = Ok(body.into());
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
    /// * The body could not be written as JSON, a header or the method cannot be sent: [`Error::is_invalid`].
    pub async fn send(self) -> Result<InvokeResponse, Error> {
        let Invoke { mut client, app_id } = self.invoke;
        let data = self.body.map_err(|error| Error::encode(INVOKE, &app_id, error))?;
        let verb = verb(&self.method)
            .ok_or_else(|| Error::invalid(INVOKE, &app_id, format!("the method {} cannot be invoked", self.method)))?;
        let message = InvokeMessage {
            method: self.path.trim_start_matches('/').to_owned(),
            data: Some(Any { type_url: String::new(), value: data.into() }),
            content_type: self.content_type,
            http_extension: Some(HttpExtension { verb: verb.into(), querystring: self.query }),
        };
        let mut request = tonic::Request::new(InvokeServiceRequest { id: app_id.clone(), message: Some(message) });
        for (name, value) in &self.headers {
            let (key, value) = metadata(name, value)
                .ok_or_else(|| Error::invalid(INVOKE, &app_id, format!("the header {name} cannot be sent")))?;
            request.metadata_mut().append(key, value);
        }
        let response = client.invoke_service(request).await;
        let (headers, answer, _) = response.map_err(|status| Error::status(INVOKE, &app_id, status))?.into_parts();
        Ok(InvokeResponse { app_id, headers, answer })
    }
}

impl fmt::Debug for InvokeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokeRequest")
            .field("app_id", &self.invoke.app_id)
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The answer of another app.
#[derive(Clone)]
pub struct InvokeResponse {
    app_id: String,
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

    /// The headers of the answer, the app's and daprd's.
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
        serde_json::from_slice(self.bytes()).map_err(|error| Error::decode(INVOKE, &self.app_id, error))
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

fn metadata(name: &HeaderName, value: &HeaderValue) -> Option<(MetadataKey<Ascii>, MetadataValue<Ascii>)> {
    let key = name.as_str().parse().ok()?;
    let value = MetadataValue::try_from(value.as_bytes()).ok()?;
    Some((key, value))
}
