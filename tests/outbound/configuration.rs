use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use dapr::dapr::proto::{
    common::v1::ConfigurationItem as Item,
    runtime::v1::{
        GetConfigurationRequest, GetConfigurationResponse, SubscribeConfigurationRequest,
        SubscribeConfigurationResponse as Update,
    },
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Service, service_fn};
use tower_dapr::outbound::{ConfigurationItems, Dapr};

use crate::dapr_server::{Answer, DaprServer};

fn item(value: &str) -> [(String, Item); 1] {
    [("limit".to_owned(), Item { value: value.to_owned(), version: "1".to_owned(), ..Item::default() })]
}

fn current(value: &str) -> Answer {
    Answer::message(&GetConfigurationResponse { items: item(value).into() })
}

/// What daprd sends first, then these values.
fn updates(id: &str, values: &[&str]) -> Answer {
    let update = |value: &&str| Update { id: id.to_owned(), items: item(value).into() };
    let first = Update { id: id.to_owned(), ..Update::default() };
    Answer::messages(&[first].into_iter().chain(values.iter().map(update)).collect::<Vec<_>>())
}

fn limit(items: &ConfigurationItems) -> &str {
    &items["limit"].value
}

#[tokio::test]
async fn items_come_by_key() {
    let server = DaprServer::default();
    server.answer("GetConfiguration", current("5"));
    let items = server.dapr().configuration("settings").metadata("a", "b").get(["limit"]).await.unwrap();
    assert_eq!((limit(&items), items["limit"].version.as_str()), ("5", "1"));
    let request: GetConfigurationRequest = server.one("GetConfiguration");
    assert_eq!((request.store_name.as_str(), &request.keys[..]), ("settings", &["limit".to_owned()][..]));
    assert_eq!(request.metadata["a"], "b");
}

#[tokio::test(start_paused = true)]
async fn the_stream_tells_what_is_and_then_what_changes() {
    let server = DaprServer::default();
    server.answer("SubscribeConfiguration", updates("s1", &["6", "7"]).then_hang());
    server.answer("GetConfiguration", current("5"));
    let mut stream = server.dapr().configuration("settings").subscribe(["limit"]);
    assert!(server.rpcs().is_empty(), "nothing before it is polled");
    for expected in ["5", "6", "7"] {
        assert_eq!(limit(&stream.next().await.unwrap().unwrap()), expected);
    }
    let request: SubscribeConfigurationRequest = server.one("SubscribeConfiguration");
    assert_eq!((request.store_name.as_str(), request.keys.len()), ("settings", 1));
    assert_eq!(server.rpcs(), ["SubscribeConfiguration", "GetConfiguration"], "in this order nothing is missed");
}

#[tokio::test(start_paused = true)]
async fn the_stream_subscribes_again_and_tells_what_is_then() {
    let server = DaprServer::default();
    server.answer("SubscribeConfiguration", Answer::error(Code::Unavailable, "not up yet"));
    server.answer("SubscribeConfiguration", updates("s1", &["6"]).then_error(Code::Unavailable));
    server.answer("SubscribeConfiguration", Answer::error(Code::Unavailable, "still away"));
    server.answer("SubscribeConfiguration", updates("s2", &["9"]));
    server.answer("SubscribeConfiguration", updates("s3", &[]).then_hang());
    for value in ["5", "8", "10"] {
        server.answer("GetConfiguration", current(value));
    }
    let mut stream = server.dapr().configuration("settings").subscribe(["limit"]);
    for expected in ["5", "6", "8", "9", "10"] {
        assert_eq!(limit(&stream.next().await.unwrap().unwrap()), expected);
    }
    assert_eq!(server.seen("SubscribeConfiguration").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_cuts_its_call() {
    let call = Arc::new(());
    let server = DaprServer::default();
    server.answer("SubscribeConfiguration", updates("s1", &[]).then_hang().held_by(&call));
    server.answer("GetConfiguration", current("5"));
    let mut stream = server.dapr().configuration("settings").subscribe(["limit"]);
    stream.next().await.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&call), 2);
    drop(stream);
    assert_eq!(Arc::strong_count(&call), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_stays_ends_the_stream() {
    for code in [Code::InvalidArgument, Code::PermissionDenied, Code::Unknown] {
        let server = DaprServer::default();
        server.answer("SubscribeConfiguration", Answer::error(code, "no such store"));
        let mut stream = server.dapr().configuration("settings").subscribe(["limit"]);
        assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Some(code));
        assert!(stream.next().await.is_none());
    }
    let mut nameless = DaprServer::default().dapr().configuration("").subscribe(["limit"]);
    assert!(nameless.next().await.unwrap().unwrap_err().is_invalid());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_is_asked_again() {
    let details = ErrorDetails::with_error_info("ERR_CONFIGURATION_SUBSCRIBE", "dapr.io", []);
    let away = || Answer::status(Status::with_error_details(Code::InvalidArgument, "redis is gone", details.clone()));
    let server = DaprServer::default();
    server.answer("SubscribeConfiguration", updates("s1", &[])).answer("SubscribeConfiguration", away());
    server.answer("SubscribeConfiguration", updates("s2", &[]).then_hang());
    server.answer("GetConfiguration", current("5")).answer("GetConfiguration", current("6"));
    let mut stream = server.dapr().configuration("settings").subscribe(["limit"]);
    assert_eq!(limit(&stream.next().await.unwrap().unwrap()), "5");
    assert_eq!(limit(&stream.next().await.unwrap().unwrap()), "6");

    let server = DaprServer::default();
    server.answer("SubscribeConfiguration", away());
    let mut stream = server.dapr().configuration("settings").subscribe(["limit"]);
    assert!(stream.next().await.unwrap().is_err(), "of a store that never worked it is an answer");
}

/// tonic says UNKNOWN to that, as an old daprd does to a call that it does not have.
#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_no_refusal() {
    let server = DaprServer::default();
    server.answer("SubscribeConfiguration", updates("s1", &[]).then_hang());
    server.answer("GetConfiguration", current("5"));
    let (inner, is_up) = (server.clone(), Arc::new(AtomicBool::new(false)));
    let dapr = Dapr::new(service_fn(move |request| {
        let (mut inner, is_up) = (inner.clone(), is_up.swap(true, SeqCst));
        async move {
            if !is_up {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            inner.call(request).await.map_err(|never| match never {})
        }
    }));
    let mut stream = dapr.configuration("settings").subscribe(["limit"]);
    assert_eq!(limit(&stream.next().await.unwrap().unwrap()), "5");
}
