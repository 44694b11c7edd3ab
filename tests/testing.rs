//! What the recorders record, what the assertions accept, and what they say when they do not.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    metrics::MeterProvider,
    trace::{
        Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, Tracer, TracerProvider,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, Sampler, SdkTracer, SdkTracerProvider};
use tower_dapr::testing::{MetricRecorder, SpanRecorder, SpanTree, Trace, roots, span};

// ===== Recording =====

#[test]
fn records_spans_when_they_end_with_their_service() {
    let recorder = SpanRecorder::new();
    let order = recorder.provider("order").tracer("test");
    let shipping = recorder.provider("shipping").tracer("test");
    let first = order.start("first");
    shipping.start("second").end();
    drop(first);
    let spans = recorder.spans();
    assert_eq!(
        spans.iter().map(|s| (s.service(), s.name())).collect::<Vec<_>>(),
        [("shipping", "second"), ("order", "first")]
    );

    recorder.clone().clear();
    assert!(recorder.spans().is_empty(), "clones share what was recorded");
}

#[test]
fn answers_what_a_span_is() {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    let mut recorded = At(1).start(&tracer, "publish orders", SpanKind::Producer, &Context::new());
    recorded.set_attribute(KeyValue::new("batch", 3));
    recorded.set_attribute(KeyValue::new("component", "first"));
    recorded.set_attribute(KeyValue::new("component", "pubsub"));
    recorded.add_event("sent", vec![]);
    recorded.set_status(Status::error("no broker"));
    recorded.end_with_timestamp(at(9));

    let recorded = &recorder.spans()[0];
    assert_eq!(recorded.kind(), &SpanKind::Producer);
    assert_eq!(recorded.attribute("batch"), Some(&3.into()));
    assert_eq!(recorded.attribute_str("batch"), None, "not a string");
    assert_eq!(recorded.attribute_str("component"), Some("pubsub"), "the last value counts");
    assert_eq!(recorded.attribute("absent"), None);
    assert_eq!(recorded.events()[0].name, "sent");
    assert_eq!(recorded.status(), &Status::error("no broker"));
    assert_eq!((recorded.start(), recorded.end(), recorded.duration()), (at(1), at(9), Duration::from_millis(8)));
    assert_eq!((recorded.parent_span_id(), recorded.is_parent_remote()), (None, false));
    assert_eq!(recorded.data().name, "publish orders");
}

#[test]
fn samples_what_the_parent_sampled() {
    let recorder = SpanRecorder::new();
    for (flags, service) in [(TraceFlags::SAMPLED, "sampled"), (TraceFlags::default(), "not sampled")] {
        let tracer = recorder.provider(service).tracer("test");
        tracer.start_with_context("work", &remote(flags)).end();
    }
    let off = recorder.provider_with_sampler("off", Sampler::AlwaysOff).tracer("test");
    off.start("work").end();
    assert_eq!(recorder.spans().iter().map(|span| span.service()).collect::<Vec<_>>(), ["sampled"]);
    assert!(recorder.spans()[0].is_parent_remote());
}

#[test]
fn tells_traces_apart_in_the_order_of_their_start() {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    for (start, name) in [(30, "third"), (10, "first"), (20, "second")] {
        At(start).start(&tracer, name, SpanKind::Server, &Context::new()).end_with_timestamp(at(40));
    }
    let traces = recorder.traces();
    assert_eq!(
        traces.iter().flat_map(Trace::spans).map(|span| span.name()).collect::<Vec<_>>(),
        ["first", "second", "third"]
    );
    let second = recorder.trace(traces[1].trace_id());
    assert_eq!(second.span("second").map(|span| span.trace_id()), Some(second.trace_id()));
    assert!(second.span("first").is_none());
    assert!(recorder.trace(TraceId::from_bytes([9; 16])).is_empty());
}

// ===== Drawing =====

