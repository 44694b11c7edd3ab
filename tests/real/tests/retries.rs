//! Our own retries, against a daprd that cannot be reached at first.

use std::time::Duration;

use opentelemetry::trace::FutureExt;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tower_dapr::{
    outbound::{Dapr, Endpoint},
    retry::{Backoff, RetryPolicy},
    testing::{roots, span},
};

use super::tree::daprds;
use crate::real::{Customer, PATIENCE, Stack, free_port, telemetry};

super::tests![a_read_that_fails_twice_is_one_call_with_a_span_for_each_retry];

async fn a_read_that_fails_twice_is_one_call_with_a_span_for_each_retry() {
    let stack = Stack::start().await;
    let telemetry = telemetry("app", &stack);
    let daprd = stack.daprd("app").start().await;
    let port = refuses_at_first(2, daprd.grpc).await;
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let dapr = Dapr::builder()
        .endpoint(Endpoint::local(port))
        .tracer_provider(telemetry.tracer_provider().unwrap())
        .retry(RetryPolicy::new().with_max_attempts(3).with_backoff(backoff))
        .build()
        .unwrap();
    let customer = Customer::new();
    let read = dapr.state("statestore");
    let read = read.get::<u32>("key").into_future().with_context(customer.context());
    assert_eq!(read.await.unwrap(), None);

    telemetry.flush(PATIENCE).await.unwrap();
    // The first attempt is the call's own; each retry has a span below it, and daprd saw the last one.
    let name = "dapr.proto.runtime.v1.Dapr/GetState";
    let call = span(name).client().service("app").no_error().in_order().children([
        span(name).client().service("app").error(),
        span(name).client().service("app").no_error().child(daprds("app", "GetState")),
    ]);
    stack.jaeger().expect(&customer, roots([call])).await;
}

/// A port that leads to another, but for the first connections, which are closed at once.
async fn refuses_at_first(times: usize, to: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for _ in 0..times {
            drop(listener.accept().await.unwrap());
        }
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    port
}
