//! A connection that closes while a request waits for it.

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::body::Body;

/// What hyper says of a request that was waiting when the connection closed: nothing of it was sent.
pub async fn closed_before_it_was_sent(request: Request<Body>) -> hyper::Error {
    let (client, _server) = tokio::io::duplex(1024);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
    let (mut sender, connection) = handshake.await.unwrap();
    let sent = sender.send_request(request);
    drop(connection);
    let error = sent.await.unwrap_err();
    assert!(error.is_canceled(), "{error:?}");
    error
}
