//! Our own retries, against a daprd that comes late.

use std::time::Duration;

use opentelemetry::{
    Context,
    trace::{FutureExt, SpanContext, TraceContextExt, TraceFlags, TraceState},
};
use tower_dapr::{
    outbound::{Dapr, Endpoint},
    retry::{Backoff, RetryPolicy},
    testing::{roots, span},
};

use super::tree::daprds;
use crate::real::{Customer, Stack, free_port, telemetry};

super::tests![a_read_that_finds_no_daprd_is_tried_again_until_it_is_there];

async fn a_read_that_finds_no_daprd_is_tried_again_until_it_is_there() {
    let stack = Stack::start().await;
    let (telemetry, port) = (telemetry("app", &stack), free_port());
    // Tried at 0 s, after 3 to 4 s, and after 6 to 8 s.
    let backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(4)).with_floor(Duration::from_secs(3));
    let dapr = Dapr::builder()
        .endpoint(Endpoint::local(port))
        .tracer_provider(telemetry.tracer_provider().unwrap())
        .retry(RetryPolicy::new().with_max_attempts(3).with_backoff(backoff))
        .build()
        .unwrap();
    let customer = Customer::new();
    let parent = SpanContext::new(customer.trace_id, customer.span_id, TraceFlags::SAMPLED, true, TraceState::NONE);
    let read = dapr.state("statestore");
    let read = read.get::<u32>("key").into_future().with_context(Context::new().with_remote_span_context(parent));
    let late = async {
        tokio::time::sleep(Duration::from_millis(4_100)).await;
        stack.daprd("app").grpc_port(port).start().await
    };
    let (read, _daprd) = tokio::join!(read, late);
    assert_eq!(read.unwrap(), None);

    telemetry.flush(Duration::from_secs(5)).await.unwrap();
    // The first attempt is the call's own; each retry has a span below it, and daprd saw the last one.
    let name = "dapr.proto.runtime.v1.Dapr/GetState";
    let call = span(name).client().service("app").no_error().in_order().children([
        span(name).client().service("app").error(),
        span(name).client().service("app").no_error().child(daprds("app", "GetState")),
    ]);
    stack.jaeger().expect(&customer, roots([call])).await;
}
