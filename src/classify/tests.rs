use std::{error::Error, fmt, io};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use tonic::Code;

use super::{Classifier, Ending, Failure, Outcome, Protocol, Side, code_name, http_status_text};

#[test]
fn grpc_is_told_by_the_content_type() {
    for (content_type, protocol) in [
        ("application/grpc", Protocol::Grpc),
        ("application/grpc+proto", Protocol::Grpc),
        ("Application/GRPC; charset=utf-8", Protocol::Grpc),
        ("application/grpc-web", Protocol::Http),
        ("application/grpc-web+proto", Protocol::Http),
        ("application/json", Protocol::Http),
        ("application/gr", Protocol::Http),
    ] {
        assert_eq!(Protocol::of(&headers(&[("content-type", content_type)])), protocol, "{content_type}");
    }
    assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    let mut bytes = HeaderMap::new();
    bytes.insert(CONTENT_TYPE, HeaderValue::from_bytes(b"application/grpc\xff").unwrap());
    assert_eq!(Protocol::of(&bytes), Protocol::Http);
}

#[test]
fn every_http_status_has_its_text() {
    for code in 100..1000 {
        let status = StatusCode::from_u16(code).unwrap();
        assert_eq!(http_status_text(status), status.as_str());
    }
}

#[test]
fn a_grpc_head_without_a_status_says_nothing() {
    let mut call = Classifier::new(Protocol::Grpc, Side::Client);
    call.head(StatusCode::OK, &HeaderMap::new());
    assert!(!call.is_decided());
    call.trailers(&headers(&[("grpc-status", "14"), ("grpc-message", "not%20now")]));
    assert!(call.is_decided());
    let outcome = call.finish(Ending::Complete);
    assert_eq!(outcome.grpc_code(), Some(Code::Unavailable));
    assert_eq!(outcome.grpc_message(), Some("not now"));
}

#[test]
fn trailers_only_is_decided_by_the_head() {
    let mut call = Classifier::new(Protocol::Grpc, Side::Client);
    call.head(StatusCode::OK, &headers(&[("grpc-status", "5")]));
    assert!(call.is_decided());
    // Whatever breaks afterwards: the status has arrived.
    assert_eq!(call.finish(Ending::Cancelled).grpc_code(), Some(Code::NotFound));
}

