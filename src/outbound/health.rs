use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Code;

use super::{Dapr, backoff::Backoff};
use crate::{Error, classify::chain, semconv::capped};

const WAIT: &str = "wait for";
const SIDECAR: &str = "sidecar";
/// How long a single question may take.
const PROBE: Duration = Duration::from_secs(2);
/// How often it is said what is waited for.
const SAY: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const MAX_ANSWER: usize = 4096;

impl Dapr {
    /// Waits until the sidecar can be used: its components are there and its APIs answer. That the app is there too is not
    /// waited for, so an app may call this before it serves.
    ///
    /// Asks `GET /v1.0/healthz/outbound` of the sidecar's HTTP API if that is known (`DAPR_HTTP_ENDPOINT` or
    /// `DAPR_HTTP_PORT`, see [`Builder::http_endpoint`](super::Builder::http_endpoint)) and speaks plain HTTP; else
    /// `GetMetadata` over the stack. Every 50 ms, later every second. What it waits for is logged at the level INFO: when
    /// the first answer is not yes, and then every 5 s.
    ///
    /// # Errors
    ///
    /// * [`Error::is_timeout`]: it was not ready in this time; `source()` is what it said last: the connection's error, or
    ///   what is not ready in there.
    /// * [`Error::is_unauthenticated`]: the API token is missing or wrong; asked over gRPC only.
    pub async fn wait_until_ready(&self, timeout: Duration) -> Result<(), Error> {
        match self.http().filter(|endpoint| !endpoint.is_tls()) {
            Some(endpoint) => {
                let target = endpoint.to_string();
                let uri = endpoint.uri("/v1.0/healthz/outbound").expect("the path is one");
                until_ready(&target, timeout, || healthz(&target, &uri)).await
            }
            None => until_ready(self.endpoint().unwrap_or(SIDECAR), timeout, || self.answers()).await,
        }
    }

    async fn answers(&self) -> Result<(), Error> {
        match self.metadata().await {
            // Not this call, but it answers.
            Err(error) if matches!(error.code(), Some(Code::Unimplemented | Code::PermissionDenied)) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

async fn until_ready<F>(target: &str, limit: Duration, mut probe: impl FnMut() -> F) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let mut last = None;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut say_at = Instant::now();
    let asking = async {
        loop {
            let error = match timeout(PROBE, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.is_unauthenticated() => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => Error::protocol(WAIT, target, "it does not answer"),
            };
            if say_at <= Instant::now() {
                say_at = Instant::now() + SAY;
                tracing::info!(%target, reason = %innermost(&error), "waiting for the sidecar");
            }
            last = Some(error);
            backoff.pause().await;
        }
    };
    // A limit beyond what the clock can tell is none.
    let asked = match Instant::now().checked_add(limit) {
        Some(deadline) => timeout_at(deadline, asking).await,
        None => Ok(asking.await),
    };
    asked.unwrap_or_else(|_| Err(Error::not_ready(WAIT, target, last)))
}

/// What it comes down to: "connection refused", and not that a call has failed.
fn innermost(error: &Error) -> String {
    let innermost = chain(error).last().expect("it is its own first link");
    capped(&innermost.to_string(), 256).escape_debug().to_string()
}

/// One question. A connection of its own: what is asked for is a new one.
async fn healthz(target: &str, uri: &Uri) -> Result<(), Error> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let reason = match client.get(uri.clone()).await {
        Ok(answer) if answer.status().is_success() => return Ok(()),
        Ok(answer) => said(answer).await.into(),
        Err(error) => error.into(),
    };
    Err(Error::unhealthy(WAIT, target, reason))
}

/// The message of daprd's `{"errorCode": .., "message": "dapr outbound is not ready: [..]"}`; else the status.
async fn said(answer: http::Response<Incoming>) -> String {
    #[derive(Deserialize)]
    struct Answer {
        message: String,
    }
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.ok();
    let answer = body.and_then(|body| serde_json::from_slice::<Answer>(&body.to_bytes()).ok());
    answer.map_or_else(|| format!("it answers {status}"), |answer| answer.message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tonic::Status;

    use super::{healthz, until_ready};
    use crate::Error;

    fn unavailable() -> Error {
        Error::status("get metadata of", "sidecar", Status::unavailable("connection refused"))
    }

    #[tokio::test(start_paused = true)]
    async fn asks_until_the_answer_is_yes() {
        let mut answers = [Err(unavailable()), Err(unavailable()), Ok(())].into_iter();
        let ready =
            until_ready("sidecar", Duration::from_secs(9), || std::future::ready(answers.next().unwrap())).await;
        assert!(ready.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_the_time_is_up_and_tells_what_was_said() {
        let error = until_ready("sidecar", Duration::from_secs(9), || std::future::ready(Err(unavailable()))).await;
        let error = error.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.to_string(), "wait for `sidecar`: it was not ready in time");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "get metadata of `sidecar`: UNAVAILABLE");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_never_answers_is_not_waited_for_longer() {
        let error = until_ready("sidecar", Duration::MAX / 2, std::future::pending);
        assert!(tokio::time::timeout(Duration::from_secs(3600), error).await.is_err());
        let error = until_ready("sidecar", Duration::from_secs(1), std::future::pending).await.unwrap_err();
        assert!(error.is_timeout());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_token_is_not_asked_with_again() {
        let refused = || std::future::ready(Err(Error::status("get metadata of", "x", Status::unauthenticated(""))));
        assert!(until_ready("sidecar", Duration::from_secs(9), refused).await.unwrap_err().is_unauthenticated());
    }

    #[tokio::test]
    async fn health_is_what_the_status_says() {
        let not_ready = r#"{"errorCode":"ERR_OUTBOUND_HEALTH_NOT_READY","message":"dapr outbound is not ready: [x]"}"#;
        for (status, body, said) in [
            ("204 No Content", "", None),
            ("500 Internal Server Error", not_ready, Some("dapr outbound is not ready: [x]")),
            ("503 Service Unavailable", "", Some("it answers 503 Service Unavailable")),
            ("500 Internal Server Error", &"x".repeat(9000), Some("it answers 500 Internal Server Error")),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("http://{}/v1.0/healthz/outbound", listener.local_addr().unwrap()).parse().unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..read]).into_owned()
            };
            let (answer, request) = tokio::join!(healthz("it", &uri), server);
            assert_eq!(answer.as_ref().err().map(super::innermost).as_deref(), said);
            assert!(request.starts_with("GET /v1.0/healthz/outbound HTTP/1.1"), "{request}");
        }
    }
}