#[test]
fn draws_a_waterfall() {
    let recorder = orders();
    let trace = &recorder.traces()[0];
    let expected = "\
trace 01010101010101010101010101010101, 6 spans, 2 services, 40.0 ms
SPAN                                             KIND      SERVICE   COMPONENT      START     TIME
POST /orders                                     server    order                     0 µs  40.0 ms  ████████████████████████████████
├─ dapr.proto.runtime.v1.Dapr/SaveState          client    order     statestore    4.0 ms  20.0 ms     ████████████████               ERROR UNAVAILABLE: no store
│  ├─ dapr.proto.runtime.v1.Dapr/SaveState       client    order     statestore    5.0 ms   5.0 ms      ████
│  └─ dapr.proto.runtime.v1.Dapr/SaveState       client    order     statestore   15.0 ms   250 µs              ▏
└─ publish orders                                producer  order     pubsub       25.0 ms   5.0 ms                      ████
   └─ process orders                             consumer  shipping  pubsub       28.0 ms  10.0 ms                        ████████    -> publish orders
";
    // Columns are as wide as their widest cell.
    let squeezed =
        |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    let drawn = trace.render();

    assert_eq!(squeezed(&drawn), squeezed(expected), "\n{drawn}");
    assert_eq!(trace.to_string(), drawn);
    let bars: Vec<_> = drawn.lines().skip(2).map(|line| line.chars().position(|c| "█▏".contains(c)).unwrap()).collect();
    assert_eq!(bars.iter().map(|bar| bar - bars[0]).collect::<Vec<_>>(), [0, 3, 4, 12, 20, 22]);
    assert!(drawn.lines().all(|line| line == line.trim_end()));
}

#[test]
fn draws_text_of_strangers_harmlessly() {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("or\u{7}der").tracer("test");
    let mut evil = tracer.start("a\x1b[2J\nb");
    evil.set_attribute(KeyValue::new("dapr.component.name", "c\rd"));
    evil.set_status(Status::error("e\nf"));
    evil.end();
    let trace = &recorder.traces()[0];
    for drawn in [trace.render(), trace.outline(), trace.check(&span("x")).unwrap_err().to_string()] {
        assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()), "{drawn:?}");
    }
    assert_eq!(trace.render().lines().count(), 3);
}

#[test]
fn the_outline_is_the_same_whatever_the_order() {
    let draw = |starts: [u64; 3]| {
        let recorder = SpanRecorder::new();
        let tracer = recorder.provider("order").tracer("test");
        let root = under(At(0).start(&tracer, "root", SpanKind::Server, &Context::new()));
        for (start, name) in starts.into_iter().zip(["a", "b", "c"]) {
            At(start).start(&tracer, name, SpanKind::Client, &root).end_with_timestamp(at(9));
        }
        root.span().end();
        recorder.traces()[0].outline()
    };
    let outline = "root (server, order)\n├─ a (client, order)\n├─ b (client, order)\n└─ c (client, order)\n";
    assert_eq!(draw([1, 2, 3]), outline);
    assert_eq!(draw([3, 1, 2]), outline);
}

// ===== Expecting =====

#[test]
fn accepts_the_tree_that_was_recorded() {
    let tree = orders_tree();
    let recorder = orders();
    recorder.expect(tree.clone());
    recorder.traces()[0].expect(tree);
}

#[test]
fn compares_only_what_was_stated() {
    let recorder = orders();
    recorder.expect(span("POST /orders").children([
        span("publish orders").child(span("process orders")),
        span("dapr.proto.runtime.v1.Dapr/SaveState").at_least(),
    ]));
    recorder.expect(span("POST /orders").at_least());
}