#[test]
fn missing_trailers_are_judged_by_the_http_status() {
    for (status, code) in [
        (200, Code::Unknown),
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
    ] {
        let mut call = Classifier::new(Protocol::Grpc, Side::Client);
        call.head(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        assert_eq!(call.finish(Ending::Complete).grpc_code(), Some(code), "{status}");
    }
    // No head at all and yet complete: still an answer, not a panic.
    let outcome = Classifier::new(Protocol::Grpc, Side::Client).finish(Ending::Complete);
    assert_eq!(outcome.grpc_code(), Some(Code::Unknown));
}

#[test]
fn an_unreadable_grpc_status_is_unknown() {
    for value in ["", "x", "17", "-1", "00", "1 4"] {
        let mut call = Classifier::new(Protocol::Grpc, Side::Client);
        call.trailers(&headers(&[("grpc-status", value)]));
        assert_eq!(call.finish(Ending::Complete).grpc_code(), Some(Code::Unknown), "{value:?}");
    }
}

#[test]
fn the_client_counts_every_code_but_ok_as_an_error() {
    for value in 0..=16 {
        let code = Code::from_i32(value);
        let expected = (code != Code::Ok).then(|| code_name(code));
        assert_eq!(grpc(Side::Client, value).error_type(), expected);
    }
}

#[test]
fn the_server_counts_only_its_own_faults_as_errors() {
    let own: Vec<_> = (0..=16).filter(|code| grpc(Side::Server, *code).is_error()).map(Code::from_i32).collect();
    assert_eq!(
        own,
        [Code::Unknown, Code::DeadlineExceeded, Code::Unimplemented, Code::Internal, Code::Unavailable, Code::DataLoss]
    );
}

#[test]
fn http_errors_depend_on_the_side() {
    let of = |side, status| {
        let mut call = Classifier::new(Protocol::Http, side);
        call.head(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        call.finish(Ending::Complete).error_type()
    };
    for status in [100, 200, 204, 302, 399] {
        assert_eq!(of(Side::Client, status), None);
        assert_eq!(of(Side::Server, status), None);
    }
    assert_eq!(of(Side::Client, 404), Some("404"));
    assert_eq!(of(Side::Server, 404), None);
    assert_eq!(of(Side::Client, 500), Some("500"));
    assert_eq!(of(Side::Server, 500), Some("500"));
}

#[test]
fn an_end_before_the_answer_has_a_name() {
    let end = |protocol, side, head: Option<u16>, ending| {
        let mut call = Classifier::new(protocol, side);
        if let Some(status) = head {
            call.head(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        }
        call.finish(ending).error_type()
    };
    use Protocol::{Grpc, Http};
    use Side::{Client, Server};
    assert_eq!(end(Http, Client, None, Ending::Cancelled), Some("cancelled"));
    assert_eq!(end(Http, Server, None, Ending::Cancelled), Some("cancelled"));
    assert_eq!(end(Http, Server, Some(200), Ending::Cancelled), Some("cancelled"));
    assert_eq!(end(Http, Client, Some(200), Ending::Cancelled), None, "the client has its answer");
    assert_eq!(end(Grpc, Client, Some(200), Ending::Cancelled), Some("CANCELLED"));
    assert_eq!(end(Grpc, Server, Some(200), Ending::Cancelled), None, "the caller went away");
    let broken = Ending::Failed(Failure::of(&tonic::Status::internal("")));
    for ending in [Ending::Complete, Ending::Cancelled, broken] {
        assert_eq!(end(Grpc, Client, Some(503), ending), Some("UNAVAILABLE"), "the head has said it all");
        assert_eq!(end(Grpc, Server, Some(503), ending), Some("UNAVAILABLE"));
    }
    for protocol in [Http, Grpc] {
        for side in [Client, Server] {
            assert_eq!(end(protocol, side, None, Ending::Panicked), Some("panic"));
        }
    }
}

#[test]
fn errors_are_recognised_through_boxes_and_sources() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let connect = tonic::ConnectError(refused().into());
    assert_eq!(failure(&connect_box(connect)), (Code::Unavailable, "connection_refused"));

    let timeout: Box<dyn Error + Send + Sync> = tonic::TimeoutExpired(()).into();
    assert_eq!(failure(&timeout), (Code::DeadlineExceeded, "timeout"));

    let wrapped: Box<dyn Error + Send + Sync> = Wrapper(tonic::Status::aborted("etag").into()).into();
    assert_eq!(failure(&wrapped), (Code::Aborted, "ABORTED"));

    let reset: Box<dyn Error + Send + Sync> = h2::Error::from(h2::Reason::REFUSED_STREAM).into();
    assert_eq!(failure(&reset), (Code::Unavailable, "http2_error"));
}

#[test]
fn an_unknown_error_is_known_by_its_type_only() {
    struct Opaque;
    assert!(failure(&Opaque).1.ends_with("Opaque"));
    assert_eq!(failure(&Opaque).0, Code::Unknown);
    struct Generic<T>(std::marker::PhantomData<T>);
    assert!(failure(&Generic::<Vec<u8>>(std::marker::PhantomData)).1.ends_with("Generic"));
    let boxed: Box<dyn Error + Send + Sync> = "secret text".into();
    assert_eq!(failure(&boxed).1, "_OTHER");
}

#[test]
fn a_cyclic_chain_of_sources_ends() {
    #[derive(Debug)]
    struct Cycle;
    impl fmt::Display for Cycle {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("again")
        }
    }
    impl Error for Cycle {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&Cycle)
        }
    }
    let boxed: Box<dyn Error + Send + Sync> = Cycle.into();
    assert_eq!(failure(&boxed), (Code::Unknown, "_OTHER"));
}

#[test]
fn some_responses_have_no_body() {
    let no_body = |method: Method, status| {
        let mut call = Classifier::new(Protocol::Http, Side::Server);
        call.head(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        call.has_no_body(&method)
    };
    assert!(no_body(Method::HEAD, 200));
    assert!(no_body(Method::GET, 204));
    assert!(no_body(Method::GET, 304));
    assert!(no_body(Method::GET, 101));
    assert!(no_body(Method::CONNECT, 200));
    assert!(!no_body(Method::CONNECT, 403));
    assert!(!no_body(Method::GET, 200));
}

#[test]
fn an_oversized_grpc_message_is_left_out() {
    let mut call = Classifier::new(Protocol::Grpc, Side::Client);
    call.trailers(&headers(&[("grpc-status", "13"), ("grpc-message", &"x".repeat(100_000))]));
    assert_eq!(call.finish(Ending::Complete).grpc_message(), None);
}

fn grpc(side: Side, code: i32) -> Outcome {
    let mut call = Classifier::new(Protocol::Grpc, side);
    call.head(StatusCode::OK, &HeaderMap::new());
    call.trailers(&headers(&[("grpc-status", &code.to_string())]));
    call.finish(Ending::Complete)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn failure<E: 'static>(error: &E) -> (Code, &'static str) {
    let failure = Failure::of(error);
    (failure.code(), failure.error_type())
}

fn connect_box(error: tonic::ConnectError) -> Box<dyn Error + Send + Sync> {
    Box::new(Wrapper(Box::new(error)))
}

#[derive(Debug)]
struct Wrapper(Box<dyn Error + Send + Sync>);

impl fmt::Display for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
