//! Nothing shows a value, a key, a header or a token.

use std::{error::Error as StdError, fmt::Debug, time::Duration};

use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{ConfigurationItem, InvokeResponse},
    runtime::v1::{
        GetActorReminderResponse, GetConfigurationResponse, GetJobResponse, GetSecretResponse, GetStateResponse,
        GetWorkflowResponse, InvokeActorResponse, InvokeBindingResponse, Job, QueryStateItem, QueryStateResponse,
        SubscribeConfigurationResponse, TryLockResponse,
    },
};
use http::{HeaderName, HeaderValue};
use prost_types::Any;
use tonic::{Code, Status, metadata::MetadataMap};
use tower_dapr::outbound::{ApiToken, ApiTokenLayer, Dapr, Endpoint};

use crate::{
    dapr_server::{Answer, DaprServer},
    map,
};

const SECRET: &str = "s3cret";

fn hidden(shown: &impl Debug) {
    let (short, long) = (format!("{shown:?}"), format!("{shown:#?}"));
    assert!(!short.contains(SECRET) && !long.contains(SECRET), "{short}");
    assert!(!short.is_empty());
}

fn secret() -> Vec<u8> {
    format!("{SECRET:?}").into_bytes()
}

fn any() -> Option<Any> {
    Some(Any { type_url: String::new(), value: secret() })
}

#[tokio::test]
async fn requests_hide_what_they_carry() {
    let dapr = DaprServer::default().dapr();
    hidden(&dapr);
    let state = dapr.state("shelf");
    hidden(&state.get::<String>(SECRET).metadata(SECRET, SECRET));
    hidden(&state.get_bulk::<String>([SECRET]));
    hidden(&state.save(SECRET, SECRET).metadata("k", SECRET));
    hidden(&state.delete(SECRET).metadata("k", SECRET));
    hidden(&state.transaction().with(state.save(SECRET, SECRET)).with(state.delete(SECRET)).metadata("k", SECRET));
    hidden(&state.query::<String>(SECRET));
    let topic = dapr.publish("bus", "orders");
    hidden(&topic.json(SECRET).metadata("k", SECRET).subject(SECRET));
    hidden(&topic.bulk([topic.json(SECRET), topic.cloud_event(SECRET)]).metadata("k", SECRET));
    let (name, value) = (HeaderName::from_static("authorization"), HeaderValue::from_static(SECRET));
    hidden(&dapr.invoke("app").post(SECRET).json(SECRET).query("k", SECRET).header(name, value));
    hidden(&dapr.binding("b").invoke("create").json(SECRET).metadata("k", SECRET));
    hidden(&dapr.secrets("vault").get(SECRET).metadata("k", SECRET));
    hidden(&dapr.secrets("vault").get_bulk().metadata("k", SECRET));
    hidden(&dapr.configuration("c").metadata("k", SECRET));
    hidden(&dapr.configuration("c").subscribe([SECRET]));
    let actor = dapr.actor("Cart", "alice");
    hidden(&actor.invoke("add").json(SECRET).metadata("k", SECRET));
    hidden(&actor.transaction().save(SECRET, SECRET));
    hidden(&actor.register_reminder("r").json(SECRET));
    hidden(&actor.register_timer("t").json(SECRET));
    hidden(&dapr.lock("l").try_lock(SECRET, Duration::from_secs(1)));
    hidden(&dapr.jobs().schedule("j").json(SECRET));
    hidden(&dapr.workflows().start("w").json(SECRET));
    let crypto = dapr.crypto("c");
    hidden(&crypto.encrypt(SECRET, "RSA"));
    hidden(&crypto.decrypt().key(SECRET));
    let input = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(SECRET))]);
    hidden(&crypto.decrypt().stream(input));
    hidden(&ApiToken::new(SECRET).unwrap());
    hidden(&ApiTokenLayer::new(Some(ApiToken::new(SECRET).unwrap())));
    hidden(&Dapr::builder().api_token(ApiToken::new(SECRET).unwrap()).endpoint(Endpoint::local(1)));
}

