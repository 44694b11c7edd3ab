//! Spans that stand in many trees, ours and daprd's.

use tower_dapr::testing::{SpanTree, span};

/// A call of ours to the sidecar of `service`, and daprd's own span for it.
pub fn call(service: &str, method: &str) -> SpanTree {
    ours(service, method).child(daprds(service, method))
}

/// A call of ours to the sidecar.
pub fn ours(service: &str, method: &str) -> SpanTree {
    span(format!("dapr.proto.runtime.v1.Dapr/{method}"))
        .client()
        .service(service)
        .no_error()
        .attribute("rpc.system.name", "grpc")
}

/// What daprd records about a call of its API: its span is a CLIENT, as if it were the app.
pub fn daprds(service: &str, method: &str) -> SpanTree {
    span(format!("/dapr.proto.runtime.v1.Dapr/{method}")).client().service(service).no_error()
}

pub fn state(service: &str, method: &str) -> SpanTree {
    call(service, method).attribute("dapr.building_block", "state").attribute("dapr.component.name", "statestore")
}

/// An event of ours, daprd's span for it, and its deliveries.
pub fn publish(service: &str, topic: &str, deliveries: impl IntoIterator<Item = SpanTree>) -> SpanTree {
    span(format!("publish {topic}"))
        .producer()
        .service(service)
        .no_error()
        .attribute("dapr.component.name", "pubsub")
        .attribute("messaging.destination.name", topic.to_owned())
        .child(daprds(service, "PublishEvent").children(deliveries))
}

/// A delivery: daprd's span, and ours below it. The event was created in daprd's span, not ours: its `traceparent` was
/// overwritten on the way.
pub fn delivery(service: &str, topic: &str, route: &str, handler: impl IntoIterator<Item = SpanTree>) -> SpanTree {
    span(format!("pubsub/{topic}")).client().service(service).child(
        span(format!("POST {route}"))
            .server()
            .service(service)
            .no_error()
            .child(processed(service, topic).children(handler)),
    )
}

pub fn processed(service: &str, topic: &str) -> SpanTree {
    span(format!("process {topic}"))
        .consumer()
        .service(service)
        .attribute("dapr.component.name", "pubsub")
        .linked_to("/dapr.proto.runtime.v1.Dapr/PublishEvent")
}
