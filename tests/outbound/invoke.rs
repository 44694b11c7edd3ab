use std::convert::Infallible;

use dapr::dapr::proto::{
    common::v1::{InvokeResponse, http_extension::Verb},
    runtime::v1::{InvokeServiceRequest, app_callback_health_check_client::AppCallbackHealthCheckClient},
};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use prost_types::Any;
use tonic::{Code, Status, metadata::MetadataMap};
use tower::{Layer, ServiceExt, service_fn};
use tower_dapr::outbound::{HttpEndpoint, HttpInvokeLayer};

use crate::dapr_server::{Answer, DaprServer};

#[tokio::test]
async fn verb_path_query_headers_and_body_arrive() {
    let answer = InvokeResponse {
        data: Some(Any { type_url: String::new(), value: b"[1]".into() }),
        content_type: "application/json".into(),
    };
    let server = DaprServer::default();
    server.answer("InvokeService", Answer::message(&answer).head("dapr-http-status", "201").head("x-own", "yes"));
    let inventory = server.dapr().invoke("inventory");
    let request = inventory.patch("/stock/tea").query("a b", "c&d").query("e", "").json(&12);
    let header = (HeaderName::from_static("x-tenant"), HeaderValue::from_static("blue"));
    let response = request.header(header.0, header.1).await.unwrap();

    assert_eq!((response.status(), response.content_type()), (StatusCode::CREATED, "application/json"));
    assert_eq!(response.headers().get("x-own").unwrap(), "yes");
    assert_eq!(response.json::<Vec<u32>>().unwrap(), [1]);
    let request: InvokeServiceRequest = server.one("InvokeService");
    let message = request.message.unwrap();
    assert_eq!((request.id.as_str(), message.method.as_str()), ("inventory", "stock/tea"));
    let http = message.http_extension.unwrap();
    assert_eq!((http.verb(), http.querystring.as_str()), (Verb::Patch, "a%20b=c%26d&e="));
    assert_eq!((message.content_type.as_str(), &message.data.unwrap().value[..]), ("application/json", &b"12"[..]));
    assert_eq!(server.seen("InvokeService")[0].headers["x-tenant"], "blue");
}

#[tokio::test]
async fn the_status_of_the_app_is_the_errors() {
    let mut metadata = MetadataMap::new();
    metadata.insert("dapr-http-status", "409".parse().unwrap());
    let server = DaprServer::default();
    server.answer("InvokeService", Answer::status(Status::with_metadata(Code::AlreadyExists, "Conflict", metadata)));
    let error = server.dapr().invoke("inventory").get("stock").await.unwrap_err();
    assert_eq!(error.http_status(), Some(StatusCode::CONFLICT));
    assert_eq!(error.to_string(), "invoke `inventory`: ALREADY_EXISTS");
}

#[tokio::test]
async fn what_daprd_would_misunderstand_is_not_sent() {
    let server = DaprServer::default();
    let app = server.dapr().invoke("inventory");
    for path in ["a?b=c", "a#b", "a\n", "stock/../dapr/config", "..", "a/%2e%2E/b", "a%2f..%2fb"] {
        assert!(app.get(path).await.unwrap_err().is_invalid(), "{path}");
    }
    for name in ["content-length", "te", "grpc-timeout", "grpc-status", "trace-bin"] {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static("1"));
        assert!(app.get("a").header(name.clone(), value).await.unwrap_err().is_invalid(), "{name}");
    }
    assert!(app.request(Method::CONNECT, "a").await.unwrap_err().is_invalid());
    assert!(server.dapr().invoke("").get("a").await.unwrap_err().is_invalid());
    assert!(server.rpcs().is_empty());
    app.get("a..b/...").await.unwrap();
}