#[test]
fn says_what_is_wrong_with_a_span() {
    let save = || span("dapr.proto.runtime.v1.Dapr/SaveState").at_least();
    let publish = || span("publish orders").at_least();
    for (save, publish, reason) in [
        (save(), publish().consumer(), "POST /orders > publish orders: kind is `producer`, expected `consumer`"),
        (save(), publish().service("shop"), "POST /orders > publish orders: service is `order`, expected `shop`"),
        (
            save().attribute("dapr.component.name", "cache"),
            publish(),
            "POST /orders > dapr.proto.runtime.v1.Dapr/SaveState: attribute `dapr.component.name` is \"statestore\", expected \"cache\"",
        ),
        (
            save(),
            publish().attribute("dapr.component.name", 1),
            "POST /orders > publish orders: attribute `dapr.component.name` is \"pubsub\", expected 1",
        ),
        (
            save(),
            publish().attribute("topic", "orders"),
            "POST /orders > publish orders: attribute `topic` is missing, expected \"orders\"",
        ),
        (
            save().without_attribute("error.type"),
            publish(),
            "POST /orders > dapr.proto.runtime.v1.Dapr/SaveState: attribute `error.type` is \"UNAVAILABLE\", expected none",
        ),
        (save(), publish().error(), "POST /orders > publish orders: status is Unset, expected an error"),
        (
            save().no_error(),
            publish(),
            "POST /orders > dapr.proto.runtime.v1.Dapr/SaveState: status is Error { description: \"no store\" }, expected no error",
        ),
        (
            save(),
            publish().child(span("process orders").linked_to("POST /orders")),
            "POST /orders > publish orders > process orders: has no link to `POST /orders`, its links: [\"publish orders\"]",
        ),
        (
            save(),
            publish().child(span("process orders").linked_to("publish orders").linked_to("publish orders")),
            "POST /orders > publish orders > process orders: has no link to `publish orders`, its links: [\"publish orders\"]",
        ),
    ] {
        let mismatch = orders().check(&span("POST /orders").children([save, publish])).unwrap_err();
        assert_eq!(mismatch.reason(), reason);
    }
}

#[test]
fn says_which_children_are_missing_or_too_many() {
    let save = || span("dapr.proto.runtime.v1.Dapr/SaveState").at_least();
    let publish = || span("publish orders").at_least();
    for (tree, reason) in [
        (span("GET /orders").at_least(), "POST /orders: name is `POST /orders`, expected `GET /orders`"),
        (span("POST /orders").child(save()), "POST /orders: has a child not expected: `publish orders`"),
        (
            span("POST /orders"),
            "POST /orders: has 2 children not expected: `dapr.proto.runtime.v1.Dapr/SaveState`, `publish orders`",
        ),
        (span("POST /orders").children([save(), publish(), span("audit")]), "POST /orders: misses the child `audit`"),
        (
            span("POST /orders").children([save(), span("audit")]),
            "POST /orders: misses the child `audit`, has instead: `publish orders`",
        ),
        (span("POST /orders").child(span("audit")).at_least(), "POST /orders: misses the child `audit`"),
        (
            span("POST /orders").children([save(), publish(), publish()]),
            "POST /orders: misses the child `publish orders`",
        ),
        (
            span("POST /orders").children([publish(), save()]).in_order(),
            "POST /orders: `dapr.proto.runtime.v1.Dapr/SaveState` did not start where it should",
        ),
        (
            span("POST /orders").children([save(), span("publish orders").child(span("x"))]),
            "POST /orders > publish orders: misses the child `x`, has instead: `process orders`",
        ),
    ] {
        let mismatch = orders().check(&tree).unwrap_err();
        assert_eq!(mismatch.reason(), reason);
    }
}

