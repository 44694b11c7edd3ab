//! Service invocation: apps that speak HTTP, apps that speak gRPC, and services of their own.

use axum::{
    Json, Router,
    extract::{Path, RawQuery},
    response::IntoResponse,
    routing::{any, get},
};
use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::InvokeRequest,
    runtime::v1::{
        app_callback_client::AppCallbackClient, app_callback_health_check_client::AppCallbackHealthCheckClient,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tonic::Code;
use tower::{Layer, ServiceExt};
use tower_dapr::{
    inbound::Subscriptions,
    outbound::{Dapr, HttpEndpoint, HttpInvokeLayer},
};

use super::{app::serve_grpc, differences::GRPC_TO_HTTP, world::Backend};
use crate::real::App;

super::tests![an_app_is_invoked_over_http, an_app_is_invoked_over_grpc, an_apps_own_service_is_called_through];

async fn an_app_is_invoked_over_http(backend: Backend) {
    let world = backend.start().await;
    let app = App::serve(methods()).await;
    let callee = world.app("callee").http(&app).start().await;
    let caller = world.app("caller").start().await;
    let dapr = caller.dapr();
    invoked(&dapr, "HTTP").await;
    let invoke = dapr.invoke("callee");
    let header = |name: &'static str| HeaderName::from_static(name);
    let request = invoke.get("echo").header(header("x-own"), HeaderValue::from_static("yes"));
    let answer = request.send().await.unwrap();
    let seen: Value = answer.json().unwrap();
    let headers = &seen["headers"];
    let names = (&headers["x-own"], &headers["dapr-caller-app-id"], &headers["dapr-callee-app-id"]);
    assert_eq!(names, (&json!("yes"), &json!("caller"), &json!("callee")), "{headers}");
    assert_eq!(answer.headers().get("x-app").unwrap(), "yes");
    assert_eq!((answer.status(), answer.content_type()), (StatusCode::OK, "application/json"));
    assert_eq!(invoke.put("status/201").send().await.unwrap().status(), StatusCode::CREATED);
    // To oneself.
    assert_eq!(callee.dapr().invoke("callee").get("echo").send().await.unwrap().status(), StatusCode::OK);

    // The same through the HTTP API, where an answer comes back as it is.
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client = HttpInvokeLayer::new("callee", HttpEndpoint::local(caller.http)).unwrap().layer(client);
    let ask = async |path: &str| {
        let request = Request::post(format!("http://callee{path}")).body(Full::from("1")).unwrap();
        let answer = client.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    };
    let (status, body) = ask("/echo/a?b=c").await;
    let seen: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &seen["path"], &seen["query"]), (StatusCode::OK, &json!("a"), &json!("b=c")));
    assert_eq!(ask("/status/418").await, (StatusCode::IM_A_TEAPOT, Bytes::from("418")));
}

async fn an_app_is_invoked_over_grpc(backend: Backend) {
    let world = backend.start().await;
    let callbacks = Subscriptions::new().into_app_callbacks(()).unwrap().with_methods(methods());
    let app = serve_grpc(callbacks).await;
    let _callee = world.app("callee").grpc(&app).start().await;
    let caller = world.app("caller").start().await;
    invoked(&caller.dapr(), "gRPC").await;
}

/// What is the same whatever the app speaks.
async fn invoked(dapr: &Dapr, speaks: &str) {
    let invoke = dapr.invoke("callee");
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = invoke.request(method.clone(), "echo/a/b").query("q", "1 & ü").json(&json!({ "n": 1 }));
        let seen: Value = request.send().await.unwrap().json().unwrap();
        assert_eq!((&seen["method"], &seen["path"]), (&json!(method.as_str()), &json!("a/b")), "{speaks}");
        assert_eq!(seen["query"], "q=1%20%26%20%C3%BC", "{speaks}");
        // A body is not sent with every method.
        if method == Method::POST {
            assert_eq!(seen["body"], r#"{"n":1}"#, "{speaks}");
            assert_eq!(seen["headers"]["content-type"], "application/json", "{speaks}");
        }
    }
    let answer = invoke.post("bytes").bytes("application/x-own", &b"\x00\xff"[..]).send().await.unwrap();
    assert_eq!((answer.bytes(), answer.content_type()), (&b"\x00\xff"[..], "application/x-own"), "{speaks}");
    for (status, code) in [
        (400, if speaks == "HTTP" { Code::Internal } else { Code::InvalidArgument }),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::NotFound),
        (409, if speaks == "HTTP" { Code::AlreadyExists } else { Code::Aborted }),
        (429, Code::ResourceExhausted),
        (500, if speaks == "HTTP" { Code::Unknown } else { Code::Internal }),
        (503, Code::Unavailable),
    ] {
        let error = invoke.get(format!("status/{status}")).send().await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{speaks}: {status}: {error} {}", error.message());
        if speaks == "HTTP" {
            assert_eq!(error.http_status().map(|status| status.as_u16()), Some(status));
        }
    }
    let error = dapr.invoke("nobody").get("echo").send().await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Internal));
    assert!(error.to_string().contains("`nobody`") && error.message().contains("no host found"), "{error}");
}

