//! Faults that a test asks for.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::time::Duration;

use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{GetMetadataRequest, GetStateRequest};
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

async fn start() -> (Hub, Sidecar, DaprClient<Channel>) {
    let hub = Hub::builder().state_store("store").build();
    let sidecar = hub.app("app-a").start().await.unwrap();
    let dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    (hub, sidecar, dapr)
}

fn get() -> GetStateRequest {
    GetStateRequest { store_name: "store".into(), key: "k".into(), ..GetStateRequest::default() }
}
