//! Actors: called by anyone, with state, reminders and timers of their own.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, put},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::Code;
use tower_dapr::outbound::Dapr;

use super::world::{Backend, Beside, World};
use crate::real::{App, Log};

super::tests![
    an_actor_is_called_and_keeps_its_state,
    calls_of_one_actor_take_turns,
    a_reminder_and_a_timer_wake_an_actor,
    what_no_app_hosts_is_refused,
];

async fn an_actor_is_called_and_keeps_its_state(backend: Backend) {
    let Test { caller, host, .. } = &Test::start(backend).await;
    let alice = caller.dapr().actor("Cart", "alice");
    assert_eq!(alice.invoke("add").json(&2).await.unwrap().json::<u32>().unwrap(), 2);
    assert_eq!(alice.invoke("add").json(&3).await.unwrap().json::<u32>().unwrap(), 5);
    // Another one has another state.
    assert_eq!(caller.dapr().actor("Cart", "bob").invoke("add").json(&1).await.unwrap().json::<u32>().unwrap(), 1);

    let own = host.dapr().actor("Cart", "alice");
    assert_eq!(own.state::<u32>("sum").await.unwrap(), Some(5));
    assert_eq!(own.state::<u32>("none").await.unwrap(), None);
    own.transaction().save("sum", &7_u32).save("more", &1_u32).await.unwrap();
    own.transaction().delete("more").await.unwrap();
    assert_eq!((own.state::<u32>("sum").await.unwrap(), own.state::<u32>("more").await.unwrap()), (Some(7), None));
    assert_eq!(alice.invoke("add").json(&1).await.unwrap().json::<u32>().unwrap(), 8);

    let error = alice.invoke("fail").await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Internal), "{}", error.message());
    let error = alice.invoke("no-such-method").await.unwrap_err();
    assert!(error.code().is_some(), "{error}");
}

async fn calls_of_one_actor_take_turns(backend: Backend) {
    let Test { caller, log, gate, .. } = &Test::start(backend).await;
    let dapr = caller.dapr();
    let slow = |id: &str| {
        let call = dapr.actor("Cart", id).invoke("slow");
        async move { call.await.unwrap() }
    };
    let calls = async { tokio::join!(slow("one"), slow("one"), slow("two")) };
    let turns = async {
        // Two actors at a time, but of one actor one call.
        let entered = log.until("two have entered", |log| log.len() == 2).await;
        assert!(entered.contains(&"enter one".to_owned()) && entered.contains(&"enter two".to_owned()), "{entered:?}");
        gate.send_replace(true);
    };
    tokio::join!(calls, turns);
    let of_one: Vec<_> = log.all().into_iter().filter(|entry| entry.ends_with("one")).collect();
    assert_eq!(of_one, ["enter one", "leave one", "enter one", "leave one"]);
}

async fn a_reminder_and_a_timer_wake_an_actor(backend: Backend) {
    let Test { caller, host, log, .. } = &Test::start(backend).await;
    caller.dapr().actor("Cart", "alice").invoke("add").json(&1).await.unwrap();
    let alice = host.dapr().actor("Cart", "alice");
    alice.register_reminder("wake").due(Duration::ZERO).period(Duration::from_secs(1)).json(&"up").await.unwrap();
    alice.register_timer("tick").due(Duration::ZERO).period(Duration::from_secs(1)).json(&"tock").await.unwrap();
    let count = |log: &[String], what: &str| log.iter().filter(|entry| *entry == what).count();
    let both = |log: &[String]| count(log, "remind wake \"up\"") >= 2 && count(log, "timer tick \"tock\"") >= 2;
    log.until("two of each", both).await;

    let reminder = alice.reminder("wake").await.unwrap().expect("it is registered");
    assert_eq!((reminder.name(), reminder.json::<String>().unwrap().as_str()), ("wake", "up"));
    assert_eq!(alice.reminders().await.unwrap().len(), 1);
    alice.unregister_reminder("wake").await.unwrap();
    alice.unregister_timer("tick").await.unwrap();
    assert!(alice.reminder("wake").await.unwrap().is_none());
    assert!(alice.reminders().await.unwrap().is_empty());
    // Who does not host the actor may not have it woken.
    let error = caller.dapr().actor("Cart", "alice").register_reminder("wake").due(Duration::ZERO).await.unwrap_err();
    assert!(error.is_permission_denied(), "{error}: {}", error.message());
}

async fn what_no_app_hosts_is_refused(backend: Backend) {
    let Test { caller, .. } = &Test::start(backend).await;
    let error = caller.dapr().actor("Nobody", "1").invoke("add").await.unwrap_err();
    assert_eq!(error.code(), Some(Code::FailedPrecondition), "{}", error.message());
}

// ===== helpers =====

struct Test {
    caller: Beside,
    host: Beside,
    /// What the actors did.
    log: Log<String>,
    /// `slow` waits until it is open.
    gate: watch::Sender<bool>,
    _app: App,
    _world: World,
}

impl Test {
    async fn start(backend: Backend) -> Self {
        let world = backend.builder().control_plane().start().await;
        let (log, gate) = (Log::<String>::default(), watch::Sender::new(false));
        let (dapr, of_host) = watch::channel(None);
        let app = App::serve(cart(Cart { log: log.clone(), gate: gate.clone(), dapr: of_host })).await;
        let host = world.app("host").http(&app).start().await;
        dapr.send_replace(Some(host.dapr()));
        let caller = world.app("caller").start().await;
        Self { caller, host, log, gate, _app: app, _world: world }
    }
}

#[derive(Clone)]
struct Cart {
    log: Log<String>,
    gate: watch::Sender<bool>,
    /// The host's own handle, once its sidecar is there.
    dapr: watch::Receiver<Option<Dapr>>,
}

/// An app that hosts actors of type `Cart`.
fn cart(state: Cart) -> Router {
    let note = async |State(cart): State<Cart>,
                      Path((_, kind, name)): Path<(String, String, String)>,
                      Json(body): Json<Value>| {
        // Bytes, in JSON.
        let data = BASE64_STANDARD.decode(body["data"].as_str().unwrap()).unwrap();
        cart.log.push(format!("{kind} {name} {}", String::from_utf8(data).unwrap()));
        StatusCode::OK
    };
    Router::new()
        .route("/healthz", get(async || ()))
        .route("/dapr/config", get(async || Json(json!({ "entities": ["Cart"] }))))
        .route("/actors/Cart/{id}", delete(async || ()))
        .route("/actors/Cart/{id}/method/{method}", put(called))
        .route("/actors/Cart/{id}/method/{kind}/{name}", put(note))
        .with_state(state)
}

async fn called(State(mut cart): State<Cart>, Path((id, method)): Path<(String, String)>, body: Bytes) -> Response {
    match method.as_str() {
        "add" => {
            let dapr = cart.dapr.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            let actor = dapr.actor("Cart", &id);
            let more: u32 = serde_json::from_slice(&body).unwrap();
            let sum = actor.state::<u32>("sum").await.unwrap().unwrap_or_default() + more;
            actor.transaction().save("sum", &sum).await.unwrap();
            Json(sum).into_response()
        }
        "slow" => {
            cart.log.push(format!("enter {id}"));
            cart.gate.subscribe().wait_for(|is_open| *is_open).await.unwrap();
            cart.log.push(format!("leave {id}"));
            StatusCode::OK.into_response()
        }
        "fail" => (StatusCode::INTERNAL_SERVER_ERROR, "it broke").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