#[test]
fn the_panic_shows_both_trees() {
    let recorder = orders();
    let wrong = span("POST /orders")
        .server()
        .child(span("publish orders").producer().attribute("dapr.component.name", "kafka").at_least())
        .at_least();
    let panic = catch_unwind(AssertUnwindSafe(|| recorder.expect(wrong))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    let expected = r#"spans are not as expected: POST /orders > publish orders: attribute `dapr.component.name` is "pubsub", expected "kafka"

expected:
  POST /orders (server)
  ├─ ..
  └─ publish orders (producer) dapr.component.name="kafka"
     └─ ..

recorded:
  POST /orders (server, order)
  ├─ dapr.proto.runtime.v1.Dapr/SaveState (client, order) dapr.component.name="statestore" error
  │  ├─ dapr.proto.runtime.v1.Dapr/SaveState (client, order) dapr.component.name="statestore"
  │  └─ dapr.proto.runtime.v1.Dapr/SaveState (client, order) dapr.component.name="statestore"
  └─ publish orders (producer, order) dapr.component.name="pubsub"
     └─ process orders (consumer, shipping) dapr.component.name="pubsub" -> publish orders
"#;
    assert_eq!(message, expected, "\n{message}");
}

#[test]
fn children_may_come_in_any_order_unless_stated() {
    let children = || ["a", "b", "c"].map(span);
    let recorder = siblings(&["c", "a", "b"]);
    recorder.expect(span("root").children(children()));
    assert!(recorder.check(&span("root").children(children()).in_order()).is_err());
    recorder.expect(span("root").children(["c", "a", "b"].map(span)).in_order());
    recorder.expect(span("root").children(["c", "b"].map(span)).in_order().at_least());
    assert!(recorder.check(&span("root").children(["b", "c"].map(span)).in_order().at_least()).is_err());
}

#[test]
fn a_difference_is_told_by_the_child_that_comes_nearest() {
    let recorder = siblings(&["a", "b", "c"]);
    let mismatch = recorder.check(&span("root").children(["a", "x", "c"].map(span)).in_order()).unwrap_err();
    assert_eq!(mismatch.reason(), "root: misses the child `x`, has instead: `b`");

    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    let root = under(tracer.start("root"));
    for kind in [SpanKind::Internal, SpanKind::Client] {
        tracer.span_builder("call").with_kind(kind).start_with_context(&tracer, &root).end();
    }
    root.span().end();
    let mismatch = recorder.check(&span("root").child(span("call").client().error()).at_least()).unwrap_err();
    assert_eq!(mismatch.reason(), "root > call: status is Unset, expected an error");
}

#[test]
fn finds_the_one_way_to_pair_children_that_look_alike() {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    let root = under(tracer.start("root"));
    for n in [1, 2, 3] {
        let mut child = tracer.start_with_context("call", &root);
        child.set_attribute(KeyValue::new("n", n));
        child.set_attribute(KeyValue::new("odd", n % 2 == 1));
        child.end();
    }
    root.span().end();
    // The first to come takes what the others need, and has to give it back.
    recorder.expect(span("root").children([
        span("call"),
        span("call").attribute("odd", true),
        span("call").attribute("n", 1),
    ]));
    let twice = span("root").children([span("call"), span("call").attribute("n", 1), span("call").attribute("n", 1)]);
    assert!(recorder.check(&twice).is_err());
}

#[test]
fn an_orphan_is_an_error_and_a_remote_parent_is_none() {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    let root = under(tracer.start("root"));
    tracer.start_with_context("child", &root).end();
    // The root never ended: it was not recorded.
    let mismatch = recorder.check(&span("child")).unwrap_err();
    assert!(mismatch.reason().starts_with("`child` is an orphan: its parent ("), "{mismatch}");

    let recorder = SpanRecorder::new();
    recorder.provider("order").tracer("test").start_with_context("child", &remote(TraceFlags::SAMPLED)).end();
    recorder.expect(span("child"));
}

#[test]
fn a_remote_parent_that_was_recorded_is_the_parent() {
    let recorder = SpanRecorder::new();
    let order = recorder.provider("order").tracer("test");
    let client = order.span_builder("call").with_kind(SpanKind::Client).start(&order);
    let sent = client.span_context();
    let received = SpanContext::new(sent.trace_id(), sent.span_id(), sent.trace_flags(), true, Default::default());
    let parent = Context::new().with_remote_span_context(received);
    recorder.provider("shipping").tracer("test").start_with_context("handle", &parent).end();
    drop(client);
    recorder.expect(span("call").client().service("order").child(span("handle").service("shipping")));
}

#[test]
fn ids_must_be_unique() {
    let recorder = SpanRecorder::new();
    for name in ["once", "twice"] {
        let tracer = with_ids(&recorder, "order", 7);
        tracer.start_with_context(name, &remote(TraceFlags::SAMPLED)).end();
    }
    let mismatch = recorder.check(&roots([span("once"), span("twice")])).unwrap_err();
    assert_eq!(mismatch.reason(), "two spans have the id of `twice` (0000000000000007)");
}

#[test]
fn spans_that_are_their_own_ancestors_are_an_error() {
    let recorder = SpanRecorder::new();
    let own_id = u64::from_be_bytes(PARENT.to_bytes());
    with_ids(&recorder, "order", own_id).start_with_context("ouroboros", &remote(TraceFlags::SAMPLED)).end();
    let trace = &recorder.traces()[0];
    assert_eq!(trace.check(&span("ouroboros")).unwrap_err().reason(), "a span is its own ancestor");
    assert_eq!(trace.outline(), "");
    assert!(trace.render().starts_with("trace 0101"));
}

#[test]
fn several_roots_have_to_be_stated() {
    let recorder = SpanRecorder::new();
    for service in ["order", "shipping"] {
        recorder.provider(service).tracer("test").start_with_context("handle", &remote(TraceFlags::SAMPLED)).end();
    }
    let both = roots([span("handle").service("shipping"), span("handle").service("order")]);
    recorder.expect(both);
    let mismatch = recorder.check(&span("handle").at_least()).unwrap_err();
    assert_eq!(mismatch.reason(), "has 2 roots: `handle`, `handle`");
    let mismatch = recorder.check(&roots([span("handle")])).unwrap_err();
    assert_eq!(mismatch.reason(), "has a child not expected: `handle`");
}

#[test]
fn any_of_several_traces_will_do_and_the_nearest_is_shown() {
    let recorder = siblings(&["a"]);
    let tracer = recorder.provider("order").tracer("test");
    tracer.start("other").end();
    recorder.expect(span("other"));
    recorder.expect(span("root").child(span("a")));
    let mismatch = recorder.check(&span("other").child(span("a"))).unwrap_err();
    assert_eq!(mismatch.reason(), "other: misses the child `a`");
    assert!(mismatch.to_string().contains("recorded (the nearest of 2 traces):\n  other (internal, order)\n"));
}

#[test]
fn nothing_recorded_is_said_so() {
    let mismatch = SpanRecorder::new().check(&span("work")).unwrap_err();
    assert_eq!(mismatch.to_string(), "spans are not as expected: no span was recorded\n\nexpected:\n  work\n");
    let empty = SpanRecorder::new().trace(TraceId::from_bytes([1; 16]));
    assert_eq!(empty.check(&span("work")).unwrap_err().reason(), "no span was recorded");
    assert!(empty.render().contains("0 spans"));
}

#[test]
fn a_link_finds_its_span_in_another_trace() {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    let publish = tracer.start("publish orders");
    let link = Link::new(publish.span_context().clone(), vec![], 0);
    // The same span id in a trace that was not recorded.
    let id = publish.span_context().span_id();
    let lost = SpanContext::new(TRACE, id, TraceFlags::SAMPLED, true, Default::default());
    drop(publish);
    tracer.span_builder("process orders").with_links(vec![link]).start(&tracer).end();
    tracer.span_builder("process lost").with_links(vec![Link::new(lost, vec![], 0)]).start(&tracer).end();

    recorder.expect(span("process orders").linked_to("publish orders"));
    let mismatch = recorder.check(&span("process lost").linked_to("publish orders")).unwrap_err();
    let ids = format!("01010101010101010101010101010101/{id}, not recorded");
    assert_eq!(mismatch.reason(), format!("process lost: has no link to `publish orders`, its links: [\"{ids}\"]"));
}

// ===== Metrics =====

#[test]
fn reads_a_histogram_by_service_and_attributes() {
    let recorder = MetricRecorder::new();
    for (service, measured) in [("order", [1.0, 3.0]), ("cart", [2.0, 2.0])] {
        let meter = recorder.provider(service).meter("test");
        let histogram = meter.f64_histogram("duration").with_boundaries(vec![1.0, 2.0]).build();
        for (value, method) in measured.into_iter().zip(["GetState", "SaveState"]) {
            histogram.record(value, &[KeyValue::new("rpc.method", method), KeyValue::new("a", 1)]);
        }
    }
    let points = recorder.histogram("duration");
    let seen: Vec<_> = points
        .iter()
        .map(|p| (p.service(), p.attribute_str("rpc.method").unwrap(), p.count(), p.sum(), p.buckets().to_vec()))
        .collect();
    assert_eq!(
        seen,
        [
            ("cart", "GetState", 1, 2.0, vec![0, 1, 0]),
            ("cart", "SaveState", 1, 2.0, vec![0, 1, 0]),
            ("order", "GetState", 1, 1.0, vec![1, 0, 0]),
            ("order", "SaveState", 1, 3.0, vec![0, 0, 1]),
        ]
    );
    assert_eq!(points[0].bounds(), [1.0, 2.0]);
    assert_eq!(points[3].range(), Some((3.0, 3.0)));
    assert_eq!(points[0].attributes()[0].key.as_str(), "a", "attributes are ordered");
    assert_eq!(recorder.histogram("other"), []);
}

#[test]
fn adds_up_from_one_question_to_the_next() {
    let recorder = MetricRecorder::new();
    let meter = recorder.provider("order").meter("test");
    let (calls, active) = (meter.u64_counter("calls").build(), meter.i64_up_down_counter("active").build());
    let (load, depth) = (meter.f64_gauge("load").build(), meter.u64_gauge("depth").build());
    for round in 1..=3_u32 {
        calls.add(2, &[KeyValue::new("k", "v")]);
        active.add(-1, &[]);
        load.record(f64::from(round) / 2.0, &[]);
        depth.record(u64::from(round), &[]);
        let value =
            |points: Vec<tower_dapr::testing::NumberPoint>| points.iter().map(|p| p.value()).collect::<Vec<_>>();
        assert_eq!(value(recorder.counter("calls")), [f64::from(2 * round)]);
        assert_eq!(value(recorder.up_down("active")), [-f64::from(round)]);
        assert_eq!(value(recorder.gauge("load")), [f64::from(round) / 2.0]);
        assert_eq!(value(recorder.gauge("depth")), [f64::from(round)]);
    }
    let calls = &recorder.counter("calls")[0];
    assert_eq!((calls.service(), calls.attribute_str("k")), ("order", Some("v")));
    assert_eq!(recorder.names(), ["active", "calls", "depth", "load"]);
    assert_eq!(recorder.counter("active"), [], "an up-down counter is none");
    assert_eq!(recorder.up_down("calls"), []);
    assert_eq!(recorder.gauge("calls"), []);
    assert_eq!(recorder.histogram("calls"), []);
}

#[test]
fn keeps_what_a_provider_had_when_it_was_shut_down() {
    let recorder = MetricRecorder::new();
    let provider = recorder.provider("order");
    provider.meter("test").u64_counter("calls").build().add(1, &[]);
    provider.shutdown().unwrap();
    assert_eq!(recorder.counter("calls")[0].value(), 1.0);
}

#[test]
fn quantiles_interpolate_within_the_bucket() {
    let quantile = |measured: &[f64], q| {
        let recorder = MetricRecorder::new();
        let meter = recorder.provider("order").meter("test");
        let histogram = meter.f64_histogram("duration").with_boundaries(vec![10.0, 20.0, 40.0]).build();
        for value in measured {
            histogram.record(*value, &[]);
        }
        recorder.histogram("duration")[0].quantile(q)
    };
    // 100 measurements, evenly spread from 0.4 to 40: the estimate is the true value.
    let even: Vec<_> = (1..=100).map(|n| f64::from(n) * 0.4).collect();
    for q in [0.25, 0.5, 0.75, 0.9, 0.99] {
        let estimate = quantile(&even, q).unwrap();
        assert!((estimate - q * 40.0).abs() < 0.4, "{q}: {estimate}");
    }
    assert_eq!(quantile(&even, 0.0), Some(0.4), "never below the smallest");
    assert_eq!(quantile(&even, 1.0), Some(40.0));
    assert_eq!(quantile(&[100.0, 300.0], 0.5), Some(200.0), "the last bucket ends at the largest");
    assert_eq!(quantile(&[15.0], 0.99), Some(15.0), "one measurement is every quantile");
    assert_eq!(quantile(&[-5.0, -5.0], 0.5), Some(-5.0));
    assert_eq!(quantile(&[15.0], 1.5), None);
    assert_eq!(quantile(&[15.0], f64::NAN), None);
}

#[tokio::test]
async fn may_be_asked_on_a_runtime_of_one_thread() {
    let recorder = MetricRecorder::new();
    recorder.provider("order").meter("test").u64_counter("calls").build().add(1, &[]);
    assert_eq!(recorder.counter("calls").len(), 1);
}

// ===== Helpers =====

const TRACE: TraceId = TraceId::from_bytes([1; 16]);
const PARENT: SpanId = SpanId::from_bytes([2; 8]);

/// A span's start, in milliseconds.
struct At(u64);

impl At {
    fn start(
        self,
        tracer: &SdkTracer,
        name: &'static str,
        kind: SpanKind,
        parent: &Context,
    ) -> opentelemetry_sdk::trace::Span {
        let builder = tracer.span_builder(name).with_kind(kind).with_start_time(at(self.0));
        builder.start_with_context(tracer, parent)
    }
}

/// A tracer that gives its spans the trace id `TRACE` and ids counted from `first`.
fn with_ids(recorder: &SpanRecorder, service: &'static str, first: u64) -> SdkTracer {
    #[derive(Debug)]
    struct Ids(AtomicU64);
    impl IdGenerator for Ids {
        fn new_trace_id(&self) -> TraceId {
            TRACE
        }

        fn new_span_id(&self) -> SpanId {
            SpanId::from_bytes(self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes())
        }
    }
    let builder = SdkTracerProvider::builder().with_id_generator(Ids(first.into()));
    builder.with_simple_exporter(recorder.exporter(service)).build().tracer("test")
}

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

fn under(span: opentelemetry_sdk::trace::Span) -> Context {
    Context::new().with_span(span)
}

/// A parent in another process.
fn remote(flags: TraceFlags) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(TRACE, PARENT, flags, true, Default::default()))
}

