use dapr::dapr::proto::runtime::v1::{
    GetBulkSecretResponse, GetSecretRequest, GetSecretResponse, InvokeBindingRequest, InvokeBindingResponse,
    SecretResponse,
};
use tower_dapr::outbound::SecretText;

use crate::{
    dapr_server::{Answer, DaprServer},
    map,
};

#[tokio::test]
async fn a_binding_is_asked_for_an_operation() {
    let answer = InvokeBindingResponse { data: b"12".into(), metadata: map([("etag", "1")]) };
    let server = DaprServer::default();
    server.answer("InvokeBinding", Answer::message(&answer));
    let reports = server.dapr().binding("reports");
    let response = reports.invoke("create").json(&[1]).metadata("fileName", "a").await.unwrap();

    assert_eq!(
        (response.json::<u32>().unwrap(), response.bytes(), &response.metadata()["etag"][..]),
        (12, &b"12"[..], "1")
    );
    let expected = InvokeBindingRequest {
        name: "reports".into(),
        operation: "create".into(),
        data: b"[1]".into(),
        metadata: map([("fileName", "a")]),
    };
    assert_eq!(server.one::<InvokeBindingRequest>("InvokeBinding"), expected);
    assert!(server.dapr().binding("").invoke("get").await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn a_secret_has_one_value_or_several() {
    let server = DaprServer::default();
    server.answer("GetSecret", Answer::message(&GetSecretResponse { data: map([("token", "s3cret")]) }));
    server.answer("GetSecret", Answer::message(&GetSecretResponse { data: map([("user", "me"), ("password", "pw")]) }));
    let vault = server.dapr().secrets("vault");
    let token = vault.get("token").metadata("version", "2").await.unwrap();
    let database = vault.get("database").await.unwrap();

    assert_eq!(token.single().map(SecretText::expose), Some("s3cret"));
    assert!(database.single().is_none() && database.get("nothing").is_none());
    assert_eq!(database.get("password").map(SecretText::expose), Some("pw"));
    assert_eq!(database.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["password", "user"]);
    let request = &server.all::<GetSecretRequest>("GetSecret")[0];
    assert_eq!((request.store_name.as_str(), request.key.as_str()), ("vault", "token"));
    assert_eq!(request.metadata, map([("version", "2")]));
}

#[tokio::test]
async fn all_secrets_come_by_name() {
    let data = [("token".to_owned(), SecretResponse { secrets: map([("token", "s3cret")]) })].into();
    let server = DaprServer::default();
    server.answer("GetBulkSecret", Answer::message(&GetBulkSecretResponse { data }));
    let all = server.dapr().secrets("vault").get_bulk().await.unwrap();
    assert_eq!(all["token"].single().map(SecretText::expose), Some("s3cret"));
}
