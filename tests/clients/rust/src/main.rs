//! Drives the sidecar with the client and the app of crate `dapr`. Started by run.sh.

mod app;
mod report;

use std::collections::HashMap;
use std::env;
use std::time::{Duration, Instant};

use dapr::Client;
use dapr::client::{JobBuilder, JobFailurePolicyBuilder, JobFailurePolicyType, TonicClientWithAuth};
use dapr::dapr::proto::common::v1::{Etag, StateItem, StateOptions, state_options::StateConcurrency};

use crate::app::Seen;
use crate::report::{Outcome, Report, ensure, eventually, fails, same, set_item};

type Dapr = Client<TonicClientWithAuth>;

const STORE: &str = "statestore";
const NO_METADATA: Option<HashMap<String, String>> = None;

#[tokio::main]
async fn main() {
    let mut seen = app::start().await;
    let mut dapr = ready().await;
    let mut report = Report::new("rust");
    let dapr = &mut dapr;
    report.add("values", "save, get, delete, absent", values(dapr).await);
    report.add("etags", "a stale etag is refused; first write wins", etags(dapr).await);
    report.add("bulk", "several saved at once, with a ttl", bulk(dapr).await);
    report.add("pubsub", "publish, what arrives at the app, overrides, an unknown component", pubsub(dapr, &mut seen).await);
    report.add("secrets", "of the environment and of a file, one and all", secrets(dapr).await);
    report.add("configuration", "read, and watched while it changes outside", configuration(dapr).await);
    report.add("bindings", "local storage: create, get, delete", bindings(dapr).await);
    report.add("metadata", "id, components, what the app adds", metadata(dapr).await);
    if env::var("NO_SCHEDULER").is_err() {
        report.add("jobs", "scheduled, called back, read, listed, deleted", jobs(dapr, &mut seen).await);
    }
    report.known("invoke", "the SDK's app panics in OnInvoke, ListInputBindings and OnBindingEvent (todo!)");
    report.known("delete_bulk_state, locks, transactions, streaming", "the SDK has no call for them, or none that daprd has");
    report.end();
}

/// The client connects when it is made. It has no call for the health, which is what `ready` of the others asks for.
async fn ready() -> Dapr {
    eventually(async || Client::new().await.is_ok()).await.expect("a sidecar");
    let mut dapr = Client::new().await.expect("it was there");
    let subscribed = async || dapr.get_metadata().await.is_ok_and(|got| !got.subscriptions.is_empty());
    eventually(subscribed).await.expect("subscriptions");
    dapr
}

async fn values(dapr: &mut Dapr) -> Outcome {
    same(dapr.get_state(STORE, "none", None).await?.data, Vec::new())?;
    dapr.save_state(STORE, "k", b"v".to_vec(), None, None, None).await?;
    same(dapr.get_state(STORE, "k", None).await?.data, b"v".to_vec())?;
    dapr.delete_state(STORE, "k", None).await?;
    same(dapr.get_state(STORE, "k", None).await?.data, Vec::new())?;
    fails(dapr.get_state("nope", "k", None).await, "state store nope is not found")
}

async fn etags(dapr: &mut Dapr) -> Outcome {
    let first_write = || Some(StateOptions { concurrency: StateConcurrency::ConcurrencyFirstWrite.into(), ..Default::default() });
    dapr.save_state(STORE, "e", b"1".to_vec(), None, None, None).await?;
    let etag = Some(Etag { value: dapr.get_state(STORE, "e", None).await?.etag });
    let stale = Some(Etag { value: "999".to_owned() });
    fails(dapr.save_state(STORE, "e", b"2".to_vec(), stale, None, first_write()).await, "etag mismatch")?;
    fails(dapr.save_state(STORE, "e", b"2".to_vec(), None, None, first_write()).await, "etag mismatch")?;
    dapr.save_state(STORE, "e", b"2".to_vec(), etag, None, first_write()).await?;
    dapr.delete_state(STORE, "e", None).await?;
    Ok(())
}

async fn bulk(dapr: &mut Dapr) -> Outcome {
    let item = |key: &str, ttl: &str| StateItem {
        key: key.to_owned(),
        value: b"v".to_vec(),
        metadata: HashMap::from([("ttlInSeconds".to_owned(), ttl.to_owned())]),
        ..Default::default()
    };
    let start = Instant::now();
    dapr.save_bulk_states(STORE, vec![item("short", "1"), item("long", "100")]).await?;
    let got = dapr.get_state(STORE, "short", None).await?.data;
    // A busy machine may be too late to see it.
    if start.elapsed() < Duration::from_secs(1) {
        same(got, b"v".to_vec())?;
    }
    eventually(async || dapr.get_state(STORE, "short", None).await.is_ok_and(|got| got.data.is_empty())).await?;
    same(dapr.get_state(STORE, "long", None).await?.data, b"v".to_vec())
}