/// A root with children that started one after the other.
fn siblings(names: &[&'static str]) -> SpanRecorder {
    let recorder = SpanRecorder::new();
    let tracer = recorder.provider("order").tracer("test");
    let root = under(At(0).start(&tracer, "root", SpanKind::Server, &Context::new()));
    for (start, name) in (1..).zip(names) {
        At(start).start(&tracer, name, SpanKind::Client, &root).end_with_timestamp(at(50));
    }
    root.span().end_with_timestamp(at(60));
    recorder
}

/// An order that is saved at the second attempt and published to another service.
fn orders() -> SpanRecorder {
    const SAVE: &str = "dapr.proto.runtime.v1.Dapr/SaveState";
    let recorder = SpanRecorder::new();
    let order = with_ids(&recorder, "order", 1);
    let shipping = with_ids(&recorder, "shipping", 100);
    let component = |name| KeyValue::new("dapr.component.name", name);

    let root = under(At(0).start(&order, "POST /orders", SpanKind::Server, &Context::new()));
    let save = under(At(4).start(&order, SAVE, SpanKind::Client, &root));
    save.span().set_attribute(component("statestore"));
    save.span().set_attribute(KeyValue::new("error.type", "UNAVAILABLE"));
    save.span().set_status(Status::error("no store"));
    for (start, micros) in [(5, 5_000), (15, 250)] {
        let mut attempt = At(start).start(&order, SAVE, SpanKind::Client, &save);
        attempt.set_attribute(component("statestore"));
        attempt.end_with_timestamp(at(start) + Duration::from_micros(micros));
    }
    save.span().end_with_timestamp(at(24));
    let publish = under(At(25).start(&order, "publish orders", SpanKind::Producer, &root));
    publish.span().set_attribute(component("pubsub"));
    let mut process = At(28).start(&shipping, "process orders", SpanKind::Consumer, &publish);
    process.set_attribute(component("pubsub"));
    process.add_link(publish.span().span_context().clone(), vec![]);
    process.end_with_timestamp(at(38));
    publish.span().end_with_timestamp(at(30));
    root.span().end_with_timestamp(at(40));
    recorder
}

fn orders_tree() -> SpanTree {
    let save = || span("dapr.proto.runtime.v1.Dapr/SaveState").client().attribute("dapr.component.name", "statestore");
    span("POST /orders").server().service("order").no_error().without_attribute("error.type").in_order().children([
        save().error().children([save().no_error(), save().no_error()]),
        span("publish orders")
            .producer()
            .child(span("process orders").consumer().service("shipping").linked_to("publish orders")),
    ])
}
