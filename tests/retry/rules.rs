//! Which failure of which call is tried again.

use std::{sync::Mutex, time::Duration};

use dapr::dapr::proto::{
    common::v1::{
        Etag, HttpExtension, InvokeRequest, StateItem, StateOptions, http_extension::Verb,
        state_options::StateConcurrency,
    },
    runtime::v1::{
        BulkPublishRequest, DeleteStateRequest, GetStateRequest, InvokeActorRequest, InvokeBindingRequest,
        InvokeServiceRequest, PublishEventRequest, SaveStateRequest, ScheduleJobRequest, SubscribeConfigurationRequest,
        TryLockRequest,
    },
};
use http::{Method, Request};
use tonic::{Code, body::Body};
use tower::{Layer, ServiceExt};
use tower_dapr::{
    retry::{Backoff, Budget, Idempotent, NotIdempotent, RetryLayer, RetryPolicy},
    rpc::Safety,
};

use crate::{Answer, BoxError, Handle, closed::closed_before_it_was_sent, code, dapr, frames, grpc, http};

const MS: Duration = Duration::from_millis(1);

/// No waits worth speaking of, no budget.
fn policy() -> RetryPolicy {
    RetryPolicy::new().without_budget().with_backoff(Backoff::new(MS, MS))
}

/// How many attempts a call makes whose every attempt fails so.
async fn attempts(
    policy: RetryPolicy,
    request: Request<Body>,
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> usize {
    let inner = Handle::new(move |_, _| answer());
    let _ = RetryLayer::new(policy).layer(inner.clone()).oneshot(request).await;
    inner.calls()
}

fn get() -> Request<Body> {
    dapr("GetState", &GetStateRequest { store_name: "s".into(), key: "k".into(), ..Default::default() })
}

fn save(item: StateItem) -> Request<Body> {
    dapr("SaveState", &SaveStateRequest { store_name: "s".into(), states: vec![StateItem::default(), item] })
}

fn publish() -> Request<Body> {
    dapr("PublishEvent", &PublishEventRequest { pubsub_name: "p".into(), topic: "t".into(), ..Default::default() })
}

fn invoke(verb: Verb) -> Request<Body> {
    let http_extension = Some(HttpExtension { verb: verb as i32, ..Default::default() });
    let message = Some(InvokeRequest { method: "m".into(), http_extension, ..Default::default() });
    dapr("InvokeService", &InvokeServiceRequest { id: "app".into(), message })
}

fn marked<T: Clone + Send + Sync + 'static>(mut request: Request<Body>, mark: T) -> Request<Body> {
    request.extensions_mut().insert(mark);
    request
}

