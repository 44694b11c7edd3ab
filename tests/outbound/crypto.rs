use std::{convert::Infallible, io, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use dapr::dapr::proto::{
    common::v1::StreamPayload,
    runtime::v1::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse},
};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use tokio::{sync::mpsc, time::timeout};
use tonic::{Code, Status, body::Body};
use tower::service_fn;
use tower_dapr::outbound::Dapr;

use crate::dapr_server::{Answer, DaprServer};

fn payload(seq: u64, data: &str) -> Option<StreamPayload> {
    Some(StreamPayload { data: data.into(), seq })
}

fn decrypted(pieces: &[(u64, &str)]) -> Answer {
    let piece = |(seq, data): &(u64, &str)| DecryptResponse { payload: payload(*seq, data) };
    Answer::messages(&pieces.iter().map(piece).collect::<Vec<_>>())
}

#[tokio::test]
async fn options_go_first_and_pieces_are_numbered() {
    let server = DaprServer::default();
    server.answer("EncryptAlpha1", Answer::messages(&[EncryptResponse { payload: payload(0, "hidden") }]));
    let data = vec![7; (64 << 10) + 1];
    let encrypt = server.dapr().crypto("vault").encrypt("key", "RSA").cipher("aes-gcm").decryption_key("other");
    assert_eq!(encrypt.bytes(data.clone()).await.unwrap(), "hidden");

    let requests: Vec<EncryptRequest> = server.all("EncryptAlpha1");
    let options = requests[0].options.as_ref().unwrap();
    assert_eq!((options.component_name.as_str(), options.key_name.as_str()), ("vault", "key"));
    assert_eq!((options.key_wrap_algorithm.as_str(), options.data_encryption_cipher.as_str()), ("RSA", "aes-gcm"));
    assert_eq!(options.decryption_key_name, "other");
    assert!(requests[0].payload.is_none() && requests[1..].iter().all(|request| request.options.is_none()));
    let pieces: Vec<_> = requests[1..].iter().map(|request| request.payload.clone().unwrap()).collect();
    assert_eq!(pieces.iter().map(|piece| piece.seq).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(pieces.iter().flat_map(|piece| piece.data.clone()).collect::<Vec<_>>(), data);
}

#[tokio::test]
async fn a_failure_behind_the_first_pieces_is_not_the_end_of_the_data() {
    let server = DaprServer::default();
    server.answer("DecryptAlpha1", decrypted(&[(0, "attack "), (1, "at ")]).then_error(Code::Internal));
    server.answer("DecryptAlpha1", decrypted(&[(0, "attack "), (1, "at ")]).then_error(Code::Internal));
    let decrypt = server.dapr().crypto("vault").decrypt().key("key");
    assert_eq!(decrypt.clone().bytes("hidden").await.unwrap_err().code(), Some(Code::Internal));

    let mut pieces = decrypt.stream(stream::iter([Ok::<_, io::Error>(Bytes::from("hidden"))]));
    assert_eq!(pieces.next().await.unwrap().unwrap(), "attack ");
    assert_eq!(pieces.next().await.unwrap().unwrap(), "at ");
    assert!(pieces.next().await.unwrap().is_err());
    assert!(pieces.next().await.is_none());
    let requests: Vec<DecryptRequest> = server.seen("DecryptAlpha1")[0].decoded();
    assert_eq!(requests[0].options.as_ref().unwrap().key_name, "key");
}

#[tokio::test]
async fn a_missing_piece_is_an_error() {
    for pieces in [&[(1, "at ")][..], &[(0, "attack "), (2, "dawn")], &[(0, "attack "), (0, "attack ")]] {
        let server = DaprServer::default();
        server.answer("DecryptAlpha1", decrypted(pieces));
        let error = server.dapr().crypto("vault").decrypt().bytes("hidden").await.unwrap_err();
        assert_eq!(error.to_string(), "decrypt with `vault`: a piece is missing");
    }
}

#[tokio::test]
async fn an_input_that_fails_cuts_the_call_and_is_the_error() {
    let server = DaprServer::default();
    let input = [Ok(Bytes::from("attack ")), Err(io::Error::other("disk is gone")), Ok(Bytes::from("dawn"))];
    let mut pieces = server.dapr().crypto("vault").encrypt("key", "RSA").stream(stream::iter(input));
    let error = pieces.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "encrypt with `vault`: the stream to be sent failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk is gone");
    assert!(pieces.next().await.is_none());
    assert!(server.rpcs().is_empty(), "the server never saw an end of the data");
}

#[tokio::test]
async fn a_call_that_is_refused_and_a_component_without_a_name() {
    let server = DaprServer::default();
    server.answer("EncryptAlpha1", Answer::error(Code::InvalidArgument, "no such component"));
    let error = server.dapr().crypto("vault").encrypt("key", "RSA").bytes("x").await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Some(Code::InvalidArgument), "no such component"));
    assert!(server.dapr().crypto("").decrypt().bytes("x").await.unwrap_err().is_invalid());
}

/// A Dapr that answers with a first piece before it has the data, as daprd does, and tells how the request ends.
fn eager() -> (Dapr, mpsc::UnboundedReceiver<Result<(), Status>>) {
    let (ends, ended) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let ends = ends.clone();
        tokio::spawn(async move { ends.send(request.into_body().collect().await.map(drop)) });
        let message = EncryptResponse { payload: payload(0, "hidden") }.encode_to_vec();
        let mut piece = BytesMut::from(&b"\0"[..]);
        piece.put_u32(message.len() as u32);
        piece.extend_from_slice(&message);
        let frames = stream::iter([Ok::<_, Status>(Frame::data(piece.freeze()))]).chain(stream::pending());
        async { Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames)))) }
    });
    (Dapr::new(service), ended)
}

#[tokio::test(start_paused = true)]
async fn an_input_that_fails_behind_the_first_answer_cuts_the_call() {
    let (dapr, mut ended) = eager();
    let input = [Ok(Bytes::from("attack ")), Err(io::Error::other("disk is gone"))];
    let mut pieces = dapr.crypto("vault").encrypt("key", "RSA").stream(stream::iter(input));
    let error = loop {
        match pieces.next().await.unwrap() {
            Ok(piece) => assert_eq!(piece, "hidden"),
            Err(error) => break error,
        }
    };
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk is gone");
    let end = timeout(Duration::from_secs(1), ended.recv()).await.expect("an end").unwrap();
    assert_eq!(end.unwrap_err().code(), Code::Cancelled, "and not the end of the data");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_cuts_the_call() {
    let (dapr, mut ended) = eager();
    let input = stream::iter([Ok::<_, io::Error>(Bytes::from("attack "))]).chain(stream::pending());
    let mut pieces = dapr.crypto("vault").encrypt("key", "RSA").stream(input);
    assert_eq!(pieces.next().await.unwrap().unwrap(), "hidden");
    drop(pieces);
    let end = timeout(Duration::from_secs(1), ended.recv()).await.expect("an end").unwrap();
    assert_eq!(end.unwrap_err().code(), Code::Cancelled, "and not the end of the data");
}
