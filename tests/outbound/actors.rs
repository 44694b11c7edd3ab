use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{
    ActorReminder, ExecuteActorStateTransactionRequest, GetActorReminderResponse, GetActorStateResponse,
    InvokeActorRequest, InvokeActorResponse, ListActorRemindersResponse, NamedActorReminder,
    RegisterActorReminderRequest, RegisterActorTimerRequest, UnregisterActorReminderRequest,
};
use prost_types::Any;
use tonic::Code;
use tower_dapr::outbound::{Actor, FailurePolicy};

use crate::{
    dapr_server::{Answer, DaprServer},
    map,
};

fn cart(server: &DaprServer) -> Actor {
    server.dapr().actor("Cart", "alice")
}

#[tokio::test]
async fn an_actor_is_called_by_type_and_id() {
    let server = DaprServer::default();
    server.answer("InvokeActor", Answer::message(&InvokeActorResponse { data: b"3".into() }));
    let answer = cart(&server).invoke("add").json(&"tea").metadata("a", "b").await.unwrap();
    assert_eq!(answer.json::<u32>().unwrap(), 3);
    let expected = InvokeActorRequest {
        actor_type: "Cart".into(),
        actor_id: "alice".into(),
        method: "add".into(),
        data: b"\"tea\"".into(),
        metadata: map([("a", "b")]),
    };
    assert_eq!(server.one::<InvokeActorRequest>("InvokeActor"), expected);
    assert!(server.dapr().actor("Cart", "").invoke("add").await.unwrap_err().is_invalid());
    assert!(server.dapr().actor("", "alice").invoke("add").await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn state_is_read_and_written_in_one_piece() {
    let server = DaprServer::default();
    let answer = GetActorStateResponse { data: b"3".into(), ..GetActorStateResponse::default() };
    server.answer("GetActorState", Answer::message(&answer));
    assert_eq!(cart(&server).state::<u32>("items").await.unwrap(), Some(3));
    assert_eq!(cart(&server).state::<u32>("items").await.unwrap(), None);

    let ttl = Duration::from_millis(1_500);
    cart(&server).transaction().save("items", &4).save_for("offer", &"tea", ttl).delete("old").await.unwrap();
    let request: ExecuteActorStateTransactionRequest = server.one("ExecuteActorStateTransaction");
    let kinds: Vec<_> = request.operations.iter().map(|operation| operation.operation_type.as_str()).collect();
    assert_eq!(kinds, ["upsert", "upsert", "delete"]);
    assert_eq!(request.operations[0].value.as_ref().unwrap().value, b"4");
    assert_eq!(request.operations[1].metadata, map([("ttlInSeconds", "2")]));
    assert_eq!(request.operations[2].value, None);
    assert!(cart(&server).transaction().save_for("a", &1, Duration::ZERO).await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn reminders_are_registered_read_and_forgotten() {
    let server = DaprServer::default();
    let reminder = cart(&server).register_reminder("checkout").due(Duration::from_secs(60)).period("R3/PT1H");
    let policy = FailurePolicy::Constant { interval: Duration::from_secs(1), max_retries: Some(2) };
    reminder.ttl("1h").json(&"tea").overwrite(false).on_failure(policy).await.unwrap();
    let request: RegisterActorReminderRequest = server.one("RegisterActorReminder");
    assert_eq!((request.actor_type.as_str(), request.actor_id.as_str()), ("Cart", "alice"));
    assert_eq!(
        (request.due_time.as_str(), request.period.as_str(), request.ttl.as_str()),
        ("60000ms", "R3/PT1H", "1h")
    );
    assert_eq!((request.overwrite, &request.data[..]), (Some(false), &b"\"tea\""[..]));
    assert_eq!(request.failure_policy, Some(policy.into()));

    // As daprd 1.18 answers: bytes, of a JSON string, of base64.
    let type_url = "type.googleapis.com/google.protobuf.BytesValue".to_owned();
    let data = Some(Any { type_url, value: b"\n\n\"InRlYSI=\"".into() });
    let found = GetActorReminderResponse { due_time: Some("1m".into()), data: data.clone(), ..Default::default() };
    server.answer("GetActorReminder", Answer::message(&found));
    server.answer("GetActorReminder", Answer::error(Code::NotFound, "no such reminder"));
    let reminder = cart(&server).reminder("checkout").await.unwrap().unwrap();
    assert_eq!((reminder.name(), reminder.due(), reminder.period()), ("checkout", Some("1m"), None));
    assert_eq!((reminder.json::<String>().unwrap().as_str(), &reminder.bytes()[..]), ("tea", &b"\"tea\""[..]));
    assert!(cart(&server).reminder("checkout").await.unwrap().is_none());

    // Registered over HTTP: JSON as it was sent, which may look like base64.
    let data = Some(Any { type_url: String::new(), value: b"\"test\"".into() });
    let reminder = Some(ActorReminder { period: Some("1h".into()), data, ..ActorReminder::default() });
    let reminders = vec![NamedActorReminder { name: "checkout".into(), reminder }];
    server.answer("ListActorReminders", Answer::message(&ListActorRemindersResponse { reminders }));
    let reminders = cart(&server).reminders().await.unwrap();
    assert_eq!((reminders[0].name(), reminders[0].period()), ("checkout", Some("1h")));
    assert_eq!(reminders[0].json::<String>().unwrap(), "test");

    cart(&server).unregister_reminder("checkout").await.unwrap();
    assert_eq!(server.one::<UnregisterActorReminderRequest>("UnregisterActorReminder").name, "checkout");
}

#[tokio::test]
async fn timers_are_started_and_stopped() {
    let server = DaprServer::default();
    let timer = cart(&server).register_timer("tick").due("0s").period(Duration::from_millis(250)).callback("tick_now");
    timer.bytes(&b"\x01"[..]).await.unwrap();
    let request: RegisterActorTimerRequest = server.one("RegisterActorTimer");
    assert_eq!((request.callback.as_str(), request.period.as_str()), ("tick_now", "250ms"));
    assert_eq!((request.name.as_str(), &request.data[..]), ("tick", &b"\x01"[..]));
    cart(&server).unregister_timer("tick").await.unwrap();
    assert_eq!(server.seen("UnregisterActorTimer").len(), 1);
}