#[tokio::test(start_paused = true)]
async fn every_code_of_a_read() {
    for (expected, codes) in [
        (3, vec![Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted]),
        (
            1,
            vec![
                Code::Ok,
                Code::Cancelled,
                Code::Unknown,
                Code::InvalidArgument,
                Code::NotFound,
                Code::AlreadyExists,
                Code::PermissionDenied,
                Code::FailedPrecondition,
                Code::Aborted,
                Code::OutOfRange,
                Code::Unimplemented,
                Code::Internal,
                Code::DataLoss,
                Code::Unauthenticated,
            ],
        ),
    ] {
        for code in codes {
            assert_eq!(attempts(policy(), get(), move || Answer::grpc(code)).await, expected, "{code:?}");
            let trailers_only = move || Answer::trailers_only(code, &[]);
            assert_eq!(attempts(policy(), get(), trailers_only).await, expected, "trailers-only {code:?}");
        }
    }
    let opted = policy().repeat_internal_errors_of_reads();
    assert_eq!(attempts(opted.clone(), get(), || Answer::grpc(Code::Internal)).await, 3);
    assert_eq!(attempts(opted, save(StateItem::default()), || Answer::grpc(Code::Internal)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn every_group_of_calls_on_every_evidence() {
    let etag = || StateItem { etag: Some(Etag { value: "7".into() }), ..Default::default() };
    let options = StateOptions { concurrency: StateConcurrency::ConcurrencyFirstWrite as i32, ..Default::default() };
    let first_write = || StateItem { options: Some(options), ..Default::default() };
    let delete = |etag: Option<Etag>| dapr("DeleteState", &DeleteStateRequest { etag, ..Default::default() });
    let job = |overwrite| dapr("ScheduleJobAlpha1", &ScheduleJobRequest { job: None, overwrite });
    let lock = || dapr("TryLockAlpha1", &TryLockRequest::default());
    type Make<'a> = Box<dyn Fn() -> Request<Body> + 'a>;
    // Attempts when the request certainly was not handled, on UNAVAILABLE, on DEADLINE_EXCEEDED, on RESOURCE_EXHAUSTED.
    let rows: Vec<(&str, Make<'_>, [usize; 4])> = vec![
        ("read", Box::new(get), [3, 3, 3, 3]),
        ("write", Box::new(|| save(StateItem::default())), [3, 3, 3, 3]),
        ("write with an etag", Box::new(|| save(etag())), [3, 1, 1, 3]),
        ("first write", Box::new(|| save(first_write())), [3, 1, 1, 3]),
        ("delete", Box::new(|| delete(None)), [3, 3, 3, 3]),
        ("delete with an etag", Box::new(|| delete(Some(Etag { value: "7".into() }))), [3, 1, 1, 3]),
        ("job", Box::new(|| job(false)), [3, 1, 1, 3]),
        ("job that overwrites", Box::new(|| job(true)), [3, 3, 3, 3]),
        ("publish", Box::new(publish), [3, 1, 1, 1]),
        ("publish in bulk", Box::new(|| dapr("BulkPublishEvent", &BulkPublishRequest::default())), [3, 1, 1, 1]),
        ("binding", Box::new(|| dapr("InvokeBinding", &InvokeBindingRequest::default())), [3, 1, 1, 1]),
        ("actor", Box::new(|| dapr("InvokeActor", &InvokeActorRequest::default())), [3, 1, 1, 1]),
        ("invocation", Box::new(|| invoke(Verb::Get)), [3, 1, 1, 1]),
        ("lock", Box::new(lock), [3, 1, 1, 1]),
        ("another service's", Box::new(|| grpc("/shop.Stock/Level", &())), [3, 1, 1, 1]),
        (
            "server stream",
            Box::new(|| dapr("SubscribeConfiguration", &SubscribeConfigurationRequest::default())),
            [3, 1, 1, 1],
        ),
        ("bidi stream", Box::new(|| dapr("SubscribeTopicEventsAlpha1", &())), [1, 1, 1, 1]),
        ("shutdown", Box::new(|| dapr("Shutdown", &())), [1, 1, 1, 1]),
    ];
    for (name, make, expected) in rows {
        let seen = [
            attempts(policy(), make(), Answer::connect_error).await,
            attempts(policy(), make(), || Answer::trailers_only(Code::Unavailable, &[])).await,
            attempts(policy(), make(), || Answer::trailers_only(Code::DeadlineExceeded, &[])).await,
            attempts(policy(), make(), || Answer::trailers_only(Code::ResourceExhausted, &[])).await,
        ];
        assert_eq!(seen, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_opens_what_the_caller_can_live_with() {
    let unavailable = || Answer::grpc(Code::Unavailable);
    assert_eq!(attempts(policy().at_least_once_publish(), publish(), unavailable).await, 3);
    let etag = StateItem { etag: Some(Etag { value: "7".into() }), ..Default::default() };
    assert_eq!(attempts(policy().repeat_conditional_writes(), save(etag), unavailable).await, 3);
    let verbs = policy().invoke_verbs([Method::GET, Method::PUT]);
    assert_eq!(attempts(verbs.clone(), invoke(Verb::Get), unavailable).await, 3);
    assert_eq!(attempts(verbs.clone(), invoke(Verb::Put), unavailable).await, 3);
    assert_eq!(attempts(verbs.clone(), invoke(Verb::Post), unavailable).await, 1);
    assert_eq!(attempts(verbs, invoke(Verb::None), unavailable).await, 1);
    let own = policy().with_safety("/shop.Stock/Level", Safety::Read);
    assert_eq!(attempts(own, grpc("/shop.Stock/Level", &()), unavailable).await, 3);
    let never = policy().with_safety("/dapr.proto.runtime.v1.Dapr/GetState", Safety::Never);
    assert_eq!(attempts(never, get(), Answer::connect_error).await, 1);
    let shutdown = policy().with_safety("/dapr.proto.runtime.v1.Dapr/Shutdown", Safety::Read);
    assert_eq!(attempts(shutdown, dapr("Shutdown", &()), unavailable).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_can_speak_for_itself() {
    let unavailable = || Answer::grpc(Code::Unavailable);
    assert_eq!(attempts(policy(), marked(publish(), Idempotent), unavailable).await, 3);
    assert_eq!(attempts(policy(), marked(get(), NotIdempotent), unavailable).await, 1);
    assert_eq!(attempts(policy(), marked(get(), NotIdempotent), Answer::connect_error).await, 3);
    assert_eq!(attempts(policy(), marked(grpc("/shop.Stock/Level", &()), Idempotent), unavailable).await, 3);
    assert_eq!(attempts(policy(), marked(dapr("Shutdown", &()), Idempotent), unavailable).await, 1);
    assert_eq!(attempts(policy(), marked(http("POST", "/orders"), Idempotent), || Answer::http(503, &[], "")).await, 3);
}

#[tokio::test(start_paused = true)]
async fn what_stays_wrong_is_not_repeated() {
    let say = |message: &'static str, code| move || Answer::grpc_with(code, message, &[]);
    for message in ["placement service is not configured", "rpc error: error reading server preface: EOF"] {
        assert_eq!(attempts(policy(), get(), say(message, Code::Unavailable)).await, 1, "{message}");
    }
    let too_large = "grpc: received message larger than max (5 vs. 4)";
    assert_eq!(attempts(policy(), get(), say(too_large, Code::ResourceExhausted)).await, 1);
    // The invoked app's own answer.
    let by_app = || {
        let mut answer = Answer::grpc(Code::Unavailable);
        answer.result.as_mut().unwrap().headers_mut().insert("dapr-http-status", "503".parse().unwrap());
        answer
    };
    let get_verb = policy().invoke_verbs([Method::GET]);
    assert_eq!(attempts(get_verb.clone(), invoke(Verb::Get), by_app).await, 1);
    assert_eq!(attempts(get_verb.repeat_app_unavailable(), invoke(Verb::Get), by_app).await, 3);
}

#[tokio::test(start_paused = true)]
async fn every_http_method_and_status() {
    for (method, uri, on_503, on_429) in [
        ("GET", "/a", 3, 3),
        ("HEAD", "/a", 3, 3),
        ("OPTIONS", "/a", 3, 3),
        ("PUT", "/a", 3, 3),
        ("DELETE", "/a", 3, 3),
        ("POST", "/a", 1, 1),
        ("PATCH", "/a", 1, 1),
        ("PUT", "/v1.0/state/s", 1, 3),
        ("POST", "/v1.0/state/s", 1, 1),
        ("DELETE", "/v1.0/state/s/k", 3, 3),
        ("PUT", "/v1.0/publish/p/t", 1, 1),
        ("PUT", "/v1.0/bindings/b", 1, 1),
        ("PUT", "/v1.0/invoke/app/method/m", 3, 3),
        ("GET", "/v1.0/actors/T/id/method/m", 1, 1),
        ("PUT", "/v1.0/actors/T/id/method/m", 1, 1),
        ("DELETE", "/v1.0/actors/T/id/method/m", 1, 1),
        ("PUT", "/v1.0/actors/T/id/state", 1, 1),
        ("POST", "/v1.0/actors/T/id/state", 1, 1),
        ("GET", "/v1.0/actors/T/id/state/method", 3, 3),
        ("DELETE", "/v1.0/actors/T/id/reminders/method", 3, 3),
        ("PUT", "/v1.0-alpha1/publish/bulk/p/t", 1, 1),
        ("PUT", "/v1.0-alpha1/state/s/query", 1, 3),
        ("PUT", "/v1.0-alpha1/crypto/c/encrypt", 3, 3),
        ("PUT", "/v1.01/publish/p/t", 3, 3),
    ] {
        assert_eq!(
            attempts(policy(), http(method, uri), || Answer::http(503, &[], "")).await,
            on_503,
            "{method} {uri}"
        );
        assert_eq!(
            attempts(policy(), http(method, uri), || Answer::http(429, &[], "")).await,
            on_429,
            "{method} {uri}"
        );
        assert_eq!(attempts(policy(), http(method, uri), Answer::connect_error).await, 3, "{method} {uri}");
    }
    for (status, expected) in
        [(200, 1), (302, 1), (400, 1), (404, 1), (408, 3), (409, 1), (425, 1), (500, 1), (501, 1), (502, 3), (504, 3)]
    {
        let answer = move || Answer::http(status, &[], "");
        assert_eq!(attempts(policy(), http("GET", "/a"), answer).await, expected, "{status}");
    }
    let shutdown = || http("POST", "/v1.0/shutdown");
    assert_eq!(attempts(policy(), marked(shutdown(), Idempotent), Answer::connect_error).await, 1);
    let mut conditional = http("DELETE", "/v1.0/state/s/k");
    conditional.headers_mut().insert("if-match", "7".parse().unwrap());
    assert_eq!(attempts(policy(), conditional, || Answer::http(503, &[], "")).await, 1);
    let publish = policy().at_least_once_publish();
    for path in ["/v1.0/publish/p/t", "/v1.0-alpha1/publish/bulk/p/t"] {
        assert_eq!(attempts(publish.clone(), http("POST", path), || Answer::http(503, &[], "")).await, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun_is_the_callers() {
    let late = || Answer::message_then(Code::Unavailable);
    assert_eq!(attempts(policy(), get(), late).await, 1);
    // The head, and then a reset.
    let reset = || Answer::body(frames([Err(tonic::Status::unavailable("reset"))]));
    assert_eq!(attempts(policy(), get(), reset).await, 1);
    // No trailers at all.
    assert_eq!(attempts(policy(), get(), || Answer::body(Body::empty())).await, 1);
    // What was looked at is there for the caller.
    let inner = Handle::new(|_, _| Answer::message_then(Code::Unavailable));
    let response = RetryLayer::new(policy()).layer(inner).oneshot(get()).await.unwrap();
    assert_eq!(code(response).await, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn to_the_letter_of_a6_a_head_ends_the_attempts() {
    let strict = policy().with_strict_a6(true);
    assert_eq!(attempts(strict.clone(), get(), || Answer::grpc(Code::Unavailable)).await, 1);
    assert_eq!(attempts(strict, get(), || Answer::trailers_only(Code::Unavailable, &[])).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_opened_again_only_before_its_head() {
    let stream = || dapr("SubscribeConfiguration", &SubscribeConfigurationRequest::default());
    let refused = || Answer::error(h2::Error::from(h2::Reason::REFUSED_STREAM));
    assert_eq!(attempts(policy(), stream(), refused).await, 4);
    assert_eq!(attempts(policy(), stream(), || Answer::grpc(Code::Unavailable)).await, 1);
}

/// As of a method whose messages come when they come: its head must not wait for the first.
#[tokio::test(start_paused = true)]
async fn a_method_that_is_said_to_be_a_stream_is_treated_as_one() {
    let policy = policy().with_safety("/shop.Stock/Watch", Safety::Stream);
    let watch = || grpc("/shop.Stock/Watch", &());
    let silent = || {
        let frames = futures_util::stream::pending::<Result<_, tonic::Status>>();
        Answer::body(Body::new(http_body_util::StreamBody::new(frames)))
    };
    let opened = RetryLayer::new(policy.clone()).layer(Handle::new(move |_, _| silent())).oneshot(watch());
    tokio::time::timeout(Duration::from_secs(3600), opened).await.expect("the head is there").unwrap();
    assert_eq!(attempts(policy.clone(), watch(), Answer::connect_error).await, 3);
    assert_eq!(attempts(policy, watch(), || Answer::trailers_only(Code::Unavailable, &[])).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_handler_has_seen_is_repeated_once_at_once_and_for_free() {
    let refused = || h2::Error::from(h2::Reason::REFUSED_STREAM).into();
    let closed = closed_before_it_was_sent(get()).await;
    for error in [refused(), BoxError::from(closed)] {
        let start = tokio::time::Instant::now();
        let budget = Budget::new(10, 1).with_min_per_second(0);
        let policy = RetryPolicy::new().with_budget(budget.clone());
        let error = Mutex::new(Some(error));
        let inner = Handle::new(move |_, _| match error.lock().unwrap().take() {
            Some(error) => Answer::error(error),
            None => Answer::ok(),
        });
        // Also what must not be executed twice.
        let response = RetryLayer::new(policy).layer(inner.clone()).oneshot(invoke(Verb::Post)).await.unwrap();
        assert_eq!(code(response).await, Code::Ok);
        assert_eq!((inner.calls(), budget.balance()), (2, 1));
        assert_eq!(start.elapsed(), Duration::ZERO);
        let second = &inner.seen()[1];
        assert!(!second.head.headers.contains_key("grpc-previous-rpc-attempts"), "nobody has seen the first");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_handler_sees_again_is_the_policys_to_repeat() {
    let refused = || Answer::error(h2::Error::from(h2::Reason::REFUSED_STREAM));
    assert_eq!(attempts(policy(), get(), refused).await, 4);
    let budget = Budget::new(10, 1).with_min_per_second(0);
    let one_left = policy().with_budget(budget.clone());
    assert_eq!(attempts(one_left.clone(), get(), refused).await, 3, "one for free, and one of the budget");
    assert_eq!(budget.balance(), 0);
    assert_eq!(attempts(one_left, get(), refused).await, 1, "the server refuses too much");
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_transport_are_told_apart() {
    let io = |kind| move || Answer::error(std::io::Error::from(kind));
    assert_eq!(attempts(policy(), get(), io(std::io::ErrorKind::ConnectionReset)).await, 3);
    assert_eq!(attempts(policy(), publish(), io(std::io::ErrorKind::ConnectionReset)).await, 1);
    assert_eq!(attempts(policy(), get(), || Answer::error(tonic::TimeoutExpired(()))).await, 3);
    assert_eq!(attempts(policy(), publish(), || Answer::error(tonic::TimeoutExpired(()))).await, 1);
    assert_eq!(attempts(policy(), get(), || Answer::error(h2::Error::from(h2::Reason::CANCEL))).await, 1);
    assert_eq!(attempts(policy(), get(), || Answer::error(BoxError::from("who knows"))).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_back() {
    let wait = |trailer: &'static str, value: &'static str| async move {
        let start = tokio::time::Instant::now();
        let inner = Handle::new(move |n, _| match n {
            0 => Answer::grpc_with(Code::Unavailable, "", &[(trailer, value)]),
            _ => Answer::ok(),
        });
        let policy = RetryPolicy::new().with_backoff(Backoff::new(7 * MS, 7 * MS)).with_random(|| u64::MAX);
        let _ = RetryLayer::new(policy).layer(inner.clone()).oneshot(get()).await.unwrap();
        (inner.calls() == 2).then(|| start.elapsed())
    };
    assert_eq!(wait("grpc-retry-pushback-ms", "0").await, Some(Duration::ZERO));
    assert_eq!(wait("grpc-retry-pushback-ms", "250").await, Some(250 * MS));
    assert_eq!(wait("grpc-retry-pushback-ms", "3000").await, Some(3000 * MS));
    assert_eq!(wait("grpc-retry-pushback-ms", "-1").await, None);
    assert_eq!(wait("grpc-retry-pushback-ms", "abc").await, None);
    assert_eq!(wait("grpc-retry-pushback-ms", "30001").await, None, "longer than we are ready to wait");
    assert_eq!(wait("x-nothing", "1").await, Some(7 * MS));
    // Status { details: [Any { RetryInfo { retry_delay: { seconds: 1 } } }] }
    let info = "GjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAE";
    assert_eq!(wait("grpc-status-details-bin", info).await, Some(1000 * MS));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed() {
    for (value, expected) in [("3", Some(3000 * MS)), ("0", Some(Duration::ZERO)), ("31", None), ("x", Some(7 * MS))] {
        let start = tokio::time::Instant::now();
        let inner = Handle::new(move |n, _| match n {
            0 => Answer::http(503, &[("retry-after", value)], ""),
            _ => Answer::http(200, &[], ""),
        });
        let policy = RetryPolicy::new().with_backoff(Backoff::new(7 * MS, 7 * MS)).with_random(|| u64::MAX);
        let _ = RetryLayer::new(policy).layer(inner.clone()).oneshot(http("GET", "/a")).await.unwrap();
        assert_eq!((inner.calls() == 2).then(|| start.elapsed()), expected, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_starts_the_waits_anew() {
    let inner = Handle::new(|n, _| match n {
        2 => Answer::grpc_with(Code::Unavailable, "", &[("grpc-retry-pushback-ms", "1000")]),
        _ => Answer::grpc(Code::Unavailable),
    });
    let policy = RetryPolicy::new()
        .with_max_attempts(6)
        .with_backoff(Backoff::new(100 * MS, Duration::from_secs(9)).with_floor(Duration::ZERO))
        .with_random(|| u64::MAX);
    let _ = RetryLayer::new(policy).layer(inner.clone()).oneshot(get()).await.unwrap();
    let at: Vec<_> = inner.seen().iter().map(|seen| seen.at).collect();
    let waits: Vec<_> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits, [100, 200, 1000, 100, 200]);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_gets_a_second() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::ResourceExhausted));
    let _ = RetryLayer::new(policy()).layer(inner.clone()).oneshot(get()).await.unwrap();
    let at: Vec<_> = inner.seen().iter().map(|seen| seen.at).collect();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_on_the_wire_and_limited_by_the_environment() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let policy = RetryPolicy::from_vars(|_| Some("3".into())).unwrap();
    let _ = RetryLayer::new(policy).layer(inner.clone()).oneshot(get()).await.unwrap();
    let counts: Vec<_> = inner
        .seen()
        .iter()
        .map(|seen| seen.head.headers.get("grpc-previous-rpc-attempts").map(|n| n.to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(counts, [None, Some("1".into()), Some("2".into()), Some("3".into())]);
    let off = RetryPolicy::from_vars(|_| Some("0".into())).unwrap();
    assert_eq!(attempts(off, get(), Answer::connect_error).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_attempts_status_is_returned() {
    let inner = Handle::new(|n, _| match n {
        0 => Answer::grpc(Code::Unavailable),
        _ => Answer::grpc(Code::NotFound),
    });
    let response = RetryLayer::new(policy()).layer(inner.clone()).oneshot(get()).await.unwrap();
    assert_eq!(code(response).await, Code::NotFound);
    assert_eq!(inner.calls(), 2);
}
