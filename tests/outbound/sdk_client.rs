use dapr::dapr::proto::{
    common::v1::StreamPayload,
    runtime::v1::{DecryptRequest, DecryptRequestOptions, DecryptResponse, GetStateRequest, GetStateResponse},
};
use tonic::Code;

use crate::dapr_server::{Answer, DaprServer};

#[tokio::test]
async fn the_sdks_own_client_goes_through_the_stack() {
    let server = DaprServer::default();
    server.answer("GetState", Answer::message(&GetStateResponse { data: b"12".into(), ..Default::default() }));
    let mut client = server.dapr().sdk_client().await.unwrap();
    assert_eq!(client.get_state("shelf", "tea", None).await.unwrap().data, b"12");
    assert_eq!(server.one::<GetStateRequest>("GetState").key, "tea");
    client.get_metadata().await.unwrap();
    assert_eq!(server.rpcs(), ["GetState", "GetMetadata"]);
}

#[tokio::test]
async fn a_decryption_that_breaks_off_is_an_error() {
    let server = DaprServer::default();
    server.answer("DecryptAlpha1", Answer::message(&DecryptResponse::default()).then_error(Code::Internal));
    let mut client = server.dapr().sdk_client().await.unwrap();
    let hidden = vec![StreamPayload { data: b"hidden".into(), seq: 0 }];
    assert!(client.decrypt(hidden, DecryptRequestOptions::default()).await.is_err());
    assert!(!server.all::<DecryptRequest>("DecryptAlpha1").is_empty());
}
