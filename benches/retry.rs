//! What the retry layer costs a call that succeeds on its first attempt: the layer, not the network.
//!
//! * `bare`: the service alone: builds the request, answers at once, the answer is read.
//! * `tower`: the same in `tower::retry` with a policy that clones the request and has a `TpsBudget`, both of which a user of
//!   it has to write.
//! * `retryable`: in `RetryLayer`, a read.
//! * `not retryable`: in `RetryLayer`, a call that is never sent again (`Shutdown`), and a policy that is off.
//! * `tonic body`: in `RetryLayer`, with the body type of tonic's channel, which cannot be cloned; `tonic bare` is its floor.
//!
//! Last numbers, medians of the shortest times of 15 runs (2 virtual cores of an Intel Xeon, Rust 1.95, November 2026), and
//! instructions as valgrind counts them; behind `+` what a layer adds:
//!
//! | scenario | time | instructions | allocations |
//! | --- | --- | --- | --- |
//! | bare | 327 ns | 2,968 | 5 |
//! | tower | + 381 ns | + 2,380 | + 5 |
//! | retryable | + 280 ns | + 2,121 | + 1 |
//! | not retryable, by the call | + 42 ns | + 307 | 0 |
//! | not retryable, by the policy | + 29 ns | + 219 | 0 |
//! | tonic body | + 408 ns | + 2,701 | + 3 |
//!
//! Run with `cargo bench --bench retry`. It prints the allocations per call first, and the shortest times.
#![allow(missing_docs, reason = "a bench")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::Full;
use tonic::{GrpcMethod, body::Body};
use tower::{
    Layer, Service,
    retry::budget::{Budget as _, TpsBudget},
};
use tower_dapr::retry::{RetryLayer, RetryPolicy};

const READ: &str = "/dapr.proto.runtime.v1.Dapr/GetState";
const NEVER: &str = "/dapr.proto.runtime.v1.Dapr/Shutdown";
const MESSAGE: Bytes = Bytes::from_static(b"\0\0\0\0\x0f\x0a\nstatestore\x12\x01k");

/// Answers at once with one message. As cheap to clone as a channel: two counters.
#[derive(Clone)]
struct Bare {
    _handle: (Arc<()>, Arc<()>),
}

impl Bare {
    fn new() -> Self {
        Self { _handle: (Arc::new(()), Arc::new(())) }
    }
}

impl<B> Service<Request<B>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A channel takes the request apart and drops it when it is sent.
        drop(black_box(request));
        ready(Ok(Response::new(Full::new(MESSAGE))))
    }
}

/// What somebody writes who retries with tower's own.
#[derive(Clone)]
struct TowerPolicy {
    budget: Arc<TpsBudget>,
    attempts: u32,
}

impl<B: Clone> tower::retry::Policy<Request<B>, Response<Full<Bytes>>, Infallible> for TowerPolicy {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<Full<Bytes>>, Infallible>,
    ) -> Option<Self::Future> {
        let failed = result.as_ref().is_ok_and(|response| response.headers().contains_key("grpc-status"));
        if !failed {
            self.budget.deposit();
            return None;
        }
        self.attempts -= 1;
        (self.attempts > 0 && self.budget.withdraw()).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// As tonic's generated clients make it: path and names of headers are static.
fn request<B>(path: &'static str, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(const { HeaderName::from_static("dapr-api-token") }, HeaderValue::from_static("0123456789abcdef"));
    headers.insert(
        const { HeaderName::from_static("traceparent") },
        HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    );
    request.extensions_mut().insert(GrpcMethod::new("dapr.proto.runtime.v1.Dapr", "GetState"));
    request
}

/// One call, and one look at its answer. Nothing here ever waits. Of its own in each scenario: the compiler would put into
/// its scenario what only one of them uses, `bare` among them, and the others would seem dearer.
#[inline(never)]
fn call<S, B, R>(service: &mut S, request: Request<B>)
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body + Unpin,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let future = pin!(service.call(request));
    let Poll::Ready(Ok(mut response)) = future.poll(&mut context) else { panic!("the service answers at once") };
    let frame = std::pin::Pin::new(response.body_mut()).poll_frame(&mut context);
    assert!(matches!(black_box(frame), Poll::Ready(Some(Ok(_)))));
}

fn full(path: &'static str) -> Request<Full<Bytes>> {
    request(path, Full::new(MESSAGE))
}

fn tonic_body(path: &'static str) -> Request<Body> {
    request(path, Body::new(Full::new(MESSAGE)))
}

type Scenario = (&'static str, Box<dyn FnMut()>);

/// The shortest of many short rounds, taken in turn: what is left when other work on the machine is out of the way.
#[allow(clippy::disallowed_types, reason = "the time of this process, not of a runtime")]
fn print_floors(scenarios: &mut [Scenario]) {
    const CALLS: u32 = 200;
    let mut floors = vec![f64::MAX; scenarios.len()];
    for _ in 0..2000 {
        for ((_, scenario), floor) in scenarios.iter_mut().zip(&mut floors) {
            let start = std::time::Instant::now();
            (0..CALLS).for_each(|_| scenario());
            *floor = floor.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
        }
    }
    for ((name, _), floor) in scenarios.iter().zip(floors) {
        println!("{name}: {floor:.0} ns at least");
    }
}

fn benches(criterion: &mut Criterion) {
    // The budgets read tokio's clock.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _runtime = runtime.enter();

    let mut bare = Bare::new();
    let mut tonic_bare = Bare::new();
    let policy = TowerPolicy { budget: Arc::new(TpsBudget::default()), attempts: 3 };
    let mut tower = tower::retry::RetryLayer::new(policy).layer(Bare::new());
    let layer = RetryLayer::new(RetryPolicy::new());
    let [mut read, mut never, mut of_tonic] = [(), (), ()].map(|()| layer.layer(Bare::new()));
    let mut off = RetryLayer::new(RetryPolicy::new().with_max_attempts(1)).layer(Bare::new());

    let mut scenarios: [Scenario; 7] = [
        ("bare", Box::new(move || call(&mut bare, full(READ)))),
        ("tower", Box::new(move || call(&mut tower, full(READ)))),
        ("retryable", Box::new(move || call(&mut read, full(READ)))),
        ("not retryable, by the call", Box::new(move || call(&mut never, full(NEVER)))),
        ("not retryable, by the policy", Box::new(move || call(&mut off, full(READ)))),
        ("tonic bare", Box::new(move || call(&mut tonic_bare, tonic_body(READ)))),
        ("tonic body", Box::new(move || call(&mut of_tonic, tonic_body(READ)))),
    ];
    for (name, scenario) in &mut scenarios {
        scenario();
        let counted = allocation_counter::measure(scenario.as_mut());
        println!("{name}: {} allocations, {} bytes", counted.count_total, counted.bytes_total);
    }
    print_floors(&mut scenarios);
    let mut group = criterion.benchmark_group("retry");
    for (name, scenario) in &mut scenarios {
        group.bench_function(*name, |bencher| bencher.iter(scenario.as_mut()));
    }
    group.finish();
}

criterion_group!(retry, benches);
criterion_main!(retry);
