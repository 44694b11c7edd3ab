//! `grpc-timeout`: read, enforced, and written for the server. What is none is not enforced and left as it is.

#![no_main]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};
use tower_dapr::deadline::{Deadline, DeadlineLayer, GRPC_TIMEOUT, grpc_timeout, parse_grpc_timeout};

/// Later is never.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Its clock stands still, so that no time is lost between reading and writing.
fn runtime() -> &'static Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap())
}

/// As the specification has it (gRPC over HTTP/2): one to eight digits and a unit.
fn expected(bytes: &[u8]) -> Option<Duration> {
    let (value, unit) = std::str::from_utf8(bytes).ok()?.split_at_checked(bytes.len().checked_sub(1)?)?;
    let length = match unit {
        "H" => Duration::from_secs(3600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    let are_digits = (1..=8).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| length * value.parse::<u32>().unwrap())
}

fn seen(request: Request<()>) -> Ready<Result<Response<String>, Infallible>> {
    let deadline = request.extensions().get::<Deadline>().map(Deadline::remaining);
    let expected = request.headers().get("x-expected").map(|value| value == "some");
    assert_eq!(Some(deadline.is_some()), expected);
    if let Some(remaining) = deadline {
        assert_eq!(request.headers().get_all(GRPC_TIMEOUT).iter().collect::<Vec<_>>(), [grpc_timeout(remaining)]);
    }
    ready(Ok(Response::new(String::new())))
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let asked = parse_grpc_timeout(&value);
    assert_eq!(asked, expected(bytes));
    if let Some(asked) = asked {
        let again = parse_grpc_timeout(&grpc_timeout(asked)).expect("what is written can be read");
        assert!(again >= asked && again <= asked + asked / 100_000 + Duration::from_nanos(1));
    }

    let _runtime = runtime().enter();
    let mut request = Request::new(());
    *request.uri_mut() = http::Uri::from_static("/dapr.proto.runtime.v1.Dapr/GetState");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().append(GRPC_TIMEOUT, value);
    let some = HeaderValue::from_static(if asked.is_some() { "some" } else { "none" });
    request.headers_mut().insert("x-expected", some);
    let future = pin!(DeadlineLayer::per_call(None).layer(service_fn(seen)).call(request));
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert!(asked.is_none_or(|asked| Deadline::after(asked).remaining() <= asked.min(FAR)));
});