#[tokio::test]
async fn the_header_content_type_is_the_bodys() {
    let server = DaprServer::default();
    let app = server.dapr().invoke("inventory");
    let event = HeaderValue::from_static("application/cloudevents+json");
    app.post("a").json(&1).header(CONTENT_TYPE, event.clone()).await.unwrap();
    app.post("a").header(CONTENT_TYPE, event).json(&1).await.unwrap();
    let not_text = HeaderValue::from_bytes(b"\xff").unwrap();
    assert!(app.post("a").header(CONTENT_TYPE, not_text).await.unwrap_err().is_invalid());

    let requests: Vec<InvokeServiceRequest> = server.all("InvokeService");
    let types = requests.into_iter().map(|request| request.message.unwrap().content_type);
    assert_eq!(types.collect::<Vec<_>>(), ["application/cloudevents+json"; 2]);
}

#[tokio::test]
async fn a_grpc_channel_names_the_app() {
    let server = DaprServer::default();
    let mut greeter = AppCallbackHealthCheckClient::new(server.dapr().grpc_channel("greeter").unwrap());
    // As of a request that was forwarded: daprd takes the second for the app's name before it looks for the first.
    let mut request = tonic::Request::new(());
    for name in ["dapr-app-id", "dapr-callee-app-id"] {
        request.metadata_mut().insert(name, "other".parse().unwrap());
    }
    greeter.health_check(request).await.unwrap();

    let seen = &server.seen("HealthCheck")[0];
    assert_eq!(seen.path, "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck");
    assert_eq!(seen.headers["dapr-app-id"], "greeter");
    assert!(!seen.headers.contains_key("dapr-callee-app-id"));
    for app_id in ["", "a\nb", "grüßer"] {
        assert!(server.dapr().grpc_channel(app_id).unwrap_err().is_invalid(), "{app_id:?}");
    }
}

#[tokio::test]
async fn any_http_client_is_pointed_at_an_app() {
    let layer = HttpInvokeLayer::new("inventory", HttpEndpoint::default()).unwrap();
    let client = service_fn(|request: Request<()>| async move {
        assert!(!request.headers().contains_key("host") && !request.headers().contains_key("dapr-app-id"));
        Ok::<_, Infallible>(request.uri().to_string())
    });
    let method = "http://127.0.0.1:3500/v1.0/invoke/inventory/method";
    for (asked, sent) in [
        ("/stock/tea?fresh=true", "/stock/tea?fresh=true"),
        ("http://inventory/stock", "/stock"),
        ("http://inventory", "/"),
        ("/v1.0/state", "/v1.0/state"),
        ("*", "/*"),
    ] {
        let request = Request::get(asked).header("host", "inventory").header("dapr-app-id", "other").body(()).unwrap();
        assert_eq!(layer.layer(client).oneshot(request).await.unwrap(), format!("{method}{sent}"), "{asked}");
    }
    for app_id in ["", "..", "a/b", "a b", "a%2fb", "http://x"] {
        assert!(HttpInvokeLayer::new(app_id, HttpEndpoint::default()).unwrap_err().is_invalid(), "{app_id}");
    }
}

#[tokio::test]
async fn a_path_that_leaves_the_app_or_is_too_long_is_not_sent() {
    let layer = HttpInvokeLayer::new("inventory", HttpEndpoint::default()).unwrap();
    let client = service_fn(|request: Request<()>| async move { Err::<(), _>(request.uri().to_string()) });
    let long = format!("/{}", "a".repeat(65_520));
    for path in ["/../../../secrets/v/k", "/a/%2e%2E/b", "/a/%252e%252e/b", "/a%2F..%2fb", "/..?a=b", &long] {
        let request = Request::get(path).body(()).unwrap();
        let error = layer.layer(client).oneshot(request).await.unwrap_err();
        let error = error.downcast::<tower_dapr::Error>().expect(path);
        assert!(error.is_invalid() && error.to_string().starts_with("invoke `inventory`: "), "{error}");
    }
    // What is no segment of its own is the app's to judge, and so is the query.
    for path in ["/a..b/...", "/a?b=/../c", "/./a//b"] {
        let error = layer.layer(client).oneshot(Request::get(path).body(()).unwrap()).await.unwrap_err();
        assert!(error.to_string().ends_with(path), "{error}");
    }
}
