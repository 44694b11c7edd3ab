use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Code;

use super::{Dapr, backoff::Backoff};
use crate::Error;

const WAIT: &str = "wait for";
const SIDECAR: &str = "sidecar";
/// How long a single question may take.
const PROBE: Duration = Duration::from_secs(2);

impl Dapr {
    /// Waits until the sidecar can be used: its components are there and its APIs answer. That the app is there too is not
    /// waited for, so an app may call this before it serves.
    ///
    /// Asks `GET /v1.0/healthz/outbound` of the sidecar's HTTP API if that is known (`DAPR_HTTP_ENDPOINT` or
    /// `DAPR_HTTP_PORT`, see [`Builder::http_endpoint`](super::Builder::http_endpoint)) and speaks plain HTTP; else
    /// `GetMetadata` over the stack. Every 50 ms, later every second.
    ///
    /// # Errors
    ///
    /// * [`Error::is_timeout`]: it was not ready in this time; `source()` is what it said last.
    /// * [`Error::is_unauthenticated`]: the API token is missing or wrong; asked over gRPC only.
    pub async fn wait_until_ready(&self, timeout: Duration) -> Result<(), Error> {
        match self.http().filter(|endpoint| !endpoint.is_tls()) {
            Some(endpoint) => {
                let target = endpoint.to_string();
                let uri = endpoint.uri("/v1.0/healthz/outbound").expect("the path is one");
                until_ready(&target, timeout, || healthz(&target, &uri)).await
            }
            None => until_ready(SIDECAR, timeout, || self.answers()).await,
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
    let asking = async {
        loop {
            match timeout(PROBE, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.is_unauthenticated() => return Err(error),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(Error::protocol(WAIT, target, "it does not answer")),
            }
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

/// One question. A connection of its own: what is asked for is a new one.
async fn healthz(target: &str, uri: &Uri) -> Result<(), Error> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    match client.get(uri.clone()).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(_) => Err(Error::protocol(WAIT, target, "it says that it is not healthy")),
        Err(error) => Err(Error::input(WAIT, target, error.into())),
    }
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
        for (status, is_healthy) in [("204 No Content", true), ("500 Internal Server Error", false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("http://{}/v1.0/healthz/outbound", listener.local_addr().unwrap()).parse().unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..read]).into_owned()
            };
            let (answer, request) = tokio::join!(healthz("it", &uri), server);
            assert_eq!(answer.is_ok(), is_healthy);
            assert!(request.starts_with("GET /v1.0/healthz/outbound HTTP/1.1"), "{request}");
        }
    }
}