async fn pubsub(dapr: &mut Dapr, seen: &mut Seen) -> Outcome {
    dapr.publish_event("pubsub", "orders", "application/json", br#"{"n":1}"#.to_vec(), None).await?;
    let event = seen.event().await?;
    same(event.data.as_slice(), br#"{"n":1}"#.as_slice())?;
    same((event.source, event.r#type), (env::var("APP_ID")?, "com.dapr.event.sent".to_owned()))?;
    let own = HashMap::from([("cloudevent.id".to_owned(), "mine".to_owned())]);
    dapr.publish_event("pubsub", "orders", "text/plain", b"text".to_vec(), Some(own)).await?;
    let event = seen.event().await?;
    same((event.id.as_str(), event.data_content_type.as_str()), ("mine", "text/plain"))?;
    let refused = dapr.publish_event("nope", "t", "text/plain", b"x".to_vec(), None).await;
    fails(refused, "pubsub nope is not found")
}

async fn secrets(dapr: &mut Dapr) -> Outcome {
    let secret = dapr.get_secret("envsecrets", "CLIENT_SECRET").await?;
    same(secret.data.get("CLIENT_SECRET").map(String::as_str), Some("from the environment"))?;
    let all = dapr.get_bulk_secret("filesecrets", None).await?;
    let mut names: Vec<_> = all.data.keys().map(String::as_str).collect();
    names.sort_unstable();
    same(names, vec!["db:user", "plain"])?;
    fails(dapr.get_secret("nope", "k").await, "nope")
}

async fn configuration(dapr: &mut Dapr) -> Outcome {
    set_item("colour", "blue")?;
    is_colour(dapr, "blue").await?;
    let mut changes = dapr.subscribe_configuration("configstore", vec!["colour"], None).await?;
    let id = changes.message().await?.ok_or("no id")?.id;
    set_item("colour", "red")?;
    let change = tokio::time::timeout(report::PATIENCE, changes.message()).await??.ok_or("it ended")?;
    same(change.items.get("colour").map(|item| item.value.as_str()), Some("red"))?;
    ensure(dapr.unsubscribe_configuration("configstore", id.as_str()).await?.ok, "unsubscribed")
}

async fn is_colour(dapr: &mut Dapr, colour: &str) -> Outcome {
    let read = async || {
        let got = dapr.get_configuration("configstore", vec!["colour"], NO_METADATA).await;
        got.is_ok_and(|got| got.items.get("colour").is_some_and(|item| item.value == colour))
    };
    eventually(read).await
}

async fn bindings(dapr: &mut Dapr) -> Outcome {
    let file = || Some(HashMap::from([("fileName".to_owned(), "rust.txt".to_owned())]));
    dapr.invoke_binding("files", b"content".to_vec(), "create", file()).await?;
    same(dapr.invoke_binding("files", Vec::new(), "get", file()).await?.data, b"content".to_vec())?;
    dapr.invoke_binding("files", Vec::new(), "delete", file()).await?;
    fails(dapr.invoke_binding("files", Vec::new(), "get", file()).await, "rust.txt")
}

async fn metadata(dapr: &mut Dapr) -> Outcome {
    dapr.set_metadata("k", "v").await?;
    let got = dapr.get_metadata().await?;
    same(got.id, env::var("APP_ID")?)?;
    same(got.extended_metadata.get("k").map(String::as_str), Some("v"))?;
    ensure(got.registered_components.iter().any(|one| one.name == STORE), "the state store is listed")
}

async fn jobs(dapr: &mut Dapr, seen: &mut Seen) -> Outcome {
    let data = || prost_types::Any { type_url: String::new(), value: br#"{"j":1}"#.to_vec() };
    dapr.schedule_job(JobBuilder::new("once").with_due_time("0s").with_data(data()).build(), None).await?;
    same(seen.job().await?, "once".to_owned())?;
    let policy = JobFailurePolicyBuilder::new(JobFailurePolicyType::Constant {}).with_max_retries(2);
    let later = || JobBuilder::new("later").with_schedule("@every 1h").with_repeats(3);
    dapr.schedule_job(later().with_failure_policy(policy.build()).build(), None).await?;
    let job = dapr.get_job("later").await?.job.ok_or("no job")?;
    same((job.name.as_str(), job.schedule.as_deref(), job.repeats), ("later", Some("@every 1h"), Some(3)))?;
    fails(dapr.schedule_job(later().build(), None).await, "already exists")?;
    dapr.schedule_job(later().build(), Some(true)).await?;
    dapr.delete_job("later").await?;
    fails(dapr.get_job("later").await, "later")
}