#[tokio::test]
async fn answers_hide_what_they_carry() {
    let server = DaprServer::default();
    let state = GetStateResponse { data: secret(), etag: "1".into(), metadata: map([("k", SECRET)]) };
    let found = QueryStateItem { key: SECRET.into(), data: secret(), etag: "1".into(), error: String::new() };
    let item = || ConfigurationItem { value: SECRET.into(), metadata: map([("k", SECRET)]), ..Default::default() };
    let job = Job { name: "j".into(), data: any(), ..Job::default() };
    let workflow = GetWorkflowResponse {
        workflow_name: "w".into(),
        properties: map([("output", SECRET)]),
        ..GetWorkflowResponse::default()
    };
    let subscribed = SubscribeConfigurationResponse { id: "1".into(), ..Default::default() };
    server
        .answer("GetState", Answer::message(&state))
        .answer("QueryStateAlpha1", Answer::message(&QueryStateResponse { results: vec![found], ..Default::default() }))
        .answer(
            "InvokeService",
            Answer::message(&InvokeResponse { data: any(), ..Default::default() }).head("x", SECRET),
        )
        .answer(
            "InvokeBinding",
            Answer::message(&InvokeBindingResponse { data: secret(), metadata: map([("k", SECRET)]) }),
        )
        .answer("GetSecret", Answer::message(&GetSecretResponse { data: map([("token", SECRET)]) }))
        .answer("SubscribeConfiguration", Answer::message(&subscribed).then_hang())
        .answer("GetConfiguration", Answer::message(&GetConfigurationResponse { items: [("k".into(), item())].into() }))
        .answer("InvokeActor", Answer::message(&InvokeActorResponse { data: secret() }))
        .answer("GetActorReminder", Answer::message(&GetActorReminderResponse { data: any(), ..Default::default() }))
        .answer("TryLockAlpha1", Answer::message(&TryLockResponse { success: true }))
        .answer("GetJob", Answer::message(&GetJobResponse { job: Some(job) }))
        .answer("GetWorkflowBeta1", Answer::message(&workflow));
    let dapr = server.dapr();

    let entry = dapr.state("shelf").get::<String>(SECRET).await.unwrap().unwrap();
    assert_eq!(entry.value, SECRET);
    hidden(&entry);
    let page = dapr.state("shelf").query::<String>("").await.unwrap();
    hidden(&page);
    hidden(&page.entries[0]);
    hidden(&dapr.invoke("app").get("a").await.unwrap());
    hidden(&dapr.binding("b").invoke("get").await.unwrap());
    hidden(&dapr.secrets("vault").get("token").await.unwrap());
    let mut items = dapr.configuration("c").subscribe(["k"]);
    hidden(&items.next().await.unwrap().unwrap());
    hidden(&items);
    hidden(&dapr.actor("Cart", "alice").invoke("add").await.unwrap());
    hidden(&dapr.actor("Cart", "alice").reminder("r").await.unwrap());
    hidden(&dapr.lock("l").try_lock(SECRET, Duration::from_secs(1)).await.unwrap());
    hidden(&dapr.jobs().get("j").await.unwrap());
    hidden(&dapr.workflows().get("w").await.unwrap());
}

#[tokio::test]
async fn errors_and_their_sources_hide_values() {
    let server = DaprServer::default();
    let state = GetStateResponse { data: secret(), etag: "1".into(), ..GetStateResponse::default() };
    let mut metadata = MetadataMap::new();
    metadata.insert("set-cookie", SECRET.parse().unwrap());
    server
        .answer("GetState", Answer::message(&state))
        .answer("GetState", Answer::status(Status::with_metadata(Code::Internal, "failed", metadata)));
    let shelf = server.dapr().state("shelf");
    let decode = shelf.get::<u32>(SECRET).await.unwrap_err();
    let status = shelf.get::<u32>(SECRET).await.unwrap_err();
    let encode = shelf.save(SECRET, &Unwritable).await.unwrap_err();
    assert!(decode.is_decode() && encode.is_invalid() && status.code() == Some(Code::Internal));
    for error in [decode, status, encode] {
        hidden(&error);
        let mut next: Option<&dyn StdError> = Some(&error);
        while let Some(error) = next {
            assert!(!error.to_string().contains(SECRET), "{error}");
            next = error.source();
        }
    }
}

struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(format!("cannot write {SECRET}")))
    }
}
