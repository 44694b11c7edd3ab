//! Faults that a test asks for.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::time::Duration;

use bytes::Bytes;
use dapr::dapr::proto::common::v1::StateItem;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    GetMetadataRequest, GetStateRequest, GetStateResponse, SaveStateRequest, SubscribeConfigurationRequest,
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;
use tower_dapr::sidecar::{Fault, Hub, Sidecar};

#[tokio::test(start_paused = true)]
async fn faults_happen_in_order_and_as_often_as_asked() {
    let (hub, _sidecar, mut dapr) = start().await;
    hub.fail_next("GetState", Code::Unavailable, 2);
    hub.inject("GetState", Fault::Delay(Duration::from_secs(5)), 1);
    hub.fail_next("GetMetadata", Code::Aborted, 0);
    for _ in 0..2 {
        assert_eq!(dapr.get_state(get()).await.unwrap_err().code(), Code::Unavailable);
        assert!(dapr.get_metadata(GetMetadataRequest {}).await.is_ok(), "another rpc");
    }
    let start = Instant::now();
    dapr.get_state(get()).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    let start = Instant::now();
    dapr.get_state(get()).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn a_broken_answer_is_no_success() {
    let (hub, _sidecar, mut dapr) = start().await;
    for fault in [Fault::HangUp, Fault::NoStatus] {
        hub.inject("GetState", fault.clone(), 1);
        let broken = dapr.get_state(get()).await.unwrap_err();
        assert_ne!(broken.code(), Code::Ok, "{fault:?}");
        assert!(dapr.get_state(get()).await.is_ok(), "{fault:?} leaves the connection alone");
    }
}

/// What a client that repeats nothing sees of each fault, and what has happened to its call.
#[tokio::test]
async fn each_fault_has_its_code_and_its_effect() {
    let bad = |status: &str| Fault::BadStatus(status.to_owned());
    let faults = [
        (Fault::Fail(Code::Aborted), Code::Aborted, false),
        (Fault::Lost(Code::Aborted), Code::Aborted, true),
        (Fault::HangUp, Code::Internal, false),
        (Fault::NoStatus, Code::Unknown, false),
        (bad("done"), Code::Unknown, false),
        (bad(""), Code::Unknown, false),
        (bad("-1"), Code::Unknown, false),
        (bad("17"), Code::Unknown, false),
        (Fault::CutBehindHead, Code::Unknown, true),
        (Fault::CutBehindMessage, Code::Unknown, true),
        (Fault::GoAway, Code::Internal, false),
    ];
    for (index, (fault, code, has_effect)) in faults.into_iter().enumerate() {
        let (hub, _sidecar, mut dapr) = start().await;
        hub.inject("SaveState", fault.clone(), 1);
        let broken = dapr.save_state(save(index)).await.unwrap_err();
        assert_eq!(broken.code(), code, "{fault:?}: {broken:?}");
        let read = dapr.get_state(get()).await.unwrap().into_inner();
        assert_eq!(!read.data.is_empty(), has_effect, "{fault:?}");
        dapr.save_state(save(index)).await.unwrap();
    }
}

/// `GOAWAY` names the last call that is handled: one before it goes on, one behind it is not handled.
#[tokio::test]
async fn a_connection_that_goes_away_finishes_what_it_has_begun() {
    let (hub, sidecar, mut dapr) = start().await;
    let watch = SubscribeConfigurationRequest { store_name: "settings".into(), ..Default::default() };
    let mut watch = dapr.subscribe_configuration(watch).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();

    hub.inject("SaveState", Fault::GoAway, 1);
    let refused = dapr.save_state(save(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "tonic's word for it: {refused:?}");
    let mut other = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    assert!(other.get_state(get()).await.unwrap().into_inner().data.is_empty());
    for colour in ["red", "blue"] {
        assert!(hub.set_configuration("settings", "colour", colour));
        assert_eq!(watch.message().await.unwrap().unwrap().items["colour"].value, colour);
    }
}

/// What was sent before the cut arrives, and what was behind it does not.
#[tokio::test]
async fn a_connection_is_cut_where_it_was_asked_to() {
    let faults = [(Fault::HangUp, false), (Fault::CutBehindHead, false), (Fault::CutBehindMessage, true)];
    for (fault, has_message) in faults {
        let (hub, sidecar, mut dapr) = start().await;
        dapr.save_state(save(7)).await.unwrap();
        hub.inject("GetState", fault.clone(), 1);
        let stream = TcpStream::connect(("127.0.0.1", sidecar.grpc_port())).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let message = get().encode_to_vec();
        let frame = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
        let path = format!("{}/dapr.proto.runtime.v1.Dapr/GetState", sidecar.grpc_endpoint());
        let request = hyper::Request::post(path).header("content-type", "application/grpc");
        let response = client.send_request(request.body(Full::new(Bytes::from(frame))).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().contains_key("grpc-status")), (200, false));
        let mut body = response.into_body();
        if has_message {
            let message = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(GetStateResponse::decode(&message[5..]).unwrap().data, b"7");
        }
        assert!(body.frame().await.unwrap().is_err(), "{fault:?}");
    }
}

async fn start() -> (Hub, Sidecar, DaprClient<Channel>) {
    let hub = Hub::builder().state_store("store").configuration_store("settings").build();
    let sidecar = hub.app("app-a").start().await.unwrap();
    let dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    (hub, sidecar, dapr)
}

fn save(value: usize) -> SaveStateRequest {
    let item = StateItem { key: "k".into(), value: value.to_string().into(), ..StateItem::default() };
    SaveStateRequest { store_name: "store".into(), states: vec![item] }
}

fn get() -> GetStateRequest {
    GetStateRequest { store_name: "store".into(), key: "k".into(), ..GetStateRequest::default() }
}
