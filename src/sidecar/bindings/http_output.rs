//! `bindings.http`: requests to one configured URL.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{Operation, Outcome};
use crate::sidecar::headers;
use crate::sidecar::truth::is_truthy;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// daprd's default for `maxResponseBodySize`, in bytes.
const MAX_ANSWER: usize = 100 << 20;

pub(in crate::sidecar) struct HttpOutput {
    url: String,
    error_if_not_2xx: bool,
    client: Client<HttpConnector, Full<Bytes>>,
}

// ===== impl HttpOutput =====

impl HttpOutput {
    pub(super) const OPERATIONS: [&str; 9] =
        ["create", "get", "head", "post", "put", "patch", "delete", "options", "trace"];

    /// # Errors
    /// When the URL is not `http://` with a host. There is no TLS here, and nothing is sent in clear instead.
    pub(in crate::sidecar) fn new(url: String, error_if_not_2xx: bool) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is not a URL"))?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() {
            return Err(format!("the embedded sidecar calls http:// URLs only, not {url:?}"));
        }
        Ok(Self { url, error_if_not_2xx, client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()) })
    }

    pub(super) async fn invoke(&self, operation: Operation) -> Outcome {
        let error_if_not_2xx = match operation.metadata.get("errorIfNot2XX").filter(|text| !text.is_empty()) {
            Some(text) => is_truthy(text),
            None => self.error_if_not_2xx,
        };
        let request = match self.request(operation) {
            Ok(request) => request,
            Err(reason) => return Outcome::failed(reason),
        };
        // Redirects are answers: they could lead anywhere.
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return Outcome::failed(error.to_string()),
        };
        let (parts, body) = response.into_parts();
        let data = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => body.to_bytes().into(),
            Err(error) => return Outcome::failed(error.to_string()),
        };
        let mut outcome = Outcome { data, ..Outcome::default() };
        let status = parts.status;
        outcome.metadata.insert("statusCode".to_owned(), status.as_u16().to_string());
        let reason = status.canonical_reason().unwrap_or_default();
        outcome.metadata.insert("status".to_owned(), format!("{} {reason}", status.as_u16()));
        for name in parts.headers.keys() {
            let values = parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            outcome.metadata.insert(headers::canonical(name.as_str()), values.collect::<Vec<_>>().join(", "));
        }
        if error_if_not_2xx && !status.is_success() {
            outcome.error = Some(format!("received status code {}", status.as_u16()));
        }
        outcome
    }

    fn request(&self, operation: Operation) -> Result<Request<Full<Bytes>>, String> {
        let verb = if operation.kind == "create" { "POST".to_owned() } else { operation.kind.to_ascii_uppercase() };
        let method = Method::from_bytes(verb.as_bytes()).map_err(|error| error.to_string())?;
        let has_body = matches!(verb.as_str(), "PUT" | "POST" | "PATCH");
        let mut request = Request::new(Full::new(if has_body { operation.data.into() } else { Bytes::new() }));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(&operation.metadata)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, JSON);
        if has_body {
            headers.insert(CONTENT_TYPE, JSON);
        }
        let passed = |name: &str| name.starts_with(|char: char| char.is_ascii_uppercase());
        let traced = ["traceparent", "tracestate", "baggage"];
        for (name, text) in &operation.metadata {
            if passed(name) || (traced.contains(&name.as_str()) && !text.is_empty()) {
                let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
                headers.insert(name, HeaderValue::from_str(text).map_err(|error| error.to_string())?);
            }
        }
        Ok(request)
    }

    /// The path of the metadata goes behind the configured URL; it cannot name another host.
    fn uri(&self, metadata: &HashMap<String, String>) -> Result<Uri, String> {
        let path = metadata.get("path").filter(|path| !path.is_empty());
        let url = match path {
            Some(path) => format!("{}/{}", self.url.trim_end_matches('/'), path.trim_start_matches('/')),
            None => self.url.clone(),
        };
        url.parse().map_err(|_| format!("invalid URL {url:?}"))
    }
}

impl fmt::Debug for HttpOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOutput").field("url", &self.url).finish_non_exhaustive()
    }
}
