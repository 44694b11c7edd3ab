//! Every call of `tests/golden/calls.json`, made to a real daprd 1.18.2 and recorded, is made again; what the caller sees,
//! and what the app gets, must be the same. What is not is listed in [`DIFFERENCES`], each with its reason, and the list must
//! be exact.
//!
//! Not compared are ids, times, span ids (it was recorded with tracing, the embedded sidecar has none), the trace of a call
//! without a context (the recorded one began a trace; without tracing there are zeros, as in
//! `deliveries-no-tracing.jsonl`), etags, host names and ports, and the words of Redis' scripts.

mod app;
mod calls;
mod decoded;
mod recordings;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use dapr::dapr::proto::{
    common::v1::{HttpExtension, InvokeRequest, http_extension::Verb},
    runtime::v1::{InvokeServiceRequest, PublishEventRequest, SaveStateRequest},
};
use prost::Message;
use serde_json::{Value, json};

use self::{
    calls::{Call, calls, item},
    recordings::{delivery, pairs, recorded_deliveries, traces},
    replay::Replay,
};
use super::world::Backend;

super::tests![every_recorded_call_is_answered_and_delivered_as_then, without_tracing_the_context_passes_as_recorded,];

/// Call, what differs, why. Of the real one only what it says about its own set-up.
const DIFFERENCES: &[(Backend, &str, &str, &str)] = &[
    (Backend::Embedded, "state.save etag on missing", "code", IN_MEMORY),
    (Backend::Embedded, "state.save etag on missing", "message", IN_MEMORY),
    (Backend::Embedded, "state.save etag on missing", "details", IN_MEMORY),
    (
        Backend::Embedded,
        "state.save non-numeric etag",
        "code",
        "etags of the in-memory store are no numbers: another one is a mismatch",
    ),
    (Backend::Embedded, "state.save non-numeric etag", "message", "the same"),
    (Backend::Embedded, "state.save first-write no etag existing", "code", IN_MEMORY),
    (Backend::Embedded, "state.save first-write no etag existing", "message", IN_MEMORY),
    (Backend::Embedded, "state.save first-write no etag existing", "details", IN_MEMORY),
    (Backend::Embedded, "state.save bad ttl", "message", "the words of the in-memory store"),
    (Backend::Embedded, "state.get ttl", "body", "the in-memory store tells when a value expires"),
    (Backend::Embedded, "state.tx etag mismatch", "message", "the words of the in-memory store"),
    (Backend::Embedded, "state.query redis without search", "message", "the in-memory store cannot be queried at all"),
    (Backend::Embedded, "state.query redis without search", "details", "the same"),
    (Backend::Embedded, "workflow missing", "code", "there is no workflow engine"),
    (Backend::Embedded, "workflow missing", "message", "the same"),
    (Backend::Embedded, "metadata", "body", "other components"),
    (Backend::Real, "metadata", "body", "other components"),
];

const IN_MEMORY: &str = "state.redis ignores it, state.in-memory takes it for a mismatch";

async fn every_recorded_call_is_answered_and_delivered_as_then(backend: Backend) {
    let recorded: BTreeMap<String, Value> = serde_json::from_str(include_str!("../../golden/calls.json")).unwrap();
    let mut test = Replay::start(backend.builder()).await;
    let listed: BTreeSet<_> = DIFFERENCES
        .iter()
        .filter(|(on, ..)| *on == backend)
        .map(|(_, call, field, _)| ((*call).to_owned(), (*field).to_owned()))
        .collect();
    let mut different = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (name, call) in calls() {
        let record = &recorded[name];
        seen.insert(name.to_owned());
        let (expected, actual) = match call {
            Call::Grpc(message) => test.grpc(record, &message).await,
            Call::Http(body) => test.http(record, body).await,
        };
        let expected_code = expected["code"].clone();
        for (field, expected) in expected.as_object().unwrap() {
            // A failure has no body, which its code tells already.
            let is_told = field == "body" && actual["code"] != expected_code;
            if &actual[field] != expected && !is_told {
                let difference = (name.to_owned(), field.clone());
                if !listed.contains(&difference) {
                    eprintln!("{name}: {field}\n  recorded {expected}\n  answered {}", actual[field]);
                }
                different.insert(difference);
            }
        }
        if name == "state.save first-write no etag existing" && backend == Backend::Embedded {
            // The write that Redis took.
            let save = SaveStateRequest { store_name: "statestore".into(), states: vec![item("k1", "\"w\"")] };
            test.grpc(&json!({"rpc": "SaveState", "request_metadata": [], "initial": []}), &save.encode_to_vec()).await;
        }
    }
    assert_eq!(seen, recorded.keys().cloned().collect(), "each recorded call is made");
    assert_eq!(different, listed);

    // The dead letters last: another topic's events become some of its own.
    for topic in ["orders", "flaky", "drop", "raw", "dead", "routed", "bulk", "poison"] {
        test.world.settled("app-b", topic).await;
    }
    let (delivered, recorded) = (test.deliveries(), recorded_deliveries());
    assert_eq!(delivered.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    for (path, recorded) in recorded {
        assert_eq!(delivered[&path], recorded, "{path}");
    }
}

/// What was recorded without tracing: there the trace context is compared to the letter.
async fn without_tracing_the_context_passes_as_recorded(backend: Backend) {
    const P: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut test = Replay::start(backend.builder().without_tracing()).await;
    test.seen.recv().await.unwrap();
    test.seen.recv().await.unwrap();
    let mut dapr = test.app_b.dapr().raw();
    let records = include_str!("../../golden/deliveries-no-tracing.jsonl").lines();
    for (index, line) in records.enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        let parent = (index >= 2).then(|| P.parse().unwrap());
        if record["p"] == "/orders" {
            let mut request = tonic::Request::new(PublishEventRequest {
                pubsub_name: "pubsub".into(),
                topic: "orders".into(),
                data: b"{\"modeA\":1}".to_vec(),
                data_content_type: "application/json".into(),
                ..Default::default()
            });
            parent.map(|parent| request.metadata_mut().insert("traceparent", parent));
            dapr.publish_event(request).await.unwrap();
        } else {
            let http_extension = Some(HttpExtension { verb: Verb::Post.into(), ..Default::default() });
            let message = InvokeRequest { method: "echo/modea".into(), http_extension, ..Default::default() };
            let mut request = tonic::Request::new(InvokeServiceRequest { id: "app-b".into(), message: Some(message) });
            parent.map(|parent| request.metadata_mut().insert("traceparent", parent));
            dapr.invoke_service(request).await.unwrap();
        }
        let headers = pairs(&record["h"]);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (method, path) = (record["m"].as_str().unwrap(), record["p"].as_str().unwrap());
        let body = record["b"].as_str().unwrap();
        let (mut seen, seen_traces) = test.seen.recv().await.unwrap();
        assert_eq!(seen_traces, traces(headers.clone(), body), "{line}");
        // The recording client had other encodings, and its answers no authority of ours.
        let mut expected = delivery(method, path, headers, body);
        for one in [&mut seen, &mut expected] {
            one["headers"].as_object_mut().unwrap().remove("dapr-grpc-accept-encoding");
            one["body"].as_object_mut().map(|body| body.remove("source"));
        }
        assert_eq!(seen, expected, "{line}");
    }
}