async fn an_apps_own_service_is_called_through(backend: Backend) {
    let world = backend.start().await;
    // Any generated service will do; this one is at hand.
    let callbacks = Subscriptions::new().into_app_callbacks(()).unwrap().with_methods(methods());
    let app = serve_grpc(callbacks).await;
    let http = App::serve(methods()).await;
    let _callee = world.app("callee").grpc(&app).start().await;
    let _http = world.app("http").http(&http).start().await;
    let caller = world.app("caller").start().await;
    let dapr = caller.dapr();

    let mut service = AppCallbackClient::new(dapr.grpc_channel("callee").unwrap());
    let invoke = |method: &str| InvokeRequest { method: method.into(), ..Default::default() };
    let mut request = tonic::Request::new(invoke("echo/direct"));
    request.metadata_mut().insert("x-own", "yes".parse().unwrap());
    let answer = service.on_invoke(request).await.unwrap().into_inner();
    let seen: Value = serde_json::from_slice(&answer.data.unwrap().value).unwrap();
    let headers = &seen["headers"];
    let names = (&headers["x-own"], &headers["dapr-caller-app-id"], &headers["dapr-callee-app-id"]);
    assert_eq!(names, (&json!("yes"), &json!("caller"), &json!("callee")), "{headers}");
    assert!(headers.get("dapr-app-id").is_none(), "{headers}");
    // Its errors pass as they are.
    assert_eq!(service.on_invoke(invoke("status/409")).await.unwrap_err().code(), Code::Aborted);
    let mut health = AppCallbackHealthCheckClient::new(dapr.grpc_channel("callee").unwrap());
    health.health_check(()).await.unwrap();

    let nobody = AppCallbackClient::new(dapr.grpc_channel("nobody").unwrap()).on_invoke(invoke("echo")).await;
    let status = nobody.unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status}");
    assert!(status.message().contains("no host found with the given ID"), "{status}");
    let no_grpc = AppCallbackClient::new(dapr.grpc_channel("http").unwrap()).on_invoke(invoke("echo")).await;
    assert_eq!(no_grpc.unwrap_err().code(), GRPC_TO_HTTP.on(backend));
}

fn methods() -> Router {
    let echo = async |method: Method,
                      path: Option<Path<String>>,
                      RawQuery(query): RawQuery,
                      headers: HeaderMap,
                      body: Bytes| {
        let headers: serde_json::Map<_, _> =
            headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or("?")))).collect();
        let path = path.map(|Path(path)| path);
        let body = String::from_utf8_lossy(&body).into_owned();
        let seen = json!({ "method": method.as_str(), "path": path, "query": query, "headers": headers, "body": body });
        ([("x-app", "yes")], Json(seen))
    };
    let status = async |Path(status): Path<u16>, _: Bytes| (StatusCode::from_u16(status).unwrap(), status.to_string());
    let bytes = async |headers: HeaderMap, body: Bytes| {
        ([("content-type", headers["content-type"].to_str().unwrap().to_owned())], body).into_response()
    };
    Router::new()
        .route("/echo", any(echo))
        .route("/echo/{*path}", any(echo))
        .route("/status/{status}", any(status))
        .route("/bytes", any(bytes))
        .route("/healthz", get(async || ()))
}
